"""A report as one HTML file that needs nothing else: no network, no server, no font.

Every text is escaped where it is written; the data of the charts lie in a script block as JSON in which no `<` is left. The
page forbids itself to fetch anything (Content-Security-Policy). Each figure is named for screen readers and has its table.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import polars as pl

from cxrdata.report.disclosure import MASKED
from cxrdata.report.figure import Figure, require_altair, specification, spreadsheet_safe
from cxrdata.report.section import Picture, Section, Table
from cxrdata.report.theme import colour_css

# Vega compiles its expressions, hence unsafe-eval; nothing else may run, and nothing may be fetched.
_POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:"
_FEW_ROWS = 12  # the table of a figure with no more is open
_MANY_ROWS = 40  # a plain table of more is folded
_MOST_ROWS = 200  # the table of a figure with more is left out of the page where its CSV lies beside


@dataclass(frozen=True)
class Page:
    """A report: its title, paragraphs about it (`notices` stand out), its sections, and a line at its end."""

    title: str
    said: Sequence[str]
    notices: Sequence[str]
    sections: Sequence[Section]
    foot: str

    @property
    def figures(self) -> list[Figure]:
        """All figures, in order."""
        return [figure for section in self.sections for figure in section.figures]


@cache
def drawing_code() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script for a page. A second or so, the first time."""
    require_altair()
    import vl_convert

    code: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return code.replace("</script", "<\\/script")


def render(page: Page) -> str:
    """The page as HTML."""
    specifications = {figure.name: specification(figure) for figure in page.figures}
    style = (
        f":root{{{colour_css('light')}}}@media screen and (prefers-color-scheme:dark){{:root{{{colour_css('dark')}}}}}"
    )
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f"<title>{html.escape(page.title)}</title>",
        f"<style>{style}\n{_text('page.css')}</style>",
        "</head>",
        "<body>",
        '<a class="skip" href="#main">Skip to the report</a>',
        f"<header><h1>{html.escape(page.title)}</h1>",
        *(f'<p class="notice">{html.escape(text)}</p>' for text in page.notices),
        *(f"<p>{html.escape(text)}</p>" for text in page.said),
        "</header>",
        _contents(page.sections),
        '<main id="main" tabindex="-1">',
        *(_section(section) for section in page.sections),
        "</main>",
        f'<footer class="quiet"><p>{html.escape(page.foot)}</p></footer>',
    ]
    if specifications:
        parts += [
            f'<script type="application/json" id="figures">{in_script(specifications)}</script>',
            f"<script>{drawing_code()}</script>",
            f"<script>{_text('page.js')}</script>",
        ]
    return "\n".join([*parts, "</body>", "</html>", ""])


def in_script(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """JSON that cannot end the script block it stands in."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")


def _text(name: str) -> str:
    return files("cxrdata.report").joinpath(name).read_text(encoding="utf-8")


def _contents(sections: Sequence[Section]) -> str:
    items = "".join(
        f'<li><a href="#{html.escape(section.name)}">{html.escape(section.title)}</a></li>' for section in sections
    )
    return f'<nav aria-label="Sections"><ul>{items}</ul></nav>'


def _section(section: Section) -> str:
    name = html.escape(section.name)
    parts = [
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{html.escape(section.title)}</h2>'
    ]
    parts += [f"<p>{html.escape(text)}</p>" for text in section.said]
    parts += [_item(item) for item in section.shows]
    return "\n".join([*parts, "</section>"])


def _item(item: Figure | Table | Picture) -> str:
    if isinstance(item, Figure):
        return _figure(item)
    return _picture(item) if isinstance(item, Picture) else _plain(item)


def _figure(figure: Figure) -> str:
    name, title, caption = (html.escape(text) for text in (figure.name, figure.title, figure.caption))
    if figure.beside is not None and figure.table.height > _MOST_ROWS:
        place = html.escape(figure.beside)
        where = f"The same numbers, {figure.table.height:,} rows, are in {place}."
        numbers = f'<p class="quiet">{where}</p>'
    else:
        opened = " open" if figure.table.height <= _FEW_ROWS else ""
        where = "The table below has the same numbers."
        numbers = f"<details{opened}><summary>Table: {title}</summary>{_table(figure.table, title)}</details>"
    label = f"{title}. {caption} {where}"
    return "\n".join(
        [
            f'<figure id="figure-{name}"><h3>{title}</h3>',
            # Vega names the element it draws into in its own way, hence one within.
            f'<div class="chart" role="img" tabindex="0" aria-label="{label}"><div id="chart-{name}" aria-hidden="true"></div></div>',
            f"<figcaption>{caption}</figcaption>",
            numbers,
            "</figure>",
        ]
    )


def _picture(item: Picture) -> str:
    name, title, said = (html.escape(text) for text in (item.name, item.title, item.said))
    images = "".join(
        f'<img alt="{said}" src="data:image/png;base64,{base64.b64encode(file).decode()}">' for file in item.files
    )
    return "\n".join(
        [
            f'<div id="picture-{name}"><h3>{title}</h3><p class="quiet">{said}</p>',
            f'<div class="picture"><div>{images}</div>{_table(item.frame, title)}</div></div>',
        ]
    )


def _plain(item: Table) -> str:
    name, title, caption = (html.escape(text) for text in (item.name, item.title, item.caption))
    body = _table(item.frame, title)
    if item.frame.height > _MANY_ROWS:
        body = f"<details><summary>Table: {title}, {item.frame.height:,} rows</summary>{body}</details>"
    return f'<div id="table-{name}"><h3>{title}</h3><p class="quiet">{caption}</p>{body}</div>'


def _table(frame: pl.DataFrame, title: str) -> str:
    """A table whose first column names its rows. What a spreadsheet would run as a formula is defused, as tables are copied
    into spreadsheets."""
    safe = spreadsheet_safe(frame)
    numbers = [dtype.is_numeric() or _holds_counts(frame[name]) for name, dtype in frame.schema.items()]
    classes = [' class="number"' if number else "" for number in numbers]
    head = "".join(
        f'<th scope="col"{kind}>{html.escape(name.replace("_", " "))}</th>'
        for name, kind in zip(safe.columns, classes, strict=True)
    )
    rows = []
    for row in safe.iter_rows():
        cells = [f'<th scope="row">{_cell(row[0])}</th>']
        cells += [
            f"<td{kind}>{_cell(int(value) if number and isinstance(value, str) and value.isdigit() else value)}</td>"
            for value, kind, number in zip(row[1:], classes[1:], numbers[1:], strict=True)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="Table: {title}"><table><caption>{title}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _holds_counts(column: pl.Series) -> bool:
    """Whether a column of text is one of numbers, some of them masked or with a percentage."""
    if column.dtype != pl.String:
        return False
    texts = column.drop_nulls()
    return bool(texts.len()) and bool(
        (texts.str.contains(r"^[<>\d\u2212][\d,.]*( \(.*\))?$") | texts.str.starts_with(MASKED)).all()
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    text = html.escape(str(value))
    return f'<span class="masked">{text}</span>' if text.startswith(MASKED) else text
