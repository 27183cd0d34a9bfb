"""Two models on the same images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from cxrdata.audit.compare import two_sided
from cxrdata.audit.delong import delong
from cxrdata.audit.engine import evaluate, prepared
from cxrdata.audit.request import AuditRequest
from tests.audit.tables import plain

REQUEST = AuditRequest(metrics=("auroc", "tpr", "brier"), threshold="0.4", bootstrap=200, gaps=False, compare=True)


def _noisier(sd: float) -> object:
    scored = plain()
    rng = np.random.default_rng(1)
    return replace(scored, model="noisy", scores=np.clip(scored.scores + rng.normal(0, sd, len(scored.scores)), 0, 1))


def test_differences_come_from_the_same_draws() -> None:
    both = [plain(), _noisier(0.2)]
    rows = evaluate(both, REQUEST).filter(model="model - noisy")  # type: ignore[arg-type]
    assert rows["metric"].unique().sort().to_list() == ["auroc_difference", "brier_difference", "tpr_difference"]
    first, second = (prepared(one, REQUEST).parts[0] for one in both)  # type: ignore[arg-type]
    auroc = rows.filter(metric="auroc_difference", group_by="overall")
    assert auroc["estimate"].item() == first.points[0, 0] - second.points[0, 0]
    expected = np.quantile(first.replicates[:, 0, 0] - second.replicates[:, 0, 0], [0.025, 0.975])
    assert auroc.select("ci_low", "ci_high").row(0) == pytest.approx(tuple(expected))
    apart = [np.diff(np.quantile(one.replicates[:, 0, 0], [0.025, 0.975]))[0] for one in (first, second)]
    assert expected[1] - expected[0] < 0.8 * np.hypot(*apart)  # paired: narrower than of two separate tests
    assert auroc["p_value"].item() < 0.05
    assert auroc["method"].item().endswith("p by DeLong")


def test_delongs_difference_is_by_patient() -> None:
    both = [plain(), _noisier(0.1)]
    row = evaluate(both, replace(REQUEST, auroc="delong")).filter(  # type: ignore[arg-type]
        model="model - noisy", metric="auroc_difference", group_by="overall"
    )
    scores = np.stack([one.scores for one in both])  # type: ignore[attr-defined]
    expected = delong(scores, plain().positive, plain().patients.astype(np.intp)).difference(0, 1)
    assert row.select("estimate", "ci_low", "ci_high", "p_value").row(0) == pytest.approx(expected, abs=1e-12)


def test_models_on_different_images_are_not_compared() -> None:
    rows = evaluate([plain(), replace(plain(seed=5), model="other")], REQUEST).filter(model="model - other")
    assert rows.height == 3
    assert set(rows["note"]) == {"undefined: the models were judged on different images"}


def test_three_models_give_three_pairs_and_labels_stay_apart() -> None:
    scored = [replace(plain(), model=model, label=label) for model in "xyz" for label in ("one", "two")]
    rows = evaluate(scored, replace(REQUEST, bootstrap=10)).filter(pl.col("model").str.contains(" - "))
    assert set(rows.select("model", "label").unique().rows()) == {
        (pair, label) for pair in ("x - y", "x - z", "y - z") for label in ("one", "two")
    }
    assert (rows["estimate"] == 0).all()
    assert rows["ci_low"].null_count() == rows.height


def test_the_bootstrap_p_value_counts_either_side() -> None:
    values = np.array([-1.0, 1, 2, 3, 4, 5, 6, 7, 8, np.nan])
    assert two_sided(values) == pytest.approx(2 * 2 / 10)
    assert two_sided(np.ones(99)) == pytest.approx(0.02)
    assert two_sided(np.zeros(99)) == 1
