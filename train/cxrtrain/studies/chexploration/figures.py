"""Figures of the study: errors by group and rules, before and after resampling, by model; how well race and sex are read; and
those of the explorations that show aggregates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from cxrdata.report.charts import categories, stacked
from cxrdata.report.figure import Figure, require_altair
from cxrdata.report.theme import SHAPES, colour
from cxrtrain.studies.chexploration import design
from cxrtrain.studies.chexploration.design import CAREFUL, DETECT, RULES, SAID, TEST
from cxrtrain.studies.chexploration.exploration import ON_PAGE
from cxrtrain.studies.chexploration.result import Result

_WORDS = {"auroc": "AUROC", "tpr": "True positive rate", "fpr": "False positive rate", "youden": "Youden's J"}
_LABELS = {"no_finding": "No Finding", "pleural_effusion": "Pleural Effusion"}
_SETS = (TEST, design.RESAMPLED)
_EVERYBODY = "everybody"
_PANEL = 300
_BARS = "Bars are 95 % intervals. Masked groups are not drawn."


def study_figures(result: Result) -> list[Figure]:
    """Those that the study has something to show in. Raises CxrError CXR-604 without the extra `[report]`."""
    require_altair()
    found = [*_detection(result), *_attributes(result), *_explorations(result)]
    return [figure for figure in found if not figure.table.is_empty()]


def shown(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of metrics with the group as people write it."""
    known = rows.filter(pl.col("metric").is_in(design.METRICS), pl.col("estimate").is_not_null())
    return known.select(
        "model", "test_set", "rules", "label", "metric", group=pl.col("group_value").fill_null(_EVERYBODY), n="n",
        positives="n_positive", estimate="estimate", low="ci_low", high="ci_high",
    )  # fmt: skip


def _detection(result: Result) -> Iterator[Figure]:
    rows = shown(result.detection)
    models = [one for one in DETECT if one in rows["model"]]
    for label in design.FINDINGS:
        own = rows.filter(label=label)
        if own.is_empty():
            continue
        first = own.filter(model=models[0], test_set=TEST)
        yield _figure(
            f"detection_{label}", f"{_LABELS[label]} by race and sex", f"The {SAID[models[0]]} on the test set, by either set of rules. {_BARS}",
            first, part="rules", order=RULES, part_title="Rules",
        )  # fmt: skip
        both = own.filter(model=models[0], rules=CAREFUL)
        if both["test_set"].n_unique() > 1:
            yield _figure(
                f"resampled_{label}", f"{_LABELS[label]} before and after resampling", f"The {SAID[models[0]]}, careful rules. {_BARS}",
                both, part="test_set", order=_SETS, part_title="Test set",
            )  # fmt: skip
        if len(models) > 1:
            said = [SAID[one] for one in models]
            named = own.filter(test_set=TEST, rules=CAREFUL).with_columns(pl.col("model").replace(SAID))
            yield _figure(
                f"models_{label}", f"{_LABELS[label]}, all models", f"The test set, careful rules. {_BARS}", named, part="model",
                order=said, part_title="Model",
            )  # fmt: skip


def _figure(
    name: str, title: str, caption: str, table: pl.DataFrame, *, part: str, order: Sequence[str], part_title: str
) -> Figure:
    """A panel a metric, a row a group, the parts in colours."""
    groups = [one for one in (_EVERYBODY, *design.RACES, "F", "M") if one in table["group"]]
    groups += [one for one in table["group"].unique(maintain_order=True).to_list() if one not in groups]
    known = [one for one in order if one in table[part]]
    charts = [
        _dots(table.filter(metric=metric), _WORDS[metric], y="group", rows=groups, part=part, order=known, part_title=part_title)
        for metric in design.METRICS
        if metric in table["metric"]
    ]  # fmt: skip
    return Figure(name, title, caption, stacked(charts, columns=2), table)


def _dots(
    table: pl.DataFrame, title: str, *, y: str, rows: Sequence[str], part: str, order: Sequence[str], part_title: str
) -> Any:  # noqa: ANN401 - of Altair
    """Estimates with intervals, one row a value of `y`, one colour and shape a part."""
    import altair as alt

    many = len(order) > 1
    colours = (
        alt.Color(f"{part}:N", title=part_title, sort=list(order), scale=categories(order))
        if many
        else alt.value(colour("blue"))
    )
    base = alt.Chart(table).encode(y=alt.Y(f"{y}:N", sort=list(rows), title=None), color=colours)
    if many:
        base = base.encode(yOffset=alt.YOffset(f"{part}:N", sort=list(order)))
    x = alt.X("estimate:Q", title=title, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=5))
    tooltip = [
        alt.Tooltip(f"{y}:N"), alt.Tooltip(f"{part}:N"), alt.Tooltip("n:Q", format=","), alt.Tooltip("positives:Q", format=","),
        *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("estimate", "low", "high")),
    ]  # fmt: skip
    shape = {}
    if many:
        shapes = alt.Scale(domain=list(order), range=list(SHAPES[: len(order)]))
        shape = {"shape": alt.Shape(f"{part}:N", title=part_title, sort=list(order), scale=shapes)}
    bars = base.mark_rule(strokeWidth=1.6).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    points = base.mark_point(filled=True, opacity=1, size=40).encode(x=x, tooltip=tooltip, **shape)
    step = alt.Step(10, **{"for": "offset"}) if many else alt.Step(20)
    return (bars + points).properties(width=_PANEL, height=step)


def _attributes(result: Result) -> Iterator[Figure]:
    """How well race and sex are read, by model; F is M the other way round."""
    rows = shown(result.attributes).filter(pl.col("label") != "F", rules=CAREFUL)
    said = {"M": "sex (M)"}
    table = rows.with_columns(pl.col("label").replace(said), pl.col("model").replace(SAID))
    if table.is_empty():
        return
    models = [SAID[one] for one in design.READ if SAID[one] in table["model"]]
    labels = [one for one in (*design.RACES, *said.values()) if one in table["label"]]
    chart = _dots(
        table, "AUROC, one against the rest", y="label", rows=labels, part="model", order=models, part_title="Model"
    )
    yield Figure(
        "attributes", "How well race and sex are read off the image",
        f"The test set, careful rules; 0.5 is chance. {_BARS}", chart.properties(width=440), table,
    )  # fmt: skip


def _explorations(result: Result) -> Iterator[Figure]:
    """Tests, densities, components; those by age, and figures of points, one an image, lie beside (explored-MODEL/figures)."""
    for model, found in result.explorations.items():
        for figure in found.figures:
            if figure.name in ON_PAGE:
                title = f"{figure.title}: {SAID[model]}"
                beside = f"explored-{model}/figures/{figure.name}.csv"
                yield replace(figure, name=f"{model}_{figure.name}", title=title, beside=beside)
