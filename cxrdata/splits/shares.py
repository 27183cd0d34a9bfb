"""How alike the parts of a split are: the shares of each group in each part, and how far they lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.splits.attributes import with_attributes

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

ATTRIBUTES = ("race", "sex", "age_group", "view")
UNKNOWN = "(unknown)"
SHARES = {
    "dataset": pl.String, "attribute": pl.String, "value": pl.String, "split": pl.String, "images": pl.Float64, "percent": pl.Float64,
}  # fmt: skip
_KEYS = ("dataset", "image_id")


def shares_by_split(catalog: Catalog, frame: pl.DataFrame, names: Sequence[str] = ATTRIBUTES) -> pl.DataFrame:
    """dataset, attribute, value, split, images (where the split has them, draws, or weights: Float64), percent (of the dataset's
    part); sorted, attributes in the order of `names`. A value that a part lacks stands there with 0.
    """
    counted = next((pl.col(name) for name in ("n_draws", "weight") if name in frame.columns), pl.lit(1))
    rows = frame.select(*_KEYS, "split", _n=counted.cast(pl.Float64).fill_null(0.0))
    rows = with_attributes(catalog, rows, names)
    table = pl.concat(_shares(rows, name) for name in names)
    if "weight" not in frame.columns:
        table = table.with_columns(pl.col("images").cast(pl.Int64))
    order = {name: at for at, name in enumerate(names)}
    return table.sort("dataset", pl.col("attribute").replace_strict(order), "value", "split")


def _shares(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    values = rows.select("dataset", "split", "_n", value=pl.col(name).fill_null(UNKNOWN))
    counts = values.group_by("dataset", "split", "value").agg(images=pl.col("_n").sum())
    every = counts.select("dataset", "split").unique().join(counts.select("dataset", "value").unique(), on="dataset")
    counts = every.join(counts, on=["dataset", "split", "value"], how="left").with_columns(
        pl.col("images").fill_null(0.0)
    )
    share = 100 * pl.col("images") / pl.col("images").sum().over("dataset", "split")
    shares = counts.with_columns(attribute=pl.lit(name), percent=share.fill_nan(None))
    return shares.select(pl.col(column).cast(dtype) for column, dtype in SHARES.items())


def distances(shares: pl.DataFrame) -> pl.DataFrame:
    """Where the parts of each dataset lie furthest apart: dataset, attribute, points (of percent, between the part with
    the smallest and the one with the largest share of a value), value, low, least (part), high, most (part); one row a
    dataset and attribute that is known of any image, and of which there are two parts.
    """
    by_value = ["dataset", "attribute", "value"]
    known = shares.filter(~(pl.col("value") == UNKNOWN).all().over("dataset", "attribute"))
    spread = (
        known.sort("percent", "split", nulls_last=True)
        .group_by(by_value, maintain_order=True)
        .agg(
            low=pl.col("percent").min(),
            high=pl.col("percent").max(),
            least=pl.col("split").first(),
            most=pl.col("split").last(),
            n=pl.len(),
        )
        .filter(pl.col("n") > 1)
        .with_columns(points=(pl.col("high") - pl.col("low")).round(6))
    )
    widest = spread.sort("points", *by_value, descending=[True, False, False, False]).unique(
        ["dataset", "attribute"], keep="first", maintain_order=True
    )
    return widest.select("dataset", "attribute", "points", "value", "low", "least", "high", "most").sort(
        "dataset", "attribute"
    )
