"""Where a study's images come from: drawn phantoms, or a catalog and an image store of one's own.

    data = StudyData(splits=(SplitWish("age-bias", ("--pediatric-vs-adult", …)),), phantoms=Phantoms({"vindr_cxr": 0.12}, side=32))
    Plan(folder, [*data.stages(), train_stage(data, …), …])

Phantoms are four stages: data → catalog → splits → store. One's own catalog and store take their place: what they hold goes
into the keys of the stages that read them, and splits that the catalog lacks are made in it (`make_splits`), as by hand.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrdata.errors import CxrError
from cxrdata.stages import sha256_file
from cxrtrain.config import DataConfig
from cxrtrain.frame import check_frame
from cxrtrain.studies.commands import run_command
from cxrtrain.studies.stages import Stage, Work

DATA, CATALOG, SPLITS, STORE = "data", "catalog", "splits", "store"
_CATALOG = "cxr-catalog"
SYNTHETIC = "SYNTHETIC: phantoms, and what shows in them is planted: that it is found proves the pipeline, not medicine"


@dataclass(frozen=True)
class SplitWish:
    """A split that a study trains and tests on. arguments: of `cxrdata split`, besides --name. datasets: of these, those that the
    catalog has; none named, what the arguments say."""

    name: str
    arguments: tuple[str, ...]
    datasets: tuple[str, ...] = ()

    def words(self, held: Iterable[str]) -> list[str]:
        """What `cxrdata split` is asked, of a catalog that holds these datasets."""
        known = set(held)
        chosen = [one for one in self.datasets if one in known]
        return [*self.arguments, *(("--dataset", ",".join(chosen)) if chosen else ())]


@dataclass(frozen=True)
class Phantoms:
    """Drawn data. scales: share of each dataset's official size. side: pixels of the store. norms: a file in place of
    metadata/phantom_norms.toml, such as a control in which age does not show."""

    scales: Mapping[str, float]
    side: int
    seed: int = 0
    norms: Path | None = None
    workers: int = 2


@dataclass(frozen=True)
class StudyData:
    """phantoms: draw the data; else `catalog` and `store` are one's own. where: the images that a store of phantoms holds.
    needs: datasets without which there is nothing to train on; chosen_by: the option that names them, if there is one."""

    splits: tuple[SplitWish, ...]
    where: str | None = None
    phantoms: Phantoms | None = None
    catalog: Path | None = None
    store: Path | None = None
    needs: tuple[str, ...] = ()
    chosen_by: str | None = None

    @property
    def before(self) -> tuple[str, ...]:
        """The stages that whatever reads catalog and store comes after."""
        return () if self.phantoms is None else (SPLITS, STORE)

    @property
    def skip(self) -> tuple[str, ...]:
        """Some phantoms are broken files on purpose; of one's own images none is left out unsaid."""
        return () if self.phantoms is None else ("--skip-missing",)

    def inputs(self) -> dict[str, Any]:
        """What results depend on of a catalog and a store of one's own; of phantoms nothing, which are stages themselves.

        Raises CxrError: CXR-502 neither is named, CXR-148 no finished store, CXR-601 no catalog, CXR-501 it lacks a dataset.
        """
        if self.phantoms is not None:
            return {}
        import cxrdata

        if self.store is None:
            fix = "--data synthetic, or --predictions DIR, or a catalog and a store: -c CATALOG --store STORE"
            raise CxrError("CXR-502", "nothing says what to train on", fix=fix)
        store = store_digest(self.store)
        with cxrdata.open(self.catalog) as opened:
            held = opened.manifest["datasets"]
            if lacking := [one for one in self.needs if one not in held]:
                problem = f"the catalog lacks what is trained on: {', '.join(lacking)}"
                rest = ",".join(one for one in self.needs if one in held)
                fix = "build a catalog that has it"
                if rest and self.chosen_by:
                    fix += f", or train on what this one has: {self.chosen_by} {rest}"
                raise CxrError("CXR-501", problem, where=opened.folder.path.name, fix=fix)
            # Of a split that is still to be made, what it will be made by.
            splits = {}
            for wish in self.splits:
                made = opened.folder.splits / wish.name / "manifest.json"
                splits[wish.name] = sha256_file(made) if made.is_file() else wish.words(held)
            return {"catalog": opened.build.build_id, "splits": splits, "store": store}

    def check_store(self, experiment: DataConfig) -> None:
        """Whether an experiment can read a store of one's own; that there is one, `inputs` says. Raises CxrError CXR-151: it is
        of another size or fit."""
        if self.phantoms is None and self.store is not None and (manifest := self.store / "manifest.json").is_file():
            about = json.loads(manifest.read_text(encoding="utf-8"))
            check_frame(about, self.store, side=experiment.side, fit=experiment.fit)

    def make_splits(self, say: Callable[[str], None] = lambda _: None) -> None:
        """In a catalog of one's own, the splits that it lacks. One of that name that is there is taken as it is."""
        if self.phantoms is not None:
            return
        import cxrdata
        from cxrdata.store.catalog import default_folder

        place = self.catalog or default_folder()
        with cxrdata.open(place) as opened:
            held = opened.manifest["datasets"]
            lacking = [
                wish for wish in self.splits if not (opened.folder.splits / wish.name / "manifest.json").is_file()
            ]
        for wish in lacking:
            run_command("split", *wish.words(held), "--name", wish.name, "-q", "-c", place)
            say(f"split {wish.name}: made in {place}")

    def places(self, on: Work) -> tuple[Path, Path]:
        """Catalog and store, for a stage that comes after `before`."""
        if self.phantoms is not None:
            return on.of[SPLITS] / _CATALOG, on.of[STORE] / STORE
        from cxrdata.store.catalog import default_folder

        assert self.store is not None
        return self.catalog or default_folder(), self.store

    def stages(self) -> list[Stage]:
        """Of phantoms: drawn data, its catalog, splits and pixels. Of one's own catalog none."""
        if self.phantoms is None:
            return []
        wish, where = self.phantoms, () if self.where is None else ("--where", self.where)

        def draw(on: Work) -> None:
            more = ("--norms", wish.norms.absolute()) if wish.norms else ()
            for dataset, scale in wish.scales.items():
                on.tell(dataset)
                run_command(
                    "synth", on.folder, "--only", dataset, "--scale", f"{scale:g}", "--seed", wish.seed, "--images", "--workers",
                    wish.workers, "-q", *more,
                )  # fmt: skip

        def catalog(on: Work) -> None:
            run_command("build-catalog", "--root", on.of[DATA], "-c", on.folder / _CATALOG, "-q")

        def split(on: Work) -> None:
            shutil.copytree(on.of[CATALOG] / _CATALOG, on.folder / _CATALOG)
            for one in self.splits:
                run_command("split", *one.words(wish.scales), "--name", one.name, "-q", "-c", on.folder / _CATALOG)

        def store(on: Work) -> None:
            roots = [text for name in wish.scales for text in ("--root", f"{name}={on.of[DATA] / name}")]
            run_command(
                "images", "build", *roots, "--dataset", ",".join(wish.scales), *where, "--size", wish.side, "--workers", wish.workers,
                "--out", on.folder / STORE, "-q", "-c", on.of[SPLITS] / _CATALOG,
            )  # fmt: skip

        norms = sha256_file(wish.norms) if wish.norms else None
        splits = {one.name: one.words(wish.scales) for one in self.splits}
        return [
            Stage(DATA, draw, inputs={"scales": dict(wish.scales), "seed": wish.seed, "norms": norms}),
            Stage(CATALOG, catalog, (DATA,)),
            Stage(SPLITS, split, (CATALOG,), {"splits": splits}),
            Stage(STORE, store, (DATA, SPLITS), {"side": wish.side, "where": self.where}),
        ]


def store_digest(store: Path) -> str:
    """What an image store holds, by its manifest. Raises CxrError CXR-148: no finished store."""
    manifest = store / "manifest.json"
    if not manifest.is_file():
        fix = "build it, or let its build finish: cxrdata images build --size SIDE --out STORE"
        raise CxrError("CXR-148", "there is no finished image store here", where=str(store), fix=fix)
    return sha256_file(manifest)
