"""False positive rates by age: golden, against other implementations, published beside careful.

CXRDATA_UPDATE_EXPECTED=1 writes the golden tables anew (`tests/golden.py`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import bootstrap
from study_predictions import ADULTS, CHILDREN, calibration_rows, healthy_rows, row, write, write_model

from cxrdata.audit.data import Grouping
from cxrdata.audit.engine import evaluate
from cxrdata.audit.rates import Rate, wilson
from cxrtrain.studies.case_study.analyse import Analysis, analyse, lowest_youden
from cxrtrain.studies.case_study.beyond import scored
from cxrtrain.studies.case_study.design import CAREFUL, PUBLISHED, bins_of
from cxrtrain.studies.case_study.fpr import Wish
from cxrtrain.studies.case_study.predictions import read_cases
from cxrtrain.studies.case_study.published import comparison
from cxrtrain.studies.case_study.rates import rates_by_image, rates_by_patient
from tests.golden import check_golden

GOLDEN = Path(__file__).parent / "golden"
QUICK = Wish(bootstrap=200, min_cell=1)


def of(folder: Path, wish: Wish = QUICK) -> Analysis:
    return analyse(read_cases(folder), wish)


def rate(analysis: Analysis, subset: str, rules: str, low: float | None = None, **more: object) -> dict[str, object]:
    found = analysis.details.filter(pl.col("age_low").eq_missing(pl.lit(low)), subset=subset, rules=rules, **more)
    assert found.height == 1, found
    return found.row(0, named=True)


def test_the_golden_table(predicted: Path) -> None:
    found = of(predicted).fpr_by_age
    assert found.columns == [
        "trained_on", "dataset", "subset", "rules", "blend", "age_low", "age_high", "n", "n_positive", "fpr", "ci_low", "ci_high",
        "threshold",
    ]  # fmt: skip
    check_golden(found, GOLDEN / "fpr_by_age.csv")


def test_the_rates_are_those_that_were_made(predicted: Path) -> None:
    analysis = of(predicted)
    for subset, ages in (("healthy_children", CHILDREN), ("healthy_adults", ADULTS)):
        for age, (n, called) in ages.items():
            low = (
                {"20": 18.0, "30": 25.0, "50": 40.0, "70": 60.0, "85": 80.0}.get(age)
                if subset == "healthy_adults"
                else float(age[:3])
            )
            for rules in (PUBLISHED, CAREFUL):
                one = rate(analysis, subset, rules, low)
                assert (one["n"], one["n_positive"], one["fpr"]) == (n, called, called / n)
    assert rate(analysis, "healthy_children:0-1", CAREFUL)["fpr"] == 27 / 50
    assert rate(analysis, "healthy_children:2-10", CAREFUL)["fpr"] == 18 / 74
    assert analysis.thresholds["threshold"].to_list() == [0.6, 0.6]
    assert analysis.thresholds["auroc"].to_list() == [1.0, 1.0]


def test_published_hides_what_careful_shows(predicted: Path) -> None:
    analysis = of(predicted)
    nobody = rate(analysis, "healthy_children", PUBLISHED, 3.0), rate(analysis, "healthy_children", CAREFUL, 3.0)
    assert [(one["ci_low"], one["ci_high"]) for one in nobody] == [(0.0, 0.0), pytest.approx(wilson(Rate(0.0, 25.0)))]
    assert str(nobody[1]["method"]).startswith("Wilson")
    # The 25 children of 3 years vanish from the published rate over all ages.
    overall = rate(analysis, "healthy_children", PUBLISHED), rate(analysis, "healthy_children", CAREFUL)
    assert [one["fpr"] for one in overall] == [45 / 99, 45 / 124]
    assert [one["ci_low"] is None for one in overall] == [True, False]
    assert "25 images of bins without a false positive left out" in str(overall[0]["note"])


def test_ages_views_and_devices(tmp_path: Path) -> None:
    write_model(tmp_path, "chexpert")
    rows = [
        *healthy_rows("chexpert", "test_healthy_adult", {"50": (20, 2)}, **{"Support Devices": 0}),
        *healthy_rows("chexpert", "test_healthy_adult", {"51": (12, 9)}, view="AP", **{"Support Devices": None}),
        *healthy_rows("chexpert", "test_healthy_adult", {"52": (15, 12)}, **{"Support Devices": 1}),
        *healthy_rows("chexpert", "test_healthy_adult", {"101": (5, 5)}, **{"Support Devices": 0}),
        row("chexpert", "test_healthy_adult", "ageless", "", 0.9),
        row("chexpert", "test_healthy_adult", "ill", "50", 0.9, positive=1),
    ]
    write(tmp_path, "chexpert", rows)
    analysis = of(tmp_path)
    here = {"dataset": "chexpert"}
    assert rate(analysis, "healthy_adults", PUBLISHED, 40.0)["n"] == 47
    assert rate(analysis, "healthy_adults", PUBLISHED, **here)["n"] == 47  # 101 years are beyond the last bin
    assert rate(analysis, "healthy_adults", CAREFUL, 40.0)["fpr"] == 2 / 20
    assert rate(analysis, "healthy_adults", CAREFUL, 80.0)["n"] == 5
    assert rate(analysis, "healthy_adults:AP", CAREFUL, 40.0)["fpr"] == 9 / 12
    assert rate(analysis, "healthy_adults:PA", CAREFUL, 40.0)["fpr"] == 2 / 20
    assert rate(analysis, "healthy_adults:with_devices", CAREFUL, 40.0)["fpr"] == 12 / 15
    assert rate(analysis, "healthy_adults:without_devices", CAREFUL, 40.0)["n"] == 20
    assert "1 healthy image without an age, left out" in analysis.notes


def test_an_age_that_leaves_its_bin_open_is_in_none(predicted: Path) -> None:
    cases = read_cases(predicted)
    low = pl.col("age_low_years")
    open_ages = pl.when(low == 20).then(pl.lit(30.0)).otherwise("age_high_years")  # 20 to 30 years
    analysis = analyse(type(cases)(cases.frame.with_columns(age_high_years=open_ages)), QUICK)
    assert rate(analysis, "healthy_adults", CAREFUL, 18.0)["n"] == 0
    assert rate(analysis, "healthy_adults", PUBLISHED, 18.0)["n"] == 20
    assert rate(analysis, "healthy_adults", CAREFUL)["n"] == 132
    assert any("20 healthy images in the overall rows alone" in note for note in analysis.notes)


def test_bins_of_few_patients_are_masked(predicted: Path) -> None:
    analysis = of(predicted, Wish(bootstrap=50, min_cell=13))
    for rules in (PUBLISHED, CAREFUL):
        one = rate(analysis, "healthy_adults", rules, 80.0)
        assert (one["n"], one["n_positive"], one["fpr"], one["ci_low"]) == (12, None, None, None)
        assert one["note"] == "masked: fewer than 13 patients"


def test_blends_have_thresholds_of_their_own(tmp_path: Path) -> None:
    write_model(tmp_path, "padchest")
    write_model(tmp_path, "padchest", blend="hm-0.5")
    moved = [one | {"class_probs": "[0.9, 0.1]"} for one in calibration_rows("padchest")[20:]]
    low = [one | {"class_probs": "[0.85, 0.15]"} for one in calibration_rows("padchest")[:20]]
    write(tmp_path, "padchest", [*low, *moved], blend="hm-0.5")
    analysis = of(tmp_path)
    at = {row["blend"]: row["threshold"] for row in analysis.thresholds.filter(rules=CAREFUL).iter_rows(named=True)}
    assert at == {0.0: 0.6, 0.5: 0.15}
    # At 0.15 everybody is called positive.
    assert rate(analysis, "healthy_children:0-1", CAREFUL, blend=0.5)["fpr"] == 1.0
    assert rate(analysis, "healthy_children:0-1", CAREFUL, blend=0.0)["fpr"] == 0.54


def test_sensitivity_in_children_with_boxes(tmp_path: Path) -> None:
    ages = {"0": (6, 5), "5": (9, 3)}
    rows = [
        {"dataset": "pcxr", "image_id": f"{age}-{at}", "prob_cardiomegaly": 0.8 if at < called else 0.2, "split": "test_pediatric",
         "cardiomegaly": None, "healthy": 0, "age_years": age, "box_cardiomegaly": 1}
        for age, (n, called) in ages.items() for at in range(n)
    ]  # fmt: skip
    write_model(tmp_path / "theirs", "vindr_cxr")
    pl.DataFrame(rows).write_csv(tmp_path / "theirs" / "vindr.csv")
    found = of(tmp_path / "theirs").sensitivity
    assert found.select("trained_on", "ages", "n", "n_called", "sensitivity").rows() == [
        ("vindr_cxr", "all", 15, 8, 8 / 15), ("vindr_cxr", "0-1", 6, 5, 5 / 6), ("vindr_cxr", "2-10", 9, 3, 3 / 9),
    ]  # fmt: skip
    assert (found["ci_low"] < found["sensitivity"]).all() and (found["sensitivity"] < found["ci_high"]).all()


def test_the_trend_respects_patients(predicted: Path) -> None:
    found = of(predicted).trends
    adults = found.filter(subset="healthy_adults", measure="fpr_age_odds_ratio").row(0, named=True)
    assert adults["estimate"] > 1 and adults["p_value"] < 0.05 and "robust by patient" in adults["method"]
    assert found["measure"].unique().sort().to_list() == ["fpr_age_correlation", "fpr_age_odds_ratio"]


# Against other implementations.


@pytest.mark.parametrize(("n", "called"), [(132, 18), (60, 7), (400, 160)])
def test_intervals_against_scipy(n: int, called: int) -> None:
    wish = Wish(bootstrap=12_000, min_cell=1)
    positive = (np.arange(n) < called).astype(float)
    theirs = bootstrap(
        (positive,), np.mean, n_resamples=12_000, method="BCa", rng=np.random.default_rng(7)
    ).confidence_interval
    (ours,) = rates_by_patient(positive[:, None], np.ones((n, 1)), wish.request)
    (by_image,) = rates_by_image(positive.astype(bool)[:, None], np.zeros(n, np.intp), 1, wish.request)[0]
    for one in (ours, by_image):
        # The replicates' rates are whole images: two independent sets of draws may end one or two of them apart.
        assert (one.low, one.high) == pytest.approx((theirs.low, theirs.high), abs=2 / n + 1e-9)
        assert one.method == "patient bootstrap, BCa, 12,000 replicates"


@pytest.mark.parametrize(
    ("n", "called", "low", "high"),
    [(2203, 997, 43.123, 47.2991), (740, 177, 20.6757, 26.8919), (183, 11, 2.7322, 9.8361)],
)
def test_intervals_against_the_published_ones(n: int, called: int, low: float, high: float) -> None:
    """Counts and intervals of VinDr-PCXR at 0, 2 and 6 years by the model trained on VinDr-CXR (repository of the preprint)."""
    wish = Wish(bootstrap=12_000)
    positive = (np.arange(n) < called)[:, None]
    (found,) = rates_by_image(positive, np.zeros(n, np.intp), 1, wish.request)[0]
    # Two images apart at most: other draws, and replicates equal to the rate count half here, not at all there.
    assert (100 * found.low, 100 * found.high) == pytest.approx((low, high), abs=200 / n + 1e-3)


def test_rates_are_those_of_the_audit(predicted: Path) -> None:
    """The same draws, the same patients: the audit's own engine gives the very same rows."""
    cases, wish = read_cases(predicted).frame, Wish(bootstrap=300, min_cell=1)
    own = cases.filter(part="test_healthy_adult").with_columns(
        unit=pl.concat_str(pl.lit("p"), pl.col("image_id").str.slice(-1))
    )
    analysis = analyse(
        type(read_cases(predicted))(pl.concat([own, cases.filter(pl.col("part") != "test_healthy_adult")])), wish
    )
    names = tuple(one.name for one in bins_of("test_healthy_adult", CAREFUL))
    codes = np.digitize(own["age_years"].to_numpy(), [18, 25, 40, 60, 80]).astype(np.int32) - 1
    images = scored(own.with_columns(positive=pl.lit(value=False)), "m")
    grouped = type(images)(**{**images.__dict__, "groupings": (Grouping("age", names, codes),)})
    calibration = {("m", "cardiomegaly"): scored(cases.filter(part="calibration"), "m")}
    request = type(wish.request)(**{**wish.request.__dict__, "metrics": ("fpr",), "calibration": calibration})
    audited = evaluate([grouped], request).filter(metric="fpr")
    mine = analysis.details.filter(subset="healthy_adults", rules=CAREFUL)
    for name in ("ci_low", "ci_high"):
        np.testing.assert_allclose(mine[name].to_numpy(), audited[name].to_numpy(), rtol=0, atol=1e-12)
    assert mine["fpr"].to_list() == audited["estimate"].to_list()


def test_the_published_threshold_is_the_lowest_of_equals() -> None:
    scores = np.array([0.1, 0.3, 0.30004, 0.7, 0.9])
    positive = np.array([False, True, False, False, True])
    # 0.9 and 0.3 are equally good, TPR - FPR = 1/2 - 0 and 1 - 2/3 are not: 0.9 is.
    assert lowest_youden(scores, positive) == 0.9
    assert lowest_youden(np.array([0.12345, 0.2, 0.6, 0.8]), np.array([False, True, False, True])) == 0.2


def test_the_published_figures_from_the_published_counts(tmp_path: Path) -> None:
    """Healthy children of VinDr-PCXR by year, and those called positive by the model trained on VinDr-CXR (repository of the
    preprint): every published rate of theirs comes out, to the digits it was published with."""
    counts = [(2203, 997), (1138, 452), (740, 177), (537, 63), (345, 34), (272, 21), (183, 11), (143, 6), (131, 4), (81, 2), (43, 1)]  # fmt: skip
    write(tmp_path, "vindr_cxr", calibration_rows("vindr_cxr"))
    write(
        tmp_path,
        "vindr_cxr",
        healthy_rows("vindr_pcxr", "test", {f"{year:03d}Y": one for year, one in enumerate(counts)}),
    )
    compared = comparison(of(tmp_path, Wish(bootstrap=0)))
    children = compared.filter(trained_on="vindr_cxr", dataset="vindr_pcxr", blend=0.0)
    assert children["quantity"].to_list() == ["fpr"] * 14 + ["n"]
    assert children["here"].round(4).to_list() == children["published"].to_list()
