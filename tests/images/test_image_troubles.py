"""What real disks and real archives are like, through the command line: one block with a code and a way out, or a row that
says why, and what else there is comes through."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from image_files import png, saved, tarred, write, zipped
from lying_server import serving
from PIL import Image

import cxrdata
from cxrdata.cli.main import run
from cxrdata.errors import Exit
from cxrdata.images.store import ImageStore
from cxrdata.resources import data_folder
from cxrdata.sources.drawing.dicom_files import Header, encode_dicom

# The commands of a process of its own; the answers stand between marks. A disk is full when no file may grow beyond a few
# kilobytes; root is refused as others are once it may no longer override permissions.
SCRIPT = """
import ctypes, json, resource, sys
from cxrdata.cli.main import run

commands, limit = json.loads(sys.argv[1]), int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for command in commands:
    code = run(command)
    print(f"CODE {code}", file=sys.stderr, flush=True)
"""
FULL = 4096
# prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH) before the next program is begun.
WITHOUT_PRIVILEGE = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
for capability in (1, 2):
    libc.prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def answers(commands: list[list[str]], *, limit: int = 0, privileged: bool = True) -> list[tuple[int, str]]:
    """Exit code and messages of each command."""
    begin = [sys.executable] if privileged else [sys.executable, "-c", WITHOUT_PRIVILEGE]
    done = subprocess.run(
        [*begin, "-c", SCRIPT, json.dumps(commands), str(limit)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = re.split(r"^CODE (\d+)\n", done.stderr, flags=re.MULTILINE)
    assert len(told) == 2 * len(commands) + 1, done.stderr[-3000:]
    return [(int(code), text) for text, code in zip(told[::2], told[1::2], strict=False)]


def bomb() -> bytes:
    """A PNG of some bytes that declares ten thousand million pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )


@pytest.fixture(scope="module")
def ids(six_datasets: Path) -> dict[str, list[str]]:
    with cxrdata.open(six_datasets) as catalog:
        found = catalog.sql("SELECT dataset, image_id FROM images ORDER BY ALL")
    return {str(name): part["image_id"].to_list() for (name,), part in found.group_by("dataset")}


@pytest.fixture(scope="module")
def store(six_datasets: Path, ids: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three images of 128 by 128."""
    folder = tmp_path_factory.mktemp("sound")
    for at, name in enumerate(ids["nih_cxr14"][:3]):
        write(folder / "nih", name, png(at, side=256))
    command = ["images", "build", "--size", "128", "--out", str(folder / "store"), "--workers", "1", "-q"]
    assert run([*command, "-c", str(six_datasets), "--root", f"nih={folder / 'nih'}"]) == Exit.DONE
    return folder / "store"


@pytest.fixture
def troubled(ids: dict[str, list[str]], tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Roots with a little of everything that is wrong, and a sound image each."""
    nih, pcxr = ids["nih_cxr14"], ids["vindr_pcxr"]
    root = tmp_path / "nih"
    write(root, nih[0], png(0))
    write(root, nih[1], bomb())
    jpeg = saved(Image.open(write(tmp_path, "whole.png", png(1, side=300))), "JPEG")
    write(root, nih[2], jpeg[: len(jpeg) // 2])
    zipped(root / "evil.zip", {f"../{nih[3]}": png(3), f"ok/{nih[4]}": png(4)})
    tarred(root / "evil.tar", {f"../{nih[5]}": png(5), f"ok/{nih[6]}": png(6)})
    tarred(root / "evil.tar.gz", {f"/{nih[7]}": png(7), f"ok/{nih[8]}": png(8)}, mode="w:gz")
    (root / "loop").symlink_to(root)
    (root / nih[9]).symlink_to(root / nih[9])
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9_" + nih[10].encode())).write_bytes(png(10))
    for image_id, defect in zip(pcxr, ("no_pixel_data", "no_transfer_syntax", None), strict=False):
        header = Header(image_id, 60, 50, "003Y", "F", defect=defect)  # type: ignore[arg-type]
        pixels = np.random.default_rng(0).integers(0, 4000, (60, 50)).astype(np.uint16)
        write(tmp_path / "pcxr", f"{image_id}.dicom", encode_dicom(header, pixels))
    yield {"nih": root, "pcxr": tmp_path / "pcxr"}
    (root / "loop").unlink()


def roots(places: dict[str, Path]) -> list[str]:
    return [f"--root={name}={path}" for name, path in places.items()]


def told_of_archives(text: str) -> None:
    for name in ("evil.zip", "evil.tar", "evil.tar.gz"):
        assert f"{name}: 1 member refused, such as" in text
    assert "1 file passed over whose name is no UTF-8 text" in text


def test_a_build_lists_what_it_refuses_and_keeps_the_rest(
    six_datasets: Path, troubled: dict[str, Path], ids: dict[str, list[str]], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    command = ["images", "build", "--size", "16", "--out", str(tmp_path / "store"), "--workers", "1"]
    assert run([*command, "-c", str(six_datasets), *roots(troubled)]) == Exit.DONE
    told_of_archives(capsys.readouterr().err)
    built = ImageStore(tmp_path / "store")
    nih, pcxr = ids["nih_cxr14"], ids["vindr_pcxr"]
    assert built.index["image_id"].to_list() == [nih[0], nih[4], nih[6], nih[8], pcxr[2]]
    refused = dict(built.refused.select("image_id", "code").iter_rows())
    assert (refused[nih[1]], refused[nih[2]]) == ("CXR-142", "CXR-141")
    assert (refused[pcxr[0]], refused[pcxr[1]]) == ("CXR-143", "CXR-144")
    assert {refused[nih[at]] for at in (3, 5, 7, 9, 10)} == {"CXR-147"}


def test_a_check_says_what_is_wrong_with_each(
    six_datasets: Path, troubled: dict[str, Path], ids: dict[str, list[str]], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found = tmp_path / "cat"
    subprocess.run(["cp", "-r", str(six_datasets), str(found)], check=True)
    command = ["images", "check", "--dataset", "nih,pcxr", "--list", "--out", str(tmp_path / "list.csv")]
    assert run([*command, "--workers", "1", "-c", str(found), *roots(troubled)]) == Exit.DATA
    told_of_archives(capsys.readouterr().err)
    rows = pl.read_csv(tmp_path / "list.csv").select("image_id", "status", "message").rows()
    said = {image_id: (status, (message or "")[:7]) for image_id, status, message in rows}
    nih, pcxr = ids["nih_cxr14"], ids["vindr_pcxr"]
    assert said[nih[1]] == ("unreadable", "CXR-142")
    assert said[nih[2]] == ("truncated", "CXR-141")
    assert said[pcxr[0]] == ("unreadable", "CXR-143")
    assert said[pcxr[1]] == ("unreadable", "CXR-144")
    assert {said[nih[at]][0] for at in (3, 5, 7, 9, 10)} == {"missing"}


def is_one_block(text: str, words: str, option: str) -> bool:
    errors = [line for line in text.splitlines() if line.startswith("error ")]
    return len(errors) == 1 and f"error CXR-602: cannot write: {words}" in text and text.rstrip().endswith(option)


def fetching(tmp_path: Path, url: str) -> Path:
    """An overlay by which NIH's table comes from a server of this machine."""
    entry = (data_folder("catalog") / "nih_cxr14.toml").read_text(encoding="utf-8").partition("[[download]]")[0]
    entry += f'[[download]]\nname = "Data_Entry_2017_v2020.csv"\nurl = "{url}/table.csv"\nstarts_with = "Image Index"\n'
    return write(tmp_path, "overlays/catalog/nih_cxr14.toml", entry.encode()).parent.parent


def every_writer(six_datasets: Path, store: Path, target: Path, overlays: Path) -> tuple[list[str], list[list[str]]]:
    """The options that name the folder, and the commands that write below `target`, where a catalog lies."""
    nih = f"nih={store.parent / 'nih'}"
    commands = [
        ["images", "check", "--dataset", "nih", "--workers", "1", "-c", str(target / "cat"), "--root", nih, "-q"],
        ["images", "build", "--size", "128", "--workers", "1", "--out", str(target / "store"), "-c", str(six_datasets), "--root", nih, "-q"],
        ["images", "export", str(store), str(target / "files"), "-c", str(six_datasets), "-q"],
        ["fetch", "nih", "--metadata", "--to", str(target / "nih"), "--overlays", str(overlays), "-q"],
    ]  # fmt: skip
    return ["with -c PATH", "with --out PATH", "as DIR", "with --to PATH"], commands


def test_a_full_disk(six_datasets: Path, store: Path, tmp_path: Path) -> None:
    target = tmp_path / "disk"
    target.mkdir()
    subprocess.run(["cp", "-r", str(six_datasets), str(target / "cat")], check=True)
    with serving() as site:
        site.content["/table.csv"] = b"Image Index,Finding Labels\n" + b"00000001_000.png,No Finding\n" * 1000
        options, commands = every_writer(six_datasets, store, target, fetching(tmp_path, site.url))
        for option, (code, text) in zip(options, answers(commands, limit=FULL), strict=True):
            assert code == Exit.ENVIRONMENT, text
            assert is_one_block(text, "", option), text
            assert os.strerror(27) in text or "the disk is full" in text  # EFBIG; where Polars has kept the reason
    left = [path.name for path in target.rglob("*.unfinished")]
    assert not left
    assert not (target / "cat" / "image_files.parquet").exists()
    assert not (target / "nih" / "Data_Entry_2017_v2020.csv").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="how root loses its privileges")
def test_a_read_only_share(six_datasets: Path, store: Path, tmp_path: Path) -> None:
    target = tmp_path / "share"
    (target / "nih").mkdir(parents=True)
    subprocess.run(["cp", "-r", str(six_datasets), str(target / "cat")], check=True)
    for folder in (target, target / "nih", target / "cat"):
        folder.chmod(0o500)
    try:
        with serving() as site:
            site.content["/table.csv"] = b"Image Index,Finding Labels\n"
            options, commands = every_writer(six_datasets, store, target, fetching(tmp_path, site.url))
            for option, (code, text) in zip(options, answers(commands, privileged=False), strict=True):
                assert code == Exit.ENVIRONMENT, text
                assert is_one_block(text, os.strerror(13), option), text  # EACCES
            assert not site.requests  # nothing is fetched that could not be kept
    finally:
        for folder in (target, target / "nih", target / "cat"):
            folder.chmod(0o700)
