"""Where GeZO stands, on the disk: a checkpoint it goes on from to the bit, and its trace as a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, astuple, fields
from pathlib import Path

import torch

from cxrdata.errors import CxrError
from cxrdata.stages import unfinished
from cxrtrain import checkpoint
from cxrtrain.dne.gezo import Settings, State, Step
from cxrtrain.run_folder import writing

_MAY_GROW = ("steps", "budget", "every")  # what a state says nothing of


def save_state(path: Path, state: State, settings: Settings) -> None:
    """Replace the state at `path` (`.safetensors`) in one step. Raises CxrError CXR-602."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"values": torch.from_numpy(state.values), "velocity": torch.from_numpy(state.velocity)}
    facts = {
        "settings": _lasting(settings),
        "scale": state.scale,
        "random": state.random,
        "step": state.step,
        "queries": state.queries,
        "trace": [astuple(step) for step in state.trace],
    }
    checkpoint.save(path, tensors, facts)


def load_state(path: Path, settings: Settings) -> State | None:
    """The state to go on from; None where there is none yet.

    Raises CxrError: CXR-155 damaged, CXR-156 it was reached with other settings.
    """
    if not path.exists():
        return None
    found = checkpoint.load(path)
    facts = found.facts
    if "random" not in facts:
        raise CxrError("CXR-155", "this is no state of GeZO", where=str(path), fix="name another folder")
    now, then = _lasting(settings), facts["settings"]
    if changed := [name for name, value in now.items() if then.get(name) != value]:
        told = ", ".join(f"{name} {then.get(name)}, not {now[name]}" for name in changed)
        fix = "ask for the same, or begin anew in another folder; steps and budget may grow"
        raise CxrError("CXR-156", f"GeZO was begun here with other settings: {told}", where=str(path), fix=fix)
    return State(
        found.tensors["values"].numpy(),
        found.tensors["velocity"].numpy(),
        facts["scale"],
        facts["random"],
        facts["step"],
        facts["queries"],
        tuple(Step(*one) for one in facts["trace"]),
    )


def write_trace(path: Path, trace: Sequence[Step]) -> None:
    """A CSV of a row a step: step, before, loss, accepted, extrapolated, scale, queries. Raises CxrError CXR-602."""
    aside = unfinished(path)
    with writing(path):
        try:
            with aside.open("w", encoding="utf-8", newline="") as file:
                rows = csv.writer(file, lineterminator="\n")
                rows.writerow(field.name for field in fields(Step))
                rows.writerows(
                    [str(value).lower() if isinstance(value, bool) else value for value in astuple(one)]
                    for one in trace
                )
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def _lasting(settings: Settings) -> dict[str, object]:
    return {name: value for name, value in asdict(settings).items() if name not in _MAY_GROW}
