"""`cxrdata images paths|check` and `cxrdata fetch` as they are typed."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from said import Said


@pytest.fixture(autouse=True)
def _no_roots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("CXRDATA_ROOT"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def here(catalog: Path, tmp_path: Path) -> Path:
    """A folder with a catalog of NIH at its default place and, below data/nih, the first two of its images."""
    shutil.copytree(catalog, tmp_path / "cxr-catalog")
    folder = tmp_path / "data" / "nih" / "images"
    folder.mkdir(parents=True)
    for at, name in enumerate(_ids(tmp_path)[:2]):
        noise = Image.frombytes("L", (24, 24), random.Random(0).randbytes(576))
        noise.resize((256, 256)).save(folder / name, compress_level=at)
    return tmp_path


def _ids(folder: Path) -> list[str]:
    import cxrdata

    with cxrdata.open(folder / "cxr-catalog") as opened:
        return opened.sql("SELECT image_id FROM images ORDER BY 1")["image_id"].to_list()


def _rows(said: Said) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(said.out)))


def test_paths_of_all_and_of_a_table(say: Callable[..., Said], here: Path) -> None:
    ids = _ids(here)
    said = say("images", "paths", "--format", "csv")
    rows = _rows(said)
    assert [row["image_id"] for row in rows] == ids
    assert [row["path"] for row in rows[:3]] == [*(str(here / "data/nih/images" / name) for name in ids[:2]), ""]
    assert f"{len(ids) - 2} images of {len(ids)} without a file" in said.err
    (here / "mine.csv").write_text(f"file,score\nimages_001/{ids[1]},0.5\n")
    rows = _rows(say("images", "paths", "mine.csv", "--format", "csv"))
    assert rows == [
        {"file": f"images_001/{ids[1]}", "score": "0.5", "path": str(here / "data/nih/images" / ids[1]), "member": ""}
    ]


def test_check_counts_and_lists(say: Callable[..., Said], here: Path) -> None:
    ids = _ids(here)
    said = say("images", "check", "--workers", "1", "--format", "csv")
    assert said.code == 1  # most files are missing
    row = _rows(said)[0]
    assert (row["dataset"], row["images"], row["ok"], row["missing"]) == (
        "nih_cxr14",
        str(len(ids)),
        "2",
        str(len(ids) - 2),
    )
    listed = _rows(say("images", "check", "--list", "--workers", "1", "--format", "csv"))
    assert (listed[0]["image_id"], listed[0]["flags"]) == (ids[0], "look_alike")
    where = f"image_id <= '{ids[1]}'"
    assert say("images", "check", "--where", where, "--hash", "--workers", "1").code == 0
    said = say("sql", "SELECT count(*) AS n FROM image_files WHERE sha256 IS NOT NULL", "--format", "csv")
    assert said.out == "n\n2\n"


def test_check_that_is_interrupted_says_how_to_go_on(
    say: Callable[..., Said], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxrdata.images import check

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(check, "examine_all", interrupted)
        said = say("images", "check", "--workers", "1")
    assert said.code == 130
    assert "`cxrdata images check --only-new` goes on from here" in said.err
    assert say("images", "check", "--only-new", "--workers", "1", "-q", "--format", "csv").code == 1
    assert say("sql", "SELECT count(*) AS n FROM image_files", "--format", "csv").out == f"n\n{len(_ids(here))}\n"


def test_check_says_where_images_could_be(say: Callable[..., Said], here: Path) -> None:
    shutil.rmtree(here / "data")
    said = say("images", "check")
    assert said.code == 2
    assert "error CXR-133: it is not known where the images of nih_cxr14 are" in said.err
    assert "--root nih_cxr14=PATH" in said.err
    said = say("images", "check", "--root", "nih=nowhere")
    assert (said.code, "error CXR-130" in said.err) == (3, True)
    assert "for example --root nih=/data/nih" in say("images", "check", "--root", "nowhere").err
    said = say("images", "chekc")
    assert (said.code, "did you mean check?" in said.err) == (2, True)
    assert "--quick reads no file" in say("images", "check", "--quick", "--hash").err


def test_help_imports_nothing_of_the_images(say: Callable[..., Said]) -> None:
    said = say("images", "--help")
    assert all(f"\n  {name} " in said.out for name in ("paths", "check", "build", "export", "show"))
    assert "cxrdata images check --dataset nih" in said.out


def test_fetch_of_others_prints_the_official_way(say: Callable[..., Said]) -> None:
    said = say("fetch", "mimic")
    assert said.code == 0
    assert said.out.startswith("MIMIC-CXR-JPG (mimic_cxr)\n\nGet it: ")
    assert "https://physionet.org/content/mimic-cxr-jpg/" in said.out
    assert "Licence: " in said.out
    assert "cxrdata fetches only what is openly licensed" in said.err


def test_fetch_lists_what_a_subset_needs(say: Callable[..., Said], here: Path) -> None:
    ids = _ids(here)
    said = say("fetch", "nih", "--list", "--where", f"image_id IN ('{ids[0]}', '{ids[-1]}')", "--format", "json", "-q")
    rows = {row["file"]: row for row in json.loads(said.out)}
    assert rows["images_001.tar.gz"]["state"] == "needed"
    needed = [row for row in rows.values() if row["state"] == "needed" and row["images"]]
    assert sum(row["images"] for row in needed) == 2
    assert all(row["checksum"] == "published" for row in needed)
    # The first is below data/nih, in another layout than the archive's.
    said = say(
        "fetch", "nih", "--list", "--where", f"image_id = '{ids[0]}'", "--to", "data/nih", "--format", "json", "-q"
    )
    assert [row["state"] for row in json.loads(said.out)[4:]] == ["there", *["not asked for"] * 11]
    assert "--metadata gets no images" in say("fetch", "nih", "--metadata", "--split", "x").err


def test_fetch_of_a_list_from_an_overlay(say: Callable[..., Said], tmp_path: Path, registry: object) -> None:
    """The whole command, against a server on this machine."""
    import sys

    sys.path.insert(0, str(Path(__file__).parent.parent / "images"))
    try:
        from lying_server import serving
    finally:
        sys.path.pop(0)
    with serving() as site:
        site.content["/table.csv"] = b"Image Index,Finding Labels\n"
        text = (Path(__file__).parents[2] / "catalog" / "nih_cxr14.toml").read_text().partition("[[download]]")[0]
        entry = f'[[download]]\nname = "table.csv"\nurl = "{site.url}/table.csv"\nstarts_with = "Image Index"\n'
        (tmp_path / "mine" / "catalog").mkdir(parents=True)
        (tmp_path / "mine" / "catalog" / "nih_cxr14.toml").write_text(text + entry)
        said = say("fetch", "nih", "--overlays", "mine")
        assert said.code == 0, said.err
        assert "1 file of 1 to fetch, to data/nih_cxr14" in said.err
        assert "no checksum is published of table.csv" in said.err
        assert (tmp_path / "data" / "nih_cxr14" / "table.csv").read_bytes() == site.content["/table.csv"]
        assert "0 files of 1 to fetch" in say("fetch", "nih", "--overlays", "mine").err
        assert len(site.requests) == 1
