"""Catalogs from which bundles are made: all six synthetic datasets, and the real NIH data."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cxrdata
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog

# Large enough that each published experiment finds both of its answers in training and in validation.
SCALE = 0.01


@pytest.fixture(scope="session")
def sources(registry: Registry, synthetic: Callable[..., Path]) -> dict[str, Path]:
    """The folder of each synthetic dataset."""
    return {source.name: synthetic(source.name, scale=SCALE) for source in registry}


@pytest.fixture(scope="session")
def catalog_folder(registry: Registry, sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of them. Read only: a test that stores a split takes `catalog` of its own."""
    folder = tmp_path_factory.mktemp("prepare") / "cxr-catalog"
    named = [(registry.get(name), path) for name, path in sources.items()]
    build_catalog(BuildRequest(folder, named=named, workers=1))
    return folder


def linked(folder: Path, to: Path) -> Path:
    """A catalog with the same builds and no splits, without a copy."""
    to.mkdir()
    (to / "CURRENT").write_bytes((folder / "CURRENT").read_bytes())
    (to / "builds").symlink_to(folder / "builds", target_is_directory=True)
    return to


@pytest.fixture
def catalog(catalog_folder: Path, tmp_path: Path) -> Iterator[Catalog]:
    """The synthetic catalog, for one test alone."""
    with cxrdata.open(linked(catalog_folder, tmp_path / "own")) as opened:
        yield opened


@pytest.fixture
def nih(nih_catalog: Path, tmp_path: Path) -> Iterator[Catalog]:
    """The catalog of the real NIH data, for one test alone."""
    with cxrdata.open(linked(nih_catalog, tmp_path / "own-nih")) as opened:
        yield opened


@pytest.fixture(scope="session")
def nih_rows(real_data: Path) -> dict[str, dict[str, str]]:
    """The rows of the real NIH file by image, read with the csv module alone."""
    with gzip.open(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return {row["Image Index"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="session")
def chexpert_rows(sources: dict[str, Path]) -> Callable[[str], dict[str, dict[str, str]]]:
    """The rows of a file of the synthetic CheXpert by image id."""

    def read(name: str) -> dict[str, dict[str, str]]:
        (path,) = sources["chexpert"].rglob(name)
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            return {"train/" + row["Path"].split("/train/")[-1]: row for row in rows}

    return read
