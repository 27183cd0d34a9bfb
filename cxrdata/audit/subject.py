"""One label of one model, made ready: everybody and each grouping sorted, thresholds chosen, replicates to be filled in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cxrdata.audit.bootstrap import CALIBRATION, DRAW, left_out, replicates
from cxrdata.audit.data import OVERALL, Scored
from cxrdata.audit.metrics import CALIBRATION as OF_PROBABILITIES
from cxrdata.audit.metrics import NEED_THRESHOLD, Bins, Evaluated
from cxrdata.audit.ordered import Counts, Floats, Ordered
from cxrdata.audit.request import BY_LABEL, AuditRequest
from cxrdata.audit.thresholds import Rule, derive


class Part:
    """Everybody, or one grouping: its images in order, and the values of every metric by group.

    values: group names; the one of everybody is null. points: (metrics, groups). replicates: (replicates, metrics, groups).
    jackknife: (blocks, metrics, groups), empty unless asked for. n, n_positive, n_patients: (groups,) of images and patients.
    """

    def __init__(
        self, scored: Scored, by: str, values: Sequence[str | None], codes: NDArray[np.int32], who: Who
    ) -> None:
        groups = len(values)
        self.by = by
        self.values = tuple(values)
        self.codes = codes
        self.ordered = Ordered(scored, codes, groups, who.patients)
        self.margins: Ordered | None = None  # the same sorted by how far above its own threshold an image is
        self.bins: Bins | None = None
        known = codes >= 0
        self.n = np.bincount(codes[known], minlength=groups)
        self.n_positive = np.bincount(codes[known & scored.positive], minlength=groups)
        pairs = np.unique(codes[known].astype(np.int64) * max(who.n, 1) + who.patients[known])
        self.n_patients = np.bincount(pairs // max(who.n, 1), minlength=groups)
        self.points = self.jackknife = self.replicates = np.empty((0, 0, groups))

    def evaluate(self, metrics: Sequence[str], counts: Counts, thresholds: Floats | None) -> Floats:
        """(rows, metrics, groups) under rows of patients' weights; thresholds: (rows or 1, 1 or groups)."""
        result = np.empty((len(counts), len(metrics), len(self.values)))
        own = None if thresholds is None else np.broadcast_to(thresholds, (len(thresholds), len(self.values)))
        evaluated = Evaluated(self.ordered, counts, own, bins=self.bins)
        called = evaluated
        if self.margins is not None and NEED_THRESHOLD.intersection(metrics):
            called = Evaluated(self.margins, counts, np.zeros((1, len(self.values))))
        for at, metric in enumerate(metrics):
            result[:, at] = (called if metric in NEED_THRESHOLD else evaluated)[metric]
        return result


@dataclass(frozen=True)
class Who:
    """The patients of some images: codes 0…n-1 of each image, and the stratum of each patient."""

    patients: NDArray[np.intp]
    n: int
    strata: NDArray[np.intp]

    @classmethod
    def of(cls, scored: Scored, request: AuditRequest) -> Who:
        known, patients = np.unique(scored.patients, return_inverse=True)
        strata = np.zeros(len(known), np.intp)
        if request.stratify == BY_LABEL:
            strata[patients[scored.positive]] = 1
        elif request.stratify is not None:
            _, first = np.unique(patients, return_index=True)
            strata = request.grouping(scored, request.stratify).codes[first].astype(np.intp) + 1
        return cls(patients.astype(np.intp), len(known), strata)


class Chooser:
    """Chooses the thresholds of a label on its calibration set, or else on the images that are judged.

    own: chosen on the images that are judged. thresholds: (1, 1), or (1, groups) of `threshold_by`.
    """

    def __init__(self, scored: Scored, who: Who, rule: Rule, request: AuditRequest) -> None:
        chosen_on = request.calibration.get((scored.model, scored.label))
        self.rule = rule
        self.own = chosen_on is None
        self.scored = scored if chosen_on is None else chosen_on
        if chosen_on is not None:
            calm = request.stratify if request.stratify == BY_LABEL else None
            who = Who.of(chosen_on, replace(request, stratify=calm))
        self._who = who
        self._seed = request.seed
        codes, groups = np.zeros(len(self.scored.scores), np.int32), 1
        if request.threshold_by is not None:
            judged = request.grouping(scored, request.threshold_by).values
            found = request.grouping(self.scored, request.threshold_by)
            at = [judged.index(value) if value in judged else -1 for value in found.values]
            codes, groups = np.array([*at, -1], np.int32)[found.codes], len(judged)
        self._ordered = Ordered(self.scored, codes, groups, who.patients)
        self.n = np.bincount(codes[codes >= 0], minlength=groups)
        self.n_positive = np.bincount(codes[(codes >= 0) & self.scored.positive], minlength=groups)
        self.thresholds = self._derive(np.ones((1, who.n), np.int32))

    def again(self, counts: Counts, numbers: range) -> Floats:
        """(rows, groups): the thresholds chosen in the replicates of these numbers; counts: of the judged patients."""
        if not self.own:
            counts = replicates(self._who.strata, self._seed, numbers, purpose=CALIBRATION)
        return self._derive(counts)

    def _derive(self, counts: Counts) -> Floats:
        return derive(self.rule, self._ordered, self._ordered.weigh(counts))


class Subject:
    """A label with its parts: the first is everybody, then each grouping of the input in its order."""

    def __init__(self, scored: Scored, request: AuditRequest) -> None:
        self.scored = scored
        self.request = request
        self.who = Who.of(scored, request)
        everybody = np.zeros(len(scored.scores), np.int32)
        self.parts = [
            Part(scored, OVERALL, [None], everybody, self.who),
            *(Part(scored, one.by, one.values, one.codes, self.who) for one in scored.groupings),
        ]
        if scored.probabilities and set(OF_PROBABILITIES) & set(request.metrics):
            for part in self.parts:
                part.bins = Bins(part.ordered, scored.scores, scored.positive, bins=request.bins)
        rule = request.rule
        self.chooser = None if rule is None else Chooser(scored, self.who, rule, request)
        self.threshold_replicates = np.empty((0, 0))
        if self.chooser is not None:
            self.threshold_replicates = np.full((request.bootstrap, self.chooser.thresholds.shape[1]), np.nan)
            if request.threshold_by is not None:
                self._set_margins(request.grouping(scored, request.threshold_by).codes, self.chooser.thresholds[0])
        everyone = np.ones((1, self.who.n), np.int32)
        for part in self.parts:
            part.points = self.evaluate(part, everyone)[0]
            part.replicates = np.full((request.bootstrap, len(request.metrics), len(part.values)), np.nan)
        if request.interval == "bca" and request.bootstrap:
            self._leave_out()

    def _set_margins(self, codes: NDArray[np.int32], thresholds: Floats) -> None:
        """Outside the grouping that the thresholds belong to, images are sorted by how far they are above their own."""
        own = np.append(thresholds, np.nan)[codes]
        known = ~np.isnan(own)
        margins = replace(self.scored, scores=np.where(known, self.scored.scores - own, 0.0))
        for part in self.parts:
            if part.by != self.request.threshold_by:
                kept = np.where(known, part.codes, np.int32(-1))
                part.margins = Ordered(margins, kept, len(part.values), self.who.patients)

    def evaluate(self, part: Part, counts: Counts) -> Floats:
        """(rows, metrics, groups) of a part under other weights of patients, the thresholds being what they are."""
        return self._evaluate(part, counts, None if self.chooser is None else self.chooser.thresholds)

    def _evaluate(self, part: Part, counts: Counts, thresholds: Floats | None) -> Floats:
        return part.evaluate(self.request.metrics, counts, None if part.margins is not None else thresholds)

    def fill(self, numbers: range) -> None:
        """Compute the replicates of these numbers."""
        counts = replicates(self.who.strata, self.request.seed, numbers, purpose=DRAW)
        thresholds = None if self.chooser is None else self.chooser.thresholds
        if self.chooser is not None and self.request.rederive:
            thresholds = self.chooser.again(counts, numbers)
            self.threshold_replicates[numbers.start : numbers.stop] = thresholds
        for part in self.parts:
            part.replicates[numbers.start : numbers.stop] = self._evaluate(part, counts, thresholds)

    def _leave_out(self) -> None:
        counts = left_out(self.who.n, self.request.seed)
        step = rows_at_once(len(self.scored.scores))
        for part in self.parts:
            blocks = [self.evaluate(part, counts[at : at + step]) for at in range(0, len(counts), step)]
            part.jackknife = np.concatenate(blocks) if blocks else part.jackknife


def rows_at_once(images: int) -> int:
    """Rows of weights to work on together: few enough to stay in the processor's cache, enough to be worth a call."""
    return int(np.clip(500_000 // max(images, 1), 1, 256))
