"""CheXpert's files made by hand, and what came of them."""

from __future__ import annotations

import csv
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.sources.chexpert import synth_workbook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Run = Callable[..., Any]

LABELS = [
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
]
HEADER = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELS]
ROOT = "CheXpert-v1.0-small"
ORDINARY = {"Sex": "Female", "Age": "68", "Frontal/Lateral": "Frontal", "AP/PA": "AP", "No Finding": "1.0"}
CODES = {"1.0": 1, "0.0": 0, "-1.0": -1, "": -2}
# CONTRACT §2: one key for small, full, batches and Plus.
IMAGE = "train/patient00001/study1/view1_frontal.jpg"
PLUS_HEADER = [
    "path_to_image",
    "path_to_dcm",
    "frontal_lateral",
    "ap_pa",
    "deid_patient_id",
    "patient_report_date_order",
    "report",
    "section_findings",
    "age",
    "sex",
    "race",
    "ethnicity",
    "split",
]
SHEET = "CheXpert Demo 11-13"
PEOPLE = {
    "PATIENT": pl.String,
    "GENDER": pl.String,
    "AGE_AT_CXR": pl.Int64,
    "PRIMARY_RACE": pl.String,
    "ETHNICITY": pl.String,
}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Sequence[Mapping[str, str]], header: Sequence[str] = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def train(folder: Path, *rows: Mapping[str, str], name: str = "train.csv") -> Path:
    """`rows` say what differs from an ordinary first image; `at` is the path below the root."""
    filled = [
        {"Path": f"{ROOT}/{row.get('at', IMAGE)}", **ORDINARY, **{k: v for k, v in row.items() if k != "at"}}
        for row in rows
    ]
    return write_rows(folder / name, filled)


def plus(folder: Path, *rows: Mapping[str, str]) -> Path:
    common = {
        "frontal_lateral": "Frontal", "ap_pa": "AP", "patient_report_date_order": "1", "report": 'NARRATIVE:\n"quoted", and\nmore',
        "age": "68.0", "sex": "Female", "split": "train",
    }  # fmt: skip
    filled = [{"path_to_image": IMAGE, **common, **row} for row in rows]
    return write_rows(
        folder / "df_chexpert_plus_240401.csv",
        [{"deid_patient_id": r["path_to_image"].split("/")[1], **r} for r in filled],
        PLUS_HEADER,
    )


def workbook(folder: Path, *rows: Sequence[object]) -> Path:
    path = folder / "CHEXPERT DEMO.xlsx"
    path.write_bytes(synth_workbook.workbook_bytes(pl.DataFrame(rows, schema=PEOPLE, orient="row"), SHEET))
    return path


def row(result: Any, image_id: str = IMAGE) -> Any:
    return result["images"].filter(pl.col("image_id") == image_id).row(0, named=True)


def notes(result: Any) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for _, topic, item, n, _ in result.account.notes().iter_rows():
        found[topic, item].append(n)
    return found


def rejected(result: Any) -> Any:
    return result.account.rejects().select("code", "kind", "line", "column_name", "value").rows()


def ledger(result: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(counts) for _, name, *counts in result.account.ledger().iter_rows()}


def study(number: int, view: str = "view1_frontal", patient: str = "patient00001", split: str = "train") -> str:
    return f"{split}/{patient}/study{number}/{view}.jpg"
