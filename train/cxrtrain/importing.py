"""A run made of a checkpoint from elsewhere, which `predict`, `embed` and `--weights run:…` take like one of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from cxrdata.errors import CxrError
from cxrdata.stages import sha256_file
from cxrtrain import checkpoint, run_folder
from cxrtrain.bundle import HeadTargets
from cxrtrain.models.key_layouts import import_checkpoint

IMPORTED = "imported"


def import_run(path: Path, out: Path, *, say: Callable[[str], None] = lambda _: None) -> run_folder.Run:
    """Recognise a checkpoint and write it as the run `out`. Its id follows from the file's bytes.

    Raises CxrError: CXR-101 no such file; CXR-157 of no known layout; CXR-158 damaged, or with code in it; CXR-156, CXR-602
    the folder.
    """
    if not path.is_file():
        raise CxrError("CXR-101", "there is no such file", where=str(path), fix="name a checkpoint")
    found = import_checkpoint(path)
    digest = sha256_file(path)
    run_id = run_folder.run_id(found.experiment, digest, found.layout, None)
    about = {
        "run_id": run_id,
        "state": IMPORTED,
        "experiment": found.experiment.name,
        "source": f"{path.name} of {found.layout}" + (f", epoch {found.epoch}" if found.epoch is not None else ""),
        "checkpoint_sha256": digest,
        "heads": [asdict(head) for head in found.heads],
        "input": {"mean": list(found.mean), "sd": list(found.sd)},
        "notes": list(found.notes),
        "torch": torch.__version__,
    }
    folder = run_folder.begin(out, found.experiment, about)
    facts: dict[str, object] = {"run_id": run_id, "epoch": found.epoch, "metrics": {}}
    checkpoint.save(folder.best, found.net.state_dict(), facts)
    say(f"{path.name} is a checkpoint of {found.layout}: {_heads(found.heads)}")
    for note in found.notes:
        say(note)
    return run_folder.open_run(out)


def _heads(heads: tuple[HeadTargets, ...]) -> str:
    return "; ".join(f"{head.name} ({', '.join(head.outputs)})" for head in heads)
