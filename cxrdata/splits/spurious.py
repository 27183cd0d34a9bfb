"""Training sets in which an attribute goes with a disease, and test sets in which it does not.

What a model learns from the attribute rather than from the disease shows as a difference between the four cells, disease
or healthy by one value or the other, of a test that has equally many images in each. The design of Jin, Deng, Chen, Li:
Debiased Noise Editing on Foundation Models for Fair Medical Image Classification, MICCAI 2024 (arXiv 2403.06104), whose
sets are lists of about 11,000 images without the rule that chose them.

Within each dataset, in this order:

test: of each cell exactly `per_cell` images, each of another patient: those with the highest numbers of the keyed hash, so
that with the same seed they are, as far as they go, of the test of a plain split. Their other images leave.
valid: of the other patients those whose keyed number for folds is below 1/8; train: the rest. So who comes later moves
nobody between the two.
Of each of the two, as many images as can be (`train_images`: that many), half of them positive, of which the share
`correlation` has the attribute's first value, and of the healthy half that share has its second; the images of a cell with
the lowest numbers of the keyed hash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.splits.binary import Binary
from cxrdata.splits.keyed import FOLD, KEEP, fractions, keyed_numbers
from cxrdata.splits.members import lost
from cxrdata.splits.placement import UNIT, units_of
from cxrdata.wording import counted

TRAIN, VALID, TEST = "train", "valid", "test"
POSITIVE, HEALTHY = "positive", "healthy"
CORRELATED, BALANCED = "correlated", "balanced"
# Of the patients outside the test, as in the usual ratios 0.7 : 0.1.
VALID_SHARE = 0.125
CELL = ("dataset", "label", "value")
_LEFT_OUT = {"dataset": pl.String, "reason": pl.String, "images": pl.Int64}


@dataclass(frozen=True, kw_only=True)
class Design:
    """What is asked for. values: the attribute's first and second. correlation: in train, the share of the positives with the
    first value, and of the healthy with the second. train_images: an even number, or None: as many as there can be. valid:
    CORRELATED as train, or BALANCED as the test."""

    finding: str
    attribute: str
    values: tuple[str, str]
    correlation: float = 0.9
    train_images: int | None = None
    per_cell: int = 200
    valid: str = CORRELATED

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """label, value."""
        return tuple((label, value) for label in (POSITIVE, HEALTHY) for value in self.values)

    def needs(self, half: int, correlation: float) -> dict[tuple[str, str], int]:
        """How many images each cell gives to a part of twice `half` images: whole numbers, each within one of its share."""
        most = math.floor(correlation * half + 0.5 + 1e-9)
        return dict(zip(self.cells, (most, half - most, half - most, most), strict=True))


@dataclass(frozen=True)
class Spurious:
    """The split.

    rows: the columns of the members with `split`; sorted by (dataset, image_id). cells: one row a dataset and cell: dataset,
    label, value, available (images), patients, train, valid, test; positive before healthy, the first value before the
    second. left_out: dataset, reason, images. notes: sentences.
    """

    rows: pl.DataFrame
    cells: pl.DataFrame
    left_out: pl.DataFrame
    notes: list[str]
    design: Design
    rules: Mapping[str, Any]

    def report(self) -> dict[str, Any]:
        """All but the rows, as JSON can hold it; no ids."""
        return {
            "finding": self.design.finding,
            "attribute": self.design.attribute,
            "values": list(self.design.values),
            **self.rules,
            "correlation": self.design.correlation,
            "valid": self.design.valid,
            "cells": self.cells.to_dicts(),
            "correlations": self.correlations().to_dicts(),
        }

    def correlations(self) -> pl.DataFrame:
        """dataset, split, positives_with_first, healthy_with_second: shares, as they came out."""
        first = pl.col("value") == self.design.values[0]
        found = []
        for split in (TRAIN, VALID, TEST):
            n = pl.col(split)
            of_positive, of_healthy = (n.filter(pl.col("label") == label).sum() for label in (POSITIVE, HEALTHY))
            found.append(
                self.cells.group_by("dataset").agg(
                    split=pl.lit(split),
                    positives_with_first=n.filter(first & (pl.col("label") == POSITIVE)).sum() / of_positive,
                    healthy_with_second=n.filter(~first & (pl.col("label") == HEALTHY)).sum() / of_healthy,
                )
            )
        return pl.concat(found).sort("dataset", maintain_order=True)


def spurious(
    members: pl.DataFrame, design: Design, *, seed: int = 0, rules: Mapping[str, Any] | None = None
) -> Spurious:
    """Place the images of the four cells.

    members: one row an image: dataset, image_id, unit, `label` (POSITIVE or HEALTHY), `value` (one of the design's two).
    rules: how labels were read, for the report.

    A dataset without any image of a cell leaves, if there are others. Raises CxrError CXR-410 where a cell has too few
    images: which, how many it has and how many are needed.
    """
    members = members.sort("dataset", "image_id").drop("split", strict=False)
    left_out: list[dict[str, Any]] = []
    notes: list[str] = []
    kept = _whole_datasets(members, design)
    left_out += lost(members, kept, "the dataset has no image of one of the four cells")
    numbered = _numbered(kept, seed)
    tested = _test(numbered, design)
    units = tested.select(UNIT)
    rest = numbered.join(units, on=UNIT, how="anti", maintain_order="left")
    left_out += lost(
        numbered.join(tested, on=["dataset", "image_id"], how="anti"), rest, "another image of a patient of the test"
    )
    parts = [tested.select("dataset", "image_id", split=pl.lit(TEST))]
    for dataset in kept["dataset"].unique().sort().to_list():
        parts += _train_and_valid(rest.filter(dataset=dataset), design, dataset, notes)
    placed = pl.concat(parts)
    rows = kept.join(placed, on=["dataset", "image_id"], how="left", maintain_order="left")
    chosen = rows.filter(pl.col("split").is_not_null())
    beyond = rest.join(placed, on=["dataset", "image_id"], how="semi")
    left_out += lost(rest, beyond, "more than its cell needs")
    return Spurious(
        chosen,
        _counted(rows, design),
        pl.DataFrame(left_out, schema=_LEFT_OUT).sort("dataset", "reason"),
        notes,
        design,
        rules or {},
    )


def _whole_datasets(members: pl.DataFrame, design: Design) -> pl.DataFrame:
    """The members of datasets that have all four cells; all of them where there is only one, or none has."""
    filled = members.group_by("dataset").agg(n=pl.struct("label", "value").n_unique())
    whole = filled.filter(pl.col("n") == len(design.cells))["dataset"].to_list()
    return members.filter(pl.col("dataset").is_in(whole)) if whole else members


def _numbered(members: pl.DataFrame, seed: int) -> pl.DataFrame:
    """With the keyed numbers: `number` that places the unit, `fold` whether it validates, `keep` of the image."""
    units = units_of(members, seed)
    fold = fractions(keyed_numbers(FOLD, seed, units["dataset"], units["unit"]))
    units = units.select(*UNIT, "number", validates=fold < VALID_SHARE)
    keep = keyed_numbers(KEEP, seed, members["dataset"], members["image_id"]).alias("keep")
    return members.with_columns(keep).join(units, on=UNIT, how="left", maintain_order="left")


def _test(members: pl.DataFrame, design: Design) -> pl.DataFrame:
    """The rows of the test: cell by cell, the units with the highest numbers that no earlier cell took, an image of each."""
    taken = members.clear()
    for label, value in design.cells:
        free = members.filter(pl.col("label") == label, pl.col("value") == value).join(taken, on=UNIT, how="anti")
        one_each = free.sort("keep", "image_id").unique(UNIT, keep="first", maintain_order=True)
        ordered = one_each.sort("dataset", "number", "unit", descending=[False, True, True])
        chosen = ordered.filter(pl.int_range(pl.len()).over("dataset") < design.per_cell)
        for dataset in members["dataset"].unique().sort().to_list():
            has = chosen.filter(dataset=dataset).height
            if has < design.per_cell:
                raise _too_few(
                    dataset,
                    _cell(design, label, value),
                    f"{counted(has, 'patient')}, and the test needs {design.per_cell:,} images of as many patients",
                    f"--per-cell {has} or fewer" if has else "other data, or another finding or attribute",
                )
        taken = pl.concat([taken, chosen])
    return taken


def _train_and_valid(rest: pl.DataFrame, design: Design, dataset: str, notes: list[str]) -> list[pl.DataFrame]:
    """dataset, image_id, split of the two other parts of a dataset."""
    train, valid = (rest.filter(pl.col("validates") == validates) for validates in (False, True))
    half = _largest_half(train, design, design.correlation)
    if design.train_images is not None:
        wanted = design.train_images // 2
        if wanted > half:
            _refuse(train, design, dataset, TRAIN, design.needs(wanted, design.correlation), most=2 * half)
        half = wanted
    if half == 0:
        _refuse(train, design, dataset, TRAIN, design.needs(1, design.correlation))
    how = design.correlation if design.valid == CORRELATED else 0.5
    # Equally many of all four cells: by twos.
    valid_half = _largest_half(valid, design, how, step=1 if design.valid == CORRELATED else 2)
    if valid_half == 0:
        _refuse(valid, design, dataset, VALID, design.needs(1 if design.valid == CORRELATED else 2, how))
    # Where train is not all that there is, valid keeps its proportion.
    usual = max(2, 2 * round(half * VALID_SHARE / (1 - VALID_SHARE) / 2))
    if design.train_images is not None and valid_half < usual:
        notes.append(f"{dataset}: valid has {2 * valid_half:,} images, fewer than an eighth: a cell has no more")
    valid_half = min(valid_half, usual) if design.train_images is not None else valid_half
    return [
        _first(part, design.needs(n, correlation)).select("dataset", "image_id", split=pl.lit(split))
        for part, split, n, correlation in (
            (train, TRAIN, half, design.correlation),
            (valid, VALID, valid_half, how),
        )
    ]


def _largest_half(part: pl.DataFrame, design: Design, correlation: float, *, step: int = 1) -> int:
    """Half of the most images that a part can have, a multiple of `step`. What a cell needs never falls as the half grows."""
    has = _sizes(part)
    low, high = 0, part.height // step
    while low < high:
        middle = (low + high + 1) // 2
        if all(has.get(cell, 0) >= n for cell, n in design.needs(middle * step, correlation).items()):
            low = middle
        else:
            high = middle - 1
    return low * step


def _sizes(part: pl.DataFrame) -> dict[tuple[str, str], int]:
    counts = part.group_by("label", "value").len().iter_rows()
    return {(label, value): n for label, value, n in counts}


def _first(part: pl.DataFrame, needs: dict[tuple[str, str], int]) -> pl.DataFrame:
    """Of each cell as many images as it needs, those with the lowest numbers."""
    wanted = pl.DataFrame(
        [(*cell, n) for cell, n in needs.items()],
        schema={"label": pl.String, "value": pl.String, "wanted": pl.Int64},
        orient="row",
    )
    ordered = part.join(wanted, on=["label", "value"], how="left").sort("label", "value", "keep", "image_id")
    return ordered.filter(pl.int_range(pl.len()).over("label", "value") < pl.col("wanted"))


def _refuse(
    part: pl.DataFrame,
    design: Design,
    dataset: str,
    split: str,
    needs: dict[tuple[str, str], int],
    *,
    most: int = 0,
) -> None:
    """Raise CxrError CXR-410 for the cell that lacks most."""
    has = _sizes(part)
    cell = max(needs, key=lambda one: needs[one] - has.get(one, 0))
    raise _too_few(
        dataset,
        _cell(design, *cell),
        f"{counted(has.get(cell, 0), 'image')} for {split}, which needs {needs[cell]:,}",
        f"--train-images {most}, a correlation nearer to 0.5, or a smaller --per-cell"
        if most
        else "a smaller --per-cell, another --seed, or other data",
    )


def _cell(design: Design, label: str, value: str) -> str:
    what = f"positive for {design.finding}" if label == POSITIVE else HEALTHY
    binary = Binary.parse(design.attribute)
    return f"{what} and {design.attribute if binary is None else binary.of} {value}"


def _too_few(dataset: str, cell: str, says: str, fix: str) -> CxrError:
    return CxrError("CXR-410", f"{dataset}: the cell {cell} has {says}", fix=fix)


def _counted(rows: pl.DataFrame, design: Design) -> pl.DataFrame:
    """The report's cells."""
    order = pl.DataFrame(
        [(*cell, at) for at, cell in enumerate(design.cells)],
        schema={"label": pl.String, "value": pl.String, "_at": pl.Int64},
        orient="row",
    )
    counts = rows.group_by(CELL).agg(
        available=pl.len().cast(pl.Int64),
        patients=pl.col("unit").n_unique().cast(pl.Int64),
        **{name: (pl.col("split") == name).sum().cast(pl.Int64) for name in (TRAIN, VALID, TEST)},
    )
    return counts.join(order, on=["label", "value"], how="left").sort("dataset", "_at").drop("_at")
