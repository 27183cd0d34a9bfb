"""The review read carefully: bounds in place of points, what is unknown counted, near-duplicates counted once.

`more than x % adult` allows any number of children up to what x leaves of 100, so the children are between two bounds. A
dataset of unknown share or size is in no total and stands beside it. Names of one dataset are merged by the curated
list. Every total is also given without the one dataset that holds most of the children.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from cxrdata.review.counting import how_many, percent, summed
from cxrdata.review.published import SELECTIONS, SUMMARY_SCHEMA

_BOUNDS = {
    "children_low": pl.Int64,
    "children_high": pl.Int64,
    "percent_children_low": pl.Float64,
    "percent_children_high": pl.Float64,
}
_UNKNOWN = {"datasets_share_unknown": pl.Int64, "datasets_size_unknown": pl.Int64, "size_of_share_unknown": pl.Int64}
# The same with every dataset of known size: those of unknown share may be all adults, or all children.
_WITH_UNKNOWN = {"percent_children_low_with_unknown": pl.Float64, "percent_children_high_with_unknown": pl.Float64}
_WITHOUT_LARGEST = {
    "largest_dataset": pl.String,
    "children_of_largest_low": pl.Int64,
    "children_of_largest_high": pl.Int64,
    "children_low_without_largest": pl.Int64,
    "children_high_without_largest": pl.Int64,
    "percent_children_low_without_largest": pl.Float64,
    "percent_children_high_without_largest": pl.Float64,
}
CHILDREN_SCHEMA: dict[str, Any] = {**_BOUNDS, **_UNKNOWN, **_WITH_UNKNOWN, **_WITHOUT_LARGEST}
_TINY = 1e-9  # sums of decimal shares miss whole numbers by less


@dataclass(frozen=True)
class Children:
    """Children among datasets. `size`: patients, sequences or images of those whose share and size are known;
    `point`: children as the publication reads `more than x %`; `low` and `high`: what the statements allow.
    """

    datasets: int
    size: float
    point: float
    low: float
    high: float

    def bounds(self) -> tuple[int, int, float | None, float | None]:
        """The values of `_BOUNDS`: whole children, two decimals of per cent."""
        return (*whole(self.low, self.high), percent(self.low, self.size), percent(self.high, self.size))


def whole(low: float, high: float) -> tuple[int, int]:
    """Bounds as whole numbers, never narrower."""
    return math.floor(low + _TINY), math.ceil(high - _TINY)


def merged(entries: pl.DataFrame) -> pl.DataFrame:
    """One row a dataset: of the entries of one canonical name the most complete, then the largest, then the first."""
    complete = pl.col("adult_share").is_not_null() & pl.col("patients").is_not_null()
    return (
        entries.with_columns(complete=complete)
        .sort(["complete", "patients", "entry"], descending=[True, True, False], nulls_last=True)
        .unique("canonical_name", keep="first", maintain_order=True)
        .sort("entry")
        .drop("complete")
    )


def children_among(datasets: pl.DataFrame, size: str = "patients") -> Children:
    """Children of the datasets whose share of adults and `size` are known."""
    known = with_known(datasets, size)
    point, low, high = known.select(
        point=(pl.col(size) * (1 - pl.col("adult_share"))).sum(),
        low=(pl.col(size) * (1 - pl.col("adult_share_high"))).sum(),
        high=(pl.col(size) * (1 - pl.col("adult_share_low"))).sum(),
    ).row(0)
    return Children(known.height, summed(known[size]), point, low, high)


def with_known(datasets: pl.DataFrame, size: str = "patients") -> pl.DataFrame:
    """The datasets whose share of adults and size are both known, be it as bounds."""
    return datasets.filter(pl.col("adult_share").is_not_null() & pl.col(size).is_not_null())


def largest_of(datasets: pl.DataFrame, size: str = "patients") -> str | None:
    """The canonical name of the dataset with the most children; null where there are none."""
    known = with_known(datasets, size).with_columns(n=pl.col(size) * (1 - pl.col("adult_share")))
    some = known.filter(pl.col("n") > 0).sort(["n", "entry"], descending=[True, False])
    return some["canonical_name"][0] if some.height else None


def children_columns(datasets: pl.DataFrame, size: str = "patients") -> tuple[Any, ...]:
    """The values of `CHILDREN_SCHEMA` for merged datasets."""
    found = children_among(datasets, size)
    unknown = datasets.filter(pl.col("adult_share").is_null())
    beside = float(summed(unknown[size]) or 0)
    name = largest_of(datasets, size)
    is_it = pl.col("canonical_name") == pl.lit(name)
    largest = children_among(datasets.filter(is_it), size)
    rest = children_among(datasets.filter(~is_it) if name else datasets, size)
    return (
        *found.bounds(),
        unknown.height,
        how_many(datasets, pl.col(size).is_null()),
        round(beside),
        percent(found.low, found.size + beside),
        percent(found.high + beside, found.size + beside),
        name,
        *(whole(largest.low, largest.high) if name else (None, None)),
        *rest.bounds(),
    )


def summary(entries: pl.DataFrame) -> pl.DataFrame:
    """One row a source: the columns of the contract, then those of `CHILDREN_SCHEMA`.

    `children` and `percent_children` read `more than x %` as x, as the publication does, to be compared with it: the
    bounds behind them are what the statements say. Countries and institutions are those of every entry.
    """
    rows = []
    for source, chosen in SELECTIONS.items():
        listed = entries.filter(chosen)
        datasets = merged(listed)
        found = children_among(datasets)
        rows.append((
            source, _distinct(listed, "institution_countries"), _distinct(listed, "institutions"), datasets.height,
            found.datasets, round(found.size), round(found.point), percent(found.point, found.size),
            *children_columns(datasets),
        ))  # fmt: skip
    return pl.DataFrame(rows, schema={**SUMMARY_SCHEMA, **CHILDREN_SCHEMA}, orient="row")


def _distinct(entries: pl.DataFrame, column: str) -> int:
    return entries[column].explode().drop_nulls().n_unique()
