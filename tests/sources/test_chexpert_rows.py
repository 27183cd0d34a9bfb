"""CheXpert: hand-made rows, their paths, labels, views and ages, and the labels of the test set."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from chexpert_files import (
    IMAGE,
    LABELS,
    ledger,
    notes,
    rejected,
    row,
    study,
    train,
    write_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., Any]

# ---------------------------------------------------------------- rows


def test_bad_paths_and_repeats_are_refused(tmp_path: Path, harmonised: Run) -> None:
    """CXR-206, CXR-207, CXR-208: no path, another kind of path, a path again."""
    folder = train(
        tmp_path,
        {},
        {"at": "images/00000001_000.png"},
        {},
        {"at": study(2)},
        {"at": "train/patient1/study1/view1_frontal.jpg"},
    ).parent
    write_rows(
        folder / "valid.csv",
        [{"Path": "CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg", "Edema": "1.0"}, {"Path": ""}],
    )
    result = harmonised("chexpert", folder)
    refused = [("CXR-207", "row", 3), ("CXR-207", "row", 6), ("CXR-208", "row", 4), ("CXR-206", "row", 3)]
    assert Counter(r[:3] for r in rejected(result)) == Counter(refused)
    assert ledger(result) == {"train.csv": (5, 2, 0, 0, 3), "valid.csv": (2, 1, 0, 0, 1)}
    assert row(result)["study_id"] == "patient00001/study1"
    assert row(result)["source_row"] == 0
    assert row(result, study(2))["source_row"] == 3


def test_paths_of_the_batches(tmp_path: Path, harmonised: Run) -> None:
    """formats.md 1.1: the AIMI batches' folders, where someone rewrote Path to fit the disk."""
    paths = [
        "CheXpert-v1.0 batch 2 (train 1)/patient00001/study1/view1_frontal.jpg",
        "/data/CheXpert-v1.0 batch 4 (train 3)/patient50001/study2/view2_lateral.jpg",
        "CheXpert-v1.0 batch 1 (validate & csv)/valid/patient64541/study1/view1_frontal.jpg",
    ]
    write_rows(tmp_path / "train.csv", [{"Path": path, "No Finding": "1.0"} for path in paths])
    result = harmonised("chexpert", tmp_path)
    assert set(result["images"]["image_id"]) == {
        IMAGE,
        study(2, "view2_lateral", "patient50001"),
        study(1, patient="patient64541", split="valid"),
    }


def test_labels_outside_the_coding(tmp_path: Path, harmonised: Run) -> None:
    """CXR-305: report labelers know 1, 0, -1; readers and visualCheXbert 1 and 0."""
    train(tmp_path, {"Edema": "2.0", "Fracture": "-1.0"})
    valid = study(1, patient="patient64541", split="valid")
    train(tmp_path, {"at": valid, "Edema": "-1.0", "Fracture": "0.0"}, name="valid.csv")
    result = harmonised("chexpert", tmp_path)
    assert sorted(r[3:] for r in rejected(result)) == [("Edema", "-1.0"), ("Edema", "2.0")]
    assert result["states_chexpert_chexpert"].select("Edema", "Fracture", "Pneumonia").rows() == [(None, -1, -2)]
    assert result["states_chexpert_radiologist"].select("Edema", "Fracture", "Pneumonia").rows() == [(None, 0, None)]


# ---------------------------------------------------------------- views and ages


@pytest.mark.parametrize(
    ("frontal_lateral", "ap_pa", "file", "view", "frontal"),
    [
        ("Frontal", "PA", "view1_frontal", "PA", True),
        ("Frontal", "LL", "view1_frontal", None, True),
        ("Lateral", "", "view2_lateral", "LATERAL", False),
        ("", "", "view2_lateral", "LATERAL", False),
        ("", "", "view1_frontal", None, True),
    ],
)
def test_views(
    frontal_lateral: str, ap_pa: str, file: str, view: str | None, *, frontal: bool, tmp_path: Path, harmonised: Run
) -> None:
    """metadata/views.tsv; formats.md 1.1: LL and RL on frontals contradict; the file name where no column speaks."""
    train(tmp_path, {"at": study(1, file), "Frontal/Lateral": frontal_lateral, "AP/PA": ap_pa})
    result = harmonised("chexpert", tmp_path)
    image = row(result, study(1, file))
    assert (image["view"], image["frontal"]) == (view, frontal)
    assert [r[0] for r in rejected(result)] == (["CXR-306"] if ap_pa == "LL" else [])


def test_frontal_against_the_file_name_is_counted(tmp_path: Path, harmonised: Run) -> None:
    """Two statements of one row: the column is believed, the contradiction counted."""
    train(tmp_path, {"at": study(1, "view2_lateral")})
    result = harmonised("chexpert", tmp_path)
    assert row(result, study(1, "view2_lateral"))["view"] == "AP"
    assert notes(result)["disagreement", "view"] == [1]


@pytest.mark.parametrize(
    ("age", "years", "flag", "group"),
    [
        ("0", None, "placeholder", None),
        ("18", 18.0, "ok", "adult"),
        ("90", 90.0, "top_coded", "adult"),
        ("", None, "missing", None),
    ],
)
def test_ages(age: str, years: float | None, flag: str, group: str | None, tmp_path: Path, harmonised: Run) -> None:
    """formats.md 1.1: completed years, 0 a placeholder, 90 for everyone from 90 on (no upper bound)."""
    train(tmp_path, {"Age": age})
    image = row(harmonised("chexpert", tmp_path))
    assert (image["age_years"], image["age_flag"], image["age_group"]) == (years, flag, group)
    if flag == "top_coded":
        assert (image["age_low_years"], image["age_high_years"]) == (90.0, None)


# ---------------------------------------------------------------- the test set


def test_test_labels_by_image_and_by_study(tmp_path: Path, harmonised: Run) -> None:
    """rajpurkarlab/cheXpert-test-set-labels: groundtruth.csv is by study and lists no image; CheXlocalize lists them."""
    one, two = (study(1, view, "patient64741", "test") for view in ("view1_frontal", "view2_lateral"))
    no = dict.fromkeys(LABELS, "0.0")
    write_rows(
        tmp_path / "test_labels.csv", [{"Path": one, **no}, {"Path": two, **no, "Edema": "1.0"}], ["Path", *LABELS]
    )
    studies = [{"Study": f"CheXpert-v1.0/test/patient{n}/study1", **dict.fromkeys(LABELS, "0")} for n in (64741, 64742)]
    write_rows(tmp_path / "groundtruth.csv", studies, ["Study", *LABELS])
    result = harmonised("chexpert", tmp_path)
    assert ledger(result) == {"groundtruth.csv": (2, 0, 1, 1, 0), "test_labels.csv": (2, 2, 0, 0, 0)}
    assert dict(result["states_chexpert_radiologist"].select("image_id", "Edema").iter_rows()) == {one: 0, two: 1}
    assert notes(result)["disagreement", "radiologist"] == [1]
    assert row(result, two)["view"] == "LATERAL"
    assert row(result, one)["view_source"] == "path"
    assert row(result, one)["age_flag"] == "missing"


def test_single_readers_of_the_test_set(tmp_path: Path, harmonised: Run) -> None:
    """rajpurkarlab/cheXpert-test-set-labels: bc1_gt.csv and others have groundtruth.csv's header in another order."""
    image = study(1, patient="patient64741", split="test")
    no = dict.fromkeys(LABELS, "0")
    write_rows(tmp_path / "test_labels.csv", [{"Path": image, **no}], ["Path", *LABELS])
    for reader, edema in (("bc1_gt", "0"), ("bc4", "1")):
        write_rows(
            tmp_path / f"{reader}.csv",
            [{"Study": "CheXpert-v1.0/test/patient64741/study1", **no, "Edema": edema}],
            ["Study", *reversed(LABELS)],
        )
    readings = harmonised("chexpert", tmp_path)["readings_chexpert"]
    assert readings.select("image_id", "reader_id", "Edema").rows() == [(image, "bc1", 0), (image, "bc4", 1)]
