"""What annotating gives back."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cxrdata.annotate.page import page
from cxrdata.wording import counted

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Annotation:
    """A file's rows with what the catalog knows of them, and findings about the file.

    frame: the rows in their order with the added columns. summary: the findings, ready for JSON; rows are counted from
    1, the first below the header. leaks: patients in more than one value of the split column (`splits.leaks`), without
    rows where there is none or no split column. `print(annotation)` shows the findings as one page.
    """

    frame: pl.DataFrame
    summary: dict[str, Any]
    leaks: pl.DataFrame

    def __getitem__(self, column: str) -> pl.Series:
        return self.frame[column]

    def __str__(self) -> str:
        return page(self.summary)

    def __repr__(self) -> str:
        matched = self.summary["matched"]["rows"]
        return f"<Annotation: {matched:,} of {counted(self.summary['rows'], 'row')} matched, {counted(self.leaks.height, 'leaking patient')}>"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"
