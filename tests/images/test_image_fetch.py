"""`fetch`: archives and tables of a list, all or some, gone on with after an interruption."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_files import tarred
from lying_server import Handler, Site, serving

from cxrdata.errors import CxrError
from cxrdata.images import fetch as fetch_module
from cxrdata.images.download import Manners
from cxrdata.images.fetch import Plan, fetch, http_pool, make_plan
from cxrdata.images.unpack import unpack
from cxrdata.sources.base import Registry, Source

QUICK = Manners(attempts=3, pause=0.001, timeout=5)
TABLE = b"Image Index,Finding Labels\n00000001_000.png,No Finding\n"
ARCHIVES = {
    "images_001.tar.gz": ("00000001_000.png", "00000001_001.png", "00000002_000.png"),
    "images_002.tar.gz": ("00000002_001.png", "00000007_000.png"),
    "images_003.tar.gz": ("00000008_000.png",),
}


def _image(name: str) -> bytes:
    return f"the bytes of {name}".encode() * 50


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving() as running:
        running.content["/table.csv"] = TABLE
        for name, images in ARCHIVES.items():
            members = {f"images/{image}": _image(image) for image in images}
            running.content[f"/{name}"] = tarred(tmp_path / "site" / name, members, mode="w:gz").read_bytes()
        yield running


@pytest.fixture
def source(site: Site) -> Source:
    downloads = [{"name": "Data_Entry_2017_v2020.csv", "url": f"{site.url}/table.csv", "starts_with": "Image Index"}]
    for name, images in ARCHIVES.items():
        content = site.content[f"/{name}"]
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        downloads.append(
            {
                "name": name,
                "url": f"{site.url}/{name}",
                "bytes": len(content),
                "md5": digest,
                "first": images[0],
                "images": len(images),
            }
        )
    return Source("nih_cxr14", {"name": "nih_cxr14", "download": downloads})


def states(plan: Plan) -> dict[str, str]:
    return dict(plan.frame().select("file", "state").iter_rows())


def images_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def test_all_of_it(site: Site, source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "nih"
    fetch(make_plan(source, folder), manners=QUICK)
    assert images_below(folder) == [
        f"{name[:10]}/images/{image}" for name, images in ARCHIVES.items() for image in images
    ]
    assert (folder / "images_002/images/00000007_000.png").read_bytes() == _image("00000007_000.png")
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [
        "Data_Entry_2017_v2020.csv",
        "fetched.json",
    ]
    files = json.loads((folder / "fetched.json").read_text())["files"]
    assert {name: entry["checksum"] for name, entry in files.items()} == {
        "Data_Entry_2017_v2020.csv": "none published", **dict.fromkeys(ARCHIVES, "published"),
    }  # fmt: skip
    assert files["Data_Entry_2017_v2020.csv"]["sha256"] == hashlib.sha256(TABLE).hexdigest()
    site.requests.clear()
    again = make_plan(source, folder)
    assert set(states(again).values()) == {"there"}
    fetch(again, manners=QUICK)
    assert not site.requests


def test_a_subset_gets_only_its_archives_and_images(site: Site, source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "nih"
    plan = make_plan(source, folder, images=["00000001_001.png", "00000008_000.png"])
    assert states(plan) == {
        "Data_Entry_2017_v2020.csv": "needed", "images_001.tar.gz": "needed", "images_002.tar.gz": "not asked for",
        "images_003.tar.gz": "needed",
    }  # fmt: skip
    fetch(plan, manners=QUICK, keep_archives=True)
    assert images_below(folder) == ["images_001/images/00000001_001.png", "images_003/images/00000008_000.png"]
    site.requests.clear()
    more = make_plan(source, folder, images=["00000001_000.png", "00000001_001.png"])
    assert more.needed[0].images == {"00000001_000.png"}
    fetch(more, manners=QUICK)
    assert not site.requests  # from the archive that was kept
    assert len(images_below(folder)) == 3
    assert not (folder / "images_001.tar.gz").exists()


def test_only_the_tables(source: Source, tmp_path: Path) -> None:
    fetch(make_plan(source, tmp_path / "nih", metadata_only=True), manners=QUICK)
    assert not images_below(tmp_path / "nih")
    assert (tmp_path / "nih" / "Data_Entry_2017_v2020.csv").read_bytes() == TABLE


def test_what_lies_in_another_layout_is_there(source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "nih" / "images"
    folder.mkdir(parents=True)
    for image in ARCHIVES["images_002.tar.gz"]:
        (folder / image).write_bytes(b"x")
    assert states(make_plan(source, tmp_path / "nih"))["images_002.tar.gz"] == "there"


def test_one_failure_keeps_the_rest(site: Site, source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "nih"
    site.manners["/images_002.tar.gz"] = lambda handler, _, __: handler.answer(404, b"")
    with pytest.raises(CxrError, match=r"images_002\.tar\.gz cannot be fetched: the server answers 404"):
        fetch(make_plan(source, folder), manners=QUICK, workers=1)
    del site.manners["/images_002.tar.gz"]
    site.requests.clear()
    fetch(make_plan(source, folder), manners=QUICK, workers=1)
    assert "/images_001.tar.gz" not in {path for path, _, _ in site.requests}
    assert len(images_below(folder)) == 6


def test_ctrl_c_keeps_what_came(site: Site, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "nih"
    asked_again = threading.Event()

    def slow(handler: Handler, content: bytes, number: int) -> None:
        if number == 1:
            handler.part(content, send=100)
        elif number == 2:
            os.kill(os.getpid(), signal.SIGINT)
            asked_again.set()
            handler.answer(503, b"")
        else:
            handler.part(content)

    site.manners["/images_001.tar.gz"] = slow
    monkeypatch.setattr(fetch_module, "_GLANCE", 0.01)
    patient = Manners(attempts=3, pause=30, timeout=5)  # it waits, and hears of Ctrl-C
    with pytest.raises(KeyboardInterrupt):
        fetch(make_plan(source, folder), manners=patient, workers=4)
    assert asked_again.is_set()
    assert (folder / "images_001.tar.gz.part").stat().st_size == 100
    fetch(make_plan(source, folder), manners=QUICK)
    assert len(images_below(folder)) == 6
    assert [ranged for ranged, _ in site.asked("/images_001.tar.gz")] == [None, "bytes=100-", "bytes=100-"]


def test_a_table_that_changed_is_not_taken_for_the_first(site: Site, source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "nih"
    fetch(make_plan(source, folder, metadata_only=True), manners=QUICK)
    place = folder / "Data_Entry_2017_v2020.csv"
    place.unlink()
    site.content["/table.csv"] = TABLE + b"another row\n"
    plan = make_plan(source, folder, metadata_only=True)
    assert plan.frame()["checksum"].to_list() == ["seen first"]
    with pytest.raises(CxrError, match="not the file that was fetched here before") as caught:
        fetch(plan, manners=QUICK)
    assert caught.value.code == "CXR-136"
    place.write_bytes(b"edited")
    with pytest.raises(CxrError, match="is there and not what it should be") as caught:
        make_plan(source, folder, metadata_only=True)
    assert caught.value.code == "CXR-136"


def test_a_disk_without_space_is_told_before(
    site: Site, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_module.shutil, "disk_usage", lambda _: _Usage())
    with pytest.raises(CxrError, match=r"are needed, 0\.5 GB are free") as caught:
        fetch(make_plan(source, tmp_path / "nih"), manners=QUICK)
    assert caught.value.code == "CXR-602"
    assert not site.requests


class _Usage:
    free = 500_000_000


def test_an_archive_that_lacks_images_is_told(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar.gz", {"images/00000001_000.png": b"x"}, mode="w:gz")
    with pytest.raises(CxrError, match=r"00000009_000\.png is not in it") as caught:
        unpack(archive, tmp_path / "a", {"00000001_000.png", "00000009_000.png"}, expected=2)
    assert caught.value.code == "CXR-137"
    with pytest.raises(CxrError, match="1 of 2 images are not in it"):
        unpack(archive, tmp_path / "a", None, expected=2)
    archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(CxrError, match="cannot be read to its end"):
        unpack(archive, tmp_path / "b", None, expected=1)


def test_nothing_is_unpacked_outside(tmp_path: Path) -> None:
    members = dict.fromkeys(
        ("../00000001_000.png", f"{tmp_path}/00000002_000.png", "images/00000003_000.png", "run.sh"), b"x"
    )
    archive = tarred(tmp_path / "evil.tar.gz", members, mode="w:gz")
    assert unpack(archive, tmp_path / "inside", None, expected=1) == 1
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [
        "evil.tar.gz", "inside/images/00000003_000.png",
    ]  # fmt: skip


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert http_pool("https://example.org/x").proxy is None
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    proxy = http_pool("https://example.org/x").proxy
    assert proxy is not None and proxy.host == "proxy.example"
    monkeypatch.setenv("no_proxy", "example.org")
    assert http_pool("https://example.org/x").proxy is None


def test_the_list_of_nih_is_whole(registry: Registry) -> None:
    entries = [entry for entry in registry.get("nih").entry["download"] if "first" in entry]
    assert [entry["name"] for entry in entries] == [f"images_{n:03}.tar.gz" for n in range(1, 13)]
    assert sum(entry["images"] for entry in entries) == 112_120
    assert [entry["first"] for entry in entries] == sorted(entry["first"] for entry in entries)
    assert all(len(entry["md5"]) == 32 and entry["bytes"] > 2e9 for entry in entries)
    assert len({entry["url"] for entry in entries} | {entry["md5"] for entry in entries}) == 24


def test_the_tables_of_nih_are_in_the_list(registry: Registry, real_data: Path) -> None:
    """All that the reader looks for, each at an address of its own; of the one that we have here the checksum is right."""
    tables = {entry["name"]: entry for entry in registry.get("nih").entry["download"] if "first" not in entry}
    assert list(tables) == ["Data_Entry_2017_v2020.csv", "train_val_list.txt", "test_list.txt", "BBox_List_2017.csv"]
    assert len({entry["url"] for entry in tables.values()}) == 4
    assert all("vanity_name=ChestXray-NIHCC&file_id=f_" in entry["url"] for entry in tables.values())
    boxes = gzip.decompress((real_data / "nih" / "BBox_List_2017.csv.gz").read_bytes())
    stated = tables["BBox_List_2017.csv"]
    assert (len(boxes), hashlib.sha256(boxes).hexdigest()) == (stated["bytes"], stated["sha256"])
    assert boxes.startswith(stated["starts_with"].encode())


def test_the_archives_hold_the_images_in_their_order(nih_catalog: Path, registry: Registry, tmp_path: Path) -> None:
    """The first image of each archive, and the real list of images, give the number that is stated."""
    import cxrdata

    with cxrdata.open(nih_catalog) as opened:
        ids = opened.table("images").select("image_id").collect()["image_id"].to_list()
    plan = make_plan(registry.get("nih"), tmp_path / "none", images=ids)
    archives = [item for item in plan.items if item.is_archive]
    assert [len(item.images or ()) for item in archives] == [item.n_images for item in archives]
