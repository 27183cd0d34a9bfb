"""What a page is made of: sections, and in them figures and plain tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cxrdata.report.figure import Figure

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Table:
    """A table that needs no figure. name: unique in a report; caption: what it shows, what is masked."""

    name: str
    title: str
    caption: str
    frame: pl.DataFrame


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading. name: its address in the page; said: paragraphs before what it shows."""

    name: str
    title: str
    said: list[str] = field(default_factory=list)
    shows: list[Figure | Table] = field(default_factory=list)

    @property
    def figures(self) -> list[Figure]:
        """The figures among what it shows."""
        return [item for item in self.shows if isinstance(item, Figure)]
