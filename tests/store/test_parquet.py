"""The digest of rows tells apart what differs only inside lists."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from cxrdata.store.parquet import rows_digest

TEXTS, REALS = pl.List(pl.String), pl.List(pl.Float64)


@pytest.mark.parametrize(
    ("dtype", "one", "other"),
    [
        (TEXTS, [["a", None]], [["a"]]),
        (TEXTS, [["a"], None], [["a"], []]),
        (REALS, [[0.5, 0.5], [1.0]], [[0.5], [0.5, 1.0]]),
        (REALS, [[0.5], None], [[0.5], []]),
        (REALS, [[0.5, None]], [[0.5, 0.0]]),
        (REALS, [[0.25, 0.75]], [[0.75, 0.25]]),
    ],
)
def test_lists_that_differ(dtype: pl.DataType, one: list[Any], other: list[Any]) -> None:
    first, second = (rows_digest(pl.DataFrame({"x": rows}, schema={"x": dtype})) for rows in (one, other))
    assert first != second
    assert first == rows_digest(pl.DataFrame({"x": one}, schema={"x": dtype}))
