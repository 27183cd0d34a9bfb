"""The published figures: FPR by age of each model, in children and adults, on the same and on other sources, and blends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from cxrdata.report.charts import categories, stacked
from cxrdata.report.figure import Figure, require_altair
from cxrdata.report.theme import SHAPES, colour
from cxrtrain.studies.case_study.analyse import Analysis
from cxrtrain.studies.case_study.design import (
    ADULT_TEST,
    ADULTS,
    CAREFUL,
    CHILD_TEST,
    CHILDREN,
    INFANTS,
    NAMES,
    OLDER,
    RULES,
    TRAINED_ON,
    YOUNG,
    Bin,
    bins_of,
)

_PANEL, _HEIGHT = 300, 170
_ASIDE = 0.014
_RATE = "False positive rate"
_LINE = 11  # pixels of a line of counts
_BARS = (
    "Bars are 95 % intervals. The numbers on top are healthy images, in a line for each colour where they are not the same. "
    "Ages without a mark have no images, or too few patients to be shown."
)


def case_study_figures(analysis: Analysis) -> list[Figure]:
    """Those that the analysis has something to show in. Raises CxrError CXR-604 without the extra `[report]`."""
    require_altair()
    rows = named(analysis.details)
    found = [*_children(rows), *_same_source(rows), *_other_sources(rows), *_both(rows), *_blends(rows), *_views(rows)]
    return [figure for figure in found if not figure.table.is_empty()]


def named(details: pl.DataFrame) -> pl.DataFrame:
    """Rows with the names of datasets as people write them, and ages as text."""

    def said(row: dict[str, Any]) -> str | None:
        if row["age_low"] is None:
            return None
        return Bin(row["age_low"], float("inf") if row["age_high"] is None else row["age_high"]).name

    ages = [said(row) for row in details.select("age_low", "age_high").iter_rows(named=True)]
    # The published last bin ends at 100, the careful one nowhere: one place on the axis.
    text = pl.Series("ages", ages, dtype=pl.String).replace("80-99", "80+")
    names = (pl.col("trained_on", "dataset").replace(NAMES)).name.keep()
    return details.with_columns(names, text)


def _rules(rows: pl.DataFrame) -> str:
    """The rules of figures that have room for one: careful where it was asked for."""
    return RULES[1] if RULES[1] in rows["rules"] else RULES[0]


def _shown(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("fpr").is_not_null()).select(
        "trained_on", "dataset", "subset", "rules", "ages", "n", called="n_positive", fpr="fpr", low="ci_low", high="ci_high",
    )  # fmt: skip


def _by_age(
    table: pl.DataFrame, *, part: str, order: Sequence[str], title: str, ages: Sequence[str], part_title: str
) -> Any:  # noqa: ANN401
    """Rates by age with intervals, one colour and shape a `part`, and the numbers of images above each age."""
    import altair as alt

    many = len(order) > 1
    base = alt.Chart(table).encode(
        x=_ages_axis(ages),
        color=alt.Color(f"{part}:N", title=part_title, sort=list(order), scale=categories(order)) if many else alt.value(colour("blue")),
    )  # fmt: skip
    if many:
        base = base.encode(xOffset=alt.XOffset(f"{part}:N", sort=list(order)))
    rate = alt.Y("low:Q", title=_RATE, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%", tickCount=5))
    tooltip = [
        alt.Tooltip("ages:N"), alt.Tooltip(f"{part}:N"), alt.Tooltip("n:Q", format=","), alt.Tooltip("called:Q", format=","),
        *(alt.Tooltip(f"{name}:Q", format=".1%") for name in ("fpr", "low", "high")),
    ]  # fmt: skip
    bars = base.mark_rule(strokeWidth=1.6).encode(y=rate, y2="high:Q")
    shape = {}
    if many:
        shapes = alt.Scale(domain=list(order), range=[SHAPES[at] for at in range(len(order))])
        shape = {"shape": alt.Shape(f"{part}:N", title=part_title, sort=list(order), scale=shapes)}
    points = base.mark_point(filled=True, opacity=1, size=40).encode(y=alt.Y("fpr:Q"), tooltip=tooltip, **shape)
    width = max(_PANEL, 30 * len(ages))
    heading = alt.Title(title, fontSize=12, fontWeight="normal", offset=8)
    counts = _counts(table, part=part, order=order, ages=ages)
    return alt.layer(bars, points, *counts).properties(width=width, height=_HEIGHT, title=heading)


def _ages_axis(ages: Sequence[str]) -> Any:  # noqa: ANN401
    import altair as alt

    scale = alt.Scale(domain=list(ages))
    return alt.X("ages:N", sort=list(ages), title="Age in years", axis=alt.Axis(labelAngle=0), scale=scale)


def _counts(table: pl.DataFrame, *, part: str, order: Sequence[str], ages: Sequence[str]) -> list[Any]:
    """The numbers of images on top: in one line where all parts have the same, else in a line a part, in its colour."""
    import altair as alt

    def line(own: pl.DataFrame, at: int, ink: str) -> Any:  # noqa: ANN401
        marks = alt.Chart(own.select("ages", "n")).mark_text(fontSize=9, color=ink, baseline="bottom")
        height: Any = alt.YValue(-2 - _LINE * at)  # type: ignore[no-untyped-call]
        return marks.encode(x=_ages_axis(ages), y=height, text=alt.Text("n:Q", format=",~"))

    if table.group_by("ages").agg(pl.col("n").n_unique())["n"].max() == 1:
        return [line(table.unique("ages", maintain_order=True), 0, colour("quiet"))]
    inks = categories(order).range
    parts = [(one, inks[order.index(one)]) for one in reversed(order) if one in table[part]]  # the first stands on top
    return [line(table.filter(pl.col(part) == one), at, ink) for at, (one, ink) in enumerate(parts)]


def _axis_of(ages: pl.Series) -> list[str]:
    """All bins from the first to the last that has anything: an age that nobody has keeps its place."""
    part = CHILD_TEST if ages.str.contains(r"^\d+$").all() else ADULT_TEST
    names = [one.name for one in bins_of(part, CAREFUL)]
    places = [names.index(one) for one in ages.unique()]
    return names[min(places) : max(places) + 1]


def _panels(
    name: str, title: str, caption: str, table: pl.DataFrame, *, by: str, panels: Sequence[str], part: str, order: Sequence[str],
    part_title: str, heading: str, columns: int = 2,
) -> Iterator[Figure]:  # fmt: skip
    """One panel a value of `by`, the parts in colours."""
    there = [one for one in panels if one in table[by]]
    if not there:
        return
    ages = _axis_of(table["ages"])
    known = [one for one in order if one in table[part]]
    charts = [
        _by_age(
            table.filter(pl.col(by) == one),
            part=part,
            order=known,
            title=f"{heading} {one}",
            ages=ages,
            part_title=part_title,
        )
        for one in there
    ]
    yield Figure(name, title, caption, stacked(charts, columns=columns), table)


def _models() -> list[str]:
    return [NAMES[one] for one in TRAINED_ON]


def _children(rows: pl.DataFrame) -> Iterator[Figure]:
    own = _shown(rows.filter(pl.col("subset") == YOUNG, pl.col("blend") == 0.0, pl.col("ages").is_not_null()))
    for dataset in (CHILDREN, *TRAINED_ON):
        yield from _panels(
            f"children_{dataset}", f"Healthy children of {NAMES[dataset]} whose hearts are called enlarged",
            f"One panel a model, trained on adults. {_BARS}", own.filter(dataset=NAMES[dataset]), by="trained_on", panels=_models(),
            part="rules", order=RULES, part_title="Rules", heading="Trained on",
        )  # fmt: skip


def _same_source(rows: pl.DataFrame) -> Iterator[Figure]:
    own = _adults(rows).filter(pl.col("dataset") == pl.col("trained_on"))
    yield from _panels(
        "adults_same_source", "Healthy adults of the dataset that the model was trained on", f"One panel a model. {_BARS}", own,
        by="trained_on", panels=_models(), part="rules", order=RULES, part_title="Rules", heading="Trained on",
    )  # fmt: skip


def _other_sources(rows: pl.DataFrame) -> Iterator[Figure]:
    rules = _rules(rows)
    own = _adults(rows).filter(pl.col("dataset") != pl.col("trained_on"), pl.col("rules") == rules)
    yield from _panels(
        "adults_other_sources", "Healthy adults of other datasets", f"One panel a dataset; {rules} rules. {_BARS}", own, by="dataset",
        panels=_models(), part="trained_on", order=_models(), part_title="Trained on", heading="Tested on",
    )  # fmt: skip


def _adults(rows: pl.DataFrame) -> pl.DataFrame:
    return _shown(rows.filter(pl.col("subset") == ADULTS, pl.col("blend") == 0.0, pl.col("ages").is_not_null()))


def _both(rows: pl.DataFrame) -> Iterator[Figure]:
    """Children and adults beside each other: infants, older children, and healthy adults of the model's own source."""
    import altair as alt

    said = {INFANTS: "children 0-1", OLDER: "children 2-10", ADULTS: "adults, own source"}
    rules = _rules(rows)
    whose = ((pl.col("subset") == ADULTS) & (pl.col("dataset") == pl.col("trained_on"))) | (
        pl.col("subset").is_in([INFANTS, OLDER]) & (pl.col("dataset") == NAMES[CHILDREN])
    )
    chosen = rows.filter(whose, pl.col("blend") == 0.0, pl.col("ages").is_null(), pl.col("rules") == rules)
    table = _shown(chosen).with_columns(who=pl.col("subset").replace(said)).drop("ages", "subset")
    order = [one for one in said.values() if one in table["who"]]
    shapes = alt.Scale(domain=order, range=list(SHAPES[: len(order)]))
    base = alt.Chart(table).encode(
        y=alt.Y("trained_on:N", sort=_models(), title="Trained on"), yOffset=alt.YOffset("who:N", sort=order),
        color=alt.Color("who:N", title=None, sort=order, scale=categories(order)),
    )  # fmt: skip
    x = alt.X("fpr:Q", title=_RATE, axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1]))
    bars = base.mark_rule(strokeWidth=1.6).encode(x=alt.X("low:Q", title=_RATE), x2="high:Q")
    points = base.mark_point(filled=True, opacity=1, size=55).encode(
        x=x, shape=alt.Shape("who:N", title=None, sort=order, scale=shapes),
        tooltip=[alt.Tooltip("who:N"), alt.Tooltip("n:Q", format=","), alt.Tooltip("fpr:Q", format=".1%")],
    )  # fmt: skip
    yield Figure(
        "children_and_adults", "Children and adults",
        f"Children of {NAMES[CHILDREN]}, and healthy adults of the dataset that each model was trained on; {rules} rules. Bars are 95 % intervals.",
        (bars + points).properties(width=520, height=alt.Step(13, **{"for": "offset"})), table,
    )  # fmt: skip


def _blends(rows: pl.DataFrame) -> Iterator[Figure]:
    """FPR at 0 and 1 year under histogram matching, its threshold chosen anew at each blend."""
    import altair as alt

    rules = _rules(rows)
    own = rows.filter(pl.col("subset") == INFANTS, pl.col("dataset") == NAMES[CHILDREN], pl.col("rules") == rules)
    table = own.filter(pl.col("fpr").is_not_null()).select(
        "trained_on", "blend", "n", called="n_positive", fpr="fpr", low="ci_low", high="ci_high", threshold="threshold"
    )
    if table["blend"].n_unique() < 2:
        return
    order = [one for one in _models() if one in table["trained_on"]]
    # Beside each other, so that no model's interval covers another's.
    aside = {name: (at - (len(order) - 1) / 2) * _ASIDE for at, name in enumerate(order)}
    placed = table.with_columns(
        place=pl.col("blend") + pl.col("trained_on").replace_strict(aside, return_dtype=pl.Float64)
    )
    base = alt.Chart(placed).encode(
        x=alt.X("place:Q", title="Blend of histogram matching", axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1.0], format=".2f")),
        color=alt.Color("trained_on:N", title="Trained on", sort=order, scale=categories(order)),
    )  # fmt: skip
    y = alt.Y("fpr:Q", title=_RATE, axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1]))
    shapes = alt.Scale(domain=order, range=list(SHAPES[: len(order)]))
    chart = alt.layer(
        base.mark_line(strokeWidth=1.4).encode(y=y),
        base.mark_rule(strokeWidth=1.4).encode(y=alt.Y("low:Q", title=_RATE), y2="high:Q"),
        base.mark_point(filled=True, opacity=1, size=55).encode(
            y=y, shape=alt.Shape("trained_on:N", title="Trained on", sort=order, scale=shapes),
            tooltip=[alt.Tooltip("trained_on:N"), alt.Tooltip("blend:Q"), alt.Tooltip("fpr:Q", format=".1%"), alt.Tooltip("n:Q", format=",")],
        ),
    )  # fmt: skip
    yield Figure(
        "blends", "Histogram matching to the training images",
        f"Healthy children of {NAMES[CHILDREN]} under 2 years; {rules} rules. Each point has the threshold of its own blend. Bars are 95 % intervals.",
        chart.properties(width=520, height=240), table,
    )  # fmt: skip


def _views(rows: pl.DataFrame) -> Iterator[Figure]:
    """AP and PA films apart, where a test has both."""
    own = rows.filter(pl.col("subset").is_in([f"{ADULTS}:PA", f"{ADULTS}:AP"]), pl.col("ages").is_not_null())
    table = _shown(own).with_columns(view=pl.col("subset").str.slice(-2))
    for dataset in _models():
        yield from _panels(
            f"views_{dataset.lower().replace('-', '_')}", f"AP and PA films of {dataset} apart", f"Healthy adults; one panel a model. {_BARS}",
            table.filter(dataset=dataset), by="trained_on", panels=_models(), part="view", order=("PA", "AP"), part_title="View",
            heading="Trained on",
        )  # fmt: skip
