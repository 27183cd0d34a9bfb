"""Do errors go with age? The correlation over age bins that a paper shows, and a trend that knows of patients.

The correlation of a handful of bin means is nearly always high and says nothing of its uncertainty; so beside it stands
the slope of a logistic regression of each image's error on age by generalised estimating equations (Liang and Zeger,
Biometrika 73:13, 1986), with patients as clusters, an independence working correlation and robust errors: the slope is then
that of the images as they are. An exchangeable one would weigh down patients with many images, who are sicker.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cxrdata.audit.bootstrap import replicates
from cxrdata.audit.data import OVERALL, ROW_SCHEMA, Scored
from cxrdata.audit.intervals import Interval
from cxrdata.audit.ordered import Counts, Floats, ratio
from cxrdata.audit.request import AuditRequest
from cxrdata.audit.rows import interval_columns
from cxrdata.audit.subject import Subject, rows_at_once
from cxrdata.errors import CxrError
from cxrdata.wording import counted

AGE_BINS = (18.0, 25.0, 40.0, 60.0, 80.0, math.inf)
DECADE = 10.0  # years that the odds ratio is of
MEASURES = ("fpr_age_correlation", "fpr_age_odds_ratio")
_LARGEST_LOG_ODDS = 100.0  # in ten years; beyond it classes are separated, and there is no slope


def age_trend(
    scored: Scored, ages: Floats, request: AuditRequest, *, edges: Sequence[float] = AGE_BINS
) -> pl.DataFrame:
    """Rows of `ROW_SCHEMA` about the false positives among the negatives whose age is known.

    `fpr_age_correlation`: Pearson's r of mean age and FPR over the bins [edge, next edge) that have negatives; its interval
    from the patient bootstrap. `fpr_age_odds_ratio`: how the odds of a false positive change in ten years, by GEE.
    ages: (images,) years, nan where unknown. The threshold is that of the request.

    Raises CxrError: CXR-502 without a threshold or with fewer than three bins, CXR-604 without statsmodels.
    """
    if len(ages) != len(scored.scores) or len(edges) < 4:
        raise CxrError("CXR-502", "a trend needs the age of every image (nan where unknown), and three bins of age")
    if request.threshold is None:
        raise CxrError("CXR-502", "the trend of false positives needs a threshold", fix="--threshold youden")
    plain = AuditRequest(
        metrics=("fpr",), threshold=request.threshold, calibration=request.calibration, bootstrap=0, seed=request.seed
    )
    subject = Subject(scored, plain)
    assert subject.chooser is not None
    threshold = float(subject.chooser.thresholds[0, 0])
    known = ~scored.positive & ~np.isnan(ages)
    called = scored.scores[known] >= threshold
    who = subject.who.patients[known]
    base: dict[str, Any] = {
        "model": scored.model, "label": scored.label, "truth": scored.truth, "policy": scored.policy,
        "group_by": OVERALL, "group_value": None, "n": int(known.sum()), "n_positive": 0,
    }  # fmt: skip
    if math.isnan(threshold):
        lacking = base | {"note": "undefined: no threshold: the calibration set lacks positives or negatives"}
        return pl.DataFrame([lacking | {"metric": name} for name in MEASURES], schema=ROW_SCHEMA, orient="row")
    rows = [
        base | _correlation(subject, request, called, ages[known], scored.weights[known], who, edges),
        base | _slope(request, called, ages[known], scored.weights[known], who),
    ]
    return pl.DataFrame(rows, schema=ROW_SCHEMA, orient="row")


def _correlation(
    subject: Subject,
    request: AuditRequest,
    called: NDArray[np.bool_],
    ages: Floats,
    weights: Floats,
    who: NDArray[np.intp],
    edges: Sequence[float],
) -> dict[str, Any]:
    bins, k = len(edges) - 1, subject.who.n
    bin_of = np.searchsorted(np.asarray(edges), ages, side="right") - 1
    inside = (bin_of >= 0) & (bin_of < bins)
    cells = who[inside] * bins + bin_of[inside]
    drawn = weights[inside]
    # Sums of each patient in each bin: a replicate is then one product of matrices.
    sums = [
        np.bincount(cells, one, k * bins).reshape(k, bins)
        for one in (drawn, drawn * called[inside], drawn * ages[inside])
    ]

    enough = (sums[0] > 0).sum(axis=0) >= request.min_cell  # patients: one of a few would move the correlation far
    sums = [one[:, enough] for one in sums]

    def correlations(counts: Counts) -> Floats:
        weight, wrong, years = (counts @ one for one in sums)
        return _pearson(ratio(years, weight), ratio(wrong, weight))

    estimate = float(correlations(np.ones((1, k), np.int32))[0])
    row: dict[str, Any] = {"metric": MEASURES[0]}
    if math.isnan(estimate):
        return row | {
            "note": f"undefined: fewer than three age bins with {request.min_cell} patients that have negatives, or the same FPR in all"
        }
    row |= {
        "estimate": estimate,
        "note": f"over {counted(int(enough.sum()), 'age bin')} of at least {request.min_cell} patients",
    }
    if not request.bootstrap:
        return row
    step = rows_at_once(k * bins)
    blocks = [range(at, min(at + step, request.bootstrap)) for at in range(0, request.bootstrap, step)]
    plain = replace(request, interval="percentile", stratify=None)
    values = np.concatenate([correlations(replicates(subject.who.strata, request.seed, block)) for block in blocks])
    found = Interval.of_replicates(plain, values)
    return row | interval_columns(subject, found, [row["note"], found.note])


def _pearson(x: Floats, y: Floats) -> Floats:
    """(rows,) of (rows, bins); bins that are undefined do not count, and fewer than three are no correlation."""
    both = ~(np.isnan(x) | np.isnan(y))
    n = both.sum(axis=1, keepdims=True)
    dx, dy = (np.where(both, one, 0.0) for one in (x, y))
    dx, dy = (np.where(both, one - one.sum(axis=1, keepdims=True) / np.maximum(n, 1), 0.0) for one in (dx, dy))
    spread = np.sqrt((dx**2).sum(axis=1) * (dy**2).sum(axis=1))
    return np.where(n[:, 0] >= 3, ratio((dx * dy).sum(axis=1), spread), np.nan)


def _slope(
    request: AuditRequest, called: NDArray[np.bool_], ages: Floats, weights: Floats, who: NDArray[np.intp]
) -> dict[str, Any]:
    row: dict[str, Any] = {"metric": MEASURES[1]}
    if called.all() or not called.any() or len(np.unique(ages)) < 2 or len(np.unique(who)) < 3:
        return row | {"note": "undefined: too few patients, one age, or all or no negatives called positive"}
    try:
        import statsmodels.api as sm
    except ImportError as error:
        raise CxrError("CXR-604", "the age trend needs statsmodels", fix="pip install 'cxrdata[stats]'") from error
    order = np.argsort(who, kind="stable")
    decades = (ages[order] - ages.mean()) / DECADE
    model = sm.GEE(
        called[order].astype(np.float64),
        sm.add_constant(decades),
        groups=who[order],
        family=sm.families.Binomial(),
        cov_struct=sm.cov_struct.Independence(),
        weights=weights[order],
    )
    # On data that a regression cannot be fitted to, statsmodels warns and goes on with nonsense.
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            fitted = model.fit()
            ends = [float(fitted.params[1]), *(float(end) for end in fitted.conf_int(alpha=1 - request.confidence)[1])]
            converged, p_value = bool(fitted.converged), float(fitted.pvalues[1])
        except (ValueError, ZeroDivisionError, np.linalg.LinAlgError) as error:
            return row | {"note": f"undefined: the regression failed: {error}"}
    if not converged or not np.isfinite([*ends, p_value]).all() or max(map(abs, ends)) > _LARGEST_LOG_ODDS:
        return row | {"note": f"undefined: the regression did not converge{f': {told[0].message}' if told else ''}"}
    estimate, low, high = (math.exp(end) for end in ends)
    return row | {
        "estimate": estimate,
        "ci_low": low,
        "ci_high": high,
        "p_value": p_value,
        "method": "GEE, logit, independence, robust by patient",
        "note": "odds ratio of ten years",
    }
