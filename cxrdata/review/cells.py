"""The grammar of the review's cells: text in, fact out, and a report of what does not fit."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cxrdata.review import workbook as sheets
from cxrdata.review.workbook import Row, known
from cxrdata.schemas.open_datasets import LIST_SEPARATOR

KNOWN_MODALITIES = ("CT", "MRI", "PET", "US", "X-ray", "Fundus", "Others")
_DAYS_PER_YEAR = 365.25
_SHARE = re.compile(r"([^,()%\n]+?)\s*\(\s*([\d.]+)\s*%\s*\)")
_ADULT_SHARE = re.compile(r"(?:Peds, )?Adult \((>?)\s*(\d+(?:\.\d+)?)%\)")
_SIZE = re.compile(r"(Patients|Sequences|Images)\s*:\s*(\d[\d,]*)")
_SOURCE = re.compile(r"([^()]*?)\s*\(([^()]*)\)")
_AGE = re.compile(r"(\d+(?:\.\d+)?)(?:\s*(years|days))?")
_AGE_RANGE = re.compile(
    r"(\d+(?:\.\d+)?)(?:\s*(years|days))?\s+(?:to\s+(\d+(?:\.\d+)?)\s*(years|days)|(years|days)?\s*and above)"
)
_URL = re.compile(r"https?://[^\s]+")
# Statements that are rounded to a tenth of a percent may miss 100 % by a few tenths.
_ROUNDING = 0.006


def whole_text(row: Row, column: str, text: str) -> str | None:
    """One item of a list, in one line; reported and left out if it holds the separator of the shipped file."""
    item = " ".join(text.split())
    if LIST_SEPARATOR in item:
        row.refuse(column, f"an item holds {LIST_SEPARATOR!r}, which parts the items of a list", value=item)
        return None
    return item or None


def items(row: Row, column: str) -> list[str] | None:
    """Items parted by commas or lines; a share in parentheses is left off."""
    parts = (whole_text(row, column, re.sub(r"\([^()]*%\s*\)", "", part)) for part in _outside_parentheses(row[column]))
    return [part for part in parts if part is not None and known(part)] or None


def _outside_parentheses(text: str | None) -> list[str]:
    return re.split(r"[,\n](?![^(]*\))", text or "")


def urls(row: Row, column: str) -> list[str] | None:
    """The addresses in a cell."""
    found = (whole_text(row, column, url) for url in _URL.findall(row[column] or ""))
    return [url for url in found if url] or None


def flag(row: Row, column: str) -> bool | None:
    """TRUE or FALSE."""
    text = row[column]
    if text is not None and text.upper() not in {"TRUE", "FALSE"}:
        row.refuse(column, "neither TRUE nor FALSE")
        return None
    return None if text is None else text.upper() == "TRUE"


def sample_size(row: Row) -> dict[str, int]:
    """`Patients`, `Sequences`, `Images` as far as stated."""
    sizes: dict[str, int] = {}
    for line in (row[sheets.SAMPLE_SIZE] or "").splitlines():
        text = line.strip()
        if not known(text):
            continue
        what, _, number = text.partition(":")
        match = _SIZE.fullmatch(text)
        if match is None and known(number) is None and what.strip() in {"Patients", "Sequences", "Images"}:
            continue
        if match is None or match[1] in sizes:
            row.refuse(sheets.SAMPLE_SIZE, "a line is not `Patients|Sequences|Images: number`, once each", value=text)
            continue
        sizes[match[1]] = int(match[2].replace(",", ""))
    return sizes


@dataclass(frozen=True)
class AdultShare:
    """Who is in a dataset: the class, the bounds of the adults' share, and the published point."""

    age_class: str | None
    low: float
    high: float
    point: float | None


UNKNOWN_SHARE = AdultShare(None, 0.0, 1.0, None)
# A prenatal examination shows a mother and a child: the publication counts all as adult, the bounds do not.
_WITHOUT_NUMBER = {
    "Adult": AdultShare("adult", 1.0, 1.0, 1.0),
    "Peds": AdultShare("children", 0.0, 0.0, 0.0),
    "Peds, Adult": AdultShare("both", 0.0, 1.0, None),
    "Adult/Prenatal": AdultShare("adult_prenatal", 0.0, 1.0, 1.0),
}


def adult_share(row: Row) -> AdultShare:
    """`Adult`, `Peds`, `Peds, Adult`, `Peds, Adult (>x%)`, `Peds, Adult (x%)`, `Adult/Prenatal`, `N/A`."""
    text = row[sheets.ADULT]
    if text is None:
        return UNKNOWN_SHARE
    if text in _WITHOUT_NUMBER:
        return _WITHOUT_NUMBER[text]
    match = _ADULT_SHARE.fullmatch(text)
    share = float(match[2]) / 100 if match else None
    if match is None or share is None or share > 1:
        row.refuse(sheets.ADULT, "neither Adult, Peds, `Peds, Adult`, `Peds, Adult (>x%)` nor Adult/Prenatal")
        return UNKNOWN_SHARE
    return AdultShare("both", share, 1.0 if match[1] else share, share)


def institutions(row: Row) -> list[tuple[str | None, str | None]]:
    """Institution and country of each line `Institution (Country)`; `N/A (China)` keeps its country."""
    found: list[tuple[str | None, str | None]] = []
    for line in (row[sheets.INSTITUTIONS] or "").splitlines():
        text = whole_text(row, sheets.INSTITUTIONS, line)
        if not known(text):
            continue
        match = _SOURCE.fullmatch(text or "")
        if match is None:
            row.refuse(sheets.INSTITUTIONS, "a line is not `Institution (Country)`", value=text)
            continue
        pair = known(match[1]), known(match[2])
        if pair != (None, None):
            found.append(pair)
    return found


def demographics(row: Row) -> dict[str, list[str]]:
    """The lines `Key: value` by key; the values that are `N/A` are left out."""
    found: dict[str, list[str]] = {}
    for line in (row[sheets.DEMOGRAPHICS] or "").splitlines():
        if not known(line):
            continue
        key, colon, value = line.partition(":")
        if not colon:
            row.refuse(sheets.DEMOGRAPHICS, "a line is not `Key: value`", value=line.strip())
        elif known(value):
            found.setdefault(key.strip(), []).append(value.strip())
    return found


def shares(row: Row, column: str, text: str) -> list[tuple[str, float]]:
    """`A (60%), B (40%)` as items and shares as stated. What is left over, or a sum that is not 100 %, is reported."""
    if text.startswith("N/A"):
        return []
    found = [(" ".join(name.split()), float(share) / 100) for name, share in _SHARE.findall(text)]
    if _SHARE.sub("", text).strip(" ,;\n") or not found:
        row.refuse(column, "the shares are not `A (x%), B (y%)`", value=text)
        return []
    return found


def check_sum(row: Row, column: str, text: str, found: list[tuple[str, float]]) -> None:
    """Report shares of a whole that sum to something else."""
    total = sum(share for _, share in found)
    if found and abs(total - 1) > _ROUNDING:
        row.refuse(column, f"the shares sum to {100 * total:.4g} %; they are kept as stated", value=text)


def modality_shares(row: Row, stated: list[str]) -> tuple[list[str], list[float]] | None:
    """Modalities and their shares: the explicit ones of the demographics cell, else equal ones."""
    names = items(row, sheets.MODALITIES)
    for name in names or ():
        if name not in KNOWN_MODALITIES:
            row.refuse(sheets.MODALITIES, f"not among {', '.join(KNOWN_MODALITIES)}", value=name)
    for text in stated:
        found = shares(row, sheets.DEMOGRAPHICS, text)
        check_sum(row, sheets.DEMOGRAPHICS, text, found)
        if found and set(names or ()) == {name for name, _ in found}:
            return [name for name, _ in found], [share for _, share in found]
        if found:
            row.refuse(sheets.DEMOGRAPHICS, "the modalities differ from those of their own column", value=text)
    return (names, [1 / len(names)] * len(names)) if names else None


def age(row: Row, text: str) -> float | None:
    """`60.6 years`, `3.9 days`, `46.6` in years."""
    match = _AGE.fullmatch(text)
    if match is None:
        row.refuse(sheets.DEMOGRAPHICS, "the age is not a number of years or days", value=text)
        return None
    return _years(match[1], match[2])


def age_range(row: Row, text: str) -> tuple[float | None, float | None]:
    """`0 to 110 years`, `5 days to 16 years`, `12 years and above` in years."""
    match = _AGE_RANGE.fullmatch(text)
    if match is None:
        row.refuse(sheets.DEMOGRAPHICS, "the age range is not `a to b years`", value=text)
        return None, None
    low = _years(match[1], match[2] or match[4] or match[5])
    return low, _years(match[3], match[4]) if match[3] else None


def _years(number: str, unit: str | None) -> float:
    return float(number) / _DAYS_PER_YEAR if unit == "days" else float(number)
