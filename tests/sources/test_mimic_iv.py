"""MIMIC-IV: age, sex and race of the patients of MIMIC-CXR."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from mimic_files import RELEASES, admission, dicom, image, ledger, notes, refused, rows_of, write_dataset

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def made(tmp_path: Path, harmonised: Callable) -> Callable:
    """`made(images, chexpert=…, …)`: the dataset made of a few rows of each file."""
    return lambda *args, **files: harmonised("mimic_cxr", write_dataset(tmp_path, *args, **files))


@pytest.mark.parametrize("release", RELEASES, ids="+".join)
def test_ages_of_synthetic_studies(release: tuple[str, ...], synthetic: Callable, harmonised: Callable) -> None:
    """formats.md 1.3: age = anchor_age + year(StudyDate) - anchor_year, 91 standing for all over 89.
    Defect 4 of the peers: anchor_age is not the age at the study.
    """
    folder = synthetic("mimic_cxr", *release)
    patients = {row["subject_id"]: row for row in rows_of(folder, "patients")}
    expected = {}
    for row in rows_of(folder, "metadata"):
        patient = patients.get(row["subject_id"])
        expected[row["dicom_id"]] = (
            (None, "missing", None)
            if patient is None
            else (
                float(patient["anchor_age"]) + int(row["StudyDate"][:4]) - int(patient["anchor_year"]),
                "top_coded" if patient["anchor_age"] == "91" else "ok",
                patient["gender"],
            )
        )
    got = harmonised("mimic_cxr", folder)["images"].select("image_id", "age_years", "age_flag", "sex").rows()
    assert {row[0]: row[1:] for row in got} == expected
    assert {flag for _, flag, _ in expected.values()} == {"ok", "top_coded", "missing"}


def test_age_and_its_range(made: Callable) -> None:
    """formats.md 1.3. Aged 52 at some time of 2180, so 54 to 56 and the part of the year gone by in 2183."""
    patients = [
        {"subject_id": 10000032, "gender": "F", "anchor_age": 52, "anchor_year": 2180},
        {"subject_id": 10000033, "gender": "M", "anchor_age": 91, "anchor_year": 2180},
        {"subject_id": 10000034, "gender": "M", "anchor_age": "old", "anchor_year": 2180},
        {"subject_id": 10000099, "gender": "M", "anchor_age": 30, "anchor_year": 2180},
    ]
    rows = [image(n, subject=10000031 + n, study=50000000 + n, StudyDate=21830101) for n in range(1, 5)]
    dataset = made(rows, patients=patients)
    columns = (
        "age_raw",
        "age_years",
        "age_low_years",
        "age_high_years",
        "age_flag",
        "age_precision",
        "age_group",
        "sex",
    )
    found = dataset["images"].sort("image_id").select(columns).rows()
    assert found == [
        ("52 in 2180", 55.0, 54.0, 56.0, "ok", "anchor_year", "adult", "F"),
        ("91 in 2180", 94.0, 92.0, None, "top_coded", "anchor_year", "adult", "M"),
        (None, None, None, None, "missing", None, None, "M"),
        (None, None, None, None, "missing", None, None, None),
    ]
    assert refused(dataset) == [("value", "CXR-301", "old", 4)]
    assert ledger(dataset, "patients")["rows_unmatched"] == 1
    assert notes(dataset, "coverage", "age and sex") == 1


def test_without_mimic_iv(made: Callable) -> None:
    """CONTRACT §5: what a missing file would give is null."""
    dataset = made([image(1)])
    found = dataset["images"].row(0, named=True)
    assert (found["age_flag"], found["sex"], found["race"], found["source_split"]) == ("missing", None, None, None)
    assert dataset["patients"]["race_missing_reason"].to_list() == ["not_recorded"]
    assert dataset["image_labels"].select("image_id", "labeler").rows() == [(dicom(1), None)]


@pytest.mark.parametrize(
    ("column", "value"), [("race", "HISPANIC/LATINO - DOMINICAN"), ("ethnicity", "HISPANIC/LATINO")]
)
def test_race_goes_by_the_column_not_the_release(made: Callable, column: str, value: str) -> None:
    """formats.md 1.3, mimic-code #1919: `ethnicity` became `race`; either is one question for both (CONTRACT §6)."""
    rows = [
        image(1, subject=10000032, study=50000001),
        image(2, subject=10000033, study=50000002),
        image(3, subject=10000034, study=50000003),
    ]
    admissions = [
        admission(1, value, column=column),
        admission(2, "WHITE", subject=10000033, column=column),
        admission(3, "ASIAN", subject=10000099, column=column),
    ]
    dataset = made(rows, race_column=column, admissions=admissions)
    found = (
        dataset["patients"]
        .sort("patient_id")
        .select("race", "ethnicity", "race_ethnicity", "race_missing_reason")
        .rows()
    )
    assert found == [
        (None, "Hispanic", "Hispanic", "not_recorded"),
        ("White", None, "White", None),
        (None, None, None, "no_record"),
    ]
    assert dataset.raw.race is not None
    assert dataset.raw.race["field"].unique().to_list() == [column]
    assert ledger(dataset, "admissions")["rows_unmatched"] == 1
    assert notes(dataset, "coverage", "race") == 1


def test_race_over_admissions(made: Callable) -> None:
    """formats.md 1.3: answers vary over admissions. Ordered by admittime, then hadm_id, whatever the order of the file;
    unknown answers do not vote, ties stay open (CONTRACT §6).
    """
    rows = [image(n, subject=10000031 + n, study=50000000 + n) for n in (1, 2, 3)]
    admissions = [
        admission(5, "WHITE", at="2182-01-01 00:00:00"),
        admission(9, "OTHER", at="2180-05-06 22:23:00"),
        admission(4, "UNKNOWN", at="2180-05-06 22:23:00"),
        admission(7, "WHITE - RUSSIAN", at="2181-11-30 07:00:00"),
        admission(11, "WHITE", subject=10000033),
        admission(12, "BLACK/AFRICAN AMERICAN", subject=10000033),
        admission(13, "PATIENT DECLINED TO ANSWER", subject=10000034),
        admission(14, "", subject=10000034),
    ]
    dataset = made(rows, admissions=admissions)
    assert dataset.raw.race is not None
    told = dataset.raw.race.filter(pl.col("patient_id") == "10000032").sort("record_order")
    assert told["raw_value"].to_list() == ["UNKNOWN", "OTHER", "WHITE - RUSSIAN", "WHITE"]
    found = (
        dataset["patients"].sort("patient_id").select("race", "race_conflict", "race_missing_reason", "race_raw").rows()
    )
    assert found == [
        ("White", True, None, ["OTHER", "UNKNOWN", "WHITE", "WHITE - RUSSIAN"]),
        (None, True, "conflict", ["BLACK/AFRICAN AMERICAN", "WHITE"]),
        (None, False, "declined", ["PATIENT DECLINED TO ANSWER"]),
    ]


def test_admissions_that_cannot_be_used(made: Callable) -> None:
    """errors.py: a repeated admission is refused, an unknown answer reported and never made `Other` (CONTRACT §6)."""
    dataset = made(
        [image(1)], admissions=[admission(1, "MARTIAN"), admission(1, "WHITE"), admission(2, "WHITE", subject=1)]
    )
    assert dataset["patients"]["race"].to_list() == [None]
    assert sorted(refused(dataset)) == [
        ("row", "CXR-207", "1", 4),
        ("row", "CXR-208", "20000001", 3),
        ("value", "CXR-303", "MARTIAN", 2),
    ]
