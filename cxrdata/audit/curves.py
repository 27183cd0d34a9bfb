"""What a figure of the audit draws: ROC curves and calibration curves by group, as tidy frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from cxrdata.audit.data import OVERALL, Grouping, Scored
from cxrdata.audit.metrics import Bins
from cxrdata.audit.ordered import Ordered, ratio
from cxrdata.audit.rates import rate_of, wilson
from cxrdata.errors import CxrError
from cxrdata.small_cells import MIN_CELL

CALIBRATION_SCHEMA: dict[str, pl.DataType] = {
    "group_by": pl.String(),
    "group_value": pl.String(),
    "bin_low": pl.Float64(),
    "bin_high": pl.Float64(),
    "n": pl.Int64(),
    "n_positive": pl.Int64(),
    "predicted": pl.Float64(),
    "observed": pl.Float64(),
    "ci_low": pl.Float64(),
    "ci_high": pl.Float64(),
}
ROC_SCHEMA: dict[str, pl.DataType] = {
    "group_by": pl.String(),
    "group_value": pl.String(),
    "threshold": pl.Float64(),
    "fpr": pl.Float64(),
    "tpr": pl.Float64(),
}


def roc_curve(scored: Scored, grouping: Grouping | None = None) -> pl.DataFrame:
    """`ROC_SCHEMA`: a point for each distinct score of each group, from (0, 0), whose threshold is infinite, to (1, 1).

    Groups without positives or without negatives have no curve. grouping: null for everybody.
    """
    by, values, ordered = _parted(scored, grouping)
    weighed = ordered.weigh(np.ones((1, _patients(scored)), np.int32))
    frames = []
    for group, value in enumerate(values):
        sides = (ordered.positive, ordered.negative)
        totals = (float(weighed.n_positive[0, group]), float(weighed.n_negative[0, group]))
        if not all(totals):
            continue
        own = np.concatenate([side.scores[side.starts[group] : side.starts[group + 1]] for side in sides])
        thresholds = np.append(np.unique(own), np.inf)[::-1]
        rates = []
        for side, sums, total in zip(sides, (weighed.positive_sums, weighed.negative_sums), totals, strict=True):
            rates.append((total - sums[0, side.below(group, thresholds)]) / total)
        frames.append(
            pl.DataFrame(
                {"group_by": by, "group_value": value, "threshold": thresholds, "fpr": rates[1], "tpr": rates[0]},
                schema=ROC_SCHEMA,
            )
        )
    return pl.concat(frames) if frames else pl.DataFrame(schema=ROC_SCHEMA)


def calibration_curve(
    scored: Scored,
    grouping: Grouping | None = None,
    *,
    bins: int = 10,
    confidence: float = 0.95,
    min_cell: int = MIN_CELL,
) -> pl.DataFrame:
    """`CALIBRATION_SCHEMA`: a row for each bin of each group that has images; Wilson intervals by patient.

    predicted: the mean score. observed: the share of positives; null in bins of fewer than `min_cell` patients.
    Bins are those of the ECE: (0, 0.1], (0.1, 0.2], …, the first one with 0.

    Raises CxrError CXR-502 where the scores are no probabilities.
    """
    if not scored.probabilities:
        raise CxrError("CXR-502", f"the scores of {scored.label} are no probabilities, so they cannot be calibrated")
    by, values, ordered = _parted(scored, grouping)
    edges = np.linspace(0, 1, bins + 1)
    k = _patients(scored)
    weight, predicted, observed = Bins(ordered, scored.scores, scored.positive, bins=bins).sums(
        np.ones((1, k), np.int32)
    )
    means, shares = ratio(predicted, weight)[0], ratio(observed, weight)[0]
    codes = np.zeros(len(scored.scores), np.int32) if grouping is None else grouping.codes
    bin_of = np.searchsorted(edges[1:-1], scored.scores, side="left")
    patients = _codes(scored)
    rows: list[dict[str, Any]] = []
    for group, at in zip(*np.nonzero(weight[0]), strict=True):
        own = (codes == group) & (bin_of == at)
        who, drawn = patients[own], scored.weights[own]
        sums = [np.bincount(who, one, k).astype(np.float64) for one in (drawn * scored.positive[own], drawn)]
        low, high = wilson(rate_of(sums[0], sums[1]), confidence)
        row = {"group_by": by, "group_value": values[group], "bin_low": edges[at], "bin_high": edges[at + 1]}
        row |= {"n": int(own.sum()), "n_positive": int(scored.positive[own].sum()), "predicted": means[group, at]}
        if len(np.unique(who)) >= min_cell:
            row |= {"observed": shares[group, at], "ci_low": low, "ci_high": high}
        rows.append(row)
    return pl.DataFrame(rows, schema=CALIBRATION_SCHEMA, orient="row")


def _parted(scored: Scored, grouping: Grouping | None) -> tuple[str, tuple[str | None, ...], Ordered]:
    if grouping is None:
        everybody = np.zeros(len(scored.scores), np.int32)
        return OVERALL, (None,), Ordered(scored, everybody, 1, _codes(scored))
    return grouping.by, grouping.values, Ordered(scored, grouping.codes, len(grouping.values), _codes(scored))


def _codes(scored: Scored) -> np.ndarray[Any, np.dtype[np.intp]]:
    return np.unique(scored.patients, return_inverse=True)[1].astype(np.intp)


def _patients(scored: Scored) -> int:
    return len(np.unique(scored.patients))
