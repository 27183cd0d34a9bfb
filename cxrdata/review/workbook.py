"""The review's workbook: its sheets by name, their columns by title, and the cells that cannot be read.

The published code addresses the sheets by position; a sheet or column that is moved changes nothing here, one that is
missing or renamed is an error that names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from cxrdata.sources.account import LONGEST_VALUE
from cxrdata.sources.workbook import worksheet_cells

NAME = "Dataset Name"
BENCHMARK = "Benchmark"
LOCATION = "Data Location"
AGE_DOCUMENTED = "Is Age Explicitly Documented"
AGE_HOW = "Age Documented How"
AGE_COMPLETE = "Is Age Complete"
INSTITUTIONS = "Source / Institutions (Location)"
DEMOGRAPHICS = "Patient Demographics / Covariates / Metadata"
SAMPLE_SIZE = "Sample Size"
MODALITIES = "Imaging Modality(ies)"
ADULT = "Peds vs. Adult"
ORGANS = "Organ / Body Part"
LINK = "Link"
PAPER_LINK = "Paper Link"
TASK = "Task / Pathology"
TASK_CATEGORY = "Task Category"
SECONDARY = "Secondary Datasets"

_COMMON = (
    NAME, AGE_DOCUMENTED, AGE_HOW, AGE_COMPLETE, INSTITUTIONS, DEMOGRAPHICS, SAMPLE_SIZE, MODALITIES, ADULT, ORGANS,
)  # fmt: skip
_TASKS = (PAPER_LINK, TASK, TASK_CATEGORY)
REPACKAGING = "Repackaging (Primary)"


@dataclass(frozen=True)
class Sheet:
    """A worksheet that lists datasets: which source it is, which part of it if it is only one, the columns read."""

    title: str
    source: str
    part: str | None
    columns: tuple[str, ...]


# In the order in which the first of several entries of one name counts.
SHEETS = (
    Sheet("Challenges", "challenges", None, (*_COMMON, *_TASKS, LINK, LOCATION)),
    Sheet("Benchmarks", "benchmarks", None, (*_COMMON, *_TASKS, BENCHMARK)),
    Sheet("Well-Cited Datasets", "highly_cited", None, (*_COMMON, *_TASKS, LINK)),
    Sheet("Data Collection (MIDRC)", "collections", "midrc", _COMMON),
    Sheet("Data Collection (Stanford AIMI)", "collections", "stanford_aimi", (*_COMMON, *_TASKS, LINK)),
    Sheet("Data Collection (TCIA)", "collections", "tcia", (*_COMMON, *_TASKS, LINK)),
)


@dataclass
class Problems:
    """Cells that do not parse: their facts are null, and each is named."""

    _rows: list[dict[str, str | None]] = field(default_factory=list)

    def add(
        self, sheet: str, cell: str, column: str, value: str | None, message: str, *, code: str = "CXR-309"
    ) -> None:
        self._rows.append({
            "code": code, "sheet": sheet, "cell": cell, "column_name": column,
            "value": value[:LONGEST_VALUE] if value else value, "message": message,
        })  # fmt: skip

    def frame(self) -> pl.DataFrame:
        """code, sheet, cell (as `B7`), column_name, value, message; in the order of the sheets as they are read."""
        names = ("code", "sheet", "cell", "column_name", "value", "message")
        return pl.DataFrame(self._rows, schema=dict.fromkeys(names, pl.String))


@dataclass(frozen=True)
class Row:
    """One row of a sheet. `self[column]` is the text, null for an empty cell, `N/A`, or a column the sheet lacks."""

    sheet: str
    line: int
    texts: dict[str, str | None]
    letters: dict[str, str]
    problems: Problems

    def __getitem__(self, column: str) -> str | None:
        return known(self.texts.get(column))

    def refuse(self, column: str, message: str, *, value: str | None = None) -> None:
        """Report the row's cell of `column`; `value` is the part of it at fault, if not all of it."""
        text = self.texts.get(column) if value is None else value
        self.problems.add(self.sheet, f"{self.letters[column]}{self.line}", column, text, message)


def known(text: str | None) -> str | None:
    """The text without space around it; null if there is none, or if it says that the value is not available."""
    stripped = (text or "").strip()
    return stripped if stripped and stripped.upper() not in {"N/A", "NA"} else None


def read_rows(path: Path, title: str, columns: tuple[str, ...], problems: Problems) -> list[Row]:
    """The rows of one sheet, in its order. A cell that holds a spreadsheet error is reported (CXR-308).

    Raises CxrError: CXR-101 and CXR-110 for what is no workbook, CXR-109 without the sheet, CXR-107 without a column,
    CXR-108 for a column named twice, CXR-111 without rows.
    """
    cells = worksheet_cells(path, name=path.name, sheet=title, columns=columns)
    for column, value, line in cells.errors.sort("_line", "column").iter_rows():
        place = f"{cells.letters[column]}{line}"
        problems.add(title, place, column, value, "the cell holds a spreadsheet error", code="CXR-308")
    return [
        Row(title, row["_line"], {column: row[column] for column in columns}, cells.letters, problems)
        for row in cells.frame.iter_rows(named=True)
    ]
