"""The case study as one HTML page, offline, in the house style."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cxrdata.report.figure import Figure
from cxrdata.report.page import Page
from cxrdata.report.section import Section, Table
from cxrdata.version import __version__
from cxrtrain.studies.case_study.analyse import Analysis
from cxrtrain.studies.case_study.design import ADULTS, CAREFUL, NAMES, WHAT_DIFFERS, YOUNG
from cxrtrain.studies.case_study.figures import case_study_figures, named
from cxrtrain.studies.case_study.published import QUANTITIES, comparison
from cxrtrain.studies.comparison import rounded, signed
from cxrtrain.studies.page import write_page

_SMALL = 0.001
TITLE = "Adults' models on children's hearts"
SYNTHETIC = (
    "SYNTHETIC DATA: no image here is of a patient. The effect is planted: the phantoms of infants are drawn with the wider "
    "hearts that infants have. That it is found proves the pipeline, and says nothing about medicine."
)
_QUESTION = (
    "How often does a model that learnt from adults call the hearts of healthy children enlarged? After Hua et al., "
    "medRxiv 2025.06.06.25328913. False positive rate: the share of healthy people who are called positive, at the "
    "threshold of the highest Youden's J on the calibration part of the dataset that the model was trained on."
)


def page(analysis: Analysis) -> Page:
    """The page. Raises CxrError CXR-604 without the extra `[report]`."""
    figures = {figure.name: figure for figure in case_study_figures(analysis)}
    rows = named(analysis.details)
    return Page(
        title=TITLE,
        said=[
            _QUESTION,
            *WHAT_DIFFERS,
            "The interval of a rate takes the threshold as given. Aggregates only: no row of any patient is in this file.",
        ],
        notices=[SYNTHETIC] if analysis.synthetic else [],
        sections=[section for section in _sections(analysis, rows, figures) if section.shows or section.said],
        foot=f"cxrdata {__version__}. The terms of each dataset hold for what is derived from it too.",
    )


def _sections(analysis: Analysis, rows: pl.DataFrame, figures: dict[str, Figure]) -> list[Section]:
    def some(*starts: str) -> list[Figure | Table]:
        return [figure for name, figure in figures.items() if name.startswith(starts)]

    trend = _trends(analysis)
    return [
        Section("models", "Models and thresholds", list(analysis.notes), [_thresholds(analysis)]),
        Section("children", "Children", [], [*some("children_and"), *_overall(rows, YOUNG), *some("children_vindr", "children_n", "children_p", "children_c")]),
        Section("adults", "Adults", [], [*_overall(rows, ADULTS), *some("adults_")]),
        Section("over-80", "Over 80", [_OVER_80], _old(rows)),
        Section("blends", "Histogram matching", [], some("blends")),
        Section("strata", "Views and devices", [_STRATA], [*_strata(rows), *some("views_")]),
        Section("trend", "Errors and age", [_TREND] if trend else [], trend),
        Section("sensitivity", "Sensitivity in children", [_SENSITIVITY], _sensitivity(analysis)),
        Section("published", "Published and here", [_PUBLISHED], [_comparison(analysis)]),
        Section("reading", "How to read this", [_CONCLUDE, _NOT_WHY]),
    ]  # fmt: skip


_OVER_80 = (
    "The published rates are U-shaped: the oldest healthy adults are called positive more often than the middle-aged. Their "
    "bin is small, so look at its interval first."
)
_STRATA = (
    "Careful rules. AP films enlarge the heart's shadow, and a device tells of a patient who is ill; the published tests kept AP films "
    "of NIH, and healthy CheXpert films with devices. Rows appear where the predictions hold both kinds."
)
_TREND = (
    "The correlation of a handful of bins is nearly always high. Beside it: how the odds of a false positive change in ten "
    "years of age, in children in one, from a logistic regression by generalised estimating equations with patients as clusters."
)
_SENSITIVITY = (
    "VinDr-PCXR has no image label of cardiomegaly, but radiologists drew boxes that name it. The share of these children whom the "
    "model calls positive, at the same threshold: a low false positive rate alone could come of a model that calls nobody."
)
_PUBLISHED = (
    "Shares, not percent. Where the rules here are those of the publication, differences come of the predictions."
)
_CONCLUDE = (
    "What to conclude: a rate in children above that in adults, with intervals apart, on the same model and threshold, says that "
    "the threshold of adults does not hold for children."
)
_NOT_WHY = (
    "What not: not why. Children of VinDr-PCXR differ from the training images in age, hospital, machine and projection at once; "
    "compare the adults of other sources, and the children of NIH and PadChest, whose adults the models know. Healthy means no "
    "finding was stated, which each dataset states in another way."
)


def _rate(frame: pl.DataFrame, *columns: str, name: str = "fpr") -> pl.DataFrame:
    """The columns, and rate and interval in one cell."""
    told = [
        None if rate is None else f"{rate:.1%}" + ("" if low is None else f" ({low:.1%} to {high:.1%})")
        for rate, low, high in frame.select(name, "ci_low", "ci_high").iter_rows()
    ]
    return frame.select(*columns).with_columns(pl.Series("rate_(95 % interval)", told, dtype=pl.String))


def _thresholds(analysis: Analysis) -> Table:
    own = analysis.thresholds
    rules = own["rules"].unique(maintain_order=True).to_list()
    keys = ["trained_on", "blend"]
    frame = own.filter(rules=rules[0]).select(*keys, "n", "n_positive", "auroc", "ci_low", "ci_high")
    for one in rules:
        frame = frame.join(own.filter(rules=one).select(*keys, pl.col("threshold").alias(f"threshold_{one}")), on=keys)
    order = {name: at for at, name in enumerate(NAMES)}
    frame = frame.sort(pl.col("trained_on").replace_strict(order), "blend").with_columns(
        pl.col("trained_on").replace(NAMES)
    )
    caption = "n: images of the calibration part. Its AUROC says how well the model tells adults with the finding from healthy ones."
    return Table("thresholds", "Thresholds", caption, rounded(frame, but=("blend",)))


def _overall(rows: pl.DataFrame, subset: str) -> list[Figure | Table]:
    own = rows.filter(
        (pl.col("subset") == subset) | (pl.col("subset").is_in([f"{YOUNG}:0-1", f"{YOUNG}:2-10"]) & (subset == YOUNG)),
        pl.col("blend") == 0.0, pl.col("ages").is_null(),
    )  # fmt: skip
    if own.is_empty():
        return []
    told = own.with_columns(ages=pl.col("subset").str.extract(":(.*)$").fill_null("all"))
    frame = _rate(told, "trained_on", "dataset", "ages", "rules", "n", "n_positive")
    who = "adults" if subset == ADULTS else "children"
    caption = "n_positive: healthy images that are called positive. The published rules give these rates no interval."
    return [Table(f"overall_{who}", f"Healthy {who}, all models and datasets", caption, frame)]


def _old(rows: pl.DataFrame) -> list[Figure | Table]:
    own = rows.filter(
        pl.col("subset") == ADULTS,
        pl.col("blend") == 0.0,
        pl.col("ages").is_in(["40-59", "80+"]),
        pl.col("rules") == _best(rows),
    )
    if "80+" not in own["ages"]:
        return []
    caption = f"{_best(rows).capitalize()} rules. Masked bins have no rate."
    shown = _rate(own, "trained_on", "dataset", "ages", "n").rename({"rate_(95 % interval)": "rate"})
    beside = shown.pivot("ages", index=["trained_on", "dataset"], values=["n", "rate"], maintain_order=True)
    return [Table("over_80", "Healthy adults of 40 to 59 and from 80", caption, beside)]


def _best(rows: pl.DataFrame) -> str:
    return CAREFUL if CAREFUL in rows["rules"] else str(rows["rules"][0])


def _strata(rows: pl.DataFrame) -> list[Figure | Table]:
    own = rows.filter(pl.col("subset").str.contains(":(PA|AP|with)"), pl.col("ages").is_null())
    if own.is_empty():
        return []
    frame = _rate(own, "trained_on", "dataset", "subset", "n", "n_positive")
    return [Table("strata", "AP and PA, with and without devices", "Over all ages.", frame)]


def _trends(analysis: Analysis) -> list[Figure | Table]:
    """What could be estimated, and of the rest why not."""
    if analysis.trends["estimate"].null_count() == analysis.trends.height:
        return []
    words = {"fpr_age_correlation": "correlation over bins", "fpr_age_odds_ratio": "odds ratio"}
    named = analysis.trends.with_columns(
        pl.col("trained_on", "dataset").replace(NAMES),
        pl.col("measure").replace(words),
        pl.col("estimate", "ci_low", "ci_high").map_elements(_three_digits, return_dtype=pl.String),
        pl.col("p_value").map_elements(_p_value, return_dtype=pl.String),
    ).drop("method")
    caption = "Of each test apart. The correlation has no p value: its interval says what one would."
    return [Table("trend", "False positives and age", caption, named)]


def _three_digits(value: float) -> str:
    """Three places, or three digits that say something where three places would be 0."""
    if value and abs(value) < _SMALL:
        return f"{value:.2e}".replace("-", "\N{MINUS SIGN}")
    return signed(value, 3)


def _p_value(value: float) -> str:
    return "< 0.001" if value < _SMALL else f"{value:.3f}"


def _sensitivity(analysis: Analysis) -> list[Figure | Table]:
    if analysis.sensitivity.is_empty():
        return []
    frame = analysis.sensitivity.with_columns(pl.col("trained_on", "dataset").replace(NAMES))
    shown = _rate(frame, "trained_on", "dataset", "ages", "n", "n_called", name="sensitivity")
    return [Table("sensitivity", "Children with a box that names cardiomegaly", "n: images with such a box.", shown)]


def _comparison(analysis: Analysis) -> Table:
    frame = comparison(analysis)
    ages = named(frame)["ages"].fill_null("all")
    shown = frame.select(
        pl.col("quantity").replace(QUANTITIES), pl.col("trained_on").replace(NAMES), pl.col("dataset").replace(NAMES),
        "subset", ages, "blend", "published", "here", "difference", "reason",
    )  # fmt: skip
    return Table(
        "published",
        "Published and here",
        "The reason says why there is nothing to compare, or what else differs.",
        rounded(shown, but=("blend",)),
    )


def write_report(analysis: Analysis, folder: Path) -> Page:
    """report.html, figures/ (SVG, PNG, CSV) and published.csv into a folder."""
    made = page(analysis)
    write_page(made, comparison(analysis), folder)
    return made
