"""Which files are predictions of the fourteen findings: their `preds.csv` (Image Index, prob_<Label>), ours, anyone's that the
audit reads."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.stages import sha256_file

SUFFIXES = (".csv", ".csv.gz", ".parquet")
_SCORES = ("prob_", "logit_", "class_")


def find_files(place: Path) -> list[Path]:
    """The file, or those in a folder whose columns are scores: of reproduce-chexnet's results `preds.csv`, not `aucs.csv`.

    Raises CxrError: CXR-101 nothing there, CXR-120 a folder without predictions.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise CxrError("CXR-101", "there is no such file or folder", where=str(place), fix="--predictions FILE or DIR")
    found = [path for path in sorted(place.iterdir()) if path.name.lower().endswith(SUFFIXES) and _has_scores(path)]
    if not found:
        raise CxrError(
            "CXR-120",
            "no file here has columns of scores",
            where=str(place),
            fix="CSV or Parquet with an image key and prob_<label> columns, such as reproduce-chexnet's preds.csv",
        )
    return found


def _has_scores(path: Path) -> bool:
    """Whether the header names a score. What cannot be read is no table of predictions."""
    try:
        if path.suffix.lower() == ".parquet":
            names = list(pl.read_parquet_schema(path))
        else:
            opened = gzip.open if path.suffix.lower() == ".gz" else open
            with opened(path, "rt", encoding="utf-8", errors="replace", newline="") as file:
                names = next(csv.reader(file), [])
    except (OSError, EOFError, csv.Error, pl.exceptions.PolarsError):
        return False
    return any(name.lower().startswith(_SCORES) for name in names)


def digests(place: Path, order: Path | None) -> dict[str, str]:
    """SHA-256 of each file that is read, by its name."""
    found = {path.name: sha256_file(path) for path in find_files(place)}
    if order is not None:
        if not order.is_file():
            raise CxrError("CXR-101", "this file does not exist", where=str(order), fix="--order FILE")
        found[f"order {order.name}"] = sha256_file(order)
    return found
