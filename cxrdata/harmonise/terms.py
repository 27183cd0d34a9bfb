"""Sex, view and position: raw terms through the vocabularies, unknown ones reported."""

from __future__ import annotations

import polars as pl

from cxrdata.sources.account import Account
from cxrdata.vocabularies import Vocabularies


def harmonise_sex(frame: pl.DataFrame, dataset: str, vocabularies: Vocabularies, account: Account) -> pl.DataFrame:
    """Add `sex` (F, M, O or null) from `sex_raw`."""
    table = vocabularies.sex.filter(pl.col("dataset") == dataset).select(
        pl.col("raw_value").alias("sex_raw"), "sex", _known=pl.lit(value=True)
    )
    frame = _look_up(frame, table, ["sex_raw"])
    return _report(frame, "sex_raw", "sex", account)


def harmonise_view(frame: pl.DataFrame, dataset: str, vocabularies: Vocabularies, account: Account) -> pl.DataFrame:
    """Add `view`, `frontal`, `position` from `view_raw` as the field `view_source` means it, and
    `position` from `position_raw` and `position_source` where they say more."""
    table = vocabularies.views.filter(pl.col("dataset") == dataset)
    views = table.select(
        pl.col("field").alias("view_source"),
        pl.col("raw_value").alias("view_raw"),
        "view",
        "frontal",
        "position",
        _known=pl.lit(value=True),
    )
    frame = _look_up(frame, views, ["view_source", "view_raw"])
    frame = _report(frame, "view_raw", "view", account)
    if "position_raw" in frame.columns:
        positions = table.select(
            pl.col("field").alias("position_source"),
            pl.col("raw_value").alias("position_raw"),
            pl.col("position").alias("_position"),
            _known=pl.lit(value=True),
        )
        frame = _look_up(frame, positions, ["position_source", "position_raw"])
        frame = _report(frame, "position_raw", "position", account)
        # A decubitus film is a position of its own; what stands beside it (recumbent) says less.
        view_wins = pl.col("position") == "decubitus"
        frame = frame.with_columns(
            position=pl.when(view_wins).then("position").otherwise(pl.coalesce("_position", "position"))
        ).drop("_position")
    return frame


def _look_up(frame: pl.DataFrame, table: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Left join on few distinct terms: the rows keep their order."""
    return frame.join(table, on=keys, how="left", maintain_order="left")


def _report(frame: pl.DataFrame, raw: str, column: str, account: Account) -> pl.DataFrame:
    unknown = frame.filter(pl.col(raw).is_not_null() & pl.col("_known").is_null())
    account.reject_values(
        pl.col("source_file"),
        unknown,
        "CXR-303",
        column=column,
        value=raw,
        message=pl.lit(f"unknown {column}; an overlay can add it to the vocabulary"),
    )
    return frame.drop("_known")
