"""Damaged catalogs: every way of asking says that the catalog is damaged, not what an engine made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import cxrdata
from cxrdata.cli.main import run
from cxrdata.errors import CxrError, Exit
from cxrdata.store.layout import BuildFolder, CatalogFolder
from cxrdata.store.verify import FOREIGN

IMAGES = "tables/images/dataset=nih_cxr14/part-0.parquet"
CODES = "tables/label_codes_nih_cxr14/part-0.parquet"
STATES = "tables/states_nih_cxr14_text_mining/part-0.parquet"


def truncated(path: Path) -> None:
    body = path.read_bytes()
    path.write_bytes(body[: len(body) // 2])


def garbled(path: Path) -> None:
    """Its second and third quarter are other bytes; beginning and end are sound."""
    body = bytearray(path.read_bytes())
    for at in range(len(body) // 4, 3 * len(body) // 4):
        body[at] ^= 0x5A
    path.write_bytes(bytes(body))


def headless(path: Path) -> None:
    path.write_bytes(b"\xa5" * 4096 + path.read_bytes()[4096:])


def gone(path: Path) -> None:
    path.unlink()


@pytest.fixture
def build(tiny_copy: Path) -> BuildFolder:
    return CatalogFolder(tiny_copy).require_build()


def image_file(folder: Path) -> Path:
    path = folder / "mine.csv"
    path.write_text("id\n00000001_000.png\n")
    return path


ASKED = {
    "catalog.duckdb": ["sql 'FROM labels'", "sql 'FROM label_map'"],
    IMAGES: ["annotate {mine}"],
    CODES: ["annotate {mine}"],
    "manifest.json": ["annotate {mine}", "sql 'FROM images'", "describe", "rejects", "cite"],
}
# Without its manifest a build is not there, which is told before anything is read.
CASES = [
    (damaged, file)
    for file in ASKED
    for damaged in (truncated, garbled, headless, gone)
    if (damaged, file) != (gone, "manifest.json")
]


@pytest.mark.parametrize(("damaged", "file"), CASES)
def test_commands_name_the_damage(
    build: BuildFolder,
    tiny_copy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damaged: Callable[[Path], None],
    file: str,
) -> None:
    mine = image_file(tmp_path)
    damaged(build.path / file)
    for command in ASKED[file]:
        name, *rest = command.split(" ", 1)
        arguments = [argument.strip("'").format(mine=mine) for argument in rest]
        assert run([name, *arguments, "-c", str(tiny_copy)]) == Exit.DATA, command
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error CXR-405: the catalog is damaged: 1 fault, the first: "), (command, said.err)
        assert f"  at:  builds/{build.build_id}/{file}\n" in said.err
        assert (
            f"`cxrdata verify` lists the damage; remove builds/{build.build_id} from the catalog's folder and run `cxrdata build-catalog` again"
            in said.err
        )


def test_python_names_the_damage(build: BuildFolder, tiny_copy: Path) -> None:
    """Without a `with` block too."""
    truncated(build.path / IMAGES)
    truncated(build.path / STATES)
    catalog = cxrdata.open(tiny_copy)
    for ask in (lambda: catalog.annotate(pl.DataFrame({"id": ["00000001_000.png"]})), catalog.labels):
        with pytest.raises(CxrError, match="the catalog is damaged: 2 faults") as caught:
            ask()
        assert caught.value.code == "CXR-405"
    with pytest.raises(CxrError, match="the catalog is damaged"), cxrdata.open(tiny_copy) as opened:
        opened.table("images").collect()


def test_other_errors_stay_what_they_are(build: BuildFolder, tiny_copy: Path) -> None:
    """A sound build is not blamed, nor one with a file too many; neither is damage for the user's own mistake."""
    (build.path / "notes.txt").write_text("mine")
    with pytest.raises(ZeroDivisionError), cxrdata.open(tiny_copy):
        _ = 1 / 0
    (build.path / "notes.txt").unlink()
    build.terms.write_text("changed")
    with pytest.raises(CxrError) as caught, cxrdata.open(tiny_copy) as opened:
        opened.sql("FROM imags")
    assert caught.value.code == "CXR-503"
    assert FOREIGN not in str(caught.value)


def test_rebuilding_as_advised_mends_it(
    build: BuildFolder, tiny_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Same sizes, so that the next build takes it for unchanged; the stages share the Parquet's bytes."""
    source = tmp_path / "data"
    assert run(["synth", str(source), "--only", "nih", "-q"]) == Exit.DONE
    catalog = tmp_path / "fresh"
    command = ["build-catalog", "--root", str(source), "-c", str(catalog), "-q"]
    assert run(command) == Exit.DONE
    fresh = CatalogFolder(catalog).require_build()
    body = bytearray((fresh.path / IMAGES).read_bytes())
    body[500:900] = bytes(400)
    with (fresh.path / IMAGES).open("r+b") as file:  # in place: a stage that is linked to it changes too
        file.write(body)
    assert run(["verify", "-c", str(catalog)]) == Exit.DATA
    for path in sorted(fresh.path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    fresh.path.rmdir()
    assert run(command) == Exit.DONE
    assert run(["verify", "-c", str(catalog)]) == Exit.DONE
    capsys.readouterr()


def test_a_split_that_cannot_be_read_is_named(tiny_copy: Path) -> None:
    folder = tiny_copy / "splits" / "mine"
    folder.mkdir(parents=True)
    (folder / "split.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(CxrError) as caught:
        cxrdata.open(tiny_copy).sql("FROM images")
    assert (caught.value.code, caught.value.where) == ("CXR-405", "splits/mine/split.parquet")
    assert caught.value.fix == "make the split again, or remove splits/mine"
