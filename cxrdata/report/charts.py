"""Charts that reports draw more than once. Each takes a table and gives an Altair chart without theme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from cxrdata.report.theme import CATEGORIES, SHAPES, colour

_PANEL = 326  # pixels, of a chart that stands beside others
_WIDE = 560


def shares(frame: pl.DataFrame, *, row: str, part: str, order: Sequence[str], x_title: str, part_title: str) -> Any:  # noqa: ANN401 - Altair is imported on use
    """Bars of 100 percent, one a `row`, cut into its `part`s in the given order; columns `percent` and, for the tooltip,
    `images`. What is masked is a gap."""
    import altair as alt

    ranked = frame.filter(pl.col("percent").is_not_null()).with_columns(
        _rank=pl.col(part).replace_strict({name: at for at, name in enumerate(order)}, default=len(order))
    )
    return (
        alt.Chart(ranked)
        .mark_bar(stroke=colour("paper"), strokeWidth=1)
        .encode(
            y=alt.Y(f"{row}:N", title=None, sort=None),
            x=alt.X("percent:Q", title=x_title, stack=True, scale=alt.Scale(domain=[0, 100])),
            color=alt.Color(f"{part}:N", title=part_title, sort=list(order), scale=categories(order)),
            order=alt.Order("_rank:Q"),
            tooltip=[
                alt.Tooltip(f"{row}:N"),
                alt.Tooltip(f"{part}:N"),
                alt.Tooltip("images:Q", format=","),
                alt.Tooltip("percent:Q", format=".1f"),
            ],
        )
        .properties(width=_WIDE)
    )


def intervals(
    frame: pl.DataFrame, *, y: str, part: str, order: Sequence[str], x_title: str, title: str, part_title: str
) -> Any:  # noqa: ANN401
    """Dots with intervals, one row a `y` in the order of the frame; columns `percent`, `ci_low`, `ci_high`, and for the
    tooltip `images_about`."""
    import altair as alt

    known = frame.filter(pl.col("percent").is_not_null())
    rows = alt.Y(f"{y}:N", title=None, sort=None)
    base = alt.Chart(known).encode(y=rows)
    many = len(order) > 1
    colours = (
        alt.Color(f"{part}:N", title=part_title, sort=list(order), scale=categories(order))
        if many
        else alt.ColorValue(colour("blue"))
    )
    beside = {"yOffset": alt.YOffset(f"{part}:N", sort=list(order))} if many else {}
    tooltip = [
        alt.Tooltip(f"{y}:N"), alt.Tooltip(f"{part}:N"), alt.Tooltip("images_about:Q", format=","),
        *(alt.Tooltip(f"{name}:Q", format=".2f") for name in ("percent", "ci_low", "ci_high")),
    ]  # fmt: skip
    lines = base.mark_rule(strokeWidth=1.5).encode(
        x=alt.X("ci_low:Q", title=x_title, scale=alt.Scale(zero=True, nice=True)),
        x2=alt.X2("ci_high:Q"),
        color=colours,
        **beside,
    )
    dots = base.mark_point(filled=True, opacity=1, size=28).encode(
        x=alt.X("percent:Q"),
        color=colours,
        tooltip=tooltip,
        **beside,
        **(_shape(part, order, part_title) if many else {}),
    )
    step = max(16, 7 * len(order))
    return (lines + dots).properties(
        width=_PANEL, height=alt.Step(step, **({"for": "position"} if many else {})), title=title
    )


def dots(
    frame: pl.DataFrame, *, y: str, part: str, order: Sequence[str], x_title: str, title: str, part_title: str
) -> Any:  # noqa: ANN401
    """Dots on a line, one row a `y`, one dot a `part`, one below the other so that none covers another, joined so that
    the eye sees how far they lie apart."""
    import altair as alt

    known = frame.filter(pl.col("percent").is_not_null()).with_columns(
        _rank=pl.col(part).replace_strict({name: at for at, name in enumerate(order)}, default=len(order))
    )
    rows = alt.Y(f"{y}:N", title=None, sort=None)
    beside = alt.YOffset(f"{part}:N", sort=list(order))
    joined = (
        alt.Chart(known)
        .mark_line(color=colour("line"), strokeWidth=3)
        .encode(
            y=rows,
            x=alt.X("percent:Q", title=x_title),
            detail=alt.Detail(f"{y}:N"),
            yOffset=beside,
            order=alt.Order("_rank:Q"),
        )
    )
    points = (
        alt.Chart(known)
        .mark_point(filled=True, opacity=1, size=50)
        .encode(
            y=rows,
            x=alt.X("percent:Q"),
            color=alt.Color(f"{part}:N", title=part_title, sort=list(order), scale=categories(order)),
            yOffset=beside,
            **_shape(part, order, part_title),
            tooltip=[
                alt.Tooltip(f"{y}:N"),
                alt.Tooltip(f"{part}:N"),
                *([alt.Tooltip("images:Q", format=",.0f")] if known["images"].is_not_null().any() else []),
                alt.Tooltip("percent:Q", format=".1f"),
            ],
        )
    )
    return (joined + points).properties(
        width=_PANEL, height=alt.Step(max(18, 11 * len(order)), **{"for": "position"}), title=title
    )


def ages(years: pl.DataFrame, *, title: str) -> Any:  # noqa: ANN401
    """Two histograms by year of age: the children on a scale of their own, and everyone, the children in their colour.

    years: year (0 to 90), images (null: masked), band (`children` or `adults`).
    """
    import altair as alt

    scale = alt.Scale(domain=["children", "adults"], range=[colour("red"), colour("blue")])

    def panel(rows: pl.DataFrame, first: int, last: int, heading: str, width: int) -> Any:  # noqa: ANN401
        axis = alt.X(
            "year:Q", title="age in years", scale=alt.Scale(domain=[first, last + 1], nice=False),
            axis=alt.Axis(grid=False, values=list(range(first, last + 1, 3 if last < 30 else 10))),
        )  # fmt: skip
        most = max(rows["images"].drop_nulls().to_list(), default=0) or 1
        bars = (
            alt.Chart(rows.filter(pl.col("images").is_not_null()).with_columns(end=pl.col("year") + 1))
            .mark_rect(stroke=colour("paper"), strokeWidth=0.5)
            .encode(
                x=axis,
                x2=alt.X2("end:Q"),
                y=alt.Y(
                    "images:Q",
                    title="images",
                    axis=alt.Axis(tickCount=4, format="~s", tickMinStep=1),
                    scale=alt.Scale(domain=[0, most], nice=True),
                ),
                y2=alt.Y2Datum(0),
                color=alt.Color("band:N", title=None, scale=scale),
                tooltip=[alt.Tooltip("year:Q"), alt.Tooltip("images:Q", format=",")],
            )
        )
        hidden = (
            alt.Chart(rows.filter("masked").with_columns(middle=pl.col("year") + 0.5))
            .mark_text(text="x", color=colour("quiet"), baseline="bottom", fontSize=11)
            .encode(x=alt.X("middle:Q"), y=alt.YValue(120), tooltip=[alt.Tooltip("year:Q"), alt.Tooltip("masked:N")])  # type: ignore[no-untyped-call]
        )
        return (bars + hidden).properties(
            width=width, height=120, title=alt.Title(heading, fontSize=12, fontWeight="normal")
        )

    young = years.filter(pl.col("year") < 18)
    if young["masked"].any() or young["images"].sum():
        children = panel(young, 0, 17, f"{title}: under 18", 260)
    else:
        children = (
            alt.Chart(pl.DataFrame({"said": ["no image of anyone under 18"]}))
            .mark_text(color=colour("quiet"), fontSize=12)
            .encode(text=alt.Text("said:N"), x=alt.XValue(130), y=alt.YValue(60))  # type: ignore[no-untyped-call]
            .properties(width=260, height=120, title=alt.Title(f"{title}: under 18", fontSize=12, fontWeight="normal"))
        )
    everyone = panel(years, 0, 90, f"{title}: all ages", 400)
    return alt.hconcat(children, everyone, spacing=40)


def grid(frame: pl.DataFrame, *, row: str, column: str, x_order: Sequence[str]) -> Any:  # noqa: ANN401
    """Shares as a table of tinted cells with their number; columns `percent` and `told` (its text)."""
    import altair as alt

    base = alt.Chart(frame).encode(
        y=alt.Y(f"{row}:N", title=None, sort=None),
        x=alt.X(f"{column}:N", title=None, sort=list(x_order), axis=alt.Axis(orient="top", labelAngle=-40)),
    )
    cells = base.mark_rect(color=colour("blue"), stroke=colour("line")).encode(
        opacity=alt.Opacity("percent:Q", legend=None, scale=alt.Scale(domain=[0, 100], range=[0.0, 0.55])),
        tooltip=[alt.Tooltip(f"{row}:N"), alt.Tooltip(f"{column}:N"), alt.Tooltip("told:N")],
    )
    numbers = base.mark_text(color=colour("ink")).encode(text=alt.Text("told:N"))
    return (cells + numbers).properties(width=alt.Step(54), height=alt.Step(26))


def stacked(charts: Sequence[Any], *, columns: int = 1) -> Any:  # noqa: ANN401
    """Charts one below the other or in columns, each with axes of its own and one legend for all."""
    import altair as alt

    if len(charts) == 1:
        return charts[0]
    return alt.concat(*charts, columns=columns, spacing=24).resolve_scale(color="shared", shape="shared")


def _shape(part: str, order: Sequence[str], title: str) -> dict[str, Any]:
    """The channel that gives each name a shape, in one legend with its colour."""
    import altair as alt

    shapes = alt.Scale(domain=list(order), range=[SHAPES[at % len(SHAPES)] for at in range(len(order))])
    return {"shape": alt.Shape(f"{part}:N", title=title, sort=list(order), scale=shapes)}


def categories(order: Sequence[str]) -> Any:  # noqa: ANN401
    """The scale that gives each name its colour, the unknown grey; beyond the palette colours come again, with
    other shapes where there are shapes."""
    import altair as alt

    plain = [name for name in CATEGORIES if name != "grey"]
    named = [name for name in order if name != "unknown"]
    colours = {name: colour(plain[at % len(plain)]) for at, name in enumerate(named)}
    return alt.Scale(domain=list(order), range=[colours.get(name, colour("grey")) for name in order])
