"""Permutation tests of gaps, and p values of many tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from cxrdata.audit.adjust import adjusted
from cxrdata.audit.bootstrap import PERMUTE, shuffled
from cxrdata.audit.data import Grouping
from cxrdata.audit.engine import evaluate
from cxrdata.audit.request import AuditRequest
from tests.audit.tables import plain

REQUEST = AuditRequest(metrics=("auroc", "fpr"), threshold="0.4", bootstrap=0, permutations=199)


def _p(rows: pl.DataFrame, metric: str, by: str) -> float:
    return float(rows.filter(metric=metric, group_by=by)["p_value"][0])


def test_a_real_gap_is_found_and_no_gap_is_not() -> None:
    rows = evaluate([plain(3000, patients=1000, unfair=1.0)], REQUEST)
    assert _p(rows, "fpr_gap", "race") == pytest.approx(1 / 200)
    assert _p(rows, "fpr_gap", "sex") > 0.05
    assert rows.filter(pl.col("p_value").is_not_null())["method"].str.contains("permutation test by patient").all()


def test_the_p_value_is_the_share_of_deals_as_extreme() -> None:
    """Repeated by hand: patients keep their images, the sexes are dealt anew."""
    scored = plain(300, patients=80)
    request = replace(REQUEST, permutations=60)
    rows = evaluate([scored], request)
    sex = scored.groupings[1].codes
    patients, first = np.unique(scored.patients, return_index=True)
    of_patient = sex[first]

    def gap(dealt: np.ndarray) -> float:  # type: ignore[type-arg]
        own = dealt[scored.patients]
        false = [(scored.scores >= 0.4)[(own == at) & ~scored.positive].mean() for at in (0, 1)]
        return abs(float(false[0] - false[1]))

    observed = gap(of_patient)
    dealt = [gap(of_patient[shuffled(0, PERMUTE, number, len(patients))]) for number in range(60)]
    expected = (1 + sum(one >= observed - 1e-12 for one in dealt)) / 61
    assert _p(rows, "fpr_gap", "sex") == pytest.approx(expected, abs=1e-12)
    assert _p(rows, "fpr_difference", "sex") == _p(rows, "fpr_gap", "sex")


def test_p_values_are_uniform_where_there_is_nothing() -> None:
    """With clustered patients; a test by image would reject far too often."""
    request = replace(REQUEST, metrics=("fpr",), permutations=39)
    found = []
    for seed in range(60):
        scored = plain(240, seed=seed, patients=40)
        only_sex = replace(scored, groupings=scored.groupings[1:2])
        found.append(_p(evaluate([only_sex], request), "fpr_gap", "sex"))
    assert np.mean(np.array(found) <= 0.1) < 0.2
    assert 0.4 < np.mean(found) < 0.65


def test_patients_in_several_groups_are_told() -> None:
    rows = evaluate([plain()], replace(REQUEST, permutations=20))
    note = rows.filter(metric="auroc_gap", group_by="age_group")["note"].item()
    assert "patients in the group of most of their images" in note
    assert "most of their" not in rows.filter(metric="auroc_gap", group_by="sex")["note"].item()


def test_threads_change_no_p_value() -> None:
    rows = [evaluate([plain()], replace(REQUEST, permutations=50, threads=threads)) for threads in (1, 3)]
    assert rows[0].equals(rows[1])


@pytest.mark.parametrize(("ours", "theirs"), [("holm", "holm"), ("bh", "fdr_bh"), ("by", "fdr_by")])
def test_adjusted_p_values_are_those_of_statsmodels(ours: str, theirs: str) -> None:
    multipletests = pytest.importorskip("statsmodels.stats.multitest").multipletests
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 40):
        p = np.round(rng.random(n) ** 3, 3)
        assert adjusted(p, ours) == pytest.approx(multipletests(p, method=theirs)[1], abs=1e-12)
    with_gaps = np.array([0.01, np.nan, 0.04])
    assert adjusted(with_gaps, ours)[[0, 2]] == pytest.approx(adjusted(with_gaps[[0, 2]], ours))
    assert np.isnan(adjusted(with_gaps, ours)[1])
    assert adjusted(np.array([]), ours).size == 0


def test_a_family_is_one_metric_of_one_model() -> None:
    rows = evaluate([plain(), plain(label="other", seed=3)], replace(REQUEST, permutations=30, adjust="holm"))
    for metric in ("auroc_difference", "fpr_gap"):
        family = rows.filter(pl.col("p_value").is_not_null(), metric=metric)
        assert family["label"].n_unique() == 2
        assert family["p_adjusted"].to_numpy() == pytest.approx(adjusted(family["p_value"].to_numpy(), "holm"))
    assert rows.filter(pl.col("p_value").is_null())["p_adjusted"].null_count() == rows["p_value"].null_count()


def test_a_single_group_has_no_test() -> None:
    scored = plain()
    alone = replace(scored, groupings=(Grouping("site", ("here",), np.zeros(600, np.int32)),))
    rows = evaluate([alone], REQUEST)
    assert rows["p_value"].null_count() == rows.height
