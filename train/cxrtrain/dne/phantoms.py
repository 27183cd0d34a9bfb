"""Drawn data for an experiment, and a backbone for it: chests of one dataset with a mark on those of one value of the attribute.

The backbone learns on drawn images of another dataset, on which mark and disease have nothing to do with each other.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cxrtrain.dne.config import DneExperiment, PhantomsConfig
from cxrtrain.models.weights import RUN
from cxrtrain.studies.data import Phantoms, SplitWish, StudyData
from cxrtrain.studies.models import run_of, train_stage
from cxrtrain.studies.stages import Stage, Work

BACKBONE = "backbone"  # the model, and the split that it learns on
TRAIN_BACKBONE = f"train-{BACKBONE}"


def drawn_data(experiment: DneExperiment, wish: PhantomsConfig, folder: Path, workers: int) -> StudyData:
    """What is drawn and how it is split. folder: that the norms' name is relative to."""
    seed = ("--seed", str(experiment.seed))
    most = ("--train-images", str(wish.train_images)) if wish.train_images is not None else ()
    spurious = SplitWish(
        _own_split(experiment),
        (
            "--spurious", experiment.disease.finding, "--with", experiment.attribute.name, "--dataset", wish.dataset,
            "--correlation", f"{wish.correlation:g}", "--per-cell", str(wish.per_cell), *most, *seed,
        ),
    )  # fmt: skip
    learnt = SplitWish(BACKBONE, ("--dataset", wish.pretrain_dataset, "--ratios", "0.85,0.1,0.05", *seed))
    scales = {wish.dataset: wish.scale, wish.pretrain_dataset: wish.pretrain_scale}
    drawn = Phantoms(scales, experiment.data.side, experiment.seed, folder / wish.norms, workers)
    return StudyData((spurious, learnt), phantoms=drawn)


def backbone_stage(data: StudyData, experiment: DneExperiment, wish: PhantomsConfig) -> Stage:
    """The backbone's training."""
    sets = (
        f"data.split={BACKBONE}", f"data.side={experiment.data.side}", f"model.backbone={experiment.backbone.name}",
        f"input.channels={experiment.input.channels}", f"loop.seed={experiment.seed}", *wish.pretrain_set,
    )  # fmt: skip
    return train_stage(data, BACKBONE, wish.pretrain, sets)


def on_drawn(experiment: DneExperiment, on: Work) -> DneExperiment:
    """The experiment on the drawn data: its split, and the backbone's run for a stage that comes after its training."""
    trained = TRAIN_BACKBONE in on.of
    weights = f"{RUN}{run_of(on, BACKBONE)}" if trained else experiment.backbone.weights
    data = replace(experiment.data, split=_own_split(experiment))
    return replace(experiment, data=data, backbone=replace(experiment.backbone, weights=weights))


def _own_split(experiment: DneExperiment) -> str:
    return experiment.data.split or experiment.name
