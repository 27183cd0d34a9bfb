"""Two models on the same images: the difference of every metric, from the same draws of patients for both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from cxrdata.audit.delong import delong
from cxrdata.audit.intervals import Interval
from cxrdata.audit.metrics import COUNTS, METRICS, NEED_THRESHOLD
from cxrdata.audit.ordered import Floats
from cxrdata.audit.rows import head, interval_columns, is_masked, masked, unstable
from cxrdata.audit.subject import Part, Subject

COMPARED = set(METRICS) - {*COUNTS, "prevalence"}


def comparison_rows(subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    """subjects: one label by several models. A pair's rows have the model `A - B` and metrics `M_difference`.

    The p value of a difference of AUROCs is DeLong's, by patient; of another metric that of the bootstrap: twice the smaller
    share of replicates on either side of 0.
    """
    rows: list[dict[str, Any]] = []
    for first, second in combinations(subjects, 2):
        rows += _of_pair(first, second)
    return rows


def _of_pair(first: Subject, second: Subject) -> list[dict[str, Any]]:
    named = {"model": f"{first.scored.model} - {second.scored.model}"}
    metrics = [metric for metric in first.request.metrics if metric in COMPARED]
    if not _same_images(first, second):
        row = head(first, first.parts[0], None) | named
        note = "undefined: the models were judged on different images"
        return [row | {"metric": f"{metric}_difference", "note": note} for metric in metrics]
    return [
        _row(first, second, one, other, metric, group) | named
        for one, other in zip(first.parts, second.parts, strict=True)
        for group in range(len(one.values))
        for metric in metrics
    ]


def _same_images(first: Subject, second: Subject) -> bool:
    one, other = first.scored, second.scored
    return (
        np.array_equal(one.positive, other.positive)
        and np.array_equal(one.patients, other.patients)
        and np.array_equal(one.weights, other.weights)
        and [grouping.by for grouping in one.groupings] == [grouping.by for grouping in other.groupings]
        and all(np.array_equal(a.codes, b.codes) for a, b in zip(one.groupings, other.groupings, strict=True))
    )


def _row(first: Subject, second: Subject, one: Part, other: Part, metric: str, group: int) -> dict[str, Any]:
    row = head(first, one, group) | {"metric": f"{metric}_difference"}
    if is_masked(first, one, group):
        return row | masked(first)
    request, at = first.request, first.request.metrics.index(metric)
    estimate = float(one.points[at, group] - other.points[at, group])
    if math.isnan(estimate):
        return row | {"note": "undefined: one of the models has no value"}
    found, p_value, tested_by = Interval(), math.nan, ""
    if request.bootstrap:
        values = one.replicates[:, at, group] - other.replicates[:, at, group]
        jackknife = None
        if len(one.jackknife):
            jackknife = one.jackknife[:, at, group] - other.jackknife[:, at, group]
        anew = request.rederive and metric in NEED_THRESHOLD
        found = Interval.of_replicates(request, values, estimate, jackknife, rederived=anew)
        if not math.isnan(found.low):
            p_value, tested_by = two_sided(values), "p by bootstrap"
    images = np.flatnonzero(one.codes == group)
    if metric == "auroc" and (first.scored.weights[images] == 1).all():
        scores = np.stack([first.scored.scores[images], second.scored.scores[images]])
        both = delong(scores, first.scored.positive[images], first.who.patients[images])
        _, low, high, p_value = both.difference(0, 1, request.confidence)
        tested_by = "" if math.isnan(p_value) else "p by DeLong"
        if request.auroc == "delong":
            found = Interval(low, high, "" if math.isnan(low) else "DeLong, paired")
    notes = [unstable(row["n_positive"], row["n"] - row["n_positive"]), found.note]
    row |= {"estimate": estimate} | interval_columns(first, found, notes)
    return row | {
        "p_value": None if math.isnan(p_value) else p_value,
        "method": "; ".join(text for text in (found.method, tested_by) if text) or None,
    }


def two_sided(values: Floats) -> float:
    """The bootstrap's p value of no difference; never 0, for more replicates might have found one."""
    defined = values[~np.isnan(values)]
    beyond = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(2 * (1 + beyond) / (1 + len(defined)), 1.0)
