"""The whole road: data → catalog → splits → store → trainings → predictions and features → the analysis.

With `--data synthetic` from drawn phantoms; else from a catalog and an image store of one's own, which take the place of the
first four stages. Every stage is commands that anyone can run by hand (`cxrtrain.studies.commands`), or the analysis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from cxrdata.errors import CxrError, nearest
from cxrtrain.studies.chexploration import design
from cxrtrain.studies.chexploration.design import (
    COHORTS,
    DISEASE,
    EXPLORED,
    MODELS,
    SPLIT_RACE,
    SPLIT_SEX,
    Wish,
    split_of,
)
from cxrtrain.studies.chexploration.given import EMBEDDINGS, PREDICTIONS
from cxrtrain.studies.chexploration.plan import STAGES, Desk, analysis
from cxrtrain.studies.data import Phantoms, SplitWish, StudyData
from cxrtrain.studies.models import predict_stage, train_stage
from cxrtrain.studies.stages import Plan, Stage, Work

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

SPLITS = {"chexpert": "chexploration-chexpert", "mimic_cxr": "chexploration-mimic"}
# The images of the splits, of which those of subgroups are a part.
WHERE = "(dataset, image_id) IN (SELECT dataset, image_id FROM splits WHERE split_name = '{split}')"
SUBGROUPS = {design.WHITE: "race=White", design.MALE: "sex=M"}
# Of the official size: some hundred images of the cohort, of every race some patients in each part.
SCALES = MappingProxyType({"chexpert": 0.03, "mimic_cxr": 0.02})
SIDE = 32
# A small net for two cores; everything else is the published experiments'.
QUICK = (
    f"data.side={SIDE}", "input.channels=1", "input.scale=0-1", "input.normalise=training", "model.backbone=small", "model.weights=none",
    "loop.epochs=3", "loop.batch=32", "optim.lr=0.002", "data.images_per_epoch=640",
)  # fmt: skip


@dataclass(frozen=True)
class Road:
    """What to do. phantoms: draw the data; else `catalog` and `store` are one's own. sets: `--set` of every training. split:
    the base of the splits' names; null for the usual one."""

    dataset: str = "chexpert"
    phantoms: Phantoms | None = None
    catalog: Path | None = None
    store: Path | None = None
    split: str | None = None
    tasks: tuple[str, ...] = MODELS
    sets: tuple[str, ...] = ()

    @property
    def base(self) -> str:
        return self.split or SPLITS[self.dataset]

    @property
    def data(self) -> StudyData:
        cohort = ("--cohort", COHORTS[self.dataset], "--ratios", design.RATIOS, "--seed", str(design.SEED))
        wishes = [SplitWish(self.base, cohort)]
        for model, subgroup in SUBGROUPS.items():
            if model in self.tasks:
                wishes.append(SplitWish(split_of(model, self.base), (*cohort, "--subgroup", subgroup)))
        return StudyData(tuple(wishes), WHERE.format(split=self.base), self.phantoms, self.catalog, self.store)


def phantoms(dataset: str, seed: int = 0, norms: Path | None = None, scales: Mapping[str, float] = SCALES) -> Phantoms:
    """The drawn data of the study."""
    return Phantoms({dataset: scales[dataset]}, SIDE, seed, norms)


def check_tasks(tasks: Sequence[str]) -> tuple[str, ...]:
    """Models in the order in which they are trained. Raises CxrError CXR-501 for an unknown one."""
    for task in tasks:
        if task not in MODELS:
            raise CxrError(
                "CXR-501", f"no model is called {task!r}{nearest(task, list(MODELS))}", fix=", ".join(MODELS)
            )
    return tuple(model for model in MODELS if model in tasks)


def plan_of_road(out: Path, road: Road, wish: Wish) -> Plan:
    """All stages. Raises CxrError: CXR-502 a SPLIT test without the disease model, and those of `StudyData.inputs`."""
    splits = [model for model in road.tasks if model in (SPLIT_RACE, SPLIT_SEX)]
    if splits and DISEASE not in road.tasks:
        problem = f"{splits[0]} reads race or sex off the backbone of the disease model, which is left out"
        raise CxrError("CXR-502", problem, fix=f"--tasks {DISEASE},{','.join(splits)}")
    data = road.data
    stages = data.stages()
    for model in road.tasks:
        stages += _model_stages(road, data, model)

    def opened(on: Work) -> AbstractContextManager[Catalog]:
        import cxrdata

        return cxrdata.open(data.places(on)[0])

    desk = Desk(
        road.dataset, road.base, road.tasks, tuple(model for model in EXPLORED if model in road.tasks), opened=opened,
        stage_of=lambda model, kind: f"{'embed' if kind == EMBEDDINGS else 'predict'}-{model}", before=data.before,
        inputs=data.inputs(), trained=True,
    )  # fmt: skip
    return Plan(out / STAGES, [*stages, *analysis(desk, wish)])


def _model_stages(road: Road, data: StudyData, model: str) -> list[Stage]:
    """Training, predictions of validation and test, and features of both."""
    sets = (f"data.split={split_of(model, road.base)}", *(QUICK if road.phantoms is not None else ()), *road.sets)
    of = DISEASE if model in (SPLIT_RACE, SPLIT_SEX) else None
    parts = {part: ("--split", f"{road.base}:{design.PARTS[part]}") for part in (design.VAL, design.TEST)}
    files = {kind: {f"{model}/{kind}.{part}.parquet": words for part, words in parts.items()} for kind in (PREDICTIONS, EMBEDDINGS)}  # fmt: skip
    stages = [
        train_stage(data, model, f"chexploration-{model}", sets, weights_of=of),
        predict_stage(data, model, files[PREDICTIONS]),
    ]
    # Of a SPLIT test the features are those of the disease model.
    return stages if of else [*stages, predict_stage(data, model, files[EMBEDDINGS], command="embed")]
