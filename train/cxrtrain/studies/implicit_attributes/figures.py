"""The figures: what can be read of race by backbone, ROC curves, confusion matrices, what switching units off costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from cxrdata.report.audit_figures import thinned_curve
from cxrdata.report.charts import categories
from cxrdata.report.figure import Figure, figure_name, require_altair
from cxrdata.report.theme import CATEGORIES, SHAPES, colour
from cxrtrain.probe.figures import probe_figures
from cxrtrain.probe.rows import SCHEMA as PROBE
from cxrtrain.studies.implicit_attributes.analyse import Analysis
from cxrtrain.studies.implicit_attributes.design import (
    ATTRIBUTE,
    BACKBONE,
    FIRST,
    ORIGIN_NAMES,
    ORIGINS,
    RACES,
    TWO_HEADS,
)
from cxrtrain.studies.implicit_attributes.evaluate import AUROC

_PANEL, _COLUMNS = 200, 3
_MOST = len(CATEGORIES)
_OF = "Of each race against the other two, on test images"
_RATE = ".0%"
_DASHES = [[1, 0], [6, 2], [2, 2], [8, 2, 2, 2], [4, 4], [1, 3], [10, 3], [6, 2, 1, 2], [3, 1], [12, 2]]


def study_figures(analysis: Analysis) -> list[Figure]:
    """Those that the analysis has something to show in. Raises CxrError CXR-604 without the extra `[report]`."""
    require_altair()
    areas = named(analysis.evaluation)
    found = [
        *_by_backbone(areas), *_freezing(areas), *_roc(analysis.roc, areas), *_confusion(analysis.confusion, areas),
        *_ablation(analysis.ablation),
    ]  # fmt: skip
    return [figure for figure in found if not figure.table.is_empty()]


def named(evaluation: pl.DataFrame) -> pl.DataFrame:
    """With the column `who`: the backbone of a model of race, else the model, as people say it."""
    who = [_who(row) for row in evaluation.select("model", "origin", "frozen").iter_rows(named=True)]
    order = {name: at for at, name in enumerate(ORIGINS)}
    rank = pl.col("origin").replace_strict(order, default=len(ORIGINS), return_dtype=pl.Int64)
    blocks = pl.col("frozen").str.strip_prefix(FIRST).cast(pl.Int64, strict=False)
    ordered = evaluation.with_columns(pl.Series("who", who, dtype=pl.String)).with_columns(_rank=rank, _blocks=blocks)
    return ordered.sort("images_per_patient", "_rank", "_blocks", maintain_order=True).drop("_rank", "_blocks")


def _who(row: dict[str, Any]) -> str:
    name: str = row["model"]
    if row["origin"] is None:
        return "two heads" if name.startswith(TWO_HEADS) else name
    said = ORIGIN_NAMES[row["origin"]]
    frozen = row["frozen"]
    return said if frozen in (BACKBONE, None) else f"{said}, first {frozen.removeprefix(FIRST)} frozen"


def size_name(size: int | None) -> str:
    """`1 image a patient`; nothing where it is not known."""
    return "" if size is None else "1 image a patient" if size == 1 else f"up to {size} images a patient"


def _sizes(rows: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """For each set: the end of its figure's name, the end of its title, its rows."""
    sizes = rows["images_per_patient"].unique(maintain_order=True).to_list()
    for size in sizes:
        own = rows.filter(pl.col("images_per_patient").eq_missing(pl.lit(size, pl.Int64)))
        yield "" if size is None else f"_k{size}", "" if size is None else f", {size_name(size)}", own


def _of_race(areas: pl.DataFrame) -> pl.DataFrame:
    return areas.filter(pl.col("about") == ATTRIBUTE, pl.col("metric") == AUROC, pl.col("estimate").is_not_null())


def _by_backbone(areas: pl.DataFrame) -> Iterator[Figure]:
    """AUROC of each race with its interval, one row a race, one colour a backbone."""
    import altair as alt

    for suffix, title, own in _sizes(_of_race(areas)):
        table = own.select("who", "label", "n", "n_positive", "estimate", "ci_low", "ci_high")
        order = table["who"].unique(maintain_order=True).to_list()[:_MOST]
        races = [one for one in RACES if one in table["label"]]
        shapes = alt.Scale(domain=order, range=[SHAPES[at % len(SHAPES)] for at in range(len(order))])
        base = alt.Chart(table.filter(pl.col("who").is_in(order))).encode(
            y=alt.Y("label:N", title=None, sort=races),
            yOffset=alt.YOffset("who:N", sort=order),
            color=alt.Color("who:N", title="Model", sort=order, scale=categories(order)),
        )
        lowest = min(0.45, *table["ci_low"].fill_null(0.5), *table["estimate"])
        x = alt.Scale(domain=[lowest, 1.0], nice=False)
        lines = base.mark_rule(strokeWidth=1.5).encode(x=alt.X("ci_low:Q", title="AUROC", scale=x), x2="ci_high:Q")
        points = base.mark_point(filled=True, opacity=1, size=45).encode(
            x=alt.X("estimate:Q", title="AUROC", scale=x), shape=alt.Shape("who:N", title="Model", sort=order, scale=shapes),
            tooltip=[alt.Tooltip("who:N"), alt.Tooltip("label:N"), alt.Tooltip("estimate:Q", format=".3f"), alt.Tooltip("n:Q", format=",")],
        )  # fmt: skip
        chance = alt.Chart().mark_rule(strokeDash=[3, 3], color=colour("grey")).encode(x=alt.XDatum(0.5, scale=x))
        chart = (chance + lines + points).properties(width=480, height=alt.Step(max(14, 40 // len(order)), **{"for": "offset"}))  # fmt: skip
        yield Figure(
            f"race_by_backbone{suffix}", f"What can be read of race{title}",
            f"{_OF}. Bars are 95 % intervals; the dotted line is chance.", chart, table,
        )  # fmt: skip


def _freezing(areas: pl.DataFrame) -> Iterator[Figure]:
    """AUROC over the number of first blocks that are frozen, where several depths were trained."""
    import altair as alt

    first = pl.col("frozen").str.strip_prefix(FIRST)
    deep = _of_race(areas).filter(pl.col("frozen").is_not_null(), pl.col("origin").is_not_null())
    for suffix, title, own in _sizes(deep.with_columns(depth=first.replace(BACKBONE, "all"))):
        if own["depth"].n_unique() < 2:
            continue
        numbers = sorted(int(one) for one in own["depth"].unique() if one != "all")
        depths = [*map(str, numbers), *(["all"] if "all" in own["depth"] else [])]
        table = own.select(
            pl.col("origin").replace(ORIGIN_NAMES), "label", "depth", "estimate", "ci_low", "ci_high", "n"
        )
        order = [name for name in ORIGIN_NAMES.values() if name in table["origin"]]
        base = alt.Chart().encode(
            x=alt.X("depth:N", title="Blocks frozen, from the first", sort=depths, axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset("origin:N", sort=order),
            color=alt.Color("origin:N", title="Backbone", sort=order, scale=categories(order)),
        )
        y = alt.Y("ci_low:Q", title="AUROC", scale=alt.Scale(zero=False))
        chart = alt.layer(
            base.mark_rule(strokeWidth=1.5).encode(y=y, y2="ci_high:Q"),
            base.mark_point(filled=True, opacity=1, size=45).encode(y=alt.Y("estimate:Q", title="AUROC")),
        ).properties(width=_PANEL, height=160)
        yield Figure(
            f"freezing{suffix}", f"How much of the backbone may learn race anew{title}",
            f"{_OF}. Bars are 95 % intervals. With all blocks frozen the head alone learns.",
            _panels(chart, "label", [one for one in RACES if one in table["label"]], table), table,
        )  # fmt: skip


def _panels(chart: Any, by: str, order: Sequence[str], table: pl.DataFrame) -> Any:  # noqa: ANN401 - of Altair
    import altair as alt

    words = alt.Header(labelExpr="replace(datum.label, /_/g, ' ')")
    facet = alt.Facet(f"{by}:N", title=None, sort=list(order), header=words)
    return chart.facet(facet=facet, columns=_COLUMNS, data=table).resolve_axis(x="independent", y="independent")


def _roc(curves: pl.DataFrame, areas: pl.DataFrame) -> Iterator[Figure]:
    """A panel a race, or a finding; a colour a model."""
    import altair as alt

    for suffix, title, own in _sizes(areas.filter(metric=AUROC)):
        for about, what in ((ATTRIBUTE, "race"), ("finding", "findings")):
            asked = own.filter(pl.col("about") == about, pl.col("estimate").is_not_null())
            order = asked["who"].unique(maintain_order=True).to_list()[:_MOST]
            parts = [
                thinned_curve(curves.filter(model=model, label=label)).select(
                    model=pl.lit(who), label=pl.lit(label), place=pl.int_range(pl.len()), false_positive_rate="fpr",
                    true_positive_rate="tpr",
                )
                for model, label, who in asked.select("model", "label", "who").iter_rows()
                if who in order
            ]  # fmt: skip
            if not parts:
                continue
            table = pl.concat(parts)
            rate = alt.Scale(domain=[0, 1])
            line = alt.Chart().mark_line(strokeWidth=1.6).encode(
                x=alt.X("false_positive_rate:Q", title="False positive rate", axis=alt.Axis(format=_RATE, tickCount=5), scale=rate),
                y=alt.Y("true_positive_rate:Q", title="True positive rate", axis=alt.Axis(format=_RATE, tickCount=5), scale=rate),
                color=alt.Color("model:N", title="Model", sort=order, scale=categories(order)), order="place:Q",
                strokeDash=alt.StrokeDash("model:N", title="Model", sort=order, scale=alt.Scale(domain=order, range=_DASHES[: len(order)])),
            )  # fmt: skip
            ends = pl.DataFrame({"x": [0, 1], "y": [0, 1]})
            chance = alt.Chart(ends).mark_line(strokeDash=[3, 3], strokeWidth=1, color=colour("grey")).encode(x="x:Q", y="y:Q")  # fmt: skip
            labels = asked["label"].unique(maintain_order=True).to_list()
            chart = _panels(
                alt.layer(chance, line).properties(width=_PANEL, height=_PANEL), "label", labels, table
            )  # fmt: skip
            against = "Each race against the other two" if about == ATTRIBUTE else "Each finding"
            yield Figure(
                f"roc_{what}{suffix}", f"ROC curves of {what}{title}", f"{against}, on test images. The dotted line is chance.",
                chart, table.drop("place"), beside=f"figures/roc_{what}{suffix}.csv",
            )  # fmt: skip


def _confusion(confusion: pl.DataFrame, areas: pl.DataFrame) -> Iterator[Figure]:
    """A matrix a model, its rows the truth."""
    import altair as alt

    known = areas.select("model", "images_per_patient", "who").unique(maintain_order=True)
    rows = known.join(confusion, on="model", how="inner", maintain_order="left")
    for suffix, title, own in _sizes(rows):
        share = pl.col("share_of_truth") * 100
        table = own.select(
            pl.col("who").alias("model"), "truth", "predicted", "n", percent=share,
            told=pl.when(pl.col("share_of_truth").is_null()).then(pl.lit("masked")).otherwise(pl.format("{} %", share.round(0).cast(pl.Int64))),
        )  # fmt: skip
        races = [one for one in RACES if one in table["truth"]]
        base = alt.Chart().encode(
            y=alt.Y("truth:N", title="Truth", sort=races),
            x=alt.X("predicted:N", title="Predicted", sort=races, axis=alt.Axis(orient="top", labelAngle=0)),
        )
        cells = base.mark_rect(color=colour("blue"), stroke=colour("line")).encode(
            opacity=alt.Opacity("percent:Q", legend=None, scale=alt.Scale(domain=[0, 100], range=[0.0, 0.55])),
            tooltip=[alt.Tooltip("truth:N"), alt.Tooltip("predicted:N"), alt.Tooltip("told:N"), alt.Tooltip("n:Q", format=",")],
        )  # fmt: skip
        numbers = base.mark_text(color=colour("ink")).encode(text="told:N")
        chart = alt.layer(cells, numbers).properties(width=alt.Step(62), height=alt.Step(30))
        yield Figure(
            f"confusion{suffix}", f"Confusion matrices{title}",
            "Rows are the truth, columns what was predicted: the race of the highest probability. Each row sums to 100 %.",
            _panels(chart, "model", table["model"].unique(maintain_order=True).to_list(), table), table,
        )  # fmt: skip


def _ablation(rows: pl.DataFrame) -> Iterator[Figure]:
    """The figure of `cxrdata probe`, of each model."""
    for model in rows["model"].unique(maintain_order=True).to_list():
        own = rows.filter(model=model).select(*PROBE)
        for figure in probe_figures(own):
            if figure.name == "ablation":
                yield replace(figure, name=f"ablation_{figure_name(model)}", title=f"{figure.title}: {model}")
