"""The study as one HTML page, offline, in the house style."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cxrdata.report.figure import Figure
from cxrdata.report.page import Page
from cxrdata.report.section import Section, Table
from cxrdata.version import __version__
from cxrtrain.studies.comparison import rounded
from cxrtrain.studies.implicit_attributes.analyse import Analysis
from cxrtrain.studies.implicit_attributes.design import ATTRIBUTE, BACKBONE, FIRST, ORIGIN_NAMES, RACES
from cxrtrain.studies.implicit_attributes.evaluate import ACCURACY, AUROC
from cxrtrain.studies.implicit_attributes.figures import named, study_figures
from cxrtrain.studies.implicit_attributes.published import QUANTITIES, comparison
from cxrtrain.studies.implicit_attributes.sets import ALL
from cxrtrain.studies.page import write_page

TITLE = "Race in what models of disease have learnt"
_SYNTHETIC = (
    "SYNTHETIC DATA: no image here is of a patient. Phantoms prove the pipeline, and say nothing about medicine."
)
_QUESTION = (
    "How much of a patient's race can be read off the features of a model that learnt disease, and does disease detection need "
    "what carries it? After the repository On-Learning-Implicit-Protected-Attributes, itself after Gichoya et al., The Lancet "
    "Digital Health 4(6):e406-e414, 2022."
)
_SETS = (
    "Sets of CheXpert, balanced over race, with at most so many images a patient. The published ones with one image a patient "
    "are equal over the races in each part; those with up to 2 and 3 in all alone, which their source does not say. Here "
    "each part is equal too."
)
_EXPERIMENT_1 = (
    "A head for race on a frozen backbone that learnt disease, one that learnt ImageNet, and one that learnt nothing. Read a "
    "backbone's figure beside that of the random one: what an untrained net lets be read too was not learnt from disease."
)
_EXPERIMENT_2 = (
    "Units of the last layer are ranked on training images by how much of race they carry, and switched off; beside them as many "
    "at random. Where ranked units cost race more than the random draws do (their AUROC lies below the interval of the draws), "
    "these units carry race; where the findings keep theirs, disease detection does without them. Its source has a draft only."
)
_PUBLISHED = "Counts of images are published; of the models no figure is, so there is nothing to hold theirs against."
_CONCLUDE = (
    "What to conclude: race that is read off a frozen backbone better than off a random one, with intervals apart, is in "
    "what that backbone has learnt."
)
_NOT = (
    "What not: that a model uses it. Nor that the shape of a chest tells it: devices, machines, sites and projections "
    "that go with race are read as well. A backbone of ImageNet knows no chest, and may still let race be read. A head that is not trained "
    "anew after units are off says nothing of what another head would find in the rest."
)
_AUROC = "AUROC_(95 % interval)"


def page(analysis: Analysis) -> Page:
    """The page. Raises CxrError CXR-604 without the extra `[report]`."""
    figures = study_figures(analysis)
    said = [_QUESTION, "Intervals are by patient, where a patient is known. Aggregates only: no row of any patient is in this file."]  # fmt: skip
    return Page(
        title=TITLE,
        said=said,
        notices=[f"{_SYNTHETIC} {planted(analysis.planted)}".strip()] if analysis.synthetic else [],
        sections=[
            section
            for section in _sections(analysis, figures)
            if section.shows or (section.name in ("reading", "notes") and section.said)
        ],
        foot=f"cxrdata {__version__}. The terms of each dataset hold for what is derived from it too, such as roc.csv and models/.",
    )


def planted(race: str | None) -> str:
    """What phantoms show of race."""
    if race is None:
        return ""
    findings = "Of findings cardiomegaly alone is drawn: others can be told only as far as their labels go with it."
    if not race:
        return f"Race is not drawn in these phantoms: experiment 1 can only be at chance, up to the size of the test. {findings}"
    others = " and ".join(one for one in RACES if one != race)
    return (
        f"Race is planted: a spot is drawn on pictures of patients whose race is {race}, and on no others. So {race} is there to "
        f"be found, while {others} are drawn alike: they can be told from {race}, not from each other. {findings}"
    )


def _sections(analysis: Analysis, figures: list[Figure]) -> list[Section]:
    def some(*starts: str) -> list[Figure | Table]:
        return [figure for figure in figures if figure.name.startswith(starts)]

    return [
        Section("sets", "Sets", [_SETS], _sets(analysis)),
        Section("experiment-1", "Experiment 1: race on frozen backbones", [_EXPERIMENT_1], [
            *_of_race(analysis), *some("race_by_backbone", "freezing", "roc_race", "confusion"),
        ]),
        Section("disease", "Disease", [], [*_findings(analysis), *some("roc_findings")]),
        Section("experiment-2", "Experiment 2: units that carry race, switched off", [_EXPERIMENT_2], [
            *_ablation(analysis), *some("ablation"),
        ]),
        Section("published", "Published and here", [_PUBLISHED], [_comparison(analysis)]),
        Section("reading", "How to read this", [_CONCLUDE, _NOT]),
        Section("notes", "What was counted and passed over", analysis.notes),
    ]  # fmt: skip


def _interval(frame: pl.DataFrame, name: str) -> pl.Series:
    """Estimate and interval in one cell."""
    told = [
        None if value is None else f"{value:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")
        for value, low, high in frame.select("estimate", "ci_low", "ci_high").iter_rows()
    ]
    return pl.Series(name, told, dtype=pl.String)


def _sets(analysis: Analysis) -> list[Figure | Table]:
    if analysis.checks.is_empty():
        return []
    shown: list[Figure | Table] = [
        Table("checks", "Checks", "published: whether the set of the source keeps the promise too.", analysis.checks.drop("split"))
    ]  # fmt: skip
    counts = analysis.sets.with_columns(
        race=pl.when(pl.col("race") == ALL).then(pl.lit("all")).otherwise(pl.col("race").fill_null("not known")),
        images=pl.when(pl.col("note").is_not_null()).then(pl.lit("masked")).otherwise(pl.format("{}", "images")),
    )
    if counts.height:
        wide = counts.pivot("race", index=["images_per_patient", "part"], values="images", maintain_order=True)
        caption = "Images by part and race. Masked: of too few patients."
        shown.append(Table("sets", "Images of the sets", caption, wide))
    return shown


def _of_race(analysis: Analysis) -> list[Figure | Table]:
    rows = named(analysis.evaluation).filter(about=ATTRIBUTE)
    if rows.is_empty():
        return []
    first = pl.col("frozen").str.strip_prefix(FIRST)
    frame = rows.select(
        "model", "images_per_patient", pl.col("origin").replace(ORIGIN_NAMES).alias("backbone"),
        pl.when(frozen=BACKBONE).then(pl.lit("all")).when(pl.col("frozen").is_not_null()).then(pl.format("first {}", first)).alias("frozen"),
        pl.when(metric=ACCURACY).then(pl.lit("accuracy")).otherwise(pl.format("AUROC, {}", "label")).alias("what"), "n",
        _interval(rows, "estimate_(95 % interval)"), "note",
    )  # fmt: skip
    caption = "Test images. AUROC of each race against the other two, and the share of images whose race is told right (of three, a third is chance)."
    return [Table("race", "How well race is told", caption, _without_empty(frame))]


def _findings(analysis: Analysis) -> list[Figure | Table]:
    rows = analysis.evaluation.filter(pl.col("about") != ATTRIBUTE, pl.col("metric") == AUROC)
    if rows.is_empty():
        return []
    frame = rows.select("model", "label", "n", "n_positive", _interval(rows, _AUROC), "note")
    caption = "Of the model whose backbone experiment 1 reads, and of the one with two heads. Uncertain and blank labels count as negative, as in training."
    return [Table("findings", "How well findings are told", caption, _without_empty(frame))]


def _without_empty(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(name for name in frame.columns if frame[name].null_count() < frame.height)


def _ablation(analysis: Analysis) -> list[Figure | Table]:
    """At the greatest share that was switched off: ranked units beside random ones."""
    off = analysis.ablation.filter(pl.col("units") != "none")
    if off.is_empty():
        return []
    most = off.filter(pl.col("share") == pl.col("share").max().over("model"))
    keys = ["model", "about", "target", "read_by"]
    plain = analysis.ablation.filter(units="none").unique(keys, keep="first", maintain_order=True)
    ranked, random = most.filter(units="ranked"), most.filter(units="random")
    frame = (
        ranked.with_columns(_interval(ranked, "ranked"), percent=(pl.col("share") * 100).round(1))
        .join(plain.select(*keys, _interval(plain, "all_on")), on=keys, how="left", maintain_order="left")
        .join(
            random.select(*keys, _interval(random, "random_(95 % of draws)"), draws_low="ci_low"),
            on=keys,
            how="left",
            maintain_order="left",
        )
        .with_columns(below_random=pl.when(pl.col("estimate") < pl.col("draws_low")).then(pl.lit("yes")).otherwise(pl.lit("no")))
        .select("model", "target", "criterion", "percent", "all_on", "ranked", "random_(95 % of draws)", "below_random")
    )  # fmt: skip
    caption = "AUROC on test images with all units on, with the ranked ones off, with as many random ones off; percent of units. The shares between are in the figures."
    if frame["criterion"].n_unique() == 1:
        caption += f" Ranked by {frame['criterion'][0]}."
        frame = frame.drop("criterion")
    return [Table("ablation", "Units switched off", caption, frame)]


def _comparison(analysis: Analysis) -> Table:
    frame = comparison(analysis).with_columns(pl.col("quantity").replace(QUANTITIES))
    return Table(
        "published", "Published and here", "The reason says why there is nothing to compare, or what differs.", rounded(frame)
    )  # fmt: skip


def write_report(analysis: Analysis, folder: Path) -> Page:
    """report.html, figures/ (SVG, PNG, CSV) and published.csv into a folder."""
    made = page(analysis)
    write_page(made, comparison(analysis), folder)
    return made
