"""The figures of the review: one a table, of the same numbers, by the same rules.

Points are drawn as bars, bounds as bars from the least to the most that the facts allow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.report.figure import Figure, require_altair
from cxrdata.report.theme import colour
from cxrdata.review.counting import HOW_ORDER, MODALITIES, SOURCE_ORDER, TASKS
from cxrdata.review.tables import TABLES, make_table

if TYPE_CHECKING:
    from cxrdata.review.facts import Facts

_SOURCE = "Facts after Hua et al., medRxiv 2025.06.06.25328913."
_RULES = {
    "published": "By the rules of the publication: more than x % is read as x, what is unknown is left out.",
    "careful": "Bars reach from the least to the most that the facts allow; near-duplicates count once.",
}
_LABELS = {
    "total": "all sources", "without_cancer": "without cancer", "collections": "data collections", "tcia": "TCIA",
    "midrc": "MIDRC", "stanford_aimi": "Stanford AIMI", "challenges": "challenges", "grand_challenge": "Grand Challenge",
    "kaggle": "Kaggle", "highly_cited": "highly cited datasets", "benchmarks": "benchmarks",
    "msd": "Segmentation Decathlon", "medfair": "MedFAIR", "amos": "AMOS", "papers": "conference papers",
    "medsam_ct": "MedSAM CT", "medsam_mri": "MedSAM MRI", "vqa_rad": "VQA-RAD", "secondary": "reused datasets",
    "primary": "datasets made of others", "datasets": "datasets that papers use",
}  # fmt: skip
_MOST_COUNTRIES, _MOST_DATASETS = 12, 15
_BAR_STEP = 24
_HOW_COLOURS = ("grey", "green", "sky", "orange", "red")
_LARGEST_COLOURS = {"largest": "red", "second": "orange", "third": "sky", "all others": "grey"}


def review_figures(facts: Facts, rules: str, *, only: str | None = None) -> list[Figure]:
    """A figure of each table of the review, or of the one named, by `published` or `careful` rules.

    Raises CxrError CXR-604 without the extra `[report]`.
    """
    require_altair()
    return [_figure(name, make_table(name, facts, rules), rules) for name in TABLES if only in (None, name)]


def _figure(name: str, table: pl.DataFrame, rules: str) -> Figure:
    title, drawing, says = _DRAWINGS[name]
    chart = drawing(table, rules)
    return Figure(f"review_{name}_{rules}", title, f"{says} {_RULES[rules]} {_SOURCE}", chart, table)


def _words(name: str) -> str:
    return _LABELS.get(name, name.replace("_", " "))


def _labelled(table: pl.DataFrame, column: str = "label", of: str = "source") -> pl.DataFrame:
    return table.with_columns(
        pl.col(of).replace_strict(_LABELS, default=pl.col(of).str.replace_all("_", " ")).alias(column)
    )


def _rows(labels: list[str], title: str | None = None) -> Any:  # noqa: ANN401 - an Altair channel
    import altair as alt

    return alt.Y("label:N", sort=labels, title=title)


def _bars(
    table: pl.DataFrame,
    value: str,
    title: str,
    *,
    low: str | None = None,
    hue: str = "blue",
    width: int = 260,
    symlog: bool = False,
    labels: bool = True,
    text: str | None = None,
) -> Any:  # noqa: ANN401 - an Altair chart
    """Horizontal bars of `value`, or from `low` to `value`, a row of `table` each, in its order; `text`: what stands
    behind a bar.
    """  # fmt: skip
    import altair as alt

    order = list(dict.fromkeys(table["label"].to_list()))
    scale = alt.Scale(type="symlog", constant=10) if symlog else alt.Undefined
    axis = alt.Axis(labelLimit=440) if labels else alt.Axis(labels=False, ticks=False)
    powers: dict[str, Any] = {"values": [0, 100, 1000, 10_000, 100_000], "format": ",.0f"} if symlog else {}
    ticks = alt.Axis(labelOverlap="greedy", tickCount=6, **powers)
    base = alt.Chart(_plain(table)).encode(alt.Y("label:N", sort=order, title=None, axis=axis))
    ends = {"x": alt.X(f"{low or value}:Q", title=title, scale=scale, axis=ticks)} | (
        {"x2": f"{value}:Q"} if low else {}
    )
    drawn = base.mark_bar(color=colour(hue)).encode(**ends)
    if low:
        # A bound that is met is a line, not nothing.
        drawn += base.mark_tick(color=colour(hue), thickness=2, size=16).encode(alt.X(f"{value}:Q"))
    if text:
        drawn += base.mark_text(align="left", dx=4, color=colour("ink")).encode(
            alt.X(f"{value}:Q"), text=alt.Text(f"{text}:N")
        )
    return drawn.properties(width=width, height=alt.Step(_BAR_STEP))


def _plain(table: pl.DataFrame) -> pl.DataFrame:
    """Without lists, which charts do not take."""
    return table.select(name for name, dtype in table.schema.items() if not isinstance(dtype, pl.List))


def _beside(*charts: Any) -> Any:  # noqa: ANN401 - Altair charts
    import altair as alt

    return alt.hconcat(*charts, spacing=24)


def _ends(rules: str, name: str) -> tuple[str, str | None]:
    """Column of the value and, of careful tables, of the lower bound."""
    return (name, None) if rules == "published" else (f"{name}_high", f"{name}_low")


def _summary(table: pl.DataFrame, rules: str) -> Any:  # noqa: ANN401 - an Altair chart
    import altair as alt

    shown = _labelled(table).with_columns(adults=pl.col("patients") - pl.col("children"))
    order = shown["label"].to_list()
    long = shown.select("label", "adults", "children").unpivot(index="label", variable_name="who", value_name="n")
    patients = (
        alt.Chart(long)
        .mark_bar()
        .encode(
            alt.X("n:Q", title="patients of datasets analysed", axis=alt.Axis(format="~s")),
            _rows(order),
            alt.Color("who:N", title=None, scale=_colours({"adults": "blue", "children": "red"})),
            alt.Order("who:O"),
        )
        .properties(width=240, height=alt.Step(_BAR_STEP))
    )
    value, low = _ends(rules, "percent_children")
    percent = shown.with_columns(text=_counted(value, low, " %"))
    return _beside(
        patients,
        _bars(percent, value, "children, % of patients", low=low, hue="red", labels=False, text="text", width=240),
    )


def _colours(names: dict[str, str]) -> Any:  # noqa: ANN401 - an Altair scale
    import altair as alt

    return alt.Scale(domain=list(names), range=[colour(name) for name in names.values()])


def _overview(table: pl.DataFrame, rules: str) -> Any:  # noqa: ANN401, ARG001 - an Altair chart; alike by both rules
    counts = table.filter(pl.col("measure").str.starts_with("datasets"))
    shown = counts.with_columns(
        label=pl.col("measure").str.replace_all("_", " "), text=pl.col("value").cast(pl.Int64).cast(pl.String)
    )
    return _bars(shown, "value", "datasets", text="text", width=340)


def _papers(table: pl.DataFrame, rules: str) -> Any:  # noqa: ANN401 - an Altair chart
    value, low = _ends(rules, "percent")
    shown = table.with_columns(
        label=pl.format("{}: {}", pl.col("about"), pl.col("measure").str.replace_all("_", " ")),
        text=_of(table),
    )
    return _bars(shown, value, "% of papers, or of the datasets that they use", low=low, text="text", width=340)


def _of(table: pl.DataFrame) -> pl.Expr:
    """`13 of 25`, and how many are unknown, where some are."""
    plain = pl.format("{} of {}", pl.col("count").cast(pl.Int64), pl.col("of").cast(pl.Int64))
    if "unknown" not in table.columns:
        return plain
    return pl.when(pl.col("unknown") > 0).then(pl.format("{}, {} unknown", plain, "unknown")).otherwise(plain)


def _documentation(table: pl.DataFrame, rules: str) -> Any:  # noqa: ANN401, ARG001 - an Altair chart; alike by both rules
    import altair as alt

    shown = _labelled(table).with_columns(
        place=pl.col("how").replace_strict({how: n for n, how in enumerate(HOW_ORDER)})
    )
    order = [_words(source) for source in SOURCE_ORDER]
    return (
        alt.Chart(shown)
        .mark_bar(stroke=colour("paper"))
        .encode(
            alt.X("percent:Q", title="% of papers or datasets", scale=alt.Scale(domain=[0, 100])),
            _rows(order),
            alt.Color(
                "how:N", title=None, scale=_colours(dict(zip(HOW_ORDER, _HOW_COLOURS, strict=True))),
                legend=alt.Legend(columns=3),
            ),
            alt.Order("place:Q"),
        )
        .properties(width=480, height=alt.Step(34))
    )  # fmt: skip


def _children(table: pl.DataFrame, rules: str) -> Any:  # noqa: ANN401 - an Altair chart
    parts = table.filter(pl.col("kind") == "dataset")
    if rules == "careful":
        shown = (
            parts.filter(pl.col("modality") == "any").head(_MOST_DATASETS).with_columns(label=pl.col("dataset_name"))
        )
        shown = shown.with_columns(text=_counted("children_high", "children_low"))
        return _bars(
            shown, "children_high", "children (patients)", low="children_low", hue="red", text="text", width=340
        )
    return _largest(parts)


def _largest(parts: pl.DataFrame) -> Any:  # noqa: ANN401 - an Altair chart
    """What the three largest datasets hold of the children of each modality."""
    import altair as alt

    names = list(_LARGEST_COLOURS)
    ranked = parts.with_columns(rank=pl.int_range(pl.len()).over("modality").clip(upper_bound=len(names) - 1))
    rank = pl.col("rank").replace_strict(dict(enumerate(names)), return_dtype=pl.String)
    shown = ranked.group_by("modality", "rank", maintain_order=True).agg(pl.col("percent").sum()).with_columns(who=rank)
    first = ranked.filter(pl.col("rank") == 0).with_columns(
        text=pl.format("{} ({} %)", "dataset_name", pl.col("percent").round(0).cast(pl.Int64))
    )
    rows = alt.Y("modality:N", sort=list(MODALITIES), title=None)
    bars = (
        alt.Chart(shown)
        .mark_bar(stroke=colour("paper"))
        .encode(
            alt.X("percent:Q", title="% of the children of a modality", scale=alt.Scale(domain=[0, 100])),
            rows,
            alt.Color("who:N", title=None, scale=_colours(_LARGEST_COLOURS), sort=names),
            alt.Order("rank:Q"),
        )
    )
    text = (
        alt.Chart(first)
        .mark_text(align="left", dx=8, color=colour("ink"))
        .encode(rows, x=alt.XDatum(100), text=alt.Text("text:N"))
    )
    return (bars + text).properties(width=380, height=alt.Step(34))


def _modalities(table: pl.DataFrame, rules: str) -> Any:  # noqa: ANN401 - an Altair chart
    value, low = _ends(rules, "percent_children")
    shown = table.with_columns(
        label=pl.col("modality"), n=pl.format("{} of {}", "datasets", "of"),
        text=_counted(value, low, " %"),
    )  # fmt: skip
    datasets = _bars(shown, "percent_datasets", "% of datasets", text="n", width=220)
    children = _bars(
        shown, value, "children, % of sequences or images", low=low, hue="red", text="text", labels=False, width=220
    )
    return _beside(datasets, children)


def _tasks(table: pl.DataFrame, rules: str) -> Any:  # noqa: ANN401 - an Altair chart
    import altair as alt

    children, low = _ends(rules, "children")
    adults, adults_low = _ends(rules, "adults")
    split = table.filter(pl.col("modality") != "any").with_columns(
        label=pl.col("task").str.replace_all("_", " "),
        text=pl.format("{} : {}", _counted(adults, adults_low), _counted(children, low)),
        share=pl.col(children) / (pl.col(children) + pl.col(adults)).clip(lower_bound=1),
    )
    base = alt.Chart(split).encode(
        alt.X("label:N", sort=[task.replace("_", " ") for task in TASKS], title=None, axis=alt.Axis(labelAngle=0, orient="top", labelLimit=150)),
        alt.Y("modality:N", sort=list(MODALITIES), title=None),
    )  # fmt: skip
    tint = alt.Opacity("share:Q", legend=None, scale=alt.Scale(type="sqrt", range=[0, 0.8]))
    cells = base.mark_rect(color=colour("orange"), stroke=colour("line")).encode(tint)
    grid = (cells + base.mark_text(fontSize=10).encode(text=alt.Text("text:N"))).properties(
        width=alt.Step(128 if low is None else 160), height=alt.Step(30),
        title=alt.TitleParams("adults : children, in sequences or images", fontSize=12, fontWeight="normal"),
    )  # fmt: skip
    kinds = table.filter(pl.col("modality") == "any").with_columns(
        label=pl.col("task"), n=pl.col("datasets").cast(pl.String)
    )
    return alt.vconcat(grid, _bars(kinds, "datasets", "datasets of a kind of task", text="n", width=340), spacing=24)


def _counted(high: str, low: str | None, unit: str = "") -> pl.Expr:
    """A number, or its bounds where they differ, with commas."""

    def words(row: dict[str, float | None]) -> str:
        ends = dict.fromkeys(row[name] for name in ([high] if low is None else [low, high]))
        return "–".join(f"{n:,}" for n in ends if n is not None) + unit  # noqa: RUF001 - the sign of a range

    return pl.struct([high] if low is None else [low, high]).map_elements(words, return_dtype=pl.String)


def _countries(table: pl.DataFrame, rules: str) -> Any:  # noqa: ANN401 - an Altair chart
    import altair as alt

    shown = table.head(_MOST_COUNTRIES).with_columns(label=pl.col("country"))
    if rules == "careful":
        patients = _bars(shown, "patients_high", "patients", low="patients_low", symlog=True, width=250)
        children = _bars(
            shown, "children_high", "children", low="children_low", hue="red", symlog=True, labels=False, width=250
        )
        return _beside(patients, children)
    names = {"percent_patients": "all patients", "percent_children": "children"}
    long = shown.unpivot(list(names), index="label", variable_name="who", value_name="percent").with_columns(
        pl.col("who").replace_strict(names)
    )
    hues = _colours({"all patients": "blue", "children": "red"})
    return (
        alt.Chart(long)
        .mark_bar()
        .encode(
            alt.X("percent:Q", title="% of patients, of children"),
            _rows(shown["label"].to_list()),
            alt.YOffset("who:N"),
            alt.Color("who:N", title=None, scale=hues),
        )
        .properties(width=420, height=alt.Step(16))
    )


def _repackaging(table: pl.DataFrame, rules: str) -> Any:  # noqa: ANN401 - an Altair chart
    value, low = _ends(rules, "percent")
    lost = table.filter(pl.col("of") > 1).with_columns(
        label=pl.format("{}: {}", pl.col("about").replace_strict(_LABELS), pl.col("measure").str.replace_all("_", " ")),
        text=_of(table),
    )
    about_age = pl.col("measure").str.contains("age_not_documented|without|give_no_age|unknown_age|reuse|children")
    return _bars(lost.filter(about_age), value, "%", low=low, text="text", width=300)


_Drawing = Callable[[pl.DataFrame, str], Any]
# Table -> title, how it is drawn, what it says.
_DRAWINGS: dict[str, tuple[str, _Drawing, str]] = {
    "summary": (
        "Adults and children in public medical imaging datasets, by source", _summary,
        "Patients of the datasets whose share of adults and size are known, and per cent children.",
    ),
    "overview": ("What public medical imaging datasets say of their patients", _overview, "Datasets by what is known."),
    "papers": (
        "Conference papers: whose images, and whether age is mentioned", _papers,
        "Papers of MIDL 2023 and 2024, and the datasets that they use.",
    ),
    "documentation": (
        "How age is documented", _documentation, "Papers and datasets by the form in which they give ages.",
    ),
    "children": (
        "Which datasets hold the children", _children, "Children of single datasets among all of a modality, or of all.",
    ),
    "modalities": (
        "Imaging modalities", _modalities, "Datasets that have a modality, and children among its sequences or images.",
    ),
    "tasks": (
        "Kinds of task, and adults and children by modality", _tasks,
        "Sequences of CT, MRI and ultrasound, images of X-ray and fundus photography; the deeper a cell, the more children.",
    ),
    "countries": (
        "Countries that patients come from", _countries, f"The {_MOST_COUNTRIES} countries with most patients.",
    ),
    "repackaging": (
        "What becomes of age where datasets are made from others", _repackaging,
        "Datasets reused and made from them, what MedSAM was made from, and the cases of VQA-RAD.",
    ),
}  # fmt: skip
