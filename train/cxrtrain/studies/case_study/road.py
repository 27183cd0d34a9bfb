"""The whole road: data → catalog → splits → store → four trainings → predictions at five blends → analysis → report.

With `--data synthetic` from drawn phantoms; else from a catalog and an image store of one's own, which take the place of the
first four stages. Every stage is commands that anyone can run by hand (`cxrtrain.studies.commands`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cxrdata.errors import CxrError
from cxrdata.stages import sha256_file
from cxrtrain.studies.case_study import design
from cxrtrain.studies.case_study.fpr import Wish
from cxrtrain.studies.case_study.plan import ANALYSE, STAGES, Given, report_stage, run_analysis
from cxrtrain.studies.case_study.predictions import SPLIT
from cxrtrain.studies.commands import run_command
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
DATA, CATALOG, SPLITS, STORE = "data", "catalog", "splits", "store"
_CATALOG = "cxr-catalog"
# Shares of the official sizes: enough positive PA films of adults in each to learn from, and infants to judge.
SCALES = MappingProxyType(
    {"vindr_cxr": 0.12, "nih_cxr14": 0.03, "padchest": 0.012, "chexpert": 0.04, "vindr_pcxr": 0.08}
)
_SIDE = 32
# A small net for two cores; everything else is the published experiment's.
QUICK = (
    f"data.side={_SIDE}", "input.channels=1", "model.backbone=small", "augment.mixup_alpha=0.0", "augment.affine_p=0.5", "augment.rotate_degrees=4.0",
    "augment.translate=0.04", "augment.zoom=[0.94, 1.06]", "optim.lr=0.002", "optim.schedule=cosine", "loop.epochs=10", "loop.batch=32",
    "heads.cardiomegaly.labeler=null", "data.images_per_epoch=640",
)  # fmt: skip


@dataclass(frozen=True)
class Phantoms:
    """Drawn data. norms: a file in place of metadata/phantom_norms.toml, such as a control in which age does not show."""

    scales: Mapping[str, float] = field(default_factory=lambda: SCALES)
    seed: int = 0
    norms: Path | None = None
    workers: int = 2


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


def plan_of_road(out: Path, road: Road, wish: Wish) -> Plan:
    """All stages. Raises CxrError CXR-502 where neither data nor catalog and store are named, CXR-501 an unknown model."""
    for model in road.models:
        if model not in EXPERIMENTS:
            raise CxrError("CXR-501", f"no model is trained on {model!r}", fix=f"--models {','.join(EXPERIMENTS)}")
    stages = [*_phantom_stages(road.phantoms)] if road.phantoms is not None else []
    own = {} if road.phantoms is not None else _own(road)
    sets = (*QUICK, *road.sets) if road.phantoms is not None else road.sets
    before = (SPLITS, STORE) if road.phantoms is not None else ()
    for model in road.models:
        stages.append(
            Stage(
                f"train-{model}",
                _trainer(road, model, sets),
                before,
                {"sets": list(sets), "experiment": EXPERIMENTS[model], **own},
            )
        )
        after = (f"train-{model}", *before)
        stages.append(
            Stage(
                f"predict-{model}",
                _predictor(road, model),
                after,
                {"blends": list(road.blends), "split": road.split, **own},
            )
        )
    stages += [_analysis(road, wish), report_stage()]
    return Plan(out / STAGES, stages)


def _own(road: Road) -> dict[str, Any]:
    """What the results depend on of a catalog and a store of one's own. Raises CxrError CXR-502, CXR-501 no such split."""
    import cxrdata

    if road.catalog is None or road.store is None:
        fix = "--data synthetic, or --predictions DIR, or a catalog and a store: -c CATALOG --store STORE"
        raise CxrError("CXR-502", "nothing says what to train on", fix=fix)
    manifest = road.store / "manifest.json"
    if not manifest.is_file():
        raise CxrError(
            "CXR-148",
            "there is no finished image store here",
            where=str(road.store),
            fix="cxrdata images build --size 224 --out STORE",
        )
    with cxrdata.open(road.catalog) as opened:
        opened.split(road.split)  # raises where there is none
        split = sha256_file(opened.folder.splits / road.split / "manifest.json")
        return {"catalog": opened.build.build_id, "split": split, "store": sha256_file(manifest)}


def _phantom_stages(wish: Phantoms) -> list[Stage]:
    """Drawn data, its catalog, split and pixels."""

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
        datasets = ",".join(wish.scales)
        run_command(
            "split", "--pediatric-vs-adult", "--dataset", datasets, "--where", WHERE, "--seed", design.SEED, "--name", SPLIT, "-q",
            "-c", on.folder / _CATALOG,
        )  # fmt: skip

    def store(on: Work) -> None:
        roots = [text for name in wish.scales for text in ("--root", f"{name}={on.of[DATA] / name}")]
        run_command(
            "images", "build", *roots, "--dataset", ",".join(wish.scales), "--where", WHERE, "--size", _SIDE, "--workers", wish.workers,
            "--out", on.folder / STORE, "-q", "-c", on.of[SPLITS] / _CATALOG,
        )  # fmt: skip

    norms = sha256_file(wish.norms) if wish.norms else None
    return [
        Stage(DATA, draw, inputs={"scales": dict(wish.scales), "seed": wish.seed, "norms": norms}),
        Stage(CATALOG, catalog, (DATA,)),
        Stage(SPLITS, split, (CATALOG,), {"where": WHERE, "seed": design.SEED}),
        Stage(STORE, store, (DATA, SPLITS), {"side": _SIDE, "where": WHERE}),
    ]


def _places(road: Road, on: Work) -> tuple[Path, Path]:
    """Catalog and store."""
    if road.phantoms is not None:
        return on.of[SPLITS] / _CATALOG, on.of[STORE] / STORE
    assert road.catalog is not None
    assert road.store is not None
    return road.catalog, road.store


def _skip(road: Road) -> tuple[str, ...]:
    """Some phantoms are broken files on purpose; of one's own images none is left out unsaid."""
    return ("--skip-missing",) if road.phantoms is not None else ()


def _trainer(road: Road, model: str, sets: tuple[str, ...]) -> Any:  # noqa: ANN401 - of Work
    def work(on: Work) -> None:
        from cxrtrain.run_folder import open_run

        catalog, store = _places(road, on)
        run = on.scratch / "run"  # goes on from its last checkpoint
        changes = [text for one in (f"data.split={road.split}", *sets) for text in ("--set", one)]
        run_command(
            "train", EXPERIMENTS[model], *changes, "--store", store, *_skip(road), "--out", run, "-q", "-c", catalog
        )
        if open_run(run).about["state"] != "finished":
            raise KeyboardInterrupt
        shutil.move(run, on.folder / "run")

    return work


def _predictor(road: Road, model: str) -> Any:  # noqa: ANN401 - of Work
    def work(on: Work) -> None:
        catalog, store = _places(road, on)
        for blend in road.blends:
            on.tell(f"blend {blend:g}")
            place = on.folder / "predictions" / (f"hm-{blend:g}" if blend else "hm-0")
            place.mkdir(parents=True)
            run_command(
                "predict", on.of[f"train-{model}"] / "run", "--where", JUDGED.format(split=road.split), "--store", store,
                *_skip(road), "--histogram-blend", f"{blend:g}", "--out", place / f"{model}.parquet", "-q", "-c", catalog,
            )  # fmt: skip

    return work


def _analysis(road: Road, wish: Wish) -> Stage:
    def work(on: Work) -> None:
        import cxrdata

        gathered = on.folder / "predictions"
        for model in road.models:
            shutil.copytree(on.of[f"predict-{model}"] / "predictions", gathered, dirs_exist_ok=True)
        place = road.catalog if road.phantoms is None else on.of[SPLITS] / _CATALOG
        with cxrdata.open(place) as opened:
            run_analysis(Given(gathered, opened, road.split), wish, on, synthetic=road.phantoms is not None)

    after = (*(f"predict-{model}" for model in road.models), *((SPLITS,) if road.phantoms is not None else ()))
    inputs = {
        "rules": list(wish.rules),
        "bootstrap": wish.bootstrap,
        "seed": wish.seed,
        "min_cell": wish.min_cell,
        "code": study_digest(),
    }
    return Stage(ANALYSE, work, after, inputs)
