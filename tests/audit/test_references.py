"""Every point estimate against an independent implementation, on a thousand tables with everything that breaks metrics."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from cxrdata.audit.data import Scored
from cxrdata.audit.engine import evaluate
from cxrdata.audit.metrics import METRICS
from cxrdata.audit.request import AuditRequest
from tests.audit.tables import GROUPS, awkward

sklearn = pytest.importorskip("sklearn")
TABLES = 1000
CLOSE = 1e-12
THRESHOLD = 0.4
POINTS = AuditRequest(metrics=METRICS, threshold=str(THRESHOLD), bootstrap=0, min_cell=0)
Key = tuple[str | None, str]
Answers = list[tuple[Scored, dict[Key, float | None]]]


@pytest.fixture(scope="module")
def answers() -> Answers:
    """Each table with its estimates by (group, metric); everybody's group is null, as is that of rows on all groups."""
    found = []
    for seed in range(TABLES):
        scored = awkward(seed)
        rows = evaluate([scored], POINTS).select("group_by", "group_value", "metric", "estimate").rows()
        found.append(
            (scored, {(value if by != "overall" else "", metric): estimate for by, value, metric, estimate in rows})
        )
    return found


def _parts(scored: Scored) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    yield "", np.ones(len(scored.scores), np.bool_)
    for at, group in enumerate(GROUPS):
        yield group, scored.groupings[0].codes == at


def _agrees(answer: float | None, reference: float) -> bool:
    if answer is None:
        return math.isnan(reference)
    return abs(answer - reference) <= CLOSE


def _check(answers: Answers, metric: str, reference: Callable[..., float], *, groups_every: int = 1) -> int:
    """Compare every table, and the groups of every so manieth; how often there was a value."""
    values = 0
    for at, (scored, answer) in enumerate(answers):
        for group, own in _parts(scored):
            if group and at % groups_every:
                continue
            expected = math.nan
            if own.any():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    expected = reference(scored.positive[own], scored.scores[own], scored.weights[own])
            assert _agrees(answer[group, metric], expected), (at, group, metric, answer[group, metric], expected)
            values += not math.isnan(expected)
    return values


def _both(positive: NDArray[np.bool_]) -> bool:
    return bool(positive.any() and not positive.all())


def test_auroc_is_that_of_scipy(answers: Answers) -> None:
    """The Mann-Whitney statistic, every draw being an image."""
    from scipy.stats import rankdata

    def reference(positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
        draws = weights.astype(int)
        positive, scores = positive.repeat(draws), scores.repeat(draws)
        m, n = positive.sum(), (~positive).sum()
        if not m * n:
            return math.nan
        return float((rankdata(scores)[positive].sum() - m * (m + 1) / 2) / (m * n))

    assert _check(answers, "auroc", reference) > TABLES


@pytest.mark.parametrize("metric", ["auroc", "auprc", "brier"])
def test_rankings_and_brier_are_those_of_scikit_learn(answers: Answers, metric: str) -> None:
    from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

    def reference(positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
        if metric == "brier":
            return float(brier_score_loss(positive, scores, sample_weight=weights, labels=[False, True]))
        if not _both(positive):
            return math.nan
        score = roc_auc_score if metric == "auroc" else average_precision_score
        return float(score(positive, scores, sample_weight=weights))

    assert _check(answers, metric, reference, groups_every=5) > TABLES


def test_the_confusion_matrix_and_what_follows_are_those_of_scikit_learn(
    answers: Answers,
) -> None:
    from sklearn.metrics import confusion_matrix

    def over(above: float, below: float) -> float:
        return above / below if below else math.nan

    for scored, answer in answers:
        called = scored.scores >= THRESHOLD
        codes = scored.groupings[0].codes + 1
        cells = [2 * codes + truth for truth in (scored.positive, called)]
        whole = confusion_matrix(*cells, labels=range(2 * len(GROUPS) + 2), sample_weight=scored.weights)
        blocks = whole.reshape(len(GROUPS) + 1, 2, len(GROUPS) + 1, 2)
        of_group = {"": blocks.sum(axis=(0, 2))} | {name: blocks[at, :, at] for at, name in enumerate(GROUPS, 1)}
        for group, matrix in of_group.items():
            if not matrix.any():
                assert answer[group, "tpr"] is None
                continue
            (tn, fp), (fn, tp) = matrix.tolist()
            expected = {
                "true_positives": tp, "false_positives": fp, "false_negatives": fn, "true_negatives": tn,
                "tpr": over(tp, tp + fn), "fnr": over(fn, tp + fn), "fpr": over(fp, fp + tn), "tnr": over(tn, fp + tn),
                "ppv": over(tp, tp + fp), "npv": over(tn, tn + fn), "accuracy": (tp + tn) / matrix.sum(),
                "selection_rate": (tp + fp) / matrix.sum(), "prevalence": (tp + fn) / matrix.sum(),
                "f1": over(2 * tp, 2 * tp + fp + fn), "youden": over(tp, tp + fn) - over(fp, fp + tn),
                "balanced_accuracy": (over(tp, tp + fn) + over(tn, fp + tn)) / 2,
            }  # fmt: skip
            for metric, value in expected.items():
                assert _agrees(answer[group, metric], value), (group, metric)


@pytest.mark.parametrize(
    ("metric", "name"),
    [("f1", "f1_score"), ("accuracy", "accuracy_score"), ("balanced_accuracy", "balanced_accuracy_score"),
     ("ppv", "precision_score"), ("tpr", "recall_score")],
)  # fmt: skip
def test_named_metrics_are_those_of_scikit_learn(answers: Answers, metric: str, name: str) -> None:
    """On tables of both classes; every tenth, for the matrix above leaves little to go wrong."""
    from sklearn import metrics

    compared = 0
    for scored, answer in answers[::10]:
        if _both(scored.positive) and (answer["", metric] or 0) > 0:
            called = scored.scores >= THRESHOLD
            expected = getattr(metrics, name)(scored.positive, called, sample_weight=scored.weights)
            assert _agrees(answer["", metric], float(expected))
            compared += 1
    assert compared > 50


def test_calibration_error_is_that_of_the_curve_of_scikit_learn(
    answers: Answers,
) -> None:
    from sklearn.calibration import calibration_curve

    for scored, answer in answers:
        if (scored.weights != 1).any():
            continue
        for group, own in _parts(scored):
            if not _both(scored.positive[own]):
                continue
            observed, predicted = calibration_curve(scored.positive[own], scored.scores[own], n_bins=10)
            bin_of = np.searchsorted(np.linspace(0, 1, 11)[1:-1], scored.scores[own])
            sizes = np.bincount(bin_of)
            expected = float(np.abs(observed - predicted) @ sizes[sizes > 0] / own.sum())
            assert _agrees(answer[group, "ece"], expected)


def test_fairness_criteria_are_those_of_fairlearn(answers: Answers) -> None:
    """On tables where every group has both classes: elsewhere fairlearn takes 0 for a rate that is undefined."""
    fairlearn = pytest.importorskip("fairlearn.metrics")
    compared = 0
    for scored, answer in answers:
        codes = scored.groupings[0].codes
        own = codes >= 0
        groups = [scored.positive[codes == at] for at in np.unique(codes[own])]
        if len(groups) < 2 or not all(_both(group) for group in groups):
            continue
        compared += 1
        said = {
            "sensitive_features": codes[own],
            "sample_weight": scored.weights[own],
        }
        truth, called = scored.positive[own].astype(int), (scored.scores[own] >= THRESHOLD).astype(int)
        functions = {"tpr": "true_positive_rate", "fpr": "false_positive_rate", "s": "selection_rate"}
        frame = fairlearn.MetricFrame(
            metrics={name: getattr(fairlearn, function) for name, function in functions.items()},
            y_true=truth,
            y_pred=called,
            sensitive_features=codes[own],
            sample_params={name: {"sample_weight": scored.weights[own]} for name in functions},
        )
        gaps, ratios = frame.difference(), frame.ratio()
        tpr, fpr = gaps["tpr"], gaps["fpr"]
        expected = {
            "equal_opportunity_difference": tpr,
            "equalised_odds_positive": tpr,
            "equalised_odds_negative": fpr,
            "equalised_odds": max(tpr, fpr),
            "demographic_parity_difference": gaps["s"],
            "disparate_impact_selection_ratio": ratios["s"],
            "disparate_impact_tpr": 1 - ratios["tpr"],
        }
        for criterion, value in expected.items():
            assert _agrees(answer[None, criterion], float(value)), criterion
        if compared <= 20:
            odds = fairlearn.equalized_odds_difference(truth, called, **said)
            assert _agrees(answer[None, "equalised_odds"], float(odds))
    assert compared > 100


def test_a_value_is_missing_with_a_reason_and_never_without(
    answers: Answers,
) -> None:
    rows = pl.concat([evaluate([scored], POINTS) for scored, _ in answers[:100]])
    missing = rows.filter(pl.col("estimate").is_null())
    assert missing.height > 1000
    assert missing["note"].str.starts_with("undefined: ").all()
    assert not rows["estimate"].is_nan().any()
    assert rows.filter(pl.col("estimate").is_not_null() & pl.col("note").str.starts_with("undefined")).is_empty()
    assert not rows["note"].drop_nulls().is_in(["undefined: undefined"]).any()
