"""Whose predictions they are, and what is refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from study_predictions import calibration_rows, healthy_rows, row, write, write_model

from cxrdata.errors import CxrError
from cxrtrain.studies.case_study.analyse import analyse
from cxrtrain.studies.case_study.files import digests, find_files
from cxrtrain.studies.case_study.fpr import Wish
from cxrtrain.studies.case_study.predictions import read_cases

QUICK = Wish(bootstrap=0, min_cell=1)


def ours(folder: Path, name: str, **columns: object) -> Path:
    """A file in our layout."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame({"dataset": ["vindr_cxr"], "image_id": ["a"], "prob_cardiomegaly": [0.5]} | columns)
    frame.write_parquet(path) if name.endswith("parquet") else frame.write_csv(path)
    return path


def refused(folder: Path, code: str, match: str) -> CxrError:
    with pytest.raises(CxrError, match=match) as caught:
        analyse(read_cases(folder), QUICK)
    assert caught.value.code == code
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize(
    ("path", "trained_on", "blend"),
    [
        ("exp_cardiomegaly-chexbert-mixup-imb_sampler/nih_cxr18/test_peds/best/predictions.csv", "chexpert", 0.0),
        (
            "hm-0.25/exp_cardiomegaly-nih_cxr18-mixup-imb_sampler/vindr_pcxr/test/best/predictions.csv",
            "nih_cxr14",
            0.25,
        ),
        ("hm-1.0/age-bias-vindr/predictions.age-bias.parquet", "vindr_cxr", 1.0),
        ("padchest.hm-0.5.csv", "padchest", 0.5),
        ("vindr.parquet", "vindr_cxr", 0.0),
        ("exp_cardiomegaly-pad_chest-convnext/nih_cxr18/test_peds/best/predictions.csv", "padchest", 0.0),
        ("age-bias-vindr-cxr/predictions.csv", "vindr_cxr", 0.0),
        ("nih_cxr18/nih_cxr18/test_peds/best/predictions.csv", "nih_cxr14", 0.0),
        ("pediatric_vindr_pcxr/exp_cardiomegaly-nih-convnext/preds.csv", "nih_cxr14", 0.0),
    ],
)
def test_the_path_names_model_and_blend(tmp_path: Path, path: str, trained_on: str, blend: float) -> None:
    ours(tmp_path, path)
    (found,), _ = find_files(tmp_path)
    assert (found.told, found.trained_on, found.blend) == (path, trained_on, blend)


def test_a_model_of_unknown_source_is_not_named_after_what_it_was_tested_on(tmp_path: Path) -> None:
    """One model on all five datasets must not be taken for four models, each tested on its own."""
    for dataset in ("vindr_cxr", "nih_cxr14", "padchest", "chexpert"):
        made = write(tmp_path / "a", dataset, healthy_rows(dataset, "test_healthy_adult", {"50": (2, 1)}))
        place = tmp_path / "inf" / "exp_cardiomegaly-mimic-convnext" / made.relative_to(tmp_path / "a" / made.parts[-5])
        place.parent.mkdir(parents=True)
        made.rename(place)
    told = "exp_cardiomegaly-mimic-convnext/chexbert/test_healthy_adult/best/predictions.csv"
    assert refused(tmp_path / "inf", "CXR-120", "which dataset its model was trained on").where == told
    # The model's own folder, and folders without `best`, which the files alone can tell.
    refused(tmp_path / "inf" / "exp_cardiomegaly-mimic-convnext", "CXR-120", "which dataset its model was trained on")
    for path in list((tmp_path / "inf").rglob("predictions.csv")):
        path.rename(path.parent.parent / "predictions.csv")
    where = refused(tmp_path / "inf", "CXR-120", "which dataset its model was trained on").where
    assert where == "exp_cardiomegaly-mimic-convnext/chexbert"


def test_one_file_may_hold_all(predicted: Path, tmp_path: Path) -> None:
    whole = pl.concat([pl.read_csv(path, infer_schema=False) for path in predicted.rglob("*.csv")])
    whole.write_csv(tmp_path / "age-bias-vindr.csv")
    assert read_cases(tmp_path / "age-bias-vindr.csv").frame.equals(read_cases(predicted).frame)


def test_files_of_no_model_are_said(predicted: Path) -> None:
    ours(predicted, "exp_cardiomegaly-mimic/nih_cxr18/test_peds/best/predictions.csv")
    ours(predicted, "metrics.csv")
    note = "2 files whose path names no model, left out, such as exp_cardiomegaly-mimic/nih_cxr18/test_peds/best/predictions.csv"
    assert note in read_cases(predicted).notes


def test_what_came_out_of_an_analysis_is_no_prediction(predicted: Path) -> None:
    """`--predictions . --out case-study` a second time: figures/children_nih_cxr14.csv names a dataset too."""
    before = digests(predicted)
    (predicted / "case-study" / "figures").mkdir(parents=True)
    for name in ("fpr_by_age.csv", "figures/children_nih_cxr14.csv"):
        (predicted / "case-study" / name).write_text("a,b\n1,2\n")
    assert digests(predicted) == before and find_files(predicted)[1] == []


def test_whoever_is_healthy_has_no_finding_though_it_is_left_blank(tmp_path: Path) -> None:
    """As CheXpert's labeler writes it: No Finding 1, Cardiomegaly blank."""
    write_model(tmp_path, "chexpert")
    rows = [one | ({} if one["Cardiomegaly"] else {"Cardiomegaly": None}) for one in calibration_rows("chexpert")]
    write(tmp_path, "chexpert", rows)
    assert analyse(read_cases(tmp_path), QUICK).thresholds["n"].to_list() == [60, 60]
    facts = {
        "split": ["calibration"],
        "cardiomegaly": pl.Series([None], dtype=pl.Int64),
        "healthy": [1],
        "age_years": [50],
    }
    ours(tmp_path / "ours", "vindr.csv", **facts)
    assert read_cases(tmp_path / "ours").frame["positive"].to_list() == [False]


def test_what_is_said_to_be_healthy_and_ill_is_neither_and_counted(predicted: Path) -> None:
    both = [row("vindr_cxr", "test_healthy_adult", f"both-{at}", "50", 0.9) | {"Cardiomegaly": 1} for at in range(3)]
    write(predicted, "vindr_cxr", [*healthy_rows("vindr_cxr", "test_healthy_adult", {"50": (20, 2)}), *both])
    cases = read_cases(predicted)
    assert "3 images said to be healthy and to have cardiomegaly, left out" in cases.notes
    found = analyse(cases, QUICK).details.filter(subset="healthy_adults", rules="careful", age_low=40.0)
    assert found.select("n", "n_positive").rows() == [(20, 2)]


def test_their_rows_are_read_as_they_mean_them(tmp_path: Path) -> None:
    rows = [
        row("vindr_pcxr", "test", "infant", "004M", 0.7),
        row("vindr_pcxr", "test", "newborn", "009D", 0.2),
        row("vindr_pcxr", "test", "ill", "002Y", 0.6, positive=None, **{"Has Finding": 1}),
        row("vindr_pcxr", "test", "ageless", "", 0.6),
    ]
    write(tmp_path, "padchest", rows)
    frame = read_cases(tmp_path).frame.sort("image_id")
    assert frame["dataset"].to_list() == ["vindr_pcxr"] * 4
    assert frame["part"].to_list() == ["test_pediatric"] * 4
    by_name = {one["image_id"]: one for one in frame.iter_rows(named=True)}
    assert by_name["test-infant"]["age_low_years"] == pytest.approx(4 / 12)
    assert by_name["test-newborn"]["age_high_years"] == pytest.approx(10 / 365.25)
    assert (by_name["test-ill"]["healthy"], by_name["test-ill"]["positive"]) == (False, None)
    assert by_name["test-ageless"]["age_years"] is None
    assert by_name["test-infant"]["probability"] == 0.7  # of the finding, the second of class_probs
    assert by_name["test-infant"]["unit"] == "vindr_pcxr:p-test-infant"


def test_a_blank_never_becomes_positive(tmp_path: Path) -> None:
    """Their cast made positives of blanks."""
    rows = [
        one | {"Cardiomegaly": None, "No Finding": None, "Has Finding": None}
        for one in calibration_rows("nih_cxr14")[:3]
    ]
    rows += [one | {"Cardiomegaly": -1} for one in calibration_rows("nih_cxr14")[3:5]]
    rows += calibration_rows("nih_cxr14")[5:]
    write(tmp_path, "nih_cxr14", rows)
    frame = read_cases(tmp_path).frame
    assert frame["positive"].null_count() == 5
    assert int(frame["positive"].sum()) == 15


def test_ours_tell_themselves(tmp_path: Path) -> None:
    facts = {"split": ["calibration"], "cardiomegaly": [1], "healthy": [0], "age_years": [50]}
    ours(tmp_path, "vindr.csv", **facts)
    one = read_cases(tmp_path).frame.row(0, named=True)
    assert (one["part"], one["positive"], one["age_low_years"], one["age_high_years"]) == (
        "calibration",
        True,
        50.0,
        51.0,
    )


def test_files_are_told_apart_by_their_content(predicted: Path) -> None:
    before = digests(predicted)
    assert len(before) == 3
    changed = predicted / next(iter(before))
    changed.write_bytes(changed.read_bytes().replace(b"0.7", b"0.6", 1))
    after = digests(predicted)
    assert before.keys() == after.keys()
    assert sum(before[name] != after[name] for name in before) == 1


# What is refused.


def test_no_folder_and_no_model(tmp_path: Path) -> None:
    assert "--predictions" in str(refused(tmp_path / "nowhere", "CXR-101", "no such folder or file").fix)
    (tmp_path / "preds.csv").write_text("a,b\n1,2\n")
    assert "the folder that holds the model's" in str(
        refused(tmp_path / "preds.csv", "CXR-120", "says by its path").fix
    )
    assert "vindr_cxr" in str(refused(tmp_path, "CXR-120", "no file of predictions here says by its path").fix)


def test_a_wrong_layout(tmp_path: Path) -> None:
    ours(tmp_path, "vindr.csv").write_text("image,score\na,0.5\n")
    assert refused(tmp_path, "CXR-107", "the column 'dataset' is missing").where == "vindr.csv"


def test_their_layout_without_a_column(predicted: Path) -> None:
    path = predicted / next(iter(digests(predicted)))
    pl.read_csv(path).drop("class_probs").write_csv(path)
    refused(predicted, "CXR-107", "the column 'class_probs' is missing")


def test_no_facts_and_no_catalog(tmp_path: Path) -> None:
    ours(tmp_path, "vindr.parquet")
    assert "-c CATALOG" in str(refused(tmp_path, "CXR-502", "neither split nor truth").fix)


def test_an_unknown_dataset_and_part(tmp_path: Path) -> None:
    facts = {"split": ["calibration"], "cardiomegaly": [1], "healthy": [0], "age_years": [50]}
    ours(tmp_path / "a", "vindr.csv", dataset=["mimic"], **facts)
    refused(tmp_path / "a", "CXR-501", "no dataset of the study is called 'mimic'")
    ours(tmp_path / "b", "vindr.csv", **facts | {"split": ["test"]})
    refused(tmp_path / "b", "CXR-116", "the word 'test' names no part")


def test_scores_that_are_none(tmp_path: Path) -> None:
    facts = {"split": ["calibration"], "cardiomegaly": [1], "healthy": [0], "age_years": [50]}
    ours(tmp_path / "a", "vindr.csv", prob_cardiomegaly=[1.5], **facts)
    refused(tmp_path / "a", "CXR-122", "1.5 is called a probability")
    rows = calibration_rows("vindr_cxr")
    write(tmp_path / "b", "vindr_cxr", [rows[0] | {"class_probs": "broken"}, *rows[1:]])
    told = "exp_cardiomegaly-vindr_cxr-mixup-imb_sampler/vindr_cxr/test_adult_calib/best/predictions.csv:2"
    assert str(refused(tmp_path / "b", "CXR-121", "no JSON list").where).startswith(told)


def test_an_image_predicted_twice(predicted: Path) -> None:
    write(predicted / "again", "vindr_cxr", healthy_rows("vindr_cxr", "test_healthy_adult", {"50": (1, 0)}))
    refused(predicted, "CXR-123", "is predicted twice by the model trained on vindr_cxr")


def test_a_model_without_calibration(tmp_path: Path) -> None:
    write_model(tmp_path, "vindr_cxr")
    for path in tmp_path.rglob("test_adult_calib/best/predictions.csv"):
        path.unlink()
    refused(tmp_path, "CXR-124", "the calibration part of vindr_cxr is not predicted")


@pytest.mark.parametrize(("kept", "lacking"), [(slice(0, 20), "negative"), (slice(20, None), "positive")])
def test_a_calibration_part_of_one_class(tmp_path: Path, kept: slice, lacking: str) -> None:
    write_model(tmp_path, "vindr_cxr")
    write(tmp_path, "vindr_cxr", calibration_rows("vindr_cxr")[kept])
    refused(tmp_path, "CXR-124", f"the calibration part of vindr_cxr holds no {lacking} image")


def test_ages_all_unknown(predicted: Path) -> None:
    for path in predicted.rglob("predictions.csv"):
        pl.read_csv(path).with_columns(age=pl.lit(None, pl.String)).write_csv(path)
    refused(predicted, "CXR-125", "tells the age")


def test_a_missing_dataset_and_model_are_said(predicted: Path) -> None:
    notes = analyse(read_cases(predicted), QUICK).notes
    assert "no predictions of a model trained on NIH, PadChest, CheXpert" in notes
    assert "the model trained on VinDr-CXR is not tested on NIH, PadChest, CheXpert" in notes


def test_a_blend_without_calibration_is_left_out(predicted: Path) -> None:
    write(predicted, "vindr_cxr", healthy_rows("vindr_pcxr", "test", {"000D": (4, 1)}), blend="hm-0.25")
    found = analyse(read_cases(predicted), QUICK)
    assert found.details["blend"].unique().to_list() == [0.0]
    assert any("blend 0.25: no threshold" in note for note in found.notes)


def test_training_images_are_passed_over(predicted: Path) -> None:
    more = [one | {"split": "train"} for one in calibration_rows("vindr_cxr")]
    write(predicted, "vindr_cxr", [one | {"image_id": f"t{at}"} for at, one in enumerate(more)])
    cases = read_cases(predicted)
    assert "train" not in cases.frame["part"].to_list()
    assert "60 predictions of images in no part that is judged, passed over" in cases.notes
