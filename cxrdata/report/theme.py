"""The look of every figure: one palette with a light and a dark side, safe for colour-blind readers and in print.

Charts name colours by `colour("blue")`, never by value. In a page they are CSS variables, so that a reader's dark mode and
the printer switch them without drawing anew; in a file they become the values of one scheme.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from cxrdata.errors import CxrError

Scheme = Literal["light", "dark"]
# Okabe & Ito, "Color Universal Design" (2008), yellow left out: it is all but invisible on paper. The dark side is the same
# hues, lifted where they would sink into the ground.
PALETTE: dict[str, tuple[str, str]] = {
    "blue": ("#0072b2", "#3fa0dc"),
    "orange": ("#e69f00", "#f0b030"),
    "green": ("#009e73", "#2fbf95"),
    "purple": ("#cc79a7", "#dc94bb"),
    "sky": ("#56b4e9", "#8fd0f5"),
    "red": ("#d55e00", "#f0813a"),
    # Tol, "Colour Schemes" (2021), muted: as far from those above as a colour-blind reader can tell.
    "indigo": ("#332288", "#8f80e8"),
    "olive": ("#999933", "#cfcf60"),
    "wine": ("#882255", "#c75a88"),
    "grey": ("#7a7a7a", "#9a9a9a"),
    "ink": ("#1a1a1a", "#ececec"),
    "quiet": ("#595959", "#b4b4b4"),
    "line": ("#d0d0d0", "#474747"),
    "faint": ("#f1f3f5", "#24282d"),
    "paper": ("#ffffff", "#15181b"),
}
CATEGORIES = ("blue", "orange", "green", "purple", "sky", "red", "indigo", "olive", "wine", "grey")
# One after the other, so that colours which come again come with another shape.
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
# Only a generic family: nothing is fetched, and a file looks alike wherever it is opened.
FONT = "sans-serif"
_VARIABLE = re.compile(r"var\(--cxr-([a-z]+)\)")


def colour(name: str) -> str:
    """A colour of the palette as charts write it. Continuous scales cannot blend it: use steps, or opacity."""
    return f"var(--cxr-{name})" if name in PALETTE else _unknown(name)


def _unknown(name: str) -> str:
    raise CxrError("CXR-501", f"no colour is called {name!r}", fix=f"colours: {', '.join(PALETTE)}")


def colour_css(scheme: Scheme) -> str:
    """The palette as CSS declarations: `--cxr-blue:#0072b2;…`."""
    side = int(scheme == "dark")
    return "".join(f"--cxr-{name}:{values[side]};" for name, values in PALETTE.items())


def resolved(specification: dict[str, Any], scheme: Scheme) -> dict[str, Any]:
    """The specification with values in place of CSS variables."""
    side = int(scheme == "dark")
    text = _VARIABLE.sub(lambda found: PALETTE[found[1]][side], json.dumps(specification))
    whole: dict[str, Any] = json.loads(text)
    return whole


def theme() -> dict[str, Any]:
    """The Vega-Lite config of every figure."""
    ink, quiet, line = colour("ink"), colour("quiet"), colour("line")
    return {
        "font": FONT,
        "background": colour("paper"),
        "view": {"stroke": None, "continuousHeight": 220, "continuousWidth": 480, "step": 22},
        "range": {"category": [colour(name) for name in CATEGORIES]},
        "axis": {
            "labelColor": ink, "titleColor": ink, "domainColor": quiet, "tickColor": quiet, "gridColor": line,
            "gridOpacity": 0.7, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": 260,
        },
        "axisBand": {"grid": False},
        "legend": {
            "labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
            "orient": "top", "labelLimit": 240, "columns": 6, "symbolType": "square",
        },
        "header": {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "labelFontWeight": "bold", "titleFontSize": 12},
        "title": {"color": ink, "subtitleColor": quiet, "anchor": "start", "fontSize": 14, "fontWeight": "bold", "offset": 12},
        "text": {"color": ink, "fontSize": 11},
        "rule": {"color": ink},
        "bar": {"color": colour("blue")},
        "point": {"color": colour("blue"), "filled": True, "size": 55},
        "line": {"color": colour("blue"), "strokeWidth": 2},
        "tick": {"color": ink},
    }  # fmt: skip
