"""Rates by age bin with their intervals, of several models on the same images at once.

A replicate's rate is a quotient of patients' sums, so one product of matrices gives that of all models and bins; the draws,
BCa and what stands in where all replicates are equal are the audit's (`cxrdata.audit.bootstrap`, `intervals`, `rates`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cxrdata.audit.bootstrap import left_out, replicates
from cxrdata.audit.intervals import Interval
from cxrdata.audit.ordered import Counts, Floats, ratio
from cxrdata.audit.rates import rate_of, wilson
from cxrdata.audit.request import AuditRequest
from cxrdata.audit.subject import rows_at_once
from cxrdata.interrupts import in_threads

_ITSELF = "none: the rate itself"


def rates_by_patient(above: Floats, below: Floats, request: AuditRequest) -> list[Interval]:
    """The interval of each column's rate. above, below: (patients, columns), images called positive and images in all.

    BCa by patient; Wilson's on the effective number of images where the bootstrap has none.
    """
    values = _redrawn(above, below, np.zeros(len(above), np.intp), request)
    jackknife = _rates(above, below, left_out(len(above), request.seed))
    found = []
    for at in range(above.shape[1]):
        point = _rate(above[:, at], below[:, at])
        one = (
            Interval.of_replicates(request, values[:, at], point, jackknife[:, at]) if request.bootstrap else Interval()
        )
        if math.isnan(one.low) and point in {0, 1}:
            rate = rate_of(above[:, at], below[:, at])
            one = Interval(*wilson(rate, request.confidence), f"Wilson, effective n {rate.effective:.1f}")
        found.append(one)
    return found


def rates_by_image(
    called: NDArray[np.bool_], bins: NDArray[np.intp], n: int, request: AuditRequest
) -> list[list[Interval]]:
    """The published interval of each of `n` bins, for each model: BCa by image, within the bin; the rate itself where all
    replicates are equal. called: (images, models). bins: (images,); -1 is none.
    """
    known = bins >= 0
    codes, called = bins[known], called[known]
    models = called.shape[1]
    member = np.eye(n)[codes]
    # Columns of the first model's bins, then of the second one's, and so on.
    above = np.concatenate([member * called[:, [at]] for at in range(models)], axis=1)
    values = _redrawn(above, np.tile(member, (1, models)), codes, request)
    return [
        [_by_image(values[:, at * n + one], called[codes == one, at], request) for one in range(n)]
        for at in range(models)
    ]


def _by_image(values: Floats, called: NDArray[np.bool_], request: AuditRequest) -> Interval:
    """Of one bin of one model; the jackknife leaves out its images one by one."""
    if not len(called):
        return Interval()
    point, others = float(called.mean()), np.full(len(called), float(len(called) - 1))
    found = Interval()
    if request.bootstrap:
        found = Interval.of_replicates(request, values, point, ratio(called.sum() - called.astype(np.float64), others))
    return Interval(point, point, _ITSELF) if math.isnan(found.low) else found


def _rate(above: Floats, below: Floats) -> float:
    total = float(below.sum())
    return float(above.sum()) / total if total else math.nan


def _redrawn(above: Floats, below: Floats, strata: NDArray[np.intp], request: AuditRequest) -> Floats:
    """(replicates, columns): the rates of the bootstrap."""
    values = np.full((request.bootstrap, above.shape[1]), np.nan)

    def fill(numbers: range) -> None:
        values[numbers.start : numbers.stop] = _rates(above, below, replicates(strata, request.seed, numbers))

    step = rows_at_once(len(above))
    blocks = [range(at, min(at + step, request.bootstrap)) for at in range(0, request.bootstrap, step)]
    in_threads(fill, blocks, request.threads)
    return values


def _rates(above: Floats, below: Floats, counts: Counts) -> Floats:
    weights = counts.astype(np.float64)
    return ratio(weights @ above, weights @ below)
