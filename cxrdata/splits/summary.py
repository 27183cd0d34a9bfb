"""What `cxrdata split` tells of the split it made: one table, and what a reader of it must know beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.splits.make import counts_of
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.splits.make import MadeSplit

_ORDER = ("train", "valid", "calibration", "test", "test_healthy_adult", "test_pediatric")
_FEW = 12


def summary_table(made: MadeSplit) -> pl.DataFrame:
    """The split at a glance: of a balanced one, a row a cell with its images in each split and what was given up; of a case
    study, a row a dataset, label and age bin; of one with a spurious correlation, a row a cell, with what there was and its
    images in each split; else a row a dataset and split with images, patients, and their percentage of the dataset's."""
    if made.balanced is not None:
        return _cells(made.balanced.cells)
    if made.spurious is not None:
        return made.spurious.cells.rename({"value": made.spurious.design.attribute})
    return _by_age(made.case_study.counts) if made.case_study is not None else _shares(made.frame)


def _by_age(counts: pl.DataFrame) -> pl.DataFrame:
    """dataset, label, ages, and a column a split (null: none there). Ages stand apart only in the test of adults; the
    manifest has the children by year."""
    splits = [name for name in _ORDER if name in counts["split"].unique().to_list()]
    ages = (
        pl.when(pl.col("split") == "test_healthy_adult")
        .then("age_bin")
        .when(pl.col("split") == "test_pediatric")
        .then(pl.lit("under 18"))
    )
    rows = counts.with_columns(ages=ages.otherwise(pl.lit("all adults")).replace("unknown", "18+, bin open"))
    wide = rows.group_by("dataset", "label", "ages").agg(
        pl.col("images").filter(pl.col("split") == name).sum().alias(name) for name in splits
    )
    order = pl.col("ages").replace_strict({"all adults": 0, "under 18": 1}, default=2)
    wide = wide.sort("dataset", pl.col("label") != "positive", order, "ages")
    return wide.with_columns(pl.when(pl.col(name) > 0).then(name) for name in splits)


def _shares(frame: pl.DataFrame) -> pl.DataFrame:
    if "fold" in frame.columns:
        fold = pl.format("{}, fold {}", "split", "fold")
        frame = frame.with_columns(split=pl.when(pl.col("fold").is_not_null()).then(fold).otherwise("split"))
    counts = counts_of(frame)
    percent = [
        (100 * pl.col(name) / pl.col(name).sum().over("dataset")).round(1).alias(f"percent_of_{name}")
        for name in ("images", "patients")
    ]
    order = pl.col("split").replace_strict({name: at for at, name in enumerate(_ORDER)}, default=len(_ORDER))
    return counts.with_columns(percent).sort("dataset", order, "split")


def _cells(cells: pl.DataFrame) -> pl.DataFrame:
    """One row a cell: what there was, what each split gets (images; sums of weights; draws), what was given up."""
    numbers = ("split", "available", "kept", "target", "given_up")
    cell = [name for name in cells.columns if name not in numbers]
    splits = [name for name in _ORDER if name in cells["split"].unique().to_list()]
    wide = cells.group_by(cell).agg(
        pl.col("available").sum(),
        *(pl.col("target").filter(pl.col("split") == name).sum().alias(name) for name in splits),
        pl.col("given_up").sum(),
    )
    return wide.sort(cell)


def remarks(made: MadeSplit) -> list[str]:
    """Sentences for people: the optimum, who was left out, how far placement moved, the leak check, notes."""
    manifest = made.manifest
    said = [*_optimum(made), *_left_out(manifest["left_out"])]
    if manifest["moved"] is not None and manifest["moved"]["units"]:
        moved, units = manifest["moved"]["units_moved"], manifest["moved"]["units"]
        said.append(
            f"{moved:,} of {units:,} patients ({100 * moved / units:.1f} %) are not where the hash alone would place them"
        )
    said += manifest["notes"]
    said.append(f"no patient stands in two splits ({manifest['leak_check']['patients_checked']:,} checked)")
    return said


def _optimum(made: MadeSplit) -> list[str]:
    return [] if made.balanced is None else made.balanced.explained()


def _left_out(entries: list[dict[str, Any]]) -> list[str]:
    largest = sorted(entries, key=lambda entry: -entry["images"])
    said = [
        f"left out: {entry['dataset'] + ': ' if entry['dataset'] else ''}{counted(entry['images'], 'image')}: {entry['reason']}"
        for entry in largest
    ]
    if len(said) > _FEW:
        rest = sum(entry["images"] for entry in largest[_FEW:])
        return [
            *said[:_FEW],
            f"left out: {counted(rest, 'image')} for {counted(len(said) - _FEW, 'further reason')}; the split's manifest.json lists them all",
        ]
    return said
