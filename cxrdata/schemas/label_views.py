"""The views `image_labels` and `image_labels_rolled`: what they show, column by column."""

from __future__ import annotations

from collections.abc import Mapping

from cxrdata.schemas.names import LABEL_VIEWS

_HOW = {LABEL_VIEWS[0]: "as published, never rolled up", LABEL_VIEWS[1]: "positives carried up the finding tree"}


def describe_label_view(view: str, findings: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The description of a view and of its columns; `findings` maps each finding to its title."""
    columns = {
        "dataset": "Dataset.",
        "image_id": "Image key within the dataset.",
        "labeler": "The labeler of the whole row: the first of the dataset's preference that assessed the image.",
    }
    for finding, title in findings.items():
        columns[finding] = f"{title}: 1 positive, 0 negative, -1 uncertain, null not assessed or not mentioned."
    return f"One row an image, one column a canonical finding, {_HOW[view]}.", columns
