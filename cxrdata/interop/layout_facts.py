"""What the layouts of splits have in common: facts of the images, native labels, rows that cannot be written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.schemas.names import states_name

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

KEY = ["dataset", "image_id"]
DRAWS = "n_draws"
SEXES = {"M": "Male", "F": "Female"}
ASSESSED = "_assessed"
# Codes of the stored states: negative by silence is negative, unmentioned stays blank.
_PUBLISHED = {1: 1.0, 0: 0.0, -1: -1.0, -3: 0.0}
_SHORT = {"valid": "val"}


@dataclass
class Tables:
    """Tables by file name, and notes for the user."""

    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def of_dataset(catalog: Catalog, frame: pl.DataFrame, dataset: str, columns: Sequence[str]) -> pl.DataFrame:
    """The rows of one dataset, in their order, with columns of `images` beside image_id and split."""
    images = catalog.table("images").filter(dataset=dataset).select("image_id", *columns).collect()
    rows = frame.filter(dataset=dataset).select("image_id", "split")
    return rows.join(images, on="image_id", how="left", maintain_order="left")


def with_labels(
    catalog: Catalog, rows: pl.DataFrame, dataset: str, labeler: str, labels: Sequence[str]
) -> pl.DataFrame:
    """`rows` with one Float64 column a native label, as published: 1, 0, -1, null where it is not mentioned.

    `_assessed` says whether the labeler looked at the image at all.
    """
    states = _states(catalog, dataset, labeler)
    if states is None:
        return rows.with_columns(
            pl.lit(value=False).alias(ASSESSED), *(pl.lit(None, pl.Float64).alias(name) for name in labels)
        )
    coded = states.select(
        "image_id", *(pl.col(name).replace_strict(_PUBLISHED, default=None, return_dtype=pl.Float64) for name in labels)
    )
    joined = rows.join(
        coded.with_columns(pl.lit(value=True).alias(ASSESSED)).collect(),
        on="image_id",
        how="left",
        maintain_order="left",
    )
    return joined.with_columns(pl.col(ASSESSED).fill_null(value=False))


def positive_labels(catalog: Catalog, dataset: str, labeler: str) -> pl.DataFrame:
    """image_id and labels: the sorted positive native labels of each image that the labeler looked at."""
    states = _states(catalog, dataset, labeler)
    if states is None:
        return pl.DataFrame(schema={"image_id": pl.String, "labels": pl.List(pl.String)})
    frame = states.collect()
    names = sorted(set(frame.columns) - {"image_id", "closed_world"})
    positive = [frame.filter(pl.col(name) == 1).select("image_id", label=pl.lit(name)) for name in names]
    listed = pl.concat([frame.select("image_id", label=pl.lit(None, pl.String)), *positive])
    return listed.group_by("image_id").agg(labels=pl.col("label").drop_nulls().sort())


def _states(catalog: Catalog, dataset: str, labeler: str) -> pl.LazyFrame | None:
    """What the labeler says, stored wide; None where the catalog has none of it."""
    table = states_name(dataset, labeler)
    return catalog.table(table) if any(entry["table"] == table for entry in catalog.manifest["tables"]) else None


def writable(rows: pl.DataFrame, dataset: str, needs: dict[str, pl.Expr], notes: list[str]) -> pl.DataFrame:
    """The rows that have all that the layout needs; how many others there are, and for want of what, goes to the notes.

    needs: what is needed, in words, and the condition of having it (null: not).
    """
    for what, has in needs.items():
        kept = rows.filter(has.fill_null(value=False))
        if kept.height < rows.height:
            notes.append(f"{dataset}: {rows.height - kept.height:,} rows are left out: {what}")
        rows = kept
    return rows


def by_split(rows: pl.DataFrame, *, short: bool = True) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows of each split, sorted by its name, without the column; `valid` is `val` where the name is short."""
    for split in rows["split"].unique().sort().to_list():
        yield _SHORT.get(split, split) if short else split, rows.filter(split=split).drop("split")


def datasets_of(frame: pl.DataFrame) -> list[str]:
    """The datasets of a split, sorted."""
    return frame["dataset"].unique().sort().to_list()
