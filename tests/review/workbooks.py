"""Small workbooks in the form of the published one, from rows given as dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl

from cxrdata.review import workbook as sheets
from cxrdata.review.workbook import READ

Rows = list[dict[str, Any]]
ADULTS = {sheets.NAME: "Adults", sheets.ADULT: "Adult", sheets.SAMPLE_SIZE: "Patients: 1,000", sheets.MODALITIES: "CT"}


def write_workbook(
    path: Path,
    rows: dict[str, Rows],
    *,
    renamed: dict[str, str] | None = None,
    order: Sequence[str] | None = None,
    moved_columns: bool = False,
    also: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Path:
    """Every sheet with one harmless row, those of `rows` with theirs. `renamed`: titles of columns, in every sheet.
    `also`: titles of further columns in every sheet, `without`: those left away.
    """
    columns = {sheet.title: (*sheet.columns, *sheet.unread, *also) for sheet in READ}
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for title in order or columns:
        worksheet = book.create_sheet(title)
        names = [name for name in columns[title] if name not in without]
        if moved_columns:
            names.reverse()
        worksheet.append([(renamed or {}).get(name, name) for name in names])
        for row in rows.get(title, [{sheets.NAME: f"Only of {title}"}]):
            full = {sheets.BENCHMARK: "MedFAIR", sheets.CONFERENCE: "MIDL", sheets.CASE: "https://x.org"} | row
            worksheet.append([full.get(name) for name in names])
    book.save(path)
    return path
