"""The review's workbook: its sheets by name, their columns by title, and the cells that cannot be read.

The published code addresses the sheets by position; a sheet or column that is moved changes nothing here. One that is
needed and missing or renamed is an error that names it; any other difference of a header is reported like a cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from cxrdata.errors import nearest
from cxrdata.sources.account import LONGEST_VALUE
from cxrdata.sources.workbook import Book

# How to get the workbook whole, for messages.
AGAIN = "use the review's workbook as it was published, or name sheets and columns as it does"
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
ONLY_SECONDARY = "Only Secondary"
SCRAPED = "Scrapes Data"
VALIDATION = "Validation"
REPORTED = "Reported"
TAKES_FROM = "Takes Data From"
CONFERENCE = "Conference Name"
YEAR = "Year"
PAPER_TASK = "Task"
GRANULARITY = "Granularity"
PAPER_DATASETS = "Dataset Name/s (if any)"
PAPER_MODALITY = "Modality"
PAPER_DATA = "Private/Public Data"
CASE = "vqa_url"
CASE_MODALITY = "modality"
CASE_AGE = "age"
CASE_SEX = "gender"

_COMMON = (
    NAME, AGE_DOCUMENTED, AGE_HOW, AGE_COMPLETE, INSTITUTIONS, DEMOGRAPHICS, SAMPLE_SIZE, MODALITIES, ADULT, ORGANS,
)  # fmt: skip
_TASKS = (PAPER_LINK, TASK, TASK_CATEGORY)
# Columns of remarks, or of what no table counts: known, so that a header that differs is noticed, and not read.
_REMARKS = ("Considerations", "Inferred")
_FINDINGS = (*_REMARKS, "Patients With Findings")
_YEARS = ("Years Collected",)
_PICTURES = ("Image Resolution", *_YEARS)
_COLLECTION = ("Image Collection",)


@dataclass(frozen=True)
class Sheet:
    """A worksheet: what it lists (a source of the review, or another list), which part of a source if it is only one,
    the columns read, and those that it is known to have beside them.
    """

    title: str
    source: str
    part: str | None
    columns: tuple[str, ...]
    unread: tuple[str, ...] = ()


# In the order in which the first of several entries of one name counts.
SHEETS = (
    Sheet(
        "Challenges", "challenges", None, (*_COMMON, *_TASKS, LINK, LOCATION),
        (*_FINDINGS, *_PICTURES, "Has Paper", "Is Challenge", "Challenge Endorser", "Conference"),
    ),
    Sheet("Benchmarks", "benchmarks", None, (*_COMMON, *_TASKS, BENCHMARK), (*_FINDINGS, *_PICTURES)),
    Sheet(
        "Well-Cited Datasets", "highly_cited", None, (*_COMMON, *_TASKS, LINK),
        (
            *_FINDINGS, *_PICTURES, LOCATION, "Also In", "Has Paper", "Is Challenge", "Challenge Organization",
            "# Citations", "MetaLink",
        ),
    ),
    Sheet("Data Collection (MIDRC)", "collections", "midrc", _COMMON, _COLLECTION),
    Sheet(
        "Data Collection (Stanford AIMI)", "collections", "stanford_aimi", (*_COMMON, *_TASKS, LINK),
        (*_FINDINGS, *_YEARS, *_COLLECTION),
    ),
    Sheet(
        "Data Collection (TCIA)", "collections", "tcia", (*_COMMON, *_TASKS, LINK),
        (*_FINDINGS, *_YEARS, *_COLLECTION),
    ),
)  # fmt: skip
PAPERS = Sheet(
    "MIDL Papers", "papers", None,
    (
        CONFERENCE, YEAR, PAPER_LINK, PAPER_TASK, GRANULARITY, PAPER_DATASETS, PAPER_MODALITY, ADULT, PAPER_DATA,
        AGE_DOCUMENTED, AGE_HOW,
    ),
)  # fmt: skip
PAPER_DATASETS_SHEET = Sheet(
    "MIDL Datasets", "midl_datasets", None,
    (NAME, LINK, AGE_DOCUMENTED, AGE_HOW, AGE_COMPLETE, MODALITIES, ADULT, TAKES_FROM),
    (
        PAPER_LINK, "Considerations", "Data Category", "Found On", INSTITUTIONS, "Condition/s", ORGANS, TASK_CATEGORY,
    ),
)  # fmt: skip
_REPACKAGED = (NAME, LINK, AGE_DOCUMENTED, AGE_HOW, AGE_COMPLETE, SAMPLE_SIZE, MODALITIES, ADULT)
_REPACKAGED_UNREAD = (PAPER_LINK, *_REMARKS, INSTITUTIONS, DEMOGRAPHICS, ORGANS, TASK, TASK_CATEGORY)
PRIMARY = Sheet(
    "Repackaging (Primary)", "repackaging_primary", None, (*_REPACKAGED, SECONDARY, ONLY_SECONDARY, SCRAPED),
    (*_REPACKAGED_UNREAD, "Added Labels", "Patients With Findings", "Prop. Adult"),
)  # fmt: skip
# The lists of datasets that are no source of the review.
LISTINGS = (
    PAPER_DATASETS_SHEET,
    PRIMARY,
    Sheet("Repackaging (Secondary)", "repackaging_secondary", None, _REPACKAGED, _REPACKAGED_UNREAD),
    Sheet(
        "Repackaging (MedSAM CT)", "medsam_ct", None, (*_REPACKAGED, VALIDATION, REPORTED),
        (*_REPACKAGED_UNREAD, "Patients With Findings"),
    ),
    Sheet(
        "Repackaging (MedSAM MRI)", "medsam_mri", None, (*_REPACKAGED, VALIDATION),
        (*_REPACKAGED_UNREAD, "Patients With Findings"),
    ),
)  # fmt: skip
CASES = Sheet("Repackaging (VQA-RAD)", "vqa_rad", None, (CASE, CASE_MODALITY, CASE_AGE, CASE_SEX))
READ = (*SHEETS, PAPERS, *LISTINGS, CASES)
# Sums over collections that their own sheets list one by one, and datasets that the review excluded.
UNREAD_SHEETS = ("Data Collections", "Excluded Datasets")


@dataclass
class Problems:
    """Cells that do not parse: their facts are null, and each is named."""

    _rows: list[dict[str, str | None]] = field(default_factory=list)

    def add(
        self,
        sheet: str,
        cell: str | None,
        column: str | None,
        value: str | None,
        message: str,
        *,
        code: str = "CXR-309",
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


def read_rows(book: Book, sheet: Sheet, problems: Problems) -> list[Row]:
    """The rows of one sheet, in its order. A cell that holds a spreadsheet error is reported (CXR-308), and so is a
    column that is unknown, or known and gone without being needed (CXR-117).

    Raises CxrError: CXR-109 without the sheet, CXR-107 without a column that is read, CXR-108 for one named twice,
    CXR-111 without rows.
    """
    cells = book.cells(sheet.title, sheet.columns)
    _check_header(cells.titles, sheet, problems)
    for column, value, line in cells.errors.sort("_line", "column").iter_rows():
        place = f"{cells.letters[column]}{line}"
        problems.add(sheet.title, place, column, value, "the cell holds a spreadsheet error", code="CXR-308")
    return [
        Row(sheet.title, row["_line"], {column: row[column] for column in sheet.columns}, cells.letters, problems)
        for row in cells.frame.iter_rows(named=True)
    ]


def check_sheets(book: Book, problems: Problems) -> None:
    """Report the sheets that are not known (CXR-117): one that was renamed is missed where it is read."""
    expected = [*(sheet.title for sheet in READ), *UNREAD_SHEETS]
    for title in book.titles:
        if title not in expected:
            problems.add(title, None, None, title, "this sheet is not known and not read", code="CXR-117")


def _check_header(titles: tuple[str, ...], sheet: Sheet, problems: Problems) -> None:
    from openpyxl.utils import get_column_letter

    expected = [*sheet.columns, *sheet.unread]
    for place, title in enumerate(titles, 1):
        if title and title not in expected:
            message = f"this column is not known and not read{nearest(title, expected, most=1)}"
            problems.add(sheet.title, f"{get_column_letter(place)}1", title, title, message, code="CXR-117")
    for title in sheet.unread:
        if title not in titles:
            problems.add(sheet.title, None, title, None, "this column is gone; nothing reads it", code="CXR-117")
