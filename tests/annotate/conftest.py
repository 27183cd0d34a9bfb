"""Catalogs that files are annotated with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

import cxrdata
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog

DATASETS = ("chexpert", "nih_cxr14", "padchest", "vindr_cxr", "vindr_pcxr")


@pytest.fixture(scope="session")
def catalog_folder(
    registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A catalog of synthetic data."""
    folder = tmp_path_factory.mktemp("annotate") / "cxr-catalog"
    named = [(registry.get(name), synthetic(name, scale=0.0005)) for name in DATASETS]
    build_catalog(BuildRequest(folder, named=named, workers=1))
    return folder


@pytest.fixture(scope="session")
def catalog(catalog_folder: Path) -> Iterator[Catalog]:
    with cxrdata.open(catalog_folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def images(catalog: Catalog) -> pl.DataFrame:
    """The catalog's images beside their labels."""
    return catalog.table("images").collect().join(catalog.table("image_labels").collect(), on=["dataset", "image_id"])


@pytest.fixture(scope="session")
def nih(images: pl.DataFrame) -> pl.DataFrame:
    return images.filter(pl.col("dataset") == "nih_cxr14")
