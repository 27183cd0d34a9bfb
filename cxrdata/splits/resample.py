"""Drawing a subset anew, so that groups become comparable: as many draws of each, with the same mix of disease and age.

After the test-set resampling of Glocker, Jones, Bernhardt, Winzeck (Algorithmic encoding of protected characteristics in
chest X-ray disease detection models, eBioMedicine 89:104467, 2023). Every draw is with replacement and counted beside the
image as `n_draws`, so that no key is repeated and nobody mistakes draws for images. Each dataset is resampled by itself:
pooled, a group would be made comparable to another one by taking it from other hospitals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.splits.draws import NumberedImages, drawn_exactly, drawn_in_steps, empty_cells, numbered, said
from cxrdata.splits.members import lost

if TYPE_CHECKING:
    from cxrdata.splits.draws import Numbers

KEYS = ("dataset", "image_id")
_NOT_ATTRIBUTES = ("dataset", "image_id", "patient_id", "split", "fold", "n_draws", "weight")
_LEFT_OUT = {"dataset": pl.String, "reason": pl.String, "images": pl.Int64}


MOST_DRAWS = 100_000_000  # more than any use needs, and all that memory holds


@dataclass(frozen=True)
class Resampled:
    """A subset drawn anew.

    rows: the input rows that were drawn at least once, with `n_draws` (Int64), sorted by (dataset, image_id).
    cells: dataset, the attributes of `balance` and `match`, images, share_before, draws, share_after, share_target; shares
    are those within the group; one row a group and combination of the match attributes that the dataset has, sorted.
    groups: dataset, the attributes of `balance`, images, not_drawn, draws, most_draws (of one image), effective_images and
    effective_patients: how many equally often drawn ones are worth as much, (Σ n)² / Σ n² (Kish, Survey Sampling, 1965).
    left_out: dataset, reason, images. notes: what a reader must know.
    """

    rows: pl.DataFrame
    cells: pl.DataFrame
    groups: pl.DataFrame
    left_out: pl.DataFrame
    notes: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Tables and notes, as JSON can hold them; no ids."""
        return {"cells": self.cells.to_dicts(), "groups": self.groups.to_dicts(), "notes": self.notes}


def resample(
    rows: pl.DataFrame,
    *,
    balance: Sequence[str],
    match: Sequence[str] = (),
    factor: float = 3.0,
    seed: int = 0,
    exact: bool = False,
) -> Resampled:
    """Draw about `factor` times as many rows as there are, the groups of `balance` equally often.

    rows: rows of one split, with the attributes as text columns; images where one is null leave, counted.

    Three steps by default, all draws with replacement: a draw takes a group, each with the same chance, and one of its
    images; then each group's draws are drawn again so that the first match attribute follows the whole dataset's shares;
    then, within each group and value of it, the next one likewise given the values before it; and so on. Shares are met in
    expectation, as in the paper. A value that a cell lacks cannot be drawn there: the cell's other values share its draws,
    and the notes say so.

    exact: every group has the same number of draws, the number of every cell is within one of its target, and the images of
    a cell are used as evenly as possible (the lower ones by their key once more). A cell that needs draws and has no image
    is refused.

    The result depends on the seed, the keys and the attributes alone, not on the order of rows or on other datasets.
    Raises CxrError: CXR-410 nothing to balance, or empty cells; CXR-501 an attribute that is no column; CXR-502 arguments
    that make no sense; CXR-507 no rows.
    """
    _check_names(rows, balance, match)
    _check_rows(rows)
    if factor > MOST_DRAWS / max(rows.height, 1):
        raise CxrError(
            "CXR-502",
            f"{factor:g} times {rows.height:,} rows are more than {MOST_DRAWS:,} draws",
            fix="--factor 3 draws three times as many rows as there are",
        )
    if not (math.isfinite(factor) and factor > 0):
        raise CxrError(
            "CXR-502",
            f"the factor must be above 0, got {factor:g}",
            fix="--factor 3 draws three times as many rows as there are",
        )
    known, left_out = _known(rows.sort(KEYS), [*balance, *match])
    kept, alone = _with_groups(known, balance, match)
    left_out += alone
    if not kept:
        reasons = "; ".join(f"{one['dataset']}: {one['reason']}" for one in left_out)
        raise CxrError(
            "CXR-410",
            f"no dataset has two groups of {', '.join(balance)} to balance ({reasons})",
            fix="name another attribute, or another split",
        )
    notes: list[str] = []
    drawn = []
    for dataset in kept:
        n_draws = drawn_exactly(dataset, factor, seed) if exact else drawn_in_steps(dataset, factor, seed)
        notes += [] if exact else empty_cells(dataset)
        drawn.append((dataset, n_draws))
    rows_drawn = pl.concat([dataset.rows.with_columns(n_draws=pl.Series(n, dtype=pl.Int64)) for dataset, n in drawn])
    final = rows_drawn.filter(pl.col("n_draws") > 0)
    left_out += lost(rows_drawn, final, "never drawn")
    return Resampled(
        final,
        pl.concat([_cells(dataset, n) for dataset, n in drawn]),
        _groups(rows_drawn, balance),
        pl.DataFrame(left_out, schema=_LEFT_OUT).sort("dataset", "reason"),
        notes,
    )


def _check_names(rows: pl.DataFrame, balance: Sequence[str], match: Sequence[str]) -> None:
    if not balance:
        problem = "no attribute is named whose groups are to be made comparable"
        raise CxrError("CXR-502", problem, fix="for example --balance race")
    names = [*balance, *match]
    for name in names:
        if name in _NOT_ATTRIBUTES:
            raise CxrError(
                "CXR-502",
                f"{name!r} is no attribute to resample by",
                fix="name one such as race, sex, disease, age_group:decades",
            )
        if name not in rows.columns:
            raise CxrError(
                "CXR-501",
                f"there is no column {name!r}{nearest(name, rows.columns)}",
                fix=f"columns: {', '.join(rows.columns)}",
            )
        if names.count(name) > 1:
            raise CxrError("CXR-502", f"{name!r} is named twice", fix="name an attribute once, to balance or to match")


def _check_rows(rows: pl.DataFrame) -> None:
    if rows.is_empty():
        raise CxrError("CXR-507", "there is no row to resample", fix="name a split that has images")
    if (splits := rows["split"].unique().sort().to_list()) != splits[:1]:
        raise CxrError(
            "CXR-502", f"the rows are of {len(splits)} splits ({', '.join(splits)})", fix="resample one of them"
        )
    for name in ("n_draws", "weight"):
        if name in rows.columns and rows[name].null_count() < rows.height:
            raise CxrError(
                "CXR-502", f"the rows have {name} already", fix="resample the split that they were made from"
            )


def _known(rows: pl.DataFrame, names: Sequence[str]) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """Rows that have a value of every attribute, and who leaves for the lack of one."""
    left_out: list[dict[str, Any]] = []
    for name in names:
        after = rows.filter(pl.col(name).is_not_null())
        left_out += lost(rows, after, f"{name} is null")
        rows = after
    return rows, left_out


def _with_groups(
    rows: pl.DataFrame, balance: Sequence[str], match: Sequence[str]
) -> tuple[list[NumberedImages], list[dict[str, Any]]]:
    """The datasets that have at least two groups, and who leaves because all are of one."""
    kept: list[NumberedImages] = []
    left_out: list[dict[str, Any]] = []
    for part in rows.partition_by("dataset", maintain_order=True):
        dataset = numbered(part, balance, match)
        if dataset.groups.height > 1:
            kept.append(dataset)
        else:
            reason = f"all are of one group ({said(dataset.groups.row(0, named=True))}): nothing to balance"
            left_out.append({"dataset": dataset.name, "reason": reason, "images": part.height})
    return kept, left_out


def _cells(dataset: NumberedImages, n_draws: Numbers) -> pl.DataFrame:
    import numpy as np

    depth = len(dataset.prefix) - 1
    counts = dataset.counts(depth)
    width = counts.shape[1]
    draws = (
        np.bincount(dataset.group * width + dataset.prefix[depth], weights=n_draws, minlength=counts.size)
        .astype(np.int64)
        .reshape(counts.shape)
    )
    target = counts.sum(axis=0) / dataset.size
    groups = dataset.groups.with_row_index("_group")
    table = groups.join(dataset.combinations[depth], how="cross", maintain_order="left_right") if depth else groups
    return table.select(
        pl.lit(dataset.name).alias("dataset"),
        *dataset.groups.columns,
        *dataset.combinations[depth].columns,
        images=pl.Series(counts.ravel(), dtype=pl.Int64),
        share_before=pl.Series((counts / counts.sum(axis=1, keepdims=True)).ravel()),
        draws=pl.Series(draws.ravel()),
        share_after=pl.Series((draws / np.maximum(draws.sum(axis=1, keepdims=True), 1)).ravel()),
        share_target=pl.Series(np.tile(target, counts.shape[0])),
    )


def _groups(rows: pl.DataFrame, balance: Sequence[str]) -> pl.DataFrame:
    cell = ["dataset", *balance]
    squared = pl.col("n_draws").pow(2).sum()
    effective = pl.when(squared > 0).then(pl.col("n_draws").sum().pow(2) / squared)
    images = rows.group_by(cell).agg(
        images=pl.len().cast(pl.Int64),
        not_drawn=(pl.col("n_draws") == 0).sum().cast(pl.Int64),
        draws=pl.col("n_draws").sum(),
        most_draws=pl.col("n_draws").max(),
        effective_images=effective,
    )
    patients = rows.group_by([*cell, pl.coalesce("patient_id", "image_id").alias("_unit")]).agg(pl.col("n_draws").sum())
    return images.join(patients.group_by(cell).agg(effective_patients=effective), on=cell, how="left").sort(cell)
