"""The grammar of the review's cells: text in, fact out, and a report of what does not fit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from cxrdata.errors import nearest
from cxrdata.review import workbook as sheets
from cxrdata.review.workbook import Row, known
from cxrdata.schemas.open_datasets import LIST_SEPARATOR, MOST_COUNT, OLDEST_YEARS, read_open_datasets

KNOWN_MODALITIES = ("CT", "MRI", "PET", "US", "X-ray", "Fundus", "Others")
# Keys of the demographics cell that are facts of a column of their own, or decide whether a dataset is about cancer.
READ_KEYS = (
    "Avg. Age", "Median Age", "Age Range", "Sex", "Gender", "Race", "Ethnicity", "Modality", "Modalities",
    "Description", "Inclusion Criteria",
)  # fmt: skip
# Known and left out: a sentence, what another column says (views and organs are no modality, their shares are used by
# no table), what one dataset alone states.
LEFT_OUT_KEYS = ("Exclusion Criteria", "Views", "Organs", "Smoking", "Age SD")
# What MIDRC's files call body parts; null: no body part.
_BODY_PARTS: dict[str, tuple[str, ...]] = {
    "abd pel": ("Abdomen", "Pelvis"), "abdomenpelvis": ("Abdomen", "Pelvis"), "chestabdomen": ("Chest", "Abdomen"),
    "cap": ("Chest", "Abdomen", "Pelvis"), "chest_to_pelvis": ("Chest", "Abdomen", "Pelvis"), "port chest": ("Chest",),
    "circleofwillis": ("Circle of Willis",), "crvlspine": ("Cervical Spine",), "cspine": ("Cervical Spine",),
    "tspine": ("Thoracic Spine",), "lspine": ("Lumbar Spine",), "iac": ("Internal Auditory Canal",),
    "body": ("Whole Body",), "service": (), "others": (), "unknown": (),
} | {
    name.lower(): (name,) for name in (
        "Abdomen", "Aorta", "Bladder", "Brain", "Breast", "Chest", "Extremity", "Head", "Heart", "Knee", "Liver",
        "Lung", "Neck", "Orbit", "Prostate", "Spine",
    )
}  # fmt: skip
_DAYS_PER_YEAR = 365.25
_TOO_OLD = f"above {OLDEST_YEARS} years, which nobody is"
# [0-9], not \d, which takes the digits of every script.
_SHARE = re.compile(r"([^,()%\n]+?)\s*\(\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*%\s*\)")
_ADULT_SHARE = re.compile(r"(?:Peds, )?Adult \((>?)\s*([0-9]+(?:\.[0-9]+)?)%\)")
_SIZE = re.compile(r"(Patients|Sequences|Images)\s*:\s*([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)")
_SOURCE = re.compile(r"([^()]*?)\s*\(([^()]*)\)")
_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:\s*(years|days))?")
_AGE_RANGE = re.compile(
    r"([0-9]+(?:\.[0-9]+)?)(?:\s*(years|days))?"
    r"\s+(?:to\s+([0-9]+(?:\.[0-9]+)?)\s*(years|days)|(years|days)?\s*and above)"
)
# `N/A` and more; not the share of patients without a record, `N/A (3%)`.
_GUESS = re.compile(r"N/A\b(?!\s*\()")
_URL = re.compile(r"https?://[^\s]+")
_DOUBTFUL_COUNTRY = "the country is not among those of the facts that ship; it is kept as stated"
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


def organs(row: Row) -> list[str] | None:
    """Organs and body parts as words; MIDRC's codes are spelt out, those that name no body part left out."""
    found: list[str] = []
    for item in items(row, sheets.ORGANS) or ():
        if not item.islower():
            found.append(item)
        elif item in _BODY_PARTS:
            found += _BODY_PARTS[item]
        else:
            row.refuse(
                sheets.ORGANS,
                f"the code of a body part is not known{nearest(item, [*_BODY_PARTS], most=1)}",
                value=item,
            )
            found.append(item)
    return list(dict.fromkeys(found)) or None


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
        digits = match[2].replace(",", "").lstrip("0") or "0"
        # By their number first: Python refuses to read some thousands of digits.
        if len(digits) > len(str(MOST_COUNT)) or int(digits) > MOST_COUNT:
            row.refuse(sheets.SAMPLE_SIZE, f"more than {MOST_COUNT:,}, which no dataset has", value=text)
            continue
        sizes[match[1]] = int(digits)
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


@cache
def _countries() -> frozenset[str]:
    return frozenset(read_open_datasets()["institution_countries"].explode().drop_nulls().to_list())


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
        if pair[1] is not None and pair[1] not in _countries():
            hint = nearest(pair[1], list(_countries()), most=1)
            row.refuse(sheets.INSTITUTIONS, f"{_DOUBTFUL_COUNTRY}{hint}", value=pair[1])
        if pair != (None, None):
            found.append(pair)
    return found


def demographics(row: Row) -> dict[str, list[str]]:
    """The lines `Key: value` by key; the values that are `N/A` are left out.

    A line of an unknown key is reported, and so is `N/A but most likely …`: a guess of the reviewers is no fact.
    """
    found: dict[str, list[str]] = {}
    for line in (row[sheets.DEMOGRAPHICS] or "").splitlines():
        if not known(line):
            continue
        name, colon, text = line.partition(":")
        key, value = name.strip(), text.strip()
        if not colon:
            row.refuse(sheets.DEMOGRAPHICS, "a line is not `Key: value`", value=line.strip())
        elif key not in READ_KEYS and key not in LEFT_OUT_KEYS:
            hint = nearest(key, [*READ_KEYS, *LEFT_OUT_KEYS], most=1)
            row.refuse(sheets.DEMOGRAPHICS, f"the key is not known, the line is not read{hint}", value=line.strip())
        elif known(value) and _GUESS.match(value):
            row.refuse(sheets.DEMOGRAPHICS, "not available: what is said beside it is a guess, left out", value=value)
        elif known(value):
            found.setdefault(key, []).append(value)
    return found


def shares(row: Row, column: str, text: str) -> list[tuple[str, float]]:
    """`A (60%), B (40%)` as items and shares as stated. What is left over, or a sum that is not 100 %, is reported."""
    found = [(" ".join(name.split()), float(share) / 100) for name, share in _SHARE.findall(text)]
    if _SHARE.sub("", text).strip(" ,;\n") or not found:
        row.refuse(column, "the shares are not `A (x%), B (y%)`", value=text)
        return []
    if any(share > 1 for _, share in found):
        row.refuse(column, "a share is above 100 %", value=text)
        return []
    return found


def check_sum(row: Row, column: str, text: str, found: list[tuple[str, float]]) -> None:
    """Report shares of a whole that sum to something else."""
    total = sum(share for _, share in found)
    if found and abs(total - 1) > _ROUNDING:
        row.refuse(column, f"the shares sum to {100 * total:.4g} %; they are kept as stated", value=text)


def modality_names(row: Row) -> list[str] | None:
    """The modalities; one that is not known is reported and kept as it stands."""
    names = items(row, sheets.MODALITIES)
    for name in names or ():
        if name not in KNOWN_MODALITIES:
            row.refuse(sheets.MODALITIES, f"not among {', '.join(KNOWN_MODALITIES)}", value=name)
    return names


def modality_shares(row: Row, said: dict[str, list[str]]) -> tuple[list[str], list[float], str] | None:
    """Modalities, their shares, and where the shares are from: the key of the demographics cell, or `equal` shares."""
    names = modality_names(row)
    for key, text in ((name, text) for name in ("Modality", "Modalities") for text in said.get(name, ())):
        found = shares(row, sheets.DEMOGRAPHICS, text)
        check_sum(row, sheets.DEMOGRAPHICS, text, found)
        if found and set(names or ()) == {name for name, _ in found}:
            return [name for name, _ in found], [share for _, share in found], key
        if found:
            row.refuse(sheets.DEMOGRAPHICS, "the modalities differ from those of their own column", value=text)
    return (names, [1 / len(names)] * len(names), "equal") if names else None


def age(row: Row, text: str) -> tuple[float | None, str | None]:
    """`60.6 years`, `3.9 days`, `46.6` in years; and the unit, if it is stated."""
    match = _AGE.fullmatch(text)
    if match is None:
        row.refuse(sheets.DEMOGRAPHICS, "the age is not a number of years or days", value=text)
        return None, None
    years = _years(match[1], match[2])
    if years > OLDEST_YEARS:
        row.refuse(sheets.DEMOGRAPHICS, _TOO_OLD, value=text)
        return None, None
    return years, match[2]


def age_range(row: Row, text: str) -> tuple[float | None, float | None]:
    """`0 to 110 years`, `5 days to 16 years`, `12 years and above` in years."""
    match = _AGE_RANGE.fullmatch(text)
    if match is None:
        row.refuse(sheets.DEMOGRAPHICS, "the age range is not `a to b years`", value=text)
        return None, None
    low = _years(match[1], match[2] or match[4] or match[5])
    high = _years(match[3], match[4]) if match[3] else None
    if max(low, high or 0.0) > OLDEST_YEARS:
        row.refuse(sheets.DEMOGRAPHICS, _TOO_OLD, value=text)
        return None, None
    if high is not None and low > high:
        row.refuse(sheets.DEMOGRAPHICS, "the age range ends before it begins", value=text)
        return None, None
    return low, high


def _years(number: str, unit: str | None) -> float:
    return float(number) / _DAYS_PER_YEAR if unit == "days" else float(number)
