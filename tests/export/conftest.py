"""A catalog of four synthetic datasets to export, and a hostile one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from hostile import HOSTILE_FILE, HOSTILE_NAME, HOSTILE_TITLE, HOSTILE_VIEW, NAMES

import cxrdata
from cxrdata.sources.base import Registry
from cxrdata.splits.make import make_split
from cxrdata.splits.request import SplitRequest
from cxrdata.splits.stored import store_split
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog
from tests.conftest import REPOSITORY


@pytest.fixture(scope="session")
def folder(registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("export") / "cxr-catalog"
    named = [(registry.get(name), synthetic(name, scale=0.0003)) for name in NAMES]
    build_catalog(BuildRequest(place, named=named, workers=1))
    with cxrdata.open(place) as opened:
        made = make_split(opened, SplitRequest(datasets=("nih_cxr14", "chexpert")))
        store_split(opened, "plain", made.frame.filter(pl.col("split") != "valid"), made.manifest)
    return place


@pytest.fixture
def catalog(folder: Path) -> Iterator[Catalog]:
    with cxrdata.open(folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def hostile_folder(synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NIH's files under another dataset's name and title, both with tags in them; a file name with quotes and a comma, and
    a cell that a spreadsheet would run."""
    root = tmp_path_factory.mktemp("hostile")
    overlay = root / "overlay"
    (overlay / "catalog").mkdir(parents=True)
    entry = (REPOSITORY / "catalog" / "nih_cxr14.toml").read_text(encoding="utf-8")
    entry = entry.replace('name = "nih_cxr14"', f'name = "{HOSTILE_NAME}"\nmodule = "cxrdata.sources.nih_cxr14"', 1)
    entry = entry.replace('aliases = ["nih"]', "aliases = []").replace('"NIH ChestX-ray14"', f"'{HOSTILE_TITLE}'", 1)
    (overlay / "catalog" / "x.toml").write_text(entry, encoding="utf-8")
    for name in ("label_map.sssom.tsv", "views.tsv", "sex.tsv"):
        lines = [
            line
            for line in (REPOSITORY / "metadata" / name).read_text(encoding="utf-8").splitlines()
            if line[:1] != "#"
        ]
        rows = [line.replace("nih_cxr14", HOSTILE_NAME) for line in lines if "nih_cxr14" in line]
        (overlay / name).write_text("\n".join([lines[0], *rows]) + "\n", encoding="utf-8")
    (metadata,) = synthetic("nih_cxr14", scale=0.0003).rglob("Data_Entry_2017*.csv")
    lines = metadata.read_text(encoding="utf-8").splitlines()
    cells = lines[1].split(",")
    cells[6] = HOSTILE_VIEW
    source = root / "source"
    source.mkdir()
    (source / HOSTILE_FILE).write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n", encoding="utf-8")
    place = root / "cxr-catalog"
    registry = Registry(overlay)
    build_catalog(BuildRequest(place, named=[(registry.get(HOSTILE_NAME), source)], overlays=overlay, workers=1))
    return place


@pytest.fixture
def hostile(hostile_folder: Path) -> Iterator[Catalog]:
    with cxrdata.open(hostile_folder) as opened:
        yield opened
