"""Thinning one set of people until its distribution over some attributes is that of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import le

import polars as pl

from cxrdata.splits.ratios import Ratios

_FEW = 3


@dataclass(frozen=True)
class Thinned:
    """What thinning the adults to the children's distribution does.

    cells: the attributes, children, adults (before), kept; one row a combination that either has, sorted, null last.
    leaving: the rows of adults who leave. notes: what could not be matched.
    """

    cells: pl.DataFrame
    leaving: pl.DataFrame
    notes: list[str]


def thinned(adults: pl.DataFrame, children: pl.DataFrame, attributes: Sequence[str]) -> Thinned:
    """Keep as many adults as can follow the children's distribution over the attributes.

    Both: one row a person with the attributes (null is a value of its own); adults with `number`, in whose order they stay,
    ties by image_id. Children whose cell has no adult cannot be followed: they do not count, and the notes say so.
    """
    n = pl.len().cast(pl.Int64)
    names = list(attributes)
    cells = (
        children.group_by(names)
        .agg(children=n)
        .join(adults.group_by(names).agg(adults=n), on=names, how="full", coalesce=True, nulls_equal=True)
        .with_columns(pl.col("children", "adults").fill_null(0))
        .sort(names, nulls_last=True)
    )
    followed = pl.when(pl.col("adults") > 0).then("children").otherwise(0)
    kept = largest_following(cells.select(followed.alias("n"))["n"].to_list(), cells["adults"].to_list())
    cells = cells.with_columns(kept=pl.Series(kept, dtype=pl.Int64))
    ranked = adults.sort("number", "image_id").with_columns(_rank=pl.int_range(pl.len()).over(names))
    joined = ranked.join(cells.select(*names, "kept"), on=names, how="left", nulls_equal=True, maintain_order="left")
    leaving = joined.filter(pl.col("_rank") >= pl.col("kept")).select(adults.columns)
    return Thinned(cells, leaving, _unfollowed(cells, names))


def largest_following(shape: Sequence[int], most: Sequence[int]) -> tuple[int, ...]:
    """The largest whole numbers, none above `most`, that follow `shape` as `Ratios.quotas` does: each within one of its
    share of their sum. shape, most: counts of equal length; where `most` is 0, `shape` is 0."""
    total = sum(shape)
    if not total:
        return (0,) * len(shape)
    ratios = Ratios(tuple(map(str, range(len(shape)))), tuple(map(float, shape)))
    # A quota is below its share plus one, so no larger sum can fit; whole shares that fit do, so one of these sums does.
    bounds = [(limit * total // n, ((limit + 1) * total - 1) // n) for n, limit in zip(shape, most, strict=True) if n]
    sizes = range(min(upper for _, upper in bounds), min(lower for lower, _ in bounds) - 1, -1)
    followed = (ratios.quotas(size) for size in sizes)
    return next(quotas for quotas in followed if all(map(le, quotas, most)))


def _unfollowed(cells: pl.DataFrame, names: list[str]) -> list[str]:
    without = cells.filter((pl.col("adults") == 0) & (pl.col("children") > 0))
    if without.is_empty():
        return []
    shown = "; ".join(
        f"{', '.join(f'{name} {row[name]}' for name in names)}: {row['children']:,} children"
        for row in without.head(_FEW).iter_rows(named=True)
    )
    more = f"; and {without.height - _FEW:,} more such groups" if without.height > _FEW else ""
    unmatched, total = without["children"].sum(), cells["children"].sum()
    notes = [f"{unmatched:,} of {total:,} children have no healthy adult of the test to match ({shown}{more})"]
    return [*notes, "no healthy adult of the test is left by the matching"] if unmatched == total else notes
