"""Builds of folders that hold a file both unpacked and gzipped."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from builds import request_of
from nih_files import BOXES, rows, write_nih

from cxrdata.errors import CxrError
from cxrdata.store.build import build_catalog
from cxrdata.store.catalog import Catalog

if TYPE_CHECKING:
    from pathlib import Path

NOTES = "SELECT topic, item, message FROM build_notes WHERE topic IN ('twin_file', 'left_out') ORDER BY ALL"


def twin(path: Path, body: bytes) -> None:
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(body, mtime=0))


def test_a_twin_is_noted_and_watched(tmp_path: Path) -> None:
    """The table is that of the folder without it; nothing is read again until the twin changes."""
    alone, both = write_nih(tmp_path / "alone", rows()), write_nih(tmp_path / "both", rows())
    listed = both / "Data_Entry_2017_v2020.csv"
    twin(listed, listed.read_bytes())
    build_catalog(request_of(tmp_path / "first", {"nih": alone}))
    build_catalog(request_of(tmp_path / "second", {"nih": both}))
    with Catalog(tmp_path / "first") as first, Catalog(tmp_path / "second") as second:
        for query in (
            "SELECT * FROM images ORDER BY image_id",
            "SELECT * FROM ledger ORDER BY ALL",
            "SELECT * FROM source_files ORDER BY ALL",
        ):
            assert second.sql(query).equals(first.sql(query))
        assert first.sql(NOTES).is_empty()
        assert second.sql(NOTES).rows() == [
            (
                "twin_file",
                "Data_Entry_2017_v2020.csv.gz",
                "the same as Data_Entry_2017_v2020.csv, which is read; this one is not",
            )
        ]
    assert build_catalog(request_of(tmp_path / "second", {"nih": both})).unchanged
    twin(listed, listed.read_bytes() + b"\n")
    with pytest.raises(CxrError) as caught:
        build_catalog(request_of(tmp_path / "second", {"nih": both}))
    assert (caught.value.code, caught.value.where) == ("CXR-115", "nih_cxr14: Data_Entry_2017_v2020.csv.gz")


def test_keep_going_leaves_out_a_twin_that_differs(tmp_path: Path) -> None:
    """Not of the list of images: which one is meant is unknown there, and everything hangs on it."""
    folder = write_nih(tmp_path / "nih", rows())
    twin(folder / "BBox_List_2017.csv", BOXES.replace("Cardiomegaly", "Hernia").encode())
    request = request_of(tmp_path / "catalog", {"nih": folder}, keep_going=True)
    build_catalog(request)
    with Catalog(tmp_path / "catalog") as catalog:
        assert catalog.sql("SELECT native_label FROM boxes ORDER BY ALL")["native_label"].to_list() == [
            "Cardiomegaly",
            "Infiltrate",
        ]
        [(topic, item, message)] = catalog.sql(NOTES).rows()
    assert (topic, item) == ("left_out", "BBox_List_2017.csv.gz")
    assert message.startswith(
        "CXR-115: BBox_List_2017.csv and BBox_List_2017.csv.gz are both the boxes file of nih_cxr14"
    )
    twin(folder / "Data_Entry_2017_v2020.csv", b"nothing")
    with pytest.raises(CxrError) as caught:
        build_catalog(request)
    assert caught.value.code == "CXR-115"
