"""Whatever is asked of whatever table: an answer with reasons, no warning, no number that is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from cxrdata.audit.engine import evaluate
from cxrdata.audit.metrics import METRICS
from cxrdata.audit.request import ADJUSTMENTS, AUROC_INTERVALS, INTERVALS, RATE_INTERVALS, AuditRequest
from cxrdata.audit.trend import age_trend
from tests.audit.tables import awkward

_NUMBERS = ("estimate", "ci_low", "ci_high", "p_value", "p_adjusted")


@pytest.mark.parametrize("seed", range(80))
def test_every_row_is_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scored = awkward(seed)
    if seed % 5 == 0:  # weights that are no whole numbers, and images that were not drawn
        scored = replace(scored, weights=scored.weights * rng.choice([0.0, 0.3, 1.7], len(scored.weights)))
    if seed % 7 == 0:
        scored = replace(scored, scores=20 * scored.scores - 10, probabilities=False)
    calibration = replace(awkward(seed + 5000), probabilities=scored.probabilities)
    request = AuditRequest(
        metrics=METRICS,
        threshold=str(rng.choice(["youden", "f1", "fpr=0.2", "tpr=0.9", "0.5"])),
        threshold_by=[None, "race"][seed % 2],
        calibration={("model", "label"): calibration} if seed % 3 else {},
        rederive=bool(rng.integers(2)),
        bootstrap=int(rng.choice([0, 1, 30])),
        interval=str(rng.choice(INTERVALS)),
        stratify=[None, "label", "race"][seed % 3],
        rates=str(rng.choice(RATE_INTERVALS)),
        auroc=str(rng.choice(AUROC_INTERVALS)),
        min_cell=int(rng.choice([0, 11])),
        permutations=int(rng.choice([0, 5])),
        compare=True,
        adjust=str(rng.choice(ADJUSTMENTS)),
    )
    rows = evaluate([scored, replace(scored, model="other", scores=scored.scores[::-1].copy())], request)
    ages = np.where(np.arange(len(scored.scores)) % 7, 2.0 * np.arange(len(scored.scores)), np.nan)
    rows = pl.concat([rows, age_trend(scored, ages, request)])
    for name in _NUMBERS:
        assert not (rows[name].is_nan() | rows[name].is_infinite()).any()
    assert (rows["ci_low"] <= rows["ci_high"]).drop_nulls().all()
    assert rows["p_value"].drop_nulls().is_between(0, 1).all()
    assert (rows["p_adjusted"] >= rows["p_value"]).drop_nulls().all()
    assert rows.filter(pl.col("estimate").is_null() & pl.col("note").is_null()).is_empty()
    assert rows.filter(pl.col("ci_low").is_not_null() & pl.col("method").is_null()).is_empty()
    assert rows.select("n", "metric", "group_by").null_count().row(0) == (0, 0, 0)
    hidden = pl.col("note").str.starts_with("masked").fill_null(value=False)
    assert rows.filter(pl.col("n_positive").is_null() != hidden).is_empty()
