"""The review's facts: one typed row an entry of the workbook.

No sentence of the workbook is kept. What needs one, such as whether a dataset is about cancer, is decided here.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.review import cells
from cxrdata.review import workbook as sheets
from cxrdata.review.workbook import REPACKAGING, SHEETS, Problems, Row, Sheet, read_rows
from cxrdata.schemas.open_datasets import (
    AGE_DOCUMENTED_HOW,
    FILE_NAME,
    OPEN_DATASETS,
    open_datasets_text,
    read_open_datasets,
)
from cxrdata.wording import counted

# The words and the fields by which the publication leaves cancer out.
_CANCER = re.compile("tcia|cancer|tumor|tumour|carcinoma|sarcoma|glioma|metastasis|metastases", re.IGNORECASE)
_CANCER_KEYS = ("Description", "Inclusion Criteria")
_PARTS = {
    "Grand Challenge": "grand_challenge", "Kaggle": "kaggle",
    "Medical Segmentation Decathlon": "msd", "MedFAIR": "medfair", "AMOS": "amos",
}  # fmt: skip
_BY_SEQUENCE = frozenset({"CT", "MRI"})
_IMAGES_A_PATIENT = 2  # fundus photographs: one of each eye
_RACE_KEYS = ("Race", "Ethnicity")
_SEX_KEYS = ("Sex", "Gender")
_MODALITY_KEYS = ("Modality", "Modalities")


@dataclass(frozen=True)
class Import:
    """What a workbook gave. `facts`: the table `open_datasets`; `problems`: the cells that do not parse;
    `skipped_rows`: rows without a dataset's name, each among the problems; `source`: the workbook's name and digest.
    """

    facts: pl.DataFrame
    problems: pl.DataFrame
    skipped_rows: int
    source: str

    def sentence(self) -> str:
        """What was read, in one line."""
        entries, cells_named = counted(self.facts.height, "dataset"), counted(self.problems.height, "cell")
        left_out = f"; {counted(self.skipped_rows, 'row')} without a name left out" if self.skipped_rows else ""
        return f"{entries} listed; {cells_named} not understood or doubtful{left_out}"


def load_facts(path: Path | None) -> tuple[pl.DataFrame, list[str]]:
    """The table `open_datasets` that ships (None), of a file of facts (.tsv), or of a workbook; and remarks.

    Raises CxrError as `read_open_datasets` and `import_workbook` do.
    """
    if path is None or path.suffix.lower() == ".tsv":
        return read_open_datasets(path), []
    made = import_workbook(path)
    return made.facts, [f"{made.sentence()}; `cxrdata review import` names them"] if made.problems.height else []


def write_facts(made: Import, place: Path) -> Path:
    """Write the facts to `place`, or to `open_datasets.tsv` in it if it names no .tsv. Returns the file.

    Raises CxrError CXR-602.
    """
    file = place if place.suffix.lower() == ".tsv" else place / FILE_NAME
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(open_datasets_text(made.facts, source=made.source), encoding="utf-8", newline="\n")
    except OSError as error:
        raise CxrError(
            "CXR-602",
            f"cannot write: {error.strerror}",
            where=str(file),
            fix="check the path, its permissions and the space left",
        ) from error
    return file


def import_workbook(path: Path) -> Import:
    """Read the published workbook into facts. Raises CxrError as `read_rows` does."""
    problems = Problems()
    secondary = _secondary(path, problems)
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    skipped = 0
    for sheet in SHEETS:
        benchmark: str | None = None
        for row in read_rows(path, sheet.title, sheet.columns, problems):
            benchmark = row[sheets.BENCHMARK] or benchmark  # named in the first row of its datasets
            name = cells.whole_text(row, sheets.NAME, row[sheets.NAME] or "")
            if name is None:
                row.refuse(sheets.NAME, "the row has no name of a dataset and is left out")
                skipped += 1
                continue
            facts = _facts(row, sheet)
            facts |= {
                "entry": len(rows) + 1, "source": sheet.source, "part": _part(row, sheet, benchmark),
                "dataset_name": name, "listed_before": name in seen, "secondary_of": secondary.get(name),
            }  # fmt: skip
            seen.add(name)
            rows.append(facts)
    if not rows:
        raise CxrError("CXR-111", "no sheet names a dataset", where=path.name, fix="use the published workbook")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Import(
        pl.DataFrame(rows, schema=OPEN_DATASETS.types()), problems.frame(), skipped, f"{path.name}, SHA-256 {digest}"
    )


def _secondary(path: Path, problems: Problems) -> dict[str, list[str]]:
    """Dataset -> those that it takes data from."""
    rows = read_rows(path, REPACKAGING, (sheets.NAME, sheets.SECONDARY), problems)
    found = {row[sheets.NAME]: cells.items(row, sheets.SECONDARY) for row in rows}
    return {name: datasets for name, datasets in found.items() if name and datasets}


def _part(row: Row, sheet: Sheet, benchmark: str | None) -> str | None:
    if sheets.BENCHMARK in sheet.columns:
        part = _PARTS.get(benchmark or "")
        if part is None:
            row.refuse(sheets.BENCHMARK, "the benchmark is not one of the review's three", value=benchmark)
        return part
    return sheet.part or _PARTS.get(row[sheets.LOCATION] or "")


def _facts(row: Row, sheet: Sheet) -> dict[str, Any]:
    said = cells.demographics(row)
    modalities = cells.modality_shares(row, _first(said, _MODALITY_KEYS))
    sources = cells.institutions(row)
    share = cells.adult_share(row)
    names = [institution for institution, _ in sources]
    countries = [country for _, country in sources]
    return {
        "links": cells.urls(row, sheets.LINK) if sheets.LINK in sheet.columns else None,
        "paper_links": cells.urls(row, sheets.PAPER_LINK) if sheets.PAPER_LINK in sheet.columns else None,
        "modalities": modalities[0] if modalities else None,
        "modality_shares": modalities[1] if modalities else None,
        "organs": cells.items(row, sheets.ORGANS),
        "task_categories": cells.items(row, sheets.TASK_CATEGORY) if sheets.TASK_CATEGORY in sheet.columns else None,
        "institutions": names if any(names) else None,
        "institution_countries": countries if any(countries) else None,
        **_sizes(cells.sample_size(row), modalities[0] if modalities else []),
        "age_class": share.age_class,
        "adult_share_low": share.low,
        "adult_share_high": share.high,
        "adult_share": share.point,
        "age_documented": cells.flag(row, sheets.AGE_DOCUMENTED),
        "age_documented_how": _documented_how(row),
        "age_complete": cells.flag(row, sheets.AGE_COMPLETE),
        **_ages(row, said),
        **_sexes(row, said),
        **_races(row, said),
        "cancer": _is_cancer(row, said),
    }


def _first(said: dict[str, list[str]], keys: tuple[str, ...]) -> list[str]:
    return [text for key in keys for text in said.get(key, ())]


def _sizes(stated: dict[str, int], modalities: list[str]) -> dict[str, Any]:
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


def _documented_how(row: Row) -> str | None:
    text = row[sheets.AGE_HOW]
    if text is not None and text not in AGE_DOCUMENTED_HOW:
        row.refuse(sheets.AGE_HOW, f"not among {', '.join(AGE_DOCUMENTED_HOW)}")
        return None
    return text


def _ages(row: Row, said: dict[str, list[str]]) -> dict[str, float | None]:
    facts: dict[str, float | None] = {}
    for key, name in (("Avg. Age", "age_mean_years"), ("Median Age", "age_median_years")):
        facts[name] = next((cells.age(row, text) for text in said.get(key, ())), None)
    low, high = next((cells.age_range(row, text) for text in said.get("Age Range", ())), (None, None))
    return facts | {"age_min_years": low, "age_max_years": high}


def _sexes(row: Row, said: dict[str, list[str]]) -> dict[str, float | None]:
    found: dict[str, float] = {}
    for text in _first(said, _SEX_KEYS)[:1]:
        stated = cells.shares(row, sheets.DEMOGRAPHICS, text)
        cells.check_sum(row, sheets.DEMOGRAPHICS, text, stated)
        found = dict(stated)
        if found and not {"F", "M"} & set(found):
            row.refuse(sheets.DEMOGRAPHICS, "the sexes are neither F nor M", value=text)
    # All of one sex leaves none of the other.
    for one, other in (("F", "M"), ("M", "F")):
        if found.get(one) == 1:
            found.setdefault(other, 0.0)
    return {"female_share": found.get("F"), "male_share": found.get("M")}


def _races(row: Row, said: dict[str, list[str]]) -> dict[str, Any]:
    found = [pair for text in _first(said, _RACE_KEYS) for pair in cells.shares(row, sheets.DEMOGRAPHICS, text)]
    return {"races": [name for name, _ in found] or None, "race_shares": [share for _, share in found] or None}


def _is_cancer(row: Row, said: dict[str, list[str]]) -> bool:
    texts = [row[sheets.NAME], row[sheets.TASK], *_first(said, _CANCER_KEYS)]
    return any(_CANCER.search(text) for text in texts if text)
