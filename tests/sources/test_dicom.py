"""DICOM headers: what is read, what is refused, what is not read twice. Truth is pydicom's own reading."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pydicom
import pytest
from pydicom import config

from cxrdata.sources import dicom
from cxrdata.sources.account import Account
from cxrdata.sources.base import FileSpec, FoundFile, ReadContext
from cxrdata.sources.dicom import HEADER_COLUMNS, read_headers, sound_headers
from cxrdata.sources.drawing.dicom_files import Header, encode_dicom
from cxrdata.sources.vindr import IMAGE_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from cxrdata.sources.base import Registry
    from cxrdata.vocabularies import Vocabularies

SPEC = FileSpec("vindr_cxr", "dicom", "dicom", ("*.dicom",))
KEYS = [f"{n:032x}" for n in range(20)]


@pytest.fixture
def context(registry: Registry, vocabularies: Vocabularies) -> Callable[..., ReadContext]:
    return lambda **wishes: ReadContext(registry.get("vindr_cxr"), vocabularies, Account("vindr_cxr"), **wishes)


def found(folder: Path) -> list[FoundFile]:
    return [FoundFile(SPEC, path, path.relative_to(folder).as_posix()) for path in sorted(folder.rglob("*.*"))]


def written(path: Path, **elements: object) -> Path:
    """A small DICOM file."""
    header = Header(**({"image_id": KEYS[0], "rows": 6, "columns": 5, "age": "045Y", "sex": "F"} | elements))  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_dicom(header, np.zeros((header.rows, header.columns), np.uint16)))
    return path


def test_values_are_those_of_the_files(synthetic: Callable[..., Path], context: Callable[..., ReadContext]) -> None:
    """DICOM PS3.6: Rows, Columns, PatientAge, PatientSex, PixelSpacing (else ImagerPixelSpacing), the two defects of
    vindr-cxr issue 3 included.
    """
    folder = synthetic("vindr_cxr")
    files = [file for file in found(folder) if file.name.endswith(".dicom")]
    frame = sound_headers(files, context(), pattern=IMAGE_ID)
    assert frame.schema == pl.Schema(HEADER_COLUMNS)
    assert frame["name"].to_list() == sorted(file.name for file in files)
    with config.disable_value_validation():
        for row in frame.iter_rows(named=True):
            truth = pydicom.dcmread(folder / row["name"], stop_before_pixels=True)
            assert (row["rows_px"], row["columns_px"]) == (truth.Rows, truth.Columns)
            assert row["age_raw"] == (truth.get("PatientAge") or None)
            assert row["sex_raw"] == (truth.get("PatientSex") or None)
            spacing = truth.get("PixelSpacing") or truth.get("ImagerPixelSpacing") or [None, None]
            assert [row["pixel_spacing_row_mm"], row["pixel_spacing_column_mm"]] == list(spacing)
            assert row["image_id"] == Path(row["name"]).stem
            assert row["group"] == f"{Path(row['name']).parent}/*.dicom"


def test_body_measures_and_both_sides_of_the_spacing(tmp_path: Path, context: Callable[..., ReadContext]) -> None:
    """PS3.3 C.7.1.3: PatientSize in m, PatientWeight in kg; PixelSpacing names the distance between rows first."""
    written(
        tmp_path / "train" / f"{KEYS[0]}.dicom",
        pixel_spacing="0.1\\0.2",
        imager_pixel_spacing="0.5\\0.6",
        size_m="0.71",
        weight_kg="8.5",
    )
    row = sound_headers(found(tmp_path), context(), pattern=IMAGE_ID).row(0, named=True)
    assert (row["pixel_spacing_row_mm"], row["pixel_spacing_column_mm"]) == (0.1, 0.2)
    assert (row["patient_size_m"], row["patient_weight_kg"]) == (0.71, 8.5)


def test_what_is_no_number_is_null_and_reported(tmp_path: Path, context: Callable[..., ReadContext]) -> None:
    """CONTRACT §5: a value that cannot be used is nulled and stands in `rejects`, its row stays."""
    path = written(tmp_path / "train" / f"{KEYS[0]}.dicom", size_m="0.71", weight_kg="8.50")
    path.write_bytes(path.read_bytes().replace(b"0.71", b"tall").replace(b"8.50", b"none"))
    written(tmp_path / "train" / f"{KEYS[1]}.dicom", rows=0)
    wishes = context()
    frame = sound_headers(found(tmp_path), wishes, pattern=IMAGE_ID)
    assert frame["patient_size_m"].to_list() == [None, None]
    assert frame["rows_px"].to_list() == [6, None]
    rejects = wishes.account.rejects().select("source_file", "kind", "code", "column_name", "value").rows()
    first, second = (f"train/{key}.dicom" for key in KEYS[:2])
    assert rejects == [
        (first, "value", "CXR-301", "PatientSize", "tall"),
        (first, "value", "CXR-301", "PatientWeight", "none"),
        (second, "value", "CXR-301", "Rows", "0"),
    ]


def test_files_that_are_no_dicom_are_refused_by_name(tmp_path: Path, context: Callable[..., ReadContext]) -> None:
    """Each is a row read and a row rejected, with what is wrong with it."""
    whole = written(tmp_path / "train" / f"{KEYS[0]}.dicom").read_bytes()
    bodies = {
        KEYS[1]: (b"", "empty"),
        KEYS[2]: (b"<!DOCTYPE html><html>Log in</html>", "web page"),
        KEYS[3]: (b"\x89PNG\r\n\x1a\n" + bytes(300), "DICM"),
        KEYS[4]: (whole[132:], "preamble"),
        KEYS[5]: (whole[:300], "cut short"),
        KEYS[6]: (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    }
    for key, (body, _) in bodies.items():
        (tmp_path / "train" / f"{key}.dicom").write_bytes(body)
    wishes = context()
    frame = sound_headers(found(tmp_path), wishes, pattern=IMAGE_ID)
    assert frame["image_id"].to_list() == [KEYS[0]]
    entry = wishes.account.entries["train/*.dicom"]
    assert (entry.read, entry.rejected) == (7, 6)
    rejects = wishes.account.rejects()
    assert set(rejects["code"]) == {"CXR-211"}
    assert rejects["line"].null_count() == 6
    for name, message in rejects.select("source_file", "message").iter_rows():
        assert bodies[Path(name).stem][1] in message, name


def test_names_that_are_no_ids_and_second_files_of_an_image_are_refused(
    tmp_path: Path, context: Callable[..., ReadContext]
) -> None:
    """formats.md 1.6: files are called by 32 hex digits."""
    for name in (f"train/{KEYS[0]}.dicom", f"train/{KEYS[0]}.dcm", f"test/{KEYS[0]}.dicom", "train/IM0001.dicom"):
        written(tmp_path / name)
    wishes = context()
    frame = sound_headers(found(tmp_path), wishes, pattern=IMAGE_ID)
    assert frame["name"].to_list() == [f"test/{KEYS[0]}.dicom"]
    refused = dict(wishes.account.rejects().select("source_file", "code").iter_rows())
    assert refused == {
        f"train/{KEYS[0]}.dcm": "CXR-208",
        f"train/{KEYS[0]}.dicom": "CXR-208",
        "train/IM0001.dicom": "CXR-207",
    }
    assert {group: entry.read for group, entry in wishes.account.entries.items()} == {
        "test/*.dicom": 1,
        "train/*.dcm": 1,
        "train/*.dicom": 2,
    }


def test_only_new_and_changed_files_are_opened_again(
    tmp_path: Path, context: Callable[..., ReadContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """formats.md, advice: scan DICOM headers once to Parquet."""
    paths = [written(tmp_path / "d" / "train" / f"{key}.dicom") for key in KEYS[:3]]
    cache = tmp_path / "cache" / "headers.parquet"
    opened: list[list[str]] = []
    real = dicom._read_all
    monkeypatch.setattr(
        dicom, "_read_all", lambda files, *how: opened.append([Path(f).stem for f in files]) or real(files, *how)
    )

    def read() -> pl.DataFrame:
        return read_headers(found(tmp_path / "d"), context(header_cache=cache))

    first = read()
    assert read().equals(first)
    assert opened == [KEYS[:3]]
    written(paths[1], age="007Y", size_m="1.2")
    written(tmp_path / "d" / "train" / f"{KEYS[3]}.dicom")
    paths[0].unlink()
    again = read()
    assert opened[1:] == [[KEYS[1], KEYS[3]]]
    assert again["PatientAge"].to_list() == ["007Y", "045Y", "045Y"]
    written(paths[1], age="008Y", size_m="1.2")  # the same size, another time of change
    os.utime(paths[1], ns=(1, 1))
    assert read()["PatientAge"][0] == "008Y"
    for damaged in (b"", b"PAR1 no parquet PAR1"):
        cache.write_bytes(damaged)
        assert read()["PatientAge"].to_list() == ["008Y", "045Y", "045Y"]


def test_processes_and_order_of_files_change_nothing(
    synthetic: Callable[..., Path], context: Callable[..., ReadContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CONTRACT §1: the same on any number of workers and in any order of files."""
    files = [file for file in found(synthetic("vindr_cxr")) if file.name.endswith(".dicom")]
    alone = read_headers(files, context())
    monkeypatch.setattr(dicom, "_WORTH_A_PROCESS", 50)
    monkeypatch.setattr(dicom, "_CHUNK", 30)
    assert read_headers(files[::-1], context(workers=2)).equals(alone)


def test_no_files_give_an_empty_frame(context: Callable[..., ReadContext]) -> None:
    """A dataset without its DICOM files is read from its tables alone."""
    frame = sound_headers([], context(), pattern=IMAGE_ID)
    assert frame.is_empty()
    assert frame.schema == pl.Schema(HEADER_COLUMNS)
