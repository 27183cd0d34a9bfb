"""A file and its gzipped twin: taken once where they are the same, refused where they are not."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cxrdata.errors import CxrError
from cxrdata.sources import twins
from cxrdata.sources.base import FileSpec, FoundFile
from cxrdata.sources.twins import refuse_other_content, without_twins

if TYPE_CHECKING:
    from pathlib import Path

SPEC = FileSpec("nih_cxr14", "images", "csv", ("list.csv",))


def found(folder: Path, name: str, body: bytes, spec: FileSpec = SPEC) -> FoundFile:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return FoundFile(spec, path, name)


def pair(folder: Path, plain: bytes, packed: bytes) -> tuple[FoundFile, FoundFile]:
    return found(folder, "list.csv", plain), found(folder, "list.csv.gz", gzip.compress(packed, mtime=0))


@pytest.mark.parametrize("body", [b"", b"a,b\n1,2\n", b"12345678"])
def test_the_same_content_passes(body: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twins, "_CHUNK_BYTES", 4)  # the end of a piece may be the end of the file
    refuse_other_content(*pair(tmp_path, body, body))


@pytest.mark.parametrize("packed", [b"a,b\n1,3\n", b"a,b\n1,2\n3", b"a,b\n1,2", b""])
def test_other_content_is_refused(packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twins, "_CHUNK_BYTES", 4)
    with pytest.raises(CxrError) as caught:
        refuse_other_content(*pair(tmp_path, b"a,b\n1,2\n", packed))
    assert caught.value.code == "CXR-115"
    assert (
        caught.value.problem
        == "list.csv and list.csv.gz are both the images file of nih_cxr14, and their content differs"
    )


def test_a_twin_that_vanished(tmp_path: Path) -> None:
    plain, packed = pair(tmp_path, b"a\n", b"a\n")
    packed.path.unlink()
    with pytest.raises(CxrError) as caught:
        refuse_other_content(plain, packed)
    assert (caught.value.code, caught.value.where) == ("CXR-101", "list.csv.gz")


def test_which_files_are_twins(tmp_path: Path) -> None:
    """Those of one folder that are one file of the dataset; a folder under a file's name is none."""
    other = replace(SPEC, role="boxes")
    files = [
        found(tmp_path, name, b"a\n") for name in ("a.csv", "a.csv.gz", "b.csv.gz", "c.csv", "old/c.csv.gz", "d.csv")
    ]
    files.append(found(tmp_path, "d.csv.gz", b"a\n", other))
    (tmp_path / "e.csv").mkdir()
    files += [FoundFile(SPEC, tmp_path / "e.csv", "e.csv"), found(tmp_path, "e.csv.gz", b"a\n")]
    read, aside = without_twins(tuple(files))
    assert [file.name for file in aside] == ["a.csv.gz"]
    assert [file.name for file in read] == [
        "a.csv",
        "b.csv.gz",
        "c.csv",
        "old/c.csv.gz",
        "d.csv",
        "d.csv.gz",
        "e.csv",
        "e.csv.gz",
    ]
