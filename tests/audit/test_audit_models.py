"""Thresholds from other patients, classes, positions, several models, rows without an image: on synthetic datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made import KEY, auroc_of, made_predictions, one_row, score

import cxrdata
from cxrdata.cli.main import run
from cxrdata.errors import CxrError
from cxrdata.interop.label_orders import CHEXPERT_LABELS
from cxrdata.store.catalog import Catalog


def test_threshold_from_other_patients(
    folder: Path, catalog: Catalog, predicted: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["split", "--dataset", "nih", "--name", "nih", "-c", str(folder), "--quiet"]) == 0
    capsys.readouterr()
    wishes = {
        "predictions": predicted("nih_cxr14"), "catalog": folder, "split": "nih:test", "threshold": "fpr=0.2",
        "metrics": ["fpr"], "bootstrap": 0,
    }  # fmt: skip
    answer = cxrdata.audit(**wishes, calibrate_on="nih:valid")
    assert answer.warnings == []
    valid = pl.DataFrame(cxrdata.open(folder).split("nih")).filter(split="valid")
    states = catalog.labels(dataset="nih", findings=["cardiomegaly"]).join(valid, on=KEY)
    row = one_row(answer, "threshold")
    assert row["n"] == states.height
    negatives = np.array([score("m", "cardiomegaly", key) for key in states.filter(cardiomegaly=0)["image_id"]])
    rate = np.mean(negatives >= row["estimate"])
    assert abs(rate - 0.2) <= min(abs(np.mean(negatives >= other) - 0.2) for other in negatives) + 1e-12
    assert cxrdata.audit(**wishes, calibrate_on="nih").rows.equals(answer.rows)
    same = cxrdata.audit(**wishes)
    assert "flatters" in same.warnings[0]
    with pytest.raises(CxrError) as caught:
        cxrdata.audit(**wishes, calibrate_on=predicted("nih_cxr14", name="all.parquet"))
    assert caught.value.code == "CXR-127"
    allowed = cxrdata.audit(
        **wishes, calibrate_on=predicted("nih_cxr14", name="all.parquet"), allow_shared_patients=True
    )
    assert "are judged too" in allowed.warnings[0]


def test_a_threshold_of_each_group_from_other_patients(
    folder: Path, predicted: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["split", "--dataset", "nih", "--name", "groups", "-c", str(folder), "--quiet"]) == 0
    capsys.readouterr()
    answer = cxrdata.audit(
        predictions=predicted("nih_cxr14"), catalog=folder, split="groups", calibrate_on="groups:train", threshold="fpr=0.2",
        threshold_by="sex", stratify="view", metrics=["fpr"], bootstrap=5, rederive=True, min_cell=0,
    )  # fmt: skip
    thresholds = answer.rows.filter(metric="threshold")
    assert thresholds["group_value"].to_list() == ["F", "M"]
    assert thresholds["n"].sum() == pl.DataFrame(cxrdata.open(folder).split("groups")).filter(split="train").height
    assert thresholds["ci_low"].null_count() == 0
    assert set(answer.by_group["group_by"]) == {"sex", "view"}


def test_classes_are_one_vs_rest(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    path = predicted("chexpert", labels=("White", "Black", "Asian"))
    answer = cxrdata.audit(predictions=path, catalog=catalog, metrics=["auroc"], bootstrap=0)
    races = (
        catalog.table("images")
        .filter(dataset="chexpert")
        .collect()
        .filter(pl.col("race").is_in(["White", "Black", "Asian"]))
    )
    scores = np.array([score("m", "Asian", key) for key in races["image_id"]])
    row = one_row(answer, "auroc", label="Asian")
    assert (row["n"], row["truth"], row["policy"]) == (races.height, "race", "none")
    assert row["estimate"] == pytest.approx(auroc_of(scores, (races["race"] == "Asian").to_numpy()), abs=1e-12)


def test_confusion_of_classes_is_normalised_by_truth(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    path = predicted("chexpert", labels=("White", "Black", "Male", "Female"))
    answer = cxrdata.audit(predictions=path, catalog=catalog, metrics=["auroc"], bootstrap=0)
    images = catalog.table("images").filter(dataset="chexpert").collect()
    assert answer.confusion["attribute"].unique(maintain_order=True).to_list() == ["race", "sex"]
    assert set(
        answer.confusion.group_by("attribute", "truth").agg(pl.col("share_of_truth").sum().round(12))["share_of_truth"]
    ) == {1.0}
    black = images.filter(race="Black")["image_id"]
    called = sum(score("m", "White", key) >= score("m", "Black", key) for key in black)
    row = answer.confusion.filter(truth="Black", predicted="White").row(0, named=True)
    assert (row["n"], row["share_of_truth"]) == (called, pytest.approx(called / len(black), abs=1e-12))


def test_trend_with_age(catalog: Catalog, tmp_path: Path) -> None:
    """Scores that grow with age call the old more often."""
    images = catalog.table("images").filter(dataset="nih_cxr14").collect().drop_nulls("age_years")
    scores = [age / 200 + score("m", key) / 2 for key, age in images.select("image_id", "age_years").iter_rows()]
    images.select("image_id", prob_cardiomegaly=pl.Series(scores)).write_csv(tmp_path / "preds.csv")
    answer = cxrdata.audit(
        predictions=tmp_path / "preds.csv", catalog=catalog, threshold=0.5, metrics=["fpr"], bootstrap=20, trend=True,
        by="age_group:decades", min_cell=1,
    )  # fmt: skip
    correlation, odds = one_row(answer, "fpr_age_correlation"), one_row(answer, "fpr_age_odds_ratio")
    assert float(str(correlation["estimate"])) > 0.8
    assert float(str(odds["ci_low"])) > 1
    table = answer.by_group.filter(metric="fpr")
    assert correlation["n"] == (table["n"] - table["n_positive"]).sum()
    assert set(answer.gaps["metric"]) >= {"fpr_age_correlation", "fpr_age_odds_ratio"}


def test_positions_are_read_against_the_file_that_was_predicted(catalog: Catalog, tmp_path: Path) -> None:
    """The rows of chexploration's output, in an order that is nobody's, with its 0 for everything that is not positive."""
    images = catalog.table("images").filter(dataset="chexpert", source_split="train").select(*KEY, "path").collect()
    images = images.with_columns(at=pl.col("image_id").map_elements(lambda key: score("order", key), pl.Float64)).sort(
        "at"
    )
    truth = images.join(
        catalog.labels(dataset="chexpert", labeler="chexpert"), on=KEY, how="left", maintain_order="left"
    )
    images.select(pl.concat_str(pl.lit("CheXpert-v1.0/"), "path").alias("Path")).write_csv(tmp_path / "sample.csv")
    findings = [name.lower().replace(" ", "_") for name in CHEXPERT_LABELS]
    columns = {
        f"class_{at}": [score("m", finding, key) for key in images["image_id"]] for at, finding in enumerate(findings)
    }
    targets = {
        f"target_{at}": (truth[finding] == 1).fill_null(value=False).cast(pl.Int64)
        for at, finding in enumerate(findings)
    }
    pl.DataFrame({**columns, **targets}).write_csv(tmp_path / "predictions.csv")
    answer = cxrdata.audit(
        predictions=tmp_path / "predictions.csv", catalog=catalog, order=tmp_path / "sample.csv", labels=["Edema"],
        truth="chexpert", metrics=["auroc"], bootstrap=0,
    )  # fmt: skip
    known = truth.filter(pl.col("edema").is_in([0, 1]))
    scores = np.array([score("m", "edema", key) for key in known["image_id"]])
    assert one_row(answer, "auroc")["estimate"] == pytest.approx(
        auroc_of(scores, known["edema"].to_numpy() == 1), abs=1e-12
    )


def test_two_models_on_the_images_that_both_predict(
    catalog: Catalog, predicted: Callable[..., Path], tmp_path: Path
) -> None:
    first, second = predicted("nih_cxr14", name="first.csv"), tmp_path / "second.csv"
    made_predictions(catalog, "nih_cxr14", model="other").head(300).write_csv(second)
    answer = cxrdata.audit(predictions=[first, second], catalog=catalog, compare=True, metrics=["auroc"], bootstrap=20)
    assert set(answer.overall["n"]) == {300}
    difference = one_row(answer, "auroc_difference")
    one, other = (one_row(answer, "auroc", model=name)["estimate"] for name in ("first", "second"))
    assert difference["model"] == "first - second"
    assert difference["estimate"] == pytest.approx(float(str(one)) - float(str(other)), abs=1e-12)
    assert any("that not all models predict left out" in note for note in answer.notes)


def test_runs_of_one_file_are_models(catalog: Catalog, tmp_path: Path) -> None:
    parts = [made_predictions(catalog, "nih_cxr14", model=run).with_columns(run_id=pl.lit(run)) for run in ("a", "b")]
    pl.concat(parts).write_parquet(tmp_path / "predictions.parquet")
    answer = cxrdata.audit(
        predictions=tmp_path / "predictions.parquet", catalog=catalog, metrics=["auroc"], bootstrap=0
    )
    assert answer.overall["model"].to_list() == ["a", "b"]


def test_frames_are_read_as_files_are(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    frame = made_predictions(catalog, "nih_cxr14")
    wishes = {"catalog": catalog, "metrics": ["auroc"], "bootstrap": 5}
    by_file = cxrdata.audit(predictions=predicted("nih_cxr14"), **wishes)
    assert cxrdata.audit(predictions={"preds": frame.to_pandas()}, **wishes).rows.equals(by_file.rows)
    twice = pl.concat([frame, frame.tail(1)])
    with pytest.raises(CxrError) as caught:
        cxrdata.audit(predictions=twice, **wishes)
    assert (caught.value.code, caught.value.where) == ("CXR-123", f"predictions, row {twice.height}")


def test_rows_without_an_image_and_images_without_a_row_are_counted(catalog: Catalog, tmp_path: Path) -> None:
    frame = made_predictions(catalog, "nih_cxr14").head(100)
    strange = frame.head(2).with_columns(image_id=pl.Series(["99999999_000.png", "unheard of"]))
    pl.concat([frame, strange]).drop("dataset").write_csv(tmp_path / "preds.csv")
    answer = cxrdata.audit(predictions=tmp_path / "preds.csv", catalog=catalog, metrics=["auroc"], bootstrap=0)
    images = catalog.table("images").filter(dataset="nih_cxr14").collect().height
    assert answer.notes[0].startswith(
        "2 of 102 predictions name no known image and are not judged, such as preds.csv:102 '99999999_000.png'"
    )
    assert f"preds: {images - 100:,} of {images:,} images of nih_cxr14 have no prediction" in answer.notes
