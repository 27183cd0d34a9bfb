"""Fixtures shared by all tests: real data where it is, synthetic sources, harmonised datasets."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from cxrdata.harmonise.dataset import Canonical, harmonise
from cxrdata.schemas.names import LABEL_VIEWS, label_codes_name, label_view_columns
from cxrdata.sources.account import Account
from cxrdata.sources.base import RawDataset, ReadContext, Registry
from cxrdata.sources.discover import find
from cxrdata.sources.synthesis import SynthPlan
from cxrdata.vocabularies import Vocabularies

REPOSITORY = Path(__file__).resolve().parent.parent


def _test_data() -> Path:
    named = os.environ.get("CXRDATA_TEST_DATA")
    return Path(named) if named else REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files. Skipped with a reason where there is none, unless
    CXRDATA_REQUIRE_TEST_DATA says that it must be there."""
    folder = _test_data()
    if not folder.is_dir():
        if os.environ.get("CXRDATA_REQUIRE_TEST_DATA"):
            pytest.fail("CXRDATA_REQUIRE_TEST_DATA is set, but the real test data are missing")
        pytest.skip("no real test data: set CXRDATA_TEST_DATA to a folder that has nih/, chexnet/")
    return folder


@pytest.fixture(scope="session")
def vocabularies() -> Vocabularies:
    return Vocabularies.load()


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry()


@dataclass(frozen=True)
class Harmonised:
    """A dataset after reading and harmonising, with what was recorded on the way."""

    raw: RawDataset
    canonical: Canonical
    account: Account

    def __getitem__(self, table: str) -> pl.DataFrame:
        if table not in LABEL_VIEWS:
            return self.canonical.frames[table]
        dataset = self.account.dataset
        codes = self.canonical.frames[label_codes_name(dataset)]
        columns = label_view_columns(table, Vocabularies.load().finding_names, codes.columns)
        shown = ((pl.col(source) if source else pl.lit(None, pl.Int8)).alias(finding) for finding, source in columns)
        return codes.select(pl.lit(dataset).alias("dataset"), "image_id", "labeler", *shown)


@pytest.fixture(scope="session")
def harmonised(registry: Registry, vocabularies: Vocabularies) -> Callable[..., Harmonised]:
    """`harmonised(dataset, folder)`: read and harmonise the files of one dataset, under an `overlays` folder if given."""

    def run(dataset: str, folder: Path, *, overlays: Path | None = None, **wishes: object) -> Harmonised:
        source = registry.get(dataset)
        words = Vocabularies.load(overlays) if overlays else vocabularies
        files = find(registry, [(source, folder)]).datasets[0]
        account = Account(source.name)
        raw = source.module("read").read(files, ReadContext(source, words, account, **wishes))  # type: ignore[arg-type]
        canonical = harmonise(raw, source, words, account)
        account.ledger()  # raises where it does not add up
        return Harmonised(raw, canonical, account)

    return run


@pytest.fixture(scope="session")
def synthetic(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`synthetic(dataset, *variants, scale=…)`: a folder with the synthetic dataset, written once a session."""
    written: dict[tuple[object, ...], Path] = {}

    def write(dataset: str, *variants: str, scale: float = 0.001, seed: int = 0) -> Path:
        source = registry.get(dataset)
        module = source.module("synth")
        key = (source.name, frozenset(variants), scale, seed)
        if key not in written:
            folder = tmp_path_factory.mktemp(source.name)
            module.write(folder, SynthPlan(scale=scale, seed=seed, variants=frozenset(variants) or module.DEFAULT))
            written[key] = folder
        return written[key]

    return write


@pytest.fixture(scope="session")
def nih_catalog(real_data: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a catalog of the real NIH data, built once a session."""
    from cxrdata.store.build import BuildRequest, build_catalog

    folder = tmp_path_factory.mktemp("nih") / "cxr-catalog"
    build_catalog(BuildRequest(folder, named=[(registry.get("nih"), real_data / "nih")], workers=1))
    return folder
