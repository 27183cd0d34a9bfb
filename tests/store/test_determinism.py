"""Same in, same out: the bytes of a catalog do not depend on the machine's settings."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from builds import build_arguments, current_build, database_digests

from cxrdata.sources.base import Registry

# One setting differs per case from the first; the names are what a failing test shows.
SETTINGS: dict[str, dict[str, str]] = {
    "reference": {"POLARS_MAX_THREADS": "1", "PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
    "threads_workers_locale": {"POLARS_MAX_THREADS": "2", "PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "de_DE.UTF-8"},
    "hash_seed_zone_no_locale": {
        "POLARS_MAX_THREADS": "1",
        "PYTHONHASHSEED": "4242",
        "TZ": "Pacific/Auckland",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
    },
}
WORKERS = {"threads_workers_locale": 2}
QUERY = (
    "SELECT i.dataset, i.image_id, i.age_years, i.view, i.study_date, p.race_raw, l.* EXCLUDE (dataset, image_id)"
    " FROM images AS i LEFT JOIN patients AS p USING (dataset, patient_id) LEFT JOIN image_labels AS l USING (dataset, image_id) ORDER BY ALL"
)


@dataclass(frozen=True)
class Output:
    """All that must be equal: digests of files by path, of the DuckDB tables, and of what `sql` prints."""

    build_id: str
    files: dict[str, str]
    tables: dict[str, str]
    printed: dict[str, str]


def cxrdata(arguments: list[str], settings: dict[str, str], folder: Path) -> bytes:
    """Run the command in a process of its own and return its output."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LC_", "LANG", "TZ", "PYTHONUTF8", "CXRDATA"))
    } | settings
    done = subprocess.run(
        [sys.executable, "-m", "cxrdata", *arguments],
        env=env,
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def copied(source: Path, target: Path, *, seed: int) -> Path:
    """The files written in another order, with other times."""
    rng = random.Random(seed)
    files = sorted(path for path in source.rglob("*") if path.is_file())
    rng.shuffle(files)
    for path in files:
        to = target / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
        moment = rng.randrange(10**9)
        os.utime(to, (moment, moment))
    return target


def outputs_of(sources: dict[str, Path], new_folder: Callable[[str], Path]) -> dict[str, Output]:
    """What comes out under each of the settings, two at a time."""

    def build(number: int, name: str) -> Output:
        folder = new_folder(name).joinpath(*["parent"] * number)
        folder.mkdir(parents=True, exist_ok=True)
        named = [
            f"{dataset}={copied(source, folder / str(number) / dataset, seed=number)}"
            for dataset, source in sources.items()
        ]
        if number % 2:
            named.reverse()
        catalog = folder / "cxr-catalog"
        cxrdata(
            build_arguments(catalog, *named, workers=WORKERS.get(name, 1), wishes=["--keep-raw"]),
            SETTINGS[name],
            folder,
        )
        printed = {
            row_format: hashlib.sha256(
                cxrdata(["sql", QUERY, "-c", str(catalog), "--format", row_format], SETTINGS[name], folder)
            ).hexdigest()
            for row_format in ("csv", "json")
        }
        path = current_build(catalog)
        kept = [file for file in sorted(path.rglob("*")) if file.suffix in (".parquet", ".json", ".md")]
        files = {file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in kept}
        return Output(path.name, files, database_digests(path).digests, printed)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(SETTINGS, pool.map(build, range(len(SETTINGS)), SETTINGS), strict=True))


@pytest.fixture(scope="module")
def outputs(synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Output]:
    """One dataset of many joined files and one of DICOM headers."""
    sources = {name: synthetic(name, scale=0.0002) for name in ("mimic_cxr", "vindr_pcxr")}
    return outputs_of(sources, tmp_path_factory.mktemp)


@pytest.mark.soak
def test_same_in_same_out_of_every_dataset(
    registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Large enough for the engines to work in several threads and chunks."""
    sources = {source.name: synthetic(source.name, scale=0.02) for source in registry}
    outputs = outputs_of(sources, tmp_path_factory.mktemp)
    assert all(output == outputs["reference"] for output in outputs.values())


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "reference"])
@pytest.mark.parametrize("part", ["files", "tables", "printed", "build_id"])
def test_same_in_same_out(outputs: dict[str, Output], name: str, part: str) -> None:
    assert getattr(outputs[name], part) == getattr(outputs["reference"], part)


def test_there_is_something_to_compare(outputs: dict[str, Output]) -> None:
    reference = outputs["reference"]
    assert "manifest.json" in reference.files
    assert sum(name.endswith(".parquet") for name in reference.files) > 20
    assert len(set(reference.printed.values())) == 2
