"""Random tables as CSV text in every spelling that the wild has, and the csv module's reading of it."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE_ENDS = ("\n", "\r\n", "\r")
# Surrogates cannot be encoded, and NUL is a fault of its own (CXR-205).
_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
_AWKWARD = st.sampled_from(
    ["", '"', '""', ",", "\n", "\r\n", "\r", " ", "a", "None", "1.0", "é", "胸", "\u2028", "x,y", "'"]
)
CELLS = st.one_of(_AWKWARD, st.lists(_AWKWARD, max_size=4).map("".join), st.text(_CHARACTERS, max_size=6))


@dataclass(frozen=True)
class Written:
    """A table as written: `records` are the lines of text of header and rows, `ends` what follows each."""

    header: tuple[str, ...]
    records: tuple[str, ...]
    ends: tuple[str, ...]
    bom: bool = False

    @property
    def text(self) -> str:
        return "".join(record + end for record, end in zip(self.records, self.ends, strict=True))

    @property
    def body(self) -> bytes:
        return (b"\xef\xbb\xbf" if self.bom else b"") + self.text.encode()


def spelled(cell: str, *, quote: bool) -> str:
    """A cell as it stands in the file; quoted where it must be, or where `quote` asks for it."""
    if quote or re.search(r'[",\r\n]', cell):
        return '"' + cell.replace('"', '""') + '"'
    return cell


@st.composite
def tables(draw: Callable, cells: st.SearchStrategy = CELLS, *, at_least: int = 1, columns: int = 1) -> Written:
    """Any table with a header, each cell quoted or not, each record with a line end of its own and blank lines between."""
    width = draw(st.integers(columns, 4))
    header = tuple(f"size [{at},y]" if draw(st.booleans()) else f"c{at}" for at in range(width))
    rows = draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=at_least, max_size=8))
    records, ends = [], []
    for row in (header, *rows):
        record = ",".join(spelled(cell, quote=draw(st.booleans())) for cell in row)
        # A lone empty cell must be quoted: a blank line is no record.
        records.append(record or '""')
        ends.append(draw(st.sampled_from(_LINE_ENDS)) * draw(st.sampled_from([1, 1, 1, 2])))
    if draw(st.booleans()):
        ends[-1] = ""
    return Written(header, tuple(records), tuple(ends), draw(st.booleans()))


def reference(text: str) -> list[tuple[int, list[str]]]:
    """(physical line, cells) of each record as the csv module reads it, line ends within cells made LF."""
    reader = csv.reader(io.StringIO(text, newline=""))
    found = []
    line = 1
    for cells in reader:
        if cells:
            found.append((line, [re.sub("\r\n?", "\n", cell) for cell in cells]))
        line = reader.line_num + 1
    return found
