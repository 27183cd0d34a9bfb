"""The whole road: three sets, a model of disease, race on its frozen backbone and on two others, a model with two heads,
units switched off in both, analysis, report.

With `--data synthetic` from drawn phantoms; else from a catalog and an image store of one's own. Every stage is commands that
anyone can run by hand (`cxrtrain.studies.commands`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cxrdata.errors import CxrError
from cxrtrain.resources import experiments_folder
from cxrtrain.studies.commands import run_command
from cxrtrain.studies.data import Phantoms, SplitWish, StudyData
from cxrtrain.studies.implicit_attributes.design import (
    ATTRIBUTE,
    BACKBONE,
    COHORT,
    DATASET,
    DISEASE,
    FIRST,
    IMAGENET,
    ORIGINS,
    RACE,
    RACES,
    RANDOM,
    RATIOS,
    RUN,
    SIZES,
    TWO_HEADS,
    Wish,
    model_name,
    split_name,
)
from cxrtrain.studies.implicit_attributes.plan import ANALYSE, STAGES, Given, inputs_of, report_stage, run_analysis
from cxrtrain.studies.models import command_stage, predict_stage, run_of, train_stage
from cxrtrain.studies.stages import Plan, Stage, Work

_EXPERIMENT = {DISEASE: "implicit-disease", RACE: "implicit-race", TWO_HEADS: "implicit-twohead"}
_WEIGHTS = {IMAGENET: "imagenet", RANDOM: "none"}
_PREDICTIONS = "predictions"
WHERE = "(dataset, image_id) IN (SELECT dataset, image_id FROM splits)"
SIDE = 32
# Of phantoms: share of the official size, and a larger test than the published one, whose set is small.
SCALES = MappingProxyType({DATASET: 0.08})
QUICK_RATIOS = "0.5,0.1,0.4"
# Their norms: a spot on the pictures of one race, without which phantoms show nothing of race.
NORMS = "implicit-quick.toml"
# A small net for two cores, and few findings: of all, phantoms draw cardiomegaly alone.
QUICK = (
    f"data.side={SIDE}", "input.channels=1", "input.normalise=none", "model.backbone=small", "model.weights=none", "augment.rotate_degrees=4.0",
    "augment.flip_p=0.0", "augment.zoom=[0.97, 1.03]", "optim.lr=0.003", "optim.schedule=cosine", "loop.epochs=8", "loop.batch=32",
    "data.images_per_epoch=1024", 'heads.disease.labels=["no_finding", "cardiomegaly", "pleural_effusion"]',
)  # fmt: skip


@dataclass(frozen=True)
class Road:
    """What to do. phantoms: draw the data; else `catalog` and `store` are one's own. sizes: images a patient, a set of models
    each. frozen: as `model.freeze` has it. sets: `--set` of every training; notes: of what is left out."""

    phantoms: Phantoms | None = None
    catalog: Path | None = None
    store: Path | None = None
    sizes: tuple[int, ...] = (1,)
    origins: tuple[str, ...] = ORIGINS
    frozen: tuple[str, ...] = (BACKBONE,)
    criteria: tuple[str, ...] = ("difference",)
    draws: int = 20
    sets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def data(self) -> StudyData:
        """All three sets are made and counted, whichever are trained on."""
        ratios = RATIOS if self.phantoms is None else QUICK_RATIOS
        wishes = tuple(
            SplitWish(
                split_name(size),
                ("--cohort", COHORT, "--balance", ATTRIBUTE, "--max-images-per-patient", str(size), "--ratios", ratios),
            )
            for size in SIZES
        )
        return StudyData(wishes, WHERE, self.phantoms, self.catalog, self.store)

    def sets_of(self, size: int, what: str) -> tuple[str, ...]:
        """`--set` values of a model on a set of images; those of heads that it lacks are not its own."""
        asked = (f"data.split={split_name(size)}", *(QUICK if self.phantoms is not None else ()), *self.sets)
        own = (RACE, DISEASE) if what == TWO_HEADS else (what,)
        return tuple(one for one in asked if not one.startswith("heads.") or one.split(".")[1] in own)


def phantoms(seed: int = 0, norms: Path | None = None, scales: Mapping[str, float] = SCALES) -> Phantoms:
    """The drawn data of the study: with a spot on one race's pictures, unless other norms are named."""
    return Phantoms(scales, SIDE, seed, norms or experiments_folder() / "norms" / NORMS)


def checked_sizes(said: Sequence[str]) -> tuple[int, ...]:
    """Raises CxrError CXR-501 for a set that there is not."""
    known = {str(size): size for size in SIZES}
    for one in said:
        if one not in known:
            raise CxrError(
                "CXR-501", f"there is no set of up to {one!r} images a patient", fix="--images-per-patient 1,2,3"
            )
    return tuple(known[one] for one in dict.fromkeys(said))


def checked_depths(said: Sequence[str]) -> tuple[str, ...]:
    """`backbone`, `first:N`, or N alone. Raises CxrError CXR-502."""
    found = []
    for one in said:
        number = one.removeprefix(FIRST)
        if one not in (BACKBONE, "-2") and not number.isdecimal():
            raise CxrError("CXR-502", f"--freeze cannot be {one!r}", fix="for example --freeze backbone,2,4")
        found.append(BACKBONE if one in (BACKBONE, "-2") else f"{FIRST}{number}")
    return tuple(dict.fromkeys(found))


def checked_origins(said: Sequence[str]) -> tuple[str, ...]:
    """Raises CxrError CXR-501."""
    for one in said:
        if one not in ORIGINS:
            raise CxrError("CXR-501", f"there is no backbone of origin {one!r}", fix=f"--origins {','.join(ORIGINS)}")
    return tuple(dict.fromkeys(said))


def to_be_had(road: Road, say: Callable[[str], None] = lambda _: None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The origins, without ImageNet where its weights are nowhere, and what is to be said of that. They are fetched if need be."""
    from cxrtrain.config_file import read_experiment
    from cxrtrain.models.fetching import imagenet_file

    backbone = read_experiment(_EXPERIMENT[RACE], road.sets_of(road.sizes[0], RACE)).model.backbone
    try:
        imagenet_file(backbone, say)
    except CxrError as error:
        if error.code != "CXR-159":
            raise
        return tuple(one for one in ORIGINS if one != IMAGENET), (f"{IMAGENET} is left out: {error.problem}",)
    return ORIGINS, ()


def plan_of_road(out: Path, road: Road, wish: Wish) -> Plan:
    """All stages. Raises CxrError: those of `StudyData.inputs`."""
    data = road.data
    stages = data.stages()
    for size in road.sizes:
        stages += _of_size(road, data, size, wish)
    stages += [_analysis(road, wish), report_stage()]
    return Plan(out / STAGES, stages)


def _race_models(road: Road, size: int) -> Iterator[tuple[str, str, str]]:
    """Name, origin, what is frozen."""
    for origin in road.origins:
        for frozen in road.frozen:
            yield model_name(RACE, size, origin, frozen), origin, frozen


def _of_size(road: Road, data: StudyData, size: int, wish: Wish) -> list[Stage]:
    """Trainings on one set, their test predictions, and the two models whose units are switched off."""
    disease, two_heads = model_name(DISEASE, size), model_name(TWO_HEADS, size)
    stages = [train_stage(data, disease, _EXPERIMENT[DISEASE], road.sets_of(size, DISEASE))]
    for name, origin, frozen in _race_models(road, size):
        own = (
            *road.sets_of(size, RACE),
            f"model.freeze={frozen}",
            *((f"model.weights={_WEIGHTS[origin]}",) if origin != RUN else ()),
        )
        weights = disease if origin == RUN else None
        stages.append(train_stage(data, name, _EXPERIMENT[RACE], own, weights_of=weights, backbone_alone=True))
    stages.append(train_stage(data, two_heads, _EXPERIMENT[TWO_HEADS], road.sets_of(size, TWO_HEADS)))
    names = [disease, *(name for name, _, _ in _race_models(road, size)), two_heads]
    part = ("--split", f"{split_name(size)}:test")
    stages += [predict_stage(data, name, {f"{_PREDICTIONS}/{name}.parquet": part}) for name in names]
    return [*stages, *(_probe_stage(road, data, name, wish) for name in (disease, two_heads))]


def _probe_stage(road: Road, data: StudyData, name: str, wish: Wish) -> Stage:
    """`probe-NAME`: units of the run's last layer switched off."""
    asked = (
        "--attribute", ATTRIBUTE, "--classes", ",".join(RACES), "--origins", RUN, "--criterion", ",".join(road.criteria),
        "--draws", road.draws, "--bootstrap", wish.bootstrap, "--seed", wish.seed,
    )  # fmt: skip

    def probe(on: Work, catalog: Path, store: Path) -> None:
        file = on.folder / _PREDICTIONS / f"{name}-units.csv"
        file.parent.mkdir()
        run_command(
            "probe", run_of(on, name), *asked, *data.skip, "--cache", on.scratch / "features", "--store", store, "--out", file, "-q",
            "-c", catalog,
        )  # fmt: skip

    return command_stage(data, f"probe-{name}", probe, (f"train-{name}",), {"asked": [str(one) for one in asked]})


def _analysis(road: Road, wish: Wish) -> Stage:
    names = [
        name
        for size in road.sizes
        for name in (model_name(DISEASE, size), *(one for one, _, _ in _race_models(road, size)), model_name(TWO_HEADS, size))
    ]  # fmt: skip
    probed = [model_name(what, size) for size in road.sizes for what in (DISEASE, TWO_HEADS)]
    before = [*(f"predict-{name}" for name in names), *(f"probe-{name}" for name in probed)]

    def work(on: Work, catalog: Path, _: Path) -> None:
        import cxrdata

        gathered = on.scratch / _PREDICTIONS
        shutil.rmtree(gathered, ignore_errors=True)
        for one in before:
            shutil.copytree(on.of[one] / _PREDICTIONS, gathered, dirs_exist_ok=True)
        with cxrdata.open(catalog) as opened:
            given = Given(gathered, None, opened, road.notes, road.phantoms is not None, _planted(road.phantoms))
            run_analysis(given, wish, on)

    return command_stage(road.data, ANALYSE, work, before, {"notes": list(road.notes), **inputs_of(wish)})


def _planted(drawn: Phantoms | None) -> str | None:
    """The race whose pictures bear a mark, empty where none does; None of pictures that are not drawn here."""
    if drawn is None:
        return None
    from cxrdata.images.phantom_norms import Norms

    mark = Norms.load(drawn.norms).mark
    return mark.value if mark is not None and mark.attribute == ATTRIBUTE else ""
