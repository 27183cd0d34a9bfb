"""The stages of the analysis, whoever made the predictions: cohort → resample → detection, attributes, explore-MODEL → report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.stages import sha256_file
from cxrtrain.studies.chexploration import design
from cxrtrain.studies.chexploration.design import DETECT, EXPLORED, MODELS, READ, TEST, VAL, Wish
from cxrtrain.studies.chexploration.given import EMBEDDINGS, KEY, Given, write_keyed
from cxrtrain.studies.stages import Plan, Stage, Work, study_digest

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

STAGES = "stages"
COHORT, RESAMPLE, DETECTION, ATTRIBUTES, EXPLORE, REPORT = (
    "cohort", "resample", "detection", "attributes", "explore", "report",
)  # fmt: skip
# What ends up in the folder that was named; everything else stays with its stage.
OUTPUTS: dict[str, tuple[str, ...]] = {
    **{f"predict-{model}": (model,) for model in MODELS},
    COHORT: ("funnel.csv", "parts.csv"),
    RESAMPLE: ("resampled.csv",),
    DETECTION: ("detection.csv",),
    ATTRIBUTES: ("attributes.csv",),
    **{f"{EXPLORE}-{model}": (f"explored-{model}",) for model in EXPLORED},
    REPORT: ("published.csv", "report.html", "figures"),
}
_NOTES, _ABOUT, _DRAWS = "notes.json", "about.json", "draws.parquet"
_ERROR_TABLES = {DETECTION: "detection.csv", ATTRIBUTES: "attributes.csv"}


@dataclass(frozen=True)
class Desk:
    """What the analysis works on. models: those that are predicted, in the order of `MODELS`; explored: those with features too.

    opened: the catalog, for a stage. stage_of: of a model and a kind of file (`predictions`, `embeddings`) the stage whose
    result holds MODEL/KIND.PART.parquet. before: stages that whatever reads the catalog comes after; inputs: what it depends
    on of the catalog. trained: the models were trained here. notes: of what was given.
    """

    dataset: str
    split: str
    models: tuple[str, ...]
    explored: tuple[str, ...]
    opened: Callable[[Work], AbstractContextManager[Catalog]]
    stage_of: Callable[[str, str], str]
    before: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = False
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> str:
        """The model whose predicted images are the study's test set."""
        return self.models[0]

    def folder(self, on: Work, model: str, kind: str = "predictions") -> Path:
        return on.of[self.stage_of(model, kind)] / model

    def after(self, models: Sequence[str], kind: str = "predictions") -> tuple[str, ...]:
        """The stages that a stage comes after which reads these models' files."""
        return (*(self.stage_of(model, kind) for model in models), *self.before)


def plan_of_predictions(
    out: Path, given: Given, catalog: Catalog | None, wish: Wish, *, dataset: str, split: str, named: bool = False
) -> Plan:
    """read-MODEL → the analysis. given: see `find_given`. The catalog says who the images are. named: the split was asked for,
    so CXR-501 where the catalog has none of that name."""
    assert catalog is not None  # the command opens the default one
    if named:
        catalog.split(split)
    models = tuple(model for model in MODELS if model in given.files)
    features = [model for model, own in given.files.items() if any(one.kind == EMBEDDINGS for one in own)]
    made = catalog.folder.splits / split / "manifest.json"
    inputs = {"catalog": catalog.build.build_id, "split": sha256_file(made) if made.is_file() else None}
    desk = Desk(
        dataset, split, models, tuple(model for model in EXPLORED if model in features),
        opened=lambda _: nullcontext(catalog), stage_of=lambda model, _: f"read-{model}", inputs=inputs, notes=tuple(given.notes),
    )  # fmt: skip

    def reading(model: str) -> Stage:
        def work(on: Work) -> None:
            (on.folder / model).mkdir()
            notes = write_keyed(given.files[model], _source(catalog, dataset), on.folder / model)
            _write_notes(on.folder, [f"{model}: {text}" for text in notes])

        read = {"files": given.digests(model), "catalog": inputs["catalog"], "dataset": dataset, "code": study_digest()}
        return Stage(f"read-{model}", work, inputs=read)

    return Plan(out / STAGES, [*(reading(model) for model in models), *analysis(desk, wish)])


def analysis(desk: Desk, wish: Wish) -> list[Stage]:
    """All stages of the analysis, of the models that the desk has."""
    common = {"dataset": desk.dataset, "split": desk.split, "code": study_digest(), **desk.inputs}
    wishes = asdict(wish)

    def told(*names: str) -> dict[str, Any]:
        return common | {name: wishes[name] for name in names}

    detect = [model for model in desk.models if model in DETECT]
    read = [model for model in desk.models if model in READ]
    errors = told("bootstrap", "seed", "min_cell")
    stages = [
        Stage(COHORT, _cohort(desk, wish), desk.after([desk.first]), told("min_cell")),
        Stage(RESAMPLE, _resample(desk, wish), desk.after([desk.first]), told("min_cell")),
        Stage(DETECTION, _errors(desk, wish, DETECTION, detect), (*desk.after(detect), RESAMPLE), errors),
        Stage(ATTRIBUTES, _errors(desk, wish, ATTRIBUTES, read), desk.after(read), errors),
    ]
    for model in desk.explored:
        after = dict.fromkeys((*desk.after([model]), *desk.after([model], EMBEDDINGS), RESAMPLE))
        wished = told("per_group", "plane", "min_cell")
        stages.append(Stage(f"{EXPLORE}-{model}", _explore(desk, wish, model), tuple(after), wished))
    before = (COHORT, RESAMPLE, DETECTION, ATTRIBUTES, *(f"{EXPLORE}-{model}" for model in desk.explored))
    readings = () if desk.trained else desk.after(desk.models)
    about = {"models": list(desk.models), "trained": desk.trained, "notes": list(desk.notes), "code": study_digest()}
    return [*stages, Stage(REPORT, _report(desk), (*before, *readings), about)]


def _source(catalog: Catalog, dataset: str) -> Any:  # noqa: ANN401 - of `cxrdata.audit`, imported on use
    from cxrdata.audit.truth import CatalogTruth

    return CatalogTruth(catalog, datasets=[dataset], labeler=design.LABELER)


def _cohort(desk: Desk, wish: Wish) -> Callable[[Work], None]:
    def work(on: Work) -> None:
        from cxrtrain.studies.chexploration.cohort import funnel_of, parts_of

        with desk.opened(on) as catalog:
            steps, notes = funnel_of(catalog, desk.dataset)
            files = {part: desk.folder(on, desk.first) / f"predictions.{part}.parquet" for part in (VAL, TEST)}
            predicted = {part: pl.read_parquet(path, columns=KEY) for part, path in files.items() if path.is_file()}
            parts, more = parts_of(catalog, desk.split, predicted, wish.min_cell)
            about = {"dataset": desk.dataset, "synthetic": desk.dataset in catalog.manifest["synthetic"]}
        steps.write_csv(on.folder / "funnel.csv")
        parts.write_csv(on.folder / "parts.csv")
        (on.folder / _ABOUT).write_text(json.dumps(about, sort_keys=True) + "\n", encoding="utf-8")
        _write_notes(on.folder, [*notes, *more])

    return work


def _resample(desk: Desk, wish: Wish) -> Callable[[Work], None]:
    def work(on: Work) -> None:
        from cxrtrain.studies.chexploration.cohort import drawn_anew

        test = pl.read_parquet(desk.folder(on, desk.first) / "predictions.test.parquet", columns=KEY)
        with desk.opened(on) as catalog:
            draws, table, notes = drawn_anew(catalog, test, wish.min_cell)
        if draws is not None:
            draws.write_parquet(on.folder / _DRAWS)
        table.write_csv(on.folder / "resampled.csv")
        _write_notes(on.folder, notes)

    return work


def _draws_of(on: Work) -> pl.DataFrame | None:
    """What the stage `resample` drew; None where there was nothing to balance."""
    path = on.of[RESAMPLE] / _DRAWS
    return pl.read_parquet(path) if path.is_file() else None


def _errors(desk: Desk, wish: Wish, stage: str, models: Sequence[str]) -> Callable[[Work], None]:
    def work(on: Work) -> None:
        from cxrtrain.studies.chexploration.errors import Judge, attributes, detection

        files = {model: desk.folder(on, model) for model in models}
        with desk.opened(on) as catalog:
            source = _source(catalog, desk.dataset)
            if stage == DETECTION:
                judge = Judge(source, wish, _draws_of(on))
                rows = detection(judge, files, on.tell)
            else:
                judge = Judge(source, wish)
                rows = attributes(judge, files, on.tell)
        rows.write_csv(on.folder / _ERROR_TABLES[stage])
        _write_notes(on.folder, judge.notes)

    return work


def _explore(desk: Desk, wish: Wish, model: str) -> Callable[[Work], None]:
    def work(on: Work) -> None:
        from cxrtrain.studies.chexploration.exploration import explored, save

        predictions = desk.folder(on, model) / "predictions.test.parquet" if model in DETECT else None
        features = desk.folder(on, model, EMBEDDINGS) / "embeddings.test.parquet"
        try:
            with desk.opened(on) as catalog:
                found = explored(catalog, features, wish, predictions=predictions, draws=_draws_of(on))
        except CxrError as error:
            if error.code != "CXR-410":
                raise
            said = f"features of the {design.SAID[model]}: left out, {error.problem}; cxrdata explore --sample-by looks at others"
            _write_notes(on.folder, [said])
            return
        on.tell("drawing")
        save(found, on.folder / f"explored-{model}")

    return work


def _report(desk: Desk) -> Callable[[Work], None]:
    def work(on: Work) -> None:
        from cxrtrain.studies.chexploration.report import write_report
        from cxrtrain.studies.chexploration.result import Result

        on.tell("drawing")
        notes = [*desk.notes, *(text for folder in on.of.values() for text in _read_notes(folder))]
        places = {model: on.of[f"{EXPLORE}-{model}"] / f"explored-{model}" for model in desk.explored}
        explorations = {model: place for model, place in places.items() if place.is_dir()}
        result = Result.read(
            funnel=on.of[COHORT] / "funnel.csv",
            parts=on.of[COHORT] / "parts.csv",
            resampled=on.of[RESAMPLE] / "resampled.csv",
            detection=on.of[DETECTION] / "detection.csv",
            attributes=on.of[ATTRIBUTES] / "attributes.csv",
            explorations=explorations,
            **json.loads((on.of[COHORT] / _ABOUT).read_text(encoding="utf-8")),
            trained=desk.trained,
            notes=list(dict.fromkeys(notes)),
        )
        write_report(result, on.folder)

    return work


def _write_notes(folder: Path, notes: Sequence[str]) -> None:
    (folder / _NOTES).write_text(json.dumps(list(notes), indent=1) + "\n", encoding="utf-8")


def _read_notes(folder: Path) -> list[str]:
    path = folder / _NOTES
    found: list[str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return found
