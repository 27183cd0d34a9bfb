"""Datasets that are added to the review: read from a user's file, checked, and written with all the facts.

A file states what is known of a dataset under the names of the columns of `open_datasets`; what follows from it
(imputed numbers, bounds of a share) is worked out by the rules of the import.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.review.aliases import canonical_name, other_names
from cxrdata.review.cells import KNOWN_MODALITIES
from cxrdata.review.entry import sizes
from cxrdata.review.facts import load_facts, write_lists, write_text_file
from cxrdata.schemas.open_datasets import (
    LIST_SEPARATOR,
    OPEN_DATASETS,
    facts_source,
    open_datasets_text,
    typed_columns,
)
from cxrdata.schemas.validate import validate
from cxrdata.tomlfile import read_toml
from cxrdata.vocabularies import read_tsv
from cxrdata.wording import counted

AGAIN = "again"
_MADE_HERE = ("entry", "listed_before")
KEYS = (*(name for name in OPEN_DATASETS.columns if name not in _MADE_HERE), AGAIN)
_PART_SOURCES = {
    "grand_challenge": "challenges", "kaggle": "challenges", "msd": "benchmarks", "medfair": "benchmarks",
    "amos": "benchmarks", "midrc": "collections", "stanford_aimi": "collections", "tcia": "collections",
}  # fmt: skip
# Lists that go together, item by item.
_PAIRS = (
    ("modalities", "modality_shares"),
    ("institutions", "institution_countries"),
    ("races", "race_shares"),
)
_SHARES = (
    "adult_share_low", "adult_share", "adult_share_high", "female_share", "male_share", "race_unknown_share",
)  # fmt: skip
_CLASS_BOUNDS = {"adult": (1.0, 1.0, 1.0), "children": (0.0, 0.0, 0.0), "adult_prenatal": (0.0, 1.0, 1.0)}
_ROUNDING = 0.006
_LINKS = ("links", "paper_links")
_LINK = re.compile(r"https?://[^\s/]\S*")


@dataclass(frozen=True)
class Added:
    """`datasets`: the entries added; `facts`: all of them; `remarks`: what was said of the facts they were added to."""

    datasets: pl.DataFrame
    facts: pl.DataFrame
    remarks: list[str]


def add_datasets(file: Path, place: Path, *, facts: Path | None = None) -> Added:
    """Add the datasets of a .toml or .tsv to the facts, and write all of them to `place`.

    Raises CxrError: CXR-101 not there, CXR-118 an entry that does not hold, CXR-119 a dataset that is listed already,
    CXR-502 `place` is no .tsv, CXR-505 not such a file, CXR-602 not writable.
    """
    if place.suffix.lower() != ".tsv":
        raise CxrError("CXR-502", "facts are written as .tsv", where=str(place), fix=f"name it {place.stem}.tsv")
    held, remarks = load_facts(facts)
    added = checked(file, held.datasets)
    every = pl.concat([held.datasets, added])
    origin = facts_source(facts)
    source = f"{origin}; {counted(added.height, 'dataset')} added from {file.name}"
    write_text_file(place, open_datasets_text(every, source=source))
    if facts is not None:
        write_lists(held, place.parent, source=origin)
    return Added(added, every, remarks)


def checked(file: Path, held: pl.DataFrame) -> pl.DataFrame:
    """The entries of a file as rows of `open_datasets`, numbered after those of `held`. Raises as `add_datasets`."""
    names = _names(held)
    first = max(held["entry"].to_list(), default=0) + 1
    rows: list[dict[str, Any]] = []
    for where, stated in _stated(file):
        again = bool(stated.pop(AGAIN, False))
        row = _completed(stated, where)
        known = next((names[key] for key in _keys(row) if key in names), None)
        if known is not None and not again:
            raise CxrError(
                "CXR-119",
                f"{row['dataset_name']!r} is listed already, as {known!r}",
                where=where,
                fix=f"leave it out; or, if another source lists it too, add it with `{AGAIN} = true`",
            )
        row |= {"entry": first + len(rows), "listed_before": row["dataset_name"] in set(held["dataset_name"])}
        if known is not None:
            row["canonical_name"] = known
        names |= dict.fromkeys(_keys(row), row["canonical_name"])
        rows.append(row)
    frame = pl.DataFrame(rows, schema=OPEN_DATASETS.types())
    _, broken = validate(frame, OPEN_DATASETS)
    if not broken.is_empty():
        first_broken = broken.row(0, named=True)
        raise _refused(
            f"{first_broken['column_name']} {first_broken['value']!r} is refused: {first_broken['message']}",
            f"{file.name} [dataset {first_broken['row'] + 1}]",
        )
    return frame


def _names(held: pl.DataFrame) -> dict[str, str]:
    """Every name and alias, in small letters -> the dataset's canonical name."""
    found: dict[str, str] = {}
    for row in held.select("canonical_name", "dataset_name", "aliases").iter_rows(named=True):
        for key in _keys(row):
            found.setdefault(key, row["canonical_name"])
    return found


def _keys(row: dict[str, Any]) -> list[str]:
    return [name.casefold() for name in (row["dataset_name"], row["canonical_name"], *(row["aliases"] or ())) if name]


def _stated(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each entry stands, and its keys with their values."""
    if not file.is_file():
        raise CxrError("CXR-101", "this file does not exist", where=str(file), fix="name a .toml or .tsv file")
    if file.suffix.lower() == ".tsv":
        frame = read_tsv(file)
        _known_keys(frame.columns, file.name)
        try:
            rows = frame.select(typed_columns(frame.columns, {**OPEN_DATASETS.types(), AGAIN: pl.Boolean}))
        except pl.exceptions.InvalidOperationError as error:
            raise _refused(str(error).splitlines()[0], file.name) from error
        entries = [
            {key: value for key, value in row.items() if value is not None} for row in rows.iter_rows(named=True)
        ]
    else:
        content, _ = read_toml(file)
        entries = content.get("dataset", [])
        strange = [key for key in content if key != "dataset"]
        entries = [entries] if isinstance(entries, dict) else entries
        if strange or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise _refused(f"{strange[0] if strange else 'dataset'!r} is no list of datasets", file.name)
    if not entries:
        raise _refused("the file holds no dataset", file.name)
    for number, entry in enumerate(entries, 1):
        yield f"{file.name} [dataset {number}]", dict(entry)


def _refused(problem: str, where: str, fix: str | None = None) -> CxrError:
    standard = "start each dataset with [[dataset]]; docs/tables.md has the keys, under open_datasets"
    return CxrError("CXR-118", problem, where=where, fix=fix or standard)


def _known_keys(keys: Any, where: str) -> None:  # noqa: ANN401 - names of columns, or the keys of a table
    for key in keys:
        if key not in KEYS:
            made = (
                " is worked out, not stated" if key in _MADE_HERE else f" is no key of a dataset{nearest(key, [*KEYS])}"
            )
            raise _refused(f"{key!r}{made}", where)


def _completed(stated: dict[str, Any], where: str) -> dict[str, Any]:
    """All columns of an entry: those stated, checked, and those that follow from them."""
    _known_keys(stated, where)
    for needed in ("dataset_name", "source"):
        if not stated.get(needed):
            raise _refused(f"{needed!r} is lacking", where)
    for key, value in stated.items():
        _check_value(key, value, where)
    row: dict[str, Any] = dict.fromkeys(OPEN_DATASETS.columns) | stated
    _check_lists(row, where)
    name = row["dataset_name"]
    row["canonical_name"] = row["canonical_name"] or canonical_name(name)
    row["aliases"] = list(dict.fromkeys([*(row["aliases"] or ()), *(other_names(name) or ())])) or None
    row["cancer"] = bool(row["cancer"])
    if row["modalities"]:
        equal = row["modality_shares"] is None
        row["modality_shares_from"] = row["modality_shares_from"] or ("equal" if equal else "Modalities")
        row["modality_shares"] = row["modality_shares"] or [1 / len(row["modalities"])] * len(row["modalities"])
    _fill_sizes(row)
    _fill_adults(row, where)
    if row["sex_stated_as"] is None and not row["female_share"] == row["male_share"] is None:
        row["sex_stated_as"] = "Sex"
    if row["age_mean_unit"] is None and row["age_mean_years"] is not None:
        row["age_mean_unit"] = "years"
    return row


def _check_value(key: str, value: Any, where: str) -> None:  # noqa: ANN401 - what TOML gives
    dtype = OPEN_DATASETS.types()[key]
    is_list = isinstance(dtype, pl.List)
    items = value if is_list and isinstance(value, list) else [value]
    inner = dtype.inner if is_list else dtype
    kinds: dict[Any, Any] = {pl.String: str, pl.Int64: int, pl.Float64: (int, float), pl.Boolean: bool}
    kind = next(kind for known, kind in kinds.items() if inner == known)
    if is_list and not isinstance(value, list):
        raise _refused(f"{key!r} is no list", where, f'write {key} = ["…", "…"]')
    for item in items:
        if (item is None and is_list) or (isinstance(item, kind) and (kind is bool or not isinstance(item, bool))):
            _check_word(key, item, where)
        else:
            raise _refused(f"{key!r} is {item!r}, of the wrong kind", where)


def _check_word(key: str, item: Any, where: str) -> None:  # noqa: ANN401 - one value of a column
    if isinstance(item, str) and any(sign in item for sign in ("\t", "\n", "\r", LIST_SEPARATOR)):
        raise _refused(
            f"{key!r} holds a tab, a line end or {LIST_SEPARATOR!r}", where, "leave it out; they part fields"
        )
    checks = OPEN_DATASETS.schema.columns[key].checks or []
    words = [word for check in checks for word in check.statistics.get("allowed_values", ())]
    words = list(KNOWN_MODALITIES) if key == "modalities" else words
    if words and item not in words:
        hint = nearest(str(item), words, most=1)
        raise _refused(f"{key!r} is {item!r}, which is not known{hint}", where, f"use one of: {', '.join(words)}")
    if isinstance(item, int | float) and not (math.isfinite(item) and item >= 0):
        raise _refused(f"{key!r} is {item}, which is no number of that kind", where, "write a number from 0 upwards")
    if key in _SHARES and not 0 <= item <= 1:
        raise _refused(f"{key!r} is {item}, which is no share", where, "write 0.5 for 50 %")
    most = next((check.statistics["max_value"] for check in checks if "max_value" in check.statistics), None)
    if isinstance(item, int | float) and most is not None and item > most:
        raise _refused(f"{key!r} is {item:.6g}, more than {most:,}", where, f"write a number up to {most:,}")
    if key in _LINKS and not _LINK.fullmatch(item or ""):
        raise _refused(f"{key!r} holds {item!r}, which is no link", where, "write it whole, from https:// on")


def _check_lists(row: dict[str, Any], where: str) -> None:
    for names, values in _PAIRS:
        if row[values] is not None and len(row[values]) != len(row[names] or ()):
            raise _refused(
                f"{names!r} and {values!r} differ in length", where, "give an item of one to each of the other"
            )
    if row["modality_shares"] is not None and abs(sum(row["modality_shares"]) - 1) > _ROUNDING:
        total = 100 * sum(row["modality_shares"])
        raise _refused(f"'modality_shares' sum to {total:.4g} %", where, "make them sum to 1, or leave them out")
    if row["part"] is not None and _PART_SOURCES[row["part"]] != row["source"]:
        raise _refused(f"{row['part']!r} is no part of {row['source']!r}", where, "leave `part` out, or mend `source`")
    low, high = row["age_min_years"], row["age_max_years"]
    if low is not None and high is not None and low > high:
        raise _refused("'age_min_years' is above 'age_max_years'", where, "exchange them")


def _fill_sizes(row: dict[str, Any]) -> None:
    stated = {"Patients": row["patients_stated"], "Sequences": row["sequences_stated"], "Images": row["images_stated"]}
    if row["patients"] is not None and stated["Patients"] is None and row["patients_imputed_from"] is None:
        stated["Patients"] = row["patients"]  # who writes `patients` states them
    filled = sizes({key: number for key, number in stated.items() if number is not None}, row["modalities"] or [])
    row |= {key: value for key, value in filled.items() if row[key] is None}


def _fill_adults(row: dict[str, Any], where: str) -> None:
    """Bounds and point of the adults' share: as stated, else those of the class, else all of it."""
    low, high, point = _CLASS_BOUNDS.get(row["age_class"] or "", (0.0, 1.0, None))
    stated = row["adult_share"]
    if stated is not None and row["adult_share_low"] is None and row["adult_share_high"] is None:
        low, high = stated, stated
    low = row["adult_share_low"] if row["adult_share_low"] is not None else low
    high = row["adult_share_high"] if row["adult_share_high"] is not None else high
    if stated is None:
        # As the publication reads `more than x %`.
        stated = point if row["adult_share_low"] is None else low
    if low > high or (stated is not None and not low <= stated <= high):
        raise _refused("the share of adults lies outside its bounds", where, "mend adult_share, _low or _high")
    for word, share in (("adult", 1.0), ("children", 0.0)):
        if row["age_class"] == word and not low == high == share:
            raise _refused(
                f"'age_class' is {word!r}, and the share of adults is another than {share:g}",
                where,
                'write age_class = "both", or leave adult_share, _low and _high out',
            )
    if row["age_class"] is None and stated is not None:
        row["age_class"] = "adult" if low == high == 1 else "children" if low == high == 0 else "both"
    row |= {"adult_share_low": float(low), "adult_share_high": float(high), "adult_share": stated}
