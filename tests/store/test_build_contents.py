"""What a catalog of every dataset holds: the contract's relations, keys, descriptions, digests."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from builds import debris, request_of, sound_build

import cxrdata
from cxrdata.schemas.tables import IMAGES, LEDGER, PATIENTS, SOURCE_FILES, STUDIES
from cxrdata.schemas.vocabulary_tables import (
    AGE_GROUPS,
    DATASETS,
    EXPECTED_COUNTS,
    FINDING_TREE,
    FINDINGS,
    LABEL_MAP,
    OPEN_DATASETS,
    RACE_MAP,
)
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildResult, build_catalog

# CONTRACT §5, written out a second time on purpose: what others' scripts rely on.
RELATIONS = {
    "images": "dataset image_id image_uid patient_id study_id study_order path source_file source_row source_split view view_raw view_source frontal"
    " position age_years age_low_years age_high_years age_raw age_precision age_flag age_group age_group_reason sex sex_raw race ethnicity race_ethnicity"
    " study_date rows_px columns_px original_rows_px original_columns_px pixel_spacing_row_mm pixel_spacing_column_mm manufacturer patient_size_m"
    " patient_weight_kg",
    "studies": "dataset study_id patient_id study_date study_order n_images",
    "patients": "dataset patient_id sex race ethnicity race_ethnicity race_raw ethnicity_raw race_missing_reason race_conflict n_studies n_images"
    " age_min_years age_max_years",
    "labels": "dataset image_id labeler native_label finding state stated level",
    "assessments": "dataset image_id labeler closed_world",
    "readings": "dataset image_id reader_id native_label finding state",
    "boxes": "dataset image_id reader_id native_label finding x_min y_min x_max y_max",
    "rejects": "dataset source_file line kind code column_name value message",
    "ledger": "dataset source_file rows_read rows_kept rows_merged rows_unmatched rows_rejected",
    "source_files": "dataset source_file variant bytes sha256",
    "datasets": "dataset",
    "open_datasets": "entry source part dataset_name links modalities modality_shares organs task_categories institutions institution_countries patients"
    " sequences images_stated adult_share_low adult_share_high adult_share age_documented age_documented_how age_complete secondary_of cancer",
    "findings": "finding",
    "finding_tree": "child parent",
    "label_map": "dataset native_label finding",
    "race_map": "scheme dataset field raw_value race ethnicity",
    "age_groups": "scheme age_group low_years high_years",
}
FINDING_COLUMNS = (
    "no_finding enlarged_cardiomediastinum cardiomegaly lung_opacity lung_lesion edema consolidation pneumonia atelectasis pneumothorax pleural_effusion"
    " pleural_other fracture support_devices infiltration mass nodule emphysema fibrosis pleural_thickening hernia aortic_enlargement calcification"
    " clavicle_fracture rib_fracture enlarged_pulmonary_artery interstitial_lung_disease lung_cavity lung_cyst mediastinal_shift nodule_mass other_lesion"
    " copd lung_tumor tuberculosis other_disease"
)
RELATIONS |= dict.fromkeys(("image_labels", "image_labels_rolled"), f"dataset image_id labeler {FINDING_COLUMNS}")
# `rejects` and `boxes` have no key: a row may have one problem twice, two readers may draw one box.
KEYED = (
    IMAGES,
    STUDIES,
    PATIENTS,
    LEDGER,
    SOURCE_FILES,
    DATASETS,
    EXPECTED_COUNTS,
    FINDINGS,
    FINDING_TREE,
    LABEL_MAP,
    RACE_MAP,
    AGE_GROUPS,
    OPEN_DATASETS,
)
VIEW_KEYS = {
    "labels": "dataset, image_id, labeler, native_label",
    "assessments": "dataset, image_id, labeler",
    "image_labels": "dataset, image_id",
    "image_labels_rolled": "dataset, image_id",
    "readings": "dataset, image_id, reader_id, native_label",
}


@pytest.fixture(scope="module")
def every_dataset(registry: Registry, synthetic: Callable[..., Path]) -> dict[str, Path]:
    """dataset -> folder of its synthetic files, for whatever is registered."""
    return {source.name: synthetic(source.name, scale=0.0002) for source in registry}


@pytest.fixture(scope="module")
def whole(every_dataset: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """A build of every registered dataset, with raw tables. Not to be changed."""
    return build_catalog(request_of(tmp_path_factory.mktemp("whole") / "cxr-catalog", every_dataset, keep_raw=True))


@pytest.fixture(scope="module")
def opened(whole: BuildResult) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(whole.build.database), read_only=True) as connection:
        yield connection


def scalar(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    return connection.execute(query).fetchall()[0][0]


@pytest.mark.parametrize("relation", sorted(RELATIONS))
def test_relations_of_the_contract(opened: duckdb.DuckDBPyConnection, relation: str) -> None:
    columns = {row[0] for row in opened.execute(f"DESCRIBE {relation}").fetchall()}
    assert columns >= set(RELATIONS[relation].split())


def test_every_dataset_is_in_it(opened: duckdb.DuckDBPyConnection, registry: Registry) -> None:
    assert {row[0] for row in opened.execute("SELECT DISTINCT dataset FROM images").fetchall()} == set(registry.names)
    assert opened.execute("SELECT DISTINCT synthetic, in_build FROM datasets").fetchall() == [(True, True)]


def test_everything_is_described(opened: duckdb.DuckDBPyConnection) -> None:
    assert (
        opened.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND coalesce(comment, '') = ''"
        ).fetchall()
        == []
    )
    assert opened.execute("SELECT table_name FROM duckdb_tables() WHERE coalesce(comment, '') = ''").fetchall() == []
    assert (
        opened.execute(
            "SELECT view_name FROM duckdb_views() WHERE NOT internal AND coalesce(comment, '') = ''"
        ).fetchall()
        == []
    )


@pytest.mark.parametrize("table", KEYED, ids=lambda table: table.name)
def test_keys_of_tables_are_unique(opened: duckdb.DuckDBPyConnection, table: Any) -> None:
    assert (
        opened.execute(
            f"SELECT {', '.join(table.key)}, count(*) AS n FROM {table.name} GROUP BY ALL HAVING n > 1"
        ).fetchall()
        == []
    )


@pytest.mark.parametrize("view", sorted(VIEW_KEYS))
def test_keys_of_views_are_unique(opened: duckdb.DuckDBPyConnection, view: str) -> None:
    assert (
        opened.execute(f"SELECT {VIEW_KEYS[view]}, count(*) AS n FROM {view} GROUP BY ALL HAVING n > 1").fetchall()
        == []
    )


@pytest.mark.parametrize(
    ("child", "parent", "columns"),
    [
        ("images", "patients", "dataset, patient_id"),
        ("images", "studies", "dataset, study_id"),
        ("images", "datasets", "dataset"),
        ("images", "source_files", "dataset, source_file"),
        ("studies", "patients", "dataset, patient_id"),
        ("labels", "images", "dataset, image_id"),
        ("labels", "assessments", "dataset, image_id, labeler"),
        ("labels", "label_map", "dataset, native_label"),
        ("labels", "labelers", "labeler"),
        ("image_labels", "images", "dataset, image_id"),
        ("image_labels_rolled", "image_labels", "dataset, image_id"),
        ("readings", "images", "dataset, image_id"),
        ("boxes", "images", "dataset, image_id"),
        ("ledger", "source_files", "dataset, source_file"),
    ],
)
def test_nothing_refers_to_what_is_not_there(
    opened: duckdb.DuckDBPyConnection, child: str, parent: str, columns: str
) -> None:
    known = " AND ".join(f"{column} IS NOT NULL" for column in columns.split(", "))
    assert (
        opened.execute(
            f"SELECT DISTINCT {columns} FROM {child} WHERE {known} EXCEPT SELECT {columns} FROM {parent}"
        ).fetchall()
        == []
    )


def test_the_ledger_adds_up(opened: duckdb.DuckDBPyConnection) -> None:
    assert (
        scalar(
            opened,
            "SELECT count(*) FROM ledger WHERE rows_read <> rows_kept + rows_merged + rows_unmatched + rows_rejected",
        )
        == 0
    )
    refused = "SELECT dataset, count(*) FROM rejects WHERE kind = 'row' GROUP BY ALL ORDER BY ALL"
    assert (
        opened.execute(refused).fetchall()
        == opened.execute(
            "SELECT dataset, sum(rows_rejected)::BIGINT AS n FROM ledger GROUP BY ALL HAVING n > 0 ORDER BY ALL"
        ).fetchall()
    )
    assert scalar(opened, "SELECT min(rows_read) FROM ledger") > 0


def test_image_uid(opened: duckdb.DuckDBPyConnection) -> None:
    assert scalar(opened, "SELECT count(*) FROM images WHERE image_uid <> dataset || ':' || image_id") == 0


def test_manifest_and_digests(whole: BuildResult) -> None:
    catalog = whole.build.path.parent.parent
    assert sound_build(catalog) == whole.build.build_id
    manifest = json.loads(whole.build.manifest.read_text())
    assert {"sources", "ledger", "tables", "vocabularies", "datasets", "cxrdata"} <= manifest.keys()
    for source in manifest["sources"]:
        assert not source["source_file"].startswith("/")
        assert len(source["sha256"]) in (24, 64)
    assert (catalog / "DATA_TERMS.md").read_text() == whole.build.terms.read_text()
    assert debris(catalog) == []


def test_sources_of_the_manifest_are_the_files(whole: BuildResult, every_dataset: dict[str, Path]) -> None:
    manifest = json.loads(whole.build.manifest.read_text())
    for source in manifest["sources"]:
        found = [
            path
            for path in every_dataset[source["dataset"]].rglob("*")
            if path.as_posix().endswith("/" + source["source_file"])
        ]
        if found:
            assert source["bytes"] == found[0].stat().st_size
            assert source["sha256"] == hashlib.sha256(found[0].read_bytes()).hexdigest()
        else:
            assert source["role"] == "dicom"


def test_folders_are_private(whole: BuildResult) -> None:
    catalog = whole.build.path.parent.parent
    assert {oct(path.stat().st_mode & 0o777) for path in (catalog, *catalog.rglob("*")) if path.is_dir()} == {"0o700"}


def test_nothing_tells_where_or_by_whom_it_was_built(whole: BuildResult, every_dataset: dict[str, Path]) -> None:
    catalog = whole.build.path.parent.parent
    needles = [
        text.encode()
        for text in ("pytest-of-", str(catalog.parent.parent), str(Path.home()) + "/", socket.gethostname())
        if len(text) > 4
    ]
    for path in sorted(path for path in catalog.rglob("*") if path.is_file()):
        body = path.read_bytes()
        if path.suffix == ".parquet":
            metadata = pq.read_metadata(path)
            body += repr(metadata.metadata).encode() + repr(metadata).encode()
            texts = pl.read_parquet(path).select(pl.selectors.string())
            body += b"\n".join(str(value).encode() for series in texts for value in series.unique())
        assert [needle for needle in needles if needle in body] == [], path.relative_to(catalog)


def test_the_duckdb_file_stands_alone(whole: BuildResult, tmp_path: Path) -> None:
    moved = shutil.copyfile(whole.build.database, tmp_path / "elsewhere.duckdb")
    with duckdb.connect(str(moved), read_only=True, config={"enable_external_access": "false"}) as connection:
        tags = scalar(connection, "SELECT tags FROM duckdb_databases() WHERE database_name = 'elsewhere'")
        assert tags["storage_version"].startswith("v1.5.0")
        for relation in RELATIONS:
            connection.execute(f"SELECT count(*) FROM {relation}").fetchall()
        assert scalar(connection, "SELECT count(*) FROM labels") > 0


def test_the_catalog_can_be_moved(whole: BuildResult, tmp_path: Path) -> None:
    moved = shutil.copytree(whole.build.path.parent.parent, tmp_path / "moved")
    with cxrdata.open(moved) as catalog:
        assert catalog.sql("SELECT count(*) AS n FROM images")["n"][0] == catalog.table("images").collect().height


def test_parquet_and_duckdb_hold_the_same_columns(whole: BuildResult, opened: duckdb.DuckDBPyConnection) -> None:
    for entry in json.loads(whole.build.manifest.read_text())["tables"]:
        columns = [
            row[0]
            for row in opened.execute(f'DESCRIBE "{entry["schema"]}"."{entry["table"]}"').fetchall()
            if row[0] != "image_uid"
        ]
        assert pl.read_parquet_schema(whole.build.path / entry["path"]).keys() == set(columns), entry["table"]


def test_raw_tables(opened: duckdb.DuckDBPyConnection, every_dataset: dict[str, Path]) -> None:
    lines = (every_dataset["nih_cxr14"] / "Data_Entry_2017_v2020.csv").read_text().splitlines()
    rows = opened.execute('SELECT * FROM raw.nih_cxr14__data_entry_2017_v2020 ORDER BY "_line"')
    names = [column[0] for column in rows.description]
    assert names[:2] == ["Image Index", "Finding Labels"]
    for row in rows.fetchall():
        cells = dict(zip(names, row, strict=True))
        assert lines[cells["_line"] - 1].startswith(
            f"{cells['Image Index']},{cells['Finding Labels']},{cells['Follow-up #']},"
        )
    assert scalar(opened, "SELECT count(*) FROM raw.nih_cxr14__data_entry_2017_v2020") == len(lines) - 1
    boxes = (every_dataset["nih_cxr14"] / "BBox_List_2017.csv").read_text().splitlines()
    assert scalar(opened, "SELECT count(*) FROM raw.nih_cxr14__bbox_list_2017") == len(boxes) - 1


def test_raw_columns_are_text(opened: duckdb.DuckDBPyConnection) -> None:
    kinds = opened.execute(
        "SELECT DISTINCT data_type FROM duckdb_columns() WHERE schema_name = 'raw' AND column_name NOT IN ('_line', '_record')"
    ).fetchall()
    assert kinds == [("VARCHAR",)]
