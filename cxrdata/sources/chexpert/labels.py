"""The fourteen observations of CheXpert as each labeler gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cxrdata.harmonise.labels import codes_from_numbers
from cxrdata.sources.base import NEGATIVE, POSITIVE, UNCERTAIN, UNMENTIONED, LabelerStates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrdata.sources.account import Account

LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
# Labelers that only ever say present or absent; their blank cell was not assessed.
BINARY = ("radiologist", "visualchexbert")


def coded(frame: pl.DataFrame, labeler: str, account: Account, source_file: str) -> pl.DataFrame:
    """`frame` with the text of LABELS replaced by codes, as `labeler` means blanks.

    A report labeler's blank is a finding that the report does not mention (stanfordmlgroup/chexpert-labeler,
    issue 9). Cells outside the labeler's coding are reported (CXR-305) and null.
    """
    binary = labeler in BINARY
    return codes_from_numbers(
        frame,
        LABELS,
        blank=None if binary else UNMENTIONED,
        account=account,
        source_file=source_file,
        allowed=(POSITIVE, NEGATIVE) if binary else (POSITIVE, NEGATIVE, UNCERTAIN),
    )


def states(frames: Sequence[pl.DataFrame], labeler: str, account: Account) -> LabelerStates | None:
    """The coded `frames` (`image_id` and LABELS) as one labeler's word, or None where it says nothing.

    A row with all fourteen cells blank is no report without findings (that has No Finding) but one that was not
    labelled: the image is left out as not assessed.
    """
    together = _first_word(frames, labeler, account)
    if together.is_empty():
        return None
    blank = pl.all_horizontal(pl.col(LABELS).eq_missing(UNMENTIONED) | pl.col(LABELS).is_null())
    labelled = together.filter(~blank)
    unlabelled = together.height - labelled.height
    if unlabelled:
        account.note(
            "coverage",
            labeler,
            unlabelled,
            "images listed with all labels blank; they count as not assessed by this labeler",
        )
    if labelled.is_empty():
        return None
    return LabelerStates(labeler, labelled.with_columns(closed_world=pl.lit(value=False)))


def _first_word(frames: Sequence[pl.DataFrame], labeler: str, account: Account) -> pl.DataFrame:
    """One row an image: the first file's, where several label it."""
    together = pl.concat([frame.select("image_id", *LABELS) for frame in frames])
    if len(frames) == 1:
        return together
    distinct = together.unique(maintain_order=True, keep="first")
    first = distinct.unique("image_id", maintain_order=True, keep="first")
    if distinct.height > first.height:
        account.note(
            "disagreement",
            labeler,
            distinct.height - first.height,
            "images that two files label differently; the first file counts (see precedence)",
        )
    return first
