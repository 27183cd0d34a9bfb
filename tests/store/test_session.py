"""Sessions: several in one process, and a catalog whose DuckDB file cannot be opened."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

import cxrdata
from cxrdata.store.catalog import Catalog


def test_one_catalog_opened_twice(tiny_catalog: Catalog) -> None:
    """DuckDB shares one instance a file and process; the second session must work, and stay closed to files."""
    again = cxrdata.open(tiny_catalog.folder.path)
    assert again.sql("SELECT count(*) FROM images").item() == tiny_catalog.sql("SELECT count(*) FROM images").item()
    with pytest.raises(cxrdata.CxrError, match="CXR-503"):
        again.sql("SELECT * FROM read_csv('/etc/passwd')")
    with pytest.raises(cxrdata.CxrError, match="another memory limit"):
        cxrdata.open(tiny_catalog.folder.path, memory="1GB").connect()


def test_parquet_instead_of_the_file(tiny_catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONTRACT §4: where a share refuses DuckDB's read lock, the Parquet is opened instead and a line says so."""
    shutil.copytree(tiny_catalog.folder.path, tmp_path / "share")
    whole = {
        name: tiny_catalog.sql(f"SELECT * FROM {name} ORDER BY ALL")
        for name in ("images", "image_labels_rolled", "labels", "healthy", "label_counts")
    }
    connect = duckdb.connect

    def refuse(database: str = ":memory:", **wishes: object) -> duckdb.DuckDBPyConnection:
        if database != ":memory:":
            raise duckdb.IOException("IO Error: Could not set lock on file")
        return connect(**wishes)  # type: ignore[arg-type]

    monkeypatch.setattr(duckdb, "connect", refuse)
    shared = cxrdata.open(tmp_path / "share")
    for name, rows in whole.items():
        assert shared.sql(f"SELECT * FROM {name} ORDER BY ALL").select(rows.columns).equals(rows), name
    assert shared.remark is not None
    assert "Parquet" in shared.remark
    with pytest.raises(cxrdata.CxrError, match="CXR-503"):
        shared.sql("SELECT * FROM read_csv('/etc/passwd')")
