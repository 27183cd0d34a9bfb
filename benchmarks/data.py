"""The data that is measured on: synthetic, at official size, in a folder that is kept."""

from __future__ import annotations

from pathlib import Path

from cxrdata.sources.base import FoundFile, Registry
from cxrdata.sources.discover import find
from cxrdata.sources.write_synthetic import write_datasets

SCALE = 1.0
SEED = 0


def prepare(folder: Path, *, scale: float, plus: bool) -> Path:
    """The six datasets at `folder/<scale>/all`, or CheXpert with CheXpert Plus at `folder/<scale>/plus`.

    Written once; what is there already is used.
    """
    target = folder / f"scale-{scale:g}" / ("plus" if plus else "all")
    done = target / "COMPLETE"
    if not done.is_file():
        write_datasets(
            target,
            scale=scale,
            seed=SEED,
            only="chexpert" if plus else None,
            variants=["chexpert=plus"] if plus else [],
        )
        done.touch()
    return target


def table_files(folder: Path) -> list[FoundFile]:
    """The files below a folder that a build reads, DICOM files apart."""
    found = find(Registry(), [], [folder])
    return [file for files in found.datasets for file in files.files]


def files_by_role(folder: Path) -> dict[str, dict[str, Path]]:
    """dataset -> role of a file (see `catalog/`) -> the first file of that role."""
    found = find(Registry(), [], [folder])
    return {
        files.source.name: {file.spec.role: file.path for file in reversed(files.files)} for files in found.datasets
    }


def text_files(folder: Path) -> list[Path]:
    """Those of `table_files` that are text: CSV, lists, JSON lines; gzipped or not."""
    return [file.path for file in table_files(folder) if file.path.suffix != ".xlsx"]


def size_bytes(folder: Path) -> int:
    """Bytes of the table files."""
    return sum(file.path.stat().st_size for file in table_files(folder))
