"""False positives and age."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from cxrdata.audit.data import ROW_SCHEMA, Scored
from cxrdata.audit.request import AuditRequest
from cxrdata.audit.trend import AGE_BINS, age_trend
from cxrdata.errors import CxrError
from tests.audit.tables import plain

REQUEST = AuditRequest(threshold="0.4", bootstrap=200)


def _aged(slope: float, *, patients: int = 700, seed: int = 0) -> tuple[Scored, NDArray[np.float64]]:
    """slope: of the logit of the score, per decade. An age belongs to the patient; a few are unknown."""
    scored = plain(2000, patients=patients, seed=seed)
    age = np.random.default_rng(seed + 1).uniform(18, 90, patients)[scored.patients]
    logits = np.log(scored.scores / (1 - scored.scores)) + slope * (age - 50) / 10
    age[::50] = np.nan
    return replace(scored, scores=1 / (1 + np.exp(-np.where(np.isnan(age), 0, logits)))), age


def test_a_trend_is_found_in_both_ways() -> None:
    scored, ages = _aged(0.5)
    rows = age_trend(scored, ages, REQUEST)
    assert dict(rows.schema) == ROW_SCHEMA
    correlation, odds = rows.to_dicts()
    assert correlation["metric"] == "fpr_age_correlation"
    assert 0.7 < correlation["ci_low"] <= correlation["estimate"] <= 1
    assert odds["metric"] == "fpr_age_odds_ratio"
    assert 1.2 < odds["ci_low"] < odds["estimate"] < odds["ci_high"] < 2.5
    assert odds["p_value"] < 1e-6
    assert correlation["n"] == odds["n"] == (~scored.positive & ~np.isnan(ages)).sum()


def test_no_trend_is_none() -> None:
    odds = age_trend(*_aged(0.0), REQUEST).row(1, named=True)
    assert odds["ci_low"] < 1 < odds["ci_high"]


def test_the_correlation_is_that_of_scipy_over_the_bins() -> None:
    pearsonr = pytest.importorskip("scipy.stats").pearsonr
    scored, ages = _aged(0.2)
    known = ~scored.positive & ~np.isnan(ages)
    bin_of = np.digitize(ages[known], AGE_BINS)
    called = scored.scores[known] >= 0.4
    means = [(ages[known][bin_of == at].mean(), called[bin_of == at].mean()) for at in np.unique(bin_of)]
    expected = pearsonr(*np.array(means).T).statistic
    found = age_trend(scored, ages, REQUEST).row(0, named=True)
    assert found["estimate"] == pytest.approx(expected, abs=1e-12)
    assert found["note"] == "over 5 age bins of at least 11 patients"


def test_one_image_a_patient_is_a_logistic_regression() -> None:
    sm = pytest.importorskip("statsmodels.api")
    scored, ages = _aged(0.3)
    scored = replace(scored, patients=np.arange(2000))
    found = age_trend(scored, ages, REQUEST).row(1, named=True)
    known = ~scored.positive & ~np.isnan(ages)
    fitted = sm.Logit(
        (scored.scores[known] >= 0.4).astype(float), sm.add_constant(ages[known] / 10)
    ).fit(disp=0, cov_type="HC0")  # fmt: skip
    assert found["estimate"] == pytest.approx(math.exp(fitted.params[1]), rel=1e-6)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(tuple(np.exp(fitted.conf_int()[1])), rel=1e-4)


def test_copied_images_do_not_make_a_trend_more_certain() -> None:
    scored, ages = _aged(0.1)
    images = np.arange(2000).repeat(4)
    copied = replace(
        scored,
        scores=scored.scores[images],
        positive=scored.positive[images],
        patients=scored.patients[images],
        weights=np.ones(8000),
        groupings=(),
    )
    once, often = (
        age_trend(one, age, REQUEST).row(1, named=True) for one, age in ((scored, ages), (copied, ages[images]))
    )
    widths = [math.log(row["ci_high"] / row["ci_low"]) for row in (once, often)]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)


def test_nothing_to_regress_is_said() -> None:
    scored, ages = _aged(0.5)
    rows = age_trend(scored, ages, replace(REQUEST, threshold="2"))
    assert rows["estimate"].null_count() == 2
    assert rows["note"].str.starts_with("undefined: ").all()
    with pytest.raises(CxrError) as refused:
        age_trend(scored, ages[:-1], REQUEST)
    assert refused.value.code == "CXR-502"


def test_an_age_on_an_edge_is_in_the_older_bin() -> None:
    scored, _ = _aged(0.0)
    ages = np.random.default_rng(0).choice([18.0, 25.0, 40.0], 2000)
    on_edges = age_trend(scored, ages, REQUEST, edges=(18, 25, 40, 60)).row(0, named=True)
    assert on_edges["note"] == "over 3 age bins of at least 11 patients"
    assert (
        on_edges["estimate"] == age_trend(scored, ages, REQUEST, edges=(17, 24, 39, 59)).row(0, named=True)["estimate"]
    )
