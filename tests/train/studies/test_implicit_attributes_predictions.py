"""`cxrdata study implicit-attributes --predictions`: against scikit-learn, against a published table, golden, wrong input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from implicit_predictions import (
    FINDINGS,
    RACES,
    finding_scores,
    keyed,
    positional,
    race_scores,
    their_findings,
    their_race,
    write_theirs,
)
from polars.testing import assert_frame_equal
from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score, roc_curve

import cxrdata
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog
from cxrtrain.studies.implicit_attributes.analyse import FILES
from cxrtrain.studies.implicit_attributes.design import Model, model_name
from cxrtrain.studies.implicit_attributes.evaluate import EVALUATION
from cxrtrain.studies.implicit_attributes.files import read_files
from cxrtrain.studies.implicit_attributes.sets import _hidden

GOLDEN = Path(__file__).parent / "golden" / "implicit_attributes_evaluation.csv"
Command = Callable[..., tuple[int, str, str]]
QUICK = ("--bootstrap", 50, "--min-cell", 1)
SLUGS = ("no_finding", "cardiomegaly", "pleural_effusion")


@pytest.fixture
def study(cxrdata_command: Callable[[str, str], Command]) -> Command:
    return cxrdata_command("study", "implicit-attributes")


def evaluated(study: Command, place: Path, out: Path, *more: object) -> pl.DataFrame:
    code, _, err = study("--predictions", place, "--out", out, "--only", "analyse", *QUICK, *more)
    assert code == 0, err
    return pl.read_csv(out / "evaluation.csv", schema=EVALUATION)


def value(rows: pl.DataFrame, **where: object) -> float:
    return float(rows.filter(**where)["estimate"].item())


def test_from_predictions_to_the_page(study: Command, tmp_path: Path) -> None:
    """Their layout: every output is there, equal to scikit-learn's, and the page fetches nothing."""
    out = tmp_path / "out"
    code, said, err = study("--predictions", write_theirs(tmp_path / "theirs"), "--out", out, *QUICK)
    assert code == 0, err
    assert err.splitlines() == ["analyse: done", "report: done"]
    assert [Path(line).name for line in said.splitlines()] == [
        *FILES,
        "models",
        "report.html",
        "published.csv",
        "figures",
    ]
    rows = pl.read_csv(out / "evaluation.csv", schema=EVALUATION)
    for name, strength, origin in (("pathology", 1.2, "run"), ("imagenet", 0.7, "imagenet"), ("random", 0.2, "random")):
        model = f"race_frozen_{name}"
        scores, truth = race_scores(strength)
        one = rows.filter(model=model)
        assert one.select("origin", "frozen").unique().rows() == [(origin, "backbone")]
        for at, race in enumerate(RACES):
            assert value(one, label=race) == pytest.approx(roc_auc_score(truth == at, scores[:, at]), abs=1e-12)
        assert value(one, metric="accuracy") == accuracy_score(truth, scores.argmax(axis=1))
        told = json.loads((out / "models" / model / "evaluation.json").read_text())
        matrix = confusion_matrix(truth, scores.argmax(axis=1), normalize="true")
        np.testing.assert_allclose(told["confusion_matrix"], matrix, atol=1e-12)
        assert abs(matrix - matrix.T).max() > 0.1  # so that a turned one would show
        assert told["classes"] == list(RACES) == list(told["roc_auc_scores"])
        assert told["note"].startswith("confusion_matrix: rows are the truth")
        fpr, tpr, thresholds = roc_curve(truth == 2, scores[:, 2], drop_intermediate=False)
        curve = told["roc_auc_curves"]["Black"]
        np.testing.assert_allclose(curve["fpr"], fpr, atol=1e-12)
        np.testing.assert_allclose(curve["tpr"], tpr, atol=1e-12)
        np.testing.assert_allclose(curve["thresholds"][1:], thresholds[1:], atol=1e-15)
        assert curve["thresholds"][0] is None
        points = set(zip(*(np.round(curve[rate], 5) for rate in ("fpr", "tpr")), strict=True))
        thinned = pl.read_csv(out / "roc.csv").filter(model=model, label="Black")
        assert thinned.height and set(thinned.select("fpr", "tpr").rows()) <= points
    scores, truth = finding_scores()
    for at, label in enumerate(SLUGS):
        assert value(rows, model="pathology", label=label) == pytest.approx(roc_auc_score(truth[:, at], scores[:, at]))
    names = {path.stem for path in (out / "figures").glob("*.svg")}
    assert names == {"race_by_backbone", "roc_race", "roc_findings", "confusion"}
    page = (out / "report.html").read_text(encoding="utf-8")
    for title in ("Experiment 1: race on frozen backbones", "Disease", "Published and here", "How to read this"):
        assert f">{title}</h2>" in page
    assert "the sets are not counted" in page
    assert "default-src 'none'" in page
    assert str(tmp_path) not in page
    published = pl.read_csv(out / "published.csv")
    assert published.filter(quantity="images")["published"].to_list() == [8712, 13107, 16002]
    assert published.filter(quantity="images")["here"].to_list() == [None] * 3
    others = published.filter(pl.col("quantity") != "images")
    assert others["published"].null_count() == others.height == rows.height
    assert others["reason"].unique().to_list() == ["no figure is published"]


def test_predictions_with_truth_are_judged_alike_by_the_audit(study: Command, tmp_path: Path) -> None:
    rows = evaluated(study, write_theirs(tmp_path / "theirs"), tmp_path / "out")
    file = tmp_path / "out" / "models" / "race_frozen_random" / "predictions.csv"
    answer = cxrdata.audit(predictions=file, truth_from=file, metrics=("auroc",), bootstrap=50)
    ours = rows.filter(model="race_frozen_random", metric="auroc").select("label", "estimate", "ci_low", "ci_high")
    assert_frame_equal(answer.overall.select(ours.columns), ours, check_row_order=False, abs_tol=1e-12)
    # What is written can be read again.
    again = evaluated(study, tmp_path / "out" / "models", tmp_path / "again")
    assert_frame_equal(again.drop("method"), rows.drop("method"), abs_tol=1e-12)


def test_all_layouts_say_the_same(study: Command, tmp_path: Path) -> None:
    places = []
    for name, frame in (("theirs", their_race(1.0)), ("positional", positional(1.0)), ("keyed", keyed(1.0))):
        places.append(tmp_path / f"{name}.csv")
        frame.write_csv(places[-1])
    found = [evaluated(study, place, tmp_path / place.stem) for place in places]
    for other in found[1:]:
        assert_frame_equal(found[0].select("label", "estimate"), other.select("label", "estimate"), abs_tol=1e-12)
    assert found[0]["method"].unique().to_list() == ["image bootstrap, percentile, 50 replicates"]
    assert found[2]["method"].unique().to_list() == ["patient bootstrap, percentile, 50 replicates"]
    # With the file of their order, a positional file knows its patients.
    keyed(1.0).select("image_id", "patient_id").write_csv(tmp_path / "order.csv")
    ordered = evaluated(study, places[1], tmp_path / "ordered", "--order", tmp_path / "order.csv")
    assert_frame_equal(ordered.drop("model"), found[2].drop("model"), abs_tol=1e-12)


def test_the_golden_table(study: Command, tmp_path: Path) -> None:
    """Made anew with CXRDATA_UPDATE_EXPECTED=1."""
    write_theirs(tmp_path / "theirs")
    keyed(1.0).write_parquet(tmp_path / "theirs" / "race-run-first-2-k3.parquet")
    rows = evaluated(study, tmp_path / "theirs", tmp_path / "out")
    if os.environ.get("CXRDATA_UPDATE_EXPECTED"):
        rows.write_csv(GOLDEN)
    assert_frame_equal(rows, pl.read_csv(GOLDEN, schema=EVALUATION), abs_tol=1e-12)


def test_with_a_catalog(study: Command, synthetic: Callable[..., Path], registry: Registry, tmp_path: Path) -> None:
    """Predictions as `cxrdata predict` writes them: race, findings, patients and the sets come from the catalog."""
    folder, run = tmp_path / "cat", import_module("cxrdata.cli.main").run
    build_catalog(
        BuildRequest(folder, named=[(registry.get("chexpert"), synthetic("chexpert", scale=0.01))], workers=1)
    )
    common = ("--cohort", "race_balanced_chexpert", "-q", "-c", str(folder))
    assert (
        run(["split", *common, "--balance", "race", "--max-images-per-patient", "1", "--name", "implicit-chexpert"])
        == 0
    )
    assert run(["split", *common, "--name", "implicit-chexpert-2"]) == 0  # a false one: whole patients, as they come
    with cxrdata.open(folder) as catalog:
        truth = catalog.sql(
            "SELECT i.dataset, i.image_id, i.patient_id, i.race, l.cardiomegaly AS state FROM splits s JOIN images i USING (dataset, image_id) "
            "JOIN image_labels l USING (dataset, image_id) WHERE split_name = 'implicit-chexpert-2' AND split = 'test' ORDER BY ALL"
        )
        sizes = catalog.sql(
            "SELECT split, count(*) AS n FROM splits WHERE split_name = 'implicit-chexpert' GROUP BY ALL"
        )
    rng = np.random.default_rng(0)
    columns = ["prob_White", "prob_Asian", "prob_Black", "prob_cardiomegaly"]
    scores = pl.DataFrame({name: rng.random(truth.height) for name in columns})
    truth.select("dataset", "image_id").hstack(scores).sample(fraction=1, shuffle=True, seed=1).write_parquet(
        tmp_path / "race-random.parquet"
    )
    rows = evaluated(study, tmp_path / "race-random.parquet", tmp_path / "out", "-c", folder)
    assert value(rows, label="Black") == pytest.approx(roc_auc_score(truth["race"] == "Black", scores["prob_Black"]))
    positive = (truth["state"] == 1).fill_null(value=False).to_numpy()  # uncertain and blank are negative
    assert value(rows, label="cardiomegaly") == pytest.approx(roc_auc_score(positive, scores["prob_cardiomegaly"]))
    assert rows["n"].unique().to_list() == [truth.height]
    assert all(method.startswith("patient") for method in rows["method"])
    checks = pl.read_csv(tmp_path / "out" / "checks.csv")
    results = {size: checks.filter(images_per_patient=size)["result"].to_list() for size in (1, 2, 3)}
    assert results == {1: ["ok"] * 4, 2: ["ok", "failed", "failed", "failed"], 3: ["not checked"] * 4}
    told = checks.filter(check="equally many images of each race in each part")["published"].to_list()
    assert told == ["holds", "does not hold: equal in all alone", "does not hold: equal in all alone"]
    sets = pl.read_csv(tmp_path / "out" / "sets.csv").filter(images_per_patient=1)
    assert dict(sets.filter(pl.col("race") == "all", pl.col("part") != "all").select("part", "images").iter_rows()) == dict(sizes.iter_rows())  # fmt: skip
    masked = evaluated(study, tmp_path / "race-random.parquet", tmp_path / "masked", "-c", folder, "--min-cell", 1000)
    assert masked.height == rows.height
    assert pl.read_csv(tmp_path / "masked" / "confusion.csv")["n"].null_count() == 9
    hidden = pl.read_csv(tmp_path / "masked" / "sets.csv").filter(pl.col("race") != "all")
    assert hidden["images"].null_count() == hidden.height


def test_the_published_aucs_of_real_predictions(study: Command, real_data: Path, tmp_path: Path) -> None:
    """CheXNet as Zech 2018 retrained it, with NIH's labels as the file's own truth."""
    entry = pl.read_csv(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz", infer_schema=False)
    preds = pl.read_csv(real_data / "chexnet" / "preds.csv.gz")
    aucs = dict(pl.read_csv(real_data / "chexnet" / "aucs.csv").select("label", "auc").iter_rows())
    both = preds.join(
        entry.select("Image Index", "Patient ID", "Finding Labels"), on="Image Index", maintain_order="left"
    )
    found = pl.col("Finding Labels").str.split("|")
    labels = [name.removeprefix("prob_") for name in preds.columns if name.startswith("prob_")]
    told = [found.list.contains(name).cast(pl.Int8).alias(name) for name in labels]
    whole = both.rename({"Patient ID": "patient_id"}).with_columns(told).drop("Finding Labels")
    whole.write_csv(tmp_path / "chexnet.csv")
    rows = evaluated(study, tmp_path / "chexnet.csv", tmp_path / "out", "--bootstrap", 0)
    assert rows.height == len(aucs) == 14
    assert sorted(rows["estimate"]) == pytest.approx(sorted(aucs.values()), abs=1e-6)
    assert value(rows, label="hernia") == pytest.approx(aucs["Hernia"], abs=1e-6)
    # No point for each of the scores.
    assert 100 < pl.read_csv(tmp_path / "out" / "roc.csv").group_by("label").len()["len"].max() <= 2 * 201  # type: ignore[operator]
    assert len(json.loads((tmp_path / "out" / "models" / "chexnet" / "evaluation.json").read_text())["roc_auc_curves"]["hernia"]["fpr"]) > 1000  # fmt: skip


def test_found_again_and_run_anew(study: Command, tmp_path: Path) -> None:
    their_race(1.0).write_csv(tmp_path / "race.csv")
    arguments = ("--predictions", tmp_path / "race.csv", "--out", tmp_path / "out", *QUICK)
    assert study(*arguments)[2].splitlines() == ["analyse: done", "report: done"]
    assert study(*arguments)[2].splitlines() == ["analyse: found", "report: found"]
    their_race(0.9).write_csv(tmp_path / "race.csv")
    code, out, _ = study(*arguments, "--dry-run", "--format", "csv")
    assert (code, out) == (0, "stage,state,after\nanalyse,to run,\nreport,to run,analyse\n")


def test_without_torch(tmp_path: Path) -> None:
    their_race(1.0).write_csv(tmp_path / "race.csv")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from importlib import import_module; main = import_module('cxrdata.cli.main')\n"
        "main.COMMANDS['study'] = ('cxrtrain.cli.study', 'study', '')\n"
        "sys.exit(main.run(['study', 'implicit-attributes', *sys.argv[1:]]))"
    )
    words = ["--predictions", "race.csv", "--out", "out", "--bootstrap", "0", "--only", "analyse"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "evaluation.csv").is_file()


def test_names_say_the_model() -> None:
    assert Model.of(model_name("race", 3, "imagenet", "first:2")) == Model(
        "race-imagenet-first-2-k3", 3, "imagenet", "first:2"
    )
    assert Model.of(model_name("race", 1, "run", "backbone")) == Model("race-run-backbone-k1", 1, "run", "backbone")
    assert Model.of(model_name("disease", 2)) == Model("disease-k2", 2, None, None)
    assert Model.of(model_name("twohead", 1)) == Model("twohead-k1", 1, None, None)
    assert Model.of("one_img_race_from_scratch") == Model("one_img_race_from_scratch", None, "random", None)
    assert Model.of("trace-of-k9s") == Model("trace-of-k9s", None, None, None)


def test_what_is_passed_over_is_said(tmp_path: Path) -> None:
    write_theirs(tmp_path)
    (tmp_path / "history.csv").write_text("epoch,loss\n1,0.5\n")
    their_findings().drop(f"{FINDINGS[2]}_gt").write_csv(tmp_path / "half.csv")
    read = read_files(tmp_path)
    assert len(read.models) == 5
    assert any(note.startswith("history.csv passed over") for note in read.notes)
    assert {one.model.name: one.labels for one in read.models}["half"] == SLUGS[:2]


def test_a_race_of_few_patients_stands_nowhere(study: Command, tmp_path: Path) -> None:
    whole = their_race(1.2)
    whole.filter((pl.col("Black_gt") == 0) | ((pl.col("Black_gt") == 1).cum_sum() <= 6)).write_csv(
        tmp_path / "race.csv"
    )
    rows = evaluated(study, tmp_path / "race.csv", tmp_path / "out", "--min-cell", 11)
    black = rows.filter(label="Black")
    assert black.select("n_positive", "estimate", "note").rows() == [(None, None, "masked: fewer than 11 patients")]
    assert rows.filter(label="White")["estimate"].null_count() == 0
    assert set(pl.read_csv(tmp_path / "out" / "roc.csv")["label"]) == {"White", "Asian"}
    # With two of three rows the third's would follow from the accuracy.
    matrix = pl.read_csv(tmp_path / "out" / "confusion.csv")
    assert set(matrix.filter(pl.col("n").is_not_null())["truth"]) == {"White"}
    said = json.loads((tmp_path / "out" / "models" / "race" / "evaluation.json").read_text())
    assert said["roc_auc_scores"]["Black"] is None and said["roc_auc_curves"]["Black"]["tpr"] == []


def test_masked_sets_do_not_follow_from_their_totals() -> None:
    sizes = {"train": (50, 40, 30), "valid": (20, 15, 4), "test": (30, 20, 25)}
    rows = [(part, race, n, n) for part, own in sizes.items() for race, n in zip(RACES, own, strict=True)]
    rows += [(part, "all", sum(own), sum(own)) for part, own in sizes.items()]
    rows += [("all", race, n, n) for race, n in zip(RACES, map(sum, zip(*sizes.values(), strict=True)), strict=True)]
    rows += [("all", "all", 234, 234)]
    hidden = _hidden(pl.DataFrame(rows, schema=["part", "race", "images", "patients"], orient="row"), 11)
    assert ("valid", "Black") in hidden
    for place in (0, 1):  # none is alone in its row, nor in its column
        assert min(sum(one[place] == own[place] for one in hidden) for own in hidden) > 1


def test_what_is_no_test_prediction_stops_nothing(study: Command, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    (folder / "stages" / "analyse").mkdir(parents=True)
    their_findings().write_csv(folder / "disease.csv")
    their_findings().write_csv(folder / "stages" / "analyse" / "disease.csv")
    their_findings().head(3).write_csv(folder / "predictions.val.csv")
    (folder / "empty.csv").touch()
    (folder / "header.csv").write_text("White,White_gt\n")
    read = read_files(folder)
    assert [one.model.name for one in read.models] == ["disease"]
    assert [note.partition(" ")[0] for note in read.notes] == ["empty.csv", "header.csv", "predictions.val.csv"]
    code, _, err = study("--predictions", folder, "--out", tmp_path / "out", *QUICK)
    assert code == 0, err
    # Without a model of race the page says all the same what was passed over.
    assert "header.csv passed over" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_truth_that_is_none(tmp_path: Path) -> None:
    """NaN is not known, and no negative."""
    frame = their_findings().with_columns(pl.when(pl.int_range(pl.len()) < 5).then(float("nan")).otherwise(f"{FINDINGS[0]}_gt").alias(f"{FINDINGS[0]}_gt"))  # fmt: skip
    frame.write_csv(tmp_path / "disease.csv")
    (one,) = read_files(tmp_path).models
    assert one.frame[SLUGS[0]].null_count() == 5
    their_race(1.0).drop("Black_gt").with_columns(stray=0.5, stray_gt=1).write_csv(tmp_path / "disease.csv")
    read = read_files(tmp_path)
    assert read.models[0].labels == RACES[:2]
    assert read.notes == ["disease.csv: without truth, so not judged: Black", "disease.csv: neither a race nor a finding, so not judged: stray"]  # fmt: skip


def test_wrong_input(study: Command, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        code, _, err = study(*arguments, "--out", tmp_path / "out")
        assert code in (1, 2, 3)
        assert err.count("error CXR-") == 1
        assert "  fix: " in err
        return next(line for line in err.splitlines() if line.startswith("error"))

    def given(frame: pl.DataFrame, name: str = "race.csv") -> Path:
        frame.write_csv(tmp_path / name)
        return tmp_path / name

    assert refused() == "error CXR-502: nothing says what to train on"
    assert refused("--predictions", tmp_path / "no").startswith("error CXR-101")
    (tmp_path / "empty").mkdir()
    assert refused("--predictions", tmp_path / "empty").startswith("error CXR-120: there is no CSV or Parquet file")
    history = given(pl.DataFrame({"epoch": [1], "loss": [0.5]}))
    assert refused("--predictions", history).startswith("error CXR-120")
    bare = given(positional(1.0, targets=False))
    assert refused("--predictions", bare).startswith("error CXR-517")
    blind = given(keyed(1.0).drop("race"))
    assert refused("--predictions", blind).startswith("error CXR-124: nothing says what is true")
    short = given(pl.DataFrame({"image_id": ["a"]}), "order.csv")
    rows = given(positional(1.0))
    assert refused("--predictions", rows, "--order", short).startswith("error CXR-126")
    assert refused("--predictions", rows, "--order", tmp_path / "no.csv").startswith("error CXR-101")
    both = given(their_race(1.0).with_columns(White_gt=pl.lit(1.0)))
    assert "with several true races" in refused("--predictions", both)
    percent = given(keyed(1.0).with_columns(pl.col("prob_White") * 100))
    assert refused("--predictions", percent).startswith("error CXR-122")
    assert refused("--predictions", rows, "--data", "synthetic").startswith("error CXR-502: --predictions are there")
    for option, what in {"--draws": "3", "--images-per-patient": "1", "--origins": "run", "--freeze": "backbone", "--criterion": "auroc"}.items():  # fmt: skip
        assert refused("--predictions", rows, option, what).startswith("error CXR-502: --predictions are there")
    assert refused("--data", "synthetic", "--order", short).startswith("error CXR-502: --order")
    assert refused("--data", "synthetic", "--images-per-patient", "4").startswith("error CXR-501: there is no set")
    assert refused("--data", "synthetic", "--freeze", "all").startswith("error CXR-502: --freeze")
    assert refused("--data", "synthetic", "--origins", "moon").startswith("error CXR-501: there is no backbone")
    assert refused("--data", "synthetic", "--criterion", "luck").startswith("error CXR-501: there is no criterion")
    assert refused("--store", tmp_path / "store", "-c", tmp_path / "cat").startswith("error CXR-148")
