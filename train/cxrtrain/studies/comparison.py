"""What was published beside what is found here, figure by figure, with the reason where the two cannot be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

PHANTOMS = "phantoms: drawn images, nothing of them is comparable"
RANDOM_ROWS = "synthetic catalog: its rows are random numbers, nothing of them is comparable"
_PLACES = 3
_COUNTS = 10  # a whole number from here on is a count, and so are the whole numbers beside it


def compare(
    published: pl.DataFrame, here: pl.DataFrame, on: Sequence[str], reason: Callable[[Mapping[str, Any]], str | None]
) -> pl.DataFrame:
    """published: the columns `on` and `published`; here: `on` and `here`. reason: of a row of both, why there is no figure
    here, or why the two are not expected to agree; None where nothing stands in the way.

    Returns all rows of `published` in their order: its columns, here, difference (here - published), reason.
    """
    joined = published.join(here.select(*on, "here"), on=list(on), how="left", nulls_equal=True, maintain_order="left")
    reasons = [reason(row) for row in joined.iter_rows(named=True)]
    return joined.with_columns(
        difference=pl.col("here") - pl.col("published"), reason=pl.Series(reasons, dtype=pl.String)
    )


def rounded(frame: pl.DataFrame, *, but: Sequence[str] = ()) -> pl.DataFrame:
    """Shares as text with three places: the page's tables show two of a number. Whole numbers of counts stay whole, and a
    difference of two counts does however small it is. A minus is the sign of that name: a text that begins with a hyphen is
    taken for a formula."""
    names = [name for name, dtype in frame.schema.items() if dtype == pl.Float64 and name not in but]

    def told(row: dict[str, float | None]) -> dict[str, str | None]:
        known = [value for value in row.values() if value is not None]
        counts = all(value == round(value) for value in known) and any(abs(value) >= _COUNTS for value in known)
        return {name: None if value is None else _told(value, count=counts) for name, value in row.items()}

    rows = [told(row) for row in frame.select(names).iter_rows(named=True)]
    return frame.with_columns(pl.Series(name, [row[name] for row in rows], dtype=pl.String) for name in names)


def _told(value: float, *, count: bool) -> str:
    whole = count or (abs(value) >= _COUNTS and value == round(value))
    return signed(value, 0 if whole else _PLACES)


def signed(value: float, places: int) -> str:
    """A number as text, with a minus sign that no spreadsheet takes for a formula, and no sign before 0."""
    text = f"{value:,.{places}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text.replace(",", "")) else text.lstrip("-")
