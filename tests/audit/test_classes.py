"""Several classes, and calibration curves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from cxrdata.audit.classes import confusion_matrix, one_vs_rest
from cxrdata.audit.curves import calibration_curve, roc_curve
from cxrdata.audit.engine import evaluate
from cxrdata.audit.rates import rate_of, wilson
from cxrdata.audit.request import AuditRequest
from cxrdata.errors import CxrError
from tests.audit.tables import plain

RACES = ("White", "Asian", "Black")


def _races() -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    truth = plain().groupings[0].codes.astype(np.intp)
    scores = np.round(np.random.default_rng(0).random((600, 3)) + 0.4 * np.eye(3)[truth], 2)
    return scores / scores.sum(axis=1, keepdims=True), truth


def test_one_vs_rest_is_that_of_scikit_learn() -> None:
    roc_auc_score = pytest.importorskip("sklearn.metrics").roc_auc_score
    scores, truth = _races()
    inputs = one_vs_rest(plain(label="race"), RACES, scores, truth)
    rows = evaluate(inputs, AuditRequest(metrics=("auroc",), bootstrap=0, gaps=False)).filter(
        metric="auroc", group_by="overall"
    )
    assert rows["label"].to_list() == ["race: White", "race: Asian", "race: Black"]
    expected = roc_auc_score(truth, scores, multi_class="ovr", average=None)
    assert rows["estimate"].to_numpy() == pytest.approx(expected, abs=1e-12)


def test_the_confusion_matrix_is_normalised_by_truth() -> None:
    theirs = pytest.importorskip("sklearn.metrics").confusion_matrix
    scores, truth = _races()
    found = confusion_matrix(RACES, scores, truth)
    predicted = scores.argmax(axis=1)
    assert found["n"].to_list() == theirs(truth, predicted).ravel().tolist()
    assert found["share_of_truth"].to_numpy() == pytest.approx(theirs(truth, predicted, normalize="true").ravel())
    assert found.rows()[1][:2] == ("White", "Asian")  # truth first: a transposed matrix is another statement
    missing = confusion_matrix((*RACES, "Nobody"), np.column_stack([scores, np.zeros(600)]), truth)
    assert missing.filter(truth="Nobody")["share_of_truth"].null_count() == 4


def test_classes_that_do_not_fit_are_refused() -> None:
    scores, truth = _races()
    for classes, codes in ((RACES[:2], truth), (RACES, truth + 1)):
        with pytest.raises(CxrError) as refused:
            one_vs_rest(plain(), classes, scores, codes)
        assert refused.value.code == "CXR-502"


def test_a_calibration_curve_has_the_bins_of_the_ece() -> None:
    scored = plain(2000, patients=700)
    curve = calibration_curve(scored)
    error = float((curve["n"] * (curve["predicted"] - curve["observed"]).abs()).sum()) / 2000
    rows = evaluate([scored], AuditRequest(metrics=("ece",), bootstrap=0, gaps=False, threshold=None))
    assert error == pytest.approx(rows["estimate"][0], abs=1e-12)
    assert curve["n"].sum() == 2000
    assert curve["n_positive"].sum() == scored.positive.sum()
    one = curve.row(3, named=True)
    own = (scored.scores > one["bin_low"]) & (scored.scores <= one["bin_high"])
    sums = [np.bincount(scored.patients[own], weights=values[own]) for values in (scored.positive, np.ones(2000))]
    assert (one["ci_low"], one["ci_high"]) == pytest.approx(wilson(rate_of(*sums)))


def test_a_calibration_curve_by_group_hides_small_bins() -> None:
    scored = plain(600, patients=60)
    curve = calibration_curve(scored, scored.groupings[0], min_cell=11)
    assert set(curve["group_value"]) == {"a", "b", "c"}
    bins = np.searchsorted(np.linspace(0, 1, 11)[1:-1], scored.scores)
    patients = [
        len(np.unique(scored.patients[(scored.groupings[0].codes == "abc".index(row["group_value"])) & (bins == at)]))
        for row in curve.iter_rows(named=True)
        for at in [round(10 * row["bin_low"])]
    ]
    assert (curve["observed"].is_null() == (pl.Series(patients) < 11)).all()
    assert curve.filter(pl.col("observed").is_null() & (pl.col("n") >= 11)).height > 0  # many images, few patients
    with pytest.raises(CxrError, match="no probabilities"):
        calibration_curve(replace(scored, probabilities=False))


def test_a_roc_curve_is_that_of_scikit_learn() -> None:
    theirs = pytest.importorskip("sklearn.metrics").roc_curve
    scored = replace(plain(500, digits=2), weights=np.arange(500) % 3 + 1.0)
    curve = roc_curve(scored, scored.groupings[0])
    for at, value in enumerate("abc"):
        own = scored.groupings[0].codes == at
        expected = theirs(
            scored.positive[own], scored.scores[own], sample_weight=scored.weights[own], drop_intermediate=False
        )
        found = curve.filter(group_value=value).select("fpr", "tpr", "threshold").to_numpy().T
        assert found == pytest.approx(np.array(expected), abs=1e-12)
    one_class = replace(scored, positive=np.ones(500, np.bool_))
    assert roc_curve(one_class).is_empty()
