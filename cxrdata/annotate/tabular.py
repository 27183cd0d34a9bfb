"""Users' files and frames as polars frames: same rows, same order, same columns."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.keys import recognise
from cxrdata.sources.textfile import check_is_text, read_bytes
from cxrdata.sources.textscan import normalise_newlines, scan
from cxrdata.wording import counted

if TYPE_CHECKING:
    from pathlib import Path

DELIMITERS = (",", ";", "\t", "|")
_AGAIN = "write the file again, or copy it again from where it is whole"
_SNIFFED_BYTES = 1 << 16
_COMMA = b","


def read_table(path: Path) -> tuple[pl.DataFrame, list[str]]:
    """The rows of a CSV (any of `DELIMITERS`, gzipped or not) or Parquet file, and remarks on how it was read.

    A CSV's columns stay text, exactly as they stand there; an empty cell is null. A broken row is no reason to drop
    one: the file is refused instead, since the rows keep their number.

    Raises CxrError: CXR-101 to CXR-106 for a broken file, CXR-111 no rows, CXR-201 to CXR-203 a broken row.
    """
    name = path.name
    body = read_bytes(path, name=name, again=_AGAIN)
    if body.startswith(b"PAR1"):
        try:
            return pl.read_parquet(io.BytesIO(body)), []
        except pl.exceptions.PolarsError as error:
            raise CxrError(
                "CXR-103",
                f"the Parquet file cannot be read: {str(error).splitlines()[0]}",
                where=name,
                fix=_AGAIN,
            ) from error
    check_is_text(body, name=name, again=_AGAIN)
    remarks = []
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        body = body.decode("latin-1").encode()
        remarks.append("The file is not UTF-8; it was read as Latin-1.")
    return _parse(normalise_newlines(body), name, remarks), remarks


def _parse(body: bytes, name: str, remarks: list[str]) -> pl.DataFrame:
    delimiter = _sniff(body)
    if delimiter != ",":
        remarks.append(f"Columns are separated by {'tabs' if delimiter == chr(9) else repr(delimiter)}.")
    # The scan knows commas alone, so for its eyes the two change places.
    swapped = (
        body
        if delimiter == ","
        else body.translate(bytes.maketrans(delimiter.encode() + _COMMA, _COMMA + delimiter.encode()))
    )
    structure = scan(swapped, where=name)
    records = (
        [body[start:end] for start, end in zip(structure.starts, structure.ends, strict=True)]
        if _has_blank_lines(body, len(structure), structure)
        else None
    )
    header = next(csv.reader([body[structure.starts[0] : structure.ends[0]].decode()], delimiter=delimiter))
    headless = recognise(pl.Series(header, dtype=pl.String))["form"].is_not_null().any()
    names = [f"column_{at}" for at in range(1, len(header) + 1)] if headless else _unique(header, remarks)
    if headless:
        remarks.append(
            "The file has no header: its first row holds an image key. Columns are named column_1, column_2, …."
        )
    first = 0 if headless else 1
    if len(structure) == first:
        raise CxrError("CXR-111", "the file has a header and no rows", where=name, fix="give a file with rows")
    _check_rows(body, structure, first, len(names), delimiter, name)
    clean = body[structure.starts[first] :] if records is None else b"\n".join(records[first:]) + b"\n"
    frame = pl.read_csv(
        clean,
        has_header=False,
        separator=delimiter,
        infer_schema=False,
        truncate_ragged_lines=True,
    )
    frame = frame.select(pl.col(frame.columns[at]).alias(column) for at, column in enumerate(names))
    if frame.height != len(structure) - first:
        raise CxrError(
            "CXR-401",
            f"{counted(len(structure) - first, 'row')}, but {frame.height:,} parsed",
            where=name,
            fix="this is a defect of cxrdata; please report it",
        )
    return frame.with_columns(pl.all().replace("", None)) if b'""' in clean else frame


def _sniff(body: bytes) -> str:
    """The delimiter that parts the header into most fields; the comma where none does."""
    head = body[:_SNIFFED_BYTES].split(b"\n", 1)[0].decode(errors="replace")
    fields = {delimiter: len(next(csv.reader([head], delimiter=delimiter), [])) for delimiter in DELIMITERS}
    return max(DELIMITERS, key=lambda delimiter: fields[delimiter])


def _has_blank_lines(body: bytes, n_records: int, structure: Any) -> bool:  # noqa: ANN401
    return bool(n_records) and (
        (structure.starts[1:] != structure.ends[:-1] + 1).any()
        or structure.starts[0] > 0
        or len(body) > structure.ends[-1] + 1
    )


def _unique(header: list[str], remarks: list[str]) -> list[str]:
    """Names of the columns; trailing empty ones are dropped (official files end in stray commas), repeated ones numbered."""
    names = [field.strip() for field in header]
    while len(names) > 1 and not names[-1]:
        names.pop()
    result: list[str] = []
    for name in names:
        unique, number = name, 2
        while unique in result:
            unique, number = f"{name}_{number}", number + 1
        if unique != name:
            remarks.append(f"Two columns are called {name!r}; the later one is now {unique!r}.")
        result.append(unique)
    return result


def _check_rows(body: bytes, structure: Any, first: int, width: int, delimiter: str, name: str) -> None:  # noqa: ANN401
    fields, lines = structure.fields[first:], structure.lines[first:]
    faults = (
        (structure.stray[first:], "CXR-203", "a quote stands where none may stand"),
        ((fields < width) & ~structure.stray[first:], "CXR-201", "the row has too few fields"),
    )
    for wrong, code, problem in faults:
        if wrong.any():
            raise CxrError(
                code,
                problem,
                where=f"{name}:{lines[wrong][0]}",
                fix="correct the row; annotate keeps every row, so it cannot leave one out",
            )
    for at in (fields > width).nonzero()[0]:
        # Trailing empty fields are a habit of official files, not a fault.
        record = body[structure.starts[at + first] : structure.ends[at + first]].rstrip(delimiter.encode() + b" ")
        if (
            record.count(delimiter.encode()) >= width
            and len(next(csv.reader(io.StringIO(record.decode()), delimiter=delimiter), [])) > width
        ):
            raise CxrError(
                "CXR-202",
                "the row has too many fields",
                where=f"{name}:{lines[at]}",
                fix="quote cells that hold the delimiter",
            )


def as_frame(frame: Any) -> pl.DataFrame:  # noqa: ANN401
    """A polars, pandas or Arrow table as a polars frame. A named pandas index becomes a column.

    Raises CxrError CXR-502 for anything else.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if type(frame).__module__.partition(".")[0] == "pandas" and hasattr(frame, "index"):
        named = any(name is not None for name in frame.index.names)
        flat = frame.reset_index() if named else frame
        converted: pl.DataFrame = pl.from_pandas(flat.set_axis([str(name) for name in flat.columns], axis=1))
        return converted
    if hasattr(frame, "__arrow_c_stream__"):
        return pl.DataFrame(frame)
    raise CxrError(
        "CXR-502",
        f"cannot annotate a {type(frame).__name__}",
        fix="give a polars, pandas or Arrow table, or a file to annotate_file",
    )


def with_numbers(frame: pl.DataFrame) -> pl.DataFrame:
    """Text columns that hold nothing but numbers as numbers, for formats that have types.

    A column in which a number has a leading zero or a plus sign is an identifier, and stays text.
    """
    typed = []
    for series in frame.get_columns():
        if series.dtype != pl.String or series.null_count() == len(series):
            continue
        text = series.drop_nulls()
        if text.str.contains(r"^-?(?:0|[1-9]\d{0,17})$").all():
            typed.append(series.cast(pl.Int64))
        elif text.str.contains(r"^-?(?:0|[1-9]\d*)(?:\.\d*)?(?:[eE][+-]?\d+)?$").all():
            typed.append(series.cast(pl.Float64))
    return frame.with_columns(typed)
