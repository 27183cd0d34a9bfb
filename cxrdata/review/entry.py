"""The facts of one row of the workbook, whichever of its sheets lists the dataset."""

from __future__ import annotations

import math
import re
from typing import Any

from cxrdata.review import cells
from cxrdata.review import workbook as sheets
from cxrdata.review.workbook import Row, Sheet
from cxrdata.schemas.open_datasets import AGE_DOCUMENTED_HOW

# The words and the fields by which the publication leaves cancer out.
_CANCER = re.compile("tcia|cancer|tumor|tumour|carcinoma|sarcoma|glioma|metastasis|metastases", re.IGNORECASE)
_CANCER_KEYS = ("Description", "Inclusion Criteria")
_BY_SEQUENCE = frozenset({"CT", "MRI"})
_IMAGES_A_PATIENT = 2  # fundus photographs: one of each eye
_RACE_KEYS = ("Race", "Ethnicity")
_SEX_KEYS = ("Sex", "Gender")
_UNKNOWN_RACES = frozenset({"N/A", "Unknown"})


def dataset_facts(row: Row, sheet: Sheet) -> dict[str, Any]:
    """The facts of `open_datasets` that a row states."""
    said = cells.demographics(row)
    modalities = cells.modality_shares(row, said)
    sources = cells.institutions(row)
    names = [institution for institution, _ in sources]
    countries = [country for _, country in sources]
    return {
        "links": cells.urls(row, sheets.LINK) if sheets.LINK in sheet.columns else None,
        "paper_links": cells.urls(row, sheets.PAPER_LINK) if sheets.PAPER_LINK in sheet.columns else None,
        "modalities": modalities[0] if modalities else None,
        "modality_shares": modalities[1] if modalities else None,
        "modality_shares_from": modalities[2] if modalities else None,
        "organs": cells.organs(row),
        "task_categories": cells.items(row, sheets.TASK_CATEGORY) if sheets.TASK_CATEGORY in sheet.columns else None,
        "institutions": names if any(names) else None,
        "institution_countries": countries if any(countries) else None,
        **sizes(cells.sample_size(row), modalities[0] if modalities else []),
        **documentation(row),
        **adult_shares(row),
        **_ages(row, said),
        **_sexes(row, said),
        **_races(row, said),
        "cancer": _is_cancer(row, said),
    }


def documentation(row: Row) -> dict[str, Any]:
    """Whether, how, and how completely age is documented."""
    text = row[sheets.AGE_HOW]
    if text is not None and text not in AGE_DOCUMENTED_HOW:
        row.refuse(sheets.AGE_HOW, f"not among {', '.join(AGE_DOCUMENTED_HOW)}")
        text = None
    return {
        "age_documented": cells.flag(row, sheets.AGE_DOCUMENTED),
        "age_documented_how": text,
        "age_complete": cells.flag(row, sheets.AGE_COMPLETE),
    }


def adult_shares(row: Row) -> dict[str, Any]:
    """The class of ages, the bounds of the adults' share, and the published point."""
    share = cells.adult_share(row)
    return {
        "age_class": share.age_class,
        "adult_share_low": share.low,
        "adult_share_high": share.high,
        "adult_share": share.point,
    }


def sizes(stated: dict[str, int], modalities: list[str]) -> dict[str, Any]:
    """Numbers stated and, where they are not, those that the publication puts in their place."""
    patients, sequences, images = (stated.get(key) for key in ("Patients", "Sequences", "Images"))
    imputed: dict[str, Any] = {"patients": patients, "patients_imputed_from": None}
    if patients is None and sequences is not None and _BY_SEQUENCE & set(modalities):
        imputed = {"patients": sequences, "patients_imputed_from": "sequences"}
    elif patients is None and images is not None and "Fundus" in modalities:
        imputed = {"patients": math.ceil(images / _IMAGES_A_PATIENT), "patients_imputed_from": "images"}
    filled: tuple[int | None, str | None] = (sequences, None)
    if sequences is None:
        filled = (patients, "patients") if patients is not None else (images, "images" if images is not None else None)
    return {
        "patients_stated": patients, "sequences_stated": sequences, "images_stated": images, **imputed,
        "sequences": filled[0], "sequences_imputed_from": filled[1],
    }  # fmt: skip


def _first(said: dict[str, list[str]], keys: tuple[str, ...]) -> list[str]:
    return [text for key in keys for text in said.get(key, ())]


def _ages(row: Row, said: dict[str, list[str]]) -> dict[str, float | str | None]:
    mean, unit = next((cells.age(row, text) for text in said.get("Avg. Age", ())), (None, None))
    median, _ = next((cells.age(row, text) for text in said.get("Median Age", ())), (None, None))
    low, high = next((cells.age_range(row, text) for text in said.get("Age Range", ())), (None, None))
    return {
        "age_mean_years": mean, "age_mean_unit": unit, "age_median_years": median,
        "age_min_years": low, "age_max_years": high,
    }  # fmt: skip


def _sexes(row: Row, said: dict[str, list[str]]) -> dict[str, float | str | None]:
    found: dict[str, float] = {}
    key = next((key for key in _SEX_KEYS if said.get(key)), None)
    for text in said[key][:1] if key else ():
        stated = cells.shares(row, sheets.DEMOGRAPHICS, text)
        cells.check_sum(row, sheets.DEMOGRAPHICS, text, stated)
        found = dict(stated)
        if found and not {"F", "M"} & set(found):
            row.refuse(sheets.DEMOGRAPHICS, "the sexes are neither F nor M", value=text)
    # All of one sex leaves none of the other.
    for one, other in (("F", "M"), ("M", "F")):
        if found.get(one) == 1:
            found.setdefault(other, 0.0)
    shares = {"female_share": found.get("F"), "male_share": found.get("M")}
    return {**shares, "sex_stated_as": key if any(share is not None for share in shares.values()) else None}


def _races(row: Row, said: dict[str, list[str]]) -> dict[str, Any]:
    stated = [pair for text in _first(said, _RACE_KEYS) for pair in cells.shares(row, sheets.DEMOGRAPHICS, text)]
    found = [(name, share) for name, share in stated if name not in _UNKNOWN_RACES]
    unknown = [share for name, share in stated if name in _UNKNOWN_RACES]
    return {
        "races": [name for name, _ in found] or None,
        "race_shares": [share for _, share in found] or None,
        "race_unknown_share": round(sum(unknown), 6) if unknown else None,
    }


def _is_cancer(row: Row, said: dict[str, list[str]]) -> bool:
    texts = [row[sheets.NAME], row[sheets.TASK], *_first(said, _CANCER_KEYS)]
    return any(_CANCER.search(text) for text in texts if text)
