"""Small catalogs for the tests of the store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from nih_files import rows, write_nih

from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog


@pytest.fixture(scope="session")
def build_nih(registry: Registry) -> Callable[..., str]:
    """`build_nih(catalog, source)`: build the NIH files of `source` into `catalog`; returns the build's id."""

    def run(catalog: Path, source: Path) -> str:
        result = build_catalog(BuildRequest(catalog, named=[(registry.get("nih"), source)], workers=1))
        return result.build.build_id

    return run


@pytest.fixture(scope="session")
def tiny_folder(build_nih: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of some fifty NIH images. Read only: tests that change it take `tiny_copy`."""
    folder = tmp_path_factory.mktemp("tiny")
    build_nih(folder / "catalog", write_nih(folder / "nih", rows()))
    return folder / "catalog"


@pytest.fixture
def tiny_catalog(tiny_folder: Path):  # noqa: ANN201 - a generator of Catalog
    with Catalog(tiny_folder) as catalog:
        yield catalog


@pytest.fixture
def tiny_copy(tiny_folder: Path, tmp_path: Path) -> Path:
    """The tiny catalog for one test alone."""
    copy = tmp_path / "catalog"
    shutil.copytree(tiny_folder, copy, ignore=shutil.ignore_patterns("cache"))
    return copy


@pytest.fixture(scope="session")
def synthetic_folder(
    registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A catalog of all six synthetic datasets, as small as they come."""
    folder = tmp_path_factory.mktemp("synthetic") / "catalog"
    named = [(source, synthetic(source.name)) for source in registry]
    build_catalog(BuildRequest(folder, named=named, workers=1))
    return folder


@pytest.fixture
def synthetic_catalog(synthetic_folder: Path):  # noqa: ANN201 - a generator of Catalog
    with Catalog(synthetic_folder) as catalog:
        yield catalog
