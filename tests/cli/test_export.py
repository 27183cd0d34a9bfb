"""`cxrdata export` as it is typed: where files go, what is told, and how it is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from said import Said


def test_labels(say: Callable[..., Said], catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "l.csv"
    wishes = ("--findings", "hernia,mass", "--with-columns", "age_years", "--out", str(out), "-c", str(catalog))
    said = say("export", "labels", "--policy", "zeros", "--dataset", "nih", *wishes)
    assert (said.code, said.out) == (0, "")
    rows = pl.read_csv(out)
    assert rows.columns == ["image_uid", "dataset", "image_id", "patient_id", "age_years", "hernia", "mass"]
    assert f"written: {out}, {rows.height} rows" in said.err
    assert "SYNTHETIC" in said.err
    again = say("export", "labels", "--policy", "zeros", *wishes)
    assert again.code == 2
    assert again.err.startswith("error CXR-511")
    assert "--force" in again.err
    quiet = say("export", "labels", "--policy", "zeros", *wishes, "--force", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_folders(say: Callable[..., Said], catalog: Path, tmp_path: Path) -> None:
    parquet = say("export", "parquet", "--tables", "images,studies", "--out", str(tmp_path / "p"), "-c", str(catalog))
    assert parquet.code == 0
    assert (tmp_path / "p" / "images" / "dataset=nih_cxr14" / "part-0.parquet").is_file()
    croissant = say("export", "croissant", "--out", str(tmp_path / "c"), "-c", str(catalog))
    assert croissant.code == 0
    assert (tmp_path / "c" / "croissant.json").is_file()
    assert "rows" in croissant.err
    assert (tmp_path / "c" / "DATA_TERMS.md").read_text() == (catalog / "DATA_TERMS.md").read_text()
    assert (tmp_path / "c").stat().st_mode & 0o077 == 0


def test_torchxrayvision(say: Callable[..., Said], catalog: Path, tmp_path: Path) -> None:
    said = say("export", "torchxrayvision", "--dataset", "nih", "--out", str(tmp_path / "n.csv"), "-c", str(catalog))
    assert said.code == 0
    assert "NIH_Dataset(imgpath, csvpath='n.csv')" in said.err


def test_the_dictionary_needs_no_catalog(
    say: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = say("export", "dictionary", "--out", "d.html")
    assert said.code == 0
    assert said.err.startswith("no catalog here")
    named = say("export", "dictionary", "--out", "e.html", "-c", "nowhere")
    assert named.code == 3
    assert named.err.startswith("error CXR-601")


def test_refusals(say: Callable[..., Said], catalog: Path, tmp_path: Path) -> None:
    place = ("--out", str(tmp_path / "x.csv"), "-c", str(catalog))
    for arguments, code in (
        (("labels", "--policy", "zeroes"), "CXR-513"),
        (("labels", "--policy", "raw", "--findings", "herniaa"), "CXR-501"),
        (("labels", "--policy", "raw", "--split", "none"), "CXR-501"),
        (("labels",), "CXR-502"),
        (("torchxrayvision", "--dataset", "chexpert"), "CXR-501"),
        (("parquet", "--tables", ""), "CXR-502"),
        (("croissant", "--url", "not a url"), "CXR-502"),
    ):
        said = say("export", *arguments, *place)
        assert (said.code, said.err[: len("error CXR-501")]) == (2, f"error {code}"), arguments
    assert list(tmp_path.iterdir()) == []
