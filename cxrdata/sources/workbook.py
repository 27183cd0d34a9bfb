"""Excel worksheets as frames of text, with the row numbers that Excel shows.

openpyxl reads them, slower than others but keeping row numbers and error values such as `#N/A`.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.sources.account import Account
from cxrdata.sources.textfile import AGAIN, TextTable, check_is_text, read_bytes

_ZIP = b"PK\x03\x04"
_Rows = Iterator[tuple[int, tuple[Any, ...]]]
_ERROR_SCHEMA = {"column": pl.String, "value": pl.String, "_line": pl.UInt32}


@dataclass(frozen=True)
class Cells:
    """Cells of a worksheet. `frame`: the columns as text, `_record` (0-based) and `_line` (worksheet row).
    `errors`: `column`, `value`, `_line` of cells that hold a spreadsheet error; null in `frame`.
    `letters`: column -> its letters in Excel, so that a cell can be named; `titles`: the whole header as it stands.
    """

    frame: pl.DataFrame
    errors: pl.DataFrame
    letters: dict[str, str]
    titles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Book:
    """Worksheets of a workbook that was opened once. `titles`: all its sheets, `rows`: those that were asked for,
    `again`: how to get it whole, for messages.
    """

    name: str
    titles: tuple[str, ...]
    rows: dict[str, list[tuple[int, tuple[Any, ...]]]]
    again: str = AGAIN

    def cells(self, sheet: str, columns: Sequence[str]) -> Cells:
        """Columns of one sheet. Raises CxrError as `worksheet_cells` does."""
        if sheet not in self.rows:
            raise _no_sheet(sheet, self.titles, name=self.name, again=self.again)
        return _collect(iter(self.rows[sheet]), columns, where=f"{self.name} [{sheet}]", again=self.again)


def read_workbook(path: Path, *, name: str, account: Account, sheet: str, columns: Sequence[str]) -> TextTable:
    """Read columns of one worksheet as text; the first row that is not empty is the header.

    `_line` is the worksheet row. Empty rows are no records. Cells that hold a spreadsheet error become null
    and go to `account` (CXR-308). Raises CxrError: CXR-101 to CXR-103 as for text files, CXR-107 and CXR-108
    for the header, CXR-109 where the sheet is missing, CXR-110 for what is no workbook, CXR-111 without rows.
    """
    return account_cells(worksheet_cells(path, name=name, sheet=sheet, columns=columns), name=name, account=account)


def account_cells(cells: Cells, *, name: str, account: Account) -> TextTable:
    """Enter into `account` what `worksheet_cells` read, here or in another process."""
    account.read(name, cells.frame.height)
    for (column,), rows in cells.errors.group_by("column", maintain_order=True):
        account.reject_values(name, rows, "CXR-308", column=str(column), value="value")
    return TextTable(cells.frame, name)


def worksheet_cells(path: Path, *, name: str, sheet: str, columns: Sequence[str]) -> Cells:
    """The work of `read_workbook` without the account: arguments and result can be pickled, so it may
    run in a process of its own.
    """
    with _sheet(path, name=name, sheet=sheet) as rows:
        return _collect(rows, columns, where=f"{name} [{sheet}]")


def whole_worksheet(path: Path, *, name: str, sheet: str) -> pl.DataFrame:
    """Every column of a worksheet as text, spreadsheet errors included, with `_record` and `_line`.

    A column without a title is called `column_N` by its place and left out where it holds nothing; the second
    column of one title has `_2` behind it. Raises CxrError as `read_workbook` does.
    """
    where = f"{name} [{sheet}]"
    with _sheet(path, name=name, sheet=sheet) as rows:
        titles, filled = _header_and_rows(rows, where=where)
    width = max(len(titles), *(len(row) for _, row in filled))
    columns: dict[str, pl.Series] = {}
    for place in range(width):
        title = titles[place] if place < len(titles) else ""
        values = _texts(title, place, filled)
        if not title and values.null_count() == len(values):
            continue
        plain = title or f"column_{place + 1}"
        # No more names than columns: one of these is free.
        free = next(text for text in (plain, *(f"{plain}_{n}" for n in range(2, width + 2))) if text not in columns)
        columns[free] = values.alias(free)
    return _numbered(list(columns.values()), filled)


def read_book(path: Path, *, name: str, sheets: Sequence[str], again: str = AGAIN) -> Book:
    """The rows of those of `sheets` that the workbook has. again: how to get it whole, for messages.

    Raises CxrError: CXR-101 to CXR-103, CXR-110.
    """
    with _book(path, name=name, again=again) as book:
        titles = tuple(book.sheetnames)
        wanted = [sheet for sheet in sheets if sheet in titles]
        return Book(name, titles, {sheet: list(_numbered_rows(book, sheet)) for sheet in wanted}, again)


@contextmanager
def _sheet(path: Path, *, name: str, sheet: str) -> Iterator[_Rows]:
    """The rows of a worksheet with their numbers; what openpyxl raises while they are read is CXR-110."""
    with _book(path, name=name) as book:
        if sheet not in book.sheetnames:
            raise _no_sheet(sheet, book.sheetnames, name=name)
        yield _numbered_rows(book, sheet)


def _numbered_rows(book: Any, sheet: str) -> _Rows:  # noqa: ANN401 - an openpyxl workbook
    return enumerate(book[sheet].iter_rows(values_only=True), 1)


def _no_sheet(sheet: str, titles: Sequence[str], *, name: str, again: str = AGAIN) -> CxrError:
    found = ", ".join(repr(title) for title in titles) or "none"
    problem = f"the workbook has no sheet {sheet!r}{_meant(sheet, titles)}"
    return CxrError("CXR-109", problem, where=name, fix=f"{again}; sheets found: {found}")


def _meant(title: str, found: Sequence[str]) -> str:
    """A hint at the title that differs by case, blanks or a few letters."""
    plain = {_plain(one): one for one in found if one}
    if same := plain.get(_plain(title)):
        return f"; did you mean {same!r}?"
    return nearest(title, [one for one in found if one], most=1)


def _plain(title: str) -> str:
    return "".join(title.split()).casefold()


@contextmanager
def _book(path: Path, *, name: str, again: str = AGAIN) -> Iterator[Any]:
    """The workbook, open; what openpyxl raises while it is read is CXR-110."""
    import openpyxl

    body = read_bytes(path, name=name, again=again)
    if not body.startswith(_ZIP):
        check_is_text(body, name=name, again=again)
        raise _no_workbook(name, again)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl warns of styles and extensions that hold no values
            yield openpyxl.load_workbook(io.BytesIO(body), read_only=True, data_only=True)
    except CxrError:
        raise
    except (
        zipfile.BadZipFile,
        OSError,
        KeyError,
        IndexError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        SyntaxError,
    ) as error:
        raise _no_workbook(name, again) from error  # openpyxl lets through whatever its parsers raise


def _no_workbook(name: str, again: str) -> CxrError:
    return CxrError(
        "CXR-110", "this is not an Excel workbook (.xlsx), or it is damaged or encrypted", where=name, fix=again
    )


def _header_and_rows(
    rows: _Rows, *, where: str, columns: Sequence[str] = (), again: str = AGAIN
) -> tuple[list[str], list[tuple[int, tuple[Any, ...]]]]:
    """The header's titles, and the rows below it that are not empty. `columns` must be among the titles."""
    header_line, header = next(((line, row) for line, row in rows if any(value is not None for value in row)), (1, ()))
    titles = ["" if title is None else str(title).strip() for title in header]
    _check_header(titles, columns, where=f"{where}:{header_line}", again=again)
    filled = [(line, row) for line, row in rows if any(value is not None for value in row)]
    if not filled:
        raise CxrError("CXR-111", "the worksheet has a header and no rows", where=where, fix=again)
    return titles, filled


def _texts(column: str, place: int, rows: list[tuple[int, tuple[Any, ...]]]) -> pl.Series:
    return pl.Series(column, [_text(row[place]) if place < len(row) else None for _, row in rows], dtype=pl.String)


def _numbered(columns: list[pl.Series], rows: list[tuple[int, tuple[Any, ...]]]) -> pl.DataFrame:
    lines = pl.Series("_line", [line for line, _ in rows], dtype=pl.UInt32)
    return pl.DataFrame(columns).with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias("_record"), lines)


def _collect(rows: _Rows, columns: Sequence[str], *, where: str, again: str = AGAIN) -> Cells:
    titles, filled = _header_and_rows(rows, where=where, columns=columns, again=again)
    frame, errors = _numbered([_texts(column, titles.index(column), filled) for column in columns], filled), []
    from openpyxl.cell.cell import ERROR_CODES
    from openpyxl.utils import get_column_letter

    letters = {column: get_column_letter(titles.index(column) + 1) for column in columns}
    for column in columns:
        is_error = frame[column].is_in(list(ERROR_CODES))
        if is_error.any():
            errors.append(
                frame.filter(is_error).select(pl.lit(column).alias("column"), pl.col(column).alias("value"), "_line")
            )
            frame = frame.with_columns(pl.when(~is_error).then(pl.col(column)).alias(column))
    return Cells(frame, pl.concat(errors) if errors else pl.DataFrame(schema=_ERROR_SCHEMA), letters, tuple(titles))


def _check_header(titles: list[str], columns: Sequence[str], *, where: str, again: str) -> None:
    missing = [column for column in columns if column not in titles]
    if missing:
        hints = {column: _meant(column, titles).removeprefix("; ") for column in missing}
        listed = ", ".join(f"{column!r} ({hint})" if hint else repr(column) for column, hint in hints.items())
        raise CxrError(
            "CXR-107",
            f"the header lacks {listed}",
            where=where,
            fix=f"{again}; the header has: {', '.join(filter(None, titles))}",
        )
    doubled = [column for column in columns if titles.count(column) > 1]
    if doubled:
        raise CxrError(
            "CXR-108", f"the header names {doubled[0]!r} twice", where=where, fix="remove one of the two columns"
        )


def _text(value: Any) -> str | None:  # noqa: ANN401
    """A cell as a reader would write it: whole numbers without `.0`, dates as yyyy-mm-dd."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
