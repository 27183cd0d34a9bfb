"""Operating points: the score from which on an image is called positive (score >= threshold).

Candidates are the distinct scores, and a number just above the highest one, which calls nobody. `youden` takes the highest
TPR - FPR; `f1` the highest F1; `fpr=0.2` and `tpr=0.9` the candidate whose rate is nearest, and of these the one with
the highest TPR - FPR. Of candidates that are still equal the highest one is taken, which calls the fewest images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cxrdata.audit.ordered import Floats, Ordered, Weighed, ratio
from cxrdata.errors import CxrError

_FIX = "one of youden, f1, fpr=0.2, tpr=0.9, or a number such as 0.5"
_CLOSE = 1e-12  # differences below it are rounding


@dataclass(frozen=True)
class Rule:
    """How to choose a threshold: kind is `youden`, `f1`, `fpr`, `tpr` or `fixed`; value is the target or the threshold."""

    kind: str
    value: float = math.nan

    @classmethod
    def parse(cls, text: str) -> Rule:
        """`youden`, `f1`, `fpr=X`, `tpr=X`, or a number. Raises CxrError CXR-502."""
        if text in {"youden", "f1"}:
            return cls(text)
        name, equals, rest = text.partition("=")
        try:
            value = float(rest if equals else text)
        except ValueError:
            raise CxrError("CXR-502", f"no rule for a threshold: {text!r}", fix=_FIX) from None
        if equals and (name not in {"fpr", "tpr"} or not 0 <= value <= 1):
            raise CxrError("CXR-502", f"no rule for a threshold: {text!r}", fix=_FIX)
        if not math.isfinite(value):
            raise CxrError("CXR-502", f"a threshold must be a finite number, got {text!r}", fix=_FIX)
        return cls(name if equals else "fixed", value)

    def __str__(self) -> str:
        return (
            self.kind
            if math.isnan(self.value)
            else f"{self.value:g}"
            if self.kind == "fixed"
            else f"{self.kind}={self.value:g}"
        )


def derive(rule: Rule, ordered: Ordered, weighed: Weighed) -> Floats:
    """(rows, groups): the threshold of each group in each row of weights; nan where a class that the rule needs is absent."""
    rows = len(weighed.n_positive)
    if rule.kind == "fixed":
        return np.full((rows, ordered.groups), rule.value)
    return np.stack([_of_group(rule, ordered, weighed, g) for g in range(ordered.groups)], axis=1)


def _of_group(rule: Rule, ordered: Ordered, weighed: Weighed, group: int) -> Floats:
    sides = (ordered.positive, ordered.negative)
    scores = np.unique(np.concatenate([side.scores[side.starts[group] : side.starts[group + 1]] for side in sides]))
    nobody = np.full(len(weighed.n_positive), np.nan)
    if not scores.size:
        return nobody
    candidates = np.append(scores, np.nextafter(scores[-1], np.inf))[::-1]  # the highest first: argmax takes the first
    n_positive, n_negative = weighed.n_positive[:, [group]], weighed.n_negative[:, [group]]
    tp = n_positive - weighed.positive_sums.take(ordered.positive.below(group, candidates), axis=1)
    fp = n_negative - weighed.negative_sums.take(ordered.negative.below(group, candidates), axis=1)
    tpr, fpr = ratio(tp, n_positive), ratio(fp, n_negative)
    if rule.kind == "f1":
        worth = ratio(2 * tp, n_positive + tp + fp)  # 2 tp + fp + fn
        known = n_positive[:, 0] > 0
    else:
        worth = tpr - fpr
        known = (n_positive[:, 0] > 0) & (n_negative[:, 0] > 0)
        if rule.kind in {"fpr", "tpr"}:
            away = np.abs((fpr if rule.kind == "fpr" else tpr) - rule.value)
            worth = np.where(away <= away.min(axis=1, keepdims=True) + _CLOSE, worth, -np.inf)
    best = worth.max(axis=1, keepdims=True)
    chosen = np.argmax(worth >= best - _CLOSE, axis=1)
    return np.where(known, candidates[chosen], nobody)
