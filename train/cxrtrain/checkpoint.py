"""Checkpoints: one safetensors file with all tensors, and the rest as JSON in its header and, to be read, beside it.

One file is replaced in one step, so a checkpoint is whole or the one before. Nothing in it can run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from cxrdata.errors import CxrError
from cxrdata.stages import sync_path, unfinished
from cxrtrain.run_folder import writing

FORMAT = 1
_STATE = "cxrtrain"


@dataclass(frozen=True)
class Checkpoint:
    """`tensors` by name (`model.…`, `optim.0.…`, …) and `facts`, plain data."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under a prefix, without it."""
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}


def save(
    path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], *, header: Mapping[str, str] | None = None
) -> None:
    """Replace the checkpoint at `path` (`.safetensors`). header: what else its header says, for who reads the tensors alone.

    Raises CxrError CXR-602 where it cannot be written; the one before is then still there.
    """
    text = json.dumps({"format": FORMAT, **facts}, sort_keys=True)
    # Tensors that share memory (tied weights) would be refused; clone() also makes them contiguous and the file smaller.
    whole = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    aside, shown = unfinished(path), unfinished(path.with_suffix(".json"))
    fix = "make room; the checkpoint before is whole, and the same command goes on from it"
    with writing(path, fix):
        try:
            save_file(whole, aside, metadata={**(header or {}), _STATE: text})
            shown.write_text(json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n", encoding="utf-8")
            _header_in_order(aside)
            sync_path(aside)
            aside.replace(path)
            shown.replace(path.with_suffix(".json"))
            sync_path(path.parent)
        except SafetensorError as error:
            raise OSError(None, str(error)) from error
        finally:
            aside.unlink(missing_ok=True)
            shown.unlink(missing_ok=True)


def _header_in_order(path: Path) -> None:
    """safetensors writes the facts of a header in an order drawn anew each time; the same checkpoint is the same bytes."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= size
        file.seek(8)
        file.write(text.ljust(size))


def load(path: Path) -> Checkpoint:
    """Raises CxrError CXR-155 where there is none, or it is damaged."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            said = (file.metadata() or {}).get(_STATE)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
        facts = json.loads(said) if said else {}
    except (OSError, SafetensorError, ValueError) as error:
        fix = "name the folder of a run; a damaged checkpoint is replaced by training anew"
        raise CxrError("CXR-155", "there is no whole checkpoint here", where=str(path), fix=fix) from error
    if facts.get("format") != FORMAT:
        problem = f"the checkpoint has format {facts.get('format')!r}, and this cxrdata reads {FORMAT}"
        raise CxrError("CXR-155", problem, where=str(path), fix="train anew, or use the cxrdata that wrote it")
    return Checkpoint(tensors, facts)


def optimiser_tensors(optimiser: Optimizer, prefix: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as tensors and plain data."""
    state = optimiser.state_dict()
    tensors, plain = {}, {}
    for number, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}{number}.{name}"] = value
            elif value is not None:
                plain[f"{number}.{name}"] = value
    groups = [{key: value for key, value in group.items() if key != "params"} for group in state["param_groups"]]
    return tensors, {"plain": plain, "groups": groups}


def restore_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Put an optimiser's state back."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *facts["plain"].items()]:
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = value
    now = optimiser.state_dict()["param_groups"]
    groups = [kept | {"params": group["params"]} for kept, group in zip(facts["groups"], now, strict=True)]
    for group in groups:
        if isinstance(group.get("betas"), list):
            group["betas"] = tuple(group["betas"])
    optimiser.load_state_dict({"state": state, "param_groups": groups})
