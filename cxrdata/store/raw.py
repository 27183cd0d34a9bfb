"""Raw tables (`--keep-raw`): every source column as text with its line, nothing interpreted.

CSV files, lists, worksheets and JSON lines have rows of text. DICOM files have none: what is used of their headers
stands in `images`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from cxrdata.sources.account import Account
from cxrdata.sources.base import FoundFile, SourceFiles
from cxrdata.sources.jsonlines import read_json_lines
from cxrdata.sources.textfile import read_csv, read_lines
from cxrdata.sources.workbook import whole_worksheet
from cxrdata.stages import sha256_file
from cxrdata.store.parquet import rows_digest, write_parquet


def raw_names(dataset: str, file_names: Sequence[str]) -> dict[str, str]:
    """File name (path below the root) -> its table in the schema `raw`: dataset, two underscores, the file's name without
    suffix in letters and digits.

    Files of one such name are told apart by their folders, if that is not enough by the suffix too, and what even then
    is alike (`a-b.csv`, `a_b.csv`) by numbers in the order of the file names.
    """
    levels = dict.fromkeys(sorted(file_names), 0)
    while True:
        taken = Counter(_spelled(name, level) for name, level in levels.items())
        raised = {
            name: level + 1 for name, level in levels.items() if taken[_spelled(name, level)] > 1 and level < _MOST
        }
        if not raised:
            break
        levels |= raised
    names: dict[str, str] = {}
    for name, level in levels.items():
        plain = _spelled(name, level)
        candidates = (plain, *(f"{plain}_{n}" for n in range(2, len(levels) + 2)))
        # The first of those alike keeps the plain name; a number may not give a name that another file has by itself.
        free = next(text for text in candidates if text not in names.values() and (text == plain or text not in taken))
        names[name] = free
    return {name: f"{dataset}__{text}" for name, text in names.items()}


_MOST = 2


def _spelled(file_name: str, level: int) -> str:
    """Stem; with the folders; with the suffix too."""
    path = PurePosixPath(file_name.lower().removesuffix(".gz"))
    text = (path.stem, path.with_suffix("").as_posix(), path.as_posix())[level]
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


def write_raw(files: SourceFiles, folder: Path, *, with_text: bool) -> list[dict[str, Any]]:
    """Write one Parquet a file with rows of text below `folder` and describe it as stage.json does.

    Columns that the catalog entry lists as `free_text` are left out unless `with_text`.
    """
    free_text = set() if with_text else set(files.source.entry.get("free_text", ()))
    names = raw_names(files.source.name, [file.name for file in files.files])
    return [_one(file, names[file.name], folder, free_text) for file in files.files]


def _rows(file: FoundFile) -> pl.DataFrame:
    """The file's sound rows. What is refused is known already: the dataset was read before."""
    account = Account(file.spec.dataset)
    match file.spec.kind:
        case "lines":
            return read_lines(file.path, name=file.name, account=account).frame
        case "workbook":
            return whole_worksheet(file.path, name=file.name, sheet=file.spec.sheet)
        case "jsonlines":
            return read_json_lines(file.path, name=file.name, account=account).frame
        case _:
            return read_csv(file.path, name=file.name, account=account).frame


def _one(file: FoundFile, name: str, folder: Path, free_text: set[str]) -> dict[str, Any]:
    frame = _rows(file)
    frame = frame.drop([column for column in frame.columns if column in free_text])
    description = f"{file.name} as it is: every column text."
    write_parquet(frame, folder / f"{name}.parquet", description=description)
    columns = {column: f"Column {column} of the file, as text." for column in frame.columns}
    columns |= {
        "_record": "0-based record of the file.",
        "_line": "Physical line of the file, or row of the worksheet.",
    }
    return {
        "name": name, "path": f"raw/{name}.parquet", "rows": frame.height, "digest": rows_digest(frame), "file_sha256": sha256_file(folder / f"{name}.parquet"),
        "description": description, "columns": columns,
    }  # fmt: skip
