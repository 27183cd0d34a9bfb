"""Ids of images and patients in a text that is to be shared: they must not be there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.keys import KeyIndex, resolve

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_LONG_NUMBER = re.compile(r"(?<![\w.])\d{7,}(?![\w.])")
_COMPARED = re.compile(
    r"\b(patient_id|study_id|image_id|image_uid)\s*(?:::\s*\w+|\s+AS\s+\w+\s*\))?\s*(?:NOT\s+)?(?:=|<>|!=|<|>|\bIN\b|\bBETWEEN\b)=?\s*\(?\s*'?\d",
    re.IGNORECASE,
)
_WILDCARDS = "%*"
_PART_LENGTH = 6  # a shorter part of an id says nothing
_FEW_PATIENTS = 10  # a part of an id that fewer patients share singles them out


def check_no_ids(catalog: Catalog, recipe: Mapping[str, Any]) -> None:
    """Raise CxrError CXR-408 if the arguments or the cohort of a recipe name images, studies or patients.

    Looked at are quoted words and long numbers: those that resolve to an image, are the id of a study or a patient, or
    are a part of ids of fewer than ten patients; and conditions that compare an id with a number. What a condition
    leaves out is a person's id as much as what it lets in.
    """
    texts = [recipe["split_name"], *_strings(recipe["arguments"])]
    if recipe["cohort"] is not None:
        texts += [recipe["cohort"]["name"], recipe["cohort"]["text"]]
    words = sorted({word for text in texts for word in _words(text)})
    if words and (found := _first_id(catalog, words)) is not None:
        raise _holds(found)
    for text in texts:
        if compared := _COMPARED.search(text):
            raise _holds(f"{compared.group(1)} is compared with a number")


def _holds(what: str) -> CxrError:
    return CxrError(
        "CXR-408",
        f"the recipe would name images or patients: {what}",
        fix="choose them by what they are (view, age, labels) rather than by id; where that cannot be, share the split within the terms of the data",
    )


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _strings(one)


def _words(text: str) -> Iterator[str]:
    """What could be an id in a text: the text itself if it is one word, quoted words, long numbers."""
    if not re.search(r"\s", text):
        yield text
    for match in _LITERAL.finditer(text):
        yield match.group(1).replace("''", "'").strip().strip(_WILDCARDS)
    yield from _LONG_NUMBER.findall(text)


def _first_id(catalog: Catalog, words: list[str]) -> str | None:
    """What the first of the words that is an id, or a part of one, names; without the id itself."""
    images = catalog.table("images").select("dataset", "image_id", "patient_id", "study_id").collect()
    named = pl.Series(words)
    if (known := resolve(named, KeyIndex.of(images))["dataset"].drop_nulls()).len():
        return f"an image of {known[0]}"
    for column, what in (("patient_id", "a patient"), ("study_id", "a study")):
        # Short numbers are patients of NIH, and much else besides: they count where an id is compared with them.
        ids = images.filter(
            pl.col(column).is_in([word for word in words if len(word) >= _PART_LENGTH or not word.isdigit()])
        )
        if not ids.is_empty():
            return f"{what} of {ids['dataset'][0]}"
    for word in words:
        if len(word) >= _PART_LENGTH and re.search(r"\d", word):
            hits = images.filter(
                pl.any_horizontal(pl.col("image_id", "patient_id", "study_id").str.contains(word, literal=True))
            )
            patients = hits.select(pl.struct("dataset", pl.coalesce("patient_id", "image_id"))).n_unique()
            if 0 < patients < _FEW_PATIENTS:
                return f"a part of an id that {patients} patient{'s share' if patients > 1 else ' alone has'} in {hits['dataset'][0]}"
    return None
