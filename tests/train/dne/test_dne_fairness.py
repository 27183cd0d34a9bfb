"""The paired differences of criteria, and that all else is the audit's."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from dne_ground import HEADS

from cxrdata.audit.engine import evaluate
from cxrdata.audit.request import AuditRequest
from cxrtrain.dne.fairness import ERM, METRICS, SHOWN, Scores, fairness_rows, short_table

N = 400
RANDOM = np.random.default_rng(0)
DISEASE, ATTRIBUTE = np.arange(N) % 2, (np.arange(N) // 2) % 2
NOISE = RANDOM.normal(0, 1, N)


def scores(shortcut: float, noise: np.ndarray = NOISE) -> Scores:
    """The disease, and so much of the attribute."""
    logit = 1.5 * (2 * DISEASE - 1) + shortcut * (2 * ATTRIBUTE - 1) + noise
    return Scores(1 / (1 + np.exp(-logit)), DISEASE, ATTRIBUTE, np.arange(N) // 2)


def rows(models: dict[str, Scores], **more: object) -> pl.DataFrame:
    wish = {
        "finding": "cardiomegaly",
        "by": "sex",
        "threshold": "0.5",
        "bootstrap": 200,
        "min_cell": 1,
        "seed": 0,
    } | more
    return fairness_rows(models, models, HEADS[1], **wish)  # type: ignore[arg-type]


BIASED, FAIR = scores(1.5), scores(0.1, RANDOM.normal(0, 1, N))
ROWS = rows({ERM: BIASED, "DNE a": FAIR})


def of(model: str, metric: str) -> dict[str, object]:
    return ROWS.filter(pl.col("group_value").is_null(), model=model, metric=metric, group_by="sex").row(0, named=True)


def rate(which: Scores, sick: int, group: int, *, called: bool) -> float:
    inside = (which.disease == sick) & (which.attribute == group)
    return float(((which.scores[inside] >= 0.5) == called).mean())


def test_each_model_is_judged_as_the_audit_judges_it() -> None:
    one = BIASED.scored(ERM, "cardiomegaly", HEADS[1], "sex")
    request = AuditRequest(metrics=METRICS, threshold="0.5", bootstrap=200, min_cell=1)
    alone = evaluate([one], request).filter(pl.col("metric") != "threshold")
    here = ROWS.filter(pl.col("model") == ERM, pl.col("metric") != "threshold")
    assert here.select(alone.columns).equals(alone)


def test_the_criteria_by_hand() -> None:
    positive = abs(rate(BIASED, 1, 1, called=True) - rate(BIASED, 1, 0, called=True))
    negative = abs(rate(BIASED, 0, 1, called=False) - rate(BIASED, 0, 0, called=False))
    assert of(ERM, "equalised_odds_positive")["estimate"] == pytest.approx(positive)
    assert of(ERM, "equalised_odds_negative")["estimate"] == pytest.approx(negative)
    assert of(ERM, "equalised_odds")["estimate"] == pytest.approx(max(positive, negative))
    low, high = sorted(rate(BIASED, 1, group, called=True) for group in (0, 1))
    assert of(ERM, "disparate_impact_tpr")["estimate"] == pytest.approx(1 - low / high)


@pytest.mark.parametrize(
    "name",
    [
        "equalised_odds_negative", "equalised_odds_positive", "equalised_odds", "demographic_parity_difference", "disparate_impact_tpr",
        "disparate_impact_selection_ratio",
    ],
)  # fmt: skip
def test_a_paired_difference_is_that_of_the_estimates(name: str) -> None:
    row = of(f"{ERM} - DNE a", f"{name}_difference")
    assert row["estimate"] == pytest.approx(float(of(ERM, name)["estimate"]) - float(of("DNE a", name)["estimate"]))
    assert row["ci_low"] < row["estimate"] < row["ci_high"]
    assert row["p_value"] < 0.05  # the one is as biased as can be, the other hardly
    assert "patient bootstrap" in row["method"]


def test_the_same_draws_stand_for_both() -> None:
    """Of two models that say the same, nothing differs in any replicate; drawn apart, they would."""
    twins = rows({ERM: BIASED, "DNE a": BIASED})
    row = twins.filter(model=f"{ERM} - DNE a", metric="equalised_odds_negative_difference").row(0, named=True)
    assert row["estimate"] == 0
    assert row["note"] == "no interval: all replicates are equal"


def test_the_table_that_is_read_first() -> None:
    table = short_table(ROWS)
    assert table["model"].to_list() == [ERM] * len(SHOWN) + ["DNE a"] * len(SHOWN)
    assert table["metric"].to_list() == [*SHOWN] * 2
    assert table.filter(model=ERM)["difference_from_erm"].null_count() == len(SHOWN)
    for metric in SHOWN:
        erm, edited = (table.filter(model=model, metric=metric).row(0, named=True) for model in (ERM, "DNE a"))
        assert edited["difference_from_erm"] == pytest.approx(edited["estimate"] - erm["estimate"])
        assert edited["difference_low"] < edited["difference_from_erm"] < edited["difference_high"]


def test_thresholds_are_chosen_on_validation_images() -> None:
    moved = Scores(FAIR.scores * 0.5, FAIR.disease, FAIR.attribute, FAIR.patients)
    wish = {"finding": "cardiomegaly", "by": "sex", "bootstrap": 0, "min_cell": 1, "seed": 0, "threshold": "youden"}
    found = fairness_rows({ERM: FAIR}, {ERM: moved}, HEADS[1], **wish)  # type: ignore[arg-type]
    own = fairness_rows({ERM: FAIR}, {ERM: FAIR}, HEADS[1], **wish)  # type: ignore[arg-type]
    chosen, without = (one.filter(metric="threshold")["estimate"][0] for one in (found, own))
    assert chosen == pytest.approx(without / 2)


def test_small_cells_are_masked() -> None:
    masked = rows({ERM: BIASED, "DNE a": FAIR}, min_cell=1000)
    assert masked.filter(metric="equalised_odds_negative")["estimate"].null_count() == 2
    assert masked.filter(metric="equalised_odds_negative_difference")["note"].to_list() == [
        "undefined: one of the models has no value"
    ]
