"""Images out of a compressed archive, front to back, never outside the folder."""

from __future__ import annotations

import shutil
import tarfile
import threading
import zlib
from collections.abc import Collection
from pathlib import Path

from cxrdata.errors import CxrError
from cxrdata.images.archives import LARGEST_MEMBER, is_safe
from cxrdata.images.download import CHUNK, Stopped
from cxrdata.images.listing import IMAGE_SUFFIXES
from cxrdata.stages import unfinished
from cxrdata.store.publish import writing


def unpack(
    archive: Path, folder: Path, images: Collection[str] | None, *, expected: int, stop: threading.Event | None = None
) -> int:
    """Write the images of a .tar.gz into `folder`, each whole or not at all; how many are there then.

    images: file names of the only ones to write; None: all, `expected` of them. Members that climb out, links and
    other files are passed over. Raises CxrError: CXR-137 damaged, or images lacking; CXR-602; Stopped.
    """
    left = None if images is None else set(images)
    found = 0
    with writing(folder, option="--to"):
        try:
            with tarfile.open(archive, "r:gz") as members:
                for member in members:
                    if stop is not None and stop.is_set():
                        raise Stopped
                    name = member.name.rpartition("/")[2]
                    if not (member.isreg() and is_safe(member.name) and name.lower().endswith(IMAGE_SUFFIXES)):
                        continue
                    if left is not None and name not in left:
                        continue
                    _write(members, member, folder / member.name)
                    found += 1
                    if left is not None:
                        left.discard(name)
                        if not left:
                            return found
        except (tarfile.TarError, zlib.error, EOFError) as error:
            raise _broken(archive, f"the archive cannot be read to its end: {error}") from error
    if left or (left is None and found < expected):
        lacking = f"{min(left)} is" if left else f"{expected - found:,} of {expected:,} images are"
        raise _broken(archive, f"{lacking} not in it")
    return found


def _write(members: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    if target.is_file() and target.stat().st_size == member.size:
        return
    if member.size > LARGEST_MEMBER:
        raise tarfile.ReadError(f"{member.name} says that it has {member.size:,} bytes")
    source = members.extractfile(member)
    assert source is not None  # a regular member
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = unfinished(target)
    try:
        with aside.open("wb") as file:
            shutil.copyfileobj(source, file, CHUNK)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _broken(archive: Path, problem: str) -> CxrError:
    return CxrError("CXR-137", problem, where=str(archive), fix="remove the archive and run the command again")
