"""What a balanced split tells of itself: how near it came to the best there can be, what weights and draws are worth."""

from __future__ import annotations

from math import fsum

import polars as pl

from cxrdata.splits.feasible import Packed, Packing
from cxrdata.splits.groups import Compared
from cxrdata.splits.ratios import Ratios

_OPTIMUM = {
    "dataset": pl.String,
    "unit": pl.String,
    "cells": pl.Int64,
    "smallest_cell": pl.String,
    "bound": pl.Int64,
    "kept_per_cell": pl.Int64,
    "gap": pl.Int64,
    "method": pl.String,
}
_EFFECT = {
    "dataset": pl.String,
    "split": pl.String,
    "cells": pl.Int64,
    "images": pl.Int64,
    "effective_images": pl.Float64,
}


def optimum_of(part: Compared, packing: Packing, packed: Packed, unit: str) -> pl.DataFrame:
    """One row: the bound, what is kept, and whether more could be; see `Balanced.optimum`."""
    smallest = part.said(int(packing.supply.argmin()))
    method = "exact" if packed.proven else "bound"
    row = (part.dataset, unit, len(part.cells), smallest, packed.bound, packed.kept, packed.bound - packed.kept, method)
    return pl.DataFrame([row], schema=_OPTIMUM, orient="row")


def effect_of(part: Compared, rows: pl.DataFrame, ratios: Ratios, column: str) -> pl.DataFrame:
    """One row a split: what its weights or draws are worth; see `Balanced.optimum`."""
    table = []
    for split in ratios.names:
        # Sums over the few distinct values, rounded once, so that no order of rows shows in the last digit.
        counts = rows.filter(split=split)[column].value_counts(name="n").rows()
        total, squares = fsum(value * n for value, n in counts), fsum(value * value * n for value, n in counts)
        images, largest = sum(n for _, n in counts), max(value for value, _ in counts)
        table.append((part.dataset, split, len(part.cells), images, total * total / squares, largest))
    return pl.DataFrame(table, schema=_EFFECT | {"largest": rows.schema[column]}, orient="row")


def thin(part: Compared, packed: Packed, ratios: Ratios) -> list[str]:
    """What to say where the cells have too few for one of the splits."""
    quotas = ratios.quotas(packed.kept)
    return [
        f"{part.name}: nothing in {name}, as {packed.kept:,} of each cell are too few for a share of {share:g}"
        for name, share, quota in zip(ratios.names, ratios.shares, quotas, strict=True)
        if quota == 0
    ]


def said_of(optimum: pl.DataFrame) -> list[str]:
    """The rows of `Balanced.optimum` as sentences."""
    said = _of_bound if "bound" in optimum.columns else _of_effect
    return [said(**row) for row in optimum.iter_rows(named=True)]


def _of_bound(
    *,
    dataset: str | None,
    unit: str,
    cells: int,
    smallest_cell: str,
    bound: int,
    kept_per_cell: int,
    gap: int,
    method: str,
) -> str:
    reached = (
        f"{dataset or 'all datasets together'}: {kept_per_cell:,} {unit}s of each of {cells} cells over all splits"
    )
    most = f"the smallest cell ({smallest_cell}) has {bound:,}"
    if gap == 0:
        return f"{reached}, the most there can be: {most}"
    if method == "exact":
        return f"{reached}, the most there can be without parting a patient; {most}"
    return f"{reached}; {most}, and whether up to {gap:,} more fit without parting a patient is not known"


def _of_effect(
    *, dataset: str | None, split: str, cells: int, images: int, effective_images: float, largest: float
) -> str:
    kind = "weight" if isinstance(largest, float) else "number of draws"
    return (
        f"{dataset or 'all datasets together'}, {split}: {images:,} images in {cells} cells are worth "
        f"{effective_images:,.0f} equally weighted ones; the largest {kind} is {largest:.4g}"
    )
