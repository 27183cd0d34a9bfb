"""Foreign checkpoints: tensors come out as they went in, hostile files come to nothing, and nothing of theirs is run."""

from __future__ import annotations

import argparse
import builtins
import io
import os
import pathlib
import pickle
import re
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from cxrtrain.models.foreign import open_checkpoint
from cxrtrain.models.unpickle import Name, Reader, Refused, Stub
from torch import nn

from cxrdata.errors import CxrError

ZIP, OLD = "zip", "before 1.6"
BOTH = pytest.mark.parametrize("form", [ZIP, OLD])


def saved(path: Path, content: Any, form: str) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=form == ZIP)
    return path


def tensors(path: Path) -> dict[str, torch.Tensor]:
    with open_checkpoint(path) as checkpoint:
        return {name: checkpoint.tensor(one) for name, one in checkpoint.state().items()}


def refused(path: Path) -> CxrError:
    with pytest.raises(CxrError) as caught:
        tensors(path)
    assert caught.value.code == "CXR-158"
    assert caught.value.where == path.name
    return caught.value


def code_of(path: Path) -> str | None:
    """The code of the error that a file ends in; null for one that is read."""
    try:
        tensors(path)
    except CxrError as error:
        return error.code
    return None


def a_module() -> nn.Module:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    return nn.DataParallel(nn.Sequential(OrderedDict(body=inner, top=nn.Linear(16, 2))))


@BOTH
def test_tensors_of_every_kind_come_out_as_they_went_in(tmp_path: Path, form: str) -> None:
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    kinds = (
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
    )
    state: dict[str, Any] = {str(kind): torch.arange(-3, 9).to(kind).reshape(3, 4) for kind in kinds}
    state |= {
        "bool": torch.tensor([True, False]),
        "part": whole[1:3, 2:5],
        "turned": whole.T,
        "empty": torch.zeros(0, 3),
    }
    state |= {"scalar": torch.tensor(7), "parameter": nn.Parameter(torch.ones(2)), "shared": whole}
    came = tensors(saved(tmp_path / "x.pth", OrderedDict(state), form))
    assert list(came) == list(state)
    for name, tensor in state.items():
        assert came[name].dtype == tensor.dtype and torch.equal(came[name], tensor), name


@BOTH
def test_a_pickled_module_is_read_without_its_classes(tmp_path: Path, form: str) -> None:
    module = a_module()
    path = saved(tmp_path / "checkpoint", {"model": module, "epoch": 3, "rng_state": torch.get_rng_state()}, form)
    came = tensors(path)
    assert list(came) == list(module.state_dict())
    assert all(torch.equal(came[name], one) for name, one in module.state_dict().items())
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.content["epoch"] == 3
        assert isinstance(checkpoint.content["model"], Stub)
        assert checkpoint.content["model"].of == Name("torch.nn.parallel.data_parallel", "DataParallel")


@BOTH
def test_what_stands_beside_the_tensors_is_data(tmp_path: Path, form: str) -> None:
    """Lightning keeps hyper-parameters, callbacks and optimisers; none of their classes need be installed."""
    state = {"w": torch.ones(3)}
    hyper = argparse.Namespace(lr=0.1, folder=pathlib.PurePosixPath("a/b"))
    optimiser = torch.optim.Adam([nn.Parameter(torch.ones(2))]).state_dict()
    content = {"state_dict": state, "hyper_parameters": hyper, "optimizer_states": [optimiser], "kinds": {1, (2, 3)}}
    content |= {"callbacks": {_module_class("Watch"): {"best": 0.5}}, "device": torch.device("cpu")}
    path = saved(tmp_path / "x.ckpt", content, form)
    with open_checkpoint(path) as checkpoint:
        held = checkpoint.content
        assert held["hyper_parameters"].of == Name("argparse", "Namespace")
        assert held["hyper_parameters"].attribute("lr") == 0.1
        assert held["hyper_parameters"].attribute("folder").arguments == ("a", "b")
        assert held["kinds"] == {1, (2, 3)}
        assert held["optimizer_states"][0]["param_groups"][0]["lr"] == 0.001
        assert list(held["callbacks"]) == [Name("strangers", "Watch")]
        assert torch.equal(checkpoint.tensor(checkpoint.state()["w"]), state["w"])


# --- hostile files ---------------------------------------------------------------------------------------------------

MARKER = "marker"


def _module_class(name: str, **members: Any) -> type:
    """A class in a module of its own, so that it pickles by a name that others may lack."""
    module = sys.modules.setdefault("strangers", types.ModuleType("strangers"))
    made = type(name, (), {"__module__": "strangers", "__qualname__": name, **members})
    setattr(module, name, made)
    return made


class Calls:
    """Pickles as a call."""

    def __init__(self, what: Any, *arguments: Any) -> None:
        self.call = (what, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def _write_marker(path: str) -> None:
    Path(path).touch()


class WritesWhenBuilt:
    def __setstate__(self, state: dict[str, str]) -> None:
        _write_marker(state["path"])


@BOTH
@pytest.mark.parametrize(
    "evil",
    [
        lambda path: Calls(os.system, f"touch {path}"),
        lambda path: Calls(builtins.eval, f"open({path!r}, 'w')"),
        lambda path: Calls(builtins.exec, f"open({path!r}, 'w')"),
        lambda path: Calls(builtins.open, path, "w"),
        lambda path: Calls(os.makedirs, path),
        lambda path: Calls(builtins.getattr, os, "system"),
        lambda path: Calls(torch.load, path),
        lambda path: Calls(_write_marker, path),
        lambda path: {"deep": [({"deeper": Calls(os.system, f"touch {path}")},)]},
    ],
    ids=["system", "eval", "exec", "open", "makedirs", "getattr", "torch.load", "function", "deep"],
)
def test_a_file_that_calls_functions_is_refused_and_nothing_runs(tmp_path: Path, evil: Any, form: str) -> None:
    marker = tmp_path / MARKER
    try:
        path = saved(tmp_path / "x.pth", {"state_dict": {"w": torch.ones(2)}, "other": evil(str(marker))}, form)
    except (pickle.PicklingError, TypeError):  # modules do not pickle: write the name by hand
        path = tmp_path / "x.pth"
        path.write_bytes(b"\x80\x02cposix\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.")
    assert "calls" in refused(path).problem or path.read_bytes()[:4] == b"\x80\x02cp"
    assert not marker.exists()


@BOTH
def test_code_of_a_named_class_is_not_run(tmp_path: Path, form: str) -> None:
    """`__setstate__` of a module in the file, which this very process could import."""
    evil, marker = WritesWhenBuilt(), tmp_path / MARKER
    evil.path = str(marker)  # type: ignore[attr-defined]
    module = a_module()
    module.module.top.hook = evil  # type: ignore[union-attr]
    path = saved(tmp_path / "x.pth", {"model": module}, form)
    assert len(tensors(path)) == 9
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # as anyone's would be that loads it otherwise


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (b"\x80\x02(S'touch %s'\niposix\nsystem\n.", "calls posix.system"),  # INST
        (b"\x80\x02(cposix\nsystem\nS'touch %s'\no.", "calls posix.system"),  # OBJ
        (b"\x80\x02csubprocess\nPopen\n(S'touch %s'\nt\x81.", "makes a subprocess.Popen"),  # NEWOBJ
        (b"\x80\x04csubprocess\nPopen\n(S'touch %s'\nt}\x92.", "makes a subprocess.Popen"),  # NEWOBJ_EX
        (b"\x80\x02c__builtin__\nlist\n}S'append'\ncposix\nsystem\nsb.", "changes __builtin__.list"),  # BUILD
        (b"\x80\x02ccopyreg\n__newobj__\n(csubprocess\nPopen\nS'touch %s'\ntR.", "makes a subprocess.Popen"),
        (b"\x80\x02ctorch._utils\n_rebuild_from_type_v2\n(cposix\nsystem\nN(S'touch %s'\ntNtR.", "calls posix.system"),
        (b"\x80\x02c__builtin__\nlist\n(]tR(tR.", "made itself"),
        (b"\x80\x02\x82\x01.", "a table that is not in the file"),  # EXT1
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x00.", "byte array"),  # 72 PB of zeros
    ],
)
def test_every_instruction_that_could_call_is_ours(tmp_path: Path, what: bytes, said: str) -> None:
    marker = tmp_path / MARKER
    stream = what.replace(b"%s", str(marker).encode())
    with pytest.raises(Refused, match=said):
        Reader(io.BytesIO(stream)).load()
    assert not marker.exists()
    plain = tmp_path / "x.pth"
    plain.write_bytes(stream)
    refused(plain)


def rewritten(path: Path, change: Any, **record: Any) -> Path:
    """The archive with each record as `change(name, data)` has it; null leaves one out."""
    with zipfile.ZipFile(path) as archive:
        records = [(one.filename, archive.read(one)) for one in archive.infolist()]
    made = path.with_name("changed.pth")
    with zipfile.ZipFile(made, "w", **record) as archive:
        for name, data in records:
            changed = change(name, data)
            if changed is not None:
                archive.writestr(name, changed)
    return made


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return saved(tmp_path / "x.pth", {"state_dict": {"w": torch.arange(64.0), "b": torch.ones(3)}}, ZIP)


def test_an_untouched_copy_of_the_archive_is_read(archive: Path) -> None:
    assert torch.equal(tensors(rewritten(archive, lambda _, data: data))["w"], torch.arange(64.0))


@pytest.mark.parametrize("count", [63, 65, 1 << 40])
def test_a_storage_of_another_size_than_its_record_is_refused(archive: Path, count: int) -> None:
    """`w` has 64 numbers; its persistent id ends in that number, a tuple, and BINPERSID."""
    written = b"K" + bytes([count]) if count < 256 else b"\x8a\x08" + struct.pack("<q", count)

    def change(name: str, data: bytes) -> bytes:
        return re.sub(rb"K\x40(q.)?tq", lambda _: written + b"tq", data, count=1) if name.endswith("data.pkl") else data

    changed = rewritten(archive, change)
    with zipfile.ZipFile(changed) as made:
        assert written + b"tq" in made.read(next(one for one in made.namelist() if one.endswith("data.pkl")))
    said = r"storage 0 should have [\d,]+ bytes and has 256" if count > 64 else "larger than the storage"
    assert re.search(said, refused(changed).problem)


@pytest.mark.parametrize("count", [0, 63, 65, -1, 1 << 60])
def test_a_storage_behind_old_pickles_that_lies_is_refused(tmp_path: Path, count: int) -> None:
    """Eight bytes before its numbers say how many there are."""
    path = saved(tmp_path / "x.pth", {"state_dict": {"w": torch.arange(64.0)}}, OLD)
    data = path.read_bytes()
    assert data[-264:-256] == struct.pack("<q", 64)
    path.write_bytes(data[:-264] + struct.pack("<q", count) + data[-256:])
    assert "storage" in refused(path).problem or "ends before" in refused(path).problem


def test_a_record_that_is_missing_is_refused(archive: Path) -> None:
    changed = rewritten(archive, lambda name, data: None if name.endswith("data/0") else data)
    assert "should have 256 bytes and has 0" in refused(changed).problem


def test_a_compressed_record_is_refused_before_it_is_unpacked(archive: Path) -> None:
    bomb = rewritten(
        archive,
        lambda name, data: bytes(50_000_000) if name.endswith("data/0") else data,
        compression=zipfile.ZIP_DEFLATED,
    )
    assert bomb.stat().st_size < 100_000
    assert "compressed" in refused(bomb).problem


def test_records_on_top_of_each_other_are_refused(archive: Path) -> None:
    """A thousand names for the same bytes of the file: small on disk, large in memory."""
    with zipfile.ZipFile(archive) as opened:
        top = opened.namelist()[0].partition("/")[0]
        pickled = opened.read(f"{top}/data.pkl")
    made = archive.with_name("overlap.pth")
    with zipfile.ZipFile(made, "w") as opened:
        opened.writestr(f"{top}/data.pkl", pickled)
        opened.writestr(f"{top}/data/0", bytes(100_000))
        first = opened.infolist()[-1]
        for number in range(1, 1000):
            again = zipfile.ZipInfo(f"{top}/data/{number}")
            again.header_offset, again.file_size = first.header_offset, first.file_size
            again.compress_size, again.CRC = first.compress_size, first.CRC
            opened.filelist.append(again)
        opened._didModify = True  # type: ignore[attr-defined]
    assert "larger than the file" in refused(made).problem


@BOTH
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, form: str) -> None:
    whole = saved(tmp_path / "x.pth", {"state_dict": {"w": torch.arange(64.0), "b": torch.ones(3)}}, form).read_bytes()
    short = tmp_path / "short.pth"
    for end in range(0, len(whole) - 1, max(1, len(whole) // 60)):
        short.write_bytes(whole[:end])
        refused(short)


@BOTH
def test_flipped_bytes_never_raise_anything_else(tmp_path: Path, form: str) -> None:
    whole = saved(tmp_path / "x.pth", {"model": a_module()}, form).read_bytes()
    changed, codes = tmp_path / "changed.pth", set[str | None]()
    for at in range(0, len(whole), max(1, len(whole) // 150)):
        changed.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        codes.add(code_of(changed))
    assert codes == {None, "CXR-158"}  # some bytes are numbers, which may be any


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    """`torch.load` would hand it on to the reader of programs, whatever unpickler it was given."""
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as made:
        for name in ("x/data.pkl", "x/constants.pkl", "x/code/__torch__.py", "x/version"):
            made.writestr(name, b"\x80\x02}.")
    assert "TorchScript" in refused(path).problem


def test_a_module_that_holds_itself_has_an_end(tmp_path: Path) -> None:
    module = nn.Module()
    module._modules["again"] = module
    assert "no end" in refused(saved(tmp_path / "x.pth", {"model": module}, ZIP)).problem


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"epoch,loss\n1,2\n", "no checkpoint of torch"),
        (pickle.dumps({"w": 1}), "no checkpoint of torch"),
        (b"PK\x03\x04" + bytes(40), "damaged"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    assert said in refused(path).problem


def test_a_checkpoint_without_a_model_is_refused(tmp_path: Path) -> None:
    assert "no model's tensors" in refused(saved(tmp_path / "x.pth", {"epoch": 1}, ZIP)).problem


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CxrError) as caught, open_checkpoint(tmp_path / "none.pth"):
        pass
    assert caught.value.code == "CXR-605"
