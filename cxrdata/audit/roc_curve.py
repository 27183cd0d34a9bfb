"""ROC curves of groups as figures draw them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cxrdata.audit.data import Grouping, Scored

Floats = NDArray[np.float64]
_STEPS = 200
_DIGITS = 5


def roc_curves(scored: Scored, grouping: Grouping, *, min_cell: int, least: int) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each group's name and curve (`fpr`, `tpr`), of groups with at least `min_cell` patients and `least` images of either
    class: with fewer a curve is a staircase of single images.
    """
    for group, value in enumerate(grouping.values):
        inside = grouping.codes == group
        n_positive = int(scored.positive[inside].sum())
        fewest = min(n_positive, int(inside.sum()) - n_positive)
        if fewest >= max(least, 1) and len(np.unique(scored.patients[inside])) >= min_cell:
            yield value, roc_curve(scored.scores[inside], scored.positive[inside], scored.weights[inside])


def roc_curve(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> pl.DataFrame:
    """fpr, tpr from (0, 0) to (1, 1): the points next to 200 equal steps of either rate, more than a figure can show.

    Both classes must be there. Ties are one step, so the curve is a straight line through them.
    """
    order = np.argsort(-scores, kind="stable")
    hits, drawn = positive[order], weights[order]
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    tpr = np.append(0.0, np.cumsum(drawn * hits)[last])
    fpr = np.append(0.0, np.cumsum(drawn * ~hits)[last])
    tpr, fpr = tpr / tpr[-1], fpr / fpr[-1]
    steps = np.linspace(0, 1, _STEPS + 1)
    kept = np.unique(np.concatenate([np.searchsorted(rate, steps) for rate in (tpr, fpr)]).clip(0, len(tpr) - 1))
    return pl.DataFrame({"fpr": fpr[kept].round(_DIGITS), "tpr": tpr[kept].round(_DIGITS)})
