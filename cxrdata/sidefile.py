"""Files that users bring along: CSV or Parquet, as a frame."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cxrdata.errors import CxrError


def read_side_file(path: Path) -> pl.DataFrame:
    """Rows of a `.csv`, `.csv.gz`, `.tsv` or `.parquet` file, types inferred by polars.

    Raises CxrError: CXR-101 not there, CXR-103 not such a file.
    """
    if not path.is_file():
        raise CxrError("CXR-101", "this file does not exist", where=str(path), fix="name a CSV or Parquet file")
    name = path.name.lower().removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            return pl.read_parquet(path)
        separator = "\t" if name.endswith((".tsv", ".txt")) else ","
        return pl.read_csv(path, separator=separator, infer_schema_length=10_000)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CxrError(
            "CXR-103",
            f"cannot be read as a table: {str(error).splitlines()[0]}",
            where=str(path),
            fix="give a CSV or Parquet file with a header",
        ) from error
