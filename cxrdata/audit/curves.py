"""Curves as figures draw them: a few hundred points, weighted as the metrics are."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_POINTS = 200
_DIGITS = 5
_FEW = 10


def roc(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> pl.DataFrame:
    """fpr, tpr from (0, 0) to (1, 1), at most some 400 points: those next to 200 equal steps of either rate.

    Both classes must be there. Ties are one step, so a curve through them is a straight line.
    """
    order = np.argsort(-scores, kind="stable")
    hits, drawn = positive[order], weights[order]
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    tpr = np.append(0.0, np.cumsum(drawn * hits)[last])
    fpr = np.append(0.0, np.cumsum(drawn * ~hits)[last])
    tpr, fpr = tpr / tpr[-1], fpr / fpr[-1]
    steps = np.linspace(0, 1, _POINTS + 1)
    kept = np.unique(np.concatenate([np.searchsorted(rate, steps) for rate in (tpr, fpr)]).clip(0, len(tpr) - 1))
    return pl.DataFrame({"fpr": fpr[kept].round(_DIGITS), "tpr": tpr[kept].round(_DIGITS)})


def reliability(
    scores: Floats, positive: NDArray[np.bool_], weights: Floats, *, bins: int = 10, least: int = _FEW
) -> pl.DataFrame:
    """low, high, n, predicted, observed of equally wide bins (low, high], the first one with 0; those of under `least`
    images left out.
    """
    edges = np.linspace(0, 1, bins + 1)
    at = np.searchsorted(edges[1:-1], scores, side="left")
    n = np.bincount(at, minlength=bins)
    weight = np.bincount(at, weights, minlength=bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        predicted = np.bincount(at, weights * scores, minlength=bins) / weight
        observed = np.bincount(at, weights * positive, minlength=bins) / weight
    frame = pl.DataFrame({"low": edges[:-1], "high": edges[1:], "n": n, "predicted": predicted, "observed": observed})
    return frame.filter(pl.col("n") >= least).with_columns(pl.col("predicted", "observed").round(_DIGITS))
