"""A catalog of all six synthetic datasets, for splits of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

import cxrdata
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog


@pytest.fixture(scope="session")
def split_catalog_folder(
    registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Its folder. Read only: a test that stores a split takes `own_catalog`."""
    folder = tmp_path_factory.mktemp("splits") / "cxr-catalog"
    named = [(source, synthetic(source.name)) for source in registry]
    build_catalog(BuildRequest(folder, named=named, workers=1))
    return folder


@pytest.fixture(scope="session")
def split_catalog(split_catalog_folder: Path) -> Iterator[Catalog]:
    with cxrdata.open(split_catalog_folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def split_images(split_catalog: Catalog) -> pl.DataFrame:
    """Its images, sorted by key."""
    return split_catalog.table("images").sort("dataset", "image_id").collect()


@pytest.fixture
def own_catalog(split_catalog_folder: Path, tmp_path: Path) -> Iterator[Catalog]:
    """The same catalog for one test alone, without a copy: its builds are links."""
    folder = tmp_path / "own-catalog"
    folder.mkdir()
    (folder / "CURRENT").write_bytes((split_catalog_folder / "CURRENT").read_bytes())
    (folder / "builds").symlink_to(split_catalog_folder / "builds", target_is_directory=True)
    with cxrdata.open(folder) as opened:
        yield opened
