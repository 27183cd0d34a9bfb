"""Figures of an audit: false positives by age, ROC curves by group, reliability, gaps between groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cxrdata.audit.curves import calibration_curve, roc_curve
from cxrdata.audit.data import OVERALL, Grouping, Scored
from cxrdata.report.figure import Figure, figure_name, require_altair
from cxrdata.report.theme import CATEGORIES, colour

if TYPE_CHECKING:
    from cxrdata.audit.result import Audit

_AGE = "age_group"
_FEW = 10  # positives or negatives under which a curve is a staircase of single images
_COLUMNS = 3
_STEPS = 200
_DIGITS = 5
_PANEL = 200
_LEVEL = 5  # groups from which on their names are turned, not to touch each other
_INTERVAL = "Bars are 95 % intervals"
_RATE = ".0%"
# What forest plots show; other metrics stand in the rows.
_GAPS = ("auroc", "tpr", "fpr")
_WORDS = {"auroc": "AUROC", "tpr": "true positive rate", "fpr": "false positive rate"}
_DIFFERENCE = "_difference"


def audit_figures(audit: Audit) -> list[Figure]:
    """Those of the figures that the answer has something to show in. Raises CxrError CXR-604 without the extra `[report]`."""
    require_altair()
    found = [
        *_fpr_by_age(audit.rows),
        *_roc_by_group(audit.scored, audit.min_cell),
        *_reliability(audit.scored, audit.min_cell),
        *_forest(audit.gaps, sorted({item.model for item in audit.scored})),
    ]
    return [figure for figure in found if not figure.table.is_empty()]


def _said(by: str) -> str:
    """A grouping in words: `age_group:decades` is by age group."""
    return by.partition(":")[0].replace("_", " ")


def _panels(chart: Any, labels: Sequence[str], table: pl.DataFrame) -> Any:  # noqa: ANN401 - of Altair
    """The chart once a label, in rows of three."""
    if len(labels) == 1:
        return chart.properties(data=table)
    import altair as alt

    words = alt.Header(labelExpr="replace(datum.label, /_/g, ' ')")
    panels = chart.facet(
        facet=alt.Facet("label:N", title=None, sort=list(labels), header=words), columns=_COLUMNS, data=table
    )
    # Axes of their own, or those of the last row would stand below panels that it does not have.
    return panels.resolve_axis(x="independent", y="independent")


def _models(table: pl.DataFrame, otherwise: str | None = None) -> Any:  # noqa: ANN401 - of Altair
    """Colour by model where there are several."""
    import altair as alt

    if table["model"].n_unique() > 1:
        return alt.Color("model:N", title="Model", sort=table["model"].unique(maintain_order=True).to_list())
    return alt.value(colour(otherwise or CATEGORIES[0]))


def _fpr_by_age(rows: pl.DataFrame) -> Iterator[Figure]:
    """False positive rate by age bin, with its interval; under each the number of images that it is a share of."""
    import altair as alt

    shown = rows.filter(pl.col("metric") == "fpr", pl.col("group_by").str.starts_with(_AGE))
    for by in shown["group_by"].unique(maintain_order=True).to_list():
        table = shown.filter(pl.col("group_by") == by, pl.col("estimate").is_not_null()).select(
            "model", "label", age="group_value", negatives=pl.col("n") - pl.col("n_positive"),
            fpr="estimate", low="ci_low", high="ci_high",
        )  # fmt: skip
        ages = table["age"].unique(maintain_order=True).to_list()
        labels = table["label"].unique(maintain_order=True).to_list()
        several = table["model"].n_unique() > 1
        models = table["model"].unique(maintain_order=True).to_list()
        base = alt.Chart().encode(
            x=alt.X(
                "age:N",
                sort=ages,
                title="Age (years)" if ages != ["pediatric", "adult"] else "Age",
                axis=alt.Axis(labelAngle=0 if len(ages) < _LEVEL else -90),
            ),
            color=_models(table),
        )
        if several:
            base = base.encode(xOffset=alt.XOffset("model:N", sort=models))
        highest = float(table.select(pl.max_horizontal("fpr", "high")).to_series().to_numpy().max(initial=0.0))
        rate = alt.Scale(domain=[0, min(1.0, highest * 1.1 + 0.01)])
        bars = base.mark_rule(strokeWidth=1.5).encode(
            y=alt.Y("low:Q", scale=rate, axis=alt.Axis(format=_RATE), title="False positive rate"), y2="high:Q"
        )
        points = base.mark_point(filled=True, size=45).encode(y=alt.Y("fpr:Q", scale=rate, title="False positive rate"))
        counts = (
            base.mark_text(angle=270, align="left", baseline="middle", dx=4, fontSize=9)
            .transform_calculate(said="format(datum.negatives, ',')")
            .encode(y=alt.Y("top:Q"), text="said:N", color=alt.value(colour("quiet")))
            .transform_calculate(top="isValid(datum.high) ? datum.high : datum.fpr")
        )
        width = max(_PANEL, 18 * len(ages) * (len(models) if several else 1))
        chart = alt.layer(bars, points, counts).properties(width=width, height=_PANEL)
        yield Figure(
            f"fpr_by_{figure_name(by)}",
            "False positive rate by age",
            f"{_INTERVAL}; the numbers are the images without the finding, of which it is a share. Groups that are masked or empty are not drawn.",
            _panels(chart, labels, table),
            table,
        )


def _roc_by_group(scored: Sequence[Scored], min_cell: int) -> Iterator[Figure]:
    """ROC curves of the groups of each grouping that has no more groups than there are colours."""
    import altair as alt

    groupings = list(dict.fromkeys(one.by for item in scored for one in item.groupings)) or [OVERALL]
    for by in groupings:
        parts = []
        for item in scored:
            grouping = next((one for one in item.groupings if one.by == by), None)
            curves = roc_curve(item, grouping).with_columns(pl.col("group_value").fill_null(OVERALL))
            parts += [
                thinned_curve(curves.filter(group_value=group)).select(
                    model=pl.lit(item.model),
                    label=pl.lit(item.label),
                    group=pl.lit(group),
                    place=pl.int_range(pl.len()),
                    false_positive_rate="fpr",
                    true_positive_rate="tpr",
                )
                for group in _large_enough(item, grouping, min_cell)
            ]
        table = pl.concat(parts) if parts else pl.DataFrame()
        if table.is_empty() or table["group"].n_unique() > len(CATEGORIES):
            continue
        groups = table["group"].unique(maintain_order=True).to_list()
        labels = table["label"].unique(maintain_order=True).to_list()
        line = alt.Chart().mark_line(strokeWidth=1.6).encode(
            x=alt.X("false_positive_rate:Q", title="False positive rate", axis=alt.Axis(format=_RATE), scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("true_positive_rate:Q", title="True positive rate", axis=alt.Axis(format=_RATE), scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("group:N", sort=groups, title=_said(by).capitalize()) if groups != [OVERALL] else alt.value(colour(CATEGORIES[0])),
            order="place:Q",
        )  # fmt: skip
        if table["model"].n_unique() > 1:
            line = line.encode(strokeDash=alt.StrokeDash("model:N", title="Model"))
        chance = (
            alt.Chart(pl.DataFrame({"x": [0, 1], "y": [0, 1]}))
            .mark_line(strokeDash=[3, 3], strokeWidth=1, color=colour("grey"))
            .encode(x="x:Q", y="y:Q")
        )
        chart = alt.layer(chance, line).properties(width=_PANEL, height=_PANEL)
        yield Figure(
            f"roc_by_{figure_name(by)}",
            f"ROC curves by {_said(by)}" if groups != [OVERALL] else "ROC curves",
            f"Groups of under {_FEW} positives or negatives, or under {min_cell} patients, are not drawn. The dotted line is chance.",
            _panels(chart, labels, table),
            table.drop("place"),
        )


def _large_enough(item: Scored, grouping: Grouping | None, min_cell: int) -> list[str]:
    """The groups with enough patients, and enough of both classes: with fewer a curve is a staircase of single images."""
    whole = Grouping(OVERALL, (OVERALL,), np.zeros(len(item.scores), np.int32)) if grouping is None else grouping
    found = []
    for group, value in enumerate(whole.values):
        inside = whole.codes == group
        n_positive = int(item.positive[inside].sum())
        few = min(n_positive, int(inside.sum()) - n_positive) < _FEW
        if not few and len(np.unique(item.patients[inside])) >= min_cell:
            found.append(value)
    return found


def thinned_curve(curve: pl.DataFrame) -> pl.DataFrame:
    """Of a curve, the points next to equal steps of either rate: more than a figure can show."""
    steps = np.linspace(0, 1, _STEPS + 1)
    places = [np.searchsorted(curve[rate].to_numpy(), steps) for rate in ("fpr", "tpr")]
    kept = np.unique(np.concatenate(places).clip(0, curve.height - 1))
    return curve[kept].with_columns(pl.col("fpr", "tpr").round(_DIGITS))


def _reliability(scored: Sequence[Scored], min_cell: int) -> Iterator[Figure]:
    """Observed share of positives by predicted probability, in ten bins."""
    import altair as alt

    parts = [
        calibration_curve(item, min_cell=min_cell)
        .filter(pl.col("observed").is_not_null())
        .select(
            model=pl.lit(item.model),
            label=pl.lit(item.label),
            predicted="predicted",
            observed="observed",
            low="ci_low",
            high="ci_high",
            images="n",
        )
        for item in scored
        if item.probabilities
    ]
    if not parts:
        return
    table = pl.concat(parts)
    labels = table["label"].unique(maintain_order=True).to_list()
    base = alt.Chart().encode(
        x=alt.X(
            "predicted:Q",
            title="Mean predicted probability",
            axis=alt.Axis(format=_RATE),
            scale=alt.Scale(domain=[0, 1]),
        ),
        y=alt.Y("observed:Q", title="Share of positives", axis=alt.Axis(format=_RATE), scale=alt.Scale(domain=[0, 1])),
        color=_models(table),
    )
    diagonal = (
        alt.Chart(pl.DataFrame({"x": [0, 1], "y": [0, 1]}))
        .mark_line(strokeDash=[3, 3], strokeWidth=1, color=colour("grey"))
        .encode(x="x:Q", y="y:Q")
    )
    size = alt.Size("images:Q", title="Images", scale=alt.Scale(type="log", range=[12, 220]))
    points = base.mark_point(filled=True, opacity=0.9).encode(size=size)
    bars = base.mark_rule(strokeWidth=1).encode(y="low:Q", y2="high:Q")
    chart = alt.layer(diagonal, base.mark_line(strokeWidth=1.2), bars, points).properties(width=_PANEL, height=_PANEL)
    yield Figure(
        "reliability",
        "Reliability",
        f"Ten bins of equal width; a bin of under {min_cell} patients is not drawn. {_INTERVAL}. On the dotted line a prediction of 30 % comes true in 30 %.",
        _panels(chart, labels, table),
        table,
    )


def _forest(gaps: pl.DataFrame, models: Sequence[str]) -> Iterator[Figure]:
    """Differences with their intervals: of each group from the largest one, and of two models on the same images."""
    names = [f"{metric}{_DIFFERENCE}" for metric in _GAPS]
    shown = gaps.filter(pl.col("metric").is_in(names), pl.col("estimate").is_not_null()).select(
        "model", "label", "group_by", "metric", group=pl.col("group_value"),
        less=pl.col("note").str.extract(r"(?:^|; )less ([^;]+)"), difference="estimate", low="ci_low", high="ci_high",
        images="n", positives="n_positive",
    )  # fmt: skip
    for (by, metric), table in shown.group_by("group_by", "metric", maintain_order=True):
        within = table.filter(pl.col("model").is_in(models))
        between = table.filter(~pl.col("model").is_in(models))
        named = _WORDS[str(metric).removesuffix(_DIFFERENCE)]
        for part, what in (
            (within, f"by {by}"),
            (between, "between models" if by == OVERALL else f"between models, by {by}"),
        ):
            if part.is_empty():
                continue
            if part.filter(pl.col("group").is_not_null())["group"].n_unique() > 1:
                row = pl.col("group")
            else:
                row = pl.col("label").str.replace_all("_", " ")
            rows = part.with_columns(row=row)
            less = part["less"].drop_nulls().unique(maintain_order=True).to_list()
            axis = (
                f"{named[0].upper()}{named[1:]}: difference from {less[0]}"
                if len(less) == 1
                else f"{named[0].upper()}{named[1:]}: difference"
            )
            said = (
                f"Each group less the one of most images{f' ({less[0]})' if len(less) == 1 else ''}"
                if less
                else "The first model less the second"
            )
            words = what.replace(str(by), _said(str(by)))
            yield Figure(
                f"difference_{figure_name(str(metric).removesuffix(_DIFFERENCE))}_{figure_name(what)}",
                f"Differences of the {named} {words}",
                f"{said}. {_INTERVAL}; one that crosses the dotted line leaves open which is ahead. Masked groups are not drawn.",
                _forest_chart(rows, axis),
                part.drop("metric", "group_by"),
            )


def _forest_chart(rows: pl.DataFrame, title: str) -> Any:  # noqa: ANN401 - of Altair
    import altair as alt

    order = rows["row"].unique(maintain_order=True).to_list()
    base = alt.Chart().encode(y=alt.Y("row:N", sort=order, title=None), color=_models(rows))
    if rows["model"].n_unique() > 1:
        base = base.encode(yOffset="model:N")
    bars = base.mark_rule(strokeWidth=1.5).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    points = base.mark_point(filled=True, size=45).encode(x="difference:Q")
    zero = alt.Chart().mark_rule(strokeDash=[3, 3], color=colour("grey")).encode(x=alt.datum(0))
    chart = alt.layer(zero, bars, points).properties(width=_PANEL + 40, height=max(50, 22 * len(order)))
    labels = rows["label"].unique(maintain_order=True).to_list() if "group" in rows.columns else []
    return _panels(chart, labels if len(labels) > 1 and len(order) != len(labels) else labels[:1], rows)
