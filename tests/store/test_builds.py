from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from nih_files import changed, rows, write_nih

from cxrdata.errors import CxrError
from cxrdata.store.builds import list_builds, prune
from cxrdata.store.catalog import Catalog
from cxrdata.store.layout import CatalogFolder


@pytest.fixture
def three_builds(build_nih: Callable[..., str], tmp_path: Path) -> tuple[CatalogFolder, list[str]]:
    """A catalog with three builds, oldest first; the last is current."""
    catalog = tmp_path / "catalog"
    tables = [rows(), changed(lambda row: row.update(view="AP")), changed(lambda row: row.update(sex="F"))]
    ids = [build_nih(catalog, write_nih(tmp_path / str(number), table)) for number, table in enumerate(tables)]
    for age, build_id in enumerate(ids):
        os.utime(catalog / "builds" / build_id, (1_000_000 + age, 1_000_000 + age))
    return CatalogFolder(catalog), ids


def name_build(folder: CatalogFolder, split: str, build_id: str) -> None:
    (folder.splits / split).mkdir(parents=True)
    (folder.splits / split / "manifest.json").write_text(json.dumps({"catalog_build": build_id}))


def kept(folder: CatalogFolder) -> set[str]:
    return {path.name for path in folder.builds.iterdir()}


def test_list_tells_each_build(three_builds: tuple[CatalogFolder, list[str]]) -> None:
    folder, ids = three_builds
    name_build(folder, "mine", ids[0])
    listed = list_builds(folder)
    assert listed["build_id"].to_list() == ids[::-1]
    assert listed["current"].to_list() == [True, False, False]
    assert listed["splits"].to_list() == [[], [], ["mine"]]
    assert listed["images"].unique().to_list() == [len(rows())]
    assert listed["datasets"].to_list() == [["nih_cxr14"]] * 3


def test_prune_keeps_the_newest_the_current_and_the_named(three_builds: tuple[CatalogFolder, list[str]]) -> None:
    folder, ids = three_builds
    name_build(folder, "mine", ids[0])
    assert prune(folder, keep=0, dry_run=True) == [ids[1]]
    assert kept(folder) == set(ids)
    assert prune(folder, keep=0) == [ids[1]]
    assert kept(folder) == {ids[0], ids[2]}


def test_prune_never_drops_an_old_build_that_is_current(three_builds: tuple[CatalogFolder, list[str]]) -> None:
    folder, ids = three_builds
    folder.current.write_text(ids[0] + "\n")
    assert prune(folder, keep=1) == [ids[1]]
    assert Catalog(folder.path).sql("SELECT count(*) FROM images").item() == len(rows())


def test_prune_by_name_refuses_what_is_needed(three_builds: tuple[CatalogFolder, list[str]]) -> None:
    folder, ids = three_builds
    name_build(folder, "mine", ids[0])
    for build_id, code in ((ids[0], "CXR-502"), (ids[2], "CXR-502"), ("ffff", "CXR-501")):
        with pytest.raises(CxrError) as caught:
            prune(folder, ids=[build_id])
        assert caught.value.code == code
    assert kept(folder) == set(ids)
    assert prune(folder, ids=[ids[1]]) == [ids[1]]


def test_prune_stops_where_a_split_does_not_say_its_build(three_builds: tuple[CatalogFolder, list[str]]) -> None:
    folder, ids = three_builds
    (folder.splits / "broken").mkdir(parents=True)
    (folder.splits / "broken" / "manifest.json").write_text("{}")
    with pytest.raises(CxrError, match="does not say which build"):
        prune(folder, keep=0)
    assert kept(folder) == set(ids)


def test_reader_of_a_dropped_build_keeps_its_rows(three_builds: tuple[CatalogFolder, list[str]]) -> None:
    folder, ids = three_builds
    with Catalog(folder.path, build_id=ids[0]) as catalog:
        catalog.connect()
        prune(folder, keep=1)
        assert catalog.sql("SELECT count(*) FROM images").item() == len(rows())


@pytest.mark.parametrize("wish", [{}, {"keep": 1, "ids": ["a"]}])
def test_prune_needs_one_wish(tiny_copy: Path, wish: dict[str, object]) -> None:
    with pytest.raises(CxrError, match="which builds"):
        prune(CatalogFolder(tiny_copy), **wish)  # type: ignore[arg-type]


def test_prune_of_nothing_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(CxrError) as caught:
        prune(CatalogFolder(tmp_path / "none"), keep=1)
    assert caught.value.code == "CXR-601"
    assert not (tmp_path / "none").exists()
