"""Frames against their schema: rows that break a rule are taken out and handed on."""

from __future__ import annotations

import polars as pl
from pandera.errors import SchemaError, SchemaErrors

from cxrdata.errors import CxrError
from cxrdata.schemas.tables import Table


def conform(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """`frame` with exactly the table's columns, in order, in its types; absent ones null."""
    have = set(frame.columns)
    return frame.select(
        (pl.col(name) if name in have else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in table.types().items()
    )


def validate(frame: pl.DataFrame, table: Table) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a conforming frame into sound rows and failures (`row`, `column_name`, `value`, `message`).

    `row` is the position in `frame`. Raises CxrError CXR-404 where the table breaks its schema as a whole
    (a column missing or of the wrong type): a defect of a reader, not of the data.
    """
    try:
        table.schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        failures = errors.failure_cases
        whole = failures.filter(pl.col("index").is_null())
        if not whole.is_empty():
            first = whole.row(0, named=True)
            raise CxrError(
                "CXR-404",
                f"{table.name}: {first['check']} ({first['column']}: {first['failure_case']})",
                fix="this is a defect of cxrdata; please report it",
            ) from errors
        broken = failures.select(
            row=pl.col("index").cast(pl.Int64),
            column_name=pl.col("column").cast(pl.String),
            value=pl.col("failure_case").cast(pl.String),
            message=pl.lit(f"breaks the rule of {table.name}: ") + pl.col("check").cast(pl.String),
        ).sort("row", "column_name")
        keep = pl.Series([True]).new_from_index(0, frame.height).scatter(broken["row"].unique().to_list(), False)  # noqa: FBT003
        return frame.filter(keep), broken
    except SchemaError as error:
        raise CxrError(
            "CXR-404", f"{table.name}: {error}", fix="this is a defect of cxrdata; please report it"
        ) from error
    return frame, pl.DataFrame(
        schema={"row": pl.Int64, "column_name": pl.String, "value": pl.String, "message": pl.String}
    )
