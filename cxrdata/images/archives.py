"""Archives read where they lie: `.zip` and `.tar` (`.tar.gz`: `streams`), never unpacked, members read from several threads and after a fork.

Each archive's list of members is read once in a process. What a member says of its own place in the file system is not
followed: an entry that climbs out (`../`), an absolute one, a link, is refused when the archive is listed.
"""

from __future__ import annotations

import os
import struct
import tarfile
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cxrdata.errors import CxrError

SUFFIXES = (".zip", ".tar")
COMPRESSED_SUFFIXES = (".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar")
LARGEST_MEMBER = 1 << 30  # no radiograph comes near it; more is a bomb
_OPEN_ARCHIVES = 128  # PadChest has 51, NIH 12
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_MAGIC = b"PK\x03\x04"
_ENCRYPTED = 0x1


def is_archive(name: str) -> bool:
    """Whether a file of this name is an archive whose members can be read one by one."""
    return name.lower().endswith(SUFFIXES)


def is_compressed_archive(name: str) -> bool:
    """Whether it is one that must be unpacked first."""
    return name.lower().endswith(COMPRESSED_SUFFIXES)


@dataclass(frozen=True)
class Member:
    """Where the bytes of a member are. offset: of its data in a tar, of its local header in a zip."""

    offset: int
    stored_bytes: int
    bytes: int
    method: int = zipfile.ZIP_STORED
    crc: int | None = None
    encrypted: bool = False


@dataclass(frozen=True)
class Archive:
    """An archive kept open. `members` by name; `refused`: entries whose names climb out or cannot be written as text."""

    path: Path
    handle: int
    is_zip: bool
    members: dict[str, Member]
    refused: tuple[str, ...]

    def read(self, name: str) -> bytes:
        """The bytes of a member. Raises CxrError CXR-132 where it is missing, damaged, encrypted, or larger than it says."""
        member = self.members.get(name)
        if member is None:
            raise self._broken(name, "there is no such member")
        if member.encrypted:
            raise self._broken(name, "it is encrypted")
        if member.bytes > LARGEST_MEMBER:
            raise self._broken(name, f"it says that it has {member.bytes:,} bytes, which no image has")
        start = member.offset
        if self.is_zip:
            header = os.pread(self.handle, _LOCAL_HEADER.size, start)
            if len(header) < _LOCAL_HEADER.size or not header.startswith(_LOCAL_MAGIC):
                raise self._broken(name, "the archive is damaged where it should begin")
            _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
            start += _LOCAL_HEADER.size + name_bytes + extra_bytes
        content = _read_all(self.handle, start, member.stored_bytes)
        if self.is_zip:
            content = self._inflate(name, member, content)
        if len(content) != member.bytes:
            raise self._broken(name, f"it has {len(content):,} bytes, the archive's list says {member.bytes:,}")
        return content

    def size(self, name: str) -> int:
        """Bytes of a member. Raises CxrError CXR-132 where there is none of this name."""
        if name not in self.members:
            raise self._broken(name, "there is no such member")
        return self.members[name].bytes

    def _inflate(self, name: str, member: Member, content: bytes) -> bytes:
        if member.method == zipfile.ZIP_DEFLATED:
            try:
                # One byte more than is stated, never all that a bomb would give.
                content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, member.bytes + 1)
            except zlib.error as error:
                raise self._broken(name, "its compressed data are damaged") from error
        elif member.method != zipfile.ZIP_STORED:
            raise self._broken(name, f"its compression (method {member.method}) is not supported")
        if len(content) == member.bytes and zlib.crc32(content) != member.crc:
            raise self._broken(name, "its checksum differs")
        return content

    def _broken(self, name: str, problem: str) -> CxrError:
        return broken_member(self.path, name, problem)


def broken_archive(path: Path, problem: str) -> CxrError:
    """CXR-131: nothing of an archive can be used."""
    return CxrError(
        "CXR-131",
        f"the archive cannot be read: {problem}",
        where=str(path),
        fix="get it again; a download may have broken off",
    )


def broken_member(path: Path, name: str, problem: str) -> CxrError:
    """CXR-132: one image of an archive cannot be used."""
    return CxrError(
        "CXR-132",
        f"the archive's member cannot be read: {problem}",
        where=f"{path.name}:{name}",
        fix="get the archive again, or unpack it with another program",
    )


def _read_all(handle: int, start: int, size: int) -> bytes:
    """`size` bytes, or those there are: a read of a network share may return fewer than asked for."""
    parts = []
    while size > 0 and (part := os.pread(handle, min(size, 1 << 26), start)):
        parts.append(part)
        start += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


@lru_cache(maxsize=_OPEN_ARCHIVES)
def open_archive(path: Path) -> Archive:
    """The archive at `path`, opened and listed once in this process.

    Raises CxrError CXR-131 where it is no archive or its list is damaged, OSError where it cannot be read.
    """
    is_zip = path.name.lower().endswith(".zip")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        members: dict[str, Member] = {}
        refused: list[str] = []
        for name, member in _zip_members(path) if is_zip else _tar_members(path):
            if member is None or not is_safe(name):
                refused.append(name)
            else:
                members[name] = member
    except BaseException as error:
        os.close(handle)
        if isinstance(error, zipfile.BadZipFile | tarfile.TarError | zlib.error | EOFError | ValueError | struct.error):
            raise broken_archive(path, str(error)) from error
        raise
    archive = Archive(path, handle, is_zip, members, tuple(refused))
    weakref.finalize(archive, os.close, handle)
    return archive


def is_safe(name: str) -> bool:
    """Whether a member's name stays inside the archive and can be written as UTF-8."""
    parts = name.replace("\\", "/").split("/")
    return not (name.startswith(("/", "\\")) or ".." in parts or "\0" in name or parts[0].endswith(":")) and is_text(
        name
    )


def is_text(name: str) -> bool:
    """Whether a name is valid UTF-8; Python marks bytes that are not by surrogates."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _zip_members(path: Path) -> Iterator[tuple[str, Member | None]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield (
                    info.filename,
                    Member(
                        info.header_offset,
                        info.compress_size,
                        info.file_size,
                        info.compress_type,
                        info.CRC,
                        encrypted=bool(info.flag_bits & _ENCRYPTED),
                    ),
                )


def _tar_members(path: Path) -> Iterator[tuple[str, Member | None]]:
    with tarfile.open(path, "r:") as archive:
        for info in archive:
            if info.isreg() and not info.issparse():
                yield info.name, Member(info.offset_data, info.size, info.size)
            elif not info.isdir():
                yield info.name, None
