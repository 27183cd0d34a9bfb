"""The metrics: their names, what they are computed from, and why one is undefined.

A threshold t calls an image positive where its score is at least t. Every function works on (rows, groups) arrays, a row
being the data themselves or a replicate of them; an undefined value is nan and becomes null with a reason, never 0 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cxrdata.audit.ordered import Counts, Floats, Ordered, ratio

RANKING = ("auroc", "auprc")
# At the operating point. tpr, fnr, fpr and tnr together are the confusion matrix normalised by truth.
RATES = ("tpr", "fpr", "tnr", "fnr", "ppv", "npv", "accuracy", "selection_rate", "prevalence")
COMPOSITE = ("balanced_accuracy", "f1", "youden")
CALIBRATION = ("brier", "ece")
COUNTS = {"true_positives": "tp", "false_positives": "fp", "false_negatives": "fn", "true_negatives": "tn"}
METRICS = (*RANKING, *RATES, *COMPOSITE, *CALIBRATION, *COUNTS)
NEED_THRESHOLD = {*RATES, *COMPOSITE, *COUNTS} - {"prevalence"}

# What a rate is a share of: (numerator, denominator) among tp, fp, fn, tn.
SHARES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "tpr": (("tp",), ("tp", "fn")),
    "fpr": (("fp",), ("fp", "tn")),
    "tnr": (("tn",), ("fp", "tn")),
    "fnr": (("fn",), ("tp", "fn")),
    "ppv": (("tp",), ("tp", "fp")),
    "npv": (("tn",), ("tn", "fn")),
    "accuracy": (("tp", "tn"), ("tp", "fp", "fn", "tn")),
    "selection_rate": (("tp", "fp"), ("tp", "fp", "fn", "tn")),
    "prevalence": (("tp", "fn"), ("tp", "fp", "fn", "tn")),
}


@dataclass(frozen=True)
class Called:
    """The confusion matrix at an operating point, each (rows, groups); weights of images, nan without a threshold."""

    tp: Floats
    fp: Floats
    fn: Floats
    tn: Floats

    def metric(self, name: str) -> Floats:
        """One of `RATES`, `COMPOSITE`, `COUNTS`."""
        if name in RATES:
            above, below = SHARES[name]
            return ratio(self._sum(above), self._sum(below))
        if name == "youden":
            return self.metric("tpr") - self.metric("fpr")
        if name == "balanced_accuracy":
            return (self.metric("tpr") + self.metric("tnr")) / 2
        if name == "f1":
            return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)
        return self._sum((COUNTS[name],))

    def _sum(self, parts: Sequence[str]) -> Floats:
        total: Floats = getattr(self, parts[0])
        for part in parts[1:]:
            total = total + getattr(self, part)
        return total


class Evaluated:
    """The metrics of one label by group under rows of patients' weights, each computed when asked for.

    thresholds: (rows or 1, groups), or None. bins: of the expected calibration error.
    """

    def __init__(
        self, ordered: Ordered, counts: Counts, thresholds: Floats | None, *, bins: Bins | None = None
    ) -> None:
        self._ordered = ordered
        self._counts = counts
        self._thresholds = thresholds
        self._bins = bins
        self.weighed = ordered.weigh(counts)

    def __getitem__(self, metric: str) -> Floats:
        weighed = self.weighed
        if metric in RANKING:
            return self._ordered.auroc(weighed) if metric == "auroc" else self._ordered.auprc(weighed)
        if metric in CALIBRATION:
            return self._of_bins[metric]
        if metric == "prevalence":
            return ratio(weighed.n_positive, np.add(weighed.n_positive, weighed.n_negative, dtype=np.float64))
        return self.called.metric(metric)

    @cached_property
    def called(self) -> Called:
        weighed = self.weighed
        if self._thresholds is None:
            raise ValueError("no threshold was given")
        tp, fp = self._ordered.called(weighed, self._thresholds)
        return Called(tp, fp, weighed.n_positive - tp, weighed.n_negative - fp)

    @cached_property
    def _of_bins(self) -> dict[str, Floats]:
        if self._bins is None:
            nothing = np.full((len(self._counts), self._ordered.groups), np.nan)
            return dict.fromkeys(CALIBRATION, nothing)
        return self._bins.errors(self._counts)


class Bins:
    """Scores as probabilities, in equally wide bins: (0, 0.1], (0.1, 0.2], … of ten; the first one includes 0."""

    def __init__(self, ordered: Ordered, scores: Floats, positive: NDArray[np.bool_], *, bins: int) -> None:
        self.bins = bins
        self.edges = np.linspace(0, 1, bins + 1)
        self._ordered = ordered
        self._scores = scores[ordered.order]
        self._positive = positive[ordered.order].astype(np.float64)
        self._away = self._scores - self._positive
        bin_of = np.searchsorted(self.edges[1:-1], self._scores, side="left")
        cells = ordered.codes.astype(np.intp) * bins + bin_of  # ascending: sorted by group and score
        self._starts = np.flatnonzero(np.diff(cells, prepend=-1))
        self._cells = cells[self._starts]

    def sums(self, counts: Counts) -> tuple[Floats, Floats, Floats]:
        """Weight, sum of scores, weight of the positives: (rows, groups, bins) each."""
        drawn = self._drawn(counts)
        return self._by_bin(drawn), self._by_bin(drawn * self._scores), self._by_bin(drawn * self._positive)

    def errors(self, counts: Counts) -> dict[str, Floats]:
        """Brier score and expected calibration error, (rows, groups) each."""
        drawn = self._drawn(counts)
        total = self._by_bin(drawn).sum(axis=2)
        away = drawn * self._away
        errors = np.abs(self._by_bin(away)).sum(axis=2)
        return {"brier": ratio(self._by_bin(away * self._away).sum(axis=2), total), "ece": ratio(errors, total)}

    def _drawn(self, counts: Counts) -> Floats:
        taken = counts.take(self._ordered.patients, axis=1).astype(np.float64)
        return taken if self._ordered.weights is None else taken * self._ordered.weights

    def _by_bin(self, values: Floats) -> Floats:
        sums = np.zeros((len(values), self._ordered.groups * self.bins))
        if self._starts.size:
            sums[:, self._cells] = np.add.reduceat(values, self._starts, axis=1)
        return sums.reshape(len(values), self._ordered.groups, self.bins)


def why_undefined(metric: str, n_positive: int, n_negative: int, *, probabilities: bool, threshold: bool) -> str:
    """The reason why a metric has no value."""
    if not n_positive + n_negative:
        return "no images"
    if metric in CALIBRATION and not probabilities:
        return "scores are no probabilities"
    if metric in NEED_THRESHOLD and not threshold:
        return "no threshold: the calibration set lacks positives or negatives"
    needs_positives = {*RANKING, "tpr", "fnr", "balanced_accuracy", "youden"}
    needs_negatives = {*RANKING, "fpr", "tnr", "balanced_accuracy", "youden"}
    if metric in needs_positives and not n_positive:
        return "no positives"
    if metric in needs_negatives and not n_negative:
        return "no negatives"
    called = {"ppv": "no image is called positive", "npv": "no image is called negative"}
    return called.get(metric, "no image is positive or called positive" if metric == "f1" else "undefined")
