"""Worksheets as text, against workbooks that openpyxl, an independent writer, made."""

from __future__ import annotations

import pickle
import zipfile
from typing import TYPE_CHECKING

import openpyxl
import pytest

from cxrdata.errors import CxrError
from cxrdata.sources.account import Account
from cxrdata.sources.workbook import account_cells, read_workbook, worksheet_cells

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

COLUMNS = ("PATIENT", "AGE")


def made(path: Path, rows: Sequence[Sequence[object]], *, title: str = "People") -> Path:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(title)
    for row in rows:
        sheet.append(row)
    book.save(path)
    return path


def read(path: Path, columns: Sequence[str] = COLUMNS) -> tuple[pl.DataFrame, Account]:
    account = Account("chexpert")
    return read_workbook(path, name=path.name, account=account, sheet="People", columns=columns).frame, account


def test_values_are_text_and_lines_are_worksheet_rows(tmp_path: Path) -> None:
    """CONTRACT §5, rejects: a worksheet row is the line. Whole numbers carry no `.0`; empty rows are no records."""
    rows = [
        (),
        ("AGE", "other", "PATIENT"),
        (68, "x", "patient00001"),
        (),
        (71.0, None, " a & b "),
        (0.5, True, None),
        (None, None, None),
    ]
    frame, account = read(made(tmp_path / "demo.xlsx", rows))
    assert frame.rows() == [("patient00001", "68", 0, 3), (" a & b ", "71", 1, 5), (None, "0.5", 2, 6)]
    assert account.entry("demo.xlsx").read == 3
    assert account.rejects().is_empty()


def test_error_cells_are_nulled_and_reported(tmp_path: Path) -> None:
    """CXR-308: a spreadsheet error is no value; the same characters as plain text are."""
    path = made(
        tmp_path / "demo.xlsx", [COLUMNS, ("patient00001", "#N/A"), ("patient00002", "#REF!"), ("patient00003", "5")]
    )
    frame, account = read(path)
    assert frame["AGE"].to_list() == [None, None, "5"]
    assert account.rejects().select("code", "kind", "line", "column_name", "value").rows() == [
        ("CXR-308", "value", 2, "AGE", "#N/A"),
        ("CXR-308", "value", 3, "AGE", "#REF!"),
    ]


def test_the_work_can_be_done_in_another_process(tmp_path: Path) -> None:
    """The arguments and the result of the part without the account survive pickling."""
    path = made(tmp_path / "demo.xlsx", [COLUMNS, ("patient00001", "#N/A")])
    function, arguments = pickle.loads(
        pickle.dumps((worksheet_cells, {"path": path, "name": "d", "sheet": "People", "columns": COLUMNS}))
    )
    account = Account("chexpert")
    table = account_cells(pickle.loads(pickle.dumps(function(**arguments))), name="d", account=account)
    assert table.frame["PATIENT"].to_list() == ["patient00001"]
    assert account.rejects().height == 1


@pytest.mark.parametrize(
    ("rows", "title", "code", "said"),
    [
        ([COLUMNS, ("p", 1)], "Other", "CXR-109", "'Other'"),
        ([("PATIENT", "Age"), ("p", 1)], "People", "CXR-107", "PATIENT, Age"),
        ([(*COLUMNS, "AGE"), ("p", 1, 2)], "People", "CXR-108", "remove one"),
        ([COLUMNS], "People", "CXR-111", "download"),
    ],
)
def test_what_is_wrong_with_a_workbook(
    rows: list[tuple[object, ...]], title: str, code: str, said: str, tmp_path: Path
) -> None:
    """docs/errors.md: each fault of a workbook has its code, and its fix names what was found."""
    with pytest.raises(CxrError) as caught:
        read(made(tmp_path / "demo.xlsx", rows, title=title))
    assert caught.value.code == code
    assert said in (caught.value.fix or "")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "CXR-102"),
        (b"<html>login</html>", "CXR-103"),
        (b"PATIENT,AGE\n", "CXR-110"),
        (b"\xd0\xcf\x11\xe0 old or encrypted workbook", "CXR-110"),
        (b"PK\x03\x04 broken", "CXR-110"),
    ],
)
def test_no_workbook_at_all(body: bytes, code: str, tmp_path: Path) -> None:
    """CXR-102, CXR-103, CXR-110: empty, a web page, text, an OLE file, a torn archive."""
    path = tmp_path / "demo.xlsx"
    path.write_bytes(body)
    with pytest.raises(CxrError) as caught:
        read(path)
    assert caught.value.code == code


def test_another_archive_is_no_workbook(tmp_path: Path) -> None:
    """CXR-110: a zip without the parts of a workbook."""
    path = tmp_path / "demo.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.csv", "Path\n")
    with pytest.raises(CxrError) as caught:
        read(path)
    assert caught.value.code == "CXR-110"
