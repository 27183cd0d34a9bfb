"""The toy dataset: a list of films with two findings, a list of test films, a list of people."""

from __future__ import annotations

import polars as pl

from cxrdata.harmonise.labels import codes_from_numbers
from cxrdata.sources.base import NEGATIVE, POSITIVE, FoundFile, LabelerStates, RawDataset, ReadContext, SourceFiles
from cxrdata.sources.rows import settle_matches, with_sound_keys, without_repeats
from cxrdata.sources.textfile import read_csv, read_lines

FILM = r"^T\d{4}\.png$"
LABELS = ("large heart", "fluid")
_WORDS = {"yes": "1", "no": "0"}


def read(files: SourceFiles, context: ReadContext) -> RawDataset:
    """Read what was found; `files` has at least the films."""
    films = files.one("films")
    assert films is not None
    dataset = _films(films, context)
    if split := files.one("test_list"):
        dataset.images = _split(split, dataset.images, context)
    if people := files.one("people"):
        dataset.race = _people(people, dataset.images, context)
    return dataset


def _films(found: FoundFile, context: ReadContext) -> RawDataset:
    account, name = context.account, found.name
    table = read_csv(found.path, name=name, account=account, required=found.spec.columns)
    table = with_sound_keys(table, account, column="film", pattern=FILM, form="T0001.png")
    table = with_sound_keys(table, account, column="person", code_missing="CXR-209")
    table = without_repeats(table, account, keys=["film"])
    account.settle(name, kept=table.frame.height)
    images = table.frame.select(
        image_id="film",
        patient_id="person",
        path=pl.concat_str(pl.lit("films/"), "film"),
        source_file=pl.lit(name),
        source_row="_record",
        view_raw="projection",
        view_source=pl.lit("projection"),
        sex_raw="sex",
        age_raw="age",
        _line="_line",
    )
    coded = table.frame.with_columns(pl.col(LABELS).replace(_WORDS)) if found.variant == "words" else table.frame
    codes = codes_from_numbers(
        coded, LABELS, blank=None, account=account, source_file=name, allowed=(POSITIVE, NEGATIVE)
    )
    states = codes.select("film", *LABELS).rename({"film": "image_id"}).with_columns(closed_world=pl.lit(value=True))
    return RawDataset(images, age_form="years", labels=[LabelerStates("radiologist", states)])


def _split(found: FoundFile, images: pl.DataFrame, context: ReadContext) -> pl.DataFrame:
    table = read_lines(found.path, name=found.name, account=context.account)
    table = with_sound_keys(table, context.account, column="value", pattern=FILM, form="T0001.png")
    table = without_repeats(table, context.account, keys=["value"])
    listed = settle_matches(table, context.account, images["image_id"], column="value")["value"]
    in_test = pl.col("image_id").is_in(listed.implode())
    return images.with_columns(source_split=pl.when(in_test).then(pl.lit("test")).otherwise(pl.lit("train")))


def _people(found: FoundFile, images: pl.DataFrame, context: ReadContext) -> pl.DataFrame:
    table = read_csv(found.path, name=found.name, account=context.account, required=found.spec.columns)
    table = with_sound_keys(table, context.account, column="person")
    table = without_repeats(table, context.account, keys=["person"])
    frame = settle_matches(table, context.account, images["patient_id"].unique(), column="person")
    return frame.select(
        patient_id="person",
        field=pl.lit("background"),
        raw_value="background",
        precedence=pl.lit(0, pl.Int32),
        record_order="_record",
        about=pl.lit("race"),
        source_file=pl.lit(found.name),
        _line="_line",
    )
