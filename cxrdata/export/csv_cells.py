"""CSV that a spreadsheet can open without running what is in it.

A text cell that begins with `=`, `+`, `-`, `@` (also full-width), a tab or a line break is read by spreadsheets as a
formula (CWE-1236). Such a cell gets a leading `'`, which shows it as text. Numbers are no text and stay as they are.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import IO, cast

import polars as pl

from cxrdata.wording import counted

_FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"  # noqa: RUF001 - the full-width signs are meant
_QUOTE = "'"


def harmless(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The frame with dangerous text cells and headers quoted, and a remark for each column that was changed."""
    notes, changed = [], []
    for name, dtype in frame.schema.items():
        if dtype == pl.String and (n := int(frame[name].str.contains(_FORMULA).sum())):
            cell = pl.col(name)
            changed.append(pl.when(cell.str.contains(_FORMULA)).then(pl.lit(_QUOTE) + cell).otherwise(cell).alias(name))
            notes.append(
                f"{name}: {counted(n, 'cell')} began as a formula does and got a leading ' (--no-escape keeps them as they are)"
            )
    headers = pl.Series(frame.columns, dtype=pl.String)
    dangerous = headers.filter(headers.str.contains(_FORMULA)).to_list()
    frame = frame.with_columns(changed).rename({name: _QUOTE + name for name in dangerous})
    if dangerous:
        notes.append(f"{counted(len(dangerous), 'column name')} began as a formula does and got a leading '")
    return frame, notes


def write_csv(frame: pl.DataFrame, path: Path, *, packed: bool = False) -> None:
    """RFC 4180 CSV, gzipped without name and time if `packed`, so that the same rows are the same bytes."""
    if not packed:
        frame.write_csv(path)
        return
    with path.open("wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as stream:
        frame.write_csv(cast(IO[bytes], stream))
