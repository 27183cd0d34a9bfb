"""Operating points, against trying every candidate."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cxrdata.audit.data import Scored
from cxrdata.audit.ordered import Ordered
from cxrdata.audit.thresholds import Rule, derive
from cxrdata.errors import CxrError
from tests.audit.tables import awkward, plain

RULES = ("youden", "f1", "fpr=0.2", "tpr=0.9", "fpr=0", "tpr=1")


def _chosen(scored: Scored, rule: str) -> float:
    everybody = np.zeros(len(scored.scores), np.int32)
    patients = np.unique(scored.patients, return_inverse=True)[1].astype(np.intp)
    ordered = Ordered(scored, everybody, 1, patients)
    counts = np.ones((1, int(patients.max()) + 1), np.int32)
    return float(derive(Rule.parse(rule), ordered, ordered.weigh(counts))[0, 0])


def _tried(scored: Scored, rule: Rule) -> float:
    """The documented convention, one candidate after the other, from the highest."""
    y, w = scored.positive, scored.weights
    if not y.any() or (rule.kind != "f1" and y.all()):
        return math.nan
    best, chosen = (-math.inf, -math.inf), math.nan
    for candidate in [math.nextafter(scored.scores.max(), math.inf), *np.unique(scored.scores)[::-1]]:
        called = scored.scores >= candidate
        tp, fp = w[called & y].sum(), w[called & ~y].sum()
        tpr, fpr = tp / w[y].sum(), fp / w[~y].sum() if (~y).any() else math.nan
        worth: tuple[float, float]
        if rule.kind == "f1":
            worth = (round(2 * tp / (w[y].sum() + tp + fp), 11), 0.0)
        elif rule.kind == "youden":
            worth = (round(tpr - fpr, 11), 0.0)
        else:
            away = abs((fpr if rule.kind == "fpr" else tpr) - rule.value)
            worth = (-round(away, 11), round(tpr - fpr, 11))
        if worth > best:
            best, chosen = worth, float(candidate)
    return chosen


@pytest.mark.parametrize("rule", RULES)
def test_the_chosen_threshold_is_the_best_of_all_candidates(rule: str) -> None:
    for seed in range(150):
        scored = awkward(seed)
        assert _chosen(scored, rule) == pytest.approx(_tried(scored, Rule.parse(rule)), abs=0, nan_ok=True), seed


def test_youden_is_that_of_the_roc_curve_of_scikit_learn() -> None:
    roc_curve = pytest.importorskip("sklearn.metrics").roc_curve
    scored = plain(2000)
    fpr, tpr, thresholds = roc_curve(scored.positive, scored.scores)
    assert _chosen(scored, "youden") == thresholds[np.argmax(tpr - fpr)]


def test_a_fixed_threshold_is_itself_and_includes_its_own_score() -> None:
    assert _chosen(awkward(0), "0.5") == 0.5
    scored = replace(awkward(1), scores=np.full_like(awkward(1).scores, 0.5))
    patients = np.zeros(len(scored.scores), np.intp)
    ordered = Ordered(scored, np.zeros(len(patients), np.int32), 1, patients)
    tp, fp = ordered.called(ordered.weigh(np.ones((1, 1), np.int32)), np.array([[0.5]]))
    assert tp + fp == scored.weights.sum()


@pytest.mark.parametrize("text", ["yuden", "fpr=2", "ppv=0.5", "tpr=", "inf", "nan", ""])
def test_other_rules_are_refused(text: str) -> None:
    with pytest.raises(CxrError) as refused:
        Rule.parse(text)
    assert refused.value.code == "CXR-502"


@pytest.mark.parametrize("text", [*RULES, "0.5", "-1.25"])
def test_a_rule_is_written_as_it_is_read(text: str) -> None:
    assert str(Rule.parse(text)) == text
