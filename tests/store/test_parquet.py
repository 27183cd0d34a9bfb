"""The digest of rows tells apart what differs only inside lists; a disk that is full is told as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cxrdata.store.parquet import rows_digest, write_parquet

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


def test_a_full_disk_at_a_file_s_very_end_is_told_as_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Polars keeps the system's reason to itself there; other errors of its are passed on as they are."""

    def refuse(words: str) -> None:
        def write(*_: object, **__: object) -> None:
            raise pl.exceptions.ComputeError(words)

        monkeypatch.setattr(pl.DataFrame, "write_parquet", write)

    refuse("parquet: File out of specification: Invalid thrift: transport error")
    with pytest.raises(OSError, match="the disk is full"):
        write_parquet(pl.DataFrame({"a": [1]}), tmp_path / "a.parquet", description="")
    refuse("another")
    with pytest.raises(pl.exceptions.ComputeError, match="another"):
        write_parquet(pl.DataFrame({"a": [1]}), tmp_path / "a.parquet", description="")
