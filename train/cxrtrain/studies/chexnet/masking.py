"""Beside a masked group so many more are masked that its positives do not follow from the overall row and the others.

The audit masks a group of few patients alone. Here every group of an attribute stands in one table with the whole, so that the
positives of a single masked decade would be a subtraction. What else to mask is the house's own search
(`cxrdata.report.disclosure`). An AUROC of known N tells how many positives it is of: it goes with them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.audit.data import OVERALL
from cxrdata.report.disclosure import Count, Sum, masked

if TYPE_CHECKING:
    from cxrdata.audit.data import Grouping, Scored

BESIDE = "masked: it would tell a masked group"
_UNKNOWN = "unknown"
_FAMILY = {"model": pl.String, "label": pl.String, "group_by": pl.String}
_FIGURES = ("n_positive", "estimate", "ci_low", "ci_high", "p_value", "p_adjusted", "method")


def mask_beside(rows: pl.DataFrame, scored: Sequence[Scored], min_cell: int) -> pl.DataFrame:
    """Rows of the audit, those of groups that would tell a masked one without figures, as are comparisons with them."""
    chosen = [
        {"model": one.model, "label": one.label, "group_by": group.by, "_value": value}
        for one in scored
        for group in one.groupings
        for value in _beside(one, group, min_cell)
    ]
    known = pl.DataFrame(chosen, schema=_FAMILY | {"_value": pl.String}, orient="row")
    hidden = known.group_by(list(_FAMILY)).agg(pl.col("_value").alias("_hidden"))
    told = rows.join(hidden, on=list(_FAMILY), how="left", maintain_order="left", nulls_equal=True)
    compared = (
        pl.col("note")
        .str.extract_all(r"(?:highest|lowest|less) [^,;]+")
        .list.eval(pl.element().str.replace(r"^\S+ ", ""))
    )
    own = pl.col("group_value").is_in(pl.col("_hidden"))
    with_one = compared.list.set_intersection("_hidden").list.len() > 0
    gone = (own | with_one).fill_null(own).fill_null(value=False)
    return told.with_columns(
        *(pl.when(~gone).then(pl.col(name)).alias(name) for name in _FIGURES),
        note=pl.when(gone).then(pl.lit(BESIDE)).otherwise("note"),
    ).drop("_hidden")


def _beside(one: Scored, group: Grouping, min_cell: int) -> Iterator[str]:
    """The groups to mask because of those of few patients, which are not among them."""
    counts: dict[Hashable, Count] = {OVERALL: Count(len(one.patients), len(np.unique(one.patients)))}
    for code, value in ((-1, None), *enumerate(group.values)):
        inside = group.codes == code
        if inside.any():
            counts[value or _UNKNOWN] = Count(int(inside.sum()), len(np.unique(one.patients[inside])))
    groups = [value for value in group.values if value in counts]
    few = [value for value in groups if counts[value].persons < min_cell]
    if not few:
        return
    parts = [key for key in counts if key != OVERALL]
    unknown = [] if _UNKNOWN in groups else [_UNKNOWN]  # no row tells them
    found = masked(counts, [Sum(OVERALL, parts)], min_cell=min_cell, hidden=unknown, shown=[OVERALL])
    yield from (value for value in groups if value in found and value not in few)
