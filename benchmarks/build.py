"""Building the catalog: all six datasets, the same with CheXpert Plus, and once more with nothing changed."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.data import prepare
from benchmarks.measure import Figure, Run, python, run

CORES = 2
GIGABYTE = 10**9
_PLUS_DATASETS = ("mimic_cxr", "nih_cxr14", "padchest", "vindr_cxr", "vindr_pcxr")
LIMIT_NAMES = {
    "read": "reading the bytes",
    "hash": "SHA-256 of the bytes",
    "parse": "polars.read_csv of the text files, every column text",
    "notebook": "pandas: CheXpert and MIMIC-CXR joined to race, sex, age; not checked, not stored",
}


@dataclass(frozen=True)
class Phase:
    """A part of a build: its message, how long until the next one, and the highest memory (bytes) meanwhile."""

    message: str
    seconds: float
    peak_bytes: int


def forget(catalog: Path) -> None:
    """Remove builds, stages and fingerprints; the DICOM headers stay cached."""
    for folder in (catalog / "builds", catalog / "cache" / "stages"):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (catalog / "CURRENT", catalog / "cache" / "inputs.json", catalog / "cache" / "files.json"):
        file.unlink(missing_ok=True)


def build_command(catalog: Path, *wishes: object) -> list[str]:
    """`cxrdata build-catalog` into `catalog`."""
    return python("cxrdata", "build-catalog", *wishes, "-c", catalog, "--workers", CORES, "--quiet")


def all_six(data: Path, catalog: Path, *, runs: int) -> list[Figure]:
    """The build of the six datasets, headers cached, with what it is compared to. Leaves the catalog built."""
    command = build_command(catalog, "--root", data)
    run(command)  # reads the DICOM headers, which later builds find in the cache
    figures = [
        Figure(
            "build-catalog, six datasets",
            [_fresh(command, catalog) for _ in range(runs)],
            aim=10,
            limit=15,
            limit_bytes=2 * GIGABYTE,
        )
    ]
    figures += [
        Figure(title, [run(python("benchmarks.limits", name, data)) for _ in range(runs)])
        for name, title in LIMIT_NAMES.items()
    ]
    return figures


def unchanged(data: Path, catalog: Path, *, runs: int) -> Figure:
    """A build with nothing changed since the last."""
    return Figure(
        "build-catalog, nothing changed",
        [run(build_command(catalog, "--root", data), memory=False) for _ in range(runs)],
        limit=1,
    )


def with_plus(folder: Path, data: Path, catalog: Path, *, scale: float, runs: int) -> list[Figure]:
    """The six datasets with CheXpert Plus: the tables, and the same with all columns and texts kept.

    Builds into `catalog`, which had better be one whose headers are cached.
    """
    plus = prepare(folder, scale=scale, plus=True)
    named = [f"chexpert={plus / 'chexpert'}", *(f"{name}={data / name}" for name in _PLUS_DATASETS)]
    figures = []
    for title, wishes in (
        ("build-catalog with CheXpert Plus", ()),
        ("the same, --keep-raw --with-text", ("--keep-raw", "--with-text")),
    ):
        command = build_command(catalog, *named, *wishes)
        forget(catalog)
        run(command)
        figures.append(Figure(title, [_fresh(command, catalog) for _ in range(runs)], limit=40))
    figures.append(
        Figure(
            "polars.read_csv of CheXpert with Plus alone",
            [run(python("benchmarks.limits", "parse", plus)) for _ in range(runs)],
        )
    )
    return figures


def _fresh(command: list[str], catalog: Path) -> Run:
    forget(catalog)
    return run(command)


def phases(data: Path, catalog: Path) -> list[Phase]:
    """A build's phases, as its progress messages tell them."""
    forget(catalog)
    done = run(python("benchmarks.build", data, catalog))
    told = [(float(at), message) for at, _, message in (line.partition(" ") for line in done.stdout.splitlines())]
    result = []
    for (start, message), (end, _) in pairwise(told):
        within = [sample.pss for sample in done.samples if start <= sample.at < end and sample.pss is not None]
        result.append(Phase(message, end - start, max(within, default=0)))
    return result


def _tell_phases(data: Path, catalog: Path) -> None:
    def tell(message: str) -> None:
        sys.stdout.write(f"{time.monotonic()} {message}\n")
        sys.stdout.flush()

    tell("starting")
    from cxrdata.store.build import BuildRequest, build_catalog

    build_catalog(BuildRequest(catalog, roots=[data], workers=CORES), tell)
    tell("end")


if __name__ == "__main__":
    _tell_phases(Path(sys.argv[1]), Path(sys.argv[2]))
