"""Figures of an exploration: joint plots of components and t-SNE, marginals by group, explained variance, tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.explore.contrasts import EMPTY
from cxrdata.explore.density import FEW, densities, span
from cxrdata.explore.small_groups import of_few
from cxrdata.report.figure import Figure, figure_name, require_altair
from cxrdata.report.theme import CATEGORIES, colour

if TYPE_CHECKING:
    from cxrdata.explore.result import Exploration

ALPHA = 0.05
_UNKNOWN, _REST = "unknown", "other values"
_SIDE, _MARGIN = 220, 44  # of a joint plot's points, and of the densities at its edges
_PANEL = (210, 120)
_COLUMNS = 3
_DIGITS = 4
_SHOWN = 30  # components whose share is drawn
_MOST = len(CATEGORIES) - 2  # values with a colour of their own; the rest and the unknown have one each
_CELL = (92, 38)
_BEFORE, _AFTER = "as it is", "resampled"
_KERNEL = f"Densities by Gaussian kernels (Silverman's width); groups of under {FEW} images have none"


def explore_figures(found: Exploration) -> list[Figure]:
    """Those that the answer has something to show in. Raises CxrError CXR-604 without the extra `[report]`."""
    require_altair()
    sample = found.sample.with_columns(
        pl.when("resampled").then(pl.lit(_AFTER)).otherwise(pl.lit(_BEFORE)).alias("part"),
        *(_coloured(found.sample, by, values) for by, values in found.values.items()),
    )
    # Known by its colour from here on: what few patients share is nothing, and in no figure.
    few = {by: of_few(sample, by, found.marginals, found.min_cell) for by in found.values}
    sample = sample.with_columns(pl.col(by).replace(hidden, None) for by, hidden in few.items())
    return [*_joint(sample, found), *_marginals(sample, found), _explained(found.explained), *_tests(found.tests)]


def _fewer(found: Exploration) -> str:
    return f"; those of under {found.min_cell} patients are left out" if found.min_cell > 1 else ""


def _said(name: str) -> str:
    """A column in words: `pca_1` is PCA 1, `logit_no_finding` logit of no finding, `age_group:decades` age group."""
    head, _, rest = name.partition("_")
    if head in ("pca", "tsne"):
        return f"{'PCA' if head == 'pca' else 't-SNE'} {rest}"
    if head == "logit":
        return f"Logit of {rest.replace('_', ' ')}"
    words = name.partition(":")[0].replace("_", " ")
    return words[:1].upper() + words[1:]


def _coloured(sample: pl.DataFrame, by: str, values: Sequence[str]) -> pl.Expr:
    """The attribute with the unknown named, and of more values than there are colours the rarest as one."""
    counts = dict(sample.group_by(by).len().iter_rows())
    kept = sorted(values, key=lambda value: (-counts.get(value, 0), value))[:_MOST]
    return (
        pl.when(pl.col(by).is_null())
        .then(pl.lit(_UNKNOWN))
        .when(pl.col(by).is_in(kept))
        .then(pl.col(by))
        .otherwise(pl.lit(_REST))
        .alias(by)
    )


def _colours(sample: pl.DataFrame, by: str, values: Sequence[str]) -> dict[str, str]:
    """value -> colour, in the order of the values."""
    present = set(sample[by].drop_nulls())
    named = [value for value in values if value in present]
    extra = {value: colour(name) for value, name in ((_REST, "quiet"), (_UNKNOWN, "grey")) if value in present}
    return {value: colour(CATEGORIES[at]) for at, value in enumerate(named)} | extra


def _colour(by: str, colours: dict[str, str], *, legend: bool) -> Any:  # noqa: ANN401 - of Altair
    import altair as alt

    shown = alt.Legend(title=_said(by), columns=4, labelFontSize=10, titleFontSize=11) if legend else None
    return alt.Color("value:N", scale=alt.Scale(domain=list(colours), range=list(colours.values())), legend=shown)


def _joint(sample: pl.DataFrame, found: Exploration) -> Iterator[Figure]:
    """Of each pair of axes: points coloured by each attribute, the densities of the groups along both edges."""
    import altair as alt

    pairs = [("pca_1", "pca_2"), ("pca_3", "pca_4"), ("tsne_1", "tsne_2")]
    parts = sample["part"].unique(maintain_order=True).to_list()
    for x, y in (pair for pair in pairs if found.values and set(pair) <= set(sample.columns)):
        limits = {name: span(sample[name].to_numpy()) for name in (x, y)}
        panels = [
            _joint_plot(sample.filter(pl.col(by).is_not_null(), part=part), by, _colours(sample, by, values), limits, title=f"{_said(by)}, {part}" if len(parts) > 1 else _said(by))
            for by, values in found.values.items()
            for part in parts
        ]  # fmt: skip
        chart = alt.concat(*panels, columns=2, spacing=34).resolve_scale(
            color="independent", x="independent", y="independent"
        )
        yield Figure(
            f"joint_{figure_name(x)}_{figure_name(y).rpartition('_')[2]}",
            f"{_said(x)} and {_said(y).rpartition(' ')[2]}",
            (
                "t-SNE of the components: the axes, and distances between far points, have no meaning. "
                if x.startswith("tsne")
                else "One point an image. "
            )
            + ("Both samples are on the same axes. " if len(parts) > 1 else "")
            + f"{_KERNEL}{_fewer(found)}.",
            chart,
            _summary(sample, (x, y), list(found.values)),
        )  # fmt: skip


def _joint_plot(
    rows: pl.DataFrame, by: str, colours: dict[str, str], limits: dict[str, tuple[float, float]], *, title: str
) -> Any:  # noqa: ANN401 - of Altair
    import altair as alt

    x, y = limits
    scales = {name: alt.Scale(domain=list(bounds), nice=False, zero=False) for name, bounds in limits.items()}
    points = (
        alt.Chart(rows.select(pl.col(x, y).round(_DIGITS), value=by))
        .mark_point(filled=True, size=9, opacity=0.55)
        .encode(
            x=alt.X(f"{x}:Q", title=_said(x), scale=scales[x]),
            y=alt.Y(f"{y}:Q", title=_said(y), scale=scales[y]),
            color=_colour(by, colours, legend=False),
        )
        .properties(width=_SIDE, height=_SIDE)
    )
    edges = {name: densities(rows, name, by, limits[name]).with_columns(pl.col("at", "density").round(6)) for name in (x, y)}  # fmt: skip
    top = (
        alt.Chart(edges[x])
        .mark_line(strokeWidth=1.4)
        .encode(
            x=alt.X("at:Q", axis=None, scale=scales[x]),
            y=alt.Y("density:Q", axis=None),
            color=_colour(by, colours, legend=True),
        )
        .properties(width=_SIDE, height=_MARGIN, title=alt.Title(title, fontSize=12, offset=4))
    )
    right = (
        alt.Chart(edges[y])
        .mark_line(strokeWidth=1.4)
        .encode(
            x=alt.X("density:Q", axis=None),
            y=alt.Y("at:Q", axis=None, scale=scales[y]),
            order="at:Q",
            color=_colour(by, colours, legend=False),
        )
        .properties(width=_MARGIN, height=_SIDE)
    )
    return alt.vconcat(top, alt.hconcat(points, right, spacing=4), spacing=4)


def _summary(sample: pl.DataFrame, columns: Sequence[str], attributes: Sequence[str]) -> pl.DataFrame:
    """Rows, mean and standard deviation of each group: what a figure of points can say in a table."""
    measures = [
        expression.alias(f"{name}_{what}")
        for name in columns
        for what, expression in (("mean", pl.col(name).mean()), ("sd", pl.col(name).std()))
    ]
    parts = [
        sample.filter(pl.col(by).is_not_null())
        .group_by("part", value=by, maintain_order=True)
        .agg(pl.len().cast(pl.Int64).alias("n"), *measures)
        .select("part", pl.lit(by).alias("attribute"), pl.exclude("part"))
        .sort("part", "value")
        for by in attributes
    ]
    return pl.concat(parts)


def _marginals(sample: pl.DataFrame, found: Exploration) -> Iterator[Figure]:
    """Of each attribute: the density of every marginal by group; samples side by side on the same axes."""
    import altair as alt

    parts = sample["part"].unique(maintain_order=True).to_list()
    for by, values in found.values.items():
        curves = _curves(sample, found.marginals, by, parts)
        drawn = {value for per_part in curves.values() for one in per_part for value in one["value"]}
        colours = _colours(sample, by, values)
        shown = {value: one for value, one in colours.items() if value in drawn}
        if not shown:
            continue
        panels, tables = [], []
        for marginal, per_part in curves.items():
            limits = span(sample.filter(pl.col(by).is_not_null())[marginal].drop_nulls().to_numpy())
            highest = float(pl.concat(per_part)["density"].to_numpy().max(initial=0.0))
            for part, one in zip(parts, per_part, strict=True):
                tables.append(one.select(pl.lit(part).alias("part"), pl.lit(marginal).alias("marginal"), pl.all()))
                panel = (
                    alt.Chart(one.with_columns(pl.col("at", "density").round(6)))
                    .mark_line(strokeWidth=1.6)
                    .encode(
                        x=alt.X("at:Q", title=_said(marginal), scale=alt.Scale(domain=list(limits), nice=False, zero=False)),
                        y=alt.Y("density:Q", title="Density", axis=alt.Axis(tickCount=3), scale=alt.Scale(domain=[0, highest])),
                        color=_colour(by, shown, legend=True),
                    )
                    .properties(width=_PANEL[0], height=_PANEL[1])
                )  # fmt: skip
                title = alt.Title(part, fontSize=11, offset=4)
                panels.append(panel.properties(title=title) if len(parts) > 1 else panel)
        few = f" ({', '.join(value for value in colours if value not in drawn)})" if len(shown) < len(colours) else ""
        yield Figure(
            f"marginals_by_{figure_name(by)}",
            f"Components and logits by {_said(by).lower()}",
            f"{_KERNEL}{few}{_fewer(found)}; each has the area 1, however many images it is of.",
            alt.concat(*panels, columns=len(parts) if len(parts) > 1 else _COLUMNS).resolve_scale(
                x="independent", y="independent"
            ),
            pl.concat(tables),
        )


def _curves(
    sample: pl.DataFrame, marginals: Sequence[str], by: str, parts: Sequence[str]
) -> dict[str, list[pl.DataFrame]]:
    """The densities of each marginal that any image has, one frame a part."""
    found = {}
    for marginal in marginals:
        known = sample.filter(pl.col(marginal).is_not_null(), pl.col(by).is_not_null())
        if known.height:
            limits = span(known[marginal].to_numpy())
            found[marginal] = [densities(known.filter(part=part), marginal, by, limits) for part in parts]
    return found


def _explained(explained: pl.DataFrame) -> Figure:
    """A scree plot with the sum."""
    import altair as alt

    shown = explained.head(_SHOWN).with_row_index("component", offset=1)
    rate = alt.Axis(format=".0%")
    kinds = {"each component": colour("blue"), "sum up to it": colour("orange")}
    scale = alt.Scale(domain=list(kinds), range=list(kinds.values()))
    each, summed = (alt.Color(f"{kind}:N", title=None, scale=scale) for kind in ("each", "sum"))
    base = alt.Chart(
        shown.with_columns(pl.lit(said).alias(kind) for said, kind in zip(kinds, ("each", "sum"), strict=True))
    ).encode(x=alt.X("component:O", title="Component", axis=alt.Axis(labelAngle=0, labelOverlap=True)))
    bars = base.mark_bar().encode(y=alt.Y("share:Q", title="Share of the variance", axis=rate), color=each)
    total = base.mark_line(point=True).encode(
        y=alt.Y("cumulative:Q", title="Share of the variance", axis=rate), color=summed
    )
    more = f" The first {_SHOWN} of {explained.height:,} are drawn." if explained.height > _SHOWN else ""
    said = "Bars: each component's share; line: their sum up to it. Much variance is not much use: a model may rest on a component of little."
    return Figure("explained", "Variance explained by the components", said + more, alt.layer(bars, total), explained)


def _tests(tests: pl.DataFrame) -> Iterator[Figure]:
    """The table of tests as a picture: how far apart the groups are, and the adjusted p value."""
    import altair as alt

    if tests.is_empty():
        return
    shown = tests.select(
        part=pl.when("resampled").then(pl.lit(_AFTER)).otherwise(pl.lit(_BEFORE)),
        marginal=pl.col("marginal").map_elements(_said, return_dtype=pl.String),
        contrast=pl.format(
            "{}: {} and {}", pl.col("attribute").map_elements(_said, return_dtype=pl.String), "first", "second"
        ),
        statistic=pl.col("statistic").round(_DIGITS),
        d=pl.col("statistic").map_elements(lambda one: f"{one:.2f}", return_dtype=pl.String).fill_null("-"),
        p=pl.col("p_adjusted")
        .map_elements(_p_value, return_dtype=pl.String)
        .fill_null(pl.when(pl.col("note") == EMPTY).then(pl.lit("no images")).otherwise(pl.lit("masked"))),
        differs=pl.col("p_adjusted") < ALPHA,
    )
    marginals = shown["marginal"].unique(maintain_order=True).to_list()
    contrasts = shown["contrast"].unique(maintain_order=True).to_list()
    # Room above the cells for the second line of a logit's name.
    axis = alt.Axis(
        labelAngle=0, orient="top", labelExpr="split(datum.label, ' of ')", labelPadding=20, domain=False, ticks=False
    )
    base = alt.Chart().encode(
        x=alt.X("marginal:N", sort=marginals, title=None, axis=axis),
        y=alt.Y("contrast:N", sort=contrasts, title=None, axis=alt.Axis(domain=False, ticks=False, labelPadding=6)),
    )
    # Ink stays legible on the palest half of the colour.
    depth = alt.condition(
        "datum.differs", alt.Opacity("statistic:Q", scale=alt.Scale(domain=[0, 1], range=[0.12, 0.5]), legend=None), alt.value(0.0)
    )  # fmt: skip
    cells = base.mark_rect(color=colour("blue")).encode(opacity=depth)
    distance = base.mark_text(fontSize=12, dy=-7).encode(text="d:N")
    p_value = base.mark_text(fontSize=10, dy=8).encode(text="p:N")
    layered = alt.layer(cells, distance, p_value).properties(
        width=_CELL[0] * len(marginals), height=_CELL[1] * len(contrasts)
    )
    parts = shown["part"].unique(maintain_order=True).to_list()
    panels = [layered.properties(data=shown.filter(part=part)) for part in parts]
    if len(parts) > 1:
        panels = [
            panel.properties(title=alt.Title(part, fontSize=12)) for part, panel in zip(parts, panels, strict=True)
        ]
    chart = alt.vconcat(*panels)
    yield Figure(
        "tests",
        "Kolmogorov-Smirnov tests",
        f"The largest distance between the groups' distributions, and its p value adjusted over all tests of a sample (Benjamini-Yekutieli); shaded where under {ALPHA}. Images of one patient count as independent.",
        chart,
        tests,
    )


def _p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
