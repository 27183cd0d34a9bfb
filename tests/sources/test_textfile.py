"""Reading text files: the cells of the csv module, and every fault named."""

from __future__ import annotations

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_tables import Written, reference, spelled, tables

from cxrdata.errors import CxrError
from cxrdata.sources.account import Account
from cxrdata.sources.textfile import TextTable, read_csv, read_head, read_lines

NAME = "folder/file.csv"


def read(body: bytes, **wishes: object) -> tuple[TextTable, Account]:
    """`body` as a file of that content, read."""
    account = Account("nih_cxr14")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file.csv"
        path.write_bytes(body)
        table = read_csv(path, name=NAME, account=account, **wishes)  # type: ignore[arg-type]
    return table, account


def expected_rows(text: str) -> list[tuple[int, int, tuple[str | None, ...]]]:
    """(record, line, cells) of the rows below the header; an empty cell is null."""
    return [(at, line, tuple(cell or None for cell in cells)) for at, (line, cells) in enumerate(reference(text)[1:])]


def found_rows(table: TextTable) -> list[tuple[int, int, tuple[str | None, ...]]]:
    cells = table.frame.drop("_record", "_line").rows()
    return list(zip(table.frame["_record"], table.frame["_line"], cells, strict=True))


def check_read_alike(written: Written) -> None:
    table, account = read(written.body)
    assert table.frame.columns == [*written.header, "_record", "_line"]
    assert found_rows(table) == expected_rows(written.text)
    assert account.rejects().is_empty()
    assert account.entry(NAME).read == len(table.frame)


@given(tables())
@settings(max_examples=300, deadline=None)
def test_cells_are_those_of_the_csv_module(written: Written) -> None:
    check_read_alike(written)


@pytest.mark.soak
@given(tables())
@settings(max_examples=10_000, deadline=None)
def test_cells_are_those_of_the_csv_module_at_length(written: Written) -> None:
    check_read_alike(written)


@given(tables(), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_trailing_commas_are_no_columns_and_no_fault(written: Written, commas: int) -> None:
    """formats.md 1.4: variant D ends header and rows with a comma, A the header alone, the boxes with three."""
    padded = Written(written.header, tuple(r + "," * commas for r in written.records), written.ends, written.bom)
    table, account = read(padded.body)
    assert table.frame.columns[:-2] == list(written.header)
    assert found_rows(table) == expected_rows(written.text)
    assert account.rejects().is_empty()


# A broken row of `width` columns, and the code that it gets.
BROKEN = {
    "short": (lambda width: b",".join([b"x"] * (width - 1)), "CXR-201"),
    "long": (lambda width: b",".join([b"x"] * (width + 1)), "CXR-202"),
    "long and quoted": (lambda width: b",".join([b'"x"'] * (width + 2)), "CXR-202"),
    "quote inside": (lambda width: b",".join([b'5" wide'] + [b"x"] * (width - 1)), "CXR-203"),
    "text after quote": (lambda width: b",".join([b'"a"b'] + [b"x"] * (width - 1)), "CXR-203"),
    "space before quote": (lambda width: b",".join([b"x"] * (width - 1) + [b' "a"']), "CXR-203"),
    "Latin-1": (lambda width: b",".join(["é".encode("latin-1")] * width), "CXR-204"),
    "Latin-1 quoted": (lambda width: b",".join([b'"\n\xe9"'] * width), "CXR-204"),
    "NUL": (lambda width: b",".join([b"\x00"] * width), "CXR-205"),
}


def check_one_broken_row(written: Written, kind: str, place: int) -> None:
    make, code = BROKEN[kind]
    place = 1 + place % len(written.records)
    # A lone CR ends the row above, so that the inserted one shifts the lines below by its own alone.
    ends = [end if end or at + 1 == len(written.ends) else "\n" for at, end in enumerate(written.ends)]
    before = "".join(r + e for r, e in zip(written.records[:place], ends, strict=False))
    if before and not before.endswith(("\n", "\r")):
        before += "\n"
    after = "".join(r + e for r, e in zip(written.records[place:], ends[place:], strict=False))
    row = make(len(written.header)) + b"\n"
    expected = expected_rows(before + after)
    line = reference(before + "x\n")[-1][0]
    shift = row.count(b"\n")
    table, account = read(before.encode() + row + after.encode())
    assert found_rows(table) == [
        (at, at_line, cells) if at < place - 1 else (at + 1, at_line + shift, cells) for at, at_line, cells in expected
    ]
    assert account.rejects().select("kind", "code", "line").rows() == [("row", code, line)]
    entry = account.entry(NAME)
    assert (entry.read, entry.rejected) == (len(expected) + 1, 1)


@given(tables(columns=2), st.sampled_from(sorted(BROKEN)), st.integers(0, 8))
@settings(max_examples=300, deadline=None)
def test_exactly_the_broken_row_is_refused(written: Written, kind: str, place: int) -> None:
    check_one_broken_row(written, kind, place)


@pytest.mark.soak
@given(tables(columns=2), st.sampled_from(sorted(BROKEN)), st.integers(0, 8))
@settings(max_examples=10_000, deadline=None)
def test_exactly_the_broken_row_is_refused_at_length(written: Written, kind: str, place: int) -> None:
    check_one_broken_row(written, kind, place)


AGAIN = "download the file again from the dataset's official site"
WHOLE = {
    "CXR-101": (None, "cannot be read: No such file or directory", "", "check the path and its permissions"),
    "CXR-102": (b"", "the file is empty", "", AGAIN),
    "CXR-102 blank": (b"\n \r\n", "the file is empty", "", AGAIN),
    "CXR-102 mark": (b"\xef\xbb\xbf", "the file is empty", "", AGAIN),
    "CXR-103": (
        b"  <!DOCTYPE html><title>Login</title>",
        "this is a web page, not data (most likely a login page)",
        "",
        "log in, accept the terms, and download again",
    ),
    "CXR-103 LFS": (
        b"version https://git-lfs.github.com/spec/v1\n",
        "this is a Git LFS pointer, not the file itself",
        "",
        "run `git lfs pull`",
    ),
    "CXR-103 torrent": (
        b"d8:announce35:udp://tracker",
        "this is a torrent file, not the data it points to",
        "",
        "open it with a torrent client",
    ),
    "CXR-103 archive": (
        b"PK\x03\x04rest",
        "this is a zip archive or workbook",
        "",
        "unpack it, or name the file it should be",
    ),
    "CXR-103 PDF": (b"%PDF-1.7", "this is a PDF document", "", AGAIN),
    "CXR-104": ("a,b\n1,2\n".encode("utf-16"), "the file is UTF-16", "", "save it as UTF-8"),
    "CXR-105": (gzip.compress(b"a,b\n1,2\n" * 99)[:-20], "the gzip file is truncated or damaged", "", AGAIN),
    "CXR-106": (
        b'a,b\n1,2\n3,"open\n5,6\n',
        "a quote opens here and never closes, so the rest of the file cannot be read",
        ":3",
        "get the file again, or close the quote",
    ),
    "CXR-107": (b"a,c,d\n1,2,3\n", "the header lacks 'b'", ":1", f"{AGAIN}; the header has: a, c, d"),
    "CXR-107 separator": (
        b"a;b\n1;2\n",
        "the columns are separated by semicolons, not by commas",
        ":1",
        f"{AGAIN}; a spreadsheet may have saved it anew",
    ),
    "CXR-108": (b"a,b,a\n1,2,3\n", "the header names 'a' twice", ":1", "remove one of the two columns"),
    "CXR-111": (b"a,b\n\n", "the file has a header and no rows", "", AGAIN),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_broken_file_says_what_is_wrong_and_what_to_do(case: str, tmp_path: Path) -> None:
    body, problem, where, fix = WHOLE[case]
    path = tmp_path / "file.csv"
    if body is not None:
        path.write_bytes(body)
    account = Account("nih_cxr14")
    with pytest.raises(CxrError) as caught:
        read_csv(path, name=NAME, account=account, required=["a", "b"])
    assert caught.value.block() == f"error {case[:7]}: {problem}\n  at:  {NAME}{where}\n  fix: {fix}"
    assert account.rejects().is_empty()


def test_a_folder_in_a_files_place(tmp_path: Path) -> None:
    with pytest.raises(CxrError, match="this is a folder, not a file") as caught:
        read_csv(tmp_path, name=NAME, account=Account("nih_cxr14"))
    assert caught.value.code == "CXR-103"


def test_messages_of_refused_rows() -> None:
    body = b'a,b\n1\n1,2\n1,2,3\n"x"y,2\n\xe9,2\n1,\x00\n4,5\n'
    table, account = read(body)
    assert found_rows(table) == [(1, 3, ("1", "2")), (6, 8, ("4", "5"))]
    columns = ("source_file", "line", "kind", "code", "column_name", "value", "message")
    assert account.rejects().select(columns).rows() == [
        (NAME, 2, "row", "CXR-201", None, None, "fields expected: 2, found: 1"),
        (NAME, 4, "row", "CXR-202", None, None, "fields expected: 2, found: 3"),
        (NAME, 5, "row", "CXR-203", None, None, "a quote stands where none may stand"),
        (NAME, 6, "row", "CXR-204", None, None, "the row is not UTF-8 (Latin-1?)"),
        (NAME, 7, "row", "CXR-205", None, None, "the row holds NUL bytes"),
    ]


def test_no_row_survives() -> None:
    """A table whose every row is refused is a table without rows; who reads it decides."""
    table, account = read(b"a,b\n1\n2\n")
    assert table.frame.is_empty()
    assert table.frame.columns == ["a", "b", "_record", "_line"]
    assert account.entry(NAME).rejected == 2


@given(tables())
@settings(max_examples=50, deadline=None)
def test_gzipped_files_read_alike(written: Written) -> None:
    plain, _ = read(written.body)
    packed, _ = read(gzip.compress(written.body))
    assert packed.frame.equals(plain.frame)


def test_quoted_empty_fields_are_empty() -> None:
    table, _ = read(b'a,b\n"",x\ny,""\n"""",""""""\n')
    assert table.frame.select("a", "b").rows() == [(None, "x"), ("y", None), ('"', '""')]


def test_an_unnamed_first_column_is_passed_over() -> None:
    """formats.md 1.5: PadChest begins with an unnamed index."""
    table, _ = read(b",ImageID,ImageDir\n0,a.png,1\n1,b.png,2\n")
    assert table.frame.columns == ["ImageID", "ImageDir", "_record", "_line"]
    assert table.frame["ImageID"].to_list() == ["a.png", "b.png"]


def test_columns_are_found_by_name_in_any_order() -> None:
    """DuckDB's read_csv(columns=…) goes by place, and swaps the values of a reordered header."""
    table, _ = read(b'c,b,a\n1,"2,2",3\n', columns=["a", "b", "absent"])
    assert table.frame.drop("_record", "_line").to_dicts() == [{"a": "3", "b": "2,2"}]


def test_names_replace_a_header_that_does_not_fit_its_rows() -> None:
    """formats.md 1.4: BBox_List_2017.csv has nine header fields over six."""
    body = b"Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000001_000.png,Mass,1,2,3,4\n"
    table, account = read(body, names=("image", "label", "x", "y", "w", "h"))
    assert table.frame.drop("_record", "_line").row(0) == ("00000001_000.png", "Mass", "1", "2", "3", "4")
    assert account.rejects().is_empty()


def test_a_trailing_comma_behind_a_quoted_one() -> None:
    """Commas within quotes are no fields, so the row is as long as its header, and a comma."""
    table, account = read(b'a,b,\n"1,2,3",4,\n5,"6,7",\n')
    assert table.frame.select("a", "b").rows() == [("1,2,3", "4"), ("5", "6,7")]
    assert account.rejects().is_empty()


@pytest.mark.parametrize("quoted", [False, True])
def test_a_file_of_several_chunks(quoted: bool) -> None:  # noqa: FBT001
    """A hundred thousand rows go over the scan's 4 MB chunks; every row is still itself."""
    rows = 100_000
    padding = "p" * 60
    cells = [f"{at},{padding}" if quoted and at % 7 == 0 else f"{at} {padding}" for at in range(rows)]
    text = "id,text\n" + "".join(f"{at},{spelled(cell, quote=False)}\n" for at, cell in enumerate(cells))
    assert len(text) > 6 << 20
    table, account = read(text.encode())
    assert table.frame.select("id", "text").equals(pl.DataFrame({"id": [str(at) for at in range(rows)], "text": cells}))
    assert (table.frame["_line"].to_numpy() == np.arange(2, rows + 2)).all()
    assert account.rejects().is_empty()


@pytest.mark.parametrize("stray", [b"1,2,3", b'1,a"b'])
def test_one_broken_row_behind_a_chunks_border(stray: bytes) -> None:
    lines = [b"id,text", *(b"%d,%s" % (at, b"p" * 60) for at in range(100_000))]
    lines[80_001] = stray
    table, account = read(b"\n".join(lines))
    assert account.rejects()["line"].to_list() == [80_002]
    assert table.frame["id"].to_list() == [str(at) for at in range(100_000) if at != 80_000]


def test_read_lines(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf00000001_000.png\r\n\r\n 00000002_000.png \n00000003_000.png")
    account = Account("nih_cxr14")
    table = read_lines(path, name="list.txt", account=account)
    assert table.frame.select("value", "_record", "_line").rows() == [
        ("00000001_000.png", 0, 1),
        ("00000002_000.png", 1, 3),
        ("00000003_000.png", 2, 4),
    ]
    assert account.entry("list.txt").read == 3


@given(tables())
@settings(max_examples=100, deadline=None)
def test_the_head_of_a_file_is_its_beginning(written: Written) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file.csv"
        path.write_bytes(written.body)
        head = read_head(path)
    assert head is not None
    assert head.fields == written.header
    assert [tuple(r) for r in head.records if r] == [tuple(cells) for _, cells in reference(written.text)[1:]]


@pytest.mark.parametrize("body", [b"<html>", b"\x1f\x8bbroken", b"", b"\xff\xfea\x00"])
def test_what_has_no_head(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(body)
    assert read_head(path) is None
