"""The study as one HTML page, offline, in the house style."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cxrdata.report.figure import Figure
from cxrdata.report.page import Page
from cxrdata.report.section import Section, Table
from cxrdata.version import __version__
from cxrdata.wording import slug
from cxrtrain.studies.chexploration import design
from cxrtrain.studies.chexploration.design import NAMES, SAID, WHAT_DIFFERS
from cxrtrain.studies.chexploration.exploration import ON_PAGE
from cxrtrain.studies.chexploration.figures import shown, study_figures
from cxrtrain.studies.chexploration.published import QUANTITIES, comparison
from cxrtrain.studies.chexploration.result import Result
from cxrtrain.studies.comparison import rounded, signed
from cxrtrain.studies.page import write_page

TITLE = "Race and sex in models that find disease"
SYNTHETIC = (
    "SYNTHETIC DATA: no image here is of a patient. Drawn chests show hearts and, a little, ages, and nothing of race, sex or an "
    "effusion: models that look for these do so by chance, as they should. What is found proves the pipeline and says nothing about medicine."
)
SYNTHETIC_GIVEN = (
    "SYNTHETIC DATA: the rows of this catalog, patients, labels and all, are random numbers; the predictions are the ones that were "
    "given, and nothing was trained here. How well they agree with such rows says nothing about medicine."
)
_QUESTION = (
    "How much of race and sex can be read off a chest X-ray, how much of it is in the features of a model that was trained to find "
    "disease, and how do that model's errors differ between groups? After Glocker et al., eBioMedicine 89:104467, 2023."
)
_COHORT = (
    "The cohort by its published steps, counted in this catalog. Patients are parted 0.6 : 0.1 : 0.3; subgroup models are trained on "
    "the same parts' White patients, or men, alone, and tested on everybody."
)
_RESAMPLED = (
    "The test set drawn anew, with replacement: the races equally often, within each race the diseases as in the whole test set, "
    "within each of these the ages. A difference between groups that is gone here came with disease or age."
)
_NOT_RESAMPLED = (
    "There are no two races in this test set to draw equally often, so nothing is judged on a resampled one."
)
_ATTRIBUTES = (
    "A model trained for it reads race and sex off the image. The SPLIT test asks how much of that is in the features of the disease "
    "model: its backbone is frozen, and a new linear layer is trained for the attribute. The multi-task model learns all three on one backbone."
)
_EXPLORE = (
    "Principal components that hold 99 % of the variance of the test images' features, and tests of the first four and of the logits: "
    "Kolmogorov-Smirnov, p values adjusted by Benjamini and Yekutieli. Those by age, and joint plots and t-SNE, "
    "which have a mark for each image, lie beside this page in explored-MODEL/figures; the terms of the data hold for them."
)
_CONCLUDE = (
    "What to conclude: an attribute that the SPLIT test reads well is in the features. Whether it is used is another question: that "
    "it shows in the components of most variance, or in the logits, and above all in errors that differ with intervals apart, speaks for it."
)
_NOT_WHY = (
    "What not: not why. Race here is what was stated in administrative records, and goes with age, sex, view, hospital and disease; "
    "labels were mined from reports, whose errors may differ between groups too. A pooled threshold meets another mix of scores in each group, so "
    "that TPR and FPR move together where only prevalence or severity differ; read AUROC and J beside them."
)
_J = "youden"
_PUBLISHED = "Where the rules here are those of the publication, differences come of data, models and chance: the reason says which."


def page(result: Result) -> Page:
    """The page. Raises CxrError CXR-604 without the extra `[report]`."""
    figures = study_figures(result)
    return Page(
        title=TITLE,
        said=[
            f"{_QUESTION} Here: {NAMES[result.dataset]}.",
            *WHAT_DIFFERS,
            "Aggregates only: no row of any patient is in this file.",
        ],
        notices=_notices(result),
        sections=_sections(result, figures),
        foot=f"cxrdata {__version__}. The terms of each dataset hold for what is derived from it too.",
    )


def _notices(result: Result) -> list[str]:
    """That the data are synthetic: what models learn of drawn chests is known, what was given may be anything."""
    return [SYNTHETIC if result.trained else SYNTHETIC_GIVEN] if result.synthetic else []


def _sections(result: Result, figures: list[Figure]) -> list[Section]:
    def some(*starts: str) -> list[Figure | Table]:
        return [figure for figure in figures if figure.name.startswith(starts)]

    explored = [
        Section(f"explore-{model}", f"Features: {SAID[model]}", [_EXPLORE, *found.notes], _features(model, figures))
        for model, found in result.explorations.items()
    ]
    sections = [
        Section("cohort", "Cohort and parts", [_COHORT], [_funnel(result), _parts(result)]),
        Section("resampled", "The resampled test set", [_RESAMPLED], _resampled(result))
        if result.resampled.height
        else Section("resampled", "The resampled test set", [_NOT_RESAMPLED]),
        Section("detection", "Errors by race and sex", [], [*some("detection_"), *_errors(result), *some("resampled_", "models_")]),
        Section("attributes", "Race and sex", [_ATTRIBUTES], [*some("attributes"), *_read(result)]),
        *explored,
        Section("published", "Published and here", [_PUBLISHED], _comparison(result)),
        Section("reading", "How to read this", [_CONCLUDE, _NOT_WHY]),
        Section("notes", "What was counted and passed over", result.notes),
    ]  # fmt: skip
    empty = {"detection", "attributes"}
    return [one for one in sections if one.shows or (one.said and one.name not in empty)]


def _features(model: str, figures: list[Figure]) -> list[Figure | Table]:
    """The figures of an exploration in their order."""
    own = {figure.name: figure for figure in figures}
    return [own[f"{model}_{name}"] for name in ON_PAGE if f"{model}_{name}" in own]


def _funnel(result: Result) -> Table:
    kept = [f"race_{slug(race)}" for race in design.RACES]
    caption = "expected images: as published. Race as harmonised, which need not be what the cohort goes by."
    names = ["step", "images", "patients", "expected_images", "delta", *kept]
    delta = pl.col("delta").map_elements(lambda value: signed(value, 0), return_dtype=pl.String)
    frame = result.funnel.select(one for one in names if one in result.funnel.columns).with_columns(delta)
    return Table("funnel", "Cohort", caption, frame)


def _parts(result: Result) -> Table:
    frame = result.parts.rename({"group_by": "by", "group_value": "group"}).pivot(
        "part", index=["by", "group"], values=["images", "patients"], maintain_order=True
    )
    masked = result.parts["note"].null_count() < result.parts.height
    caption = (
        "Empty cells are masked: too few patients, or they would follow; or nobody." if masked else "By race and sex."
    )
    return Table("parts", "Parts", caption, frame)


def _resampled(result: Result) -> list[Table]:
    caption = "Prevalence within each race, before and after; draws are with replacement."
    return [Table("resampled", "Disease by race", caption, _without_empty(rounded(result.resampled)))]


def _without_empty(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop(name for name in frame.columns if frame[name].null_count() == frame.height)


def _interval(frame: pl.DataFrame) -> pl.DataFrame:
    """Estimate and interval in one cell."""
    told = [
        signed(estimate, 3) + ("" if low is None else f" ({signed(low, 3)} to {signed(high, 3)})")
        for estimate, low, high in frame.select("estimate", "low", "high").iter_rows()
    ]
    return frame.with_columns(pl.Series("told", told, dtype=pl.String)).drop("estimate", "low", "high")


def _errors(result: Result) -> list[Figure | Table]:
    """A table a finding and model, and one a finding of J, so that all columns have room on the page."""
    rows = _interval(shown(result.detection))
    rates = rows.filter(pl.col("metric") != _J).with_columns(pl.col("metric").replace(QUANTITIES))
    tables: list[Figure | Table] = []
    for label in design.FINDINGS:
        finding = label.replace("_", " ").title()
        for (model,), own in rates.filter(label=label).group_by("model", maintain_order=True):
            keys = ["test_set", "rules", "group", "n", "positives"]
            wide = own.pivot("metric", index=keys, values="told", maintain_order=True)
            caption = _caption(result.detection.filter(model=model, label=label))
            tables.append(Table(slug(f"errors_{label}_{model}"), f"{finding}, {SAID[str(model)]}", caption, wide))
        index = rows.filter(label=label, metric=_J).with_columns(pl.col("model").replace(SAID))
        if index.height:
            wide = index.pivot("rules", index=["model", "test_set", "group"], values="told", maintain_order=True)
            caption = "The true less the false positive rate, by either set of rules."
            tables.append(Table(f"{_J}_{label}", f"{finding}, Youden's J", caption, wide))
    return tables


def _caption(rows: pl.DataFrame) -> str:
    own = rows.filter(pl.col("estimate").is_not_null(), metric="threshold")
    said = [
        f"{test_set} {' and '.join(f'{one:.3f}' for one in part['estimate'])}"
        for (test_set,), part in own.group_by("test_set", maintain_order=True)
    ]
    return (
        "By published rules everybody's FPR is as near to 0.2 as the scores allow. n: images; resampled by published rules: draws. "
        f"Thresholds, published and careful: {', '.join(said)}."
    )


def _read(result: Result) -> list[Figure | Table]:
    rows = shown(result.attributes)
    if rows.is_empty():
        return []
    wide = (
        _interval(rows)
        .with_columns(pl.col("model").replace(SAID))
        .rename({"label": "class"})
        .pivot("rules", index=["model", "class", "n", "positives"], values="told", maintain_order=True)
    )
    caption = "AUROC of each class against the rest, 95 % intervals by image (published) and by patient (careful)."
    return [Table("attributes_table", "Race and sex, all models", caption, wide)]


def _comparison(result: Result) -> list[Figure | Table]:
    """The cohort's figures, the models', and those of the other dataset."""
    words = SAID | {one: one.replace("_", " ") for one in design.FINDINGS}
    found = comparison(result)
    here, cohort = pl.col("dataset") == result.dataset, pl.col("model").is_null()
    tables: list[Figure | Table] = []
    for name, title, rows in (
        ("cohort", "The cohort and its parts", found.filter(here & cohort)),
        ("models", "The models", found.filter(here & ~cohort)),
        ("other", "The paper's other dataset", found.filter(~here)),
    ):
        shown_ = rows.select(
            pl.col("quantity").replace(QUANTITIES), pl.col("model").replace(SAID), "part", pl.col("label").replace(words),
            "group", "published", "here", "difference", "reason",
        )  # fmt: skip
        caption = "part: of the split, or a step of the cohort. The reason says why there is nothing to compare, or what else differs."
        if rows.height:
            tables.append(Table(f"published_{name}", title, caption, _without_empty(rounded(shown_))))
    return tables


def write_report(result: Result, folder: Path) -> Page:
    """report.html, figures/ (SVG, PNG, CSV) and published.csv into a folder."""
    made = page(result)
    # Those of the explorations are saved with them.
    own = [
        figure for figure in made.figures if not figure.name.startswith(tuple(f"{one}_" for one in result.explorations))
    ]
    write_page(made, comparison(result), folder, figures=own)
    return made
