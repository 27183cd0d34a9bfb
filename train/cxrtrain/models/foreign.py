"""Checkpoints from elsewhere: their tensors and containers, read without running any code; `unpickle` has the rules.

Two formats of torch: a zip archive with one record a storage, and, before version 1.6, pickles in a row with the storages
behind them. `torch.load` is not asked: it hands some files on to the reader of TorchScript programs, or to one for a format
of 2016 that unpacks to disk, whatever unpickler it was given.
"""

from __future__ import annotations

import errno
import io
import mmap
import struct
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import Any, Protocol

import torch

from cxrdata.errors import CxrError
from cxrtrain.models.unpickle import Reader, Refused, Storage, Stub, Tensor

_MAGIC = 0x1950A86A20F9469CFC6C
_KINDS = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
_FIX = "take the file from its source once more, or have its author save the state dict as safetensors"


class _Storages(Protocol):
    """Where the numbers are."""

    def bytes_of(self, storage: Storage, size: int) -> bytes:
        """Exactly `size` bytes; raises Refused where the file has another number of them."""
        ...


class Checkpoint:
    """An open checkpoint. content: what the file holds, tensors not read yet; objects of classes are `Stub`s."""

    def __init__(self, content: Any, storages: _Storages, path: Path) -> None:  # noqa: ANN401
        self.content = content
        self.path = path
        self._storages = storages

    def tensor(self, tensor: Tensor) -> torch.Tensor:
        """Read a tensor. Raises CxrError CXR-158 where the file does not hold what it says."""
        with refusing(self.path):
            return _read(tensor, self._storages)

    def state(self) -> dict[str, Tensor]:
        """The tensors of the model in the file, by name, wherever it keeps them. Raises CxrError CXR-158 without any."""
        with refusing(self.path):
            found = _state(self.content)
            if not found:
                raise Refused("no model's tensors are in it")
            return found


@contextmanager
def open_checkpoint(path: Path) -> Iterator[Checkpoint]:
    """Raises CxrError: CXR-158 what is no checkpoint, damaged, or asks for code to be run; CXR-605 not readable."""
    with ExitStack() as stack:
        with refusing(path):
            file = stack.enter_context(path.open("rb"))
            data = stack.enter_context(_mapped(file))
            if data[:4] == b"PK\x03\x04":
                archive = _ZipStorages(stack.enter_context(zipfile.ZipFile(file)), len(data))
                storages: _Storages = archive
                content = Reader(io.BytesIO(archive.record("data.pkl"))).load()
            else:
                content, storages = _read_old(data)
        yield Checkpoint(content, storages, path)


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Whatever a file brings about while it is read, as an error with its name."""
    try:
        yield
    except CxrError:
        raise
    except Refused as error:
        raise CxrError("CXR-158", f"the checkpoint is refused: {error}", where=path.name, fix=_FIX) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that one: a place before the file's beginning
            problem = f"the file cannot be read: {error.strerror or error}"
            raise CxrError("CXR-605", problem, where=path.name, fix="check the path and the rights") from error
        problem = f"the checkpoint is damaged or none ({type(error).__name__}: {error})"
        raise CxrError("CXR-158", problem, where=path.name, fix=_FIX) from error


@contextmanager
def _mapped(file: io.BufferedReader) -> Iterator[mmap.mmap]:
    if not file.read(1):
        raise Refused("it is empty")
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


class _ZipStorages:
    """The records of an archive. Torch stores them as they are: a compressed one, or more bytes than the file has (records
    on top of each other), comes from somewhere else, and nothing is unpacked to find out what."""

    def __init__(self, archive: zipfile.ZipFile, length: int) -> None:
        self._archive = archive
        records = archive.infolist()
        if any(one.compress_type != zipfile.ZIP_STORED or one.compress_size != one.file_size for one in records):
            raise Refused("a record in it is compressed")
        if sum(one.file_size for one in records) > length:
            raise Refused("its records are larger than the file")
        names = {one.filename for one in records}
        if len(names) < len(records):
            raise Refused("two of its records have one name")
        tops = {name.partition("/")[0] for name in names if name.partition("/")[2] == "data.pkl"}
        if len(tops) != 1 or any(name.partition("/")[2] in {"constants.pkl", "version.code"} for name in names):
            raise Refused("it is an archive, but none of a checkpoint; or a TorchScript program")
        self._top = next(iter(tops))
        self._sizes = {one.filename: one.file_size for one in records}
        if f"{self._top}/byteorder" in names and self.record("byteorder") != b"little":
            raise Refused("its numbers are stored with the high byte first")

    def record(self, name: str) -> bytes:
        return self._archive.read(f"{self._top}/{name}")

    def bytes_of(self, storage: Storage, size: int) -> bytes:
        there = self._sizes.get(f"{self._top}/data/{storage.key}")
        if there != size:
            raise Refused(f"storage {storage.key} should have {size:,} bytes and has {there or 0:,}")
        return self.record(f"data/{storage.key}")


class _OldStorages:
    """Storages behind the pickles: by key, where each begins and how many numbers it has."""

    def __init__(self, data: mmap.mmap, places: dict[str, tuple[int, int]]) -> None:
        self._data = data
        self._places = places

    def bytes_of(self, storage: Storage, size: int) -> bytes:
        start, numel = self._places.get(storage.key, (0, -1))
        if numel != storage.numel:
            raise Refused(f"storage {storage.key} should have {storage.numel:,} numbers and has {max(numel, 0):,}")
        taken = self._data[start : start + size]
        if len(taken) != size:
            raise Refused("the file ends before its numbers")
        return taken


def _read_old(data: mmap.mmap) -> tuple[Any, _OldStorages]:
    """Pickles in a row: a number that marks the format, its version, facts of the machine, the content, the storages' keys."""
    if data[:1] != b"\x80":
        raise Refused(_what_else(data[:512]))
    file: Any = data  # reads like a file, and never more than there is
    if Reader(file).load() != _MAGIC:
        raise Refused("it is a pickle, but no checkpoint of torch")
    Reader(file).load()
    Reader(file).load()
    reader = _Noting(file)
    content = reader.load()
    keys = Reader(file).load()
    places: dict[str, tuple[int, int]] = {}
    at = data.tell()
    for key in keys:
        kind = reader.kinds.get(str(key))
        if kind is None or at + 8 > len(data):
            raise Refused("the list of its storages does not fit its content")
        (numel,) = struct.unpack("<q", data[at : at + 8])
        places[str(key)] = (at + 8, numel)
        at += 8 + numel * _dtype(kind).itemsize
        if numel < 0 or at > len(data):
            raise Refused("the file ends before its numbers")
    return content, _OldStorages(data, places)


class _Noting(Reader):
    """A reader that notes of what kind the storages are."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401
        super().__init__(file)
        self.kinds: dict[str, str] = {}

    def persistent_load(self, pid: Any, /) -> Any:  # noqa: ANN401
        made = super().persistent_load(pid)
        if isinstance(made, Storage):
            self.kinds.setdefault(made.key, made.kind)
        return made


def _what_else(start: bytes) -> str:
    """What a file is that is no checkpoint, in words."""
    text = start.lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        return "it is the pointer that git-lfs leaves in place of a file; fetch the file itself with git lfs pull"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page; perhaps one to log in on"
    return "it is no checkpoint of torch"


def _dtype(kind: str) -> torch.dtype:
    if kind not in _KINDS:
        raise Refused(f"it has numbers of the kind {kind}, which is not known here")
    return _KINDS[kind]


def _read(tensor: Tensor, storages: _Storages) -> torch.Tensor:
    storage, dtype = tensor.storage, _dtype(tensor.storage.kind)
    first, numel = storage.view or (0, storage.numel)
    last = tensor.offset + sum((size - 1) * step for size, step in zip(tensor.size, tensor.stride, strict=True))
    count: int = prod(tensor.size)
    if first + numel > storage.numel or (count and last >= numel) or count > numel:
        raise Refused(f"a tensor of {list(tensor.size)} is larger than the storage that it is in")
    if not count:
        return torch.empty(tensor.size, dtype=dtype)
    data = bytearray(storages.bytes_of(storage, storage.numel * dtype.itemsize))
    whole = torch.frombuffer(data, dtype=dtype)
    return torch.as_strided(whole, tensor.size, tensor.stride, first + tensor.offset).contiguous()


_HOLDERS = ("state_dict", "model_state_dict", "model", "network", "net")
_MOST_MODULES = 20_000


def _state(content: Any) -> dict[str, Tensor]:  # noqa: ANN401
    """The tensors of a state dict, of a whole pickled module, or of a checkpoint that holds either."""
    if isinstance(content, Stub):
        return _module_state(content)
    if not isinstance(content, dict):
        return {}
    for holder in _HOLDERS:
        held = content.get(holder)
        found = _module_state(held) if isinstance(held, Stub) else _tensors(held)
        if found:
            return found
    return _tensors(content)


def _tensors(content: Any) -> dict[str, Tensor]:  # noqa: ANN401
    if not isinstance(content, dict):
        return {}
    return {name: one for name, one in content.items() if isinstance(name, str) and isinstance(one, Tensor)}


def _module_state(module: Stub) -> dict[str, Tensor]:
    """What `state_dict()` of a pickled module would give, from the stored attributes."""
    state: dict[str, Tensor] = {}
    waiting, seen = [("", module)], 0
    while waiting:
        prefix, one = waiting.pop()
        seen += 1
        if seen > _MOST_MODULES:  # a module that holds itself has no end
            raise Refused("its modules have no end")
        for holder in ("_parameters", "_buffers"):
            state |= {f"{prefix}{name}": found for name, found in _tensors(one.attribute(holder)).items()}
        children = one.attribute("_modules")
        pairs = reversed(children.items()) if isinstance(children, dict) else ()
        waiting += [(f"{prefix}{name}.", child) for name, child in pairs if isinstance(child, Stub)]
    return state
