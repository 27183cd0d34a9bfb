"""Drawn data for an experiment, and a backbone for it: chests of one dataset with a mark on those of one value of the attribute.

The backbone learns on drawn images of another dataset, on which mark and disease have nothing to do with each other.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cxrdata.stages import sha256_file
from cxrtrain.dne.config import DneExperiment, PhantomsConfig
from cxrtrain.models.weights import RUN
from cxrtrain.studies.commands import run_command
from cxrtrain.studies.stages import Stage, Work

DATA, CATALOG, PHANTOM_SPLIT, STORE, BACKBONE = "data", "catalog", "split", "store", "backbone"
CATALOG_FOLDER = "cxr-catalog"
_PRETRAIN = "backbone"  # the split that the backbone learns on


@dataclass(frozen=True)
class Drawn:
    """What to draw. norms: the file."""

    experiment: DneExperiment
    wish: PhantomsConfig
    norms: Path
    workers: int

    @property
    def scales(self) -> dict[str, float]:
        return {self.wish.dataset: self.wish.scale, self.wish.pretrain_dataset: self.wish.pretrain_scale}


def drawn_stages(drawn: Drawn) -> list[Stage]:
    """data → catalog → split → store → backbone."""
    experiment, wish, seed = drawn.experiment, drawn.wish, drawn.experiment.seed
    datasets = ",".join(drawn.scales)

    def draw(on: Work) -> None:
        for dataset, scale in drawn.scales.items():
            on.tell(dataset)
            run_command(
                "synth", on.folder, "--only", dataset, "--scale", f"{scale:g}", "--seed", seed, "--images", "--norms", drawn.norms.absolute(),
                "--workers", drawn.workers, "-q",
            )  # fmt: skip

    def catalog(on: Work) -> None:
        run_command("build-catalog", "--root", on.of[DATA], "-c", on.folder / CATALOG_FOLDER, "-q")

    def split(on: Work) -> None:
        place = on.folder / CATALOG_FOLDER
        shutil.copytree(on.of[CATALOG] / CATALOG_FOLDER, place)
        most = ("--train-images", wish.train_images) if wish.train_images is not None else ()
        run_command(
            "split", "--spurious", experiment.disease.finding, "--with", experiment.attribute.name, "--dataset", wish.dataset,
            "--correlation", f"{wish.correlation:g}", "--per-cell", wish.per_cell, *most, "--seed", seed, "--name", _own_split(experiment),
            "-q", "-c", place,
        )  # fmt: skip
        run_command(
            "split", "--dataset", wish.pretrain_dataset, "--ratios", "0.85,0.1,0.05", "--seed", seed, "--name", _PRETRAIN, "-q", "-c", place
        )  # fmt: skip

    def store(on: Work) -> None:
        roots = [text for name in drawn.scales for text in ("--root", f"{name}={on.of[DATA] / name}")]
        run_command(
            "images", "build", *roots, "--dataset", datasets, "--size", experiment.data.side, "--workers", drawn.workers,
            "--out", on.folder / STORE, "-q", "-c", on.of[PHANTOM_SPLIT] / CATALOG_FOLDER,
        )  # fmt: skip

    def backbone(on: Work) -> None:
        from cxrtrain.run_folder import open_run

        run = on.scratch / "run"  # goes on from its last checkpoint
        sets: Sequence[str] = (
            f"data.split={_PRETRAIN}", f"data.side={experiment.data.side}", f"model.backbone={experiment.backbone.name}",
            f"input.channels={experiment.input.channels}", f"loop.seed={seed}", *wish.pretrain_set,
        )  # fmt: skip
        changes = [text for one in sets for text in ("--set", one)]
        run_command(
            "train", wish.pretrain, *changes, "--store", on.of[STORE] / STORE, "--skip-missing", "--out", run, "-q",
            "-c", on.of[PHANTOM_SPLIT] / CATALOG_FOLDER,
        )  # fmt: skip
        if open_run(run).about["state"] != "finished":
            raise KeyboardInterrupt
        shutil.move(run, on.folder / "run")

    side = {"side": experiment.data.side}
    return [
        Stage(DATA, draw, inputs={"scales": drawn.scales, "seed": seed, "norms": sha256_file(drawn.norms)}),
        Stage(CATALOG, catalog, (DATA,)),
        Stage(PHANTOM_SPLIT, split, (CATALOG,), {
            "seed": seed, "disease": experiment.disease.finding, "attribute": experiment.attribute.name,
            "asked": [wish.correlation, wish.per_cell, wish.train_images],
        }),
        Stage(STORE, store, (DATA, PHANTOM_SPLIT), side),
        Stage(BACKBONE, backbone, (PHANTOM_SPLIT, STORE), {
            **side, "seed": seed, "experiment": wish.pretrain, "sets": list(wish.pretrain_set), "backbone": asdict(experiment.backbone),
            "channels": experiment.input.channels,
        }),
    ]  # fmt: skip


def _own_split(experiment: DneExperiment) -> str:
    return experiment.data.split or experiment.name


def places(experiment: DneExperiment, on: Work) -> DneExperiment:
    """The experiment on the drawn data: its split, and the backbone's run if it is made already."""
    data = replace(experiment.data, split=_own_split(experiment))
    weights = f"{RUN}{on.of[BACKBONE] / 'run'}" if BACKBONE in on.of else experiment.backbone.weights
    return replace(experiment, data=data, backbone=replace(experiment.backbone, weights=weights))
