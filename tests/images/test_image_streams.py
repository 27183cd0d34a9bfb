"""Images of archives that are compressed as a whole, read from front to back without unpacking."""

from __future__ import annotations

import gzip
import multiprocessing
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from image_files import png, tarred, write

from cxrdata.cli.main import run
from cxrdata.errors import CxrError, Exit
from cxrdata.images.listing import list_images
from cxrdata.images.sources import ImageFile
from cxrdata.images.store import ImageStore
from cxrdata.images.streams import Stream

NAMES = [f"images/{number:08d}_000.png" for number in range(1, 7)]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tarred(tmp_path / "images_001.tar.gz", {name: png(at) for at, name in enumerate(NAMES)}, mode="w:gz")


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each read of a gzip file gave, what was passed over included."""
    read: list[int] = []
    real = gzip._GzipReader.read

    def counted(self: gzip._GzipReader, size: int = -1) -> bytes:
        content = real(self, size)
        read.append(len(content))
        return content

    monkeypatch.setattr(gzip._GzipReader, "read", counted)
    return read


def test_members_are_read_in_any_order(archive: Path) -> None:
    stream = Stream(archive)
    for at in (3, 0, 5, 5, 1):
        assert stream.read(NAMES[at]) == png(at)
    assert stream.size(NAMES[2]) == len(png(2))


def test_in_their_order_the_archive_is_decompressed_once(archive: Path, bytes_read: list[int]) -> None:
    stream = Stream(archive)
    for at, name in enumerate(NAMES):
        assert stream.read(name) == png(at)
    whole = len(gzip.decompress(archive.read_bytes()))
    assert sum(bytes_read) <= 2 * whole  # `decompress` counts, too


def test_threads_and_processes_have_their_own_place(archive: Path) -> None:
    files = [ImageFile("nih_cxr14", name, archive, name) for name in NAMES]
    files[2].read()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ImageFile.read, files * 3)) == [png(at) for at in range(6)] * 3
    with multiprocessing.get_context("spawn").Pool(1) as processes:
        assert processes.map(ImageFile.read, files[:2]) == [png(0), png(1)]


def test_a_listing_names_them_as_an_unpacked_archive_would(archive: Path, tmp_path: Path) -> None:
    listing = list_images([tmp_path])
    assert listing.files["member"].to_list() == NAMES
    assert listing.files["name"].to_list() == [f"images_001/{name}" for name in NAMES]
    assert not listing.remarks
    assert list_images([archive]).files["member"].to_list() == NAMES  # a root that is one
    assert list_images([tmp_path], streams=False).files.is_empty()


def test_one_that_was_unpacked_is_not_read(archive: Path, tmp_path: Path) -> None:
    assert archive.is_file()
    write(tmp_path / "images_001", NAMES[0], png(0))
    listing = list_images([tmp_path])
    assert listing.files["name"].to_list() == [f"images_001/{NAMES[0]}"]
    assert "the folder images_001 beside it is taken" in listing.remarks[0]


def mixed(names: list[str]) -> list[str]:
    """In an order that goes back every second time: the last, the first, the last but one, …"""
    return [names[at // 2] if at % 2 else names[-1 - at // 2] for at in range(len(names))]


def test_in_another_order_one_turn_back_is_enough(tmp_path: Path, bytes_read: list[int]) -> None:
    order = mixed(NAMES)
    path = tarred(tmp_path / "mixed.tar.gz", {name: png(NAMES.index(name)) for name in order}, mode="w:gz")
    whole = len(gzip.decompress(path.read_bytes()))
    bytes_read.clear()
    stream = Stream(path)
    for wanted in (NAMES[:3], NAMES[3:], NAMES):
        found = dict(stream.read_many(wanted))
        assert found == {name: png(NAMES.index(name)) for name in wanted}
    assert sum(bytes_read) <= 3.5 * whole  # three times asked; tar ends in some blocks of nothing
    assert list(dict(stream.read_many([NAMES[0], "x.png"]))) == [NAMES[0], "x.png"]
    assert isinstance(dict(stream.read_many(["x.png"]))["x.png"], CxrError)


def test_an_archive_in_another_order_is_told(tmp_path: Path) -> None:
    many = [f"images/{number:08d}_000.png" for number in range(20)]
    tarred(tmp_path / "mixed.tar.gz", dict.fromkeys(mixed(many), b"x"), mode="w:gz")
    listing = list_images([tmp_path])
    assert listing.files["member"].sort().to_list() == many
    assert "not in the order of their names" in listing.remarks[0]
    assert "unpack it" in listing.remarks[0]


def test_members_that_climb_out_and_links(tmp_path: Path) -> None:
    path = tmp_path / "evil.tgz"
    with tarfile.open(path, "w:gz") as packed:
        for name in ("../00000001_000.png", "/etc/00000002_000.png", "caf\udce9.png", "ok/00000003_000.png"):
            packed.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("00000004_000.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)
    listing = list_images([tmp_path])
    assert listing.files["member"].to_list() == ["ok/00000003_000.png"]
    assert "4 members refused" in listing.remarks[0]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[: len(data) // 2], "end"),
        (lambda _: b"<html>log in</html>", "cannot be read"),
        (lambda data: data[:400] + bytes(40) + data[440:], "cannot be read"),
    ],
)
def test_a_damaged_archive_is_told(archive: Path, damage, words: str) -> None:  # noqa: ANN001
    archive.write_bytes(damage(archive.read_bytes()))
    listing = list_images([archive])
    assert listing.files.is_empty()
    assert words in listing.remarks[0]
    assert "get it again" in listing.remarks[0]


def test_a_bomb_is_not_set_off(tmp_path: Path) -> None:
    info = tarfile.TarInfo("00000001_000.png")
    info.size = 1 << 40
    (tmp_path / "bomb.tar.gz").write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT)))
    assert "which no image has" in list_images([tmp_path]).remarks[0]


def test_a_member_that_is_not_there_or_was_cut_off_since(archive: Path) -> None:
    with pytest.raises(CxrError, match="no such member") as error:
        ImageFile("nih_cxr14", "x", archive, "x.png").read()
    assert error.value.code == "CXR-132"
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(CxrError, match="the archive is damaged") as error:
        Stream(archive).read(NAMES[-1])
    assert error.value.code == "CXR-132"


@pytest.mark.parametrize("order", ["by name", "mixed"])
def test_a_store_built_straight_from_the_archive(
    order: str,
    six_datasets: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same store as from the folder that the archive unpacks to, in whatever order the archive holds its images."""
    images = sorted((six_datasets / "CURRENT").parent.glob("builds/*/tables/images/**/*.parquet"))
    nih = pl.concat([pl.read_parquet(path) for path in images if "nih" in str(path)])["image_id"].sort().to_list()
    files = {f"images/{name}": png(at) for at, name in enumerate(nih)}
    lying = files if order == "by name" else {name: files[name] for name in mixed(list(files))}
    tarred(tmp_path / "packed" / "images_001.tar.gz", lying, mode="w:gz")
    for name, content in files.items():
        write(tmp_path / "plain", name, content)
    for kind in ("packed", "plain"):
        command = ["images", "build", "--size", "16", "--out", str(tmp_path / f"{kind}-store"), "--workers", "1"]
        assert run([*command, "-c", str(six_datasets), "--root", f"nih={tmp_path / kind}"]) == Exit.DONE
    packed, plain = (ImageStore(tmp_path / f"{kind}-store") for kind in ("packed", "plain"))
    assert len(packed) == len(nih) > 20
    assert packed.index.equals(plain.index)
    capsys.readouterr()
    again = ["images", "build", "--size", "16", "--out", str(tmp_path / "packed-store"), "--workers", "1"]
    assert run([*again, "-c", str(six_datasets), "--root", f"nih={tmp_path / 'packed'}"]) == Exit.DONE
    assert f"0 decoded (0/s), {len(nih)} as they were" in capsys.readouterr().err
