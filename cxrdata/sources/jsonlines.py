"""JSON lines as frames of text: one object a line, refused lines accounted for."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.sources.textfile import AGAIN, TextTable, check_is_text, read_bytes
from cxrdata.sources.textscan import normalise_newlines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cxrdata.sources.account import Account


def read_json_lines(path: Path, *, name: str, account: Account, columns: Sequence[str] | None = None) -> TextTable:
    """Read the `columns` of a file with one JSON object a line, as text (`1.0` may read as `1`; null stays null).
    Without `columns`, every key that any of its objects has.

    Lines that are no JSON object go to `account` (CXR-210), lines that are not UTF-8 too (CXR-204). Blank lines
    are no records. Raises CxrError: CXR-101 to CXR-105 as for text files, CXR-107 where the first object lacks
    a column, CXR-111 where no line can be read.
    """
    body = read_bytes(path, name=name)
    check_is_text(body, name=name)
    body = normalise_newlines(body.removeprefix(b"\xef\xbb\xbf"))
    if not body.endswith(b"\n"):
        body += b"\n"
    if columns is None:
        columns = _keys(body)
    else:
        _check_columns(body, columns, name=name)
    schema = dict.fromkeys(columns, pl.String)
    lines = body.count(b"\n")
    account.read(name, lines)
    frame = None
    with suppress(pl.exceptions.PolarsError):  # some line is broken; which one is found out below
        frame = pl.read_ndjson(body, schema=schema)
    if frame is None or frame.height != lines:
        return TextTable(_line_by_line(body, columns, name=name, account=account, counted=lines), name)
    places = pl.int_range(pl.len(), dtype=pl.UInt32)
    return TextTable(frame.with_columns(_record=places, _line=places + 1), name)


def _check_columns(body: bytes, columns: Sequence[str], *, name: str) -> None:
    first = _object(body[: body.index(b"\n")])
    missing = [column for column in columns if first is not None and column not in first]
    if missing:
        listed = ", ".join(repr(column) for column in missing)
        raise CxrError(
            "CXR-107",
            f"the first object lacks {listed}",
            where=f"{name}:1",
            fix=f"{AGAIN}; it has: {', '.join(first or ())}",
        )


def _keys(body: bytes) -> list[str]:
    """The keys of all objects, in the order of their first appearance."""
    with suppress(pl.exceptions.PolarsError):  # a broken line, or values of several kinds
        return pl.read_ndjson(body, infer_schema_length=None).columns
    return list(dict.fromkeys(key for line in body.split(b"\n") for key in _object(line) or ()))


def _object(line: bytes) -> dict[str, Any] | None:
    """The object of a line; the NaN that Python's own writer makes of a missing number is read as null."""
    try:
        record = json.loads(line, parse_constant=lambda _: None)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _line_by_line(body: bytes, columns: Sequence[str], *, name: str, account: Account, counted: int) -> pl.DataFrame:
    """The slow way, for files with a broken line: the sound ones are written anew and parsed as usual."""
    sound: list[str] = []
    lines: list[tuple[int, int]] = []
    broken: list[int] = []
    undecodable: list[int] = []
    records = 0
    for number, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        records += 1
        record = _object(line)
        if record is None:
            (broken if _is_utf8(line) else undecodable).append(number)
        else:
            sound.append(json.dumps({column: record.get(column) for column in columns}))
            lines.append((records - 1, number))
    account.read(name, records - counted)  # blank lines are no records
    refused = {"_line": pl.UInt32}
    account.reject_rows(
        name, pl.DataFrame({"_line": broken}, schema=refused), "CXR-210", message="the line is not one JSON object"
    )
    account.reject_rows(
        name, pl.DataFrame({"_line": undecodable}, schema=refused), "CXR-204", message="the line is not UTF-8"
    )
    if not sound:
        raise CxrError("CXR-111", "no line of the file is a JSON object", where=name, fix=AGAIN)
    frame = pl.read_ndjson("\n".join(sound).encode(), schema=dict.fromkeys(columns, pl.String))
    places = pl.DataFrame(lines, schema={"_record": pl.UInt32, "_line": pl.UInt32}, orient="row")
    return frame.hstack(places)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
