"""A label's images sorted once by group and score; every metric is then a walk over patients' weights in that order.

A bootstrap replicate is nothing but other weights: how often each patient was drawn. So a point estimate (everybody once),
a replicate, a jackknife sample (some patients nought times) and a permutation (a patient in or out of a group) are all the
same computation, vectorised over many rows of weights at once, and none of them sorts again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrdata.audit.data import Scored

Floats = NDArray[np.float64]
Counts = NDArray[np.int32]
_MOST_DRAWS = 64  # a patient is not drawn more often among many; among few, there are few images
_INT32 = 2**31 - 1


@dataclass(frozen=True)
class OneClass:
    """The positive, or the negative, images: sorted by group and score.

    patients: of each image. weights: draws of each, or None where all are one. starts: (groups + 1) where each group begins.
    scores: ascending within the group.
    """

    patients: NDArray[np.intp]
    weights: NDArray[Any] | None
    starts: NDArray[np.intp]
    scores: Floats

    @property
    def groups(self) -> int:
        return len(self.starts) - 1

    def drawn(self, counts: Counts) -> NDArray[Any]:
        """(rows, images): the weight of each image, given (rows, patients) how often each patient counts."""
        taken = counts.take(self.patients, axis=1)
        return taken if self.weights is None else taken * self.weights

    def cumulated(self, drawn: NDArray[Any]) -> NDArray[Any]:
        """(rows, images + groups): in each group 0, then the running sum: entry `index(g, i)` is the weight of the group's
        first i images. Whole numbers stay whole, so sums are exact; each group begins anew, so nothing cancels."""
        sums = np.zeros((len(drawn), drawn.shape[1] + self.groups), drawn.dtype)
        for g in range(self.groups):
            first, last = self.starts[g], self.starts[g + 1]
            np.cumsum(drawn[:, first:last], axis=1, out=sums[:, first + g + 1 : last + g + 1], dtype=drawn.dtype)
        return sums

    def totals(self, sums: NDArray[Any]) -> NDArray[Any]:
        """(rows, groups): the weight of each whole group."""
        return sums[:, self.starts[1:] + np.arange(self.groups)]

    def below(self, group: int, scores: Floats, *, side: str = "left") -> NDArray[np.intp]:
        """Where in `cumulated` to find the weight of the group's images under each score (`right`: under or equal)."""
        own = self.scores[self.starts[group] : self.starts[group + 1]]
        found = np.searchsorted(own, scores, side=side)  # type: ignore[call-overload]
        return np.asarray(found + self.starts[group] + group, dtype=np.intp)


@dataclass(frozen=True)
class Weighed:
    """What rows of patients' weights make of the sorted images: the running sums of both classes."""

    positives: NDArray[Any]
    positive_sums: NDArray[Any]
    negative_sums: NDArray[Any]
    n_positive: NDArray[Any]
    n_negative: NDArray[Any]


class Ordered:
    """One label's images, parted into groups; an image of no group (code -1) is left out.

    Raises nothing for an empty group or class: their weights are 0, and the metrics undefined.
    """

    def __init__(
        self, scored: Scored, codes: NDArray[np.integer[Any]], groups: int, patients: NDArray[np.intp]
    ) -> None:
        kept = np.flatnonzero(codes >= 0)
        order = kept[np.lexsort((scored.scores[kept], codes[kept]))]
        weights = _weights(scored.weights, len(order))
        self.groups = groups
        self.order = order
        self.codes = codes[order]
        self.positive = _one_class(scored, order[scored.positive[order]], codes, groups, patients, weights)
        self.negative = _one_class(scored, order[~scored.positive[order]], codes, groups, patients, weights)
        self.patients = patients[order]
        self.weights = None if weights is None else scored.weights[order]
        # Of each positive image: where the negatives below it, and those not above it, are summed up.
        self._low = self._across(self.negative, "left")
        high = self._across(self.negative, "right")
        self._high = None if np.array_equal(self._low, high) else high
        self._own_low = self._across(self.positive, "left")

    def _across(self, other: OneClass, side: str) -> NDArray[np.intp]:
        starts = self.positive.starts
        found = [other.below(g, self.positive.scores[starts[g] : starts[g + 1]], side=side) for g in range(self.groups)]
        return np.concatenate([np.empty(0, np.intp), *found])

    def weigh(self, counts: Counts) -> Weighed:
        """counts: (rows, patients), how often each patient counts in each row."""
        positives = self.positive.drawn(counts)
        positive_sums = self.positive.cumulated(positives)
        negative_sums = self.negative.cumulated(self.negative.drawn(counts))
        return Weighed(
            positives,
            positive_sums,
            negative_sums,
            self.positive.totals(positive_sums),
            self.negative.totals(negative_sums),
        )

    def by_group(self, of_positives: NDArray[Any]) -> Floats:
        """(rows, groups): sums over the positive images of each group."""
        starts = self.positive.starts
        sums = np.zeros((len(of_positives), self.groups))
        filled = np.flatnonzero(np.diff(starts))
        if filled.size:
            sums[:, filled] = np.add.reduceat(of_positives, starts[filled], axis=1, dtype=np.float64)
        return sums

    def auroc(self, weighed: Weighed) -> Floats:
        """(rows, groups): the chance that a positive image scores above a negative one, ties counting half."""
        under = weighed.negative_sums.take(self._low, axis=1)
        if self._high is None:
            pairs = np.multiply(weighed.positives, under, dtype=np.float64)
        else:
            under = under + weighed.negative_sums.take(self._high, axis=1)
            pairs = np.multiply(weighed.positives, under, dtype=np.float64) / 2
        return ratio(self.by_group(pairs), np.multiply(weighed.n_positive, weighed.n_negative, dtype=np.float64))

    def auprc(self, weighed: Weighed) -> Floats:
        """(rows, groups): average precision, the precision at each distinct score weighted by the recall gained there."""
        group = np.repeat(np.arange(self.groups), np.diff(self.positive.starts))
        called = weighed.n_positive[:, group] - weighed.positive_sums.take(self._own_low, axis=1)
        wrong = weighed.n_negative[:, group] - weighed.negative_sums.take(self._low, axis=1)
        precision = ratio(called, np.add(called, wrong, dtype=np.float64))
        gained = self.by_group(np.where(weighed.positives > 0, weighed.positives * precision, 0.0))
        return ratio(gained, np.where(weighed.n_negative > 0, weighed.n_positive, 0))

    def called(self, weighed: Weighed, thresholds: Floats) -> tuple[Floats, Floats]:
        """True and false positives, (rows, groups) each, where a score of at least the threshold is called positive.

        thresholds: (rows or 1, groups); nan where there is none, and so is the answer.
        """
        found = []
        for side, sums, total in (
            (self.positive, weighed.positive_sums, weighed.n_positive),
            (self.negative, weighed.negative_sums, weighed.n_negative),
        ):
            at = np.stack([side.below(g, thresholds[:, g]) for g in range(self.groups)], axis=1)
            under = sums[:, at[0]] if len(at) == 1 else np.take_along_axis(sums, at, axis=1)
            found.append(np.where(np.isnan(thresholds), np.nan, total - under))
        return found[0], found[1]


def ratio(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """Their quotient; nan where there is nothing to divide by: undefined, not 0."""
    result = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=result, where=np.asarray(below != 0))
    return result


def _weights(weights: Floats, n: int) -> type[np.int32 | np.float64] | None:
    """How to add weights up: not at all where all are one, as whole numbers where that is exact, else as floats."""
    if (weights == 1).all():
        return None
    whole = (weights == np.rint(weights)).all() and float(weights.max(initial=0)) * max(n, 1) * _MOST_DRAWS < _INT32
    return np.int32 if whole else np.float64


def _one_class(
    scored: Scored,
    images: NDArray[np.intp],
    codes: NDArray[np.integer[Any]],
    groups: int,
    patients: NDArray[np.intp],
    weights: type[np.int32 | np.float64] | None,
) -> OneClass:
    starts = np.searchsorted(codes[images], np.arange(groups + 1)).astype(np.intp)
    return OneClass(
        patients[images],
        None if weights is None else scored.weights[images].astype(weights),
        starts,
        scored.scores[images],
    )
