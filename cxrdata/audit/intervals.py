"""Which interval a row gets, and what its method is called."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrdata.audit.bootstrap import bca, percentile
from cxrdata.audit.data import UNSTABLE
from cxrdata.audit.delong import delong, newcombe
from cxrdata.audit.metrics import NEED_THRESHOLD, SHARES
from cxrdata.audit.ordered import Floats
from cxrdata.audit.rates import Rate, clopper_pearson, rate_of, wilson
from cxrdata.audit.request import AuditRequest
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.audit.subject import Part, Subject

_FEWEST_FOR_VARIANCE = 5  # positives, or negatives: of fewer, a variance is anybody's guess
_FEWEST = 0.5  # of the replicates must be defined, or they say nothing


@dataclass(frozen=True)
class Interval:
    """low, high: nan where there is none. method: what it is, for the row. note: what a reader must know."""

    low: float = math.nan
    high: float = math.nan
    method: str = ""
    note: str = ""

    @classmethod
    def of_replicates(
        cls,
        request: AuditRequest,
        values: Floats,
        point: float = math.nan,
        jackknife: Floats | None = None,
        *,
        rederived: bool = False,
    ) -> Interval:
        """From one statistic's replicates (replicates,); BCa where asked for and a jackknife is given."""
        defined = int((~np.isnan(values)).sum())
        missing = len(values) - defined
        note = f"undefined in {counted(missing, 'replicate')}, which do not count" if missing else ""
        if defined < _FEWEST * len(values):
            return cls(note=f"no interval: undefined in {missing} of {counted(len(values), 'replicate')}")
        if np.nanmin(values) == np.nanmax(values):
            return cls(note="no interval: all replicates are equal")
        kind = "percentile"
        if request.interval == "bca" and jackknife is not None and len(jackknife):
            kind = "BCa"
            low, high = bca(values[:, None], np.array([point]), jackknife[:, None], request.confidence)
        else:
            low, high = percentile(values[:, None], request.confidence)
        within = f", stratified by {request.stratify}" if request.stratify else ""
        anew = ", threshold rederived" if rederived else ""
        method = f"patient bootstrap, {kind}, {counted(len(values), 'replicate')}{within}{anew}"
        if math.isnan(low[0]) or math.isnan(high[0]):
            return cls(note="no interval: all replicates lie on one side of the estimate")
        return cls(float(low[0]), float(high[0]), method, note)


def interval_of(subject: Subject, part: Part, metric: str, group: int) -> Interval:
    """The interval of one metric in one group."""
    request = subject.request
    if metric in SHARES and request.rates != "bootstrap":
        return of_rate(subject, part, metric, group, request.rates)
    if metric == "auroc" and (instead := _instead_of_bootstrap(subject, part, group)) is not None:
        return instead(subject, part, group)
    return of_bootstrap(subject, part, metric, group)


def of_bootstrap(subject: Subject, part: Part, metric: str, group: int) -> Interval:
    """The bootstrap's interval, however few there are of a class; where all replicates are equal, another of its kind."""
    request = subject.request
    at = request.metrics.index(metric)
    found = Interval()
    if request.bootstrap:
        jackknife = part.jackknife[:, at, group] if len(part.jackknife) else None
        point = float(part.points[at, group])
        rederived = request.rederive and metric in NEED_THRESHOLD and part.margins is None
        found = Interval.of_replicates(request, part.replicates[:, at, group], point, jackknife, rederived=rederived)
        if not math.isnan(found.low):
            return found
    if metric in SHARES and part.points[at, group] in {0, 1} and request.bootstrap:
        return of_rate(subject, part, metric, group, "wilson")
    if metric == "auroc" and part.points[at, group] in {0, 1} and request.bootstrap:
        return _newcombe(subject, part, group)
    return found


def _instead_of_bootstrap(subject: Subject, part: Part, group: int) -> Callable[[Subject, Part, int], Interval] | None:
    """What gives the AUROC its interval where that is not the bootstrap: by wish, or because a class is small.

    Of a handful of positives the bootstrap draws the same few again: its interval held the truth in a fifth of
    simulations with one positive, and in half of those with two.
    """
    fewest = min(part.n_positive[group], part.n[group] - part.n_positive[group])
    if subject.request.bootstrap and fewest < UNSTABLE and (subject.scored.weights[part.codes == group] == 1).all():
        return _newcombe if fewest < _FEWEST_FOR_VARIANCE else _of_auroc
    return _of_auroc if subject.request.auroc == "delong" else None


def of_rate(subject: Subject, part: Part, metric: str, group: int, method: str) -> Interval:
    """`wilson` or `clopper_pearson`, on the effective number of images."""
    rate = effective_rate(subject, part, metric, group)
    low, high = (wilson if method == "wilson" else clopper_pearson)(rate, subject.request.confidence)
    name = "Wilson" if method == "wilson" else "Clopper-Pearson"
    return Interval(low, high, f"{name}, effective n {rate.effective:.1f}")


def effective_rate(subject: Subject, part: Part, metric: str, group: int) -> Rate:
    """A metric of `SHARES` in one group, and how many independent images it is worth."""
    ordered = part.ordered if part.margins is None else part.margins
    images = ordered.order[ordered.codes == group]
    positive = subject.scored.positive[images]
    cells = _cells(subject, part, group, images, positive)
    above, below = (np.isin(cells, [("tp", "fp", "fn", "tn").index(one) for one in parts]) for parts in SHARES[metric])
    who, weights = subject.who.patients[images], subject.scored.weights[images]
    sums = [np.bincount(who, weights * chosen, subject.who.n).astype(np.float64) for chosen in (above, below)]
    return rate_of(sums[0], sums[1])


def _cells(
    subject: Subject, part: Part, group: int, images: NDArray[np.intp], positive: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Of each image its cell of the confusion matrix: 0 tp, 1 fp, 2 fn, 3 tn. Prevalence asks for no threshold."""
    called = np.ones(len(images), np.bool_)
    if subject.chooser is not None:
        thresholds = subject.chooser.thresholds[0]
        if part.margins is None:
            called = subject.scored.scores[images] >= thresholds[group if len(thresholds) == len(part.values) else 0]
        else:
            codes = subject.request.grouping(subject.scored, str(subject.request.threshold_by)).codes[images]
            called = subject.scored.scores[images] >= thresholds[codes]
    return np.where(called, np.where(positive, 0, 1), np.where(positive, 2, 3))


def _of_auroc(subject: Subject, part: Part, group: int) -> Interval:
    scored, images = subject.scored, np.flatnonzero(part.codes == group)
    if (scored.weights[images] != 1).any():
        return Interval(note="no interval: DeLong's variance is not defined for weighted images")
    found = delong(scored.scores[None, images], scored.positive[images], subject.who.patients[images])
    low, high = found.interval(0, subject.request.confidence)
    if math.isnan(low):
        return _newcombe(subject, part, group)
    repeated = part.n_patients[group] < part.n[group]
    return Interval(low, high, "DeLong by patient (Obuchowski), logit, t" if repeated else "DeLong, logit, t")


def _newcombe(subject: Subject, part: Part, group: int) -> Interval:
    images = np.flatnonzero(part.codes == group)
    positive, who = subject.scored.positive[images], subject.who.patients[images]
    with_positives, with_negatives = (len(np.unique(who[chosen])) for chosen in (positive, ~positive))
    point = float(part.points[subject.request.metrics.index("auroc"), group])
    low, high = newcombe(point, with_positives, with_negatives, subject.request.confidence)
    return Interval(low, high, "Newcombe, on the number of patients")
