"""The study as one HTML page, offline, in the house style."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cxrdata.audit.data import OVERALL
from cxrdata.report.figure import Figure
from cxrdata.report.page import Page
from cxrdata.report.section import Section, Table
from cxrdata.version import __version__
from cxrtrain.studies.chexnet.analyse import AUROC, Analysis
from cxrtrain.studies.chexnet.design import BY_WORDS, DECADES, RETRAINED, SYSTEMS, findings
from cxrtrain.studies.chexnet.figures import in_words, said, study_figures
from cxrtrain.studies.chexnet.published import comparison, is_published_test
from cxrtrain.studies.comparison import rounded, signed
from cxrtrain.studies.page import write_page

TITLE = "CheXNet's fourteen findings, and whom they hold for"
SYNTHETIC = (
    "SYNTHETIC DATA: no image here is of a patient. Of the fourteen findings the phantoms show one, an enlarged heart; the others "
    "are labels by chance. Whatever is found proves the pipeline, and says nothing about medicine."
)
_QUESTION = (
    "How well does a model that learnt the 14 text-mined labels of NIH ChestX-ray14 tell each finding, and does it do so "
    "in women and men, in children and the old, on AP and PA films alike? After Zech, reproduce-chexnet, and Rajpurkar et al., "
    "CheXNet, arXiv 1711.05225. Their tables have one AUROC a finding, without an interval and for nobody in particular."
)
_MADE = (
    "AUROC with 95 % intervals by patient, since patients have many images. The labels were mined from reports: an AUROC says how "
    "well the model agrees with them, not with a radiologist. Aggregates only: no row of any patient is in this file."
)
_PUBLISHED = "The published numbers have four places, and no interval. What stands in the way of comparing them:"
_PLACES = 4
_GAPS = (
    "Each group less the group with the most images, with a 95 % interval. Where it holds 0 the data leave open which is ahead; of so "
    "many intervals about one in twenty would leave 0 out by chance alone."
)
_CONCLUDE = (
    "What to conclude: on the published test images, an AUROC beside the published one says whether the model was reproduced, and its "
    "interval how large a difference chance alone would make. The published test set has 42 images with a hernia: not enough to rank "
    "two systems by 0.001."
)
_NOT_WHY = (
    "What not: a lower AUROC in a group is no proof that the model treats it worse. The mix of cases differs between groups, AP films "
    "are of sicker people, and a group with few positives has a wide interval. An AUROC hides the threshold: two groups with the same "
    "AUROC may be called positive falsely at very different rates: cxrdata audit --threshold."
)


def page(analysis: Analysis) -> Page:
    """The page. Raises CxrError CXR-604 without the extra `[report]`."""
    figures = study_figures(analysis)
    return Page(
        title=TITLE,
        said=[_QUESTION, _MADE],
        notices=[SYNTHETIC] if analysis.synthetic else [],
        sections=_sections(analysis, figures),
        foot=f"cxrdata {__version__}. The terms of each dataset hold for what is derived from it too.",
    )


def _sections(analysis: Analysis, figures: list[Figure]) -> list[Section]:
    def some(start: str) -> list[Figure]:
        return [figure for figure in figures if figure.name.startswith(start)]

    sections = [
        Section("published", "Published and here", [*_judged(analysis), *analysis.notes, _PUBLISHED, *_reasons(analysis)], [*some("aucs"), _comparison(analysis)]),
    ]  # fmt: skip
    present = analysis.rows["group_by"].unique(maintain_order=True).to_list()
    for by in (one for one in BY_WORDS if one in present):
        name = by.replace("age_group:", "age_")
        drawn = [figure for figure in figures if figure.name.startswith(f"auroc_by_{name}")]
        title = f"By {BY_WORDS[by]}"
        sections.append(Section(name, title, [], [*drawn, _groups(analysis, by)]))
    if not (gaps := _gaps(analysis)).is_empty():
        shown = Table("gaps", "Differences between groups", "Difference of AUROC, with its 95 % interval.", gaps)
        sections.append(Section("gaps", "Differences", [_GAPS], [shown]))
    sections.append(Section("reading", "How to read this", [_CONCLUDE, _NOT_WHY]))
    return sections


def _judged(analysis: Analysis) -> list[str]:
    told = []
    for model, images, patients in analysis.judged.iter_rows():
        which = "the published test set" if is_published_test(analysis, model) else "not the published test set"
        told.append(f"{model}: {images:,} images of {patients:,} patients, {which}.")
    return told


def _comparison(analysis: Analysis) -> Table:
    """One row a finding: here, and each system's with the difference from it."""
    whole = comparison(analysis).filter(pl.col("quantity") == AUROC)
    keys = [*(["model"] if len(analysis.models) > 1 else []), "finding"]
    shown = whole.filter(system=RETRAINED).select(*keys, "here")
    for system, name in SYSTEMS.items():
        own = whole.filter(system=system).select(*keys, pl.col("published").alias(name), difference="difference")
        shown = shown.join(own.rename({"difference": f"difference from {name}"}), on=keys, maintain_order="left")
    told = shown.with_columns(
        in_words("finding"),
        *(pl.col(name).map_elements(lambda value: signed(value, _PLACES), return_dtype=pl.String) for name, dtype in shown.schema.items() if dtype == pl.Float64),
    )  # fmt: skip
    return Table(
        "published", "Published and here", "AUROC. published.csv has the same with a reason in every row.", told
    )


def _reasons(analysis: Analysis) -> list[str]:
    """Why the differences tell little, or why there are none: once each."""
    whole = comparison(analysis).filter(pl.col("quantity") == AUROC, pl.col("reason").is_not_null())
    found = whole.group_by("reason", maintain_order=True).agg("finding", pl.col("system").unique(maintain_order=True))
    told = []
    for reason, names, systems in found.iter_rows():
        few = sorted(set(names))
        which = "" if len(few) == len(findings()) else f" ({', '.join(said(name) for name in few)})"
        told.append(f"{' and '.join(SYSTEMS[one] for one in systems)}{which}: {reason}.")
    return told


def _groups(analysis: Analysis, by: str) -> Table:
    frame = analysis.by_group([by])
    if by == DECADES:  # many columns: without that of all, and without the words that all share
        frame = frame.drop("all").rename(lambda name: name.removeprefix("age group "))
    caption = "AUROC (95 % interval); positives/images. † under 10 positives or negatives: hardly an estimate."
    named = frame.with_columns(in_words("label")).rename({"label": "finding"})
    return Table(f"groups_{by.replace('age_group:', 'age_')}", f"AUROC by {BY_WORDS[by]}", caption, named)


def _gaps(analysis: Analysis) -> pl.DataFrame:
    """Differences between groups with their interval."""
    own = analysis.rows.filter(metric=f"{AUROC}_difference").filter(
        pl.col("group_by") != OVERALL, pl.col("estimate").is_not_null()
    )
    shown = own.select(
        *(["model"] if len(analysis.models) > 1 else []), finding=in_words("label"),
        by=pl.col("group_by").replace(BY_WORDS), group="group_value", less=pl.col("note").str.extract(r"(?:^|; )less ([^;]+)"),
        positives="n_positive", difference="estimate", low="ci_low", high="ci_high",
    )  # fmt: skip
    return rounded(shown)


def write_report(analysis: Analysis, folder: Path) -> Page:
    """report.html, figures/ (SVG, PNG, CSV) and published.csv into a folder."""
    made = page(analysis)
    write_page(made, comparison(analysis), folder)
    return made
