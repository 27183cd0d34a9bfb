"""MIMIC-CXR-JPG and MIMIC-IV in a few rows, and how the tests look at what became of them."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.sources.mimic_cxr.read import LABELS, RADIOLOGIST_LABELS

if TYPE_CHECKING:
    from pathlib import Path

METADATA = (
    "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns", "StudyDate",
    "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning", "PatientOrientationCodeSequence_CodeMeaning",
)  # fmt: skip
RELEASES = [("jpg_2_1", "iv_hosp"), ("jpg_2_0", "iv_core"), ("jpg_2_1", "iv_core", "plain_csv")]

Row = Mapping[str, object]


def dicom(number: int) -> str:
    return f"{number:08x}-0000000a-0000000b-0000000c-0000000d"


def image(number: int, *, subject: object = 10000032, study: object = 50414267, **other: object) -> dict[str, object]:
    """A row of the metadata."""
    usual = {"ViewPosition": "AP", "Rows": 3056, "Columns": 2544, "StudyDate": 21800506, "StudyTime": 213014.531}
    return {"dicom_id": dicom(number), "subject_id": subject, "study_id": study, **usual, **other}


def study(study_id: int, *, subject: int = 10000032, **labels: object) -> dict[str, object]:
    """A row of a labeler's file; label names with underscores."""
    return {
        "subject_id": subject,
        "study_id": study_id,
        **{name.replace("_", " "): value for name, value in labels.items()},
    }


def admission(
    number: int, value: str, *, subject: int = 10000032, at: str = "2180-05-06 22:23:00", column: str = "race"
) -> dict[str, object]:
    return {"subject_id": subject, "hadm_id": 20000000 + number, "admittime": at, column: value}


def write(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_dataset(folder: Path, images: Sequence[Row], *, race_column: str = "race", **files: Sequence[Row]) -> Path:
    """The metadata with `images`, and the files of other roles with theirs; `unnamed` is a labeler's."""
    labels = ("subject_id", "study_id", *LABELS)
    columns = {
        "split": ("mimic-cxr-2.0.0-split.csv", ("dicom_id", "study_id", "subject_id", "split")),
        "chexpert": ("mimic-cxr-2.0.0-chexpert.csv", labels),
        "negbio": ("mimic-cxr-2.0.0-negbio.csv", labels),
        "unnamed": ("labels.csv", labels),
        "radiologist": ("mimic-cxr-2.1.0-test-set-labeled.csv", ("study_id", *RADIOLOGIST_LABELS)),
        "patients": (
            "hosp/patients.csv",
            ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"),
        ),
        "admissions": ("hosp/admissions.csv", ("subject_id", "hadm_id", "admittime", race_column)),
    }
    write(folder / "mimic-cxr-2.0.0-metadata.csv", METADATA, images)
    for role, rows in files.items():
        name, header = columns[role]
        write(folder / name, header, rows)
    return folder


def rows_of(folder: Path, part: str) -> list[dict[str, str]]:
    """The rows of a synthetic file, read without the project's code."""
    path = next(path for path in sorted(folder.rglob("*.csv*")) if part in path.name)
    body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


def notes(dataset, topic: str, item: str) -> int:  # noqa: ANN001 - Harmonised
    found = dataset.account.notes().filter((pl.col("topic") == topic) & (pl.col("item") == item))
    return int(found["n"].sum())


def refused(dataset) -> list[tuple[str, str, str | None, int]]:  # noqa: ANN001 - Harmonised
    return dataset.account.rejects().select("kind", "code", "value", "line").rows()


def ledger(dataset, part: str) -> dict[str, int]:  # noqa: ANN001 - Harmonised
    return (
        dataset.account.ledger()
        .filter(pl.col("source_file").str.contains(part, literal=True))
        .drop("dataset", "source_file")
        .row(0, named=True)
    )
