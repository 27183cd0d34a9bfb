"""Text files as frames: every column text, every refused row accounted for."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from cxrdata.errors import CxrError
from cxrdata.sources.account import Account
from cxrdata.sources.textscan import Structure, count_fields, normalise_newlines, scan
from cxrdata.wording import counted

AGAIN = "download the file again from the dataset's official site"
_HEAD_BYTES = 1 << 16
_MAGIC = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull`"),
    (b"d8:announce", "a torrent file, not the data it points to", "open it with a torrent client"),
    (b"d13:announce-list", "a torrent file, not the data it points to", "open it with a torrent client"),
    (b"d4:info", "a torrent file, not the data it points to", "open it with a torrent client"),
    (b"%PDF", "a PDF document", None),
    (b"PK\x03\x04", "a zip archive or workbook", "unpack it, or name the file it should be"),
)
_OTHER_SEPARATORS = ((";", "semicolon"), ("\t", "tab"), ("|", "vertical bar"))
_WIDE = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


@dataclass(frozen=True)
class TextTable:
    """A CSV file as read: `frame` has the file's columns as text (empty cells null), `_record`
    (0-based, refused rows counted) and `_line` (physical line of the file)."""

    frame: pl.DataFrame
    source_file: str


@dataclass(frozen=True)
class Head:
    """The beginning of a CSV file: the names of its header and some records."""

    fields: tuple[str, ...]
    records: tuple[tuple[str, ...], ...]
    trailing_comma: bool = False

    def column(self, name: str) -> list[str]:
        """The values that the first records have in a column."""
        at = self.fields.index(name)
        return [record[at] for record in self.records if len(record) > at]


def read_bytes(path: Path, *, name: str, again: str = AGAIN) -> bytes:
    """The bytes of a file, unpacked if gzipped; `name` is what messages call it, `again` how to get it whole.

    Raises CxrError: CXR-101 unreadable, CXR-102 empty, CXR-103 a folder, CXR-105 damaged gzip.
    """
    if path.is_dir():
        raise CxrError("CXR-103", "this is a folder, not a file", where=name, fix="put the file in its place")
    try:
        body = path.read_bytes()
    except OSError as error:
        raise CxrError(
            "CXR-101", f"cannot be read: {error.strerror}", where=name, fix="check the path and its permissions"
        ) from error
    if body[:2] == b"\x1f\x8b":
        try:
            body = gzip.decompress(body)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise CxrError("CXR-105", "the gzip file is truncated or damaged", where=name, fix=again) from error
    if not body or body.isspace():
        raise CxrError("CXR-102", "the file is empty", where=name, fix=again)
    return body


def check_is_text(body: bytes, *, name: str, again: str = AGAIN) -> None:
    """Refuse what is plainly no CSV file (CXR-103) or no UTF-8 (CXR-104). again: as for `read_bytes`."""
    for magic, what, fix in _MAGIC:
        if body.startswith(magic):
            raise CxrError("CXR-103", f"this is {what}", where=name, fix=fix or again)
    for mark, encoding in _WIDE:
        if body.startswith(mark):
            raise CxrError("CXR-104", f"the file is {encoding}", where=name, fix="save it as UTF-8")
    start = body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<script")):
        raise CxrError(
            "CXR-103",
            "this is a web page, not data (most likely a login page)",
            where=name,
            fix="log in, accept the terms, and download again",
        )


def read_head(path: Path, *, records: int = 40) -> Head | None:
    """The header and first records of a CSV file, or None where it cannot be one."""
    try:
        with path.open("rb") as file:
            raw = file.read(_HEAD_BYTES)
        if raw[:2] == b"\x1f\x8b":
            raw = zlib.decompressobj(31).decompress(raw, _HEAD_BYTES)
        check_is_text(raw, name=path.name)
    except (OSError, zlib.error, CxrError):
        return None
    text = normalise_newlines(raw).decode("utf-8-sig", errors="replace")
    rows = []
    try:
        for row in csv.reader(io.StringIO(text)):
            rows.append(tuple(row))
            if len(rows) > records:
                break
    except csv.Error:
        pass
    if not rows:
        return None
    complete = rows[1:] if len(rows) > records or len(raw) < _HEAD_BYTES else rows[1:-1]
    return Head(header_names(rows[0]), tuple(complete), trailing_comma=not rows[0][-1].strip())


def header_names(fields: Sequence[str]) -> tuple[str, ...]:
    """The column names of a header line: without padding, without trailing empty fields (official
    files end headers and rows with stray commas)."""
    names = [field.strip() for field in fields]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def read_csv(
    path: Path,
    *,
    name: str,
    account: Account,
    required: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> TextTable:
    """Read a CSV file whole, as text.

    `required`: columns that must be there. `columns`: those to keep (absent ones are skipped;
    all if None). `names`: read by position under these names instead of the header's, for files whose header
    does not fit its rows.

    Rows that are broken go to `account` (CXR-201 to CXR-205). Raises CxrError for a broken
    file: CXR-101 to CXR-108, CXR-111.
    """
    body = read_bytes(path, name=name)
    check_is_text(body, name=name)
    body = normalise_newlines(body.removeprefix(b"\xef\xbb\xbf"))
    structure = scan(body, where=name)
    header = _header(body, structure, name=name)
    if names is None:
        names = header
        _check_header(header, required, name=name)
    if len(structure) < 2:
        raise CxrError("CXR-111", "the file has a header and no rows", where=name, fix=AGAIN)
    sound = _refuse_broken(body, structure, len(names), name=name, account=account)
    clean, skipped = _sound_bytes(body, structure, sound)
    kept = [c for c in names if c] if columns is None else [c for c in columns if c in names]
    frame = _parse(clean, names, kept, rows=int(sound.sum()), skipped=skipped)
    record = np.arange(len(structure) - 1, dtype=np.uint32)[sound]
    line = structure.lines[1:][sound].astype(np.uint32)
    account.read(name, len(structure) - 1)
    return TextTable(frame.with_columns(_record=pl.Series(record), _line=pl.Series(line)), name)


def _header(body: bytes, structure: Structure, *, name: str) -> tuple[str, ...]:
    if len(structure) == 0:
        raise CxrError("CXR-102", "the file is empty", where=name, fix=AGAIN)
    line = body[structure.starts[0] : structure.ends[0]].decode("utf-8", errors="replace")
    return header_names(next(csv.reader([line])))


def _check_header(header: tuple[str, ...], required: Sequence[str], *, name: str) -> None:
    doubled = sorted({column for column in header if column and header.count(column) > 1})
    if doubled:
        raise CxrError(
            "CXR-108", f"the header names {doubled[0]!r} twice", where=f"{name}:1", fix="remove one of the two columns"
        )
    missing = [column for column in required if column not in header]
    if missing and len(header) == 1:
        separator = next((word for mark, word in _OTHER_SEPARATORS if mark in header[0]), None)
        if separator:
            raise CxrError(
                "CXR-107",
                f"the columns are separated by {separator}s, not by commas",
                where=f"{name}:1",
                fix=f"{AGAIN}; a spreadsheet may have saved it anew",
            )
    if missing:
        listed = ", ".join(repr(column) for column in missing)
        raise CxrError(
            "CXR-107",
            f"the header lacks {listed}",
            where=f"{name}:1",
            fix=f"{AGAIN}; the header has: {', '.join(header)}",
        )


def _refuse_broken(body: bytes, structure: Structure, width: int, *, name: str, account: Account) -> np.ndarray:
    """Which records after the header are sound; the others go to the account."""
    fields, stray = structure.fields[1:], structure.stray[1:]
    sound = ~stray
    _reject(account, name, structure, stray, "CXR-203", "a quote stands where none may stand")
    short = sound & (fields < width)
    _reject(account, name, structure, short, "CXR-201", f"fields expected: {width}, found: ", fields)
    long = sound & (fields > width)
    for at in np.flatnonzero(long):
        # Trailing empty fields are a habit of official files, not a fault.
        record = body[structure.starts[at + 1] : structure.ends[at + 1]]
        long[at] = count_fields(record.rstrip(b", \t")) > width
    _reject(account, name, structure, long, "CXR-202", f"fields expected: {width}, found: ", fields)
    sound &= ~short & ~long
    if b"\x00" in body:
        nul = sound & _records_with(structure, np.flatnonzero(np.frombuffer(body, np.uint8) == 0))
        _reject(account, name, structure, nul, "CXR-205", "the row holds NUL bytes")
        sound &= ~nul
    if not _is_utf8(body):
        bad = sound & _undecodable(body, structure)
        _reject(account, name, structure, bad, "CXR-204", "the row is not UTF-8 (Latin-1?)")
        sound &= ~bad
    return sound


def _reject(
    account: Account,
    name: str,
    structure: Structure,
    which: np.ndarray,
    code: str,
    message: str,
    fields: np.ndarray | None = None,
) -> None:
    if not which.any():
        return
    rows = pl.DataFrame({"_line": structure.lines[1:][which]})
    if fields is not None:
        rows = rows.with_columns(_found=pl.Series(fields[which]))
        account.reject_rows(name, rows, code, message=pl.lit(message) + pl.col("_found").cast(pl.String))
    else:
        account.reject_rows(name, rows, code, message=message)


def _records_with(structure: Structure, positions: np.ndarray) -> np.ndarray:
    owner = np.searchsorted(structure.starts, positions, side="right") - 1
    found = np.zeros(len(structure), dtype=bool)
    found[owner[owner >= 0]] = True
    return found[1:]


def _is_utf8(body: bytes) -> bool:
    if body.isascii():
        return True
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _undecodable(body: bytes, structure: Structure) -> np.ndarray:
    high = _records_with(structure, np.flatnonzero(np.frombuffer(body, np.uint8) > 127))
    for at in np.flatnonzero(high):
        high[at] = not _is_utf8(body[structure.starts[at + 1] : structure.ends[at + 1]])
    return high


def _sound_bytes(body: bytes, structure: Structure, sound: np.ndarray) -> tuple[bytes, int]:
    """Bytes that hold the sound records alone after so many lines to skip."""
    starts, ends = structure.starts[1:], structure.ends[1:]
    if sound.all() and (starts[1:] == ends[:-1] + 1).all() and len(body) <= ends[-1] + 1:
        return body, int(structure.lines[1]) - 1  # the usual case, without a copy
    return b"".join(body[starts[at] : ends[at]] + b"\n" for at in np.flatnonzero(sound)), 0


def _parse(clean: bytes, names: Sequence[str], kept: list[str], *, rows: int, skipped: int) -> pl.DataFrame:
    if rows == 0:
        return pl.DataFrame(schema=dict.fromkeys(kept, pl.String))
    places = {f"column_{names.index(column)}": column for column in kept}
    frame = pl.read_csv(
        clean,
        has_header=False,
        skip_lines=skipped,
        columns=list(places),
        infer_schema=False,
        truncate_ragged_lines=True,
        encoding="utf8",
    ).select(pl.col(place).alias(column) for place, column in places.items())
    if frame.height != rows:
        raise CxrError(
            "CXR-401",
            f"{counted(rows, 'sound row')}, but {frame.height:,} parsed",
            fix="this is a defect of cxrdata; please report it",
        )
    if b'""' in clean:  # a quoted empty field is empty too
        frame = frame.with_columns(pl.all().replace("", None))
    return frame


def read_lines(path: Path, *, name: str, account: Account) -> TextTable:
    """Read a list without header, one value a line, as the column `value`.

    Raises CxrError as `read_csv` does for broken files.
    """
    body = read_bytes(path, name=name)
    check_is_text(body, name=name)
    text = normalise_newlines(body.removeprefix(b"\xef\xbb\xbf")).decode("utf-8", errors="replace")
    values = pl.Series("value", text.split("\n"), dtype=pl.String).str.strip_chars()
    frame = pl.DataFrame({"value": values, "_line": np.arange(1, len(values) + 1, dtype=np.uint32)}).filter(
        pl.col("value") != ""
    )
    account.read(name, frame.height)
    return TextTable(frame.with_row_index("_record"), name)
