"""What the source files hold, without reading them again: SHA-256 by path, size and time of change.

The record lies in the catalog's private cache and names files below their dataset's root
only, so that no absolute path is stored.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cxrdata.errors import CxrError
from cxrdata.sources.base import FoundFile, SourceFiles
from cxrdata.stages import make_private, sha256_file
from cxrdata.store.publish import replace_text


@dataclass(frozen=True)
class Fingerprint:
    """A file's size and SHA-256."""

    bytes: int
    sha256: str


def fingerprint_files(datasets: list[SourceFiles], record: Path) -> dict[tuple[str, str], Fingerprint]:
    """(dataset, name) -> fingerprint of every table file; unchanged files are not read.

    Raises CxrError CXR-101 for a file that cannot be read; a folder in a file's place has the digest `folder`.
    """
    known = _load(record)
    wanted = [(files.source.name, file) for files in datasets for file in (*files.files, *files.twins)]
    with ThreadPoolExecutor(max_workers=2) as pool:  # hashing releases the interpreter lock
        found = list(pool.map(lambda pair: _one(pair[0], pair[1], known), wanted))
    _save(record, {f"{dataset}/{file.name}": state for (dataset, file), state in zip(wanted, found, strict=True)})
    return {
        (dataset, file.name): Fingerprint(state[0], state[3])
        for (dataset, file), state in zip(wanted, found, strict=True)
    }


def _one(dataset: str, file: FoundFile, known: dict[str, list[object]]) -> tuple[int, int, int, str]:
    try:
        status = file.path.stat()
        if file.path.is_dir():
            return 0, 0, 0, "folder"
        before = known.get(f"{dataset}/{file.name}")
        state = (status.st_size, status.st_mtime_ns, status.st_ino)
        if before and tuple(before[:3]) == state:
            return *state, str(before[3])
        return *state, sha256_file(file.path)
    except OSError as error:
        raise CxrError(
            "CXR-101", f"cannot be read: {error.strerror}", where=file.name, fix="check the path and its permissions"
        ) from error


def _load(record: Path) -> dict[str, list[object]]:
    try:
        loaded = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _save(record: Path, states: dict[str, tuple[int, int, int, str]]) -> None:
    make_private(record.parent)
    replace_text(record, json.dumps(states, indent=0, sort_keys=True))
