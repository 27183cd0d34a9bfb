"""What was trained: the runs below a folder, one of them told at length, and runs made of foreign checkpoints."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxrdata.errors import CxrError
from cxrtrain.records import EPOCHS
from cxrtrain.run_folder import Run, RunFolder, open_run, state_of

# One row a run: column -> what it is, as polars calls it.
COLUMNS = {
    "run_id": "String",
    "experiment": "String",
    "split": "String",
    "fold": "String",
    "state": "String",
    "epochs": "Int64",
    "of_epochs": "Int64",
    "steps": "Int64",
    "best_epoch": "Int64",
    "best_loss": "Float64",
    "metrics": "String",
    "folder": "String",
}
DAMAGED = "damaged"
_LAST_EPOCHS = 5
_NEVER_BELOW = ("checkpoints", "tensorboard", "bundle")


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """The runs in and below a folder, sorted by path: a value for each of `COLUMNS`, null where there is none.

    A folder whose run cannot be read is listed too, as `damaged`. Raises CxrError CXR-101 where there is no such folder.
    """
    if not folder.is_dir():
        fix = "name the folder that holds the runs; `cxrdata train` makes ./runs"
        raise CxrError("CXR-101", "there is no such folder", where=str(folder), fix=fix)
    return [_row(found) for found in sorted(_folders(folder))]


def _folders(folder: Path) -> Iterator[Path]:
    """Folders that hold a run.json; a run's own are not looked into."""
    for at, below, files in os.walk(folder):
        if RunFolder(Path(at)).about.name in files:
            yield Path(at)
            below[:] = [name for name in below if name not in _NEVER_BELOW]


def _row(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"folder": str(path)}
    try:
        run = open_run(path)
        return row | _facts(run)
    except (CxrError, KeyError, TypeError):
        return row | {"state": DAMAGED}


def _facts(run: Run) -> dict[str, Any]:
    about = run.about
    return {
        "run_id": run.run_id,
        "experiment": run.experiment.name,
        "split": _split_name(about),
        "fold": f"{about['fold'][0] + 1}/{about['fold'][1]}" if about.get("fold") else None,
        "state": state_of(run),
        "epochs": about.get("epochs"),
        "of_epochs": run.experiment.loop.epochs if about["state"] != "imported" else None,
        "steps": about.get("steps"),
        "best_epoch": about.get("best_epoch") or None,
        "best_loss": about.get("best_loss"),
        "metrics": ", ".join(f"{name} {value:.4g}" for name, value in metrics_of(run).items()) or None,
    }


def _split_name(about: dict[str, Any]) -> str | None:
    said = about.get("split")
    return str(said["name"]) if isinstance(said, dict) else None if said is None else str(said)


def metrics_of(run: Run) -> dict[str, float]:
    """What the best epoch was judged to be on the validation part; empty before the first."""
    beside = run.folder.best.with_suffix(".json")
    try:
        metrics = json.loads(beside.read_text(encoding="utf-8"))["metrics"]
        return {str(name): float(value) for name, value in metrics.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}


def told(run: Run) -> str:
    """A run at length: what it is, where it stands, its last epochs, and its whole experiment as TOML."""
    about, facts = run.about, _facts(run)
    images = about.get("images") or {}
    lines = {
        "run": run.run_id,
        "experiment": run.experiment.name,
        "title": run.experiment.title,
        "state": _state(run),
        "split": " ".join(filter(None, (facts["split"], f"fold {facts['fold']}" if facts["fold"] else ""))),
        "catalog": about.get("catalog_build"),
        "images": ", ".join(f"{name} {n:,}" for name, n in images.items()),
        "heads": "; ".join(f"{head.name}: {', '.join(head.outputs)}" for head in run.heads),
        "best": facts["metrics"],
        "source": about.get("source"),
        "notes": "; ".join(about.get("notes") or ()),
        "made with": " ".join(filter(None, (_torch(about), about.get("device")))),
    }
    width = max(map(len, lines))
    head = [f"{name.ljust(width)}  {text}" for name, text in lines.items() if text]
    parts = ["\n".join(head), _epochs(run), run.folder.config.read_text(encoding="utf-8").rstrip()]
    return "\n\n".join(filter(None, parts)) + "\n"


def _torch(about: dict[str, Any]) -> str:
    return f"torch {about['torch']}" if about.get("torch") else ""


def _state(run: Run) -> str:
    """`running, 3 of 20 epochs, 1,200 steps; best epoch 2, loss 0.31`."""
    facts = _facts(run)
    if facts["epochs"] is None:
        return str(facts["state"])
    text = f"{facts['state']}, {facts['epochs']} of {facts['of_epochs']} epochs, {facts['steps']:,} steps"
    if facts["best_loss"] is not None:
        text += f"; best epoch {facts['best_epoch']}, validation loss {facts['best_loss']:.4g}"
    return text


def _epochs(run: Run) -> str:
    """The last lines of epochs.csv, in columns."""
    try:
        with (run.folder.path / EPOCHS).open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file))
    except (OSError, ValueError):
        return ""
    shown = [header, *([_short(cell) for cell in row] for row in rows[-_LAST_EPOCHS:])]
    widths = [max(len(row[at]) for row in shown if at < len(row)) for at in range(len(header))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=False)) for row in shown]
    return "\n".join(lines) if rows else ""


def _short(cell: str) -> str:
    try:
        return f"{float(cell):.4g}" if not cell.isdecimal() else cell
    except ValueError:
        return cell
