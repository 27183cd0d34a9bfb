"""A study as stages: each is found again by what went into it, and just what depends on a changed input is run anew.

    plan = Plan(OUT/stages, [Stage("train-nih", after=("bundles",), inputs={…}, work=…), …])
    plan.run(only="train-nih"); plan.table()          # name, state, after

A stage's key is the hash of its name, its own inputs (parameters, digests of files, versions) and the keys of the stages
before it, so the whole plan is known before anything runs. Results are `cxrdata.stages` folders: whole, or not there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrdata.errors import CxrError, nearest
from cxrdata.stages import code_digest, make_private, run_stage, sha256_file, stage_key
from cxrdata.version import __version__

if TYPE_CHECKING:
    import polars as pl

CACHED, TO_RUN = "cached", "to run"
_SCRATCH = "scratch"
_PUBLISHED = "published.json"  # by folder: name -> the stage whose result was copied there


@dataclass(frozen=True)
class Work:
    """What a stage works with. folder: where its result goes, empty. of: results of the stages before it, by name.

    scratch: a folder that outlives an interruption, for work that can go on where it stopped, such as training; it is
    removed once the stage is finished.
    """

    folder: Path
    of: Mapping[str, Path]
    scratch: Path
    tell: Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """One step. inputs: what its result depends on besides the stages that it comes after, as JSON can hold it."""

    name: str
    work: Callable[[Work], None]
    after: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)


class Plan:
    """Stages in an order in which each comes after what it needs, with their results in one folder."""

    def __init__(self, folder: Path, stages: Sequence[Stage]) -> None:
        self.folder = folder
        self.stages = {stage.name: stage for stage in stages}
        self.keys: dict[str, str] = {}
        for stage in stages:
            before = {name: self.keys[name] for name in stage.after}
            self.keys[stage.name] = stage_key(
                stage=stage.name, inputs=dict(stage.inputs), after=before, version=__version__
            )

    def result(self, name: str) -> Path:
        """Where a stage's result is, or will be."""
        return self.folder / f"{name}-{self.keys[name]}"

    def is_there(self, name: str) -> bool:
        return self.result(name).is_dir()

    def wanted(self, only: str | Sequence[str] | None) -> list[str]:
        """The stages to run, in order: all, or one or some and those before them that are not there. Raises CxrError CXR-501."""
        if only is None:
            return list(self.stages)
        needed = {only} if isinstance(only, str) else set(only)
        for one in sorted(needed - set(self.stages)):
            known = list(self.stages)
            raise CxrError(
                "CXR-501", f"there is no stage {one!r}{nearest(one, known)}", fix=f"stages: {', '.join(known)}"
            )
        for name in reversed(self.stages):
            if name in needed:
                needed.update(one for one in self.stages[name].after if not self.is_there(one))
        return [name for name in self.stages if name in needed]

    def table(self, only: str | Sequence[str] | None = None) -> pl.DataFrame:
        """stage, state (`cached` or `to run`), after: what a run would do."""
        import polars as pl

        rows = [
            (name, CACHED if self.is_there(name) else TO_RUN, ", ".join(self.stages[name].after) or None)
            for name in self.wanted(only)
        ]
        return pl.DataFrame(rows, schema=dict.fromkeys(("stage", "state", "after"), pl.String), orient="row")

    def run(
        self,
        only: str | Sequence[str] | None = None,
        *,
        tell: Callable[[str], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> dict[str, Path]:
        """Run what is not there, and give the results by name. say: one sentence a stage that was run or found."""
        done: dict[str, Path] = {}
        for name in self.wanted(only):
            stage, key = self.stages[name], self.keys[name]
            scratch = self.folder / _SCRATCH / f"{name}-{key}"

            def work(folder: Path, stage: Stage = stage, scratch: Path = scratch) -> None:
                make_private(scratch)
                results = {one: self.result(one) for one in stage.after}
                stage.work(Work(folder, results, scratch, lambda text: tell(f"{stage.name}: {text}")))

            tell(name)
            done[name], found = run_stage(self.folder, name, key, work)
            shutil.rmtree(scratch, ignore_errors=True)
            say(f"{name}: {'found' if found else 'done'}")
        return done

    def publish(
        self,
        out: Path,
        wanted: Mapping[str, Sequence[str]],
        say: Callable[[str], None] = lambda _: None,
        *,
        apart: Sequence[str] = (),
    ) -> list[Path]:
        """Copy what is finished to where it was asked for, and give what that is. wanted: files and folders of each stage, of
        stages that this plan may lack too; apart: stages whose files go into a folder of the stage's name. What an earlier result
        left there goes first, so that no folder holds two results."""
        now = {
            f"{stage}/{name}" if stage in apart else name: (stage, self.result(stage) / name)
            for stage, names in wanted.items()
            if stage in self.stages and self.is_there(stage)
            for name in names
            if (self.result(stage) / name).exists()
        }
        self._clear(out, {name: stage for name, (stage, _) in now.items()}, say)
        for name, (_, source) in now.items():
            place = out / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.rmtree(place, ignore_errors=True)
                shutil.copytree(source, place)
            else:
                shutil.copyfile(source, place)
        return [out / name for name in now]

    def _clear(self, out: Path, now: Mapping[str, str], say: Callable[[str], None]) -> None:
        """Remove what was published in `out` before and is not to be there now: by the record of it, so nobody's own files. The
        new record comes before the copies, so that an interruption leaves none that it does not name."""
        record = self.folder / _PUBLISHED
        places: dict[str, dict[str, str]] = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        here = os.path.relpath(out, self.folder)  # a study that is moved as a whole knows its own
        for name, stage in places.get(here, {}).items():
            place = out / name
            if name in now or not place.exists():
                continue
            shutil.rmtree(place) if place.is_dir() else place.unlink()
            if place.parent != out and not any(place.parent.iterdir()):
                place.parent.rmdir()  # of a stage apart
            say(f"{name}: of an earlier result of the stage {stage}, removed")
        make_private(self.folder)
        text = json.dumps(places | {here: dict(now)}, indent=1, sort_keys=True) + "\n"
        aside = record.with_name(f"{_PUBLISHED}.new")
        aside.write_text(text, encoding="utf-8")
        aside.replace(record)


@cache
def digest_of_code(root: Path) -> str:
    """A digest of the code of cxrdata and of a folder: for stages that are quick, so that newer code is not passed by."""
    return stage_key(
        cxrdata=code_digest(),
        folder={
            path.relative_to(root).as_posix(): sha256_file(path)  # every study has a report.py
            for path in sorted(root.rglob("*"))
            if path.suffix in (".py", ".tsv")
        },
    )


def study_digest() -> str:
    """The code of all studies."""
    return digest_of_code(Path(__file__).parent)
