"""Where an export goes: written aside, then renamed, so that what was there before is replaced whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cxrdata.errors import CxrError
from cxrdata.stages import make_private, sync_folder, sync_path, unfinished
from cxrdata.store.publish import writing

# By this file a folder is known as an export, which --force may replace. Readers of Parquet pass over names with a dot.
MARK = ".cxrdata-export"


@dataclass
class Exported:
    """The files that were written, with their numbers of rows (None: no table), and what their reader must know."""

    files: dict[Path, int | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@contextmanager
def new_folder(out: Path, kind: str, *, force: bool = False) -> Iterator[Path]:
    """An empty folder to fill, which then takes the name `out`; on an error nothing is left of it.

    An empty folder at `out` is taken. With `force` an export of the same kind that is there is replaced, never any
    other folder. Raises CxrError: CXR-511 something is there, CXR-602 not writable.
    """
    _check_folder(out, kind, force=force)
    aside = unfinished(Path(os.path.abspath(out)))  # noqa: PTH100 - `resolve` would follow a link that is to be replaced
    with _writing(out):
        shutil.rmtree(aside, ignore_errors=True)
        make_private(aside)
        try:
            yield aside
            (aside / MARK).write_text(f"{kind}\n", encoding="utf-8")
            sync_folder(aside)
            if out.is_dir():
                old = aside.with_name(f"old-{aside.name}")
                out.rename(old)
                aside.rename(out)
                shutil.rmtree(old)
            else:
                aside.rename(out)
            sync_path(aside.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def new_files(*places: Path, force: bool = False) -> Iterator[tuple[Path, ...]]:
    """Paths to write to, which then take the names of `places`; on an error nothing is left of them.

    Raises CxrError: CXR-511 a file is there (unless `force`) or a folder, CXR-602 not writable.
    """
    for place in places:
        if place.is_dir() or (place.exists() and not force):
            what = "a folder" if place.is_dir() else "a file"
            fix = "name a file" if place.is_dir() else "name another file, or replace it with --force"
            raise CxrError("CXR-511", f"{what} of this name is there already", where=str(place), fix=fix)
    asides = tuple(unfinished(place) for place in places)
    with _writing(places[0]):
        try:
            yield asides
            for aside, place in zip(asides, places, strict=True):
                sync_path(aside)
                aside.replace(place)
        finally:
            for aside in asides:
                aside.unlink(missing_ok=True)


def _check_folder(out: Path, kind: str, *, force: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    mark = out / MARK
    ours = mark.is_file() and mark.read_text(encoding="utf-8").strip() == kind
    if ours and force:
        return
    fix = "replace it with --force, or name another folder" if ours else "name a folder that is new or empty"
    what = (
        f"an export ({kind}) is there already" if ours else "something is there already that is no export of this kind"
    )
    raise CxrError("CXR-511", what, where=str(out), fix=fix)


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    """The operating system's refusals as CXR-602, with a way out that fits an export."""
    fix = "name a place in a folder that exists, is writable and has space"
    try:
        with writing(place):
            yield
    except CxrError as error:
        if error.code == "CXR-602":
            raise CxrError("CXR-602", error.problem, where=str(place), fix=fix) from error
        raise
    except FileNotFoundError as error:
        raise CxrError("CXR-602", "cannot write: the folder does not exist", where=str(place), fix=fix) from error
