"""Every image file below a root, in one walk: files of folders, members of archives.

Links are followed, loops are not. What cannot be an image of ours is passed over; what might be and cannot be used is
told: damaged archives and those of other kinds, members that climb out, names that are no UTF-8, folders that cannot be opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.images.archives import is_archive, is_compressed_archive, is_text, open_archive
from cxrdata.images.streams import is_stream, open_stream
from cxrdata.wording import counted

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".dcm", ".dicom")
# name: path below the root, or of the member below the archive's folder and name, by which the image is recognised.
SCHEMA = {"path": pl.String, "member": pl.String, "name": pl.String}


@dataclass
class Listing:
    """`files`: of SCHEMA, in a fixed order. `remarks`: what was passed over and why."""

    files: pl.DataFrame
    remarks: list[str] = field(default_factory=list)


@dataclass
class _Walk:
    rows: list[tuple[str, str | None, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    unnameable: int = 0
    seen: set[tuple[int, int]] = field(default_factory=set)


def list_images(roots: Iterable[Path], *, streams: bool = True) -> Listing:
    """What lies below the roots; a root may itself be an archive. Raises OSError where a root cannot be read.

    streams: also in archives that must be decompressed from front to back to be listed, but for those beside which a
    folder of their name lies: they have been unpacked.
    """
    walk = _Walk()
    for root in roots:
        text = str(root)
        if not is_text(text):
            raise CxrError(
                "CXR-130", "the path of an image root is not UTF-8", where=repr(text), fix="rename the folder"
            )
        if root.is_file():
            (_stream if is_stream(text) else _archive)(walk, text, "")
            continue
        first = len(text.rstrip("/")) + 1
        for path in _files(text, walk):
            _file(walk, path, path[first:], streams=streams)
    if walk.unnameable:
        walk.remarks.append(
            f"{counted(walk.unnameable, 'file')} passed over whose name is no UTF-8 text; rename it to use it"
        )
    return Listing(pl.DataFrame(walk.rows, schema=SCHEMA, orient="row"), walk.remarks)


def _file(walk: _Walk, path: str, name: str, *, streams: bool) -> None:
    kind = path.lower()
    if not is_text(path):
        walk.unnameable += kind.endswith(IMAGE_SUFFIXES) or is_archive(path) or is_stream(path)
    elif kind.endswith(IMAGE_SUFFIXES):
        walk.rows.append((path, None, name))
    elif is_archive(path):
        _archive(walk, path, name)
    elif is_stream(path):
        if streams:
            _stream(walk, path, name)
    elif is_compressed_archive(path):
        walk.remarks.append(f"{name} is compressed in a way that is not read; unpack it, its images are not looked for")


def _files(root: str, walk: _Walk) -> Iterator[str]:
    """Paths of all files below a folder, folders and files in the order of their names."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            place = Path(folder).stat()
            if (place.st_dev, place.st_ino) in walk.seen:  # a link back to where we were
                continue
            walk.seen.add((place.st_dev, place.st_ino))
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if folder == root:
                raise
            walk.remarks.append(f"{folder[len(root) + 1 :]!a} cannot be opened: {error.strerror}")
            continue
        below = []
        for entry in found:
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError:  # a link that leads in a circle
                continue
            if is_folder:
                below.append(entry.path)
            elif is_file:  # no dead link, no pipe that would never end
                yield entry.path
        waiting += reversed(below)


def _archive(walk: _Walk, path: str, name: str) -> None:
    told = name or Path(path).name
    try:
        archive = open_archive(Path(path))
    except CxrError as error:
        walk.remarks.append(f"{told}: {error.problem}")
    except OSError as error:
        walk.remarks.append(f"{told}: the archive cannot be opened: {error.strerror or error}")
    else:
        _members(walk, path, told, archive.members, archive.refused)


def _stream(walk: _Walk, path: str, name: str) -> None:
    told = name or Path(path).name
    if name and Path(_stem(path)).is_dir():
        walk.remarks.append(f"{told} is not read: the folder {_stem(told)} beside it is taken for what was in it")
        return
    try:
        stream = open_stream(Path(path))
        stream.list_all()
    except CxrError as error:
        walk.remarks.append(f"{told}: {error.problem}; {error.fix}")
    except OSError as error:
        walk.remarks.append(f"{told}: the archive cannot be opened: {error.strerror or error}")
    else:
        _members(walk, path, told, stream.members, stream.refused)
        if not stream.in_order:
            walk.remarks.append(
                f"{told} is compressed as a whole and its images are not in the order of their names: it is read from its start "
                "again and again; where that takes too long, unpack it, or pack it anew as .zip or .tar"
            )


def _stem(name: str) -> str:
    """`images_001` of `images_001.zip` and `images_001.tar.gz`."""
    stem = name.rpartition(".")[0]
    return stem.removesuffix(".tar") if is_stream(name) else stem


def _members(walk: _Walk, path: str, told: str, members: Iterable[str], refused: Sequence[str]) -> None:
    # Folders that an archive stands for carry meaning: `images_001.zip`, "CheXpert-v1.0 batch 2 (train 1).zip".
    folder = _stem(told)
    walk.rows.extend(
        (path, member, f"{folder}/{member}") for member in members if member.lower().endswith(IMAGE_SUFFIXES)
    )
    if refused:
        walk.remarks.append(
            f"{told}: {counted(len(refused), 'member')} "
            f"refused, such as {refused[0]!a}: it climbs out of the archive, is a link, or is no UTF-8"
        )
