"""What is asked of the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cxrdata.audit.data import Grouping, Scored
from cxrdata.audit.metrics import METRICS, NEED_THRESHOLD
from cxrdata.audit.thresholds import Rule
from cxrdata.errors import CxrError, nearest
from cxrdata.small_cells import MIN_CELL

INTERVALS = ("percentile", "bca")
RATE_INTERVALS = ("bootstrap", "wilson", "clopper_pearson")
AUROC_INTERVALS = ("bootstrap", "delong")
ADJUSTMENTS = ("none", "holm", "bh", "by")
BY_LABEL = "label"
DEFAULT_METRICS = tuple(name for name in METRICS if not name.endswith(("positives", "negatives")))


@dataclass(frozen=True)
class AuditRequest:
    """What to compute of each label.

    metrics: of `cxrdata.audit.metrics.METRICS`. threshold: see `cxrdata.audit.thresholds`. threshold_by: the name of a
    grouping each group of which has its own threshold; else one threshold for everybody. Rows of other groupings then
    count what is called by each image's own threshold; images of no such group are not in them.
    calibration: the images that thresholds are chosen on, by (model, label); a label that is not in it chooses on the images
    it is judged on. rederive: choose the threshold anew within each replicate, of calibration patients drawn
    anew; with `threshold_by` in the rows of that grouping only.

    bootstrap: replicates; 0 gives no bootstrap interval. interval: `percentile` or `bca`. stratify: `label` keeps the number
    of patients with and without a positive image, the name of a grouping that of each group's patients (by the group of a
    patient's first image), null redraws all patients alike. confidence: of every interval.
    rates: intervals of rates: `bootstrap`, or `wilson`, `clopper_pearson` (needs scipy), both on the effective number of
    images. A rate of exactly 0 or 1 has the Wilson interval where the bootstrap has none. auroc: `bootstrap` or `delong`.

    min_cell: a group of fewer patients is masked. bins: of the ECE. gaps: also rows that compare groups.
    permutations: of the tests of gaps; 0 for no test. compare: also the differences of every two models on the same label.
    adjust: `none`, `holm`, `bh`, `by`, over the p values of one metric of one model, all labels and groups. seed: 0 or more. threads: at work at once; it has
    no influence on any number.
    """

    metrics: tuple[str, ...] = DEFAULT_METRICS
    threshold: str | None = "youden"
    threshold_by: str | None = None
    calibration: Mapping[tuple[str, str], Scored] = field(default_factory=dict)
    rederive: bool = False
    bootstrap: int = 2000
    interval: str = "percentile"
    stratify: str | None = None
    confidence: float = 0.95
    rates: str = "bootstrap"
    auroc: str = "bootstrap"
    min_cell: int = MIN_CELL
    bins: int = 10
    gaps: bool = True
    permutations: int = 0
    compare: bool = False
    adjust: str = "none"
    seed: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        """Raises CxrError CXR-501 for an unknown metric, CXR-502 for a value that makes no sense."""
        for name in self.metrics:
            if name not in METRICS:
                raise CxrError("CXR-501", f"no metric {name!r}{nearest(name, list(METRICS))}", fix=", ".join(METRICS))
        for what, value, known in (
            ("interval", self.interval, INTERVALS),
            ("rates", self.rates, RATE_INTERVALS),
            ("auroc", self.auroc, AUROC_INTERVALS),
            ("adjust", self.adjust, ADJUSTMENTS),
        ):
            if value not in known:
                raise CxrError("CXR-502", f"{what} cannot be {value!r}", fix=f"one of {', '.join(known)}")
        for what, number, least in (
            ("bootstrap", self.bootstrap, 0),
            ("permutations", self.permutations, 0),
            ("min_cell", self.min_cell, 0),
            ("bins", self.bins, 1),
            ("seed", self.seed, 0),
            ("threads", self.threads, 1),
        ):
            if number < least:
                raise CxrError("CXR-502", f"{what} cannot be {number}", fix=f"give a number of at least {least}")
        if not 0 < self.confidence < 1:
            raise CxrError("CXR-502", f"confidence cannot be {self.confidence:g}", fix="0.95 is usual")
        if self.rule is None and (needed := sorted(set(self.metrics) & NEED_THRESHOLD)):
            raise CxrError("CXR-502", f"{', '.join(needed)} need a threshold", fix="--threshold youden")

    @property
    def rule(self) -> Rule | None:
        """How the threshold is chosen."""
        return None if self.threshold is None else Rule.parse(self.threshold)

    def grouping(self, scored: Scored, by: str) -> Grouping:
        """The grouping of that name. Raises CxrError CXR-501."""
        for one in scored.groupings:
            if one.by == by:
                return one
        known = [one.by for one in scored.groupings]
        raise CxrError("CXR-501", f"the images are not grouped by {by!r}{nearest(by, known)}", fix=f"--by {by}")
