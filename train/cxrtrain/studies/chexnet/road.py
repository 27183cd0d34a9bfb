"""The whole road: data → catalog → splits → store → training → preds.csv → analysis → maps → explorer → report.

With `--data synthetic` from drawn phantoms; else from a catalog and an image store of one's own, which take the place of the
first four stages. Every stage is commands that anyone can run by hand (`cxrtrain.studies.commands`).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cxrdata.export.parquet import TERMS, copy_terms
from cxrtrain.studies.chexnet import design
from cxrtrain.studies.chexnet.analyse import Given, Wish, analyse
from cxrtrain.studies.chexnet.design import COHORT, DATASET, EXPERIMENT, HEAD, LABELER, PREDICTIONS, RATIOS, findings
from cxrtrain.studies.chexnet.explorer import SCHEMA, SHOWN, choose, explorer_page, shown_rows
from cxrtrain.studies.chexnet.plan import ANALYSE, OUTPUTS, STAGES, report_stage, wish_inputs
from cxrtrain.studies.commands import run_command
from cxrtrain.studies.data import Phantoms, SplitWish, StudyData
from cxrtrain.studies.models import command_stage, predict_stage, run_of, train_stage
from cxrtrain.studies.stages import Plan, Stage, Work, study_digest

MODEL = "chexnet"
PREDICT = f"predict-{MODEL}"
MAPS, EXPLORER = "maps", "explorer"
SCALE, SIDE = 0.015, 64
# A net of few weights for two cores, with the mean of its last maps before the head, which the maps need.
QUICK = (
    f"data.side={SIDE}", "data.fit=squash", f"input.crop={SIDE}", "input.channels=1", "input.normalise=training", "model.backbone=test_resnet",
    "model.weights=none", "loop.epochs=4", "loop.batch=32",
)  # fmt: skip


@dataclass(frozen=True)
class Road:
    """What to do. phantoms: draw the data; else `catalog` and `store` are one's own. sets: `--set` of the training. pictures:
    test images of each finding in the explorer."""

    phantoms: Phantoms | None = None
    catalog: Path | None = None
    store: Path | None = None
    split: str = design.SPLIT
    sets: tuple[str, ...] = ()
    pictures: int = 4

    @property
    def data(self) -> StudyData:
        wish = SplitWish(self.split, ("--cohort", COHORT, "--ratios", RATIOS))
        return StudyData((wish,), None, self.phantoms, self.catalog, self.store, needs=(DATASET,))


def phantoms(seed: int = 0, norms: Path | None = None, scale: float = SCALE) -> Phantoms:
    """The drawn data of the study: NIH's films."""
    return Phantoms({DATASET: scale}, SIDE, seed, norms)


def plan_of_road(out: Path, road: Road, wish: Wish) -> Plan:
    """All stages. Raises CxrError: those of `StudyData.inputs`."""
    data = road.data
    sets = (f"data.split={road.split}", *(QUICK if road.phantoms is not None else ()), *road.sets)
    asked = ("--split", f"{road.split}:test", "--layout", "chexnet")
    stages = [
        *data.stages(),
        train_stage(data, MODEL, EXPERIMENT, sets),
        predict_stage(data, MODEL, {PREDICTIONS: asked}),
        _analysis(data, wish, road.sets),
        *([_maps(data, road.pictures, wish.seed), _explorer(data)] if road.pictures else []),
        report_stage(),
    ]
    return Plan(out / STAGES, stages)


def outputs(road: Road) -> dict[str, tuple[str, ...]]:
    """What ends up in the folder that was named, by stage."""
    explored = {EXPLORER: ("explorer.html", SHOWN, TERMS)} if road.pictures else {}
    return {PREDICT: (PREDICTIONS,), **OUTPUTS, **explored}


def _predictions(on: Work) -> Path:
    return on.of[PREDICT] / PREDICTIONS


def _analysis(data: StudyData, wish: Wish, sets: tuple[str, ...]) -> Stage:
    # Keys without values: one may be a path.
    keys = dict.fromkeys(one.partition("=")[0] for one in sets)
    trained = f"trained here, with another {', '.join(keys)}" if keys else "trained here anew: other draws"

    def run(on: Work, catalog: Path, _: Path) -> None:
        import cxrdata

        with cxrdata.open(catalog) as opened:
            analyse(Given([_predictions(on)], opened, trained=trained), wish, tell=on.tell).save(on.folder)

    return command_stage(data, ANALYSE, run, (PREDICT,), wish_inputs(wish))


def _maps(data: StudyData, pictures: int, seed: int) -> Stage:
    """Of the chosen test images `cxrdata explain --method chexnet`, once a finding that any of them is mapped for."""

    def run(on: Work, catalog: Path, store: Path) -> None:
        shown = _shown(on, catalog, pictures, seed)
        shown.write_csv(on.folder / SHOWN)
        for finding in shown.filter("mapped")["finding"].unique(maintain_order=True).to_list():
            on.tell(finding)
            images = shown.filter(pl.col("mapped"), finding=finding)["image_id"].to_list()
            named = ", ".join("'" + name.replace("'", "''") + "'" for name in images)
            run_command(
                "explain", run_of(on, MODEL), "--method", "chexnet", "--head", HEAD, "--output", finding, "--dataset", DATASET,
                "--where", f"image_id IN ({named})", "--per-group", len(images), "--store", store, *data.skip,
                "--out", on.folder / finding, "-q", "-c", catalog,
            )  # fmt: skip

    inputs = {"pictures": pictures, "seed": seed, "code": study_digest()}
    return command_stage(data, MAPS, run, (f"train-{MODEL}", PREDICT), inputs)


def _shown(on: Work, catalog: Path, pictures: int, seed: int) -> pl.DataFrame:
    """Which test images, with what is predicted, true, and usual."""
    import cxrdata
    from cxrtrain.explain.question import output_of, prevalence_of
    from cxrtrain.run_folder import open_run

    names = list(findings())
    predicted = pl.read_csv(_predictions(on))
    opened_run = open_run(run_of(on, MODEL))
    prevalence = {name: prevalence_of(opened_run, output_of(opened_run, HEAD, name)) for name in names}
    with cxrdata.open(catalog) as opened:
        truth = opened.labels(dataset=DATASET, labeler=LABELER, findings=names, policy="zeros")
    return shown_rows(choose(predicted, truth, pictures, seed), predicted, truth, prevalence)


def _explorer(data: StudyData) -> Stage:
    """The page of the maps, a finding a section."""

    def run(on: Work, catalog: Path, _: Path) -> None:
        import cxrdata
        from cxrdata.report.page import render

        shown = pl.read_csv(on.of[MAPS] / SHOWN, schema=SCHEMA)
        pictures, told = {}, {}
        for index in sorted(on.of[MAPS].glob("*/index.parquet")):
            for row in pl.read_parquet(index).iter_rows(named=True):
                pictures[row["image_id"], row["output"]] = index.parent / row["file"]
                age = "age unknown" if row["age_years"] is None else f"{row['age_years']:.0f} years"
                told[row["image_id"]] = f"{age}, {row['view'] or 'view unknown'}"
        with cxrdata.open(catalog) as opened:
            copy_terms(opened, on.folder)
            synthetic = bool(opened.manifest["synthetic"])
        page = explorer_page(shown, pictures, told, synthetic=synthetic)
        (on.folder / "explorer.html").write_text(render(page), encoding="utf-8")
        shutil.copyfile(on.of[MAPS] / SHOWN, on.folder / SHOWN)

    return command_stage(data, EXPLORER, run, (MAPS,), {"code": study_digest()})
