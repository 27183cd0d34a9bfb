"""Archives that are compressed as a whole (`.tar.gz`), read where they lie and from front to back.

An image of such an archive costs the decompression of all that lies between it and the one that was read before; one that
lies before that, of all from the archive's start. So whoever reads several asks for them together (`read_many`), and at
most one turn back is made for all of them.
"""

from __future__ import annotations

import os
import tarfile
import threading
import weakref
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from cxrdata.errors import CxrError
from cxrdata.images.archives import LARGEST_MEMBER, Member, broken_archive, broken_member, is_safe

SUFFIXES = (".tar.gz", ".tgz")
# How often an archive's names may go back and still be called in order.
MOST_STEPS_BACK = 3
_OPEN_STREAMS = 32  # NIH has 12
_DAMAGED = (tarfile.TarError, zlib.error, EOFError, ValueError)


def is_stream(name: str) -> bool:
    """Whether a file of this name is an archive that is read from front to back."""
    return name.lower().endswith(SUFFIXES)


class Stream:
    """An archive kept open. `members`: those that were met until now, by name; `refused`: entries whose names climb out or
    cannot be written as text, links."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: dict[str, Member] = {}
        self.refused: list[str] = []
        self._lock = threading.Lock()
        self._tar = tarfile.open(path, "r:gz")  # noqa: SIM115 - closed when it falls out of use
        weakref.finalize(self, self._tar.close)

    def read(self, name: str) -> bytes:
        """The bytes of a member. Raises CxrError CXR-132 where it is missing or what lies before it is damaged."""
        with self._lock:
            try:
                member = self._find(name)
                assert self._tar.fileobj is not None
                self._tar.fileobj.seek(member.offset)
                content = self._tar.fileobj.read(member.bytes)
            except (*_DAMAGED, OSError) as error:
                raise broken_member(self.path, name, f"the archive is damaged: {error}") from error
        if len(content) != member.bytes:
            raise broken_member(self.path, name, "the archive ends before it does")
        return content

    def size(self, name: str) -> int:
        """Bytes of a member. Raises as `read` does."""
        with self._lock:
            return self._find(name).bytes

    def list_all(self) -> None:
        """Decompress the archive once, until all its members are known.

        Raises CxrError CXR-131 where it cannot be read to its end."""
        with self._lock:
            try:
                while self._advance():
                    pass
            except _DAMAGED as error:
                raise broken_archive(self.path, str(error)) from error

    @property
    def in_order(self) -> bool:
        """Whether the members, as far as they are known, follow the order of their names, so that reading them by name
        reads the archive once."""
        names = [name.rpartition("/")[2] for name in self.members]
        return sum(after < before for before, after in pairwise(names)) <= MOST_STEPS_BACK

    def read_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | CxrError]]:
        """Members and their bytes, or what `read` raises, in an order that turns back at most once."""
        with self._lock:
            assert self._tar.fileobj is not None
            here = self._tar.fileobj.tell()
        left = set(names)
        known = sorted((self.members[name].offset, name) for name in left if name in self.members)
        yield from ((name, self._tried(name)) for offset, name in known if offset >= here)
        left -= {name for _, name in known}
        while left:
            with self._lock:
                met = len(self.members)
                try:
                    more = self._advance()
                except (*_DAMAGED, OSError):
                    more = False
                name = next(reversed(self.members)) if len(self.members) > met else None
            if not more:
                break
            if name in left:
                left.discard(name)
                yield name, self._tried(name)
        yield from ((name, self._tried(name)) for offset, name in known if offset < here)
        yield from ((name, self._tried(name)) for name in sorted(left))

    def _tried(self, name: str) -> bytes | CxrError:
        try:
            return self.read(name)
        except CxrError as error:
            return error

    def _find(self, name: str) -> Member:
        while name not in self.members:
            if not self._advance():
                raise broken_member(self.path, name, "there is no such member")
        return self.members[name]

    def _advance(self) -> bool:
        """Meet one more member; False at the end."""
        info = self._tar.next()
        if info is None:
            return False
        if info.size > LARGEST_MEMBER:  # to pass over a bomb is to set it off
            message = f"{info.name!a} says that it has {info.size:,} bytes, which no image has"
            raise tarfile.ReadError(message)
        if not info.isdir():
            if info.isreg() and not info.issparse() and is_safe(info.name):
                self.members[info.name] = Member(info.offset_data, info.size, info.size)
            else:
                self.refused.append(info.name)
        return True


def open_stream(path: Path) -> Stream:
    """The archive at `path`, opened once in this process: one that was forked has a place of its own in it.

    Raises CxrError CXR-131 where it is no such archive, OSError where it cannot be read.
    """
    return _open(path, os.getpid())


@lru_cache(maxsize=_OPEN_STREAMS)
def _open(path: Path, _process: int) -> Stream:
    try:
        return Stream(path)
    except _DAMAGED as error:
        raise broken_archive(path, str(error)) from error
