"""Parquet files of a build, and digests of ordered rows."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import polars as pl

from cxrdata.stages import make_private
from cxrdata.version import __version__

# Polars writes other bytes on other machines unless the row groups are fixed.
ROW_GROUP_ROWS = 122_880
# All that Polars says when the system refuses a file's last kilobytes.
_FOOTER_FAILED = "transport error"


def write_parquet(frame: pl.DataFrame, path: Path, *, description: str) -> None:
    """Write one table file: fixed row groups, zstd, the table's description and our version inside."""
    make_private(path.parent)
    try:
        frame.write_parquet(
            path,
            compression="zstd",
            compression_level=1,
            statistics=True,
            row_group_size=ROW_GROUP_ROWS,
            metadata={"cxrdata.version": __version__, "cxrdata.description": description},
        )
    except pl.exceptions.ComputeError as error:
        if _FOOTER_FAILED not in str(error):
            raise
        raise OSError(errno.ENOSPC, "the end of the file could not be written; most likely the disk is full") from error


def table_path(table: str, dataset: str | None) -> str:
    """Where a table's file lies below `tables/`."""
    return f"{table}/dataset={dataset}/part-0.parquet" if dataset else f"{table}/part-0.parquet"


def rows_digest(frame: pl.DataFrame) -> str:
    """SHA-256 of the rows in their order, independent of how they are stored: column by column,
    its name, type, null mask, and values (text as UTF-8 with its lengths)."""
    digest = hashlib.sha256()
    digest.update(f"{frame.height}".encode())
    for series in frame:
        digest.update(f"\n{series.name}\t{series.dtype}\n".encode())
        _update(digest, series)
    return digest.hexdigest()


def _update(digest: hashlib._Hash, series: pl.Series) -> None:
    if series.dtype == pl.List(pl.Float64):
        _update(digest, series.list.len())
        series = series.explode()
    elif series.dtype == pl.List(pl.String):
        # `join` would leave null items out; without any this changes nothing.
        series = series.list.eval(pl.element().fill_null("\x1d"))
        series = (
            series.list.join("\x1f").fill_null("\x1e")
            if series.len()
            else series.cast(pl.List(pl.String)).list.join("\x1f")
        )
    nulls = series.null_count()
    digest.update(nulls.to_bytes(8, "little"))
    if nulls == len(series):
        return
    if nulls:
        digest.update(series.is_null().cast(pl.UInt8).to_numpy().tobytes())
    if series.dtype == pl.String:
        import pyarrow as pa  # a quarter of a second to import, and a build that finds nothing changed needs none

        array = series.fill_null("").rechunk().to_arrow().cast(pa.large_string())
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        _, offsets, values = array.buffers()
        digest.update(memoryview(offsets)[: (len(array) + 1) * 8])
        if values is not None:
            digest.update(values)
        return
    if series.dtype == pl.Boolean:
        series = series.fill_null(value=False).cast(pl.UInt8)
    elif series.dtype == pl.Date:
        series = series.cast(pl.Int32).fill_null(0)
    else:
        series = series.fill_null(0)
    digest.update(series.rechunk().to_numpy().tobytes())
