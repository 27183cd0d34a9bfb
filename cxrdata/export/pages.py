"""Sections with tables as a page of Markdown or of HTML. Whatever stands in a text is shown, never run.

Texts are plain, apart from `` `names` `` in backticks. HTML is one file without scripts, fonts or links to elsewhere; it
follows the reader's light or dark mode and prints on white.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_PLAIN_NAME = re.compile(r"[\w .:/…|+-]+")
_TICKED = re.compile(r"`([^`]+)`")
# What Markdown would read as something else than text.
_MARKDOWN = str.maketrans(
    {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "\\|", "\\": "\\\\", "*": "\\*", "[": "\\[", "]": "\\]"}
)


@dataclass(frozen=True)
class Code:
    """A name, shown as code."""

    text: str


Cell = Code | str | int | float | bool | None


@dataclass(frozen=True)
class Grid:
    """A table: header, and rows of cells."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @classmethod
    def of(cls, frame: pl.DataFrame, *columns: str) -> Grid:
        """Columns of a frame."""
        return cls(columns, list(frame.select(columns).iter_rows()))


@dataclass
class Section:
    """A heading with paragraphs, a table, and sections below it. `code`: the heading is a name."""

    title: str
    texts: Sequence[str] = ()
    grid: Grid | None = None
    children: Sequence[Section] = field(default_factory=list)
    code: bool = False


def markdown_page(title: str, sections: Iterable[Section]) -> str:
    """The page in Markdown (GitHub's tables)."""
    return f"# {_markdown(title)}\n\n" + markdown_sections(sections)


def markdown_sections(sections: Iterable[Section], level: int = 2) -> str:
    """Sections in Markdown, with headings from `level` down."""
    parts = []
    for section in sections:
        title = _markdown_cell(Code(section.title) if section.code else section.title)
        parts.append(f"{'#' * level} {title}\n")
        parts += [f"{_markdown(text)}\n" for text in section.texts]
        if section.grid is not None and section.grid.rows:
            lines = [_markdown_row(section.grid.header), _markdown_row(["---"] * len(section.grid.header), raw=True)]
            lines += [_markdown_row(row) for row in section.grid.rows]
            parts.append("\n".join(lines) + "\n")
        if section.children:
            parts.append(markdown_sections(section.children, level + 1))
    return "\n".join(parts)


def _markdown_row(cells: Sequence[Cell], *, raw: bool = False) -> str:
    return "|" + "|".join(cells if raw else (f" {_markdown_cell(cell)} " for cell in cells)) + "|"  # type: ignore[arg-type]


def _markdown_cell(cell: Cell) -> str:
    if isinstance(cell, Code):
        return f"`{cell.text}`" if _PLAIN_NAME.fullmatch(cell.text) and "|" not in cell.text else _markdown(cell.text)
    return _markdown(_shown(cell))


def _markdown(text: str) -> str:
    """Plain text; what stands in backticks stays code if nothing in it needs escaping."""
    parts, at = [], 0
    flat = " ".join(text.split())
    for ticked in _TICKED.finditer(flat):
        parts += [flat[at : ticked.start()].translate(_MARKDOWN), _markdown_cell(Code(ticked[1]))]
        at = ticked.end()
    return "".join([*parts, flat[at:].translate(_MARKDOWN)])


def html_page(title: str, sections: Iterable[Section]) -> str:
    """The page in HTML, with a table of contents."""
    sections = list(sections)
    contents = "".join(_contents(section, (at,)) for at, section in enumerate(sections, 1))
    body = "".join(_html_section(section, (at,)) for at, section in enumerate(sections, 1))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f'<style>{_STYLE}</style></head>\n<body>\n<nav aria-label="Contents"><ul>{contents}</ul></nav>\n'
        f"<main><h1>{html.escape(title)}</h1>\n{body}</main>\n</body></html>\n"
    )


def _contents(section: Section, place: tuple[int, ...]) -> str:
    below = "".join(_contents(child, (*place, at)) for at, child in enumerate(section.children, 1))
    entry = f'<a href="#{_anchor(place)}">{html.escape(section.title)}</a>'
    return f"<li>{entry}<ul>{below}</ul></li>" if below else f"<li>{entry}</li>"


def _anchor(place: tuple[int, ...]) -> str:
    """By place, not by title: titles may hold anything, and two may be the same."""
    return "s" + "-".join(map(str, place))


def _html_section(section: Section, place: tuple[int, ...]) -> str:
    level = min(len(place) + 1, 6)
    title = html.escape(section.title)
    heading = f"<code>{title}</code>" if section.code else title
    parts = [f'<section id="{_anchor(place)}"><h{level}>{heading}</h{level}>\n']
    parts += [f"<p>{_html(text)}</p>\n" for text in section.texts]
    if section.grid is not None and section.grid.rows:
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in section.grid.header)
        rows = "".join("<tr>" + "".join(_html_cell(cell) for cell in row) + "</tr>\n" for row in section.grid.rows)
        parts.append(f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>\n')
    parts += [_html_section(child, (*place, at)) for at, child in enumerate(section.children, 1)]
    return "".join(parts) + "</section>\n"


def _html_cell(cell: Cell) -> str:
    if isinstance(cell, Code):
        return f"<td><code>{html.escape(cell.text)}</code></td>"
    number = isinstance(cell, (int, float)) and not isinstance(cell, bool)
    return f'<td class="n">{html.escape(_shown(cell))}</td>' if number else f"<td>{_html(_shown(cell))}</td>"


def _html(text: str) -> str:
    return _TICKED.sub(r"<code>\1</code>", html.escape(text))


def _shown(cell: str | float | None) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:g}" if isinstance(cell, float) else cell


_STYLE = """
:root{color-scheme:light dark;--ink:#1a1a1a;--quiet:#57606a;--line:#d0d7de;--ground:#fff;--shade:#f3f5f7;--link:#0b57a4}
@media (prefers-color-scheme:dark){:root{--ink:#e6e6e6;--quiet:#9aa4ae;--line:#3b434b;--ground:#16191d;--shade:#20252b;--link:#8ab8ee}}
*{box-sizing:border-box}
body{margin:0;display:grid;grid-template-columns:17rem minmax(0,1fr);font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground)}
nav{position:sticky;top:0;height:100vh;overflow:auto;padding:1rem;border-right:1px solid var(--line);font-size:.875rem}
nav ul{list-style:none;margin:0;padding-left:.75rem}
nav>ul{padding:0}
a{color:var(--link);text-decoration:none}
a:hover,a:focus{text-decoration:underline}
main{padding:1rem 2rem 4rem;max-width:75rem}
h1,h2,h3{line-height:1.25;margin:1.5em 0 .5em}
h2{border-bottom:1px solid var(--line);padding-bottom:.2em}
p{max-width:48rem;margin:.5em 0}
code{font:.9em ui-monospace,monospace}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.875rem;margin:.75rem 0}
th,td{border:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top}
th{background:var(--shade)}
.n{text-align:right;font-variant-numeric:tabular-nums}
@media (max-width:50rem){body{display:block}nav{position:static;height:auto;border:0}main{padding:1rem}}
@media print{:root{--ink:#000;--quiet:#333;--line:#999;--ground:#fff;--shade:#eee;--link:#000}body{display:block;font-size:10pt}
nav{position:static;height:auto;border:0;break-after:page}thead{display:table-header-group}tr{break-inside:avoid}.wide{overflow:visible}}
"""
