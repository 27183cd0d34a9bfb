"""Croissant as mlcroissant reads it, and what its facts say beside the catalog's own counts."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hostile import HOSTILE_NAME, HOSTILE_TITLE

from cxrdata.errors import CxrError
from cxrdata.export.croissant import CONFORMS_TO, METADATA, export_croissant
from cxrdata.store.catalog import Catalog

mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant, of the development tools, is not installed")
# mlcroissant 1.1.1 and the rdflib below it use what pandas 3 and rdflib itself deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import cxrdata

    place = tmp_path_factory.mktemp("croissant") / "out"
    with cxrdata.open(folder) as catalog:
        export_croissant(catalog, place, url="https://example.org/cxr")
    return place


@pytest.fixture(scope="module")
def metadata(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / METADATA).read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def dataset(out: Path) -> Any:
    return mlcroissant.Dataset(jsonld=out / METADATA)


def _sets(metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {record_set["name"]: record_set for record_set in metadata["recordSet"]}


def test_it_validates_without_errors_or_warnings(dataset: Any, out: Path) -> None:
    issues = dataset.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    script = "import sys; from importlib.metadata import entry_points as all; sys.exit(all(group='console_scripts')['mlcroissant'].load()())"
    checked = subprocess.run(
        [sys.executable, "-c", script, "validate", "--jsonld", str(out / METADATA)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "warning" not in checked.stderr.lower()


def test_it_conforms_to_what_the_issue_asks(dataset: Any, metadata: dict[str, Any]) -> None:
    assert metadata["conformsTo"] == CONFORMS_TO
    assert dataset.metadata.ctx.conforms_to.value == "http://mlcommons.org/croissant/1.1"
    assert dataset.metadata.personal_sensitive_information
    assert dataset.metadata.data_biases
    assert dataset.metadata.annotations_per_item


@pytest.mark.parametrize("name", ["images", "patients", "image_labels", "boxes", "labelers", "open_datasets"])
def test_records_are_the_rows(catalog: Catalog, dataset: Any, name: str) -> None:
    """In the order of the table, text as bytes (mlcroissant's way), null as None, whole numbers whole."""
    rows = catalog.table(name).collect()
    records = list(dataset.records(name))
    assert len(records) == rows.height > 5
    for record, row in zip(records, rows.iter_rows(named=True), strict=True):
        for column, value in row.items():
            seen = record[f"{name}/{column}"]
            assert _same(seen, value), (column, seen, value)


def _same(seen: Any, value: Any) -> bool:
    if value is None:
        return seen is None
    if isinstance(value, list):
        return len(seen) == len(value) and all(_same(one, other) for one, other in zip(seen, value, strict=True))
    if isinstance(value, str):
        return bool(seen == value.encode())
    if isinstance(value, float):
        return math.isclose(seen, value)
    if hasattr(value, "year"):
        return bool(seen.date() == value)
    return type(seen) is type(value) and bool(seen == value)


def test_every_table_is_a_record_set(catalog: Catalog, metadata: dict[str, Any], out: Path) -> None:
    long_or_inner = {name for name in catalog.tables if name.startswith("label_codes_")} | {
        "labels", "readings", "assessments", "splits",
    }  # fmt: skip
    sets = _sets(metadata)
    assert set(sets) == set(catalog.tables) - long_or_inner
    for name, record_set in sets.items():
        assert record_set["description"]
        assert all(field["description"] for field in record_set["field"]), name
        frame = pl.read_parquet(out / record_set["field"][0]["source"]["fileObject"]["@id"])
        assert [field["source"]["extract"]["column"] for field in record_set["field"]] == frame.columns


def test_files_are_what_their_digests_say(metadata: dict[str, Any], out: Path) -> None:
    files = {path.name for path in out.glob("*.parquet")}
    assert {entry["contentUrl"] for entry in metadata["distribution"]} == files
    for entry in metadata["distribution"]:
        content = (out / entry["contentUrl"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["contentSize"] == f"{len(content)} B"


def test_keys_identify_and_references_resolve(metadata: dict[str, Any], out: Path) -> None:
    resolved = 0
    for name, record_set in _sets(metadata).items():
        frame = pl.read_parquet(out / f"{name}.parquet")
        column = {field["@id"]: field["name"] for field in record_set["field"]}
        key = [column[part["@id"]] for part in record_set["key"]]
        assert frame.select(key).is_duplicated().sum() == 0 or name in {"boxes", "rejects", "label_map"}, name
        for field in record_set["field"]:
            if "references" in field:
                target = field["references"]
                known = pl.read_parquet(out / target["fileObject"]["@id"])[target["extract"]["column"]]
                assert known.is_unique().all()
                assert frame[field["name"]].drop_nulls().is_in(known.to_list()).all(), field["@id"]
                resolved += frame[field["name"]].count()
    assert resolved > 1000


def test_facts_are_the_catalogs(catalog: Catalog, metadata: dict[str, Any]) -> None:
    for dataset, title, images, children in catalog.sql(
        "SELECT i.dataset, d.title, count(*), count(*) FILTER (age_group = 'pediatric')"
        " FROM images AS i JOIN datasets AS d USING (dataset) GROUP BY ALL"
    ).iter_rows():
        noun = "image" if children == 1 else "images"
        assert any(text.startswith(f"{title}: {children} {noun} of {images:,} ") for text in metadata["rai:dataBiases"])
        patients = catalog.sql("SELECT count(*) FROM patients WHERE dataset = $d", {"d": dataset}).item()
        people = f"of {patients} patients" if patients else "of patients who are not told apart"
        assert f"{title}: {images} images {people}" in metadata["rai:dataCollection"]
    protocol = " ".join(metadata["rai:dataAnnotationProtocol"])
    for labeler, n in catalog.sql(
        "SELECT labeler, count(*) FROM assessments WHERE dataset = 'mimic_cxr' GROUP BY 1"
    ).iter_rows():
        assert f"MIMIC-CXR-JPG, labeler {labeler} (" in protocol
        assert f"; {n} image" in protocol
    limits = metadata["rai:dataLimitations"]
    assert sum("random numbers" in text for text in limits) == len(catalog.manifest["datasets"])
    assert any("Follow-up #" in text for text in limits)
    assert metadata["name"].startswith("SYNTHETIC")
    assert "3 readers an image" in metadata["rai:annotationsPerItem"]
    cited = metadata["citeAs"]
    assert all(key in cited for key in ("irvin2019chexpert", "wang2017chestxray8", "nguyen2022vindrcxr"))
    assert len(metadata["license"]) == len(metadata["isBasedOn"]) == len(catalog.manifest["datasets"])


def test_one_dataset(catalog: Catalog, tmp_path: Path) -> None:
    made = export_croissant(catalog, tmp_path / "nih", datasets=["nih"])
    metadata = json.loads((tmp_path / "nih" / METADATA).read_text(encoding="utf-8"))
    assert metadata["url"] == "https://nihcc.app.box.com/v/ChestXray-NIHCC"
    assert metadata["datePublished"] == "2017"
    assert "chexpert" not in " ".join(_sets(metadata))
    for name in ("images", "datasets", "label_map", "image_labels"):
        assert set(pl.read_parquet(tmp_path / "nih" / f"{name}.parquet")["dataset"]) == {"nih_cxr14"}
    issues = mlcroissant.Dataset(jsonld=tmp_path / "nih" / METADATA).metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    assert len(made.notes) == 1
    assert any(note.startswith("the metadata has no url") for note in export_croissant(catalog, tmp_path / "all").notes)


def test_the_same_bytes_and_a_date_only_if_given(catalog: Catalog, tmp_path: Path) -> None:
    first, second = (export_croissant(catalog, tmp_path / name, date_published="2026-11-21") for name in ("a", "b"))
    assert [path.read_bytes() for path in first.files] == [path.read_bytes() for path in second.files]
    assert json.loads((tmp_path / "a" / METADATA).read_text())["datePublished"] == "2026-11-21"
    with pytest.raises(CxrError, match="CXR-502"):
        export_croissant(catalog, tmp_path / "c", date_published="yesterday")
    with pytest.raises(CxrError, match="CXR-511"):
        export_croissant(catalog, tmp_path / "a")


@pytest.mark.parametrize(
    "url",
    [
        "", "not a url", "ftp://example.org", "javascript:alert(1)", "https://", "https://x.org/a b", "https://x.org/<b>",
        'https://x.org/"', "https://x.org/'", "https://x.org/\n", "https:///x",
    ],
)  # fmt: skip
def test_what_is_no_url_is_refused(catalog: Catalog, tmp_path: Path, url: str) -> None:
    with pytest.raises(CxrError, match="CXR-502"):
        export_croissant(catalog, tmp_path / "out", url=url)
    assert list(tmp_path.iterdir()) == []


def test_hostile_names_are_text(hostile: Catalog, tmp_path: Path) -> None:
    """The JSON may stand in a page's <script>: no tag in it, and the title is whole when it is read."""
    export_croissant(hostile, tmp_path / "out", url="https://example.org", date_published="2026-01-01")
    text = (tmp_path / "out" / METADATA).read_text(encoding="utf-8")
    assert not set("<>&") & set(text)
    assert HOSTILE_TITLE in json.loads(text)["name"]
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "out" / METADATA)
    assert (dataset.metadata.ctx.issues.errors, dataset.metadata.ctx.issues.warnings) == (set(), set())
    assert {record["images/dataset"] for record in dataset.records("images")} == {HOSTILE_NAME.encode()}
    labels = next(one for one in dataset.metadata.record_sets if str(one.name).startswith("states_"))
    assert sum(1 for _ in dataset.records(labels.uuid)) == hostile.table("images").collect().height
