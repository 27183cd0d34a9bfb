"""A figure as every report has it: a chart, what it shows in words, and the same numbers as a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from cxrdata.errors import CxrError
from cxrdata.report.theme import Scheme, resolved, theme

if TYPE_CHECKING:
    import polars as pl

FORMATS = ("svg", "png", "csv")
_LINE = 84  # letters of a caption's line
PIXELS_PER_POINT = 3  # 3 x 72 dpi: sharp in print at the width of a page
# What a spreadsheet takes for a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Figure:
    """One figure of a report.

    name: file name without suffix, unique in a report. caption: what it shows, what is masked, its source. chart: an Altair
    chart without theme of its own; `theme.colour` names its colours. table: the same numbers, for screen readers and for
    copying. beside: where its CSV lies, seen from the page, if it does: a page names that in place of a very long table.
    """

    name: str
    title: str
    caption: str
    chart: Any
    table: pl.DataFrame
    beside: str | None = None


def figure_name(text: str) -> str:
    """Words as part of a figure's name: anything but letters and digits an underscore."""
    return "".join(letter if letter.isalnum() else "_" for letter in text).strip("_")


def require_altair() -> None:
    """Raise CxrError CXR-604 where the extra `[report]` is not installed."""
    try:
        import altair as alt
        import vl_convert  # noqa: F401 - asked for, not used
    except ImportError as error:
        raise CxrError(
            "CXR-604",
            "figures need Altair and vl-convert, which are not installed",
            fix="pip install 'cxrdata[report]'",
        ) from error
    # Charts here are of aggregates, but a histogram by year and dataset may pass Altair's 5,000 rows.
    alt.data_transformers.disable_max_rows()


def specification(figure: Figure) -> dict[str, Any]:
    """The figure as Vega-Lite with the house theme, its colours as CSS variables (`theme.resolved` gives values).

    It holds all its data and names no address, so nothing is fetched; it carries title and caption as its description.
    """
    require_altair()
    # Unchecked, in half the time: the tests check every chart against the schema.
    found: dict[str, Any] = figure.chart.to_dict(validate=False)
    found.pop("$schema", None)
    own = {key: value for key, value in found.get("config", {}).items() if key != "view"}
    return {**found, "config": {**theme(), **own}, "description": f"{figure.title}. {figure.caption}"}


def save_figures(
    figures: Iterable[Figure], folder: Path, *, formats: Sequence[str] = ("svg", "png"), scheme: Scheme = "light"
) -> list[Path]:
    """Write each figure into a folder, made if need be, as `name.svg`, `name.png`, and its table as `name.csv` where asked;
    the pictures bear title and caption.
    Offline; the same figures give the same bytes.

    Raises CxrError: CXR-502 an unknown format or a name used twice, CXR-602 not writable, CXR-604 without the extra.
    """
    require_altair()
    figures = list(figures)
    _check(figures, formats)
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for figure in figures:
            for suffix in formats:
                path = folder / f"{figure.name}.{suffix}"
                path.write_bytes(_bytes(figure, suffix, scheme))
                written.append(path)
    except OSError as error:
        raise CxrError(
            "CXR-602",
            f"cannot write: {error.strerror}",
            where=str(error.filename or folder),
            fix="name a folder that can be made and written to",
        ) from error
    return written


def remove_figures(folder: Path, names: re.Pattern[str]) -> None:
    """Remove pictures that an earlier call left in a folder: they would be taken for this one's. names: of those that the
    caller draws, without suffix. Raises CxrError CXR-602."""
    try:
        for path in folder.iterdir() if folder.is_dir() else ():
            if names.fullmatch(path.stem) and path.suffix.removeprefix(".") in FORMATS:
                path.unlink()
    except OSError as error:
        raise CxrError(
            "CXR-602", f"cannot write: {error.strerror}", where=str(error.filename or folder), fix="name another folder"
        ) from error


def _check(figures: Sequence[Figure], formats: Sequence[str]) -> None:
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise CxrError("CXR-502", f"figures are not written as {unknown[0]!r}", fix=f"formats: {', '.join(FORMATS)}")
    names = [figure.name for figure in figures]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CxrError("CXR-502", f"two figures are called {twice[0]!r}", fix="give each a name of its own")


def _bytes(figure: Figure, suffix: str, scheme: Scheme) -> bytes:
    if suffix == "csv":
        return spreadsheet_safe(figure.table).write_csv().encode()
    import vl_convert

    drawing = resolved(specification(figure), scheme)
    text = json.dumps({**drawing, "title": _heading(figure)} if "title" not in drawing else drawing)
    # No address may be asked for data or pictures, whatever a chart holds.
    if suffix == "svg":
        svg: str = vl_convert.vegalite_to_svg(text, allowed_base_urls=[])
        return svg.encode()
    png: bytes = vl_convert.vegalite_to_png(text, scale=PIXELS_PER_POINT, allowed_base_urls=[])
    return png


def _heading(figure: Figure) -> dict[str, Any]:
    """Title and caption: a picture goes about without the page that would say what its bands and bars are."""
    lines = wrap(figure.caption, _LINE, break_on_hyphens=False)
    return (
        {"text": figure.title, "subtitle": lines, "subtitleFontSize": 11, "subtitlePadding": 6}
        if lines
        else {"text": figure.title}
    )


def spreadsheet_safe(table: pl.DataFrame) -> pl.DataFrame:
    """The table with an apostrophe before each text that a spreadsheet would run as a formula."""
    import polars as pl

    texts = [name for name, dtype in table.schema.items() if dtype == pl.String]
    hostile = [pl.any_horizontal(pl.col(name).str.starts_with(sign) for sign in _FORMULA) for name in texts]
    safe = table.with_columns(
        pl.when(bad).then(pl.concat_str(pl.lit("'"), pl.col(name))).otherwise(pl.col(name)).alias(name)
        for name, bad in zip(texts, hostile, strict=True)
    )
    return safe.rename({name: f"'{name}" for name in safe.columns if name.startswith(_FORMULA)})
