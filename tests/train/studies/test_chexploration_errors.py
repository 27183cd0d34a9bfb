"""The study's tables: golden, against other implementations, published beside careful.

After a change that is meant, `python tests/train/studies/test_chexploration_errors.py` writes the golden file anew.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from chexploration_predictions import KEY, SPLIT, Study, made_study, noise, scores, truth, write_ours
from polars.testing import assert_frame_equal
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.utils import resample as redrawn

import cxrdata
from cxrdata.audit.truth import CatalogTruth
from cxrdata.cli.main import run
from cxrdata.sources.base import Registry
from cxrdata.sources.synthesis import SynthPlan
from cxrtrain.studies.chexploration.cohort import drawn_anew, funnel_of, masked, parts_of
from cxrtrain.studies.chexploration.design import Wish
from cxrtrain.studies.chexploration.errors import ERRORS, Judge, attributes, detection

GOLDEN = Path(__file__).parent / "golden" / "chexploration.csv"
QUICK = Wish(bootstrap=300, min_cell=1)


@pytest.fixture(scope="module")
def folder(chexploration: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """disease/ and race/ as the analysis reads them."""
    return written(chexploration, tmp_path_factory.mktemp("keyed"))


def written(study: Study, folder: Path) -> Path:
    for model in ("disease", "race"):
        for part in ("val", "test"):
            write_ours(study, folder / model / f"predictions.{part}.parquet", model, model, part)
    return folder


@pytest.fixture(scope="module")
def draws(chexploration: Study) -> pl.DataFrame:
    return drawn(chexploration)


def drawn(study: Study) -> pl.DataFrame:
    with cxrdata.open(study.catalog) as catalog:
        draws = drawn_anew(catalog, study.part("test"), 1)[0]
    assert draws is not None
    return draws


def judged(study: Study, folder: Path, wish: Wish = QUICK, draws: pl.DataFrame | None = None) -> tuple[pl.DataFrame, list[str]]:  # fmt: skip
    with cxrdata.open(study.catalog) as catalog:
        judge = Judge(CatalogTruth(catalog, datasets=["chexpert"], labeler="chexpert"), wish, draws)
        return detection(judge, {"disease": folder / "disease"}), judge.notes


@pytest.fixture(scope="module")
def found(chexploration: Study, folder: Path, draws: pl.DataFrame) -> pl.DataFrame:
    return judged(chexploration, folder, draws=draws)[0]


def one(rows: pl.DataFrame, metric: str, **which: object) -> dict[str, object]:
    chosen = rows.filter(*(pl.col(name).eq_missing(pl.lit(value)) for name, value in which.items()), metric=metric)
    assert chosen.height == 1, chosen
    return chosen.row(0, named=True)


def nearest(scored: np.ndarray, positive: np.ndarray) -> float:
    """The threshold at the pooled FPR nearest to 0.2 by scikit-learn's curve, of ties that of the higher J."""
    fpr, tpr, thresholds = roc_curve(positive, scored, drop_intermediate=False)
    away = np.abs(fpr - 0.2).round(12)
    best = np.flatnonzero(away == away.min())
    return float(thresholds[best[np.argmax((tpr - fpr)[best])]])


def test_the_golden_table(found: pl.DataFrame) -> None:
    assert_frame_equal(found, pl.read_csv(GOLDEN, schema=ERRORS), abs_tol=1e-12)


def test_the_published_rules_against_scikit_learn(chexploration: Study, found: pl.DataFrame) -> None:
    rows = chexploration.part("test")
    for at, label in ((0, "no_finding"), (10, "pleural_effusion")):
        scored, positive = scores(rows, "disease", "disease")[:, at], truth(rows, "disease")[:, at] == 1
        threshold = nearest(scored, positive)
        which = {"label": label, "rules": "published", "test_set": "test"}
        assert one(found, "threshold", **which)["estimate"] == threshold
        for by, value in (("overall", None), ("race", "White"), ("race", "Asian"), ("sex", "F")):
            inside = np.ones(len(scored), bool) if value is None else (rows[by] == value).to_numpy()
            own, ill = scored[inside], positive[inside]
            called = own >= threshold
            expected = {"tpr": called[ill].mean(), "fpr": called[~ill].mean(), "auroc": roc_auc_score(ill, own)}
            expected["youden"] = expected["tpr"] - expected["fpr"]
            for metric, estimate in expected.items():
                row = one(found, metric, group_by=by, group_value=value, **which)
                assert (row["n"], row["n_positive"]) == (inside.sum(), ill.sum())
                assert row["estimate"] == pytest.approx(estimate, abs=1e-12)


def test_the_published_intervals_against_a_bootstrap_by_image(chexploration: Study, found: pl.DataFrame) -> None:
    """Stratified by the label, the threshold chosen anew in each replicate."""
    rows = chexploration.part("test")
    scored, positive = scores(rows, "disease", "disease")[:, 10], truth(rows, "disease")[:, 10] == 1
    white = (rows["race"] == "White").to_numpy()
    at = np.arange(len(scored))
    rates = []
    for number in range(400):
        drawn = redrawn(at, stratify=positive, random_state=number)
        called = scored[drawn] >= nearest(scored[drawn], positive[drawn])
        rates.append([called[positive[drawn] & white[drawn]].mean(), called[~positive[drawn] & white[drawn]].mean()])
    bounds = np.percentile(rates, [2.5, 97.5], axis=0).T
    for metric, (low, high) in zip(("tpr", "fpr"), bounds, strict=True):
        row = one(found, metric, label="pleural_effusion", rules="published", test_set="test", group_value="White")
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=0.02)
        assert row["method"] == "image bootstrap, percentile, 300 replicates, stratified by label, threshold rederived"


def test_careful_rules_choose_on_validation_and_redraw_patients(chexploration: Study, found: pl.DataFrame) -> None:
    rows = chexploration.part("val")
    threshold = nearest(scores(rows, "disease", "disease")[:, 10], truth(rows, "disease")[:, 10] == 1)
    which = {"label": "pleural_effusion", "test_set": "test", "group_by": "overall"}
    careful = one(found, "threshold", rules="careful", **which)
    assert (careful["estimate"], careful["n"]) == (threshold, rows.height)
    both = [one(found, "auroc", rules=rules, **which) for rules in ("published", "careful")]
    assert both[0]["estimate"] == both[1]["estimate"]
    assert str(both[1]["method"]).startswith("patient bootstrap")
    assert both[0]["ci_low"] != both[1]["ci_low"]


def test_without_a_validation_part_it_is_said(chexploration: Study, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "disease").mkdir()
    (tmp_path / "disease" / "predictions.test.parquet").symlink_to(folder / "disease" / "predictions.test.parquet")
    rows, notes = judged(chexploration, tmp_path, Wish(bootstrap=0, min_cell=1))
    assert any("no predictions of the validation part" in note for note in notes)
    chosen = rows.filter(metric="threshold", label="no_finding")["estimate"]
    assert chosen.n_unique() == 1
    # The same patients in both parts: as if there were none.
    (tmp_path / "disease" / "predictions.val.parquet").symlink_to(folder / "disease" / "predictions.test.parquet")
    again, notes = judged(chexploration, tmp_path, Wish(bootstrap=0, min_cell=1))
    assert again.equals(rows)
    assert any("of the validation part are tested too" in note for note in notes)


def test_the_resampled_set_is_judged_draw_by_draw(
    chexploration: Study, draws: pl.DataFrame, found: pl.DataFrame
) -> None:
    """Published: a draw is a row; careful: a draw is weight. The estimates at one threshold are the same."""
    rows = chexploration.part("test").join(draws, on=KEY, maintain_order="left")
    times = rows["n_draws"].to_numpy()
    scored = np.repeat(scores(rows, "disease", "disease")[:, 0], times)
    positive = np.repeat(truth(rows, "disease")[:, 0] == 1, times)
    which = {"label": "no_finding", "test_set": "resampled", "group_by": "overall"}
    published, careful = (one(found, "auroc", rules=rules, **which) for rules in ("published", "careful"))
    assert published["n"] == len(scored) == draws["n_draws"].sum()
    assert careful["n"] == draws.height
    for row in (published, careful):
        assert row["estimate"] == pytest.approx(roc_auc_score(positive, scored), abs=1e-12)
    threshold = one(found, "threshold", rules="published", **which)
    assert threshold["estimate"] == nearest(scored, positive)


def test_small_groups_are_masked_by_patients_in_both_rules(chexploration: Study, folder: Path) -> None:
    """Black patients have more than ten images, and are fewer than ten."""
    black = chexploration.part("test").filter(race="Black")
    assert black["patient_id"].n_unique() < 10 < black.height
    rows, _ = judged(chexploration, folder, Wish(bootstrap=20, min_cell=10))
    own = rows.filter(group_value="Black")
    assert own.height == 16
    assert own["estimate"].null_count() == own["n_positive"].null_count() == 16
    assert own["note"].unique().to_list() == ["masked: fewer than 10 patients"]
    assert rows.filter(group_value="White")["estimate"].null_count() == 0


def test_race_is_judged_one_against_the_rest(chexploration: Study, folder: Path) -> None:
    with cxrdata.open(chexploration.catalog) as catalog:
        judge = Judge(CatalogTruth(catalog, datasets=["chexpert"], labeler="chexpert"), Wish(bootstrap=20, min_cell=1))
        rows = attributes(judge, {"race": folder / "race"})
    images = chexploration.part("test")
    said, known = scores(images, "race", "race"), truth(images, "race")
    assert rows["label"].unique(maintain_order=True).to_list() == ["White", "Asian", "Black"]
    for at, race in enumerate(("White", "Asian", "Black")):
        for rules in ("published", "careful"):
            row = one(rows, "auroc", label=race, rules=rules)
            assert row["estimate"] == pytest.approx(roc_auc_score(known[:, at], said[:, at]), abs=1e-12)


def test_a_class_of_few_patients_is_masked_too(chexploration: Study, folder: Path) -> None:
    """Who is Black by the label is the group of that name: its figures stand nowhere."""
    with cxrdata.open(chexploration.catalog) as catalog:
        judge = Judge(CatalogTruth(catalog, datasets=["chexpert"], labeler="chexpert"), Wish(bootstrap=0, min_cell=10))
        rows = attributes(judge, {"race": folder / "race"})
    black = rows.filter(label="Black")
    assert black.height == black["estimate"].null_count() == black["n_positive"].null_count() == 2
    assert black["note"].unique().to_list() == ["masked: fewer than 10 patients"]
    assert rows.filter(label="White")["estimate"].null_count() == 0


def test_a_masked_group_does_not_follow_from_the_others() -> None:
    rows = [("overall", None, 40), ("race", "White", 25), ("race", "Asian", 12), ("race", "Black", 3), ("sex", "M", 20), ("sex", "F", 20)]  # fmt: skip
    frame = pl.DataFrame(rows, schema=["group_by", "group_value", "patients"], orient="row")
    told = masked(frame, 11, ("patients",), within="group_by", but="overall")
    assert told["patients"].to_list() == [40, 25, None, None, 20, 20]
    assert told["note"].to_list() == [None, None, "masked: another group would follow", "masked: fewer than 11 patients", None, None]  # fmt: skip
    two = masked(frame, 13, ("patients",), within="group_by", but="overall")
    assert two["patients"].to_list() == [40, 25, None, None, 20, 20]
    assert masked(frame, 1, ("patients",), within="group_by").drop("note").equals(frame)


def test_the_draws_are_those_of_the_command(chexploration: Study, draws: pl.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    words = ["resample", SPLIT, "--balance", "race", "--match", "disease,age_group:chexploration", "--seed", "42"]
    assert run([*words, "--name", "by-hand", "--replace", "-q", "-c", str(chexploration.catalog)]) == 0
    capsys.readouterr()
    with cxrdata.open(chexploration.catalog) as catalog:
        assert draws.equals(pl.DataFrame(catalog.split("by-hand").select(*KEY, "n_draws")))


def test_parts_and_prevalences_are_counted(chexploration: Study) -> None:
    with cxrdata.open(chexploration.catalog) as catalog:
        parts, notes = parts_of(catalog, SPLIT, {}, 1)
        test = chexploration.part("test")
        predicted, said = parts_of(catalog, "another", {"test": test}, 11)
        draws, table, _ = drawn_anew(catalog, test, 1)
        assert draws is not None
        steps, _ = funnel_of(catalog, "chexpert")
        hidden = drawn_anew(catalog, test, 11)[1]
    counts = chexploration.images.group_by("part").len().sort("part")
    overall = parts.filter(group_by="overall").select(pl.col("part").replace({"val": "valid"}), len=pl.col("images").cast(pl.UInt32))  # fmt: skip
    assert_frame_equal(overall.sort("part"), counts)
    assert steps["images"][-1] == chexploration.images.height
    assert notes == [] and "the catalog has no split another" in said[0]
    shown = predicted.filter(group_by="race")
    assert shown.filter(group_value="Black")["images"].to_list() == [None]
    assert shown.filter(group_value="White")["images"].to_list() == [test.filter(race="White").height]
    assert table["draws"].sum() == draws["n_draws"].sum()
    assert table.filter(race="White")["prevalence_after"].sum() == pytest.approx(1)
    few = table["patients"].is_between(1, 10)
    assert hidden["draws"].is_null().equals(hidden["prevalence_after"].is_null())
    assert hidden.filter(few)["draws"].null_count() == few.sum()
    # One that is alone in its race would follow from the race's images among the parts.
    assert (hidden.group_by("race").agg(pl.col("draws").null_count())["draws"] != 1).all()


def test_noise_depends_on_the_key_alone(chexploration: Study) -> None:
    rows = chexploration.part("test")
    np.testing.assert_array_equal(noise(rows, "x")[::-1], noise(rows.reverse(), "x"))


def write_golden() -> None:
    """Write the golden file from drawn data."""
    with tempfile.TemporaryDirectory() as place:
        module = Registry().get("chexpert").module("synth")
        data = Path(place) / "data"
        data.mkdir()
        module.write(data, SynthPlan(scale=0.01, seed=0, variants=module.DEFAULT))
        study = made_study(Path(place), data)
        judged(study, written(study, Path(place) / "keyed"), draws=drawn(study))[0].write_csv(GOLDEN)


if __name__ == "__main__":
    write_golden()
