"""What a page is made of: sections, and in them figures, plain tables, and pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cxrdata.report.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl


@dataclass(frozen=True)
class Table:
    """A table that needs no figure. name: unique in a report; caption: what it shows, what is masked."""

    name: str
    title: str
    caption: str
    frame: pl.DataFrame


@dataclass(frozen=True)
class Picture:
    """Pictures beside the table of what is known of them. files: whole PNG files, which become part of the page. said: what they
    show, also for who cannot see it. A page of patients' images says which terms it is under."""

    name: str
    title: str
    said: str
    files: Sequence[bytes]
    frame: pl.DataFrame


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading. name: its address in the page; said: paragraphs before what it shows."""

    name: str
    title: str
    said: list[str] = field(default_factory=list)
    shows: Sequence[Figure | Table | Picture] = field(default_factory=list)

    @property
    def figures(self) -> list[Figure]:
        """The figures among what it shows."""
        return [item for item in self.shows if isinstance(item, Figure)]
