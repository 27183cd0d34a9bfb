"""Defects of published pipelines, each on a small case: what their rule makes of it, and what our tables say.

The rules are those of torchxrayvision (XRV), CXR_Fairness, the shortcut-learning benchmark, RadHarmony and
ped_vs_adults-cxr (PvA), as read in their code; each test names whose it is. Numbers in the docstrings were counted on
the official files.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pytest

from cxrdata.splits.leaks import find_leaks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cxrdata.vocabularies import Vocabularies

CHEXPERT_LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
CHEXPERT = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS)
NIH = (
    "Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position",
    "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]",
)  # fmt: skip
PADCHEST = (
    "", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM",
    "ViewPosition_DICOM", "Projection", "MethodProjection", "Pediatric", "Modality_DICOM", "Manufacturer_DICOM",
    "PhotometricInterpretation_DICOM", "PixelRepresentation_DICOM", "PixelAspectRatio_DICOM", "SpatialResolution_DICOM",
    "BitsStored_DICOM", "WindowCenter_DICOM", "WindowWidth_DICOM", "Rows_DICOM", "Columns_DICOM", "XRayTubeCurrent_DICOM",
    "Exposure_DICOM", "ExposureInuAs_DICOM", "ExposureTime", "RelativeXRayExposure_DICOM", "ReportID", "Report",
    "MethodLabel", "Labels", "Localizations", "LabelsLocalizationsBySentence", "labelCUIS", "LocalizationsCUIS",
)  # fmt: skip
MIMIC = (
    "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns", "StudyDate",
    "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)  # fmt: skip
FILES = {
    "chexpert": ("train.csv", CHEXPERT),
    "nih_cxr14": ("Data_Entry_2017_v2020.csv", NIH),
    "padchest": ("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", PADCHEST),
    "mimic_cxr": ("mimic-cxr-2.0.0-metadata.csv", MIMIC),
}
USUAL: dict[str, dict[str, object]] = {
    "chexpert": {"Sex": "Male", "Age": 60, "Frontal/Lateral": "Frontal", "AP/PA": "AP"},
    "nih_cxr14": {
        "Finding Labels": "No Finding", "Follow-up #": 0, "Patient Age": 58, "Patient Gender": "M", "View Position": "PA",
        "OriginalImage[Width": 2500, "Height]": 2048, "OriginalImagePixelSpacing[x": 0.168, "y]": 0.168,
    },
    "padchest": {
        "ImageDir": 0, "StudyDate_DICOM": 20140702, "PatientBirth": "1950.0", "PatientSex_DICOM": "F", "Projection": "PA",
        "Pediatric": "No", "Rows_DICOM": 2000, "Columns_DICOM": 2000, "MethodLabel": "Physician", "Labels": "['normal']",
    },
    "mimic_cxr": {"ViewPosition": "AP", "Rows": 3056, "Columns": 2544, "StudyTime": 80556.875},
}  # fmt: skip
Row = Mapping[str, object]


def write(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def made(tmp_path: Path, harmonised: Callable) -> Callable[..., tuple[pd.DataFrame, Any]]:
    """`made(dataset, row, …)`: the file of these rows as pandas reads it, and our tables of it."""

    def run(dataset: str, *rows: Row) -> tuple[pd.DataFrame, Any]:
        name, columns = FILES[dataset]
        write(tmp_path / name, columns, [USUAL[dataset] | row for row in rows])
        return pd.read_csv(tmp_path / name), harmonised(dataset, tmp_path)

    return run


def chexpert(patient: int, study: int, view: str = "view1_frontal", **labels: object) -> dict[str, object]:
    path = f"CheXpert-v1.0-small/train/patient{patient:05d}/study{study}/{view}.jpg"
    return {"Path": path, **{name.replace("_", " "): value for name, value in labels.items()}}


def mimic(number: int, study_date: int, subject: int = 10000032) -> dict[str, object]:
    key = f"{number:08x}-0000000a-0000000b-0000000c-0000000d"
    return {"dicom_id": key, "subject_id": subject, "study_id": 50000000 + number, "StudyDate": study_date}


def padchest(image: str, study: int, patient: int, **other: object) -> dict[str, object]:
    return {"": 0, "ImageID": f"{image}.png", "StudyID": study, "PatientID": patient, **other}


def by_image(dataset: Any, *columns: str, table: str = "images") -> dict[str, Any]:
    rows = dataset[table].select("image_id", *columns).rows()
    return {key: values[0] if len(columns) == 1 else tuple(values) for key, *values in rows}


def test_1_first_per_column_is_no_row(made: Callable) -> None:
    """XRV, unique_patients: groupby().first() takes the first value that is not null of each column, so 28,092 of 64,540
    CheXpert patients get labels of no single image, and No Finding beside a pathology.
    """
    frame, ours = made(
        "chexpert",
        chexpert(1, 1, No_Finding=1.0),
        chexpert(1, 2, Edema=1.0, Pleural_Effusion=1.0),
    )
    patients = frame.Path.str.extract(r"(patient\d+)")[0]
    theirs = frame.groupby(patients)[["No Finding", "Edema"]].first()
    assert theirs.to_numpy().tolist() == [[1.0, 1.0]]
    findings = ("no_finding", "edema", "pleural_effusion")
    assert by_image(ours, *findings, table="image_labels") == {
        "train/patient00001/study1/view1_frontal.jpg": (1, None, None),
        "train/patient00001/study2/view1_frontal.jpg": (None, 1, 1),
    }


def test_2_a_split_of_rows_shares_patients(made: Callable) -> None:
    """Shortcut benchmark and CXR_Fairness split rows: 84.0 % of CheXpert's and 81.6 % of NIH's test images then share a
    patient with training. Every image of ours has its patient, and the check finds them.
    """
    rows = [
        {"Image Index": f"{patient:08d}_{at:03d}.png", "Patient ID": patient, "Follow-up #": at}
        for patient in range(1, 21)
        for at in range(4)
    ]
    frame, ours = made("nih_cxr14", *rows)
    test = frame.sample(frac=0.3, random_state=0)
    train = frame.drop(test.index)
    assert test["Patient ID"].isin(train["Patient ID"]).mean() > 0.8
    images = ours["images"].select("dataset", "image_id", "patient_id")
    side = (
        pl.when(pl.col("image_id").is_in(test["Image Index"].tolist())).then(pl.lit("test")).otherwise(pl.lit("train"))
    )
    leaks = find_leaks(images.with_columns(split=side)).patients
    shared = set(test["Patient ID"]) & set(train["Patient ID"])
    assert set(leaks["patient_id"]) == {str(patient) for patient in shared}
    whole = pl.when(pl.col("patient_id").cast(pl.Int64) % 3 == 0).then(pl.lit("test")).otherwise(pl.lit("train"))
    assert find_leaks(images.with_columns(split=whole)).patients.is_empty()


def test_3_dropping_every_null_drops_every_lateral(made: Callable) -> None:
    """RadHarmony, dropna over all columns: AP/PA is null in all laterals, so 0 of 32,387 are left."""
    labels = {name.replace(" ", "_"): 0.0 for name in CHEXPERT_LABELS}
    frame, ours = made(
        "chexpert",
        chexpert(1, 1, **labels),
        chexpert(1, 1, "view2_lateral", **labels) | {"Frontal/Lateral": "Lateral", "AP/PA": ""},
        chexpert(2, 1, No_Finding=1.0),
    )
    assert frame.dropna()["Frontal/Lateral"].tolist() == ["Frontal"]
    assert by_image(ours, "view", "frontal") == {
        "train/patient00001/study1/view1_frontal.jpg": ("AP", True),
        "train/patient00001/study1/view2_lateral.jpg": ("LATERAL", False),
        "train/patient00002/study1/view1_frontal.jpg": ("AP", True),
    }
    assert ours["image_labels"]["edema"].to_list() == [0, 0, None]
    assert ours.account.ledger().select("rows_read", "rows_kept").row(0) == (3, 3)


def test_4_the_anchor_age_is_not_the_age_at_the_image(tmp_path: Path, harmonised: Callable) -> None:
    """CXR_Fairness and the shortcut benchmark take MIMIC-IV's anchor_age; it holds in anchor_year alone."""
    images = [USUAL["mimic_cxr"] | mimic(1, 21800506), USUAL["mimic_cxr"] | mimic(2, 21890101)]
    write(tmp_path / FILES["mimic_cxr"][0], MIMIC, images)
    patient = {"subject_id": 10000032, "gender": "F", "anchor_age": 52, "anchor_year": 2180}
    write(
        tmp_path / "patients.csv",
        ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"),
        [patient],
    )
    theirs = pd.DataFrame(images).merge(pd.read_csv(tmp_path / "patients.csv"), on="subject_id")["anchor_age"]
    assert theirs.tolist() == [52, 52]
    ours = harmonised("mimic_cxr", tmp_path)["images"].sort("study_date")
    assert ours["age_years"].to_list() == [52, 61]
    assert ours["age_precision"].to_list() == ["anchor_year"] * 2


def test_5_padchest_ages_are_of_the_study_and_keep_the_children(made: Callable) -> None:
    """XRV, PadChest: age is 2017 less the year of birth, and births after 2008 and missing ones are dropped."""
    births = {"adult": "1950.0", "teen": "1999.0", "child": "2010.0", "unknown": ""}
    frame, ours = made(
        "padchest", *(padchest(name, at, at, PatientBirth=birth) for at, (name, birth) in enumerate(births.items()))
    )
    kept = frame[2019 - frame.PatientBirth > 10]
    assert dict(zip(kept.ImageID, 2017 - kept.PatientBirth, strict=True)) == {"adult.png": 67, "teen.png": 18}
    assert by_image(ours, "age_years", "age_group", "age_flag") == {
        "adult.png": (64, "adult", "ok"),
        "teen.png": (15, "pediatric", "ok"),
        "child.png": (4, "pediatric", "ok"),
        "unknown.png": (None, None, "missing"),
    }


def test_6_days_between_dates_are_days(made: Callable) -> None:
    """XRV, MIMIC: offset_day_int is the number yyyymmdd itself, so one night at a month's end is 70 days."""
    frame, ours = made("mimic_cxr", mimic(1, 21800131), mimic(2, 21800201))
    assert frame.StudyDate.diff().tolist()[1] == 70
    dates = ours["images"].sort("study_order")["study_date"]
    assert (dates[1] - dates[0]).days == 1


def test_6_age_zero_of_chexpert_is_no_age(made: Callable) -> None:
    """XRV, CheXpert: 0 is made None after the age was already copied, so the placeholder stays an age."""
    frame, ours = made("chexpert", chexpert(1, 1) | {"Age": 0}, chexpert(2, 1) | {"Age": 18})
    frame["age_years"] = frame["Age"] * 1.0
    frame["Age"] = frame["Age"].replace(0, None)
    assert frame["age_years"].tolist() == [0.0, 18.0]
    assert by_image(ours, "age_years", "age_flag", "age_group") == {
        "train/patient00001/study1/view1_frontal.jpg": (None, "placeholder", None),
        "train/patient00002/study1/view1_frontal.jpg": (18, "ok", "adult"),
    }


def test_7_age_zero_of_nih_has_a_group(made: Callable, vocabularies: Vocabularies) -> None:
    """CXR_Fairness: pd.cut leaves the lowest edge out, so infants (age 0) have no group."""
    frame, ours = made(
        "nih_cxr14",
        {"Image Index": "00000001_000.png", "Patient ID": 1, "Patient Age": 0},
        {"Image Index": "00000002_000.png", "Patient ID": 2, "Patient Age": 40},
    )
    assert pd.cut(frame["Patient Age"], [0, 40, 60, 80, 120]).isna().tolist() == [True, False]
    assert by_image(ours, "age_group") == {"00000001_000.png": "pediatric", "00000002_000.png": "adult"}
    for _, groups in vocabularies.age_groups.group_by("scheme"):
        age = pl.col("age_years")
        held = ours["images"].join_where(groups, age >= pl.col("low_years"), age < pl.col("high_years").fill_null(999))
        assert held.sort("image_id")["image_id"].to_list() == ["00000001_000.png", "00000002_000.png"]


def test_7_a_patient_is_not_a_study(made: Callable) -> None:
    """PvA, PadChest: StudyID is taken for the patient, so a patient's studies may go to both sides of a split."""
    frame, ours = made("padchest", padchest("a", 11, 7), padchest("b", 12, 7), padchest("c", 13, 8))
    assert frame.StudyID.nunique() == 3
    assert by_image(ours, "patient_id", "study_id") == {
        "a.png": ("7", "11"),
        "b.png": ("7", "12"),
        "c.png": ("8", "13"),
    }
    assert ours["patients"].select("patient_id", "n_studies").rows() == [("7", 2), ("8", 1)]


ACCIDENTS = [
    ("Emphysema", "subcutaneous emphysema", "emphysema"),
    ("Effusion", "pericardial effusion", "pleural_effusion"),
    ("Mass", "breast mass", "mass"),
    ("Mass", "mediastinal mass", "mass"),
    ("Mass", "pleural mass", "mass"),
    ("Mass", "soft tissue mass", "mass"),
    ("Nodule", "pseudonodule", "nodule"),
    ("Tuberculosis", "tuberculosis sequelae", "tuberculosis"),
    ("Fracture", "humeral fracture", "fracture"),
    ("Fracture", "vertebral fracture", "fracture"),
    ("Fracture", "callus rib fracture", "fracture"),
    ("Normal", "abnormal foreign body", "no_finding"),
]
MEANT = {
    "emphysema": "emphysema", "pleural effusion": "pleural_effusion", "pulmonary mass": "mass", "nodule": "nodule",
    "tuberculosis": "tuberculosis", "fracture": "fracture", "normal": "no_finding",
}  # fmt: skip


def test_7_labels_are_matched_whole(made: Callable) -> None:
    """XRV and the eight-task family, PadChest: labels are found as parts of words, so a pericardial effusion is a pleural
    one and an abnormal foreign body a normal film. In image_labels only the label itself counts; what is an instance of
    a finding (a humeral fracture is a fracture) goes up in image_labels_rolled alone.
    """
    labels = [label for _, label, _ in ACCIDENTS] + list(MEANT)
    frame, ours = made(
        "padchest", *(padchest(str(at), at, at, Labels=f"['{label}']") for at, label in enumerate(labels))
    )
    published, rolled = (
        {row["image_id"]: row for row in ours[table].iter_rows(named=True)}
        for table in ("image_labels", "image_labels_rolled")
    )
    for at, (target, label, finding) in enumerate(ACCIDENTS):
        assert re.search(target.lower(), frame.Labels[at]), label
        assert published[f"{at}.png"][finding] == 0, label
        is_instance = label in {"humeral fracture", "vertebral fracture"}
        assert rolled[f"{at}.png"][finding] == is_instance, label
    for at, finding in enumerate(MEANT.values(), len(ACCIDENTS)):
        assert published[f"{at}.png"][finding] == 1, finding


def test_7_rows_without_a_partner_are_counted(tmp_path: Path, harmonised: Callable) -> None:
    """Inner joins of all of them drop rows without a word; ours keeps the image and counts both sides' misses."""
    images = [USUAL["mimic_cxr"] | mimic(1, 21800506), USUAL["mimic_cxr"] | mimic(2, 21800506, subject=10000099)]
    write(tmp_path / FILES["mimic_cxr"][0], MIMIC, images)
    said = [
        {"subject_id": subject, "hadm_id": 20000000 + subject, "admittime": "2180-05-06 22:23:00", "race": "ASIAN"}
        for subject in (10000032, 10000050)
    ]
    write(tmp_path / "admissions.csv", ("subject_id", "hadm_id", "admittime", "race"), said)
    theirs = pd.DataFrame(images).merge(pd.read_csv(tmp_path / "admissions.csv"), on="subject_id")
    assert len(theirs) == 1
    ours = harmonised("mimic_cxr", tmp_path)
    assert ours["images"].sort("image_id")["race"].to_list() == ["Asian", None]
    patients = dict(ours["patients"].select("patient_id", "race_missing_reason").iter_rows())
    assert patients == {"10000032": None, "10000099": "no_record"}
    ledger = {row["source_file"]: row for row in ours.account.ledger().iter_rows(named=True)}
    admissions = ledger["admissions.csv"]
    assert (admissions["rows_read"], admissions["rows_merged"], admissions["rows_unmatched"]) == (2, 1, 1)
    coverage = ours.account.notes().filter((pl.col("topic") == "coverage") & (pl.col("item") == "race"))
    assert coverage["n"].sum() >= 1
