"""A catalog of three synthetic datasets, and predictions of its images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made import made_predictions

import cxrdata
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog


@pytest.fixture(scope="session")
def folder(registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "cxr-catalog"
    scales = {"chexpert": 0.004, "nih_cxr14": 0.004, "vindr_cxr": 0.01}
    named = [(registry.get(name), synthetic(name, scale=scale)) for name, scale in scales.items()]
    build_catalog(BuildRequest(folder, named=named, workers=1))
    return folder


@pytest.fixture(scope="session")
def catalog(folder: Path) -> Iterator[Catalog]:
    with cxrdata.open(folder) as opened:
        yield opened


@pytest.fixture
def predicted(catalog: Catalog, tmp_path: Path) -> Callable[..., Path]:
    """`predicted("chexpert", labels=…)`: a file of predictions."""

    def write(*datasets: str, name: str = "preds.csv", **wishes: object) -> Path:
        frame = made_predictions(catalog, *datasets, **wishes)  # type: ignore[arg-type]
        frame.write_csv(tmp_path / name) if name.endswith(".csv") else frame.write_parquet(tmp_path / name)
        return tmp_path / name

    return write
