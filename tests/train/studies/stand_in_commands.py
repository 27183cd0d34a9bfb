"""Commands that stand in for ours in a study's plan: what was asked is noted, and files are left where they would be."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from cxrtrain.studies.stages import Plan

Leaves = Callable[[tuple[str, ...], Path], None]
# Modules of the shared machinery that run commands.
_RUN_BY = ("cxrtrain.studies.data", "cxrtrain.studies.models")


class Commands:
    """leaves: by command, what writes at `--out` what the command would; for the rest that have one, an empty folder."""

    def __init__(self, leaves: dict[str, Leaves] | None = None) -> None:
        self.leaves = {"train": self._train, **(leaves or {})}
        self.said: list[tuple[str, ...]] = []
        self.stops_at: str | None = None
        self.epochs: dict[str, int] = {}

    def __call__(self, name: str, *arguments: object) -> str:
        words = (name, *map(str, arguments))
        self.said.append(words)
        if name == "build-catalog":
            (Path(words[words.index("-c") + 1]) / "splits").mkdir(parents=True)
        if "--out" in words:
            out = Path(words[words.index("--out") + 1])
            if name in self.leaves:
                self.leaves[name](words, out)
            else:
                out.mkdir(parents=True, exist_ok=True)
        return ""

    def _train(self, words: tuple[str, ...], out: Path) -> None:
        """Stops in its first epoch where `stops_at` names the experiment."""
        out.mkdir(parents=True, exist_ok=True)
        (out / "epoch").touch()
        self.epochs[words[1]] = self.epochs.get(words[1], 0) + 1
        if self.stops_at == words[1]:
            raise KeyboardInterrupt

    def goes_on(self, plan: Callable[[], Plan], stage: str, experiment: str, only: str | None = None) -> list[str]:
        """Break `train-STAGE` off in its first epoch, run the plan again, and give what was run then; its checkpoint must have
        outlived the interruption, must be in the result, and must be gone from where it was kept."""
        self.stops_at = experiment
        with pytest.raises(KeyboardInterrupt):
            plan().run(only)
        (half,) = (plan().folder / "scratch").iterdir()
        assert (half / "run" / "epoch").exists()
        self.stops_at = None
        self.said.clear()
        again = plan()
        again.run(only)
        assert (again.result(f"train-{stage}") / "run" / "epoch").exists()
        assert not half.exists()
        assert self.epochs[experiment] == 2
        return self.names()

    def names(self) -> list[str]:
        """What was run, in order; of trainings and images with their first word."""
        return [" ".join(words[:2]) if words[0] in ("train", "images") else words[0] for words in self.said]


class NoCatalog:
    """In place of `cxrdata.open`."""

    def __init__(self, _: object) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def stand_in(
    monkeypatch: pytest.MonkeyPatch, leaves: dict[str, Leaves] | None = None, *, also: tuple[str, ...] = ()
) -> Commands:
    """Put commands in place for a test. also: modules of the study that import `run_command` themselves."""
    commands = Commands(leaves)
    for one in (*_RUN_BY, *also):
        monkeypatch.setattr(import_module(one), "run_command", commands)
    monkeypatch.setattr(
        import_module("cxrtrain.run_folder"), "open_run", lambda _: SimpleNamespace(about={"state": "finished"})
    )
    monkeypatch.setattr(import_module("cxrdata"), "open", NoCatalog)
    return commands
