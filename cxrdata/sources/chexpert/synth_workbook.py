"""A workbook as Excel writes it (texts in one shared table), the same bytes for the same rows."""

from __future__ import annotations

import io
import re
import zipfile

import polars as pl

EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip archive can name
_SHARED = "xl/sharedStrings.xml"
# openpyxl writes a text into its cell; Excel writes it once, into a table, and the cell says where.
_INLINE = re.compile(rb'<c r="([A-Z]+[0-9]+)" t="inlineStr"><is><t>([^<]*)</t></is></c>')
# What else must know of the table: a part, what it ends with, and what it says.
_MENTIONS = (
    (
        "[Content_Types].xml",
        b"</Types>",
        b'<Override PartName="/xl/sharedStrings.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml" />',
    ),
    (
        "xl/_rels/workbook.xml.rels",
        b"</Relationships>",
        b'<Relationship Id="rIdShared" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings" Target="/xl/sharedStrings.xml" />',
    ),
)
_TIMES = re.compile(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*")


def workbook_bytes(frame: pl.DataFrame, sheet: str) -> bytes:
    """`frame` as a workbook of one sheet: a header row, then its rows; null cells are absent."""
    import openpyxl

    book = openpyxl.Workbook()
    page = book.active
    page.title = sheet
    page.append(frame.columns)
    for row in frame.iter_rows():
        page.append(row)
    saved = io.BytesIO()
    book.save(saved)
    return _as_excel(saved)


def _as_excel(saved: io.BytesIO) -> bytes:
    """The archive with its texts in one shared table and without the times of saving; stored, for zlib builds compress
    one text to different bytes."""
    texts: dict[bytes, int] = {}
    with zipfile.ZipFile(saved) as source:
        parts = {name: _TIMES.sub(rb"\g<1>2019-01-01T00:00:00Z", source.read(name)) for name in source.namelist()}
    for name in sorted(parts):
        if name.startswith("xl/worksheets/"):
            parts[name] = _INLINE.sub(
                lambda cell: b'<c r="%b" t="s"><v>%d</v></c>' % (cell[1], texts.setdefault(cell[2], len(texts))),
                parts[name],
            )
    table = b"".join(b"<si><t>%b</t></si>" % text for text in texts)
    parts[_SHARED] = (
        b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" uniqueCount="%d">%b</sst>'
        % (len(texts), table)
    )
    for name, closing, entry in _MENTIONS:
        if entry not in parts[name]:
            parts[name] = parts[name].replace(closing, entry + closing)
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(parts):
            entry_info = zipfile.ZipInfo(name, EARLIEST)
            entry_info.create_system = 0
            target.writestr(entry_info, parts[name])
    return result.getvalue()
