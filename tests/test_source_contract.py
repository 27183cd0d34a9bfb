"""What every source must keep to: run over all that are registered, and over a source that only a test knows.

A new dataset passes here, with a folder in `sources/`, a TOML in `catalog/` and its rows in `metadata/`, or it is
not finished (docs/add_a_dataset.md).
"""

from __future__ import annotations

import csv
import gzip
import inspect
import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from cxrdata.harmonise.dataset import Canonical, harmonise
from cxrdata.keys import resolve
from cxrdata.sources.account import Account
from cxrdata.sources.base import RawDataset, ReadContext, Registry, Source, SourceFiles
from cxrdata.sources.discover import find
from cxrdata.sources.listing import source_page
from cxrdata.sources.textfile import read_head
from cxrdata.sources.write_synthetic import write_datasets
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog
from cxrdata.vocabularies import Vocabularies

OVERLAYS = Path(__file__).parent / "toy_source" / "overlay"
REGISTRY = Registry(OVERLAYS)
VOCABULARIES = Vocabularies.load(OVERLAYS)
SOURCES = [pytest.param(source, id=source.name) for source in REGISTRY]
KINDS = {"csv", "lines", "workbook", "jsonlines", "dicom"}
LICENCE = {"name": str, "allows": str, "terms": str, "share_rows": bool, "third_parties": bool}
CITATION = {"key": str, "type": str, "author": str, "title": str, "venue": str, "year": int}


@dataclass(frozen=True)
class Ingested:
    """A dataset after reading and harmonising."""

    files: SourceFiles
    raw: RawDataset
    canonical: Canonical
    account: Account


def ingest(files: SourceFiles) -> Ingested:
    source = files.source
    account = Account(source.name)
    raw = source.module("read").read(files, ReadContext(source, VOCABULARIES, account))
    canonical = harmonise(raw, source, VOCABULARIES, account)
    account.ledger()  # raises where it does not add up
    return Ingested(files, raw, canonical, account)


def discovered(source: Source, folder: Path) -> SourceFiles:
    found = find(REGISTRY, [(source, folder)])
    assert [files.source.name for files in found.datasets] == [source.name]
    return found.datasets[0]


def variants() -> Iterator[object]:
    for source in REGISTRY:
        for variant in source.module("synth").VARIANTS:
            yield pytest.param(source, variant, id=f"{source.name}-{variant}")


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Source], Path]:
    """The folder of a source's usual synthetic files."""
    folder = tmp_path_factory.mktemp("usual")
    write_datasets(folder, overlays=OVERLAYS)
    return lambda source: folder / source.name


@pytest.fixture(scope="module")
def whole(usual: Callable[[Source], Path]) -> Callable[[Source], Ingested]:
    """A source's usual synthetic files, read once."""
    once = cache(lambda name: ingest(discovered(REGISTRY.get(name), usual(REGISTRY.get(name)))))
    return lambda source: once(source.name)


@pytest.fixture(scope="module")
def catalog(usual: Callable[[Source], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """A catalog of all sources."""
    folder = tmp_path_factory.mktemp("all") / "catalog"
    named = [(source, usual(source)) for source in REGISTRY]
    build_catalog(BuildRequest(folder, named=named, overlays=OVERLAYS, workers=1))
    with Catalog(folder) as opened:
        yield opened


@pytest.mark.parametrize("source", SOURCES)
def test_catalog_entry(source: Source) -> None:
    entry = source.entry
    assert source.name.isidentifier()
    assert source.name.islower()
    for key in ("title", "obtain", "homepage", "institution", "country"):
        assert isinstance(entry[key], str), key
        assert entry[key], key
    assert isinstance(entry["patient_ids"], bool)
    assert {key: type(value) for key, value in entry["licence"].items()} == LICENCE
    assert {key: type(value) for key, value in entry["citation"].items()} == CITATION
    assert entry["age"]["maximum_years"] > 0
    assert source.expectations
    assert all(expected.confidence in "VRM" and expected.count >= 0 for expected in source.expectations)
    assert all(quirk["text"] and quirk["source"] for quirk in entry["quirk"])
    known = VOCABULARIES.labelers["labeler"].to_list()
    assert source.labelers
    assert all(labeler.name in known and labeler.level in ("image", "study") for labeler in source.labelers)
    for rule in entry.get("precedence", ()):
        assert isinstance(rule["column"], str)
        assert isinstance(rule["why"], str)
        assert rule["order"]
    assert source_page(source).startswith(source.title)


@pytest.mark.parametrize("source", SOURCES)
def test_files_declared(source: Source) -> None:
    roles = [spec.role for spec in source.files]
    assert len(set(roles)) == len(roles)
    assert any(spec.lists_images for spec in source.files)
    for spec in source.files:
        assert spec.kind in KINDS
        assert spec.names
        assert spec.gives or spec.lists_images
        assert bool(spec.columns) == (spec.kind in ("csv", "workbook", "jsonlines"))
        assert not set(spec.columns) & set(spec.unused)
        assert set(spec.other_labels) <= set(VOCABULARIES.native_labels(source.name))


@pytest.mark.parametrize("source", SOURCES)
def test_modules(source: Source) -> None:
    assert list(inspect.signature(source.module("layout").variant).parameters) == ["role", "head"]
    assert list(inspect.signature(source.module("read").read).parameters) == ["files", "context"]
    synth = source.module("synth")
    assert list(inspect.signature(synth.write).parameters) == ["folder", "plan"]
    assert all(isinstance(text, str) and text for text in synth.VARIANTS.values())
    assert set(synth.VARIANTS) >= synth.DEFAULT
    for group in getattr(synth, "ALTERNATIVES", ()):
        assert group <= set(synth.VARIANTS)
        assert len(group & synth.DEFAULT) <= 1


@pytest.mark.parametrize("source", SOURCES)
def test_vocabularies_know_the_dataset(source: Source) -> None:
    assert VOCABULARIES.native_labels(source.name)
    assert source.name in VOCABULARIES.sex["dataset"].to_list()
    assert source.name in VOCABULARIES.healthy


@pytest.mark.parametrize(("source", "variant"), [*variants()])
def test_variant(source: Source, variant: str, tmp_path: Path) -> None:
    """Every variant is recognised, read, harmonised, and uses no word that no vocabulary knows."""
    write_datasets(tmp_path, only=source.name, variants=[f"{source.name}={variant}"], overlays=OVERLAYS)
    done = ingest(discovered(source, tmp_path / source.name))
    images = done.canonical.frames["images"]
    assert images.height > 0
    assert images["image_id"].is_unique().all()
    assert source.entry["patient_ids"] == (images["patient_id"].null_count() == 0)
    native = VOCABULARIES.native_labels(source.name)
    for labels in done.raw.labels:
        assert labels.labeler in [labeler.name for labeler in source.labelers]
        assert set(labels.native_labels) <= set(native)
    rejects = done.account.rejects()
    assert rejects.filter(pl.col("code").is_in(["CXR-303", "CXR-304"])).to_dicts() == []
    for file in done.files.files:
        head = read_head(file.path) if file.spec.kind == "csv" else None
        assert not head or file.spec.beyond(head.fields) == []


@pytest.mark.parametrize("source", SOURCES)
def test_row_order_does_not_matter(
    source: Source, usual: Callable[[Source], Path], whole: Callable[[Source], Ingested], tmp_path: Path
) -> None:
    """The tables are the same whatever the order of the files' rows, but for where a row stood."""
    files = discovered(source, usual(source))
    shuffled = []
    for file in files.files:
        target = tmp_path / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_shuffled(file.path, file.spec.kind))
        shuffled.append(replace(file, path=target))
    before, after = whole(source), ingest(replace(files, files=tuple(shuffled)))
    places = ("source_row", "line")
    assert after.canonical.frames.keys() == before.canonical.frames.keys()
    for name, frame in before.canonical.frames.items():
        mine, theirs = (part.drop(places, strict=False) for part in (frame, after.canonical.frames[name]))
        assert theirs.equals(mine), name
    assert after.account.ledger().equals(before.account.ledger())
    assert after.account.notes().equals(before.account.notes())


def _shuffled(path: Path, kind: str) -> bytes:
    body = path.read_bytes()
    if kind == "workbook":
        return body
    packed = path.suffix == ".gz"
    text = (gzip.decompress(body) if packed else body).decode()
    order = random.Random(7)
    if kind == "csv":
        header, *rows = csv.reader(io.StringIO(text))
        order.shuffle(rows)
        target = io.StringIO()
        csv.writer(target, lineterminator="\n").writerows([header, *rows])
        text = target.getvalue()
    else:
        lines = text.splitlines(keepends=True)
        order.shuffle(lines)
        text = "".join(lines)
    return gzip.compress(text.encode(), mtime=0) if packed else text.encode()


def optional_files() -> Iterator[object]:
    for source in REGISTRY:
        for spec in source.files:
            if not spec.lists_images:
                yield pytest.param(source, spec.role, id=f"{source.name}-{spec.role}")


@pytest.mark.parametrize(("source", "role"), [*optional_files()])
def test_without_an_optional_file(
    source: Source, role: str, usual: Callable[[Source], Path], whole: Callable[[Source], Ingested]
) -> None:
    """No other images without it, and nothing made up in place of what the file alone gives."""
    files = discovered(source, usual(source))
    if role != "dicom" and not files.all(role):
        pytest.skip(f"{role} is not among the usual synthetic files")
    kept = tuple(file for file in files.files if file.spec.role != role)
    left = ingest(replace(files, files=kept, dicom=() if role == "dicom" else files.dicom))
    before, after = whole(source).canonical.frames, left.canonical.frames
    assert set(after["images"]["image_id"]) <= set(before["images"]["image_id"])
    # image_labels may know more: where the first labeler is missing, the next one speaks.
    for name in ("images", "studies", "patients", "boxes"):
        assert _known(after[name]) <= _known(before[name]), name


def _known(frame: pl.DataFrame) -> int:
    """How many cells have a value."""
    return frame.height * frame.width - sum(frame.null_count().row(0)) if frame.width else 0


def test_missing_files_are_told(usual: Callable[[Source], Path], tmp_path: Path) -> None:
    """With the lists of images alone a build succeeds, and says of each other file what is missing without it."""
    named = []
    for source in REGISTRY:
        for file in discovered(source, usual(source)).files:
            if file.spec.lists_images:
                target = tmp_path / source.name / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.path.read_bytes())
        named.append((source, tmp_path / source.name))
    build_catalog(BuildRequest(tmp_path / "catalog", named=named, overlays=OVERLAYS, workers=1))
    with Catalog(tmp_path / "catalog") as opened:
        told = opened.sql("SELECT dataset, item FROM build_notes WHERE topic = 'missing_file'").rows()
    expected = {
        (source.name, spec.role) for source in REGISTRY for spec in source.files if spec.gives and not spec.lists_images
    }
    assert set(told) >= expected


@pytest.mark.parametrize("source", SOURCES)
def test_keys(source: Source, catalog: Catalog) -> None:
    """Keys are text, unique, and the resolver finds them again as image_uid and as path."""
    images = catalog.sql("SELECT dataset, image_id, image_uid, path, patient_id, study_id FROM images")
    mine = images.filter(pl.col("dataset") == source.name)
    assert mine.height > 0
    assert all(mine.schema[column] == pl.String for column in ("image_id", "path", "patient_id", "study_id"))
    assert mine["image_uid"].to_list() == [f"{source.name}:{image}" for image in mine["image_id"]]
    assert images["image_uid"].is_unique().all()
    assert not mine["path"].str.contains(r"^/|\\|\.\.").any()
    for spelling in ("image_uid", "path"):
        found = resolve(mine[spelling], images.select("dataset", "image_id"))
        assert found["reason"].drop_nulls().to_list() == []
        assert found["dataset"].to_list() == mine["dataset"].to_list()
        assert found["image_id"].to_list() == mine["image_id"].to_list()


@pytest.mark.parametrize("source", SOURCES)
def test_expectations_can_be_asked(source: Source, catalog: Catalog) -> None:
    for expected in source.expectations:
        rows = catalog.sql(expected.sql)
        assert rows.shape == (1, 1), expected.what
        assert source.name in expected.sql


def test_everything_is_described(catalog: Catalog) -> None:
    """No relation and no column without a comment, those of every source's label tables included."""
    for kind, name in (("tables", "table_name"), ("views", "view_name"), ("columns", "column_name")):
        query = f"SELECT {name} FROM duckdb_{kind}() WHERE NOT internal AND coalesce(comment, '') = '' AND database_name NOT IN ('system', 'temp')"
        assert catalog.sql(query).rows() == []
