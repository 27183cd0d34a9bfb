"""Which file of MIMIC-CXR-JPG or MIMIC-IV a CSV is, and in which form.

MIMIC-CXR-JPG 2.1.0 keeps the names `mimic-cxr-2.0.0-…`, and MIMIC-IV moved `admissions` from `core/` to `hosp/`
and renamed its column `ethnicity` to `race` at once: headers tell, releases and folders do not.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrdata.sources.textfile import Head

RACE_COLUMNS = ("race", "ethnicity")


def variant(role: str, head: Head) -> str:
    """`race` (33 values) or `ethnicity` (8) for the admissions; empty for the other files."""
    if role != "admissions":
        return ""
    return next(column for column in RACE_COLUMNS if column in head.fields)


def role(file_name: str, head: Head, roles: Sequence[str]) -> str:  # noqa: ARG001 - the signature of every source
    """Which labeler a file of labels is from: the two files have one header, so only the name can tell.

    A name that says neither is taken for `chexpert`; the reader counts that as an ambiguity.
    """
    named = named_labeler(file_name)
    return named if named is not None and named in roles else roles[0]


def named_labeler(file_name: str) -> str | None:
    """The labeler that a file name speaks of, if it does."""
    name = PurePath(file_name).name.lower()
    return next((labeler for labeler in ("negbio", "chexpert") if labeler in name), None)
