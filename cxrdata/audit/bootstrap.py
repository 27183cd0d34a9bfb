"""The bootstrap by patient: whole patients are drawn with replacement, each with all their images.

A replicate's draws depend on the seed, its own number and the number of patients alone: not on other labels, on how many
replicates are asked for, on threads or on the machine. They are the raw 64-bit numbers of PCG64 seeded by
SeedSequence((seed, purpose, replicate)), each half h taken as patient floor(h · k / 2^32); NumPy promises that stream
(NEP 19), as it does not for its distributions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrdata.audit.distributions import normal_probability, normal_quantile
from cxrdata.audit.ordered import Counts, Floats

DRAW = 1
CALIBRATION = 2  # the draws of a calibration set are its own
PERMUTE = 3
BLOCKS = 4
_HALF = np.uint64(2**32)
MOST_BLOCKS = 500


def replicates(strata: NDArray[np.intp], seed: int, numbers: Sequence[int], *, purpose: int = DRAW) -> Counts:
    """(numbers, patients): how often each patient is drawn in the replicates of these numbers.

    strata: (patients,) codes 0…s-1; each stratum is redrawn within itself, so that it keeps its number of patients.
    """
    members = [np.flatnonzero(strata == stratum) for stratum in range(int(strata.max(initial=-1)) + 1)]
    counts = np.zeros((len(numbers), len(strata)), np.int32)
    for row, number in enumerate(numbers):
        stream = halves(seed, purpose, number, len(strata))
        first = 0
        for own in members:
            drawn = (stream[first : first + len(own)] * np.uint64(len(own))) // _HALF
            counts[row, own] = np.bincount(drawn.astype(np.intp), minlength=len(own))
            first += len(own)
    return counts


def halves(seed: int, purpose: int, number: int, n: int) -> NDArray[np.uint64]:
    """n numbers from 0 to 2^32 - 1 of the stream of (seed, purpose, number)."""
    raw = np.random.PCG64(np.random.SeedSequence((seed, purpose, number))).random_raw((n + 1) // 2)
    both = np.stack([raw >> np.uint64(32), raw & (_HALF - np.uint64(1))], axis=1)
    return both.reshape(-1)[:n]


def shuffled(seed: int, purpose: int, number: int, n: int) -> NDArray[np.intp]:
    """The numbers 0…n-1 in an order that depends on (seed, purpose, number, n) alone."""
    return np.argsort(halves(seed, purpose, number, n), kind="stable")


def left_out(patients: int, seed: int) -> Counts:
    """(blocks, patients): the jackknife, each row without one patient, or, from 500 patients on, without one of 500 blocks.

    Leaving blocks out instead of single patients estimates the same acceleration (the skewness of a block's influence
    shrinks as the number of blocks grows less), at a cost that does not grow with the patients.
    """
    blocks = min(patients, MOST_BLOCKS)
    counts = np.ones((blocks, patients), np.int32)
    counts[np.arange(patients) * blocks // max(patients, 1), shuffled(seed, BLOCKS, 0, patients)] = 0
    return counts


def percentile(values: Floats, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """The interval of each column of (replicates, …) values; nan where none is defined. Undefined replicates do not count."""
    tail = (1 - confidence) / 2
    return _quantiles(values, np.full(values.shape[1:], tail)), _quantiles(values, np.full(values.shape[1:], 1 - tail))


def bca(values: Floats, points: Floats, jackknife: Floats, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Bias-corrected and accelerated (Efron, Better bootstrap confidence intervals, JASA 82:171, 1987).

    values: (replicates, …). points: (…). jackknife: (blocks, …), the estimate without each. Replicates equal to the point
    count half, as befits estimates with few possible values. nan where all replicates lie on one side of the point.
    """
    defined = ~np.isnan(values)
    n = defined.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        below = ((values < points).sum(axis=0) + (values == points).sum(axis=0) / 2) / n
        means = _mean(jackknife)
        away = np.where(np.isnan(jackknife), 0.0, means - jackknife)
        acceleration = (away**3).sum(axis=0) / (6 * (away**2).sum(axis=0) ** 1.5)
    acceleration = np.where(np.isfinite(acceleration), acceleration, 0.0)
    bias = normal_quantile(np.where((below > 0) & (below < 1), below, np.nan))
    tail = normal_quantile(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    ends = []
    for z in tail:
        shifted = bias + (bias + z) / (1 - acceleration * (bias + z))
        ends.append(_quantiles(values, normal_probability(shifted)))
    return ends[0], ends[1]


def _mean(values: Floats) -> Floats:
    defined = ~np.isnan(values)
    return np.asarray(np.where(defined, values, 0.0).sum(axis=0) / np.maximum(defined.sum(axis=0), 1))


def _quantiles(values: Floats, at: Floats) -> Floats:
    """Quantile `at` of each column, by linear interpolation among its defined values."""
    ordered = np.sort(values, axis=0)  # nan last
    n = (~np.isnan(values)).sum(axis=0)
    place = np.clip(at, 0, 1) * np.maximum(n - 1, 0)
    place = np.where(np.isnan(place), 0, place)
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, np.maximum(n - 1, 0))
    if not len(ordered):
        return np.full(values.shape[1:], np.nan)
    first = np.take_along_axis(ordered, low[None], axis=0)[0]
    second = np.take_along_axis(ordered, high[None], axis=0)[0]
    result = first + (second - first) * (place - low)
    return np.where((n > 0) & ~np.isnan(at), result, np.nan)
