"""Where the files of images are: roots, layouts, archives, and what must be survived on the way."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from image_files import png, tarred, write, zipped

import cxrdata
from cxrdata.errors import CxrError
from cxrdata.images import archives
from cxrdata.images.listing import list_images
from cxrdata.images.roots import ImageRoots, roots_file
from cxrdata.images.sources import ImageFile, files_of, locate
from cxrdata.store.catalog import Catalog


@pytest.fixture(scope="module")
def catalog(six_datasets: Path) -> Iterator[Catalog]:
    with cxrdata.open(six_datasets) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _no_roots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("CXRDATA_ROOT"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def images(catalog: Catalog, dataset: str) -> pl.DataFrame:
    return catalog.table("images").filter(pl.col("dataset") == dataset).select("dataset", "image_id", "path").collect()


def _chexpert_batches(image_id: str) -> str:
    part, below = image_id.split("/", 1)
    batch = {"train": "batch 2 (train 1)", "valid": "batch 1 (validate & csv)", "test": "batch 1 (validate & csv)"}[
        part
    ]
    return f"chexpertchestxrays-u20210408/CheXpert-v1.0 {batch}/{below}"


LAYOUTS: dict[str, tuple[str, Callable[[str, str], str]]] = {
    "CheXpert small": ("chexpert", lambda _, path: f"CheXpert-v1.0-small/{path}"),
    "CheXpert full": ("chexpert", lambda _, path: f"CheXpert-v1.0/{path}"),
    "CheXpert, the root itself": ("chexpert", lambda _, path: path),
    "CheXpert in batches": ("chexpert", lambda image_id, _: _chexpert_batches(image_id)),
    "MIMIC": ("mimic_cxr", lambda _, path: f"mimic-cxr-jpg/2.1.0/{path}"),
    "MIMIC, one folder": ("mimic_cxr", lambda image_id, _: f"{image_id}.jpg"),
    "NIH in twelve": ("nih_cxr14", lambda image_id, _: f"images_{int(image_id[:8]) % 12 + 1:03}/images/{image_id}"),
    "NIH in one": ("nih_cxr14", lambda image_id, _: f"images/{image_id}"),
    "PadChest in numbered folders": ("padchest", lambda _, path: path),
    "VinDr-CXR": ("vindr_cxr", lambda _, path: f"vindr-cxr/1.0.0/{path}"),
    "VinDr-PCXR": ("vindr_pcxr", lambda _, path: path),
    "VinDr as PNG": ("vindr_cxr", lambda image_id, _: f"png/{image_id}.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_found(catalog: Catalog, tmp_path: Path, layout: str) -> None:
    dataset, place = LAYOUTS[layout]
    rows = images(catalog, dataset)
    assert rows.height > 10
    names = {image_id: place(image_id, path) for _, image_id, path in rows.iter_rows()}
    for name in names.values():
        write(tmp_path / "root", name)
    found = locate(catalog, rows, ImageRoots.load({dataset: tmp_path / "root"}))
    assert found["image_id"].to_list() == rows["image_id"].to_list()
    expected = [str(tmp_path / "root" / names[image_id]) for image_id in rows["image_id"]]
    assert found["path"].to_list() == expected
    assert found["member"].null_count() == rows.height


@pytest.mark.parametrize("kind", ["zip", "stored zip", "tar"])
def test_images_in_archives_are_read_where_they_lie(catalog: Catalog, tmp_path: Path, kind: str) -> None:
    rows = images(catalog, "padchest")
    content = {path: f"the bytes of {path}".encode() for path in rows["path"]}
    folders = sorted({path.partition("/")[0] for path in content})
    for folder in folders:
        members = {path.partition("/")[2]: content[path] for path in content if path.startswith(f"{folder}/")}
        if kind == "tar":
            tarred(tmp_path / f"{folder}.tar", members)
        else:
            method = zipfile.ZIP_STORED if kind == "stored zip" else zipfile.ZIP_DEFLATED
            zipped(tmp_path / f"{folder}.zip", members, method=method)
    found = locate(catalog, rows, ImageRoots.load({"padchest": tmp_path}))
    assert found["member"].null_count() == 0
    files = list(files_of(found))
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda file: file.open().read(), files))
    assert read == [content[path] for path in rows["path"]]
    assert [file.size() for file in files if file] == [len(content[path]) for path in rows["path"]]


def test_a_root_may_be_an_archive(catalog: Catalog, tmp_path: Path) -> None:
    first = images(catalog, "chexpert")["path"][0]
    archive = zipped(tmp_path / "CheXpert-v1.0-small.zip", {f"CheXpert-v1.0-small/{first}": b"jpeg"})
    row = images(catalog, "chexpert").head(1)
    found = locate(catalog, row, ImageRoots.load({"chexpert": archive}))
    assert found.row(0) == ("chexpert", first, str(archive), f"CheXpert-v1.0-small/{first}")


def test_the_own_format_where_the_catalog_says_comes_first(catalog: Catalog, tmp_path: Path) -> None:
    rows = images(catalog, "vindr_cxr")
    _, image_id, path = rows.row(0)
    write(tmp_path, f"a/{image_id}.png")
    zipped(tmp_path / "a.zip", {path: b"x"})
    plain = write(tmp_path, f"z/{image_id}.dicom")
    roots = ImageRoots.load({"vindr_cxr": tmp_path})
    assert locate(catalog, rows.head(1), roots)["path"].item() == str(plain)
    official = write(tmp_path, path)
    assert locate(catalog, rows.head(1), roots)["path"].item() == str(official)
    assert locate(catalog, rows, roots).drop_nulls("path")["path"].to_list() == [str(official)]


def test_rows_keep_their_order_and_number(catalog: Catalog, tmp_path: Path) -> None:
    ids = images(catalog, "nih_cxr14")["image_id"].to_list()
    for image_id in ids[:3]:
        write(tmp_path, image_id)
    frame = pl.DataFrame(
        {"dataset": ["nih_cxr14"] * 5 + [None], "image_id": [ids[2], ids[5], ids[0], ids[2], "no.png", None]}
    )
    told: list[str] = []
    found = locate(catalog, frame, ImageRoots.load({"nih": tmp_path}), remarks=told.append)
    names = [None if path is None else Path(path).name for path in found["path"]]
    assert names == [ids[2], None, ids[0], ids[2], None, None]
    assert told == ["nih_cxr14: 2 images of 4 without a file"]


def test_a_dataset_without_a_root_is_told(catalog: Catalog) -> None:
    told: list[str] = []
    found = locate(catalog, images(catalog, "padchest"), ImageRoots.load(), remarks=told.append)
    assert found["path"].null_count() == found.height
    assert "padchest" in told[0]


def test_what_is_no_image_of_ours_is_survived(tmp_path: Path) -> None:
    write(tmp_path, "images/00000001_000.png")
    write(tmp_path, "images/notes.txt")
    (tmp_path / "images" / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "dead.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9_000.png")).write_bytes(b"x")
    write(tmp_path, "broken.zip", b"PK\x03\x04 not a zip")
    write(tmp_path, "page.tar", b"<html>log in</html>")
    tarred(tmp_path / "images_001.tar.xz", {"images/00000002_000.png": b"x"}, mode="w:xz")
    listing = list_images([tmp_path])
    assert listing.files["name"].to_list() == ["images/00000001_000.png"]
    told = "\n".join(listing.remarks)
    assert "broken.zip: the archive cannot be read" in told
    assert "page.tar: the archive cannot be read" in told
    assert "images_001.tar.xz is compressed in a way that is not read; unpack it" in told
    assert "1 file passed over whose name is no UTF-8" in told


def test_a_linked_folder_is_followed_once(tmp_path: Path) -> None:
    write(tmp_path, "disk/00000001_000.png")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").symlink_to(tmp_path / "disk")
    (tmp_path / "root" / "b").symlink_to(tmp_path / "disk")
    assert list_images([tmp_path / "root"]).files["name"].to_list() == ["a/00000001_000.png"]


def test_members_that_climb_out_are_refused(tmp_path: Path) -> None:
    evil = {"../00000001_000.png": b"x", "/etc/00000002_000.png": b"x", "a/../../00000003_000.png": b"x"}
    zipped(tmp_path / "evil.zip", {**evil, "C:\\00000004_000.png": b"x", "ok/00000005_000.png": b"x"})
    tarred(tmp_path / "evil.tar", {**evil, "ok/00000006_000.png": b"x"})
    listing = list_images([tmp_path])
    assert listing.files["member"].to_list() == ["ok/00000006_000.png", "ok/00000005_000.png"]
    assert [remark.split(" refused")[0] for remark in listing.remarks] == ["evil.tar: 3 members", "evil.zip: 4 members"]


def test_members_of_links_are_refused(tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        link = tarfile.TarInfo("00000001_000.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    listing = list_images([tmp_path])
    assert listing.files.is_empty()
    assert "1 member refused, such as '00000001_000.png'" in listing.remarks[0]


def _damaged(path: Path, kind: str) -> str:
    """A zip with one member, damaged; the words of the error."""
    content = png(1)
    zipped(path, {"a.png": content})
    whole = path.read_bytes()
    at = whole.index(b"PK\x01\x02")
    words = {
        "crc": "checksum differs",
        "header": "damaged where",
        "bomb": "which no image has",
        "short": "the archive's list says",
    }
    damaged = bytearray(whole)
    if kind == "crc":
        damaged[at + 16] ^= 1
    elif kind == "header":
        damaged[0] = 0
    elif kind == "bomb":
        damaged[at + 24 : at + 28] = (2**31).to_bytes(4, "little")
    else:
        damaged[at + 24 : at + 28] = (len(content) - 1).to_bytes(4, "little")
    path.write_bytes(bytes(damaged))
    return words[kind]


@pytest.mark.parametrize("kind", ["crc", "header", "bomb", "short"])
def test_a_damaged_member_is_refused(tmp_path: Path, kind: str) -> None:
    words = _damaged(tmp_path / f"{kind}.zip", kind)
    with pytest.raises(CxrError, match=words) as caught:
        ImageFile("nih_cxr14", "a.png", tmp_path / f"{kind}.zip", "a.png").open()
    assert caught.value.code == "CXR-132"


def test_a_member_that_is_not_there(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar", {"a.png": b"x"})
    with pytest.raises(CxrError, match="no such member"):
        ImageFile("nih_cxr14", "b.png", archive, "b.png").read()


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_archives_that_fall_out_of_use_are_closed(tmp_path: Path) -> None:
    before = _open_files()
    for number in range(archives._OPEN_ARCHIVES + 40):
        archives.open_archive(tarred(tmp_path / f"{number}.tar", {"a.png": b"x"}))
    assert _open_files() <= before + archives._OPEN_ARCHIVES + 5
    archives.open_archive.cache_clear()
    assert _open_files() <= before + 5


def test_roots_come_from_the_nearest_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("default/nih_cxr14", "file", "variable", "given", "second"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("CXRDATA_ROOT", str(tmp_path / "default"))
    assert ImageRoots.load().of("nih_cxr14") == (tmp_path / "default" / "nih_cxr14",)
    write(
        roots_file().parent,
        "roots.toml",
        f'nih = "{tmp_path}/file"\npadchest = ["{tmp_path}/file", "{tmp_path}/second"]\n'.encode(),
    )
    assert ImageRoots.load().of("nih_cxr14") == (tmp_path / "file",)
    assert ImageRoots.load().of("padchest") == (tmp_path / "file", tmp_path / "second")
    monkeypatch.setenv("CXRDATA_ROOT_NIH", f"{tmp_path}/variable:{tmp_path}/second")
    assert ImageRoots.load().of("nih_cxr14") == (tmp_path / "variable", tmp_path / "second")
    monkeypatch.setenv("CXRDATA_ROOT_NIH_CXR14", f"{tmp_path}/second")
    assert ImageRoots.load().of("nih_cxr14") == (tmp_path / "second",)
    assert ImageRoots.load({"nih": "given"}).of("nih_cxr14") == (tmp_path / "given",)


def test_roots_that_are_wrong_say_so(tmp_path: Path) -> None:
    with pytest.raises(CxrError, match="no dataset is called 'nhi'; did you mean nih") as caught:
        ImageRoots.load({"nhi": tmp_path})
    assert caught.value.code == "CXR-501"
    away = ImageRoots.load({"nih": tmp_path / "unmounted", "padchest": tmp_path})
    assert away.of("padchest") == (tmp_path,)  # the other one is no matter yet
    with pytest.raises(CxrError, match="where nothing is") as caught:
        away.of("nih_cxr14")
    assert caught.value.code == "CXR-130"
    with pytest.raises(CxrError, match="not known where the images of chexpert are") as caught:
        away.require("chexpert")
    assert caught.value.code == "CXR-133"
    write(roots_file().parent, "roots.toml", b"nih = 3\n")
    with pytest.raises(CxrError, match="nih must be a path") as caught:
        ImageRoots.load()
    assert caught.value.code == "CXR-505"


def test_paths_joins_any_frame(catalog: Catalog, tmp_path: Path) -> None:
    rows = images(catalog, "chexpert")
    files = [write(tmp_path, path) for path in rows["path"]]
    keys = [f"CheXpert-v1.0-small/{image_id}" for image_id in rows["image_id"]]
    frame = pl.DataFrame(
        {"Path": [*keys, "CheXpert-v1.0-small/train/patient99999/study1/view1_frontal.jpg"], "n": range(len(keys) + 1)}
    )
    found = catalog.paths(frame, roots={"chexpert": tmp_path})
    assert found.columns == ["Path", "n", "path", "member"]
    assert found["path"].to_list() == [*map(str, files), None]
    again = catalog.paths(found.to_pandas(), roots={"chexpert": tmp_path}, key="Path")
    assert again.equals(found)
