"""Shares of groups in the parts of a split, and how far they lie apart: against numbers worked out by hand."""

from __future__ import annotations

import polars as pl
import pytest

from cxrdata.splits.shares import SHARES, distances, shares_by_split
from cxrdata.store.catalog import Catalog


def _shares(*rows: tuple[str, str, str, str, int, float]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SHARES, orient="row")


def test_the_value_that_lies_furthest_apart() -> None:
    table = _shares(
        ("d", "sex", "F", "test", 1, 25.0),
        ("d", "sex", "F", "train", 1, 50.0),
        ("d", "sex", "F", "valid", 1, 40.0),
        ("d", "sex", "M", "test", 3, 75.0),
        ("d", "sex", "M", "train", 1, 55.0),
        ("d", "sex", "M", "valid", 1, 60.0),
    )
    assert distances(table).rows() == [("d", "sex", 25.0, "F", 25.0, "test", 50.0, "train")]


def test_nothing_to_compare() -> None:
    assert distances(_shares(("d", "sex", "F", "test", 1, 100.0))).is_empty()
    unknown = _shares(("d", "race", "(unknown)", "test", 1, 100.0), ("d", "race", "(unknown)", "train", 1, 100.0))
    assert distances(unknown).is_empty()


@pytest.mark.parametrize(("column", "value", "factor"), [("n_draws", 3, 3), ("weight", 0.5, 0.5), ("fold", 1, 1)])
def test_draws_and_weights_count(
    split_catalog: Catalog, split_images: pl.DataFrame, column: str, value: float, factor: float
) -> None:
    frame = split_images.filter(dataset="nih_cxr14").select("dataset", "image_id", "sex", split=pl.lit("test"))
    table = shares_by_split(split_catalog, frame.drop("sex").with_columns(pl.lit(value).alias(column)), ["sex"])
    expected = {sex: n * factor for sex, n in frame.group_by("sex").len().iter_rows()}
    assert dict(table.select("value", "images").iter_rows()) == expected
    assert table["percent"].sum() == pytest.approx(100)
