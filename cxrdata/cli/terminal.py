"""Rows on a terminal: a ruled table as wide as the window, or, where it cannot be that narrow, a block a row.

Words are never broken, so a key can be copied whole. Only text is folded, at its blanks.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

_GAP = 3  # blanks that rich puts between two columns
_NARROWEST_TEXT = 16  # a column of text folded to less cannot be read
_INDENT = "  "
_SEPARATOR = " · "


def terminal_table(names: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """The rows for the terminal that stdout is. right: which columns are numbers, and stand to the right."""
    console = Console()
    widths = _widths(names, rows, console.width)
    with console.capture() as capture:
        if widths is None:
            for text in _blocks(names, rows, console.width):
                console.print(text, soft_wrap=True)
        else:
            console.print(_ruled(names, rows, right, widths))
    return capture.get()


def _widths(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """The width of each column so that all fit, or None. The widest give way first, down to what `_least` allows."""
    columns = [[row[at] for row in rows] for at in range(len(names))]
    chosen = [max(map(len, [name, *cells])) for name, cells in zip(names, columns, strict=True)]
    least = [_least(name, cells) for name, cells in zip(names, columns, strict=True)]
    room = width - _GAP * (len(names) - 1)
    if sum(least) > room:
        return None
    while sum(chosen) > room:
        widest = max((at for at in range(len(chosen)) if chosen[at] > least[at]), key=lambda at: chosen[at])
        chosen[widest] -= 1
    return chosen


def _least(name: str, cells: Sequence[str]) -> int:
    """The least width of a column: text folds at its blanks, a name at its underscores, nothing else does."""
    whole = max(map(len, cells), default=0)
    words = max((len(word) for cell in cells for word in cell.split()), default=0)
    is_text = any(" " in cell for cell in cells)
    return max(*map(len, _folded_name(name)), words if is_text else whole, min(_NARROWEST_TEXT, whole))


def _folded_name(name: str) -> list[str]:
    """A column's name at its underscores: `nulls_percent` stands on two lines over narrow numbers."""
    parts = name.split("_")
    return [part + "_" for part in parts[:-1]] + parts[-1:]


def _ruled(names: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], widths: Sequence[int]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, is_right, width in zip(names, right, widths, strict=True):
        table.add_column(
            Text("\n".join(_name_lines(name, width))),
            justify="right" if is_right else "left",
            width=width,
            overflow="fold",
            vertical="top",
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _name_lines(name: str, width: int) -> list[str]:
    lines = [""]
    for part in _folded_name(name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return lines


def _blocks(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[Text]:
    """A block a row: its first cell as a heading, then name and value of each other cell, and the names of those that are empty."""
    for row in rows:
        yield Text(f"{names[0]} {row[0]}", style="bold")
        pairs = [f"{name}: {cell}" for name, cell in zip(names[1:], row[1:], strict=True) if cell]
        if empty := [name for name, cell in zip(names[1:], row[1:], strict=True) if not cell]:
            pairs.append(f"empty: {', '.join(empty)}")
        for line in textwrap.wrap(
            _SEPARATOR.join(pairs),
            width,
            initial_indent=_INDENT,
            subsequent_indent=_INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        ):
            yield Text(line)
