"""A run as it lies on the disk.

    RUN/config.toml                   the experiment as it was run, whole
    RUN/bundle/                       the bundle, where the run made it
    RUN/run.json                      run_id, state, bundle, store, where it stands
    RUN/steps.csv, RUN/epochs.csv     what was measured on the way; RUN/tensorboard/ the same
    RUN/checkpoints/last.safetensors  where it goes on from: model, optimiser, averages
    RUN/checkpoints/best.safetensors  the model of the best epoch: what `predict` takes

`run_id` follows from the experiment, the rows of the bundle and the images of the store: the same run has the same id.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxrdata.errors import CxrError
from cxrdata.stages import make_private, remove_unfinished, unfinished
from cxrdata.store.publish import holding
from cxrtrain.bundle import HeadTargets, heads_of
from cxrtrain.config import Experiment
from cxrtrain.config_file import experiment_of, to_toml

FORMAT = 1
BUNDLE = "bundle"
STATES = ("running", "stopped", "finished", "imported")  # as run.json says; see `state_of`


@dataclass(frozen=True)
class RunFolder:
    """Where things lie in a run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def about(self) -> Path:
        return self.path / "run.json"

    @property
    def last(self) -> Path:
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def lock(self) -> Path:
        return self.path / "checkpoints" / "lock"

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / "best.safetensors"


@dataclass(frozen=True)
class Run:
    """An opened run. `about`: what run.json says."""

    folder: RunFolder
    experiment: Experiment
    about: dict[str, Any] = field(repr=False)

    @property
    def run_id(self) -> str:
        return str(self.about["run_id"])

    @property
    def heads(self) -> tuple[HeadTargets, ...]:
        return heads_of(self.about)


def run_id(experiment: Experiment, bundle: str, store: str, fold: tuple[int, int] | None) -> str:
    """12 hexadecimal digits; bundle, store: their digests."""
    text = "\n".join([str(FORMAT), to_toml(experiment), bundle, store, str(fold)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def open_run(path: Path) -> Run:
    """Raises CxrError CXR-155 where there is none, or it is damaged."""
    folder = RunFolder(path)
    try:
        about = json.loads(folder.about.read_text(encoding="utf-8"))
        content = tomllib.loads(folder.config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fix = "name the folder that `cxrdata train --out` wrote; `cxrdata runs list DIR` shows those below a folder"
        raise CxrError("CXR-155", "there is no run here", where=str(path), fix=fix) from error
    if about.get("format") != FORMAT:
        problem = f"the run has format {about.get('format')!r}, and this cxrdata reads {FORMAT}"
        raise CxrError("CXR-155", problem, where=str(path), fix="use the cxrdata that wrote it")
    return Run(folder, experiment_of(content, where=folder.config.name), about)


@contextmanager
def writing(path: Path, fix: str = "make room, or name a folder that can be made and written to") -> Iterator[None]:
    """What the system says against writing, as CxrError CXR-602."""
    try:
        yield
    except OSError as error:
        problem = f"cannot write: {error.strerror or error}"
        raise CxrError("CXR-602", problem, where=str(path), fix=fix) from error


@contextmanager
def held(folder: RunFolder) -> Iterator[None]:
    """Hold a run while it is trained; the lock dies with the process. Raises CxrError CXR-603 where another process does."""
    with ExitStack() as stack:
        try:
            stack.enter_context(holding(folder.lock, folder.path, what="run", told=str(folder.path)))
        except CxrError as error:
            if error.code == "CXR-603":
                error.problem = "another process is training this run"
            raise
        yield


def is_held(folder: RunFolder) -> bool:
    """Whether a process trains the run now."""
    try:
        with folder.lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is no lock, or the share has none
        return False
    return False


def state_of(run: Run) -> str:
    """What run.json says; of a run that says it is running and that nobody trains, `interrupted`."""
    said = str(run.about["state"])
    return "interrupted" if said == "running" and not is_held(run.folder) else said


def write_about(folder: RunFolder, about: dict[str, Any]) -> None:
    """Replace run.json in one step. Raises CxrError CXR-602."""
    aside = unfinished(folder.about)
    with writing(folder.about):
        try:
            text = json.dumps({"format": FORMAT, **about}, indent=1, sort_keys=True) + "\n"
            aside.write_text(text, encoding="utf-8")
            aside.replace(folder.about)
        finally:
            aside.unlink(missing_ok=True)


def is_free(folder: RunFolder) -> bool:
    """Whether a folder may become a run's: there is none, it is empty, or what began there ended before its first step."""
    if not folder.path.exists():
        return True
    if not folder.path.is_dir():
        return False
    if folder.about.is_file():
        about = open_run(folder.path).about
        return about["state"] == "stopped" and not about.get("steps") and not folder.last.exists()
    remove_unfinished(folder.path)
    begun = {BUNDLE, folder.config.name, folder.last.parent.name}
    return all(one.name in begun for one in folder.path.iterdir()) and not folder.last.exists()


def begin(path: Path, experiment: Experiment, about: dict[str, Any]) -> RunFolder:
    """Make a run's folder, or find that it holds this run, or one that was stopped before its first step and left nothing.

    Raises CxrError: CXR-156 where it holds something else, CXR-602 where it cannot be written.
    """
    folder = RunFolder(path)
    if folder.about.is_file():
        there = open_run(path)
        if there.run_id == about["run_id"]:
            remove_unfinished(path)
            remove_unfinished(folder.last.parent)
            return folder
        if not is_free(folder):
            raise CxrError(
                "CXR-156",
                f"the folder holds the run {there.run_id} of {there.experiment.name}, not this one ({about['run_id']})",
                where=str(path),
                fix="name another folder with --out; nothing here was changed",
            )
    elif not is_free(folder):
        raise CxrError(
            "CXR-156", "the folder holds files that are no run's", where=str(path), fix="name an empty folder"
        )
    with writing(path):
        make_private(folder.last.parent)
        folder.config.write_text(to_toml(experiment), encoding="utf-8")
        write_about(folder, about)
    return folder
