"""The figures of a probe: origins side by side, and what switching units off costs the attribute and the findings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.report.charts import categories
from cxrdata.report.figure import Figure, require_altair

if TYPE_CHECKING:
    from collections.abc import Sequence

DRAWN = re.compile("origins|ablation")  # the names of figures
_WIDTH, _HEIGHT, _COLUMNS = 220, 150, 3


def probe_figures(rows: pl.DataFrame) -> list[Figure]:
    """rows: of `probe.rows.SCHEMA`. Raises CxrError CXR-604 without the extra [report]."""
    require_altair()
    attribute = str(rows["attribute"][0])
    frozen = rows.filter(
        pl.col("read_by") == "probe", pl.col("units") == "none", pl.col("about") == "attribute"
    ).unique(["origin", "frozen", "target"], keep="first", maintain_order=True)
    figures = [_origins(frozen, attribute)] if frozen.height else []
    off = rows.filter(pl.col("units").is_in(["ranked", "random"]))
    return [*figures, *([_ablation(rows, off, attribute)] if off.height else [])]


def _origins(rows: pl.DataFrame, attribute: str) -> Figure:
    import altair as alt

    table = rows.select("origin", "frozen", "target", "estimate", "ci_low", "ci_high", "n", "n_positive")
    shown = table.filter(pl.col("estimate").is_not_null())
    targets, origins = (shown[name].unique(maintain_order=True).to_list() for name in ("target", "origin"))
    base = alt.Chart(shown).encode(
        y=alt.Y("target:N", title=None, sort=targets),
        yOffset=alt.YOffset("origin:N", sort=origins),
        color=alt.Color("origin:N", title="Backbone", sort=origins, scale=categories(origins)),
    )
    scale = alt.Scale(domain=[min(0.45, *shown["ci_low"].fill_null(0.5)), 1.0], nice=False)
    lines = base.mark_rule(strokeWidth=1.5).encode(
        x=alt.X("ci_low:Q", title="AUROC", scale=scale, axis=alt.Axis(tickCount=6)), x2=alt.X2("ci_high:Q")
    )
    dots = base.mark_point(filled=True, opacity=1, size=36).encode(x=alt.X("estimate:Q"))
    chart = (lines + dots).properties(width=2 * _WIDTH, height=alt.Step(9 * len(origins) + 8))
    caption = (
        f"AUROC of a new linear head for {attribute} on the features of a frozen backbone, on test images; 95 % interval by "
        "patient. 0.5 is chance."
    )
    return Figure("origins", f"What can be read of {attribute}", caption, chart, table)


def _ablation(rows: pl.DataFrame, off: pl.DataFrame, attribute: str) -> Figure:
    """A panel a target; each way to choose units begins at what holds with all of them on."""
    import altair as alt

    way = pl.when(units="random").then(pl.lit("random units")).otherwise(pl.lit("ranked by ") + pl.col("criterion"))
    columns = ("target", "about", "way", "percent", "n_units", "estimate", "ci_low", "ci_high", "n")
    said = off.with_columns(way=way, percent=pl.col("share") * 100)
    ways = said["way"].unique(maintain_order=True).to_list()
    # Of the attribute the start is read by the same head as what follows.
    readers = off.select("target", "about", "read_by").unique(maintain_order=True)
    start = (
        rows.filter(units="none")
        .join(readers, on=["target", "about", "read_by"], how="semi")
        .unique(["about", "target"], maintain_order=True)
    )
    # Of random units the band is of draws, and with none switched off all draws are the same.
    sure = {"random units": {"ci_low": pl.col("estimate"), "ci_high": pl.col("estimate")}}
    begun = pl.concat([start.with_columns(way=pl.lit(one), percent=pl.lit(0.0), **sure.get(one, {})) for one in ways])
    table = pl.concat([begun.select(columns), said.select(columns)]).with_columns(
        panel=pl.when(about="attribute").then(pl.lit(f"{attribute}: ") + pl.col("target")).otherwise(pl.col("target"))
    )
    panels: Sequence[str] = table["panel"].unique(maintain_order=True).to_list()
    base = alt.Chart().encode(
        x=alt.X("percent:Q", title="Units switched off (%)"),
        color=alt.Color("way:N", title=None, sort=ways, scale=categories(ways)),
    )
    y = alt.Y("estimate:Q", title="AUROC", scale=alt.Scale(zero=False))
    band = base.mark_area(opacity=0.18).encode(
        y=alt.Y("ci_low:Q", title="AUROC", scale=alt.Scale(zero=False)), y2=alt.Y2("ci_high:Q")
    )
    line = base.mark_line(point=alt.OverlayMarkDef(size=22)).encode(y=y)
    chart = (
        alt.layer(band, line)
        .properties(width=_WIDTH, height=_HEIGHT)
        .facet(facet=alt.Facet("panel:N", title=None, sort=list(panels)), columns=_COLUMNS, data=table)
        .resolve_axis(x="independent", y="independent")
    )
    draws = max(off["draws"].drop_nulls().to_list(), default=0)
    caption = (
        f"AUROC on test images when units of the last layer are switched off, chosen on training images by how much of "
        f"{attribute} they carry, or at random. Bands: 95 % intervals by patient; of random units, 95 % of {draws} draws."
    )
    return Figure("ablation", f"Switching off units that carry {attribute}", caption, chart, table.drop("panel"))
