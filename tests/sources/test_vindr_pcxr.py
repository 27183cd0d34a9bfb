"""VinDr-PCXR: one reader's labels and boxes, ages of children. Truth is read here with the csv module."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.sources.base import NEGATIVE, POSITIVE, SILENT
from cxrdata.sources.discover import find
from cxrdata.sources.drawing.dicom_files import Header, encode_dicom
from cxrdata.sources.vindr_pcxr.read import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cxrdata.sources.base import Registry
    from cxrdata.vocabularies import Vocabularies
    from tests.conftest import Harmonised

# The classes of the box files (formats.md 1.7).
FINDINGS = (
    "Anterior mediastinal mass", "Aortic enlargement", "Atelectasis", "Boot-shaped heart", "Bronchectasis", "Bronchial thickening",
    "Calcification", "Cardiomegaly", "Chest wall mass", "Clavicle fracture", "Consolidation", "Dextro cardia", "Diffuse aveolar opacity",
    "Edema", "Egg on string sign", "Emphysema", "Enlarged PA", "Expanded edges of the anterior ribs", "Infiltration",
    "Interstitial lung disease - ILD", "Intrathoracic digestive structure", "Lung cavity", "Lung cyst", "Lung hyperinflation",
    "Mediastinal shift", "Other lesion", "Other nodule/mass", "Other opacity", "Paraveterbral mass",
    "Peribronchovascular interstitial opacity", "Pleural effusion", "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis",
    "Reticulonodular opacity", "Stomach on the right side",
)  # fmt: skip
CORNERS = ("x_min", "y_min", "x_max", "y_max")
BOX_HEADER = ("image_id", "rad_ID", "class_name", *CORNERS, "class_id")
A, B, C = (letter * 32 for letter in "abc")
RADIOLOGIST, BOX, READINGS = "states_vindr_pcxr_radiologist", "states_vindr_pcxr_box", "readings_vindr_pcxr"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def ledger(result: Harmonised, name: str) -> tuple[int, ...]:
    """read, kept, merged, unmatched, rejected"""
    return result.account.ledger().filter(pl.col("source_file") == name).row(0)[2:]


def write_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def label_rows(folder: Path, split: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """image_labels_<split>.csv of (image, reader, positive label)."""
    cells = [[image, reader, *("1.0" if label == said else "0.0" for label in LABELS)] for image, reader, said in rows]
    write_rows(folder / f"image_labels_{split}.csv", ["image_id", "rad_ID", *LABELS], cells)


def dicom(path: Path, age: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_dicom(Header("0", 100, 80, age, "M"), np.zeros((100, 80), np.uint16)))


@pytest.fixture(scope="session")
def folder(synthetic: Callable[..., Path]) -> Path:
    return synthetic("vindr_pcxr")


@pytest.fixture(scope="session")
def read(folder: Path, harmonised: Callable[..., Harmonised]) -> Harmonised:
    return harmonised("vindr_pcxr", folder)


def test_files_of_the_same_format_are_told_apart_by_name(folder: Path, registry: Registry) -> None:
    """formats.md 1.7: training and test files have the same columns."""
    [files] = find(registry, [], [folder]).datasets
    assert files.source.name == "vindr_pcxr"
    assert {file.name.removesuffix(".csv"): file.spec.role for file in files.files} == {
        role: role for role in ("annotations_test", "annotations_train", "image_labels_test", "image_labels_train")
    }


def test_one_reading_an_image_in_both_parts(folder: Path, read: Harmonised) -> None:
    """formats.md 1.7: 15 labels as floats, one reader (rad_ID) an image; the labeler says what the reader says."""
    truth = {}
    for split in ("train", "test"):
        listed = rows_of(folder / f"image_labels_{split}.csv")
        truth |= {row["image_id"]: row for row in listed}
        assert ledger(read, f"image_labels_{split}.csv") == (len(listed), len(listed), 0, 0, 0)
        assert set(read["images"].filter(source_split=split)["image_id"]) == {row["image_id"] for row in listed}
    readings, states = read[READINGS], read[RADIOLOGIST]
    assert readings.height == states.height == len(truth)
    for row in readings.iter_rows(named=True):
        cells = truth[row["image_id"]]
        assert row["reader_id"] == cells["rad_ID"]
        assert [row[label] for label in LABELS] == [int(float(cells[label])) for label in LABELS]
    assert states.drop("closed_world").equals(readings.drop("reader_id"))
    assert set(read["image_labels"]["labeler"]) == {"radiologist"}


def test_box_findings_are_closed_world(folder: Path, read: Harmonised) -> None:
    """formats.md 1.7: every image has a row, "No finding" included, so what is not listed is negative by silence."""
    said: dict[str, set[str]] = defaultdict(set)
    expected = []
    for split in ("train", "test"):
        listed = rows_of(folder / f"annotations_{split}.csv")
        for row in listed:
            said[row["image_id"]].add(row["class_name"])
        boxes = [row for row in listed if row["class_name"] != "No finding"]
        expected += [
            (row["image_id"], row["rad_ID"], row["class_name"], *(float(row[c]) for c in CORNERS)) for row in boxes
        ]
        assert ledger(read, f"annotations_{split}.csv") == (len(listed), len(boxes), len(listed) - len(boxes), 0, 0)
    assert Counter(read["boxes"].select("image_id", "reader_id", "native_label", *CORNERS).rows()) == Counter(expected)
    states = read[BOX]
    assert states.columns == ["image_id", "closed_world", *FINDINGS, "No finding"]
    assert states.height == read["images"].height
    assert states["closed_world"].all()
    for row in states.iter_rows(named=True):
        assert all(
            row[label] == (POSITIVE if label in said[row["image_id"]] else SILENT) for label in states.columns[2:]
        )


def test_every_label_and_finding_is_in_the_crosswalk(vocabularies: Vocabularies) -> None:
    """CONTRACT §6: every native label appears, spelt as in the file."""
    assert set(vocabularies.native_labels("vindr_pcxr")) == {*LABELS, *FINDINGS}
    assert (len(LABELS), len(FINDINGS)) == (15, 36)


def test_ages_of_the_synthetic_headers(read: Harmonised) -> None:
    """formats.md 1.7: days, months, years; over 18 implausible; a bare Y missing, not unreadable."""
    divisor = {"D": 365.25, "M": 12.0, "Y": 1.0}
    for raw, years, flag in read["images"].select("age_raw", "age_years", "age_flag").iter_rows():
        if raw is None or raw == "Y":
            assert (years, flag) == (None, "missing")
        elif raw[3] == "Y" and int(raw[:3]) > 18:
            assert (years, flag) == (None, "implausible")
        else:
            assert flag == "ok"
            assert years == pytest.approx(int(raw[:3]) / divisor[raw[3]], abs=1e-12)
    assert {"Y", "000D"} <= set(read["images"]["age_raw"])
    assert read.account.rejects().is_empty()


@pytest.mark.parametrize(
    ("raw", "years", "flag", "group"),
    [
        ("000D", 0.0, "ok", "pediatric"),
        ("017Y", 17.0, "ok", "pediatric"),
        ("018Y", 18.0, "ok", "adult"),
        ("019Y", None, "implausible", None),
        ("Y", None, "missing", None),
        ("023M", 23 / 12, "ok", "pediatric"),
    ],
)
def test_age_rules(
    tmp_path: Path, harmonised: Callable[..., Harmonised], raw: str, years: float | None, flag: str, group: str | None
) -> None:
    """formats.md 1.7: `000D` is 0.0 and ok; over 18 implausible, so a completed 18 is believed and is an adult's."""
    label_rows(tmp_path, "train", [(A, "R1", "No finding")])
    dicom(tmp_path / "train" / f"{A}.dicom", raw)
    result = harmonised("vindr_pcxr", tmp_path)
    assert result["images"].select("age_years", "age_flag", "age_group").row(0) == (years, flag, group)
    assert result.account.rejects().is_empty()


def test_second_row_of_an_image_is_refused(tmp_path: Path, harmonised: Callable[..., Harmonised]) -> None:
    """formats.md 1.7: one reader an image."""
    label_rows(tmp_path, "train", [(A, "R1", "Bronchitis"), (A, "R2", "No finding")])
    result = harmonised("vindr_pcxr", tmp_path)
    assert result[READINGS].select("reader_id", "Bronchitis", "No finding").rows() == [("R1", POSITIVE, NEGATIVE)]
    assert ledger(result, "image_labels_train.csv") == (2, 1, 0, 0, 1)
    assert result.account.rejects().select("line", "code").rows() == [(3, "CXR-208")]


def test_image_in_both_parts_has_no_split(tmp_path: Path, harmonised: Callable[..., Harmonised]) -> None:
    """Files that contradict each other are not believed; the first reading stands."""
    label_rows(tmp_path, "train", [(A, "R1", "Bronchitis")])
    label_rows(tmp_path, "test", [(A, "R1", "No finding"), (B, "R2", "CPAM")])
    result = harmonised("vindr_pcxr", tmp_path)
    assert result["images"].select("image_id", "source_split").rows() == [(A, None), (B, "test")]
    assert result[RADIOLOGIST].filter(image_id=A).select("Bronchitis", "No finding").row(0) == (POSITIVE, NEGATIVE)
    assert ledger(result, "image_labels_test.csv") == (2, 1, 1, 0, 0)
    assert result.account.notes().select("topic", "item", "n").row(0) == ("disagreement", "source_split", 1)


def test_finding_of_a_refused_box_is_unknown_and_unlisted_images_are_not_assessed(
    tmp_path: Path, harmonised: Callable[..., Harmonised]
) -> None:
    """A refused row says nothing, and an image without any row was not assessed by boxes."""
    label_rows(tmp_path, "train", [(A, "R1", "CPAM"), (B, "R1", "CPAM")])
    rows = [
        [A, "R1", "Edema", 5, 5, 1, 1, 13],
        [A, "R1", "Lung cyst", 1, 1, 5, 5, 22],
        [C, "R1", "No finding", "", "", "", "", 36],
    ]
    write_rows(tmp_path / "annotations_train.csv", BOX_HEADER, rows)
    result = harmonised("vindr_pcxr", tmp_path)
    assert result[BOX].select("image_id", "Edema", "Lung cyst", "No finding").rows() == [(A, None, POSITIVE, SILENT)]
    assert ledger(result, "annotations_train.csv") == (3, 1, 0, 1, 1)


def test_files_of_vindr_cxr_are_refused(registry: Registry, synthetic: Callable[..., Path]) -> None:
    """The two datasets' files bear the same names: only the content tells them apart."""
    with pytest.raises(CxrError) as caught:
        find(registry, [(registry.get("pcxr"), synthetic("vindr_cxr"))])
    assert caught.value.code == "CXR-112"


def test_without_annotations_there_is_no_box_labeler(tmp_path: Path, harmonised: Callable[..., Harmonised]) -> None:
    """What a missing file gives is absent, not negative."""
    label_rows(tmp_path, "test", [(A, "R1", "No finding")])
    result = harmonised("vindr_pcxr", tmp_path)
    assert result.raw.boxes is None
    assert [labels.labeler for labels in result.raw.labels] == ["radiologist"]
