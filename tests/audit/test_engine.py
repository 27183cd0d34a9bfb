"""The engine's rows: what stands in them, when they are silent and why, and that replicates are what they claim to be."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from cxrdata.audit.bootstrap import replicates
from cxrdata.audit.data import ROW_SCHEMA, Grouping, Scored
from cxrdata.audit.engine import evaluate, prepared
from cxrdata.audit.metrics import METRICS
from cxrdata.audit.request import AuditRequest
from cxrdata.errors import CxrError
from tests.audit.tables import awkward, plain

FEW = AuditRequest(metrics=("auroc", "tpr", "fpr"), threshold="0.5", bootstrap=100, gaps=False)


def _one(rows: pl.DataFrame, **wanted: object) -> dict[str, object]:
    found = rows.filter(*(pl.col(name).eq_missing(pl.lit(value)) for name, value in wanted.items()))
    assert found.height == 1
    return found.row(0, named=True)


def test_rows_have_the_columns_of_the_contract_and_every_metric_of_every_group() -> None:
    rows = evaluate([plain()], replace(FEW, metrics=METRICS))
    assert dict(rows.schema) == ROW_SCHEMA
    cells = rows.filter(pl.col("metric") != "threshold").group_by("group_by", "group_value").agg("metric")
    assert cells.height == 1 + 3 + 2 + 2
    assert all(metrics == list(METRICS) for metrics in cells["metric"].to_list())
    assert rows["group_by"].unique(maintain_order=True).to_list() == ["overall", "race", "sex", "age_group"]
    assert rows.select("model", "label", "truth", "policy").unique().row(0) == (
        "model",
        "label",
        "radiologist",
        "ignore",
    )


def test_n_stands_in_every_row() -> None:
    scored = plain()
    rows = evaluate([scored], replace(FEW, gaps=True, compare=True))
    assert rows.select("n", "n_positive").null_count().row(0) == (0, 0)
    of_a = scored.groupings[0].codes == 0
    row = _one(rows, group_by="race", group_value="a", metric="auroc")
    assert (row["n"], row["n_positive"]) == (of_a.sum(), (of_a & scored.positive).sum())


@pytest.mark.parametrize("metric", ["auroc", "auprc", "f1", "brier", "ece"])
@pytest.mark.parametrize("seed", [0, 1, 2, 4])
def test_a_replicate_is_the_metric_of_the_images_drawn(metric: str, seed: int) -> None:
    """Writing each patient's images as often as the patient was drawn gives the same number."""
    scored = awkward(seed)
    request = replace(FEW, metrics=(metric,), bootstrap=6)
    subject = prepared(scored, request)
    drawn = replicates(subject.who.strata, 0, range(6))
    for number in range(6):
        images = np.arange(len(scored.scores)).repeat(drawn[number][subject.who.patients])
        again = replace(
            scored,
            scores=scored.scores[images],
            positive=scored.positive[images],
            patients=scored.patients[images],
            weights=scored.weights[images],
            groupings=tuple(replace(one, codes=one.codes[images]) for one in scored.groupings),
        )
        points = evaluate([again], replace(request, bootstrap=0, min_cell=0)).filter(metric=metric)["estimate"]
        ours = np.concatenate([part.replicates[number, 0] for part in subject.parts])
        assert ours == pytest.approx(points.fill_null(np.nan).to_numpy(), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("changes", [{"interval": "bca"}, {"rederive": True, "threshold": "youden"}])
def test_threads_and_other_labels_change_nothing(changes: dict[str, object]) -> None:
    request = replace(FEW, **changes)  # type: ignore[arg-type]
    many = [plain(label="first"), plain(label="second", seed=3)]
    together = evaluate(many, replace(request, threads=3))
    alone = pl.concat([evaluate([one], replace(request, threads=1)) for one in many])
    assert together.equals(alone)
    assert not together.equals(evaluate(many, replace(request, seed=1)))


def test_more_replicates_begin_with_the_fewer() -> None:
    few, more = (prepared(plain(), replace(FEW, bootstrap=n)) for n in (10, 30))
    assert (few.parts[1].replicates == more.parts[1].replicates[:10]).all()


def test_labels_on_the_same_images_share_their_draws() -> None:
    """So a label that is the same as another has the same replicates, though it is another label of another model."""
    first, second = (prepared(replace(plain(), model=name, label=name), FEW) for name in "ab")
    assert (first.parts[0].replicates == second.parts[0].replicates).all()


def test_whole_number_weights_are_copies_of_images() -> None:
    scored = plain(300)
    draws = np.arange(300) % 3 + 1
    images = np.arange(300).repeat(draws)
    copied = replace(
        scored,
        scores=scored.scores[images],
        positive=scored.positive[images],
        patients=scored.patients[images],
        weights=np.ones(len(images)),
        groupings=tuple(replace(one, codes=one.codes[images]) for one in scored.groupings),
    )
    weighted = evaluate([replace(scored, weights=draws.astype(float))], FEW)
    columns = ["estimate", "ci_low", "ci_high"]
    assert weighted.select(columns).equals(evaluate([copied], FEW).select(columns))
    halves = evaluate([replace(scored, weights=draws / 2)], FEW)  # no whole numbers: summed as floats
    assert np.abs(halves["estimate"].to_numpy() - weighted["estimate"].to_numpy()).max() < 1e-12


def test_small_cells_are_masked_and_nobodys_are_not() -> None:
    scored = plain()
    codes = np.where(scored.patients < 10, 0, 1).astype(np.int32)
    scored = replace(scored, groupings=(Grouping("site", ("few", "many", "nobody"), codes),))
    rows = evaluate([scored], replace(FEW, gaps=True)).filter(group_by="site")
    few = rows.filter(group_value="few")
    assert few.select("estimate", "ci_low", "ci_high").null_count().row(0) == (3, 3, 3)
    assert set(few["note"]) == {"masked: fewer than 11 patients"}
    assert set(rows.filter(group_value="nobody")["note"]) == {"undefined: no images"}
    assert rows.filter(metric="auroc_gap")["note"].item() == "undefined: 1 group with a value"
    shown = evaluate([scored], replace(FEW, min_cell=10))
    assert shown.filter(group_value="few")["estimate"].null_count() == 0


def test_zero_false_positives_have_an_interval() -> None:
    scored = plain()
    quiet = replace(scored, scores=np.where(scored.positive, scored.scores, 0.1))
    rows = evaluate([quiet], FEW)
    fpr = _one(rows, group_by="overall", metric="fpr")
    assert (fpr["estimate"], fpr["ci_low"]) == (0.0, 0.0)
    assert 0 < fpr["ci_high"] < 0.05  # type: ignore[operator]
    assert str(fpr["method"]).startswith("Wilson, effective n")


def test_a_perfect_auroc_has_an_interval() -> None:
    scored = plain()
    perfect = _one(
        evaluate([replace(scored, scores=scored.positive * 0.5 + 0.2)], FEW), group_by="overall", metric="auroc"
    )
    assert (perfect["estimate"], perfect["ci_high"]) == (1.0, 1.0)
    assert 0.9 < perfect["ci_low"] < 1  # type: ignore[operator]
    assert perfect["method"] == "Newcombe, on the number of patients"


def test_few_of_a_class_say_unstable() -> None:
    scored = plain()
    positive = np.zeros_like(scored.positive)
    positive[:300:50] = True
    notes = (
        evaluate([replace(scored, positive=positive)], FEW).filter(group_by="overall", metric="auroc")["note"].item()
    )
    assert notes.startswith("unstable: 6 positives")
    assert evaluate([scored], FEW).filter(group_by="overall", metric="auroc")["note"].item() is None


def test_replicates_without_a_value_are_told() -> None:
    scored = plain()
    positive = np.zeros_like(scored.positive)
    positive[0] = True
    rows = evaluate([replace(scored, positive=positive)], replace(FEW, metrics=("auprc",)))
    # The patient of the only positive is in two replicates of three.
    assert re.search(
        r"undefined in \d\d replicates, which do not count", str(_one(rows, group_by="overall", metric="auprc")["note"])
    )


def test_mostly_undefined_replicates_give_no_interval() -> None:
    """All positives of the site are one patient's and all negatives another's: both are in two replicates of five."""
    scored = plain()
    site = np.zeros(len(scored.scores), np.int32)
    first, last = (
        np.flatnonzero(scored.patients == patient)[:2] for patient in (scored.patients[0], scored.patients[-1])
    )
    site[[*first, *last]] = 1
    positive, scores = scored.positive.copy(), scored.scores.copy()
    positive[first], positive[last] = True, False
    scores[first], scores[last] = [0.2, 0.6], [0.1, 0.4]
    scored = replace(scored, positive=positive, scores=scores, groupings=(Grouping("site", ("most", "two"), site),))
    request = replace(FEW, min_cell=0, metrics=("auroc", "auprc"))
    row = _one(evaluate([scored], request), group_value="two", metric="auprc")
    assert (row["ci_low"], row["method"]) == (None, None)
    assert re.search(r"no interval: undefined in \d\d of 100 replicates", str(row["note"]))
    ranked = _one(evaluate([scored], request), group_value="two", metric="auroc")
    assert (ranked["estimate"], ranked["method"]) == (0.75, "Newcombe, on the number of patients")


@pytest.mark.parametrize(
    ("changes", "method"),
    [
        ({}, "patient bootstrap, percentile, 100 replicates"),
        ({"interval": "bca"}, "patient bootstrap, BCa, 100 replicates"),
        ({"stratify": "label"}, "patient bootstrap, percentile, 100 replicates, stratified by label"),
        ({"stratify": "race"}, "patient bootstrap, percentile, 100 replicates, stratified by race"),
        ({"rates": "wilson"}, "Wilson, effective n"),
        ({"rates": "clopper_pearson"}, "Clopper-Pearson, effective n"),
        ({"auroc": "delong"}, "DeLong by patient (Obuchowski), logit"),
    ],
)
def test_methods_are_named_and_agree_roughly(changes: dict[str, str], method: str) -> None:
    """Different intervals of the same figure are about as wide; only the seed's own methods name a seed."""
    metric = "auroc" if "auroc" in changes else "tpr"
    plainly = _one(evaluate([plain()], FEW), group_by="overall", metric=metric)
    row = _one(evaluate([plain()], replace(FEW, **changes)), group_by="overall", metric=metric)  # type: ignore[arg-type]
    assert str(row["method"]).startswith(method)
    assert (row["seed"] is None) == ("bootstrap" not in method)
    widths = [one["ci_high"] - one["ci_low"] for one in (row, plainly)]  # type: ignore[operator]
    assert widths[0] == pytest.approx(widths[1], rel=0.35)
    assert changes == {} or (row["ci_low"], row["ci_high"]) != (plainly["ci_low"], plainly["ci_high"])


def test_stratified_by_label_keeps_patients_with_positives() -> None:
    subject = prepared(plain(), replace(FEW, stratify="label"))
    with_positives = np.unique(subject.who.patients[plain().positive])
    assert (np.flatnonzero(subject.who.strata) == with_positives).all()


def test_thresholds_are_rows_and_may_be_chosen_elsewhere() -> None:
    scored, other = plain(seed=0), plain(seed=9)
    own = _one(evaluate([scored], replace(FEW, threshold="youden")), metric="threshold")
    assert own["note"] == "chosen by youden on the images that are judged"
    request = replace(FEW, threshold="youden", calibration={("model", "label"): other})
    elsewhere = _one(evaluate([scored], request), metric="threshold")
    assert elsewhere["note"] == "chosen by youden on the calibration set"
    assert (
        elsewhere["estimate"]
        == _one(evaluate([other], replace(FEW, threshold="youden")), metric="threshold")["estimate"]
    )
    assert elsewhere["estimate"] != own["estimate"]


def test_rederived_thresholds_widen_what_depends_on_them() -> None:
    request = replace(FEW, threshold="youden", calibration={("model", "label"): plain(150, seed=9)}, bootstrap=300)
    fixed, anew = (evaluate([plain()], replace(request, rederive=flag)) for flag in (False, True))
    rows = [_one(frame, group_by="overall", metric="fpr") for frame in (fixed, anew)]
    widths = [row["ci_high"] - row["ci_low"] for row in rows]  # type: ignore[operator]
    assert widths[1] > 1.5 * widths[0]
    assert str(rows[1]["method"]).endswith("threshold rederived")
    auroc = [_one(frame, group_by="overall", metric="auroc") for frame in (fixed, anew)]
    assert auroc[0] == auroc[1]
    threshold = _one(anew, metric="threshold")
    assert threshold["ci_low"] < threshold["estimate"] < threshold["ci_high"]  # type: ignore[operator]


def test_calibration_patients_are_drawn_by_themselves() -> None:
    """Not in step with the judged ones, though these be as many."""
    request = replace(FEW, threshold="youden", rederive=True)
    own, apart = (
        prepared(plain(), replace(request, calibration=chosen_on)).threshold_replicates
        for chosen_on in ({}, {("model", "label"): plain()})
    )
    assert len(np.unique(apart)) > 1
    assert (own != apart).any()


def test_thresholds_by_group_hold_in_every_other_row() -> None:
    """Each race at its own FPR of 0.2: everybody's rows pool what was called by the image's own race's threshold."""
    scored = plain(3000, patients=900, unfair=1.0)
    request = replace(FEW, metrics=("tpr", "fpr"), threshold="fpr=0.2", bootstrap=20)
    shared = evaluate([scored], request)
    own = evaluate([scored], replace(request, threshold_by="race"))
    fpr = pl.col("metric") == "fpr"
    assert shared.filter(fpr, group_value="b")["estimate"].item() > 0.3
    assert own.filter(fpr, group_by="race")["estimate"].to_list() == pytest.approx([0.2] * 3, abs=0.01)
    thresholds = own.filter(metric="threshold")
    assert thresholds["group_value"].to_list() == ["a", "b", "c"]
    called = scored.scores >= thresholds["estimate"].to_numpy()[scored.groupings[0].codes]
    for by, value, own_images in (
        ("overall", None, np.ones_like(scored.positive)),
        ("sex", "M", scored.groupings[1].codes == 1),
    ):
        negatives = own_images & ~scored.positive
        row = _one(own, group_by=by, group_value=value, metric="fpr")
        assert row["estimate"] == pytest.approx(called[negatives].mean(), abs=1e-12)
    exact = evaluate([scored], replace(request, threshold_by="race", rates="wilson"))
    assert exact.filter(fpr)["estimate"].equals(own.filter(fpr)["estimate"])
    low, high = exact.filter(fpr, group_by="overall").select("ci_low", "ci_high").row(0)
    assert low < called[~scored.positive].mean() < high


def test_no_threshold_no_rates() -> None:
    one_class = replace(plain(), positive=np.zeros_like(plain().positive))
    rows = evaluate([one_class], replace(FEW, threshold="youden"))
    assert rows["estimate"].null_count() == rows.height
    assert _one(rows, group_by="overall", metric="fpr")["note"] == (
        "undefined: no threshold: the calibration set lacks positives or negatives"
    )
    assert evaluate([plain()], replace(FEW, metrics=("auroc",), threshold=None)).height == 1 + 3 + 2 + 2


def _broken(**changes: object) -> Scored:
    return replace(plain(50), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scored", "problem"),
    [
        (_broken(scores=np.full(50, np.nan)), "NaN"),
        (_broken(scores=np.full(50, 1.5)), "outside [0, 1]"),
        (_broken(positive=np.ones(49, np.bool_)), "differ in length"),
        (_broken(weights=np.full(50, -1.0)), "weight"),
        (_broken(groupings=(Grouping("race", ("a",), np.ones(50, np.int32)),)), "make no sense"),
        (_broken(groupings=(Grouping("overall", ("a",), np.zeros(50, np.int32)),)), "make no sense"),
    ],
)
def test_input_that_does_not_fit_is_refused(scored: Scored, problem: str) -> None:
    with pytest.raises(CxrError, match=r".") as refused:
        evaluate([scored], FEW)
    assert refused.value.code == "CXR-502"
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"metrics": ("aurok",)}, "CXR-501"),
        ({"threshold": None}, "CXR-502"),
        ({"interval": "normal"}, "CXR-502"),
        ({"bootstrap": -1}, "CXR-502"),
        ({"confidence": 95}, "CXR-502"),
        ({"threshold_by": "rase"}, "CXR-501"),
    ],
)
def test_requests_that_make_no_sense_are_refused(changes: dict[str, object], code: str) -> None:
    with pytest.raises(CxrError) as refused:
        evaluate([plain(50)], replace(FEW, **changes))  # type: ignore[arg-type]
    assert refused.value.code == code


def test_nobody_at_all_is_an_answer() -> None:
    empty = replace(
        plain(50),
        **{name: getattr(plain(50), name)[:0] for name in ("scores", "positive", "patients", "weights")},
        groupings=tuple(replace(one, codes=one.codes[:0]) for one in plain(50).groupings),
    )
    rows = evaluate([empty], replace(FEW, gaps=True, interval="bca"))
    assert rows.filter(pl.col("metric") != "threshold")["estimate"].drop_nulls().is_empty()
    assert _one(rows, group_by="overall", metric="auroc")["note"] == "undefined: no images"


def test_gaps_of_more_than_two_groups_have_no_interval() -> None:
    """Their groups were chosen on the data: the interval of that difference would leave 0 out without any gap."""
    scored = plain()
    three = np.arange(len(scored.scores), dtype=np.int32) % 3
    scored = replace(scored, groupings=(Grouping("site", ("a", "b", "c"), three),))
    rows = evaluate([scored], replace(FEW, min_cell=0, permutations=50, gaps=True))
    gap = _one(rows, metric="auroc_gap")
    assert (gap["ci_low"], gap["ci_high"]) == (None, None)
    assert "chosen on the data" in str(gap["note"])
    assert gap["p_value"] is not None
    assert rows.filter(metric="auroc_difference")["ci_low"].null_count() == 0
