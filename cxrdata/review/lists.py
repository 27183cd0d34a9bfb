"""Conference papers and lists of reused datasets: the workbook's sheets beside the sources of the review."""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from cxrdata.review import cells
from cxrdata.review import workbook as sheets
from cxrdata.review.entry import adult_shares, documentation, sizes
from cxrdata.review.workbook import CASES, LISTINGS, PAPERS, Problems, Row, Sheet, read_rows
from cxrdata.schemas.open_datasets import MOST_COUNT, OLDEST_YEARS
from cxrdata.schemas.review_lists import REVIEW_LISTINGS, REVIEW_PAPERS
from cxrdata.sources.workbook import Book

_EXCLUDED = "Exclusion Criteria"  # stands among the modalities of a paper that the review excluded
_PAPER_AGES = {"Adult Only": "adult", "Peds Only": "children", "Peds & Adult": "both", "Unknown": "unknown"}
_PAPER_DATA = {"Public Data": "public", "Private Data": "private", "Simulated": "simulated"}
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_VALIDATIONS = {"Internal": "internal", "External": "external"}
_ADULT_FROM = 18
_LATEST_YEAR = 2100


def papers(book: Book, problems: Problems) -> pl.DataFrame:
    """The table `review_papers`. A row without a link is a heading of the sheet."""
    found: list[dict[str, Any]] = []
    for row in read_rows(book, PAPERS, problems):
        link = row[sheets.PAPER_LINK]
        if link is None:
            continue
        modalities = cells.items(row, sheets.PAPER_MODALITY) or []
        how = documentation(row)
        found.append({
            "entry": len(found) + 1, "conference": row[sheets.CONFERENCE], "year": _number(row, sheets.YEAR, most=_LATEST_YEAR),
            "link": cells.whole_text(row, sheets.PAPER_LINK, link), "task": row[sheets.PAPER_TASK],
            "granularity": row[sheets.GRANULARITY], "datasets": cells.items(row, sheets.PAPER_DATASETS),
            "modalities": [name for name in modalities if name != _EXCLUDED] or None,
            "excluded": _EXCLUDED in modalities,
            "age_class": _word(row, sheets.ADULT, _PAPER_AGES),
            "data_kinds": _words(row, sheets.PAPER_DATA, _PAPER_DATA),
            "age_mentioned": how["age_documented"], "age_documented_how": how["age_documented_how"],
        })  # fmt: skip
    return pl.DataFrame(found, schema=REVIEW_PAPERS.types())


def listings(book: Book, problems: Problems) -> pl.DataFrame:
    """The table `review_listings`."""
    found: list[dict[str, Any]] = []
    for sheet in LISTINGS:
        for row in read_rows(book, sheet, problems):
            name = cells.whole_text(row, sheets.NAME, row[sheets.NAME] or "")
            if name is None:
                row.refuse(sheets.NAME, "the row has no name of a dataset and is left out")
                continue
            found.append({"entry": len(found) + 1, "listing": sheet.source, "dataset_name": name, **_facts(row, sheet)})
    for facts in _cases(read_rows(book, CASES, problems)):
        found.append({"entry": len(found) + 1, "listing": CASES.source, **facts})
    return pl.DataFrame(found, schema=REVIEW_LISTINGS.types())


def _facts(row: Row, sheet: Sheet) -> dict[str, Any]:
    modalities = cells.modality_names(row)
    size = sizes(cells.sample_size(row) if sheets.SAMPLE_SIZE in sheet.columns else {}, modalities or [])
    secondary = next((column for column in (sheets.SECONDARY, sheets.TAKES_FROM) if column in sheet.columns), None)
    flags = {"only_secondary": sheets.ONLY_SECONDARY, "scraped": sheets.SCRAPED}
    return {
        "links": cells.urls(row, sheets.LINK),
        "validation": _word(row, sheets.VALIDATION, _VALIDATIONS) if sheets.VALIDATION in sheet.columns else None,
        "cases_used": _number(row, sheets.REPORTED) if sheets.REPORTED in sheet.columns else None,
        **{fact: cells.flag(row, column) if column in sheet.columns else None for fact, column in flags.items()},
        "secondary_of": cells.items(row, secondary) if secondary else None,
        "modalities": modalities,
        **{name: size[name] for name in ("patients", "patients_imputed_from", "sequences")},
        "images": size["images_stated"],
        **adult_shares(row),
        **documentation(row),
    }


def _cases(rows: list[Row]) -> list[dict[str, Any]]:
    """One row a kind of image: how many cases, of how many the age is known, and the share of adults among those."""
    ages: dict[str, list[int | None]] = {}
    for row in rows:
        if kind := cells.whole_text(row, sheets.CASE_MODALITY, row[sheets.CASE_MODALITY] or ""):
            ages.setdefault(kind, []).append(_number(row, sheets.CASE_AGE, most=OLDEST_YEARS))
    found: list[dict[str, Any]] = []
    for kind, stated in sorted(ages.items()):
        known = [age for age in stated if age is not None]
        share = sum(age >= _ADULT_FROM for age in known) / len(known) if known else None
        classes: dict[float | None, str | None] = {None: None, 0.0: "children", 1.0: "adult"}
        found.append({
            "dataset_name": kind, "modalities": [kind.rsplit(" ", 1)[-1]], "patients": len(known),
            "sequences": len(stated), "images": len(stated), "age_class": classes.get(share, "both"),
            "adult_share_low": share if known else 0.0, "adult_share_high": share if known else 1.0,
            "adult_share": share, "age_documented": False, "age_documented_how": None,
            "age_complete": None,
        })  # fmt: skip
    return found


def _number(row: Row, column: str, *, most: int = MOST_COUNT) -> int | None:
    text = row[column]
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        row.refuse(column, "not a number")
        return None
    if float(text) > most:
        row.refuse(column, f"more than {most:,}")
        return None
    return int(float(text))


def _word(row: Row, column: str, words: dict[str, str]) -> str | None:
    text = row[column]
    if text is not None and text not in words:
        row.refuse(column, f"not among {', '.join(words)}")
    return words.get(text or "")


def _words(row: Row, column: str, words: dict[str, str]) -> list[str] | None:
    found = cells.items(row, column) or []
    for text in found:
        if text not in words:
            row.refuse(column, f"not among {', '.join(words)}", value=text)
    return [words[text] for text in found if text in words] or None
