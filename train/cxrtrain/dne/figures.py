"""Two figures: how fair each model is, and what probes still read of the attribute."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.report.charts import categories
from cxrdata.report.figure import Figure, require_altair, save_figures
from cxrdata.report.theme import colour
from cxrtrain.dne.fairness import SHOWN
from cxrtrain.dne.hiding import FRESH, OLD

_FAIR = ("accuracy", "equalised_odds_negative", "equalised_odds_positive", "demographic_parity_difference")


def write_figures(evaluated: Path, fits: Mapping[str, Path], folder: Path) -> None:
    """figures/fairness and figures/hiding as SVG, PNG and CSV, and the noises as pictures. Without the extra [report] the
    pictures of the noises alone."""
    place = folder / "figures"
    place.mkdir()
    for name, fitted in fits.items():
        (place / f"noise-{name}.png").write_bytes((fitted / "noise.png").read_bytes())
    try:
        require_altair()
    except CxrError:
        return
    fairness, hiding = (
        pl.read_csv(evaluated / name, infer_schema_length=None) for name in ("fairness.csv", "hiding.csv")
    )
    save_figures([fairness_figure(fairness), hiding_figure(hiding)], place, formats=("svg", "png", "csv"))


def fairness_figure(rows: pl.DataFrame) -> Figure:
    """rows: of fairness.csv."""
    import altair as alt

    table = rows.filter(pl.col("metric").is_in(_FAIR)).with_columns(measure=pl.col("metric").replace(SHOWN))
    models = table["model"].unique(maintain_order=True).to_list()
    base = alt.Chart(table).encode(y=alt.Y("model:N", sort=models, title=None))
    spread = base.mark_rule(color=colour("blue")).encode(x="ci_low:Q", x2="ci_high:Q")
    dots = base.mark_point(filled=True, size=60, color=colour("blue")).encode(
        x=alt.X("estimate:Q", title=None, scale=alt.Scale(zero=True))
    )
    order = [SHOWN[name] for name in _FAIR]
    chart = (spread + dots).properties(width=300, height=22 * len(models)).facet(
        facet=alt.Facet("measure:N", sort=order, title=None), columns=1
    )  # fmt: skip
    return Figure(
        "fairness",
        "Accuracy and fairness on the balanced test",
        "Accuracy: higher is better. The others are gaps between the attribute's two values: 0 is fair. 95 % intervals by patient.",
        chart,
        table.select("model", "metric", "n", "estimate", "ci_low", "ci_high"),
    )


def hiding_figure(rows: pl.DataFrame) -> Figure:
    """rows: of hiding.csv."""
    import altair as alt

    words = {OLD: "the probe that was to be misled", FRESH: "a probe trained anew"}
    table = rows.filter(pl.col("metric") == "auroc").with_columns(reader=pl.col("probe").replace(words))
    noises = table["noise"].unique(maintain_order=True).to_list()
    readers = list(words.values())
    base = alt.Chart(table).encode(
        y=alt.Y("noise:N", sort=noises, title="noise"),
        yOffset=alt.YOffset("reader:N", sort=readers),
        color=alt.Color("reader:N", sort=readers, title=None, scale=categories(readers)),
    )
    spread = base.mark_rule().encode(x="ci_low:Q", x2="ci_high:Q")
    dots = base.mark_point(filled=True, size=60).encode(
        x=alt.X("estimate:Q", title="AUROC of the attribute, test images", scale=alt.Scale(domain=[0, 1]))
    )
    half = alt.Chart(pl.DataFrame({"x": [0.5]})).mark_rule(strokeDash=[4, 4], color=colour("quiet")).encode(x="x:Q")
    return Figure(
        "hiding",
        "Hidden, or only fooled?",
        "Where the old probe is at 0.5 or below and a fresh one is far from it, the noise fools and does not hide. 95 % intervals by patient.",
        (half + spread + dots).properties(width=380, height=36 * len(noises)),
        table.select("noise", "objective", "images", "probe", "n", "estimate", "ci_low", "ci_high"),
    )
