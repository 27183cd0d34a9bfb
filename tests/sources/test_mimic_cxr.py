"""MIMIC-CXR-JPG: images, official split, views and labels."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl
import pytest
from mimic_files import RELEASES, dicom, image, ledger, notes, refused, rows_of, study, write_dataset

from cxrdata.sources.mimic_cxr.layout import named_labeler
from cxrdata.sources.mimic_cxr.read import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cxrdata.sources.base import Registry


@pytest.fixture
def made(tmp_path: Path, harmonised: Callable) -> Callable:
    """`made(images, chexpert=…, …)`: the dataset made of a few rows of each file."""
    return lambda *args, **files: harmonised("mimic_cxr", write_dataset(tmp_path, *args, **files))


@pytest.mark.parametrize("release", RELEASES, ids="+".join)
def test_every_row_of_every_release_is_settled(
    release: tuple[str, ...], synthetic: Callable, harmonised: Callable
) -> None:
    """CONTRACT §5 ledger: images are kept, rows about them merged, patients without chest films unmatched."""
    folder = synthetic("mimic_cxr", *release)
    dataset = harmonised("mimic_cxr", folder)
    metadata = rows_of(folder, "metadata")
    subjects = {row["subject_id"] for row in metadata}
    assert dataset.account.rejects().is_empty()
    assert ledger(dataset, "metadata")["rows_kept"] == len(metadata) == dataset["images"].height
    assert ledger(dataset, "split")["rows_merged"] == len(metadata)
    assert ledger(dataset, "negbio")["rows_merged"] == len(rows_of(folder, "negbio"))
    for part in ("patients", "admissions"):
        rows = rows_of(folder, part)
        matched = sum(row["subject_id"] in subjects for row in rows)
        assert ledger(dataset, part) == {
            "rows_read": len(rows), "rows_kept": 0, "rows_merged": matched, "rows_unmatched": len(rows) - matched, "rows_rejected": 0,
        }  # fmt: skip
        assert 0 < matched < len(rows)


def test_synthetic_labels_stand_on_every_image_of_the_study(synthetic: Callable, harmonised: Callable) -> None:
    """formats.md 1.2: labels are of studies; columns are alphabetical, so they must go by name."""
    folder = synthetic("mimic_cxr")
    dataset = harmonised("mimic_cxr", folder)
    images_of = Counter(row["study_id"] for row in rows_of(folder, "metadata"))
    codes = {"1.0": 1, "0.0": 0, "-1.0": -1, "": -2}
    for labeler in ("chexpert", "negbio"):
        states = dataset[f"states_mimic_cxr_{labeler}"]
        rows = rows_of(folder, labeler)
        assert states.height == sum(images_of[row["study_id"]] for row in rows) < dataset["images"].height
        for label in LABELS:
            expected = Counter()
            for row in rows:
                expected[codes[row[label]]] += images_of[row["study_id"]]
            assert dict(states[label].value_counts().rows()) == expected
        assert not states["closed_world"].any()


def test_plain_and_gzipped_files_read_alike(synthetic: Callable, harmonised: Callable) -> None:
    """formats.md 1.2: .csv.gz and decompressed .csv both occur in the wild."""
    zipped = harmonised("mimic_cxr", synthetic("mimic_cxr", "jpg_2_1", "iv_hosp"))
    plain = harmonised("mimic_cxr", synthetic("mimic_cxr", "jpg_2_1", "iv_hosp", "plain_csv"))
    assert zipped["images"].drop("source_file").equals(plain["images"].drop("source_file"))
    assert zipped["image_labels"].equals(plain["image_labels"])
    assert zipped["patients"].equals(plain["patients"])


def test_keys_and_path(made: Callable) -> None:
    """CONTRACT §2 and formats.md 1.2: files/pXX/pSUBJECT/sSTUDY/<dicom_id>.jpg; the JPG keeps the DICOM's size."""
    found = made([image(7)])["images"].row(0, named=True)
    assert found["image_id"] == dicom(7)
    assert (found["patient_id"], found["study_id"]) == ("10000032", "50414267")
    assert found["path"] == f"files/p10/p10000032/s50414267/{dicom(7)}.jpg"
    assert (
        (found["rows_px"], found["columns_px"])
        == (found["original_rows_px"], found["original_columns_px"])
        == (3056, 2544)
    )
    assert (found["source_file"], found["source_row"]) == ("mimic-cxr-2.0.0-metadata.csv", 0)


def test_broken_keys_are_refused(made: Callable) -> None:
    """errors.py: CXR-206 to CXR-209. Ids: mimic.mit.edu, module CXR (subjects 1…, studies 5…, eight digits)."""
    rows = [
        image(1),
        image(1),
        {**image(2), "dicom_id": "02aa804e.jpg"},
        image(3, subject=""),
        image(4, study="s50414267"),
        image(5, subject="10000032.0"),
    ]
    dataset = made(rows)
    assert dataset["images"]["image_id"].to_list() == [dicom(1)]
    assert sorted(refused(dataset), key=lambda row: row[3]) == [
        ("row", "CXR-208", dicom(1), 3),
        ("row", "CXR-207", "02aa804e.jpg", 4),
        ("row", "CXR-209", None, 5),
        ("row", "CXR-207", "s50414267", 6),
        ("row", "CXR-207", "10000032.0", 7),
    ]
    assert ledger(dataset, "metadata") == {
        "rows_read": 6,
        "rows_kept": 1,
        "rows_merged": 0,
        "rows_unmatched": 0,
        "rows_rejected": 5,
    }


def test_unusable_values_are_nulled_and_reported(made: Callable) -> None:
    """errors.py: CXR-301 and CXR-302; the image stays."""
    dataset = made([image(1, Rows="tall", StudyDate="2180-05-06", StudyTime="")])
    found = dataset["images"].row(0, named=True)
    assert (found["rows_px"], found["study_date"]) == (None, None)
    assert sorted(code for _, code, _, _ in refused(dataset)) == ["CXR-301", "CXR-302"]


def test_studies_are_ordered_by_date_and_time(made: Callable) -> None:
    """formats.md 1.2: StudyTime has no leading zeros (556.875 is 00:05:56.875), study ids have no order."""
    rows = [
        image(1, study=50000001, StudyDate=21800507, StudyTime=1.0),
        image(2, study=50000002, StudyDate=21800506, StudyTime=120000.0),
        image(3, study=50000003, StudyDate=21800506, StudyTime=80556.875),
        image(4, study=50000004, StudyDate=21800506, StudyTime=556.875),
    ]
    dataset = made(rows)
    assert dataset["studies"].sort("study_order")["study_id"].to_list() == [
        "50000004",
        "50000003",
        "50000002",
        "50000001",
    ]


def test_official_split(made: Callable) -> None:
    """formats.md 1.2: train, validate, test; what the file does not list has none."""
    rows = [image(n, study=50000000 + n) for n in range(1, 6)]
    names = {1: "train", 2: "validate", 3: "test", 4: "holdout"}
    split = [
        {"dicom_id": dicom(n), "study_id": 50000000 + n, "subject_id": 10000032, "split": name}
        for n, name in names.items()
    ]
    split.append({"dicom_id": dicom(99), "study_id": 50000099, "subject_id": 10000099, "split": "train"})
    dataset = made(rows, split=split)
    assert dataset["images"].sort("image_id")["source_split"].to_list() == ["train", "valid", "test", None, None]
    assert refused(dataset) == [("value", "CXR-303", "holdout", 5)]
    assert ledger(dataset, "split")["rows_unmatched"] == 1
    assert notes(dataset, "coverage", "source_split") == 1


def test_files_that_disagree_about_keys_are_counted(made: Callable) -> None:
    """The catalog's `[[precedence]]`: the metadata's patient and study are kept."""
    split = [{"dicom_id": dicom(1), "study_id": 50414267, "subject_id": 10000099, "split": "train"}]
    dataset = made([image(1)], split=split, chexpert=[study(50414267, subject=10000099, Edema=1.0)])
    assert dataset["images"]["patient_id"].to_list() == ["10000032"]
    assert notes(dataset, "disagreement", "study_id") == 1
    assert notes(dataset, "disagreement", "patient_id") == 1


def test_views(made: Callable) -> None:
    """formats.md 1.2: an empty ViewPosition is filled from the code; where both speak, ViewPosition is kept."""
    code, turned = "ViewCodeSequence_CodeMeaning", "PatientOrientationCodeSequence_CodeMeaning"
    rows = [
        image(1, **{"ViewPosition": "PA", code: "postero-anterior", turned: "Erect"}),
        image(2, **{"ViewPosition": "", code: "postero-anterior"}),
        image(3, **{"ViewPosition": "", code: "", turned: "Recumbent"}),
        image(4, **{"ViewPosition": "PA", code: "antero-posterior"}),
        image(5, **{"ViewPosition": "AP LLD", code: "antero-posterior", turned: "Recumbent"}),
        image(6, **{"ViewPosition": "LL", code: "lateral"}),
        image(7, ViewPosition="CHEST"),
    ]
    dataset = made(rows)
    found = dataset["images"].sort("image_id").select("view", "view_source", "frontal", "position").rows()
    assert found == [
        ("PA", "ViewPosition", True, "erect"),
        ("PA", code, True, None),
        (None, None, None, "supine"),
        ("PA", "ViewPosition", True, None),
        ("DECUBITUS", "ViewPosition", True, "decubitus"),
        ("LATERAL", "ViewPosition", False, None),
        (None, "ViewPosition", None, None),
    ]
    assert notes(dataset, "disagreement", "view") == 1
    assert refused(dataset) == [("value", "CXR-303", "CHEST", 8)]


def test_states_of_labels(made: Callable) -> None:
    """MIMIC-CXR-JPG 2.1.0 on PhysioNet: an empty cell is not mentioned; a study without a row was not labelled; a row
    of empty cells was (2,414 of CheXpert's), and NegBio's No Finding must not take its place in image_labels.
    """
    rows = [image(1, study=50000001), image(2, study=50000001), image(3, study=50000002), image(4, study=50000003)]
    chexpert = [study(50000001, Edema=1.0, Fracture=-1.0, Pneumonia=0.0), study(50000002)]
    negbio = [study(50000001, Edema=0.0), study(50000002, No_Finding=1.0), study(50000003, No_Finding=1.0)]
    dataset = made(rows, chexpert=chexpert, negbio=negbio)
    states = (
        dataset["states_mimic_cxr_chexpert"].select("image_id", "Edema", "Fracture", "Pneumonia", "Lung Lesion").rows()
    )
    assert sorted(states) == [(dicom(1), 1, -1, 0, -2), (dicom(2), 1, -1, 0, -2), (dicom(3), -2, -2, -2, -2)]
    labels = dataset["image_labels"].sort("image_id").select("labeler", "edema", "fracture", "no_finding").rows()
    assert labels == [
        ("chexpert", 1, -1, None),
        ("chexpert", 1, -1, None),
        ("chexpert", None, None, None),
        ("negbio", None, None, 1),
    ]
    assert dataset.account.notes().filter(pl.col("item") == "chexpert")["n"].to_list() == [1, 1]


def test_label_rows_that_cannot_be_used(made: Callable) -> None:
    """CONTRACT §5: another study's row is unmatched, a repeated one refused; an invalid cell is not assessed."""
    chexpert = [study(50414267, Edema="yes", Fracture=1.0), study(50414267, Edema=0.0), study(59999999, Edema=1.0)]
    dataset = made([image(1)], chexpert=chexpert)
    assert dataset["states_mimic_cxr_chexpert"].select("Edema", "Fracture", "Pneumonia").rows() == [(None, 1, -2)]
    assert ledger(dataset, "chexpert") == {
        "rows_read": 3,
        "rows_kept": 0,
        "rows_merged": 1,
        "rows_unmatched": 1,
        "rows_rejected": 1,
    }
    assert sorted(refused(dataset)) == [("row", "CXR-208", "50414267", 3), ("value", "CXR-305", "yes", 2)]


def test_labelers_with_one_header_are_told_apart_by_name(made: Callable) -> None:
    """formats.md 1.2: chexpert and negbio have the same header. A name that says neither is counted."""
    assert named_labeler("mimic-cxr-2.0.0-NegBio.csv.gz") == "negbio"
    assert named_labeler("chexpert/labels.csv") is None
    dataset = made([image(1)], unnamed=[study(50414267, Edema=1.0)])
    assert [labels.labeler for labels in dataset.raw.labels] == ["chexpert"]
    assert notes(dataset, "ambiguity", "labeler") == 1


def test_annotator_of_the_test_set(made: Callable) -> None:
    """PhysioNet, 2.1.0: reports of 687 test studies, key study_id alone, Lung Opacity called Airspace Opacity, an
    empty cell not mentioned, -1 for a doubtful No Finding. The annotator is the last choice for image_labels.
    """
    rows = [image(1, study=50000001), image(2, study=50000002)]
    radiologist = [{"study_id": 50000001, "Airspace Opacity": 1.0, "No Finding": -1.0}]
    dataset = made(rows, radiologist=radiologist, chexpert=[study(50000001, Lung_Opacity=0.0)])
    states = dataset["states_mimic_cxr_radiologist"]
    assert states.select("image_id", "Airspace Opacity", "No Finding", "Edema").rows() == [(dicom(1), 1, -1, -2)]
    assert dataset["image_labels"].sort("image_id")["labeler"].to_list() == ["chexpert", None]
    alone = made(rows, radiologist=radiologist, chexpert=[study(50000002)])
    assert alone["image_labels"].sort("image_id").select("labeler", "lung_opacity").row(0) == ("radiologist", 1)


def test_release_2_0_has_no_annotator(synthetic: Callable, harmonised: Callable) -> None:
    """formats.md 1.2: the annotator's file came with 2.1.0."""
    for release, labelers in (("jpg_2_0", ["chexpert", "negbio"]), ("jpg_2_1", ["chexpert", "negbio", "radiologist"])):
        dataset = harmonised("mimic_cxr", synthetic("mimic_cxr", release, "iv_hosp"))
        assert [labels.labeler for labels in dataset.raw.labels] == labelers


def test_catalog_entry(registry: Registry) -> None:
    """The agreement with PhysioNet forbids to share rows, online services included."""
    source = registry.get("mimic")
    assert source.name == "mimic_cxr"
    assert not source.entry["licence"]["share_rows"]
    assert not source.entry["licence"]["third_parties"]
    assert [labeler.name for labeler in source.labelers] == ["chexpert", "negbio", "radiologist"]
    assert all(labeler.level == "study" and not labeler.closed_world for labeler in source.labelers)
