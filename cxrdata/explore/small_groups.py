"""Which groups are of so few patients that a test or a curve would tell of them one by one."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def of_few(sample: pl.DataFrame, by: str, marginals: Sequence[str], min_cell: int) -> list[str | None]:
    """The values of `by`, null too, that in one of the samples, and of one of the marginals, have 1 to min_cell - 1 patients;
    in the order in which they come. sample: resampled, patient and the columns."""
    patients = [pl.col("patient").filter(pl.col(name).is_not_null()).n_unique().alias(name) for name in marginals]
    # Named for itself: `by` may be a column that is grouped by already.
    counts = sample.group_by("resampled", value=pl.col(by), maintain_order=True).agg(patients)
    few = counts.filter(pl.any_horizontal(pl.col(name).is_between(1, min_cell - 1) for name in marginals))
    found: list[str | None] = few["value"].unique(maintain_order=True).to_list()
    return found
