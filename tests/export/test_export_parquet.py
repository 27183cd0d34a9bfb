"""Parquet in Hive layout, as the readers that the page names see it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset
import pyarrow.parquet
import pytest
from hostile import HOSTILE_NAME, NAMES

from cxrdata.errors import CxrError
from cxrdata.export import relations as relations_module
from cxrdata.export.parquet import export_parquet, hive_path, write_plain
from cxrdata.export.place import MARK
from cxrdata.export.relations import LONG, relations
from cxrdata.store.catalog import Catalog

# What Parquet calls the types that Spark, pandas, polars and DuckDB all have.
PLAIN = {
    ("BYTE_ARRAY", "String"), ("INT32", "Int(bitWidth=8, isSigned=true)"), ("INT64", "None"), ("DOUBLE", "None"), ("BOOLEAN", "None"),
    ("INT32", "Date"),
}  # fmt: skip
CHOSEN = ["images", "patients", "image_labels", "findings"]


@pytest.fixture
def out(catalog: Catalog, tmp_path: Path) -> Path:
    export_parquet(catalog, tmp_path / "out", tables=CHOSEN)
    return tmp_path / "out"


def _ordered(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    return frame.with_columns(pl.col("dataset").cast(pl.String)).select(columns).sort("dataset", columns[1])


@pytest.mark.parametrize("table", ["images", "patients", "image_labels"])
def test_all_readers_see_the_catalogs_rows(catalog: Catalog, out: Path, table: str) -> None:
    expected = catalog.table(table).collect()
    columns = ["dataset", *(c for c in expected.columns if c != "dataset")]
    expected = _ordered(expected, columns)
    place = out / table
    arrow = pl.DataFrame(pyarrow.dataset.dataset(place, partitioning="hive").to_table())
    polars = pl.read_parquet(place, hive_partitioning=True)
    duck = duckdb.sql(f"SELECT * FROM read_parquet('{place}/*/*.parquet', hive_partitioning = true)").pl()
    for seen in (arrow, polars, duck):
        assert _ordered(seen, columns).equals(expected, null_equal=True)
    frame = pd.read_parquet(place)
    assert len(frame) == expected.height
    assert set(frame.columns) == set(columns)
    assert frame.isna().sum().sum() == sum(expected.null_count().row(0))


def test_the_partition_stands_in_the_path_alone(out: Path) -> None:
    """Spark refuses a column that is both in the files and in their path."""
    files = sorted((out / "images").rglob("*.parquet"))
    assert [path.parent.name for path in files] == [f"dataset={name}" for name in sorted(NAMES)]
    assert all("dataset" not in pyarrow.parquet.read_schema(path).names for path in files)


def test_types_are_those_that_spark_has(catalog: Catalog, tmp_path: Path) -> None:
    made = export_parquet(catalog, tmp_path / "all")
    seen = set()
    for path in made.files:
        file = pyarrow.parquet.ParquetFile(path)
        assert b"ARROW:schema" not in (file.metadata.metadata or {})
        assert file.metadata.metadata[b"cxrdata.description"]
        schema = file.schema
        seen |= {
            (schema.column(at).physical_type, str(schema.column(at).logical_type)) for at in range(len(schema.names))
        }
    assert {kind for kind, _ in seen} == {"BYTE_ARRAY", "INT32", "INT64", "DOUBLE", "BOOLEAN"}
    assert seen <= PLAIN


def test_other_types_are_widened_or_refused(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [200], "b": ["x"]}, schema={"a": pl.UInt8, "b": pl.Categorical})
    write_plain([frame], tmp_path / "a.parquet", "")
    assert pl.read_parquet(tmp_path / "a.parquet").schema == {"a": pl.Int16, "b": pl.String}
    with pytest.raises(CxrError, match="CXR-512"):
        write_plain([pl.DataFrame({"a": [b"x"]})], tmp_path / "b.parquet", "")


def test_every_relation_is_written_or_named(catalog: Catalog, tmp_path: Path) -> None:
    made = export_parquet(catalog, tmp_path / "all")
    written = {path.relative_to(tmp_path / "all").parts[0] for path in made.files}
    storage = {name for name in catalog.tables if name.startswith(("states_", "readings_", "label_codes_"))}
    assert set(catalog.tables) - storage - {"splits"} - written == set(LONG)
    assert all(name in made.notes[0] for name in LONG)
    assert made.files == {path: pl.read_parquet(path).height for path in made.files}


def test_long_relations_come_in_parts_and_are_whole(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relations_module, "_IMAGES_AT_ONCE", 10)
    made = export_parquet(catalog, tmp_path / "long", tables=LONG, datasets=["vindr"])
    for name in LONG:
        path = tmp_path / "long" / hive_path(name, "vindr_cxr")
        key = [column for column in relations(catalog, [name])[0].key if column != "dataset"]
        expected = catalog.sql(f"SELECT * EXCLUDE (dataset) FROM {name} WHERE dataset = 'vindr_cxr'").sort(key)
        assert pl.read_parquet(path).equals(expected, null_equal=True)
        assert made.files[path] == expected.height > 10


def test_datasets_and_splits_restrict(catalog: Catalog, tmp_path: Path) -> None:
    export_parquet(catalog, tmp_path / "out", datasets=["nih"], split="plain")
    split = catalog.split("plain").filter(dataset="nih_cxr14")
    images = pl.read_parquet(tmp_path / "out" / "images", hive_partitioning=True)
    assert (
        images.select("dataset", "image_id", "split")
        .sort("image_id")
        .equals(split.select("dataset", "image_id", "split").sort("image_id"))
    )
    patients = pl.read_parquet(tmp_path / "out" / "patients")
    assert set(patients["patient_id"]) == set(split["patient_id"])
    assert patients.height < catalog.table("patients").filter(dataset="nih_cxr14").collect().height
    assert set(pl.read_parquet(tmp_path / "out" / "label_map")["dataset"]) == {"nih_cxr14"}


def test_the_same_bytes(catalog: Catalog, tmp_path: Path) -> None:
    first, second = (export_parquet(catalog, tmp_path / name, tables=CHOSEN) for name in ("a", "b"))
    assert [path.read_bytes() for path in first.files] == [path.read_bytes() for path in second.files]


def test_nothing_is_replaced_unasked(catalog: Catalog, out: Path, tmp_path: Path) -> None:
    before = (out / "images" / "dataset=nih_cxr14" / "part-0.parquet").read_bytes()
    with pytest.raises(CxrError, match="CXR-511"):
        export_parquet(catalog, out, tables=["findings"])
    assert (out / "images" / "dataset=nih_cxr14" / "part-0.parquet").read_bytes() == before
    export_parquet(catalog, out, tables=["findings"], force=True)
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["findings"]
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    (strangers / "thesis.tex").write_text("years of work")
    with pytest.raises(CxrError, match="CXR-511"):
        export_parquet(catalog, strangers, tables=["findings"], force=True)
    assert (strangers / "thesis.tex").read_text() == "years of work"


def test_an_error_leaves_nothing(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrdata.export.parquet.copy_terms", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_parquet(catalog, tmp_path / "out", tables=["findings"])
    assert list(tmp_path.iterdir()) == []


def test_unknown_names(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(CxrError, match="did you mean images") as unknown:
        export_parquet(catalog, tmp_path / "out", tables=["imags"])
    assert unknown.value.code == "CXR-501"
    with pytest.raises(CxrError, match="CXR-501"):
        export_parquet(catalog, tmp_path / "out", datasets=["padchest"])
    (tmp_path / "file").write_text("")
    with pytest.raises(CxrError, match="CXR-602"):
        export_parquet(catalog, tmp_path / "file" / "out", tables=["findings"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_hostile_names_survive(hostile: Catalog, tmp_path: Path) -> None:
    """A folder and a dataset with characters that shells, SQL and HTML read as their own."""
    place = tmp_path / 'it\'s a "place" <b>'
    export_parquet(hostile, place, tables=["images"])
    assert (place / MARK).is_file()
    assert [path.name for path in (place / "images").iterdir()] == ["dataset=x%3Cscript%3E"]
    seen = pl.read_parquet(place / "images", hive_partitioning=True)
    assert seen["dataset"].unique().to_list() == [HOSTILE_NAME]
    assert set(pyarrow.dataset.dataset(place / "images", partitioning="hive").to_table()["dataset"].to_pylist()) == {
        HOSTILE_NAME
    }
