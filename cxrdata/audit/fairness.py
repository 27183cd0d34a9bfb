"""What compares the groups of one grouping: differences, gaps, ratios, the worst group, and the named fairness criteria.

Masked and undefined groups take no part. For each metric:
`M_difference` of each group: its value less that of the reference, the group with the most images (the first of equals).
`M_gap`: the highest value less the lowest. `M_ratio`: the lowest over the highest. `M_worst`: the worst group's value.
A gap, ratio or criterion of more than two groups has no interval: its groups were chosen on the data, and the interval of the
difference of those two would leave 0 out in half of all data without any gap. The permutation test knows of the choice, and
the differences have intervals. Of two groups the interval is that of their difference, so it may reach below 0: then which
of them is ahead is not certain. Differences of groups with under 10 positives or negatives are from the intervals of both.

Criteria (Hardt, Price, Srebro, NeurIPS 2016; Feldman et al., KDD 2015), each over all groups:
`equal_opportunity_difference` and `equalised_odds_positive`: gap of the TPR. `equalised_odds_negative`: gap of the TNR, which
is that of the FPR. `equalised_odds`: the larger of the two. `demographic_parity_difference`: gap of the share called positive.
`disparate_impact_selection_ratio`: the lowest share called positive over the highest; 1 is fair, 0.8 is the four-fifths rule.
`disparate_impact_tpr`: 1 - lowest TPR over highest TPR; 0 is fair (Jin et al., MICCAI 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cxrdata.audit.data import OVERALL, UNSTABLE
from cxrdata.audit.intervals import Interval, interval_of, of_rate
from cxrdata.audit.metrics import CALIBRATION, COMPOSITE, NEED_THRESHOLD, RANKING, SHARES
from cxrdata.audit.ordered import Floats, ratio
from cxrdata.audit.permutation import Tested, permutation_tests
from cxrdata.audit.rows import head, interval_columns, is_masked, unstable
from cxrdata.audit.subject import Part, Subject
from cxrdata.wording import counted

LOWER_IS_BETTER = {"fpr", "fnr", *CALIBRATION}
NEITHER = {"selection_rate", "prevalence"}
COMPARED = {*RANKING, *SHARES, *COMPOSITE, *CALIBRATION}
# Criterion, the metric it looks at, and whether it is a gap, a ratio or 1 - ratio.
CRITERIA = (
    ("equal_opportunity_difference", "tpr", "gap"),
    ("equalised_odds_positive", "tpr", "gap"),
    ("equalised_odds_negative", "tnr", "gap"),
    ("demographic_parity_difference", "selection_rate", "gap"),
    ("disparate_impact_selection_ratio", "selection_rate", "ratio"),
    ("disparate_impact_tpr", "tpr", "1-ratio"),
)
FORMS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "gap": lambda high, low: high - low,
    "ratio": lambda high, low: ratio(low, high),
    "1-ratio": lambda high, low: 1 - ratio(low, high),
}


def gap_rows(subject: Subject) -> list[dict[str, Any]]:
    """The rows that compare groups, for each grouping in turn."""
    rows: list[dict[str, Any]] = []
    for part in subject.parts:
        if part.by != OVERALL:
            rows += _of_part(subject, part)
    return rows


def _of_part(subject: Subject, part: Part) -> list[dict[str, Any]]:
    shown = [g for g in range(len(part.values)) if part.n[g] and not is_masked(subject, part, g)]
    tested, reference = None, -1
    if len(shown) > 1:
        reference = max(shown, key=lambda g: (int(part.n[g]), -g))
        if subject.request.permutations:
            tested = permutation_tests(subject, part, shown, reference)
    rows = []
    for metric in subject.request.metrics:
        if metric in COMPARED:
            rows += _of_metric(Compared(subject, part, metric, shown), reference, tested)
    return rows + _criteria(subject, part, shown)


class Compared:
    """One metric in the groups of a part that are shown. defined: those where it has a value; low, high: the extreme ones."""

    def __init__(self, subject: Subject, part: Part, metric: str, shown: list[int]) -> None:
        self.subject, self.part, self.metric = subject, part, metric
        self.at = subject.request.metrics.index(metric)
        points = part.points[self.at]
        self.defined = [g for g in shown if not math.isnan(points[g])]
        self.low = min(self.defined, key=lambda g: points[g], default=-1)
        self.high = max(self.defined, key=lambda g: (points[g], g), default=-1)

    @property
    def few(self) -> str:
        """Why there is nothing to compare, or an empty string."""
        return "" if len(self.defined) > 1 else f"undefined: {counted(len(self.defined), 'group')} with a value"

    def row(self, name: str, form: str, high: int, low: int, *, group: int | None = None) -> dict[str, Any]:
        """A row of `form` of the values of two groups; group: the one the row is about, null for all."""
        part, subject, combine = self.part, self.subject, FORMS[form]
        row = head(subject, part, group) | {"metric": name}
        estimate = float(combine(part.points[self.at, [high]], part.points[self.at, [low]])[0])
        if math.isnan(estimate):
            return row | {"note": "undefined: division by 0"}
        found = Interval()
        chosen = group is None and len(self.defined) > 2
        few = min(self._fewest(high, low, positive=True), self._fewest(high, low, positive=False)) < UNSTABLE
        by_ends = self._needs_wilson(high, low) or (few and self.metric in {"auroc", *SHARES})
        if chosen:
            found = Interval(note="no interval: these groups were chosen on the data; see the differences and the test")
        elif by_ends and form == "gap":
            found = self._of_ends(high, low, estimate)
        elif by_ends:
            found = Interval(note="no interval: a rate of 0 or 1, or under 10 positives or negatives")
        elif subject.request.bootstrap:
            values = combine(part.replicates[:, self.at, high], part.replicates[:, self.at, low])
            jackknife = None
            if len(part.jackknife):
                jackknife = combine(part.jackknife[:, self.at, high], part.jackknife[:, self.at, low])
            anew = subject.request.rederive and self.metric in NEED_THRESHOLD and part.margins is None
            found = Interval.of_replicates(subject.request, values, estimate, jackknife, rederived=anew)
        notes = [unstable(self._fewest(high, low, positive=True), self._fewest(high, low, positive=False))]
        if group is None:
            notes.append(f"highest {part.values[high]}, lowest {part.values[low]}")
        return row | {"estimate": estimate} | interval_columns(subject, found, [*notes, found.note])

    def _fewest(self, high: int, low: int, *, positive: bool) -> int:
        sizes = self.part.n_positive if positive else self.part.n - self.part.n_positive
        return int(min(sizes[high], sizes[low]))

    def _needs_wilson(self, high: int, low: int) -> bool:
        """A rate of 0 or 1 is the same in every replicate, as if it were certain."""
        extreme = {float(self.part.points[self.at, g]) for g in (high, low)} & {0.0, 1.0}
        return self.metric in SHARES and bool(extreme)

    def _of_ends(self, high: int, low: int, estimate: float) -> Interval:
        """The difference of two rates or AUROCs from the intervals of each (Newcombe, Stat Med 17:873, 1998, method 10)."""
        above, below = (
            of_rate(self.subject, self.part, self.metric, g, "wilson")
            if self.metric in SHARES
            else interval_of(self.subject, self.part, self.metric, g)
            for g in (high, low)
        )
        p, q = (float(self.part.points[self.at, g]) for g in (high, low))
        if math.isnan(above.low + above.high + below.low + below.high):
            return Interval(note="no interval: one of the two groups has none")
        return Interval(
            estimate - math.hypot(p - above.low, below.high - q),
            estimate + math.hypot(above.high - p, q - below.low),
            f"Newcombe, from {'Wilson intervals' if self.metric in SHARES else 'both intervals'}",
        )


def _of_metric(compared: Compared, reference: int, tested: Tested | None) -> list[dict[str, Any]]:
    subject, part, metric = compared.subject, compared.part, compared.metric
    if compared.few:
        empty = head(subject, part, None) | {"note": compared.few}
        return [empty | {"metric": f"{metric}_{what}"} for what in ("gap", "ratio")]
    divided = ""
    if tested is not None and tested.divided:
        divided = f"test: {counted(tested.divided, 'patient')} in the group of most of their images"
    rows = []
    for group in compared.defined:
        if group != reference and reference in compared.defined:
            row = compared.row(f"{metric}_difference", "gap", group, reference, group=group)
            less = [f"less {part.values[reference]}"]
            rows.append(
                _with_p(row, None if tested is None else float(tested.pairs[group][compared.at]), less, divided)
            )
    gap = compared.row(f"{metric}_gap", "gap", compared.high, compared.low)
    every = len(compared.defined) == sum(
        1 for g in range(len(part.values)) if part.n[g] and not is_masked(subject, part, g)
    )
    rows.append(_with_p(gap, float(tested.gap[compared.at]) if tested is not None and every else None, [], divided))
    rows.append(compared.row(f"{metric}_ratio", "ratio", compared.high, compared.low))
    if metric not in NEITHER:
        worst = compared.high if metric in LOWER_IS_BETTER else compared.low
        row = head(subject, part, worst) | {
            "metric": f"{metric}_worst",
            "estimate": float(part.points[compared.at, worst]),
        }
        found = interval_of(subject, part, metric, worst)
        if len(compared.defined) > 2:
            found = Interval(note="no interval: the group was chosen on the data; its own row has one")
        notes = [unstable(row["n_positive"], row["n"] - row["n_positive"]), found.note]
        rows.append(row | interval_columns(subject, found, notes))
    return rows


def _with_p(row: dict[str, Any], p_value: float | None, notes: list[str], divided: str) -> dict[str, Any]:
    known = p_value is not None and not math.isnan(p_value)
    told = [row.get("note"), *notes, divided if known else ""]
    method = "; ".join(one for one in (row.get("method"), "permutation test by patient" if known else "") if one)
    return row | {
        "p_value": p_value if known else None,
        "method": method or None,
        "note": "; ".join(one for one in told if one) or None,
    }


def _criteria(subject: Subject, part: Part, shown: list[int]) -> list[dict[str, Any]]:
    rows = []
    for name, metric, form in CRITERIA:
        if metric in subject.request.metrics:
            compared = Compared(subject, part, metric, shown)
            if compared.few:
                rows.append(head(subject, part, None) | {"metric": name, "note": compared.few})
            else:
                rows.append(compared.row(name, form, compared.high, compared.low))
    by_class = [row for row in rows if row["metric"] in {"equalised_odds_positive", "equalised_odds_negative"}]
    if len(by_class) == 2:
        if any(row.get("estimate") is None for row in by_class):
            rows.append(
                head(subject, part, None) | {"metric": "equalised_odds", "note": "undefined: one of its classes is"}
            )
        else:
            larger = max(by_class, key=lambda row: float(row["estimate"]))
            which = str(larger["metric"]).rpartition("_")[2]
            rows.append(larger | {"metric": "equalised_odds", "note": f"{larger['note']}; of the {which} class"})
    return rows
