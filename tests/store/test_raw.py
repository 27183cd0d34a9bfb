"""Raw tables (`--keep-raw`, CONTRACT §5): every kind of file with rows of text, each under a name of its own."""

from __future__ import annotations

import gzip
import itertools
import json
from typing import TYPE_CHECKING

import openpyxl
import polars as pl
import pytest

from cxrdata.sources.base import FileSpec, FoundFile, SourceFiles
from cxrdata.sources.discover import find
from cxrdata.store.raw import raw_names, write_raw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cxrdata.sources.base import Registry


def written(registry: Registry, folder: Path, kind: str, name: str, *, sheet: str = "") -> pl.DataFrame:
    """The raw table of one file, as a dataset with nothing else would have it."""
    source = registry.get("nih")
    spec = FileSpec(source.name, "a", kind, (name,), sheet=sheet)
    [table] = write_raw(
        SourceFiles(source, folder, (FoundFile(spec, folder / name, name),)), folder / "out", with_text=False
    )
    frame = pl.read_parquet(folder / "out" / f"{table['name']}.parquet")
    assert table["rows"] == frame.height
    assert set(table["columns"]) == set(frame.columns)
    assert {frame.schema[column] for column in frame.columns if column not in ("_record", "_line")} == {pl.String()}
    return frame


def test_a_worksheet(registry: Registry, tmp_path: Path) -> None:
    """All columns, titled or not, spreadsheet errors as they stand; empty rows and columns are none."""
    book = openpyxl.Workbook()
    page = book.worksheets[0]
    page.title = "people"
    for cells in (
        ["PATIENT", "note", None, "note", None],
        ["p1", 3, None, "#N/A", None],
        [],
        ["p2", None, "beside", 0.5, None, "far"],
    ):
        page.append(cells)
    book.save(tmp_path / "people.xlsx")
    frame = written(registry, tmp_path, "workbook", "people.xlsx", sheet="people")
    assert frame.columns == ["PATIENT", "note", "column_3", "note_2", "column_6", "_record", "_line"]
    assert frame.rows() == [("p1", "3", None, "#N/A", None, 0, 2), ("p2", None, "beside", "0.5", "far", 1, 4)]


def test_json_lines(registry: Registry, tmp_path: Path) -> None:
    """All keys that some object has; a broken line is none (it stands in rejects)."""
    records = [{"path": "a.png", "Edema": 1.5}, {"path": "b.png", "Edema": None, "more": "x"}]
    sound = "".join(f"{json.dumps(record)}\n" for record in records)
    (tmp_path / "sound.json").write_text(sound)
    expected = [("a.png", "1.5", None, 0, 1), ("b.png", None, "x", 1, 2)]
    frame = written(registry, tmp_path, "jsonlines", "sound.json")
    assert frame.columns == ["path", "Edema", "more", "_record", "_line"]
    assert frame.rows() == expected
    (tmp_path / "broken.json").write_text(sound + "{\n")
    assert written(registry, tmp_path, "jsonlines", "broken.json").rows() == expected


def test_a_list(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "list.txt.gz").write_bytes(gzip.compress(b"one.png\n\ntwo.png"))
    frame = written(registry, tmp_path, "lines", "list.txt.gz")
    assert frame.select("value", "_record", "_line").rows() == [("one.png", 0, 1), ("two.png", 1, 3)]


def test_every_file_of_chexpert_plus(registry: Registry, synthetic: Callable[..., Path], tmp_path: Path) -> None:
    """formats.md 1.1: a table, three files of JSON lines and the workbook."""
    folder = synthetic("chexpert", "plus", "demographics", scale=0.0002)
    [files] = find(registry, [(registry.get("chexpert"), folder)]).datasets
    tables = write_raw(files, tmp_path, with_text=False)
    kinds = [file.spec.kind for file in files.files]
    assert len(tables) == len(kinds)
    assert {"csv", "jsonlines", "workbook"} <= set(kinds)
    assert all(table["rows"] > 0 for table in tables)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["mimic-cxr-2.0.0-split.csv.gz"], ["mimic_cxr_2_0_0_split"]),
        (["old/List.csv"], ["list"]),
        (["train/list.csv", "test/list.csv", "other.csv"], ["train_list", "test_list", "other"]),
        (["list.csv", "test/list.csv"], ["list", "test_list"]),
        (["findings.json", "findings.csv"], ["findings_json", "findings_csv"]),
        (["a-b.csv", "a_b.csv", "a b.csv"], ["a_b_csv_2", "a_b_csv_3", "a_b_csv"]),
        # A name that becomes another file's plain name.
        (["train/list.csv", "test/list.csv", "train_list.csv"], ["train_list_csv", "test_list", "train_list"]),
        (["a.csv", "A.csv", "a.csv.2.csv"], ["a_csv_3", "a_csv", "a_csv_2"]),
    ],
)
def test_names(files: Sequence[str], expected: Sequence[str]) -> None:
    """Whatever the order in which the files come, each has a name that is no other's."""
    for order in itertools.permutations(files):
        names = raw_names("toy", order)
        assert [names[name] for name in files] == [f"toy__{name}" for name in expected]


@pytest.mark.parametrize("with_text", [False, True])
def test_free_text_is_kept_only_on_request(
    registry: Registry, synthetic: Callable[..., Path], tmp_path: Path, *, with_text: bool
) -> None:
    found = find(
        registry,
        [
            (registry.get("padchest"), synthetic("padchest", scale=0.0002)),
            (registry.get("chexpert"), synthetic("chexpert", "plus", scale=0.0002)),
        ],
    )
    columns = {
        column
        for files in found.datasets
        for table in write_raw(files, tmp_path, with_text=with_text)
        for column in table["columns"]
    }
    assert {"ImageID", "path_to_image", "section_accession_number"} <= columns
    text = {name for name in columns if name in ("Report", "report") or name.startswith("section_")} - {
        "section_accession_number"
    }
    assert bool(text) == with_text
