"""What every reader does with rows: check keys, refuse repeats, settle matches, cast cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from cxrdata.sources.account import Account
from cxrdata.sources.textfile import TextTable


def with_sound_keys(
    table: TextTable,
    account: Account,
    *,
    column: str,
    pattern: str | None = None,
    form: str | None = None,
    code_missing: str = "CXR-206",
) -> TextTable:
    """Refuse rows whose key is empty (`code_missing`) or not of the dataset's form (CXR-207).

    `form` is what the message calls the pattern: an example or a few words.
    """
    frame = table.frame
    empty = frame[column].is_null()
    if empty.any():
        account.reject_rows(
            table.source_file, frame.filter(empty), code_missing, column=column, message=f"{column} is empty"
        )
        frame = frame.filter(~empty)
    if pattern is not None:
        malformed = ~frame[column].str.contains(pattern)
        if malformed.any():
            account.reject_rows(
                table.source_file,
                frame.filter(malformed),
                "CXR-207",
                column=column,
                message=f"{column} is not of the form {form or pattern}",
            )
            frame = frame.filter(~malformed)
    return TextTable(frame, table.source_file)


def without_repeats(table: TextTable, account: Account, *, keys: Sequence[str]) -> TextTable:
    """Keep the first row of each key and refuse the others (CXR-208)."""
    frame = table.frame
    repeated = (
        ~frame.select(pl.struct(keys).is_first_distinct()).to_series()
        if len(keys) > 1
        else ~frame[keys[0]].is_first_distinct()
    )
    if not repeated.any():
        return table
    account.reject_rows(
        table.source_file,
        frame.filter(repeated),
        "CXR-208",
        column=keys[0],
        message=f"the same {' and '.join(keys)} as an earlier row",
    )
    return TextTable(frame.filter(~repeated), table.source_file)


def settle_matches(
    table: TextTable, account: Account, known: pl.Series, *, column: str, kept: bool = False
) -> pl.DataFrame:
    """The rows whose key is among `known`, settled as merged (or kept); the others are unmatched."""
    matched = table.frame.filter(pl.col(column).is_in(known.implode()))
    unmatched = table.frame.height - matched.height
    if kept:
        account.settle(table.source_file, kept=matched.height, unmatched=unmatched)
    else:
        account.settle(table.source_file, merged=matched.height, unmatched=unmatched)
    return matched


def numbers(
    frame: pl.DataFrame,
    columns: Mapping[str, type[pl.DataType]],
    account: Account,
    source_file: str | pl.Expr,
    *,
    nulls: Sequence[str] = (),
) -> pl.DataFrame:
    """Cast text columns to numbers; cells that are none become null and are reported (CXR-301).

    `nulls` are spellings of an empty cell (`None`). Integers may be written as `512.0` or `5.12e+02`.
    """
    for column, dtype in columns.items():
        text = pl.col(column).str.strip_chars()
        if nulls:
            text = pl.when(~text.is_in(list(nulls))).then(text)
        cast = text.cast(pl.Float64, strict=False)
        if dtype != pl.Float64:
            cast = pl.when(cast == cast.floor()).then(cast).cast(dtype, strict=False)
        value = frame.select(cast.alias(column)).to_series()
        given = frame.select(text.alias(column)).to_series()
        wrong = value.is_null() & given.is_not_null() & (given != "")
        if wrong.any():
            account.reject_values(source_file, frame.filter(wrong), "CXR-301", column=column)
        frame = frame.with_columns(value)
    return frame


def dates(
    frame: pl.DataFrame, column: str, account: Account, source_file: str, *, nulls: Sequence[str] = ()
) -> pl.DataFrame:
    """Cast `yyyymmdd` text to Date; other cells become null and are reported (CXR-302)."""
    text = pl.col(column).str.strip_chars()
    if nulls:
        text = pl.when(~text.is_in(list(nulls))).then(text)
    given = frame.select(text.alias(column)).to_series()
    value = given.str.to_date("%Y%m%d", strict=False)
    wrong = value.is_null() & given.is_not_null() & (given != "")
    if wrong.any():
        account.reject_values(source_file, frame.filter(wrong), "CXR-302", column=column)
    return frame.with_columns(value)


def boxes_within(
    frame: pl.DataFrame, account: Account, source_file: str, *, width: pl.Expr, height: pl.Expr
) -> pl.DataFrame:
    """Refuse boxes (`x_min`, `y_min`, `x_max`, `y_max` in pixels of the distributed file) without area or outside
    the frame (CXR-212). A null width or height of the image is not checked."""
    sound = (
        (pl.col("x_min") < pl.col("x_max"))
        & (pl.col("y_min") < pl.col("y_max"))
        & (pl.col("x_min") >= 0)
        & (pl.col("y_min") >= 0)
        & (pl.col("x_max") <= width).fill_null(value=True)
        & (pl.col("y_max") <= height).fill_null(value=True)
    ).fill_null(value=False)
    unknown = pl.any_horizontal(pl.col("x_min", "y_min", "x_max", "y_max").is_null())
    message = (
        pl.when(unknown)
        .then(pl.lit("a corner of the box is missing"))
        .otherwise(pl.lit("the box has no area or lies outside the image"))
    )
    account.reject_rows(source_file, frame.filter(~sound), "CXR-212", message=message)
    return frame.filter(sound)
