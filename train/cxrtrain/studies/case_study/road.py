"""The whole road: data → catalog → splits → store → four trainings → predictions at five blends → analysis → report.

With `--data synthetic` from drawn phantoms; else from a catalog and an image store of one's own, which take the place of the
first four stages. Every stage is commands that anyone can run by hand (`cxrtrain.studies.commands`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cxrdata.errors import CxrError
from cxrdata.sources.base import Registry
from cxrtrain.studies.case_study import design
from cxrtrain.studies.case_study.fpr import Wish
from cxrtrain.studies.case_study.plan import ANALYSE, STAGES, Given, report_stage, run_analysis
from cxrtrain.studies.case_study.predictions import SPLIT
from cxrtrain.studies.data import Phantoms, SplitWish, StudyData
from cxrtrain.studies.models import predict_stage, train_stage
from cxrtrain.studies.stages import Plan, Stage, Work, study_digest

EXPERIMENTS = {
    "vindr_cxr": "age-bias-vindr",
    "nih_cxr14": "age-bias-nih",
    "padchest": "age-bias-padchest",
    "chexpert": "age-bias-chexpert",
}
# Views that are not told are no reason to leave an image out, and NIH's AP films stay, as published.
WHERE = "view = 'PA' OR dataset IN ('nih_cxr14', 'vindr_cxr', 'vindr_pcxr')"
# Who is judged, and the children with boxes, who stand in no part.
JUDGED = (
    "(dataset, image_id) IN (SELECT dataset, image_id FROM splits WHERE split_name = '{split}' AND split NOT IN ('train', 'valid'))"
    " OR (dataset = 'vindr_pcxr' AND image_id IN (SELECT image_id FROM boxes WHERE dataset = 'vindr_pcxr' AND finding = 'cardiomegaly'))"
)
# Shares of the official sizes: enough positive PA films of adults in each to learn from, and infants to judge.
SCALES = MappingProxyType(
    {"vindr_cxr": 0.12, "nih_cxr14": 0.03, "padchest": 0.012, "chexpert": 0.04, "vindr_pcxr": 0.08}
)
SIDE = 32
_PREDICTIONS = "predictions"
# A small net for two cores; everything else is the published experiment's.
QUICK = (
    f"data.side={SIDE}", "input.channels=1", "model.backbone=small", "augment.mixup_alpha=0.0", "augment.affine_p=0.5", "augment.rotate_degrees=4.0",
    "augment.translate=0.04", "augment.zoom=[0.94, 1.06]", "optim.lr=0.002", "optim.schedule=cosine", "loop.epochs=10", "loop.batch=32",
    "heads.cardiomegaly.labeler=null", "data.images_per_epoch=640",
)  # fmt: skip


@dataclass(frozen=True)
class Road:
    """What to do. phantoms: draw the data; else `catalog` and `store` are one's own. sets: `--set` of every training."""

    phantoms: Phantoms | None = None
    catalog: Path | None = None
    store: Path | None = None
    split: str = SPLIT
    models: tuple[str, ...] = design.TRAINED_ON
    blends: tuple[float, ...] = design.BLENDS
    sets: tuple[str, ...] = ()

    @property
    def data(self) -> StudyData:
        # Of every dataset that is there, whichever models are asked for: each is tested on all, and others may be trained later.
        arguments = ("--pediatric-vs-adult", "--where", WHERE, "--seed", str(design.SEED))
        wish = SplitWish(self.split, arguments, design.DATASETS)
        return StudyData(
            (wish,), WHERE, self.phantoms, self.catalog, self.store, needs=self.models, chosen_by="--models"
        )


def phantoms(seed: int = 0, norms: Path | None = None, scales: Mapping[str, float] = SCALES) -> Phantoms:
    """The drawn data of the case study. norms: such as those of the control, in which age does not show."""
    return Phantoms(scales, SIDE, seed, norms)


def models_of(said: Sequence[str]) -> tuple[str, ...]:
    """Datasets to train on, by name or alias, each once. Raises CxrError CXR-501 where no model is trained on one."""
    aliases = Registry().by_alias
    found = dict.fromkeys(aliases.get(one, one) for one in said)
    for model in found:
        if model not in EXPERIMENTS:
            raise CxrError("CXR-501", f"no model is trained on {model!r}", fix=f"--models {','.join(EXPERIMENTS)}")
    return tuple(found)


def plan_of_road(out: Path, road: Road, wish: Wish) -> Plan:
    """All stages. Raises CxrError: those of `models_of` and of `StudyData.inputs`."""
    models_of(road.models)
    data = road.data
    stages = data.stages()
    sets = (f"data.split={road.split}", *(QUICK if road.phantoms is not None else ()), *road.sets)
    judged = JUDGED.format(split=road.split)
    for model in road.models:
        stages.append(train_stage(data, model, EXPERIMENTS[model], sets))
        for blend in road.blends:  # a stage each, so that one more leaves the others as they are
            asked = ("--where", judged, "--histogram-blend", f"{blend:g}")
            file = f"{_PREDICTIONS}/hm-{blend:g}/{model}.parquet"
            stages.append(predict_stage(data, model, {file: asked}, stage=_predicts(model, blend)))
    stages += [_analysis(road, wish), report_stage()]
    return Plan(out / STAGES, stages)


def _predicts(model: str, blend: float) -> str:
    return f"predict-{model}" + (f"-hm-{blend:g}" if blend else "")


def _analysis(road: Road, wish: Wish) -> Stage:
    predicted = [_predicts(model, blend) for model in road.models for blend in road.blends]

    def work(on: Work) -> None:
        import cxrdata

        gathered = on.folder / _PREDICTIONS
        for one in predicted:
            shutil.copytree(on.of[one] / _PREDICTIONS, gathered, dirs_exist_ok=True)
        catalog, _ = road.data.places(on)
        with cxrdata.open(catalog) as opened:
            run_analysis(Given(gathered, opened, road.split), wish, on, synthetic=road.phantoms is not None)

    after = (*predicted, *road.data.before)
    inputs = {
        "rules": list(wish.rules),
        "bootstrap": wish.bootstrap,
        "seed": wish.seed,
        "min_cell": wish.min_cell,
        "code": study_digest(),
    }
    return Stage(ANALYSE, work, after, inputs)
