"""Made-up predictions whose false positive rates are known, in the layout of ped_vs_adults-cxr and in ours."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

THEIRS = {
    "vindr_cxr": "vindr_cxr",
    "nih_cxr14": "nih_cxr18",
    "padchest": "padchest",
    "chexpert": "chexbert",
    "vindr_pcxr": "vindr_pcxr",
}
# Healthy images, and those called positive, by age in years.
CHILDREN = {"000D": (20, 12), "001Y": (30, 15), "002Y": (25, 5), "003Y": (25, 0), "009Y": (12, 1), "010Y": (12, 12)}
ADULTS = {"20": (20, 2), "30": (40, 4), "50": (30, 0), "70": (30, 6), "85": (12, 6)}
# Above 0.5 is positive, and the calibration part says so: 20 with the finding at 0.6 to 0.9, 40 without at 0.1 to 0.4.
CALIBRATION = [(1, 0.6 + at * 0.015) for at in range(20)] + [(0, 0.1 + at * 0.0075) for at in range(40)]


def row(
    dataset: str, split: str, name: str, age: str, score: float, *, positive: int | None = 0, **more: object
) -> dict[str, object]:
    """A row of theirs."""
    return {
        "dset": THEIRS[dataset], "split": split, "image_id": f"{split}-{name}", "patient_id": f"p-{split}-{name}", "age": age,
        "view": "PA", "Has Finding": positive, "Cardiomegaly": positive, "No Finding": None if positive is None else 1 - positive,
        "class_probs": json.dumps([round(1 - score, 4), round(score, 4)]),
    } | more  # fmt: skip


def healthy_rows(dataset: str, split: str, ages: dict[str, tuple[int, int]], **more: object) -> list[dict[str, object]]:
    return [
        row(dataset, split, f"{age}-{at}", age, 0.8 if at < called else 0.2, **more)
        for age, (n, called) in ages.items()
        for at in range(n)
    ]


def calibration_rows(dataset: str) -> list[dict[str, object]]:
    return [
        row(dataset, "test_adult_calib", str(at), "45", score, positive=positive)
        for at, (positive, score) in enumerate(CALIBRATION)
    ]


def write(folder: Path, trained_on: str, rows: list[dict[str, object]], *, blend: str = "") -> Path:
    """Rows of one dataset and split, where ped_vs_adults-cxr writes them."""
    first = rows[0]
    place = (
        folder
        / blend
        / f"exp_cardiomegaly-{THEIRS[trained_on]}-mixup-imb_sampler"
        / str(first["dset"])
        / str(first["split"])
        / "best"
    )
    place.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, infer_schema_length=None).write_csv(place / "predictions.csv")
    return place / "predictions.csv"


def write_model(folder: Path, trained_on: str, *, tested_on: tuple[str, ...] = (), blend: str = "") -> None:
    """A model's calibration, children of VinDr-PCXR and healthy adults of some datasets (its own, unless said)."""
    write(folder, trained_on, calibration_rows(trained_on), blend=blend)
    write(folder, trained_on, healthy_rows("vindr_pcxr", "test", CHILDREN), blend=blend)
    for dataset in tested_on or (trained_on,):
        write(folder, trained_on, healthy_rows(dataset, "test_healthy_adult", ADULTS), blend=blend)
