"""The variance of AUROCs without resampling: DeLong's, by patient where patients have several images.

DeLong, DeLong and Clarke-Pearson, Biometrics 44:837, 1988, by the midranks of Sun and Xu, IEEE Signal Processing Letters
21:1389, 2014; for clusters Obuchowski, Biometrics 53:567, 1997. An AUROC of exactly 0 or 1 has no such variance: there
Newcombe's interval (Statistics in Medicine 25:559, 2006, method 5) is given, on the number of patients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrdata.audit.distributions import normal_probability, normal_quantile, student_quantile
from cxrdata.audit.ordered import Floats, ratio

_HALVINGS = 200


@dataclass(frozen=True)
class Aurocs:
    """AUROCs of some models on the same images, and their covariance matrix; nan where a class is absent.

    freedom: (models,) degrees of freedom of each variance (Welch and Satterthwaite), for it is itself an estimate, from as
    many terms as there are patients with positives, and with negatives.
    """

    estimates: Floats
    covariance: Floats
    freedom: Floats

    def difference(self, first: int, second: int, confidence: float = 0.95) -> tuple[float, float, float, float]:
        """first - second, its interval and the two-sided p value of no difference."""
        estimate = float(self.estimates[first] - self.estimates[second])
        c = self.covariance
        error = math.sqrt(max(float(c[first, first] + c[second, second] - 2 * c[first, second]), 0.0))
        z = float(normal_quantile(np.array((1 + confidence) / 2)))
        if not error > 0:
            return estimate, math.nan, math.nan, math.nan
        p = 2 * float(normal_probability(np.array(-abs(estimate) / error)))
        return estimate, max(estimate - z * error, -1.0), min(estimate + z * error, 1.0), p

    def interval(self, which: int, confidence: float = 0.95) -> tuple[float, float]:
        """On the logit scale, so that it stays within [0, 1], with Student's t; (nan, nan) where there is no variance."""
        estimate, variance = float(self.estimates[which]), float(self.covariance[which, which])
        if not (0 < estimate < 1 and variance > 0):
            return math.nan, math.nan
        t = student_quantile((1 + confidence) / 2, max(round(float(self.freedom[which]), 2), 1.0))
        middle = math.log(estimate / (1 - estimate))
        half = t * math.sqrt(variance) / (estimate * (1 - estimate))
        return _expit(middle - half), _expit(middle + half)


def delong(scores: Floats, positive: NDArray[np.bool_], patients: NDArray[np.intp] | None = None) -> Aurocs:
    """scores: (models, images). patients: (images,) codes; None, or one image each, gives the variance of the 1988 paper."""
    models = len(scores)
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return Aurocs(np.full(models, np.nan), np.full((models, models), np.nan), np.full(models, np.nan))
    placements = [_placements(one, positive) for one in scores]
    of_positives = np.stack([own for own, _ in placements])
    of_negatives = np.stack([own for _, own in placements])
    estimates = of_positives.mean(axis=1)
    if patients is None or len(np.unique(patients)) == len(patients):
        v10, v01 = _scatter(of_positives, estimates) / m, _scatter(of_negatives, estimates) / n
        return Aurocs(estimates, v10 + v01, _freedom(v10, m, v01, n))
    known, codes = np.unique(patients, return_inverse=True)
    k = len(known)
    # Each patient's sum over positives and over negatives, away from what was expected of so many images.
    sums = []
    for own, who in ((of_positives, codes[positive]), (of_negatives, codes[~positive])):
        away = own - estimates[:, None]
        sums.append(np.stack([np.bincount(who, weights=one, minlength=k) for one in away]))
    with_positives, with_negatives = len(np.unique(codes[positive])), len(np.unique(codes[~positive]))
    s10 = sums[0] @ sums[0].T * _correction(with_positives) / m**2
    s01 = sums[1] @ sums[1].T * _correction(with_negatives) / n**2
    s11 = sums[0] @ sums[1].T * _correction(k) / (m * n)
    return Aurocs(estimates, s10 + s01 + s11 + s11.T, _freedom(s10, with_positives, s01, with_negatives))


def newcombe(estimate: float, positives: float, negatives: float, confidence: float = 0.95) -> tuple[float, float]:
    """An interval that exists at 0 and 1 too, from the numbers of (independent) positives and negatives."""
    if not (positives and negatives) or math.isnan(estimate):
        return math.nan, math.nan
    z = float(normal_quantile(np.array((1 + confidence) / 2)))
    more = (positives + negatives) / 2 - 1

    def error(theta: float) -> float:
        spread = 1 + more * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return z * math.sqrt(theta * (1 - theta) * spread / (positives * negatives))

    def end(outer: float) -> float:
        inner = estimate
        for _ in range(_HALVINGS):
            middle = (inner + outer) / 2
            if abs(middle - estimate) <= error(middle):
                inner = middle
            else:
                outer = middle
        return inner

    # At 0 and 1 the error vanishes at the estimate itself: begin just inside.
    low = 0.0 if estimate == 0 else _beyond(estimate, error, -1) if estimate == 1 else end(0.0)
    high = 1.0 if estimate == 1 else _beyond(estimate, error, 1) if estimate == 0 else end(1.0)
    return low, high


def _beyond(estimate: float, error: object, sign: int) -> float:
    """The end opposite to an estimate of 0 or 1: the largest distance that the error still covers."""
    assert callable(error)
    near, far = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        if middle <= float(error(estimate + sign * middle)):
            near = middle
        else:
            far = middle
    return estimate + sign * near


def _placements(scores: Floats, positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Of each positive the share of negatives below it, of each negative the share of positives above it; ties half."""
    own, other = scores[positive], scores[~positive]
    sorted_own, sorted_other = np.sort(own), np.sort(other)
    below = np.searchsorted(sorted_other, own, "left") + np.searchsorted(sorted_other, own, "right")
    above = 2 * len(own) - np.searchsorted(sorted_own, other, "left") - np.searchsorted(sorted_own, other, "right")
    return below / (2 * len(other)), above / (2 * len(own))


def _scatter(values: Floats, means: Floats) -> Floats:
    away = values - means[:, None]
    return (
        np.asarray(away @ away.T / max(values.shape[1] - 1, 1))
        if values.shape[1] > 1
        else np.full((len(values),) * 2, np.nan)
    )


def _freedom(first: Floats, m: int, second: Floats, n: int) -> Floats:
    a, b = np.diag(first), np.diag(second)
    return ratio((a + b) ** 2, a**2 / max(m - 1, 1) + b**2 / max(n - 1, 1))


def _correction(clusters: int) -> float:
    return clusters / (clusters - 1) if clusters > 1 else math.nan


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))
