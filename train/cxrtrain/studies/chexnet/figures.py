"""Figures: the AUCs beside the published ones, and how they differ by sex, age and view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from cxrdata.report.charts import categories
from cxrdata.report.figure import Figure, figure_name, require_altair
from cxrdata.report.theme import SHAPES, colour
from cxrtrain.studies.chexnet.analyse import AUROC, Analysis
from cxrtrain.studies.chexnet.design import BY_WORDS, DECADES, SYSTEMS
from cxrtrain.studies.chexnet.published import published_figures

HERE = "here"
_WIDE, _PANEL, _HIGH, _COLUMNS = 520, 250, 110, 3
_SURE = "isValid(datum.low)"
_BARS = "Bars are 95 % intervals by patient."


def study_figures(analysis: Analysis) -> list[Figure]:
    """Of each model its own. Raises CxrError CXR-604 without the extra `[report]`."""
    require_altair()
    found = [figure for model in analysis.models for figure in _of_model(analysis, model)]
    return [figure for figure in found if not figure.table.is_empty()]


def said(finding: str) -> str:
    """A finding as people write it."""
    return finding.replace("_", " ")


def in_words(column: str) -> pl.Expr:
    """A column of findings as people write them."""
    return pl.col(column).str.replace_all("_", " ", literal=True)


def _of_model(analysis: Analysis, model: str) -> Iterator[Figure]:
    several = len(analysis.models) > 1
    suffix, words = (f"_{figure_name(model)}", f" ({model})") if several else ("", "")
    yield _aucs(analysis, model, suffix, words)
    for by in analysis.rows["group_by"].unique(maintain_order=True).to_list():
        if by in BY_WORDS:
            yield _by_group(analysis, model, by, suffix, words)


def _aucs(analysis: Analysis, model: str, suffix: str, words: str) -> Figure:
    """One row a finding: what was found with its interval, and the two published numbers."""
    import altair as alt

    own = analysis.overall.filter(pl.col("model") == model, pl.col("estimate").is_not_null())
    here = own.select(
        "label", who=pl.lit(HERE), auroc="estimate", low="ci_low", high="ci_high", images="n", positives="n_positive"
    )
    known = published_figures().filter(pl.col("quantity") == AUROC, pl.col("finding").is_in(own["label"].to_list()))
    published = known.select(label="finding", who=pl.col("system").replace(SYSTEMS), auroc="published")
    ranked = own.sort("estimate", descending=True)["label"].to_list()
    table = pl.concat([here, published], how="diagonal").with_columns(finding=in_words("label"))  # fmt: skip
    order, rows = [HERE, *SYSTEMS.values()], [said(name) for name in ranked]
    base = alt.Chart(table).encode(
        y=alt.Y("finding:N", sort=rows, title=None), yOffset=alt.YOffset("who:N", sort=order),
        color=alt.Color("who:N", title=None, sort=order, scale=categories(order)),
    )  # fmt: skip
    x = alt.X("auroc:Q", title="AUROC", scale=alt.Scale(zero=False, nice=False, padding=12), axis=alt.Axis(tickCount=6))
    shapes = alt.Scale(domain=order, range=list(SHAPES[: len(order)]))
    bars = base.transform_filter(_SURE).mark_rule(strokeWidth=1.6).encode(x=alt.X("low:Q", title="AUROC"), x2="high:Q")  # fmt: skip
    points = base.mark_point(filled=True, opacity=1, size=48).encode(
        x=x, shape=alt.Shape("who:N", title=None, sort=order, scale=shapes),
        tooltip=[alt.Tooltip("finding:N"), alt.Tooltip("who:N"), alt.Tooltip("auroc:Q", format=".4f"), alt.Tooltip("positives:Q", format=",")],
    )  # fmt: skip
    return Figure(
        f"aucs{suffix}",
        f"AUROC of each finding, here and published{words}",
        f"{_BARS} The published numbers have none. Findings in the order of the AUROC here.",
        (bars + points).properties(width=_WIDE, height=alt.Step(9, **{"for": "offset"})),
        table.drop("label").select("finding", pl.all().exclude("finding")),
    )


def _by_group(analysis: Analysis, model: str, by: str, suffix: str, words: str) -> Figure:
    rows = analysis.rows.filter(
        pl.col("model") == model, pl.col("group_by") == by, pl.col("metric") == AUROC, pl.col("estimate").is_not_null()
    )
    table = rows.select(
        finding=in_words("label"), group="group_value", auroc="estimate",
        low="ci_low", high="ci_high", images="n", positives="n_positive",
    )  # fmt: skip
    groups = table["group"].unique(maintain_order=True).to_list()
    order = [said(name) for name in analysis.overall.filter(model=model)["label"].unique(maintain_order=True).to_list()]
    draw = _decades if by == DECADES else _side_by_side
    return Figure(
        f"auroc_by_{figure_name(by.replace('age_group:', 'age_'))}{suffix}",
        f"AUROC by {BY_WORDS[by]}{words}",
        f"{_BARS} Groups that are masked, or without a positive, are not drawn; look at the number of positives before a difference.",
        draw(table, [one for one in order if one in table["finding"]], groups),
        table,
    )


def _tooltip() -> list[Any]:
    import altair as alt

    counts = [alt.Tooltip(f"{name}:Q", format=",") for name in ("images", "positives")]
    rates = [alt.Tooltip(f"{name}:Q", format=".3f") for name in (AUROC, "low", "high")]
    return [alt.Tooltip("finding:N"), alt.Tooltip("group:N"), *rates, *counts]


def _side_by_side(table: pl.DataFrame, findings: Sequence[str], groups: Sequence[str]) -> Any:  # noqa: ANN401 - of Altair
    """One row a finding, a group a colour and shape."""
    import altair as alt

    base = alt.Chart(table).encode(
        y=alt.Y("finding:N", sort=list(findings), title=None), yOffset=alt.YOffset("group:N", sort=list(groups)),
        color=alt.Color("group:N", title=None, sort=list(groups), scale=categories(groups)),
    )  # fmt: skip
    shapes = alt.Scale(domain=list(groups), range=[SHAPES[at] for at in range(len(groups))])
    x = alt.X("auroc:Q", title="AUROC", scale=alt.Scale(zero=False, nice=False, padding=12), axis=alt.Axis(tickCount=6))
    bars = base.transform_filter(_SURE).mark_rule(strokeWidth=1.6).encode(x=alt.X("low:Q", title="AUROC"), x2="high:Q")
    points = base.mark_point(filled=True, opacity=1, size=48).encode(
        x=x, shape=alt.Shape("group:N", title=None, sort=list(groups), scale=shapes), tooltip=_tooltip()
    )
    return (bars + points).properties(width=_WIDE, height=alt.Step(10, **{"for": "offset"}))


def _decades(table: pl.DataFrame, findings: Sequence[str], groups: Sequence[str]) -> Any:  # noqa: ANN401
    """One panel a finding, its decades from left to right, all on one scale."""
    import altair as alt

    x = alt.X("group:N", sort=list(groups), title=None, axis=alt.Axis(labelAngle=-40))
    y = alt.Y("auroc:Q", title="AUROC", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5))
    base = alt.Chart().encode(x=x, color=alt.value(colour("blue")))
    even = alt.Chart().mark_rule(strokeDash=[3, 3], color=colour("grey")).encode(y=alt.datum(0.5))
    bars = base.transform_filter(_SURE).mark_rule(strokeWidth=1.6).encode(y=alt.Y("low:Q", title="AUROC"), y2="high:Q")
    points = base.mark_point(filled=True, opacity=1, size=36).encode(y=y, tooltip=_tooltip())
    layers = alt.layer(even, bars, points).properties(width=_PANEL, height=_HIGH)
    facet = alt.Facet("finding:N", title=None, sort=list(findings))
    return layers.facet(facet=facet, columns=_COLUMNS, data=table).resolve_axis(x="independent", y="independent")
