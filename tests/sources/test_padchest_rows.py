"""PadChest: hand-made rows, one rule each."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import pytest
from padchest_files import (
    COLUMNS,
    OFFICIAL,
    ORDINARY,
    STATES,
    disagreements,
    positives,
    rejects,
)

from cxrdata.sources.account import Account
from cxrdata.sources.base import POSITIVE, RawDataset, ReadContext, Registry
from cxrdata.sources.discover import find

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cxrdata.vocabularies import Vocabularies


@dataclass(frozen=True)
class Reading:
    """A table as read, before harmonisation, which costs half a second for 193 labels."""

    raw: RawDataset
    account: Account

    def states(self, labeler: str = "physician") -> pl.DataFrame:
        return next(states.frame for states in self.raw.labels if states.labeler == labeler)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """`written({...}, {...}, …)`: a folder with a table of hand-made rows."""

    def write(*rows: dict[str, str]) -> Path:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for at, row in enumerate(rows):
            own = {"": str(at), "ImageID": f"{at + 1}_a.png", "StudyID": f"10{at}", "PatientID": f"20{at}"}
            writer.writerow(ORDINARY | own | row)
        (tmp_path / OFFICIAL).write_text(text.getvalue(), encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def read(written: Callable[..., Path], registry: Registry, vocabularies: Vocabularies) -> Callable[..., Reading]:
    """`read({...}, …)`: hand-made rows, read."""

    def run(*rows: dict[str, str]) -> Reading:
        source = registry.get("padchest")
        account = Account(source.name)
        files = find(registry, [(source, written(*rows))]).datasets[0]
        raw = source.module("read").read(files, ReadContext(source, vocabularies, account))
        account.ledger()
        return Reading(raw, account)

    return run


@pytest.fixture
def table(written: Callable[..., Path], harmonised: Callable) -> Callable:
    """`table({...}, …)`: hand-made rows, read and harmonised."""
    return lambda *rows: harmonised("padchest", written(*rows))


def test_precedence_of_the_view_fields(table: Callable) -> None:
    """catalog/padchest.toml, precedence: Projection, and ViewPosition_DICOM where that is empty or EXCLUDE.
    CONTRACT §6: an unknown term is reported and never becomes `OTHER`.
    """
    cases = [
        ("EXCLUDE", "LATERAL", ("LATERAL", "LATERAL", "ViewPosition_DICOM")),
        ("EXCLUDE", "None", (None, "EXCLUDE", "Projection")),
        ("", "POSTEROANTERIOR", ("PA", "POSTEROANTERIOR", "ViewPosition_DICOM")),
        ("None", "", (None, None, None)),
        ("L", "PA", ("LATERAL", "L", "Projection")),
        ("COSTAL", "PA", ("OTHER", "COSTAL", "Projection")),
        ("SWIMMERS", "PA", (None, "SWIMMERS", "Projection")),
    ]
    result = table(*({"Projection": projection, "ViewPosition_DICOM": dicom} for projection, dicom, _ in cases))
    got = result["images"].sort("source_row").select("view", "view_raw", "view_source").rows()
    assert got == [expected for _, _, expected in cases]
    assert rejects(result.account) == [("value", 8, "CXR-303", "view", "SWIMMERS")]
    assert disagreements(result.account) == {"view": [1]}, "L against PA; a rib film may be PA"


def test_age_by_year_of_birth(table: Callable) -> None:
    """Formats 1.5: the birth is a float year, ages are 0 to 105, missing is the word None.
    CONTRACT §5: no age group where the year leaves 18 open.
    """
    cases = [
        ("1953.0", 61.0, "ok", "adult"),
        ("1995.0", 19.0, "ok", "adult"),
        ("1996.0", 18.0, "ok", None),
        ("1997.0", 17.0, "ok", "pediatric"),
        ("2014.0", 0.0, "ok", "pediatric"),
        ("1909.0", 105.0, "ok", "adult"),
        ("1903.0", None, "implausible", None),
        ("2015.0", None, "implausible", None),
        ("None", None, "missing", None),
        ("", None, "missing", None),
    ]
    result = table(*({"PatientBirth": birth} for birth, *_ in cases))
    images = result["images"].sort("source_row")
    assert images.select("age_years", "age_flag", "age_group").rows() == [tuple(case[1:]) for case in cases]
    assert images["age_raw"].to_list() == [birth if birth not in {"", "None"} else None for birth, *_ in cases]
    known = images.filter(pl.col("age_years") > 0)
    assert known["age_precision"].unique().to_list() == ["birth_year"]
    # 2 July: half a year into the year, so the true age is up to half a year below or above.
    spread = known.select(
        low=pl.col("age_years") - pl.col("age_low_years"), high=pl.col("age_high_years") - pl.col("age_years")
    )
    assert spread["low"].to_list() == pytest.approx([0.5] * known.height, abs=0.01)
    assert spread["high"].to_list() == pytest.approx([0.5] * known.height, abs=0.01)
    assert rejects(result.account) == []


def test_unreadable_births_and_dates(table: Callable) -> None:
    """An unusable birth is reported once, as CXR-307, a date as CXR-302; the images stay."""
    result = table(
        {"PatientBirth": "195x"},
        {"StudyDate_DICOM": "2014-07-02"},
        {"StudyDate_DICOM": "None"},
        {"PatientBirth": "1953.5"},
    )
    assert result["images"]["age_flag"].to_list() == ["missing"] * 4
    assert rejects(result.account) == [
        ("value", 2, "CXR-307", "age_years", "195x"),
        ("value", 3, "CXR-302", "StudyDate_DICOM", "2014-07-02"),
        ("value", 5, "CXR-307", "age_years", "1953.5"),
    ]


def test_child_flag_against_the_age_both_ways(read: Callable) -> None:
    """Formats 1.5: compare `Pediatric` (Yes, No, also PED) with the computed age and count both ways."""
    found = read(
        {"Pediatric": "Yes", "PatientBirth": "1980.0"},  # a contradiction
        {"Pediatric": "PED", "PatientBirth": "1994.0"},  # a contradiction
        {"Pediatric": "No", "PatientBirth": "2010.0"},  # a contradiction the other way
        {"Pediatric": "Yes", "PatientBirth": "1996.0"},  # 17 or 18: none
        {"Pediatric": "No", "PatientBirth": "1996.0"},
        {"Pediatric": "PED", "PatientBirth": "2010.0"},
        {"Pediatric": "None", "PatientBirth": "2010.0"},
        {"Pediatric": "No", "PatientBirth": "2020.0"},  # implausible: says nothing
        {"Pediatric": "Kid", "PatientBirth": "2010.0"},
    )
    assert disagreements(found.account) == {"Pediatric": [2, 1]}
    assert rejects(found.account) == [("value", 10, "CXR-303", "Pediatric", "Kid")]


def test_spellings_of_a_list(read: Callable) -> None:
    """Formats 1.5: Python's list form, items with a leading space."""
    spellings = [
        "['pleural effusion', ' cardiomegaly']",
        "[' cardiomegaly ', 'pleural effusion']",
        '["pleural effusion", "cardiomegaly"]',
        "['pleural effusion','cardiomegaly', '']",
        " [pleural effusion, cardiomegaly, cardiomegaly] ",
    ]
    found = read(*({"Labels": text} for text in spellings))
    keys = [f"{at}_a.png" for at in range(1, len(spellings) + 1)]
    assert positives(found.states()) == {(key, label) for key in keys for label in ("pleural effusion", "cardiomegaly")}
    assert rejects(found.account) == []


def test_no_labels_is_not_assessed(table: Callable) -> None:
    """CONTRACT §5, labels: not assessed = no row. Formats 1.5: 103 images have none."""
    result = table(*({"Labels": text} for text in ("", "None", "[]", "['']", "[' ', '']")))
    assert not set(STATES) & set(result.canonical.frames)
    assert result["image_labels"].select("labeler", "cardiomegaly").unique().rows() == [(None, None)]
    assert rejects(result.account) == []
    assert result.account.ledger()["rows_kept"].to_list() == [5]


def test_a_label_holding_another_is_not_that_other(read: Callable) -> None:
    """Formats, how others harmonise: matching by substring makes `abnormal foreign body` normal and
    `subcutaneous emphysema` emphysema. Labels are matched whole and in their exact case.
    """
    labels = ["abnormal foreign body", "subcutaneous emphysema", "pericardial effusion"]
    found = read({"Labels": str(labels)}, {"Labels": "['Normal']"})
    assert positives(found.states()) == {("1_a.png", label) for label in labels}
    assert rejects(found.account) == [("value", 3, "CXR-304", "Labels", "Normal")]


def test_unknown_labels_labelers_and_broken_lists(read: Callable) -> None:
    """CONTRACT §6: what is in no vocabulary is reported; the known labels beside it stay."""
    found = read(
        {"Labels": "['nodule', 'flu']"},
        {"MethodLabel": "Radiologist"},
        {"MethodLabel": "None"},
        {"Labels": "nodule"},
        {"Labels": "", "MethodLabel": ""},
    )
    assert found.states().select("image_id", "nodule", "closed_world").rows() == [("1_a.png", POSITIVE, True)]
    assert rejects(found.account) == [
        ("value", 2, "CXR-304", "Labels", "flu"),
        ("value", 3, "CXR-303", "MethodLabel", "Radiologist"),
        ("value", 4, "CXR-303", "MethodLabel", None),
        ("value", 5, "CXR-305", "Labels", "nodule"),
    ]


def test_refused_rows_and_their_codes(read: Callable) -> None:
    """CONTRACT §2: image and patient are strings with every digit; §5: each row is kept or refused."""
    found = read(
        {},
        {"ImageID": ""},
        {"ImageID": "folder/4_a.png"},
        {"PatientID": "None"},
        {"PatientID": "3.2588016314042952e+37"},
        {"ImageID": "1_a.png", "PatientID": "999"},
    )
    assert found.raw.images.select("image_id", "patient_id").rows() == [("1_a.png", "200")]
    assert rejects(found.account) == [
        ("row", 3, "CXR-206", "ImageID", None),
        ("row", 4, "CXR-207", "ImageID", "folder/4_a.png"),
        ("row", 5, "CXR-209", "PatientID", None),
        ("row", 6, "CXR-207", "PatientID", "3.2588016314042952e+37"),
        ("row", 7, "CXR-208", "ImageID", "1_a.png"),
    ]
    assert found.account.ledger().select("rows_read", "rows_kept", "rows_rejected").row(0) == (6, 1, 5)


def test_values_that_cannot_be_used_are_nulled(table: Callable) -> None:
    """An image whose study, folder or size is unusable stays an image.

    DICOM PS3.3 (0018,1050): spatial resolution is the equipment's limit, not a distance of pixels.
    """
    result = table(
        {"StudyID": "1e+37", "ImageDir": "x", "Rows_DICOM": "0", "Columns_DICOM": "2.14e+03"},
        {"StudyID": "", "ImageDir": "None", "SpatialResolution_DICOM": "0.143"},
    )
    got = result["images"].sort("source_row")
    columns = ("study_id", "path", "original_rows_px", "original_columns_px", "pixel_spacing_row_mm")
    assert got.select(columns).rows() == [(None, None, None, 2140, None), (None, None, 1760, 2140, None)]
    assert result["studies"].is_empty()
    assert rejects(result.account) == [
        ("value", 2, "CXR-207", "StudyID", "1e+37"),
        ("value", 2, "CXR-301", "ImageDir", "x"),
        ("value", 2, "CXR-301", "Rows_DICOM", "0"),
    ]


def test_disagreements_within_a_study_are_counted(read: Callable) -> None:
    """Labels, patient and date are a study's; where its images differ, each keeps its own."""
    same = {"StudyID": "500", "PatientID": "600"}
    found = read(
        same,
        same | {"Labels": "['nodule']"},
        {"StudyID": "501", "PatientID": "601"},
        {"StudyID": "501", "PatientID": "602", "StudyDate_DICOM": "20150101"},
        {"StudyID": "", "PatientID": "603"},
        {"StudyID": "", "PatientID": "604"},
    )
    assert disagreements(found.account) == {"Labels": [1], "PatientID": [1], "StudyDate_DICOM": [1]}
    assert ("2_a.png", "nodule") in positives(found.states())


def test_one_labeler_alone_and_no_report_text(table: Callable) -> None:
    """A subset may hold one labeler's rows alone. CONTRACT §5: free text only with --with-text."""
    result = table({"MethodLabel": "RNN_model", "Report": "texto libre"})
    assert STATES[0] not in result.canonical.frames
    assert result["image_labels"]["labeler"].to_list() == ["rnn"]
    for frame in result.canonical.frames.values():
        assert not any(series.str.contains("texto libre").any() for series in frame.select(pl.col(pl.String)))
