"""A build as a whole: what is read again when something changed, files that are missing or broken, overlays."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from builds import debris, request_of, sound_build

from cxrdata.errors import CxrError
from cxrdata.resources import data_folder
from cxrdata.store import dataset_stage, fingerprints
from cxrdata.store.build import BuildResult, build_catalog


@pytest.fixture
def nih(synthetic: Callable[..., Path], tmp_path: Path) -> Path:
    """NIH files of this test's own."""
    return shutil.copytree(synthetic("nih_cxr14", scale=0.0002), tmp_path / "nih")


@pytest.fixture
def pcxr(synthetic: Callable[..., Path]) -> Path:
    return synthetic("vindr_pcxr", scale=0.0002)


def sql(result: BuildResult, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(result.build.database), read_only=True) as connection:
        return connection.execute(query).fetchall()


# --- what is read again


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Datasets in the order in which they are read, and files that are hashed."""
    seen: list[str] = []
    fill, digest = dataset_stage._fill, fingerprints.sha256_file

    def spy_fill(aside: Path, job: Any) -> None:
        seen.append(job.dataset)
        fill(aside, job)

    def spy_digest(path: Path) -> str:
        seen.append(path.name)
        return digest(path)

    monkeypatch.setattr(dataset_stage, "_fill", spy_fill)
    monkeypatch.setattr(fingerprints, "sha256_file", spy_digest)
    return seen


def test_unchanged_sources_are_not_read(nih: Path, pcxr: Path, tmp_path: Path, reads: list[str]) -> None:
    request = request_of(tmp_path / "cxr-catalog", {"nih": nih, "pcxr": pcxr})
    first = build_catalog(request)
    assert {"nih_cxr14", "vindr_pcxr", "Data_Entry_2017_v2020.csv"} <= set(reads)
    stamps = {path: path.stat().st_mtime_ns for path in first.build.path.rglob("*")}
    reads.clear()
    second = build_catalog(request)
    assert reads == []
    assert second.unchanged
    assert second.build == first.build
    assert {path: path.stat().st_mtime_ns for path in first.build.path.rglob("*")} == stamps


def test_only_what_changed_is_read(nih: Path, pcxr: Path, tmp_path: Path, reads: list[str]) -> None:
    request = request_of(tmp_path / "cxr-catalog", {"nih": nih, "pcxr": pcxr})
    first = build_catalog(request)
    boxes = nih / "BBox_List_2017.csv"
    boxes.write_text("".join(boxes.read_text().splitlines(keepends=True)[:-1]))
    reads.clear()
    second = build_catalog(request)
    assert reads == ["BBox_List_2017.csv", "nih_cxr14"]
    assert second.reused == ["vindr_pcxr"]
    assert second.build != first.build
    assert first.build.manifest.is_file(), "the old build stays until it is dropped"
    assert (
        sql(second, "SELECT count(*) FROM boxes WHERE dataset = 'nih_cxr14'")[0][0]
        == sql(first, "SELECT count(*) FROM boxes WHERE dataset = 'nih_cxr14'")[0][0] - 1
    )


def test_touching_a_file_changes_nothing(nih: Path, tmp_path: Path, reads: list[str]) -> None:
    request = request_of(tmp_path / "cxr-catalog", {"nih": nih})
    first = build_catalog(request)
    reads.clear()
    os.utime(nih / "test_list.txt", (1, 1))
    second = build_catalog(request)
    assert reads == ["test_list.txt"]
    assert second.unchanged
    assert second.build == first.build


def test_same_size_and_time_but_other_content(nih: Path, tmp_path: Path) -> None:
    """An edit that keeps the size is seen by the time of change."""
    request = request_of(tmp_path / "cxr-catalog", {"nih": nih})
    first = build_catalog(request)
    path = nih / "Data_Entry_2017_v2020.csv"
    path.write_bytes(path.read_bytes().replace(b",PA,", b",AP,"))
    second = build_catalog(request)
    assert not second.unchanged
    assert second.build != first.build


# --- missing, broken and differing files


def test_without_the_optional_files(nih: Path, tmp_path: Path) -> None:
    for path in nih.iterdir():
        if not path.name.startswith("Data_Entry"):
            path.unlink()
    result = build_catalog(request_of(tmp_path / "cxr-catalog", {"nih": nih}))
    assert {row[0] for row in sql(result, "SELECT item FROM build_notes WHERE topic = 'missing_file'")} == {
        "train_list",
        "test_list",
        "boxes",
        "google",
    }
    assert sql(result, "SELECT count(*), count(source_split) FROM images")[0][1] == 0
    assert sql(result, "SELECT count(*) FROM boxes") == [(0,)]
    assert sql(result, "SELECT DISTINCT labeler FROM labels") == [("text_mining",)]


def test_strict_publishes_no_subset(nih: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "cxr-catalog"
    with pytest.raises(CxrError) as caught:
        build_catalog(request_of(catalog, {"nih": nih}, strict=True))
    assert caught.value.code == "CXR-403"
    assert "112,120" in caught.value.problem
    assert not (catalog / "CURRENT").exists()
    assert debris(catalog) == []
    lenient = build_catalog(request_of(catalog, {"nih": nih}))
    with pytest.raises(CxrError):
        build_catalog(request_of(catalog, {"nih": nih}, strict=True))
    assert sound_build(catalog) == lenient.build.build_id


LOGIN_PAGE = "<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"


def test_a_broken_file_stops_the_build(nih: Path, tmp_path: Path) -> None:
    (nih / "BBox_List_2017.csv").write_text(LOGIN_PAGE)
    with pytest.raises(CxrError) as caught:
        build_catalog(request_of(tmp_path / "cxr-catalog", {"nih": nih}))
    assert caught.value.code == "CXR-103"
    assert caught.value.where is not None
    assert caught.value.where.startswith("nih_cxr14: BBox_List_2017.csv")
    assert not (tmp_path / "cxr-catalog" / "CURRENT").exists()
    assert debris(tmp_path / "cxr-catalog") == []


@pytest.mark.parametrize("keep_raw", [False, True])
def test_keep_going_leaves_a_broken_file_out(nih: Path, tmp_path: Path, *, keep_raw: bool) -> None:
    (nih / "BBox_List_2017.csv").write_text(LOGIN_PAGE)
    result = build_catalog(request_of(tmp_path / "cxr-catalog", {"nih": nih}, keep_going=True, keep_raw=keep_raw))
    [(item, message)] = sql(result, "SELECT item, message FROM build_notes WHERE topic = 'left_out'")
    assert item == "BBox_List_2017.csv"
    assert "CXR-103" in message
    assert sql(result, "SELECT count(*) FROM source_files WHERE source_file = 'BBox_List_2017.csv'") == [(0,)]
    assert sql(result, "SELECT count(*) > 0 FROM images") == [(True,)]


def test_keep_going_leaves_a_dataset_without_image_list_out(nih: Path, pcxr: Path, tmp_path: Path) -> None:
    (nih / "Data_Entry_2017_v2020.csv").write_text(LOGIN_PAGE)
    folders = {"nih": nih, "pcxr": pcxr}
    with pytest.raises(CxrError):
        build_catalog(request_of(tmp_path / "cxr-catalog", folders))
    assert not (tmp_path / "cxr-catalog" / "CURRENT").exists()
    result = build_catalog(request_of(tmp_path / "cxr-catalog", folders, keep_going=True))
    assert [(name, error.code) for name, error in result.left_out] == [("nih_cxr14", "CXR-103")]
    assert sql(result, "SELECT DISTINCT dataset FROM images") == [("vindr_pcxr",)]
    with pytest.raises(CxrError):
        build_catalog(request_of(tmp_path / "other", {"nih": nih}, keep_going=True))


# --- overlays


def test_an_overlay_adds_a_term(nih: Path, tmp_path: Path) -> None:
    metadata = nih / "Data_Entry_2017_v2020.csv"
    metadata.write_text(metadata.read_text().replace(",PA,", ",LAO,", 1))
    before = build_catalog(request_of(tmp_path / "before", {"nih": nih}))
    assert sql(before, "SELECT value FROM rejects WHERE kind = 'value' AND code = 'CXR-303'") == [("LAO",)]
    overlay = write_overlay(tmp_path, "nih_cxr14\tView Position\tLAO\tOBLIQUE\tfalse\t\tmine\n")
    after = build_catalog(request_of(tmp_path / "after", {"nih": nih}, overlays=overlay))
    assert sql(after, "SELECT count(*) FROM rejects WHERE code = 'CXR-303'") == [(0,)]
    assert sql(after, "SELECT view, frontal FROM images WHERE view_raw = 'LAO'") == [("OBLIQUE", False)]
    digests = json.loads(after.build.manifest.read_text())["vocabularies"]
    assert digests["overlay/views.tsv"] == hashlib.sha256((overlay / "views.tsv").read_bytes()).hexdigest()


def test_an_overlay_wins(nih: Path, tmp_path: Path) -> None:
    overlay = write_overlay(tmp_path, "nih_cxr14\tView Position\tPA\tOTHER\t\t\tmine\n")
    catalog = tmp_path / "cxr-catalog"
    ours = build_catalog(request_of(catalog, {"nih": nih}))
    theirs = build_catalog(request_of(catalog, {"nih": nih}, overlays=overlay))
    assert (
        sql(ours, "SELECT count(*) FROM images WHERE view = 'PA'")
        == sql(theirs, "SELECT count(*) FROM images WHERE view = 'OTHER'")
        != [(0,)]
    )
    write_overlay(tmp_path, "nih_cxr14\tView Position\tPA\tLATERAL\t\t\tmine\n")
    changed = build_catalog(request_of(catalog, {"nih": nih}, overlays=overlay))
    assert sql(changed, "SELECT count(*) FROM images WHERE view = 'OTHER'") == [(0,)], "a changed overlay is read again"


def write_overlay(folder: Path, views: str) -> Path:
    overlay = folder / "overlay"
    overlay.mkdir(exist_ok=True)
    (overlay / "views.tsv").write_text(f"dataset\tfield\traw_value\tview\tfrontal\tposition\tcomment\n{views}")
    return overlay


def test_an_overlay_adds_a_dataset(nih: Path, tmp_path: Path) -> None:
    """A catalog entry and its vocabulary rows, read by the module of a dataset with the same format."""
    overlay = tmp_path / "overlay"
    (overlay / "catalog").mkdir(parents=True)
    entry = (
        (data_folder("catalog") / "nih_cxr14.toml")
        .read_text()
        .replace("nih_cxr14", "our_hospital")
        .replace('aliases = ["nih"]', 'aliases = ["ours"]')
    )
    (overlay / "catalog" / "our_hospital.toml").write_text(f'module = "cxrdata.sources.nih_cxr14"\n{entry}')
    for name in ("views.tsv", "sex.tsv", "label_map.sssom.tsv"):
        lines = (data_folder("metadata") / name).read_text().splitlines()
        header = next(number for number, line in enumerate(lines) if not line.startswith("#"))
        rows = [
            line.replace("nih_cxr14", "our_hospital") for line in lines[header + 1 :] if line.startswith("nih_cxr14")
        ]
        (overlay / name).write_text("\n".join([*lines[: header + 1], *rows]) + "\n")
    result = build_catalog(request_of(tmp_path / "cxr-catalog", {"ours": nih}, overlays=overlay))
    assert sql(result, "SELECT DISTINCT dataset FROM images") == [("our_hospital",)]
    assert sql(result, "SELECT count(*) FROM images WHERE view IS NULL OR sex IS NULL") == [(0,)]
    assert sql(
        result, "SELECT count(*) > 0 FROM labels WHERE finding = 'infiltration' AND dataset = 'our_hospital'"
    ) == [(True,)]
    digests = json.loads(result.build.manifest.read_text())["vocabularies"]
    assert (
        digests["overlay/catalog/our_hospital.toml"]
        == hashlib.sha256((overlay / "catalog" / "our_hospital.toml").read_bytes()).hexdigest()
    )
