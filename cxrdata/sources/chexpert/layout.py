"""CheXpert's CSV files, told apart by content as far as it goes.

train.csv, valid.csv, train_cheXbert.csv and train_visualCheXbert.csv have the same nineteen columns. The paths
tell valid and test. Among files of training images an official name decides: many people keep a train.csv with its
blanks filled with zeros. Under any other name visualCheXbert is known by its labels, 0 and 1 with no blank among them;
nothing in train_cheXbert.csv tells it from train.csv but its name. The individual readers' labels of the test set have the header of the
majority's (groundtruth.csv): there, too, the name decides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cxrdata.sources.chexpert.labels import LABELS
from cxrdata.sources.chexpert.paths import SPLIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrdata.sources.textfile import Head

# Of training images, each called after its official file.
_TRAIN_ROLES = ("train", "train_chexbert", "train_visualchexbert")
_ROOTS = {"CheXpert-v1.0-small": "small", "CheXpert-v1.0": "full"}


def variant(role: str, head: Head) -> str:
    """`small`, `full` or `batches` by the root that the paths begin with, `plus` for CheXpert Plus; else empty."""
    if role == "plus":
        return "plus"
    paths = head.column("Path") if "Path" in head.fields else []
    root = paths[0].split("/")[0] if paths else ""
    return "batches" if " batch " in root else _ROOTS.get(root, "")


def role(name: str, head: Head, roles: Sequence[str]) -> str:
    """Which of the `roles` that fit the header the file has."""
    file_name = name.lower()
    if "test_readers" in roles:
        return "test_studies" if "groundtruth" in file_name or "ground_truth" in file_name else "test_readers"
    split = _split(head)
    if "valid_labels" in roles:
        return "valid_labels" if split == "valid" else "test_labels"
    if split in ("valid", "test"):
        return split
    stem = file_name.removesuffix(".gz").removesuffix(".csv")
    if stem in _TRAIN_ROLES:
        return stem
    if _is_binary(head):
        return "train_visualchexbert"
    return "train_chexbert" if "chexbert" in file_name else "train"


def _split(head: Head) -> str:
    """The split that most of the first paths name."""
    splits = [match[1] for path in head.column("Path") if (match := re.search(SPLIT, path))]
    return max(("train", "valid", "test"), key=splits.count) if splits else "train"


def _is_binary(head: Head) -> bool:
    """Whether no label is blank or uncertain. Forty rows of train.csv or CheXbert have hundreds of blanks."""
    cells = {cell.strip() for label in LABELS for cell in head.column(label)}
    return bool(cells) and cells <= {"0", "0.0", "1", "1.0"}
