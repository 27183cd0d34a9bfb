"""Restartable stages: work whose result is a folder that appears whole or not at all.

A stage's key is the hash of everything its result depends on. A finished stage is found by
its key and not run again; an interrupted one leaves only a folder whose name says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

_UNFINISHED = ".unfinished"


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for the owner alone: rows may be protected by terms.

    `mkdir(parents=True)` would give the mode to the last one only.
    """
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def unfinished(path: Path) -> Path:
    """Where to write what will be renamed to `path`: beside it, under a name that `remove_unfinished` knows."""
    return path.with_name(f"{path.name}.{os.getpid()}{_UNFINISHED}")


def stage_key(**parts: Any) -> str:  # noqa: ANN401 - anything that JSON can hold
    """A key from named parts (inputs, parameters, versions); equal parts give equal keys."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def run_stage(
    folder: Path, name: str, key: str, work: Callable[[Path], None], *, whole: Callable[[Path], bool] = lambda _: True
) -> tuple[Path, bool]:
    """The folder of a stage's result and whether it was there already.

    `work` fills an empty folder, which then takes its final name atomically.
    A result that is there is asked of `whole`; one that was damaged since is made again.
    """
    done = folder / f"{name}-{key}"
    if done.is_dir():
        if whole(done):
            return done, True
        shutil.rmtree(done)
    make_private(folder)
    aside = unfinished(done)
    shutil.rmtree(aside, ignore_errors=True)
    make_private(aside)
    try:
        work(aside)
        sync_folder(aside)
        try:
            aside.rename(done)
        except OSError:
            if not done.is_dir():  # another process may have finished the same stage
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sync_path(folder)
    return done, False


def remove_unfinished(folder: Path) -> None:
    """Clear away what interrupted runs left in a folder (not below); only to be called by who holds the folder's lock."""
    if folder.is_dir():
        for path in folder.iterdir():
            if not path.name.endswith(_UNFINISHED):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def sync_path(path: Path) -> None:
    """Flush a file or folder to the disk, so that a rename after it is a promise."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Flush everything below a folder, then the folder."""
    for path in sorted(folder.rglob("*")):
        sync_path(path)
    sync_path(folder)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def code_digest() -> str:
    """A digest of cxrdata's own code: a stage made by other code is not reused."""
    package = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
