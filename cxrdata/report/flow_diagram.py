"""The flow diagram of a cohort, as papers print it: what is left after each step, and to the side what left.

Boxes stand one below the other, in the manner of the CONSORT and STARD statements. The figure is as wide as a column of
text (89 mm), its letters as large as a caption's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrdata.errors import CxrError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cxrdata.splits.funnel import Funnel

SUFFIXES = (".svg", ".png")
DOTS_PER_INCH = 300
# All lengths in inches, letters in points.
WIDTH = 3.5
_MARGIN = 0.06
_STEP_WIDTH = 1.86
_SIDE_LEFT = 2.1
_PADDING = 0.07
_GAP = 0.36
_SIDE_GAP = 0.08
_LETTERS = 7.0
_SMALL = 6.2
_LINE = 1.32
_POINTS = 72.0
_INK, _QUIET, _EDGE, _FILL, _LAST_FILL = "#1a1a1a", "#5f6b76", "#44525f", "#ffffff", "#e8eff6"
# Whatever a user's matplotlib is set to, the same bytes come out.
_SETTINGS = {"svg.hashsalt": "cxrdata", "svg.fonttype": "path", "font.family": "DejaVu Sans", "path.simplify": False}


@dataclass(frozen=True)
class _Line:
    text: str
    size: float = _LETTERS
    weight: str = "normal"
    colour: str = _INK

    @property
    def height(self) -> float:
        return self.size * _LINE / _POINTS


@dataclass(frozen=True)
class _Box:
    """A box of lines; `top` grows downwards from the top of the figure."""

    left: float
    top: float
    width: float
    lines: list[_Line]

    @property
    def height(self) -> float:
        return sum(line.height for line in self.lines) + 2 * _PADDING

    @property
    def bottom(self) -> float:
        return self.top + self.height


def draw_flow_diagram(funnel: Funnel, out: Path) -> None:
    """Write the flow diagram of a funnel as SVG or PNG, by suffix. The same funnel gives the same bytes.

    Raises CxrError: CXR-502 another suffix, CXR-602 not writable, CXR-604 without matplotlib.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise CxrError(
            "CXR-502",
            f"a flow diagram cannot be written as {suffix or '(no suffix)'!r}",
            where=str(out),
            fix=f"use {' or '.join(SUFFIXES)}",
        )
    try:
        import matplotlib as mpl
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CxrError(
            "CXR-604", "drawing needs matplotlib, which is not installed", fix="pip install 'cxrdata[report]'"
        ) from error
    with style.context("default"), mpl.rc_context(_SETTINGS):  # type: ignore[arg-type]
        steps, sides = _boxes(funnel)
        below = _wrapped([_Line(remark, _SMALL, colour=_QUIET) for remark in funnel.remarks], WIDTH - 2 * _MARGIN)
        height = steps[-1].bottom + _MARGIN + (sum(line.height for line in below) + _PADDING if below else 0)
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        axes.set_axis_off()
        _draw(axes, steps, sides)
        _write_lines(axes, below, _MARGIN, steps[-1].bottom + _PADDING, align="left")
        metadata: dict[str, Any] = {"Date": None, "Creator": None} if suffix == ".svg" else {"Software": None}
        try:
            figure.savefig(out, format=suffix[1:], dpi=DOTS_PER_INCH, facecolor="white", metadata=metadata)
        except OSError as error:
            raise CxrError(
                "CXR-602",
                f"cannot write: {error.strerror}",
                where=str(out),
                fix="name a file in a folder that exists and is writable",
            ) from error


def _boxes(funnel: Funnel) -> tuple[list[_Box], list[_Box | None]]:
    """The steps from top to bottom, and after each but the last what left, or None where nothing did."""
    rows = funnel.frame.select("step", "images", "patients", "expected_images").rows(named=True)
    steps: list[_Box] = []
    sides: list[_Box | None] = []
    top = _MARGIN
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        box = _Box(_MARGIN, top, _STEP_WIDTH, _wrapped(_step_lines(row), _STEP_WIDTH - 2 * _PADDING))
        steps.append(box)
        if following is None:
            break
        gone = _wrapped(_gone_lines(row, following), WIDTH - _MARGIN - _SIDE_LEFT - 2 * _PADDING)
        top = box.bottom + _GAP
        side = _Box(_SIDE_LEFT, 0, WIDTH - _MARGIN - _SIDE_LEFT, gone) if gone else None
        if side is not None:
            # Beside the middle of the gap, but never over the one before: then the next step moves down.
            last = next((one.bottom for one in reversed(sides) if one is not None), 0.0)
            shift = max(0.0, last + _SIDE_GAP - (box.bottom + _GAP / 2 - side.height / 2))
            top += 2 * shift
            side = _Box(side.left, (box.bottom + top) / 2 - side.height / 2, side.width, side.lines)
        sides.append(side)
    return steps, sides


def _step_lines(row: dict[str, Any]) -> list[_Line]:
    counts = _counted(row["images"], "image") + (
        "" if row["patients"] is None else f", {_counted(row['patients'], 'patient')}"
    )
    lines = [_Line(_capitalised(row["step"]), weight="bold"), _Line(counts)]
    if row["expected_images"] is not None:
        lines.append(_Line(f"published: {_counted(row['expected_images'], 'image')}", _SMALL, colour=_QUIET))
    return lines


def _gone_lines(row: dict[str, Any], following: dict[str, Any]) -> list[_Line]:
    images = row["images"] - following["images"]
    if not images:
        return []
    lines = [_Line(f"Excluded: {_counted(images, 'image')}", _SMALL)]
    if row["patients"] is not None and (patients := row["patients"] - (following["patients"] or 0)):
        lines.append(
            _Line(f"{_counted(patients, 'patient')} {'leaves' if patients == 1 else 'leave'}", _SMALL, colour=_QUIET)
        )
    return lines


def _counted(n: int, thing: str) -> str:
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _draw(axes: Axes, steps: list[_Box], sides: list[_Box | None]) -> None:
    middle = _MARGIN + _STEP_WIDTH / 2
    for box, following, side in zip(steps, steps[1:], sides, strict=False):
        _arrow(axes, (middle, box.bottom), (middle, following.top))
        if side is not None:
            height = side.top + side.height / 2
            _arrow(axes, (middle, height), (side.left, height))
            _frame(axes, side, fill=_FILL)
            _write_lines(axes, side.lines, side.left + _PADDING, side.top + _PADDING, align="left")
    for number, box in enumerate(steps, 1):
        _frame(axes, box, fill=_LAST_FILL if number == len(steps) else _FILL)
        _write_lines(axes, box.lines, middle, box.top + _PADDING, align="center")


def _frame(axes: Axes, box: _Box, *, fill: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch(
            (box.left, box.top),
            box.width,
            box.height,
            boxstyle="round,pad=0,rounding_size=0.035",
            facecolor=fill,
            edgecolor=_EDGE,
            linewidth=0.7,
        )
    )


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={
            "arrowstyle": "-|>,head_length=0.28,head_width=0.13",
            "color": _EDGE,
            "linewidth": 0.7,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


def _write_lines(axes: Axes, lines: list[_Line], left: float, top: float, *, align: str) -> None:
    for line in lines:
        top += line.height
        baseline = top - 0.28 * line.height  # room for descenders
        axes.text(
            left,
            baseline,
            line.text,
            size=line.size,
            weight=line.weight,
            color=line.colour,
            ha=align,
            va="baseline",
            parse_math=False,
        )


def _wrapped(lines: list[_Line], width: float) -> list[_Line]:
    """Lines no wider than `width` inches, broken between words, and inside one that alone is too wide."""
    wrapped = []
    for line in lines:
        rest = ""
        for word in line.text.split():
            longer = f"{rest} {word}".strip()
            if rest and _width(line, longer) > width:
                wrapped.append(_Line(rest, line.size, line.weight, line.colour))
                longer = word
            while len(longer) > 1 and _width(line, longer) > width:
                cut = next(n for n in range(len(longer) - 1, 0, -1) if n == 1 or _width(line, longer[:n]) <= width)
                wrapped.append(_Line(longer[:cut], line.size, line.weight, line.colour))
                longer = longer[cut:]
            rest = longer
        if rest:
            wrapped.append(_Line(rest, line.size, line.weight, line.colour))
    return wrapped


def _width(line: _Line, text: str) -> float:
    """Of a text, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(size=line.size, weight=line.weight), ismath=False
    )
    return float(width) / _POINTS
