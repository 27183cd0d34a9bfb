"""PadChest: what its one table must become. Truth is read here with the csv and ast modules, not with ours."""

from __future__ import annotations

import ast
import csv
import gzip
import io
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from padchest_files import (
    STATES,
    disagreements,
    positives,
)

from cxrdata.sources.base import SILENT, UNMENTIONED, Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def official(synthetic: Callable, harmonised: Callable) -> tuple:
    """The synthetic table, read and harmonised, and its rows as they stand in the file."""
    folder = synthetic("padchest", scale=0.003)
    return harmonised("padchest", folder), truth(folder)


def truth(folder: Path) -> list[dict[str, str]]:
    """The rows of the folder's table, as the csv module reads them."""
    path = next(folder.glob("*.csv*"))
    body = path.read_bytes()
    text = (gzip.decompress(body) if path.suffix == ".gz" else body).decode()
    return list(csv.DictReader(io.StringIO(text)))


def labels_of(row: dict[str, str]) -> set[str]:
    return {label.strip() for label in ast.literal_eval(row["Labels"])} if row["Labels"] else set()


def years_between(row: dict[str, str]) -> int | None:
    born = row["PatientBirth"]
    return None if born in {"", "None"} else int(row["StudyDate_DICOM"][:4]) - int(float(born))


def test_every_row_becomes_an_image(official: tuple) -> None:
    """Formats 1.5: gzipped, an unnamed index column first; ids of up to 45 digits stay text."""
    result, rows = official
    assert result.account.ledger().select("rows_read", "rows_kept").row(0) == (len(rows), len(rows))
    assert result.account.rejects().is_empty()
    images = {row["image_id"]: row for row in result["images"].iter_rows(named=True)}
    assert images.keys() == {row["ImageID"] for row in rows}
    for at, row in enumerate(rows):
        got = images[row["ImageID"]]
        assert (got["source_row"], got["path"]) == (at, f"{row['ImageDir']}/{row['ImageID']}")
        assert (got["patient_id"], got["study_id"]) == (row["PatientID"], row["StudyID"])
        assert got["study_date"].strftime("%Y%m%d") == row["StudyDate_DICOM"]
        size = (int(row["Rows_DICOM"]), int(row["Columns_DICOM"]))
        assert (got["original_rows_px"], got["original_columns_px"]) == size
        assert got["sex"] == (None if row["PatientSex_DICOM"] == "None" else row["PatientSex_DICOM"])
        assert got["manufacturer"] == row["Manufacturer_DICOM"]
    assert result["patients"].height == len({row["PatientID"] for row in rows})
    assert result["studies"].height == len({row["StudyID"] for row in rows})


def test_gzipped_and_plain_read_alike(synthetic: Callable, harmonised: Callable) -> None:
    """Formats 1.5: gzip is no variant of the content."""
    packed, plain = (harmonised("padchest", synthetic("padchest", variant)) for variant in ("gz", "plain"))
    for name, frame in packed.canonical.frames.items():
        same = plain[name].drop("source_file", strict=False)
        assert frame.drop("source_file", strict=False).equals(same), name


def test_labels_are_those_listed(official: tuple) -> None:
    """Formats 1.5: 193 exact labels in Python's list form, some with a leading space."""
    result, rows = official
    assert any("', ' " in row["Labels"] for row in rows), "the leading space must occur"
    assert {len(result[name].columns) for name in STATES} == {2 + 193}
    got = positives(result[STATES[0]]) | positives(result[STATES[1]])
    assert got == {(row["ImageID"], label) for row in rows for label in labels_of(row)}
    methods = Counter(row["MethodLabel"] for row in rows if labels_of(row))
    assert [result[name].height for name in STATES] == [methods["Physician"], methods["RNN_model"]]


def test_silence_is_negative_except_beside_unchanged_and_exclude(official: tuple) -> None:
    """CONTRACT §5, assessments: images labelled `unchanged` or `exclude` are not closed-world."""
    result, rows = official
    listed = {row["ImageID"]: labels_of(row) for row in rows}
    seen = set()
    for name in STATES:
        for row in result[name].iter_rows(named=True):
            labels = listed[row.pop("image_id")]
            is_closed = not labels & {"unchanged", "exclude"}
            seen.add(is_closed)
            assert row.pop("closed_world") == is_closed
            silence = {code for label, code in row.items() if label not in labels}
            assert silence == {SILENT if is_closed else UNMENTIONED}
    assert seen == {True, False}


def test_image_labels_follow_the_state(official: tuple) -> None:
    """CONTRACT §5, image_labels: 1 / 0 / NULL as published; an image without labels (103) has neither
    labeler nor value.
    """
    result, rows = official
    wide = {row["image_id"]: row for row in result["image_labels"].iter_rows(named=True)}
    for row in rows:
        labels, got = labels_of(row), wide[row["ImageID"]]
        labeler = {"Physician": "physician", "RNN_model": "rnn"}[row["MethodLabel"]] if labels else None
        silence = 0 if labels and not labels & {"unchanged", "exclude"} else None
        assert got["labeler"] == labeler
        assert got["cardiomegaly"] == (1 if "cardiomegaly" in labels else silence)
        assert got["no_finding"] == (1 if "normal" in labels else silence)
    assert any(not labels_of(row) for row in rows)


def test_views_and_positions(official: tuple) -> None:
    """Formats 1.5: Projection is PA, L, AP, AP_horizontal, COSTAL or EXCLUDE."""
    result, rows = official
    images = {row["image_id"]: row for row in result["images"].iter_rows(named=True)}
    views = {"PA": "PA", "L": "LATERAL", "AP": "AP", "AP_horizontal": "AP", "COSTAL": "OTHER"}
    assert {row["Projection"] for row in rows} == {*views, "EXCLUDE"}
    for row in rows:
        if row["Projection"] in views:
            got = images[row["ImageID"]]
            assert (got["view"], got["view_source"]) == (views[row["Projection"]], "Projection")
            assert got["position"] == ("supine" if row["Projection"] == "AP_horizontal" else None)


def test_notes_of_the_synthetic_table(official: tuple) -> None:
    """Formats 1.5: the child flag errs both ways, and all its errors are counted; images of one study have
    one report, so nothing else disagrees.
    """
    result, rows = official
    years = [(row["Pediatric"], years_between(row)) for row in rows]
    flagged_adults = sum(flag in {"Yes", "PED"} and age is not None and age >= 19 for flag, age in years)
    unflagged_children = sum(flag == "No" and age is not None and age <= 17 for flag, age in years)
    assert min(flagged_adults, unflagged_children) > 0
    found = disagreements(result.account)
    assert found.pop("Pediatric") == [flagged_adults, unflagged_children]
    assert found == {}


def test_catalog_entry(registry: Registry) -> None:
    """README of the dataset: labels are the report's, hence the study's; the terms forbid passing rows on."""
    source = registry.get("padchest")
    assert [(spec.name, spec.level, spec.closed_world) for spec in source.labelers] == [
        ("physician", "study", True),
        ("rnn", "study", True),
    ]
    assert (source.entry["licence"]["share_rows"], source.entry["licence"]["third_parties"]) == (False, False)
    assert {expectation.confidence for expectation in source.expectations} == {"R"}
