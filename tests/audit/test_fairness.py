"""Rows that compare groups: signs, references, intervals, and the two disparate impacts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from cxrdata.audit.data import Grouping
from cxrdata.audit.engine import evaluate, prepared
from cxrdata.audit.fairness import gap_rows
from cxrdata.audit.request import AuditRequest
from tests.audit.tables import plain

REQUEST = AuditRequest(metrics=("auroc", "tpr", "fpr", "tnr", "selection_rate"), threshold="0.4", bootstrap=200)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return evaluate([plain(3000, patients=1000, unfair=1.2)], REQUEST)


def _value(rows: pl.DataFrame, metric: str, value: str | None = None, by: str = "race") -> float:
    own = rows.filter(pl.col("group_value").eq_missing(pl.lit(value)), metric=metric, group_by=by)
    return float(own["estimate"].item())


def test_gaps_ratios_and_worst_follow_from_the_groups(rows: pl.DataFrame) -> None:
    fpr = {group: _value(rows, "fpr", group) for group in "abc"}
    assert max(fpr, key=fpr.__getitem__) == "b"
    assert _value(rows, "fpr_gap") == max(fpr.values()) - min(fpr.values())
    assert _value(rows, "fpr_ratio") == min(fpr.values()) / max(fpr.values())
    assert _value(rows, "fpr_worst", "b") == fpr["b"]
    auroc = {group: _value(rows, "auroc", group) for group in "abc"}
    worst = min(auroc, key=auroc.__getitem__)
    assert _value(rows, "auroc_worst", worst) == auroc[worst]


def test_differences_are_from_the_largest_group(rows: pl.DataFrame) -> None:
    differences = rows.filter(metric="fpr_difference", group_by="race")
    assert differences["group_value"].to_list() == ["b", "c"]
    assert differences["note"].to_list() == ["less a", "less a"]
    assert _value(rows, "fpr_difference", "b") == _value(rows, "fpr", "b") - _value(rows, "fpr", "a")


def test_the_interval_of_a_difference_is_that_of_the_replicates_differences() -> None:
    subject = prepared(plain(3000, patients=1000, unfair=1.2), REQUEST)
    row = next(one for one in gap_rows(subject) if one["metric"] == "fpr_difference" and one["group_value"] == "b")
    at = REQUEST.metrics.index("fpr")
    values = subject.parts[1].replicates[:, at, 1] - subject.parts[1].replicates[:, at, 0]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
    assert row["ci_low"] > 0.1


def test_both_disparate_impacts_are_named_apart(rows: pl.DataFrame) -> None:
    tpr = [_value(rows, "tpr", group) for group in "abc"]
    called = [_value(rows, "selection_rate", group) for group in "abc"]
    assert _value(rows, "disparate_impact_tpr") == pytest.approx(1 - min(tpr) / max(tpr), abs=1e-15)
    assert _value(rows, "disparate_impact_selection_ratio") == min(called) / max(called)


def test_equalised_odds_is_the_larger_class(rows: pl.DataFrame) -> None:
    positive, negative = (_value(rows, f"equalised_odds_{which}") for which in ("positive", "negative"))
    assert negative == pytest.approx(_value(rows, "fpr_gap"), abs=1e-12)
    assert positive == _value(rows, "equal_opportunity_difference") == _value(rows, "tpr_gap")
    assert _value(rows, "equalised_odds") == max(positive, negative)
    note = rows.filter(metric="equalised_odds", group_by="race")["note"].item()
    assert note.endswith("of the negative class")


def test_masked_groups_take_no_part() -> None:
    """The small group would be the worst; a gap with it would give its value away."""
    scored = plain()
    small = scored.patients < 8
    scored = replace(
        scored,
        scores=np.where(small, 0.99, scored.scores),
        groupings=(
            Grouping("site", ("small", "a", "b"), np.where(small, 0, 1 + scored.patients % 2).astype(np.int32)),
        ),
    )
    rows = evaluate([scored], REQUEST).filter(group_by="site")
    assert "small" not in rows.filter(metric="fpr_gap")["note"].item()
    assert rows.filter(group_value="small")["estimate"].null_count() == rows.filter(group_value="small").height
    shown = evaluate([scored], replace(REQUEST, min_cell=1)).filter(group_by="site")
    assert shown.filter(metric="fpr_gap")["note"].item().startswith("unstable")
    assert "highest small" in shown.filter(metric="fpr_gap")["note"].item()


def test_a_difference_from_a_rate_of_zero_has_an_interval_that_knows_it() -> None:
    scored = plain(unfair=0.0)
    silent = (scored.groupings[1].codes == 1) & ~scored.positive
    scored = replace(scored, scores=np.where(silent, 0.0, scored.scores))
    row = evaluate([scored], REQUEST).filter(metric="fpr_gap", group_by="sex")
    assert row["method"].item() == "Newcombe, from Wilson intervals"
    low, estimate, high = row.select("ci_low", "estimate", "ci_high").row(0)
    assert 0 < low < estimate < high < 1
    ratio = evaluate([scored], REQUEST).filter(metric="fpr_ratio", group_by="sex")
    assert ratio.select("estimate", "ci_low", "note").row(0)[:2] == (0.0, None)


def test_nobody_called_has_no_ratio() -> None:
    rows = evaluate([plain()], replace(REQUEST, threshold="2"))
    assert rows.filter(metric="disparate_impact_tpr", group_by="sex")["note"].item() == "undefined: division by 0"
