"""How far age goes together with dataset, view and sex in the images of a study.

Where all children come from one hospital, or all of them from films without a known view, a difference between children
and adults may be one between hospitals or views. Nothing here adjusts for that; it is counted and said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

AGE_GROUP = "age_group"
CHILD = "pediatric"
ADULT = "adult"
ATTRIBUTES = ("dataset", "view", "sex")


@dataclass(frozen=True)
class Confounding:
    """What goes together with age.

    counts: attribute, value (null: not known), children, adults, share_of_children, share_of_adults; one row a value,
    sorted. associations: attribute, images (with a known value), unknown, cramers_v (over known values),
    cramers_v_with_unknown (null as a value of its own), note (why a V is null); one row an attribute, in the order asked.
    largest_dataset: the dataset with most of the children (ties: the first by name), None without children;
    largest_share: its share of them. without_age_group: images that are neither child nor adult and do not count.
    """

    counts: pl.DataFrame
    associations: pl.DataFrame
    largest_dataset: str | None
    largest_share: float | None
    without_age_group: int

    def report(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "counts": self.counts.to_dicts(),
            "associations": self.associations.to_dicts(),
            "largest_dataset_of_children": self.largest_dataset,
            "its_share_of_children": self.largest_share,
            "without_age_group": self.without_age_group,
        }

    def sentences(self) -> list[str]:
        """What a reader must know of it."""
        said = []
        if self.largest_dataset is not None and self.largest_share is not None:
            said.append(f"{self.largest_share:.0%} of the children are from {self.largest_dataset}")
        for row in self.associations.iter_rows(named=True):
            if row["cramers_v"] is None:
                said.append(f"age and {row['attribute']}: not computed, {row['note']}")
                continue
            unknown = ""
            if row["unknown"]:
                with_unknown = row["cramers_v_with_unknown"]
                unknown = f"; with the {row['unknown']:,} unknown as a value of their own {with_unknown:.2f}"
            said.append(
                f"age and {row['attribute']}: Cramér's V {row['cramers_v']:.2f} (0 unrelated, 1 inseparable){unknown}"
            )
        return said


def confounding(rows: pl.DataFrame, attributes: Sequence[str] = ATTRIBUTES) -> Confounding:
    """How far age goes together with each attribute.

    rows: one row an image: `age_group` (pediatric, adult, or null) and the attributes as text, `dataset` among the columns.
    """
    known = rows.filter(pl.col(AGE_GROUP).is_in([CHILD, ADULT]))
    counts = pl.concat([_counts(known, name) for name in attributes])
    children = known.filter(pl.col(AGE_GROUP) == CHILD)
    of_dataset = children.group_by("dataset").len("n").sort(["n", "dataset"], descending=[True, False])
    name, most = of_dataset.row(0) if of_dataset.height else (None, 0)
    return Confounding(
        counts,
        pl.DataFrame([_association(name, counts.filter(attribute=name)) for name in attributes], schema=_ASSOCIATION),
        name,
        most / children.height if children.height else None,
        rows.height - known.height,
    )


def cramers_v(table: Sequence[Sequence[int]]) -> float | None:
    """Cramér's V of a table of counts, corrected for bias: about 0 (never below) where rows and columns are unrelated.

    After Bergsma, A bias-correction for Cramér's V and Tschuprow's T, Journal of the Korean Statistical Society
    42(3):323-328, 2013, doi:10.1016/j.jkss.2012.10.002. Empty rows and columns do not count. None where fewer than two
    rows or columns are left, or too few images to correct (n - 1 not above rows - 1 or columns - 1).
    """
    lines = [line for line in table if sum(line)]
    columns = [column for column in zip(*lines, strict=True) if sum(column)]
    n_rows, n_columns, n = len(lines), len(columns), sum(sum(line) for line in lines)
    if min(n_rows, n_columns) < 2:
        return None
    of_rows, of_columns = [sum(line) for line in lines], [sum(column) for column in columns]
    # Pearson's chi-squared over n, by its shortest form: the sum of n_ij² / (n_i n_j), less 1.
    shares = (
        column[at] ** 2 / (of_rows[at] * total)
        for column, total in zip(columns, of_columns, strict=True)
        for at in range(n_rows)
    )
    squared = max(0.0, math.fsum(shares) - 1 - (n_rows - 1) * (n_columns - 1) / (n - 1))
    most = min(one - (one - 1) ** 2 / (n - 1) for one in (n_rows, n_columns)) - 1
    return min(1.0, math.sqrt(squared / most)) if most > 0 else None


_ASSOCIATION: dict[str, pl.DataType | type[pl.DataType]] = {
    "attribute": pl.String,
    "images": pl.Int64,
    "unknown": pl.Int64,
    "cramers_v": pl.Float64,
    "cramers_v_with_unknown": pl.Float64,
    "note": pl.String,
}


def _counts(known: pl.DataFrame, attribute: str) -> pl.DataFrame:
    is_child = pl.col(AGE_GROUP) == CHILD
    counted = (
        known.group_by(value=pl.col(attribute).cast(pl.String))
        .agg(children=is_child.sum().cast(pl.Int64), adults=(~is_child).sum().cast(pl.Int64))
        .sort("value", nulls_last=True)
    )
    shares = [
        pl.when(pl.col(name).sum() > 0).then(pl.col(name) / pl.col(name).sum()).alias(f"share_of_{name}")
        for name in ("children", "adults")
    ]
    return counted.select(pl.lit(attribute).alias("attribute"), "value", "children", "adults", *shares)


def _association(attribute: str, counts: pl.DataFrame) -> dict[str, Any]:
    """counts: the rows of the attribute."""
    known = counts.filter(pl.col("value").is_not_null())
    total = sum(counts.select(pl.col("children", "adults").sum()).row(0))
    images = sum(known.select(pl.col("children", "adults").sum()).row(0))
    value = cramers_v(known.select("children", "adults").rows())
    return {
        "attribute": attribute,
        "images": images,
        "unknown": total - images,
        "cramers_v": value,
        "cramers_v_with_unknown": cramers_v(counts.select("children", "adults").rows()),
        "note": None if value is not None else _why_none(known),
    }


def _why_none(known: pl.DataFrame) -> str:
    children, adults = known.select(pl.col("children", "adults").sum()).row(0)
    if not children + adults:
        return "it is known of no image"
    if not children or not adults:
        return f"it is known of no {'child' if not children else 'adult'}"
    return "it has one value only" if known.height < 2 else "there are too few images"
