"""The demographics workbook: race and ethnicity by patient, and where it contradicts the images' files.

Its AGE_AT_CXR is one number a patient, at no stated film, and now and then a child's beside an adult's films:
it is compared and never used as an age.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cxrdata.harmonise.race import DEFAULT_SCHEME
from cxrdata.sources.chexpert.paths import PATIENT
from cxrdata.sources.rows import numbers, settle_matches, with_sound_keys, without_repeats
from cxrdata.sources.workbook import read_workbook

if TYPE_CHECKING:
    from cxrdata.sources.account import Account
    from cxrdata.sources.base import FoundFile, ReadContext
    from cxrdata.vocabularies import Vocabularies

ADULT_YEARS = 18
# ETHNICITY is asked for ethnicity alone; the suffix of PRIMARY_RACE (`White, Hispanic`) completes it.
_ETHNICITY_PRECEDENCE, _RACE_PRECEDENCE = 0, 1


def statements(frame: pl.DataFrame, field: str, *, about: str, precedence: int, source_file: str) -> pl.DataFrame:
    """Records for `harmonise_race` of one field; `frame` needs `patient_id`, the field, `_record` and `_line`."""
    return frame.select(
        "patient_id",
        field=pl.lit(field),
        raw_value=pl.col(field),
        about=pl.lit(about),
        precedence=pl.lit(precedence, pl.Int64),
        record_order=pl.col("_record").cast(pl.Int64),
        _line=pl.col("_line").cast(pl.Int64),
        source_file=pl.lit(source_file),
    )


def read_demographics(found: FoundFile, images: pl.DataFrame, context: ReadContext) -> pl.DataFrame:
    """The workbook's rows on patients of `images`: `patient_id`, GENDER, AGE_AT_CXR (Float64), PRIMARY_RACE, ETHNICITY."""
    account = context.account
    table = read_workbook(
        found.path, name=found.name, account=account, sheet=found.spec.sheet, columns=found.spec.columns
    )
    table = with_sound_keys(table, account, column="PATIENT", pattern=PATIENT, form="patient00001")
    table = without_repeats(table, account, keys=["PATIENT"])
    known = images["patient_id"].unique()
    frame = settle_matches(table, account, known, column="PATIENT")
    frame = numbers(frame, {"AGE_AT_CXR": pl.Float64}, account, found.name).rename({"PATIENT": "patient_id"})
    _note_coverage(frame, images, account)
    return frame


def race_records(frame: pl.DataFrame, found: FoundFile, vocabularies: Vocabularies, account: Account) -> pl.DataFrame:
    """What the workbook says of race and ethnicity."""
    _note_suffixes(frame, vocabularies, account)
    return pl.concat(
        [
            statements(frame, "ETHNICITY", about="ethnicity", precedence=_ETHNICITY_PRECEDENCE, source_file=found.name),
            statements(frame, "PRIMARY_RACE", about="race", precedence=_RACE_PRECEDENCE, source_file=found.name),
        ]
    )


def with_sex_filled(images: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """`images` with GENDER where no file of the image gives a sex (the test set's labels do not)."""
    if not images["sex_raw"].null_count():
        return images
    filled = images.join(frame.select("patient_id", "GENDER"), on="patient_id", how="left", maintain_order="left")
    return filled.with_columns(sex_raw=pl.coalesce("sex_raw", "GENDER")).drop("GENDER")


def note_contradictions(images: pl.DataFrame, frame: pl.DataFrame, *, top_code_years: float, account: Account) -> None:
    """Count patients whose sex or age in the workbook does not fit their images (formats.md 1.1)."""
    age = pl.col("age_raw").cast(pl.Float64, strict=False)
    by_patient = images.group_by("patient_id").agg(
        youngest=age.filter(age > 0).min(), oldest=age.max(), sex=pl.col("sex_raw").drop_nulls().first()
    )
    both = frame.join(by_patient, on="patient_id", how="inner")
    stated = pl.col("AGE_AT_CXR")
    capped = (pl.col("oldest") >= top_code_years) & (stated > top_code_years)
    child = (stated < ADULT_YEARS) & (pl.col("youngest") >= ADULT_YEARS)
    elsewhere = (stated < pl.col("youngest") - 1) | (stated > pl.col("oldest") + 1)
    counts = both.select(
        sex=(pl.col("GENDER") != pl.col("sex")).sum(),
        child=child.sum(),
        capped=capped.sum(),
        elsewhere=(elsewhere & ~child & ~capped).sum(),
    ).row(0, named=True)
    for item, count, message in (
        ("sex", "sex", "patients whose GENDER in the workbook differs from the images' sex, which is believed"),
        (
            "age",
            "child",
            "patients under 18 by the workbook's AGE_AT_CXR, all of whose images are an adult's; it is never an image's age",
        ),
        (
            "age",
            "capped",
            f"patients with an image at the cap of {top_code_years:g} years and an AGE_AT_CXR above it; the images stay top-coded",
        ),
        (
            "age",
            "elsewhere",
            "patients whose AGE_AT_CXR lies more than a year outside the ages at their images, the two remarks above apart",
        ),
    ):
        if counts[count]:
            account.note("disagreement", item, counts[count], message)


def _note_coverage(frame: pl.DataFrame, images: pl.DataFrame, account: Account) -> None:
    absent = images.select("patient_id").join(frame, on="patient_id", how="anti")
    if absent.height:
        account.note(
            "coverage",
            "race",
            absent["patient_id"].n_unique(),
            "patients with images and no row in the demographics workbook",
        )
        account.note("coverage", "race", absent.height, "images of patients without a row in the demographics workbook")


def _note_suffixes(frame: pl.DataFrame, vocabularies: Vocabularies, account: Account) -> None:
    """PRIMARY_RACE's suffix names the ethnicity too, and at times not the one of ETHNICITY."""
    meanings = vocabularies.race.filter(
        (pl.col("dataset") == account.dataset)
        & (pl.col("scheme") == DEFAULT_SCHEME)
        & pl.col("ethnicity").is_not_null()
    )
    said = {
        field: dict(meanings.filter(pl.col("field") == field).select("raw_value", "ethnicity").iter_rows())
        for field in ("PRIMARY_RACE", "ETHNICITY")
    }
    suffix, column = (
        pl.col(field).replace_strict(said[field], default=None, return_dtype=pl.String)
        for field in ("PRIMARY_RACE", "ETHNICITY")
    )
    counts = frame.select(
        contradicted=(suffix != column).sum(), completed=(suffix.is_not_null() & column.is_null()).sum()
    ).row(0, named=True)
    if counts["contradicted"]:
        account.note(
            "disagreement",
            "ethnicity",
            counts["contradicted"],
            "patients whose PRIMARY_RACE names another ethnicity than ETHNICITY, which is believed",
        )
    if counts["completed"]:
        account.note(
            "ambiguity",
            "ethnicity",
            counts["completed"],
            "patients whose ethnicity is known from the suffix of PRIMARY_RACE alone",
        )
