"""VinDr-CXR: readers, consensus, boxes, headers; PhysioNet's edition and Kaggle's. Truth is read here with the csv module."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.sources.base import NEGATIVE, POSITIVE, SILENT, UNCERTAIN
from cxrdata.sources.discover import find
from cxrdata.sources.drawing.dicom_files import Header, encode_dicom
from cxrdata.sources.vindr_cxr.read import DISEASES, LOCAL_LABELS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cxrdata.sources.base import Registry
    from tests.conftest import Harmonised

LABELS = (*LOCAL_LABELS, *DISEASES, "Other diseases", "No finding")
# The competition's 14 classes (formats.md 1.6).
KAGGLE_CLASSES = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "ILD", "Infiltration", "Lung Opacity",
    "Nodule/Mass", "Other lesion", "Pleural effusion", "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis",
)  # fmt: skip
CORNERS = ("x_min", "y_min", "x_max", "y_max")
A, B, C, D = (letter * 32 for letter in "abcd")
MAJORITY, CONSENSUS, READINGS = "states_vindr_cxr_reader_majority", "states_vindr_cxr_consensus", "readings_vindr_cxr"


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


def label_rows(folder: Path, split: str, rows: Sequence[tuple[str, str | None, str]]) -> None:
    """image_labels_<split>.csv of (image, reader, positive labels joined by |); a reader of None leaves the column out."""
    names = LABELS if split == "train" else [label.replace("Other diseases", "Other disease") for label in LABELS]
    header = ["image_id", *(["rad_id"] if split == "train" else []), *names]
    cells = [
        [image, *([reader] if reader is not None else []), *(int(label in said.split("|")) for label in names)]
        for image, reader, said in rows
    ]
    write_rows(folder / "annotations" / f"image_labels_{split}.csv", header, cells)


def three(image: str, first: str, second: str, third: str) -> list[tuple[str, str, str]]:
    return [(image, "R8", first), (image, "R9", second), (image, "R10", third)]


def dicom(path: Path, **elements: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = Header(**({"image_id": "0", "rows": 100, "columns": 80, "age": None, "sex": None} | elements))  # type: ignore[arg-type]
    path.write_bytes(encode_dicom(header, np.zeros((header.rows, header.columns), np.uint16)))


@pytest.fixture(scope="session")
def physionet(synthetic: Callable[..., Path]) -> Path:
    return synthetic("vindr_cxr")


@pytest.fixture(scope="session")
def read(physionet: Path, harmonised: Callable[..., Harmonised]) -> Harmonised:
    return harmonised("vindr_cxr", physionet)


def test_images_are_those_of_both_label_files(physionet: Path, read: Harmonised) -> None:
    """formats.md 1.6: three rows an image in training, one in the test part; contract: ids without suffix, no patient, no study."""
    images = read["images"]
    for split, per_image in (("train", 3), ("test", 1)):
        listed = rows_of(physionet / "annotations" / f"image_labels_{split}.csv")
        part = images.filter(pl.col("source_split") == split)
        assert set(part["image_id"]) == {row["image_id"] for row in listed}
        assert ledger(read, f"annotations/image_labels_{split}.csv") == (
            len(listed),
            part.height,
            len(listed) - part.height,
            0,
            0,
        )
        assert len(listed) == per_image * part.height
        for image, path, record in part.select("image_id", "path", "source_row").iter_rows():
            assert path == f"{split}/{image}.dicom"
            assert listed[record]["image_id"] == image
    for column in ("patient_id", "study_id", "view", "study_date"):
        assert images[column].null_count() == images.height


def test_readings_are_the_cells_of_the_file(physionet: Path, read: Harmonised) -> None:
    """formats.md 1.6: 28 labels, 0 or 1, by reader; nothing is silent."""
    truth = {
        (row["image_id"], row["rad_id"]): row for row in rows_of(physionet / "annotations" / "image_labels_train.csv")
    }
    readings = read[READINGS]
    assert readings.columns == ["image_id", "reader_id", *LABELS]
    assert readings.height == len(truth)
    for row in readings.iter_rows(named=True):
        cells = truth[row["image_id"], row["reader_id"]]
        assert [row[label] for label in LABELS] == [int(cells[label]) for label in LABELS]


def test_majority_of_three_readers(physionet: Path, read: Harmonised) -> None:
    """formats.md: two of three readers decide (RadHarmony, PvA), not any reader (XRV)."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows_of(physionet / "annotations" / "image_labels_train.csv"):
        votes[row["image_id"]].update({label: int(row[label]) for label in LABELS})
    for row in read[MAJORITY].iter_rows(named=True):
        assert [row[label] for label in LABELS] == [int(votes[row["image_id"]][label] >= 2) for label in LABELS]
        assert row["closed_world"]


def test_consensus_has_other_disease_in_the_singular(physionet: Path, read: Harmonised) -> None:
    """formats.md 1.6: image_labels_test has no rad_id and says `Other disease`; both spellings are one finding."""
    truth = {row["image_id"]: row for row in rows_of(physionet / "annotations" / "image_labels_test.csv")}
    states = read[CONSENSUS]
    assert "Other disease" in states.columns
    assert "Other diseases" not in states.columns
    for image, other, cardiomegaly in states.select("image_id", "Other disease", "Cardiomegaly").iter_rows():
        assert (other, cardiomegaly) == (int(truth[image]["Other disease"]), int(truth[image]["Cardiomegaly"]))
    published = read["image_labels"].group_by("labeler").agg(pl.col("other_disease").null_count(), pl.len())
    assert {row[0]: row[1:] for row in published.iter_rows()} == {
        "reader_majority": (0, read[MAJORITY].height),
        "consensus": (0, states.height),
    }


def test_boxes_of_readers_and_of_the_consensus(physionet: Path, read: Harmonised) -> None:
    """formats.md 1.6: "No finding" rows have no box; the test part names no reader."""
    expected = []
    for split in ("train", "test"):
        listed = rows_of(physionet / "annotations" / f"annotations_{split}.csv")
        boxes = [row for row in listed if row["class_name"] != "No finding"]
        expected += [
            (row["image_id"], row.get("rad_id"), row["class_name"], *(float(row[c]) for c in CORNERS)) for row in boxes
        ]
        assert ledger(read, f"annotations/annotations_{split}.csv") == (
            len(listed),
            len(boxes),
            len(listed) - len(boxes),
            0,
            0,
        )
    found = read["boxes"].select("image_id", "reader_id", "native_label", *CORNERS).rows()
    assert Counter(found) == Counter(expected)


def test_ages_by_rule(read: Harmonised) -> None:
    """formats.md 1.6, age strings: 000Y and 000D are placeholders, Y is missing, 238Y implausible, 006Y to 015Y true minors."""
    flags = (
        read["images"]
        .group_by("age_raw")
        .agg(pl.col("age_flag").unique(), pl.col("age_years").drop_nulls().unique(), pl.col("age_group").unique())
    )
    by_raw = {raw: (flag[0], years) for raw, flag, years, _ in flags.iter_rows()}
    assert all(len(flag) == 1 for flag in flags["age_flag"])
    assert {raw: flag for raw, (flag, _) in by_raw.items() if flag != "ok"} == {
        None: "missing", "Y": "missing", "000Y": "placeholder", "000D": "placeholder", "238Y": "implausible",
    }  # fmt: skip
    for raw, (flag, years) in by_raw.items():
        assert years == ([float(raw[:3])] if flag == "ok" else [])
    groups = {raw: group for raw, _, _, [group] in flags.iter_rows() if raw and by_raw[raw][0] == "ok"}
    assert {group for raw, group in groups.items() if raw < "018Y"} == {"pediatric"}
    assert read.account.rejects().is_empty()


def test_sex_is_m_f_o_or_unknown(read: Harmonised) -> None:
    """formats.md 1.6: M, F, O and an empty element; metadata/sex.tsv."""
    pairs = set(read["images"].select("sex_raw", "sex").rows())
    assert pairs == {("M", "M"), ("F", "F"), ("O", "O"), (None, None)}


def test_size_of_the_distributed_file_is_the_detectors(read: Harmonised) -> None:
    """The DICOM file is both what is distributed and what the detector made."""
    images = read["images"]
    assert images["rows_px"].null_count() == 0
    assert images["rows_px"].equals(images["original_rows_px"])
    assert images["columns_px"].equals(images["original_columns_px"])


def test_without_headers_all_that_they_give_is_null(physionet: Path, harmonised: Callable[..., Harmonised]) -> None:
    """The annotations alone are a usable dataset."""
    result = harmonised("vindr_cxr", physionet / "annotations")
    images = result["images"]
    assert images.height > 0
    for column in ("age_years", "sex", "rows_px", "pixel_spacing_row_mm"):
        assert images[column].null_count() == images.height
    assert set(images["age_flag"]) == {"missing"}


def test_kaggle_alone(synthetic: Callable[..., Path], harmonised: Callable[..., Harmonised]) -> None:
    """formats.md 1.6: 15 classes; a class without a row is negative by silence, "No finding" by its own row."""
    folder = synthetic("vindr_cxr", "kaggle")
    listed = rows_of(folder / "train.csv")
    said: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in listed:
        said[row["image_id"], row["rad_id"]].add(row["class_name"])
    result = harmonised("vindr_cxr", folder)
    readings = result[READINGS]
    assert readings.columns == ["image_id", "reader_id", *KAGGLE_CLASSES, "No finding"]
    assert readings.height == len(said)
    for row in readings.iter_rows(named=True):
        positive = said[row["image_id"], row["reader_id"]]
        assert all(row[label] == (POSITIVE if label in positive else SILENT) for label in readings.columns[2:])
    images, boxes = result["images"], result["boxes"]
    assert set(images["image_id"]) == {row["image_id"] for row in listed}
    assert set(images["source_split"]) == {"train"}
    assert boxes.height == len({tuple(row.values()) for row in listed if row["class_name"] != "No finding"})
    read_, kept, merged, unmatched, rejected = ledger(result, "train.csv")
    without = len({row["image_id"] for row in listed if row["class_name"] == "No finding"})
    assert (read_, kept, unmatched, rejected) == (len(listed), boxes.height + without, 0, 0)
    assert merged == read_ - kept
    assert set(result[MAJORITY]["No finding"]) == {POSITIVE, SILENT}


def test_physionet_wins_over_kaggle(tmp_path: Path, harmonised: Callable[..., Harmonised]) -> None:
    """Catalog [[precedence]]: PhysioNet's labels and boxes; Kaggle's rows are merged and disagreements counted."""
    label_rows(
        tmp_path,
        "train",
        [*three(A, "Rib fracture", "Rib fracture", "Rib fracture"), *three(B, "Cardiomegaly", "Cardiomegaly", "Edema")],
    )
    write_rows(
        tmp_path / "annotations" / "annotations_train.csv",
        ["image_id", "rad_id", "class_name", *CORNERS],
        [[A, "R8", "Rib fracture", 1.5, 2.5, 3.5, 4.5]],
    )
    header = ["image_id", "class_name", "class_id", "rad_id", *CORNERS]
    kaggle = [[A, "Other lesion", 9, reader, 2, 3, 4, 5] for reader in ("R8", "R9", "R10")]
    kaggle += [[B, "Pneumothorax", 12, reader, 2, 3, 4, 5] for reader in ("R8", "R9", "R10")]
    kaggle += [[C, "No finding", 14, "R8", "", "", "", ""]]
    write_rows(tmp_path / "train.csv", header, kaggle)
    result = harmonised("vindr_cxr", tmp_path)
    assert result["images"]["image_id"].to_list() == [A, B]
    assert result["boxes"].select("native_label", "x_min").rows() == [("Rib fracture", 1.5)]
    assert ledger(result, "train.csv") == (7, 0, 6, 1, 0)
    assert set(result[READINGS].columns) > {"Rib fracture", "COPD"}
    notes = result.account.notes().filter(pl.col("topic") == "disagreement")
    # A differs only in "Other lesion", which is wider at Kaggle.
    assert notes.select("item", "n").rows() == [("labels", 1)]


def test_kaggle_gives_the_boxes_that_physionet_lacks(tmp_path: Path, harmonised: Callable[..., Harmonised]) -> None:
    """Catalog [[precedence]]: boxes come from annotations_train, else from Kaggle."""
    label_rows(tmp_path, "train", three(A, "Cardiomegaly", "Cardiomegaly", "Cardiomegaly"))
    write_rows(
        tmp_path / "train.csv",
        ["image_id", "class_name", "class_id", "rad_id", *CORNERS],
        [[A, "Cardiomegaly", 3, "R8", 2, 3, 4, 5]],
    )
    result = harmonised("vindr_cxr", tmp_path)
    assert result["boxes"].select("native_label", *CORNERS).rows() == [("Cardiomegaly", 2.0, 3.0, 4.0, 5.0)]
    assert ledger(result, "train.csv") == (1, 1, 0, 0, 0)


def test_two_readers_who_disagree_leave_the_label_uncertain(
    tmp_path: Path, harmonised: Callable[..., Harmonised]
) -> None:
    """A subset may hold two readers of an image; half is no majority."""
    label_rows(tmp_path, "train", three(A, "Edema", "No finding", "")[:2])
    assert harmonised("vindr_cxr", tmp_path)[MAJORITY].select("Edema", "ILD").row(0) == (UNCERTAIN, NEGATIVE)


def test_dicom_files_beyond_the_lists_and_images_without_one(
    tmp_path: Path, harmonised: Callable[..., Harmonised]
) -> None:
    """A film without labels is an image all the same; a label without a film is an image of unknown age."""
    label_rows(tmp_path, "train", [*three(A, "", "", ""), *three(B, "", "", "")])
    dicom(tmp_path / "train" / f"{A}.dicom", age="012Y", sex="F")
    dicom(tmp_path / "test" / f"{D}.dicom", age="061Y", sex="M")
    result = harmonised("vindr_cxr", tmp_path)
    images = (
        result["images"]
        .select("image_id", "source_split", "path", "source_file", "source_row", "age_years", "sex")
        .rows()
    )
    labels = "annotations/image_labels_train.csv"
    assert images == [
        (A, "train", f"train/{A}.dicom", labels, 0, 12.0, "F"),
        (B, "train", f"train/{B}.dicom", labels, 3, None, None),
        (D, "test", f"test/{D}.dicom", "test/*.dicom", 0, 61.0, "M"),
    ]
    assert ledger(result, "train/*.dicom") == (1, 0, 1, 0, 0)
    assert ledger(result, "test/*.dicom") == (1, 1, 0, 0, 0)
    assert D not in result[MAJORITY]["image_id"]
    assert result["image_labels"].filter(image_id=D)["labeler"].to_list() == [None]
    notes = result.account.notes().filter(topic="coverage")
    assert notes.select("item", "n").rows() == [("dicom", 1), ("labels", 1)]


def test_what_a_header_says_wrong_is_reported_with_the_header(
    tmp_path: Path, harmonised: Callable[..., Harmonised]
) -> None:
    """An age and a sex stand in the DICOM file, so the reject names it, not the label file."""
    label_rows(tmp_path, "train", three(A, "", "", ""))
    dicom(tmp_path / "train" / f"{A}.dicom", age="12XY", sex="X")
    result = harmonised("vindr_cxr", tmp_path)
    rejects = result.account.rejects().select("source_file", "line", "code", "value").rows()
    assert rejects == [(f"train/{A}.dicom", None, "CXR-303", "X"), (f"train/{A}.dicom", None, "CXR-307", "12XY")]
    assert result["images"].select("source_file", "age_flag", "sex").row(0) == (
        "annotations/image_labels_train.csv",
        "missing",
        None,
    )


def test_image_in_both_parts_or_in_the_other_folder(tmp_path: Path, harmonised: Callable[..., Harmonised]) -> None:
    """A split that the files contradict is null; a file in the other folder does not move the image."""
    label_rows(tmp_path, "train", [*three(A, "Edema", "Edema", "Edema"), *three(B, "", "", "")])
    label_rows(tmp_path, "test", [(A, None, "Edema"), (C, None, "")])
    dicom(tmp_path / "test" / f"{B}.dicom")
    result = harmonised("vindr_cxr", tmp_path)
    assert result["images"].select("image_id", "source_split").rows() == [(A, None), (B, "train"), (C, "test")]
    assert ledger(result, "annotations/image_labels_test.csv") == (2, 1, 1, 0, 0)
    notes = result.account.notes().filter(item="source_split")
    assert sorted(notes["n"]) == [1, 1]


def test_boxes_that_cannot_be_are_refused(tmp_path: Path, harmonised: Callable[..., Harmonised]) -> None:
    """docs/errors.md CXR-212: no area, or beyond the frame (80 x 100 here; unknown for C); others CXR-206, 207, 304."""
    label_rows(tmp_path, "train", [row for image in (A, C) for row in three(image, "Edema", "Edema", "Edema")])
    dicom(tmp_path / "train" / f"{A}.dicom")
    rows = [
        [A, "R8", "Edema", 0, 0, 80, 100],
        [A, "R8", "Edema", 0, 0, 80.5, 100],
        [A, "R8", "Edema", -1, 0, 80, 100],
        [A, "R8", "Edema", 30, 0, 30, 100],
        [A, "R8", "Edema", "NaN", 0, 30, 100],
        [A, "R8", "Edema", "left", 0, 30, 100],
        [C, "R8", "Edema", 0, 0, 9000, 9000],
        [A, "R8", "Oedema", 0, 0, 8, 10],
        [A, "R8", "", 0, 0, 8, 10],
        [A, "", "Edema", 0, 0, 8, 10],
        ["", "R8", "Edema", 0, 0, 8, 10],
        ["1.dicom", "R8", "Edema", 0, 0, 8, 10],
        [D, "R8", "Edema", 0, 0, 8, 10],
        [A, "R8", "Edema", 0, 0, 80, 100],
        [A, "R9", "No finding", "", "", "", ""],
    ]
    write_rows(tmp_path / "annotations" / "annotations_train.csv", ["image_id", "rad_id", "class_name", *CORNERS], rows)
    result = harmonised("vindr_cxr", tmp_path)
    assert result["boxes"].select("image_id", "x_max").rows() == [(A, 80.0), (C, 9000.0)]
    assert ledger(result, "annotations/annotations_train.csv") == (15, 2, 2, 1, 10)
    refused = result.account.rejects().select("line", "kind", "code").rows()
    assert refused == [
        (3, "row", "CXR-212"), (4, "row", "CXR-212"), (5, "row", "CXR-212"), (6, "row", "CXR-212"), (7, "row", "CXR-212"), (7, "value", "CXR-301"),
        (9, "row", "CXR-304"), (10, "row", "CXR-206"), (11, "row", "CXR-206"), (12, "row", "CXR-206"), (13, "row", "CXR-207"),
    ]  # fmt: skip


def test_kaggle_label_of_a_refused_box_is_unknown(tmp_path: Path, harmonised: Callable[..., Harmonised]) -> None:
    """A row that was refused says neither that the finding is there nor, by silence, that it is not."""
    rows = [
        [A, "ILD", 5, "R8", 9, 9, 1, 1],
        [A, "Edema", 0, "R8", 1, 1, 2, 2],
        [A, "Cardiomegaly", 3, "R8", 1, 1, 2, 2],
        [B, "ILD", 5, "R8", 9, 9, 1, 1],
    ]
    rows += [[A, "Atelectasis", 1, "R8", 9, 9, 1, 1], [A, "Atelectasis", 1, "R8", 1, 1, 9, 9]]
    write_rows(tmp_path / "train.csv", ["image_id", "class_name", "class_id", "rad_id", *CORNERS], rows)
    result = harmonised("vindr_cxr", tmp_path)
    assert result["images"]["image_id"].to_list() == [A]
    reading = result[READINGS].select("ILD", "Cardiomegaly", "Atelectasis", "Pneumothorax", "No finding").rows()
    assert reading == [(None, POSITIVE, POSITIVE, SILENT, SILENT)]
    # Edema is no class of the competition.
    assert ledger(result, "train.csv") == (6, 2, 0, 0, 4)


def test_label_rows_that_cannot_be_used(tmp_path: Path, harmonised: Callable[..., Harmonised]) -> None:
    """docs/errors.md: a repeated reading CXR-208, no reader CXR-206, a malformed id CXR-207, a cell that is no 0 or 1 CXR-305."""
    label_rows(
        tmp_path, "train", [*three(A, "Edema", "Edema", "Edema"), (A, "R8", ""), (A, "", ""), ("a" * 31, "R8", "")]
    )
    path = tmp_path / "annotations" / "image_labels_train.csv"
    lines = path.read_text().splitlines()
    lines[1] = lines[1].rsplit(",", 1)[0] + ",2"
    path.write_text("\n".join(lines))
    result = harmonised("vindr_cxr", tmp_path)
    assert ledger(result, "image_labels_train.csv") == (6, 1, 2, 0, 3)
    rejects = result.account.rejects().select("line", "kind", "code").rows()
    assert rejects == [(2, "value", "CXR-305"), (5, "row", "CXR-208"), (6, "row", "CXR-206"), (7, "row", "CXR-207")]
    assert result[READINGS].filter(reader_id="R8")["No finding"].to_list() == [None]
    assert result[MAJORITY].select("Edema", "No finding").row(0) == (POSITIVE, NEGATIVE)


def test_files_are_told_apart_by_content(tmp_path: Path, registry: Registry, synthetic: Callable[..., Path]) -> None:
    """Kaggle's table under another name; PediCXR's files, which bear the same names, are refused."""
    label_rows(tmp_path, "train", three(A, "", "", ""))
    (tmp_path / "annotations" / "image_labels_train.csv").rename(tmp_path / "labels.csv")
    write_rows(
        tmp_path / "competition.csv",
        ["image_id", "class_name", "class_id", "rad_id", *CORNERS],
        [[A, "No finding", 14, "R8", "", "", "", ""]],
    )
    [files] = find(registry, [], [tmp_path]).datasets
    assert {file.name: (file.spec.role, file.variant) for file in files.files} == {
        "labels.csv": ("image_labels_train", "physionet"),
        "competition.csv": ("kaggle", "kaggle"),
    }
    with pytest.raises(CxrError) as caught:
        find(registry, [(registry.get("vindr_cxr"), synthetic("vindr_pcxr"))])
    assert caught.value.code == "CXR-112"
