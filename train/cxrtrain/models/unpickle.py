"""A reader of pickles that runs nothing: neither what the file asks for nor code of the classes that it names.

Nothing is imported for a name in the file: a name stays a `Name`. What the file would call becomes, for the few functions
that tensors and containers are made of, our own equivalent; an object of a class becomes a `Stub` that records its state;
a call of any other function refuses the file. It is Python's own reader, written in Python, with every instruction that
could call something replaced; the one in C keeps its memory of objects in an array that a file can make of any size.
"""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar


class Refused(Exception):  # noqa: N818 - a finding about the file; the caller makes it an error with its place
    """The file asks for something that is neither a tensor nor a plain container."""


@dataclass(frozen=True)
class Name:
    """A class or function that the file names; never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Stub:
    """An object of some class, as data: what it would have been made of, and its state."""

    of: Name
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    rows: list[Any] = field(default_factory=list)

    def __setitem__(self, key: object, value: object) -> None:
        self.items[key] = value

    def append(self, row: object) -> None:
        self.rows.append(row)

    extend = add = append

    def attribute(self, name: str) -> Any:  # noqa: ANN401
        """Of an object's attributes as they were stored, or null."""
        return self.state.get(name) if isinstance(self.state, dict) else None


@dataclass(frozen=True, eq=False)
class Storage:
    """A row of numbers in the file. view: the first number and how many, of old files' parts of a storage."""

    key: str
    kind: str
    numel: int
    view: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor that is not read yet."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


# Python's own classes that hold data; a call of any other name of the standard library refuses the file.
_DATA_MODULES = {"pathlib", "datetime", "collections", "decimal", "fractions", "uuid", "enum", "argparse"}
_STANDARD = (set(sys.stdlib_module_names) | {"__builtin__", "copy_reg", "commands", "popen2"}) - _DATA_MODULES
_LOWER_CASE_CLASSES = {
    Name("torch", "device"),
    Name("torch", "dtype"),
    Name("torch.serialization", "_get_layout"),
    Name("numpy", "dtype"),
    Name("functools", "partial"),
    *(Name(f"numpy.{core}.multiarray", one) for core in ("core", "_core") for one in ("scalar", "_reconstruct")),
    *(Name("collections", one) for one in ("deque", "defaultdict")),
    *(Name("datetime", one) for one in ("date", "datetime", "time", "timedelta", "timezone")),
}


class Reader(pickle._Unpickler):  # noqa: SLF001
    """Reads one pickle. `load()` raises Refused, or whatever a damaged file brings about."""

    # Python's own, which its type stubs do not tell of.
    stack: list[Any]
    append: Callable[[Any], None]
    readline: Callable[[], bytes]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin1", errors="replace")

    def find_class(self, module: str, name: str, /) -> Any:  # noqa: ANN401
        return Name(str(module), str(name))

    def persistent_load(self, pid: Any, /) -> Any:  # noqa: ANN401
        if not isinstance(pid, tuple) or not pid:
            raise Refused("it refers to something outside that is no storage")
        if pid[0] == "module":  # old files: a class and the text of its source
            return pid[1]
        kind, numel = pid[1], pid[4]
        if pid[0] != "storage" or not isinstance(kind, Name) or kind.module.partition(".")[0] != "torch":
            raise Refused("it refers to something outside that is no storage")
        view = pid[5] if len(pid) > 5 else None
        if not _whole(numel) or (view is not None and not _whole(*view[1:])):
            raise Refused("a storage has no size")
        return Storage(str(pid[2]), kind.name, numel, None if view is None else (view[1], view[2]))

    def _call(self, what: object, arguments: object) -> Any:  # noqa: ANN401
        """What the file wants called, as data."""
        if not isinstance(what, Name) or not isinstance(arguments, tuple):
            raise Refused("it calls something that it made itself")
        if what.name in {"_rebuild_from_type_v2", "__newobj__"}:
            return self._call_for(what, arguments)
        made = _CONSTRUCTORS.get(what)
        if made is not None:
            return made(*arguments)
        if not _is_data(what):
            raise Refused(f"it calls {what}")
        return Stub(what, arguments)

    def _call_for(self, what: Name, arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
        """A call of something that is to call something else."""
        if what.name == "__newobj__" and what.module in {"copyreg", "copy_reg"}:
            return _new(arguments[0], tuple(arguments[1:]))
        if what.module.partition(".")[0] == "torch":
            return self._call(arguments[0], arguments[2])
        raise Refused(f"it calls {what}")

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def _newobj(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = _new(self.stack[-1], arguments)

    def _newobj_ex(self) -> None:
        keywords = self.stack.pop()
        arguments = self.stack.pop()
        self.stack[-1] = _new(self.stack[-1], (*arguments, keywords) if keywords else arguments)

    def _inst(self) -> None:
        module, name = (self.readline()[:-1].decode("ascii") for _ in range(2))
        arguments = tuple(self.pop_mark())
        self.append(self._call(Name(module, name), arguments))

    def _obj(self) -> None:
        what, *arguments = self.pop_mark()
        self.append(self._call(what, tuple(arguments)))

    def _build(self) -> None:
        state = self.stack.pop()
        built = self.stack[-1]
        if isinstance(built, Stub):
            built.state = state
        elif not isinstance(built, OrderedDict | Tensor):  # theirs are attributes beside the data
            raise Refused(f"it changes {built}" if isinstance(built, Name) else "it changes what has no state")

    def _extension(self) -> None:
        raise Refused("it names an object of a table that is not in the file")

    def _bytearray(self) -> None:
        raise Refused("it holds a byte array, whose room is taken before its content is seen")

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,  # noqa: SLF001
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _newobj,
        pickle.NEWOBJ_EX[0]: _newobj_ex,
        pickle.INST[0]: _inst,
        pickle.OBJ[0]: _obj,
        pickle.BUILD[0]: _build,
        pickle.BYTEARRAY8[0]: _bytearray,
        pickle.EXT1[0]: _extension,
        pickle.EXT2[0]: _extension,
        pickle.EXT4[0]: _extension,
    }


def _is_data(what: Name) -> bool:
    """Whether a name that is called is, as far as one can tell, a class: then nothing but its arguments is lost."""
    if what in _LOWER_CASE_CLASSES:
        return True
    last = what.name.rpartition(".")[2].lstrip("_")
    return what.module.partition(".")[0] not in _STANDARD and last[:1].isupper()


def _new(what: object, arguments: object) -> Any:  # noqa: ANN401
    """An object of a class, before its state."""
    if not isinstance(what, Name) or not isinstance(arguments, tuple):
        raise Refused("it makes objects of something that is no class")
    if what == _ORDERED:
        return OrderedDict()
    if what.name == "Parameter" and arguments and isinstance(arguments[0], Tensor):
        return arguments[0]
    if what.module.partition(".")[0] in _STANDARD and what not in _LOWER_CASE_CLASSES:
        raise Refused(f"it makes a {what}")
    return Stub(what, arguments)


def _whole(*numbers: object) -> bool:
    return all(isinstance(one, int) and one >= 0 for one in numbers)


def _tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> Tensor:
    if not isinstance(storage, Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise Refused("a tensor has no storage or no size")
    if not isinstance(offset, int) or not _whole(offset, *size, *stride) or len(size) != len(stride):
        raise Refused("a tensor has a size that cannot be")
    return Tensor(storage, offset, size, stride)


def _parameter(data: object, *_: object) -> Any:  # noqa: ANN401
    return data


def _bytes(text: object, encoding: object = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in {"latin1", "utf-8", "ascii"}:
        raise Refused("it encodes what is no text")
    return text.encode(str(encoding))


def _container(kind: Callable[..., Any]) -> Callable[..., Any]:
    def made(*arguments: Any) -> Any:  # noqa: ANN401
        if not all(isinstance(one, list | tuple | set | frozenset | dict) for one in arguments):
            raise Refused(f"a {kind.__name__} is made of something else than a container")
        return kind(*arguments)

    return made


def _object(cls: object, *_: object) -> Stub:
    return _stub_of(cls)


def _stub_of(cls: object) -> Stub:
    made = _new(cls, ())
    if not isinstance(made, Stub):
        raise Refused("it makes objects of something that is no class")
    return made


_ORDERED = Name("collections", "OrderedDict")
_CONSTRUCTORS: dict[Name, Callable[..., Any]] = {
    _ORDERED: _container(OrderedDict),
    Name("torch._utils", "_rebuild_tensor"): _tensor,
    Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
    Name("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    Name("torch.nn.parameter", "Parameter"): _parameter,
    Name("torch", "Size"): _container(tuple),
    Name("_codecs", "encode"): _bytes,
    **{Name(module, "_reconstructor"): _object for module in ("copyreg", "copy_reg")},
    **{
        Name(module, kind.__name__): _container(kind)
        for module in ("builtins", "__builtin__")
        for kind in (set, frozenset, list, tuple, dict)
    },
}
