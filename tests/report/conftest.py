"""A catalog to report on: small, of three datasets, one of them without patient ids, with a split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cxrdata
from cxrdata.report.catalog_report import catalog_report
from cxrdata.report.contents import Contents, read_contents
from cxrdata.report.page import Page, render
from cxrdata.report.tallies import Tallies, tally
from cxrdata.sources.base import Registry
from cxrdata.splits.make import make_split
from cxrdata.splits.request import SplitRequest
from cxrdata.splits.stored import store_split
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog

# Large enough that there is something to show, small enough that there is much to mask.
SCALES = {"chexpert": 0.003, "nih_cxr14": 0.01, "vindr_pcxr": 0.05}


@pytest.fixture(scope="session")
def reported_folder(
    registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("reported") / "cxr-catalog"
    named = [(registry.get(name), synthetic(name, scale=scale)) for name, scale in SCALES.items()]
    build_catalog(BuildRequest(folder, named=named, workers=1))
    with cxrdata.open(folder) as catalog:
        made = make_split(catalog, SplitRequest())
        store_split(catalog, "plain", made.frame, made.manifest)
    return folder


@pytest.fixture(scope="session")
def reported(reported_folder: Path) -> Iterator[Catalog]:
    with cxrdata.open(reported_folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def contents(reported: Catalog) -> Contents:
    return read_contents(reported)


@pytest.fixture(scope="session")
def tallies(contents: Contents) -> Tallies:
    return tally(contents)


@pytest.fixture(scope="session")
def report_page(reported: Catalog) -> Page:
    return catalog_report(reported)


@pytest.fixture(scope="session")
def report_text(report_page: Page) -> str:
    """The page as HTML."""
    return render(report_page)
