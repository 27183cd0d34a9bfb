"""Rows to the terminal, to a pipe, or to a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrdata.errors import CxrError
from cxrdata.wording import counted

if TYPE_CHECKING:
    import polars as pl

    from cxrdata.store.catalog import Catalog

TABLE_ROWS = 50
_LIST_SEPARATOR = "|"
_PARQUET = ".parquet"
_FORMATS = {
    ".csv": "csv",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".md": "markdown",
    ".txt": "table",
}


def emit(
    frame: pl.DataFrame,
    *,
    row_format: str = "table",
    limit: int | None = None,
    out: Path | None = None,
    quiet: bool = False,
) -> None:
    """Print rows to stdout, or write them all to `out` (csv, json, ndjson, md, parquet by suffix).

    A table shows at most 50 rows unless `limit` says otherwise, and says on stderr how many are left, or that there is none.
    Raises CxrError: CXR-502 unknown suffix, CXR-602 not writable.
    """
    if out is not None:
        write(frame, out)
        remark(f"{counted(frame.height, 'row')} written to {out}", quiet=quiet)
        return
    most = limit if limit is not None else (TABLE_ROWS if row_format == "table" else None)
    shown = frame.head(most) if most is not None else frame
    sys.stdout.write(text(shown, row_format))
    if shown.height < frame.height:
        more = counted(frame.height - shown.height, "more row")
        remark(f"{more}; --limit {frame.height} shows all, --out FILE writes them", quiet=quiet)
    elif row_format == "table" and frame.is_empty():
        remark(counted(0, "row"), quiet=quiet)


def write(frame: pl.DataFrame, out: Path) -> None:
    """Write all rows to a file, the format by its suffix."""
    suffix = out.suffix.lower()
    try:
        if suffix == _PARQUET:
            from cxrdata.store.parquet import ROW_GROUP_ROWS

            frame.write_parquet(out, row_group_size=ROW_GROUP_ROWS)
        elif suffix in _FORMATS:
            out.write_text(text(frame, _FORMATS[suffix]), encoding="utf-8")
        else:
            raise CxrError(
                "CXR-502",
                f"no format is known for the suffix {suffix or '(none)'!r}",
                where=str(out),
                fix="use .csv, .json, .ndjson, .md, .txt or .parquet",
            )
    except OSError as error:
        raise CxrError(
            "CXR-602",
            f"cannot write: {error.strerror or str(error).splitlines()[0]}",
            where=str(out),
            fix="name a file in a folder that exists and is writable",
        ) from error


def write_text(content: str, out: Path | None) -> None:
    """A text to stdout, or to the file `out`. Raises CxrError CXR-602 not writable."""
    if out is None:
        sys.stdout.write(content)
        return
    try:
        out.write_text(content, encoding="utf-8")
    except OSError as error:
        raise CxrError(
            "CXR-602",
            f"cannot write: {error.strerror}",
            where=str(out),
            fix="name a file in a folder that exists and is writable",
        ) from error


def check_places(out: Path, suffixes: Sequence[str], folder: Path | None = None) -> None:
    """Before long work: that a file of one of these suffixes can be written to `out`, and that `folder` is there, or can be
    made, and written to. Raises CxrError: CXR-502 another suffix, CXR-602 not writable."""
    if out.suffix.lower() not in suffixes:
        raise CxrError(
            "CXR-502",
            f"--out does not end in {' or '.join(suffixes)}, and nothing else is written",
            where=str(out),
            fix=f"--out {out.with_suffix(suffixes[0]).name}" if out.name else "name a file",
        )
    _check_folder(out.parent, "name a file in a folder that exists and is writable")
    if out.exists() and not os.access(out, os.W_OK):
        raise CxrError(
            "CXR-602", "cannot write: the file is read-only", where=str(out), fix="name a file that can be written"
        )
    if folder is not None:
        check_folder_place(folder)


def check_rows_place(out: Path | None, folder: Path | None = None) -> None:
    """`check_places` of rows that `emit` will write, and of a folder of figures beside them; either may be wished for."""
    if out is not None:
        check_places(out, (*_FORMATS, _PARQUET), folder)
    elif folder is not None:
        check_folder_place(folder)


def check_folder_place(folder: Path) -> None:
    """Before long work: that a folder is there, or can be made, and written to. Raises CxrError CXR-602."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    _check_folder(there, "name a folder that can be made and written to")


def _check_folder(folder: Path, fix: str) -> None:
    if not folder.is_dir():
        problem = "not a folder" if folder.exists() else "no such folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        problem = "the folder is not writable"
    else:
        return
    raise CxrError("CXR-602", f"cannot write: {problem}", where=str(folder), fix=fix)


def text(frame: pl.DataFrame, row_format: str) -> str:
    """The rows as text in one of the formats of CONTRACT §1."""
    if row_format == "csv":
        return _flat(frame).write_csv()
    if row_format in ("json", "ndjson"):
        return _json(frame, lines=row_format == "ndjson")
    if row_format == "markdown":
        return _markdown(frame)
    if sys.stdout.isatty() and not os.environ.get("CXRDATA_PLAIN"):
        from cxrdata.cli.terminal import terminal_table

        return terminal_table(frame.columns, _cells(frame), _is_number(frame))
    return _plain_table(frame)


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists become text, so that every format can hold them."""
    import polars as pl

    return frame.with_columns(
        pl.col(name).cast(pl.List(pl.String)).list.join(_LIST_SEPARATOR)
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.List)
    )


def _json(frame: pl.DataFrame, *, lines: bool) -> str:
    import json

    rows = [
        json.dumps(row, ensure_ascii=False, default=str, allow_nan=False)
        for row in frame.fill_nan(None).iter_rows(named=True)
    ]
    if lines:
        return "".join(row + "\n" for row in rows)
    return "[" + ",\n ".join(rows) + "]\n"


def _cells(frame: pl.DataFrame) -> list[list[str]]:
    return [["" if value is None else _cell(value) for value in row] for row in _flat(frame).iter_rows()]


def _cell(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).replace("\r", " ").replace("\n", " ").replace("\t", " ")


def _markdown(frame: pl.DataFrame) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells) + " |\n"

    return line(frame.columns) + line(["---"] * frame.width) + "".join(line(row) for row in _cells(frame))


def _is_number(frame: pl.DataFrame) -> list[bool]:
    return [dtype.is_numeric() for dtype in frame.dtypes]


def _plain_table(frame: pl.DataFrame) -> str:
    """Aligned columns, two spaces apart: no boxes, no colours, no cut cells."""
    rows = [frame.columns, *_cells(frame)]
    widths = [max(len(row[at]) for row in rows) for at in range(frame.width)]
    right = _is_number(frame)
    lines = []
    for row in rows:
        cells = (
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def remark(message: str, *, quiet: bool = False) -> None:
    """A line on stderr."""
    if not quiet:
        sys.stderr.write(message + "\n")


def tell_of(catalog: Catalog, *, quiet: bool) -> None:
    """What whoever reads rows of this catalog should know, on stderr: how it was opened, and which rows are made up."""
    if catalog.remark:
        remark(catalog.remark, quiet=quiet)
    if made_up := catalog.manifest["synthetic"]:
        remark(f"SYNTHETIC: the catalog's rows of {', '.join(made_up)} are random numbers, not patients", quiet=quiet)


@contextmanager
def progress(title: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A function that says what is being done now: on a terminal a spinner with the time passed, elsewhere nothing."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(title)
        yield lambda message: bar.update(task, description=f"{title}: {message}")
