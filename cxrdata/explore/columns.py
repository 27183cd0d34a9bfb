"""Which number columns of a file are features, by their names, and how a note names them.

What a file says of patients beside its features (age in years, sex as 0 and 1) is what features are to be held against: as a
feature it would show a difference that no model made, and by its range it may be the first component by itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cxrdata.audit.names import LabelNames, plain
from cxrdata.errors import CxrError
from cxrdata.schemas.tables import IMAGES

# Beside the columns of `images`: what files call them, keys and parts of a split.
_OF_IMAGES = frozenset(
    {*IMAGES.columns, "age", "ages", "age_year", "age_month", "age_months", "gender", "is_male", "is_female", "patient", "subject",
     "subject_id", "study", "image", "id", "view_position", "follow_up", "insurance", "split", "fold", "label", "labels",
     "healthy", "disease"}
)  # fmt: skip
_PREDICTION = re.compile(r"(?i)(prob|logit)_.+|class_\d+")
_NUMBERED = re.compile(r"(.*?)\d+")
_MOST = 12  # columns outside the numbered ones that are named


def features_among(names: Sequence[str], labels: LabelNames) -> tuple[list[str], list[str]]:
    """Those that are features, and those that say something of the image or are predictions of it; the columns that share
    a name and are numbered are features whatever they are called, unless they are predictions."""
    numbered = set(_run(names))
    left = [
        name
        for name in names
        if _PREDICTION.fullmatch(name) or (name not in numbered and _is_known(plain(name), labels))
    ]
    return [name for name in names if name not in left], left


def check_no_predictions(taken: Sequence[str], left: Sequence[str], where: str) -> None:
    """Raise CxrError CXR-120 where what there are instead of features is predictions."""
    said = [name for name in left if _PREDICTION.fullmatch(name)]
    if said and len(taken) < 2:
        raise CxrError(
            "CXR-120",
            f"the file holds predictions ({said[0]}{', …' if len(said) > 1 else ''}), not features",
            where=where,
            fix="name the features of the same model (`cxrdata embed`), and this file with --predictions",
        )


def named(names: Sequence[str], few: int) -> str:
    """The columns as a note names them: of more than `few` numbered ones the first two and the last, all others."""
    numbered = _run(names)
    others = [name for name in names if name not in set(numbered)]
    shown = ", ".join(numbered if len(numbered) <= few else [*numbered[:2], "…", numbered[-1]])
    more = f" and {len(others) - _MOST:,} more" if len(others) > _MOST else ""
    return "; and ".join(part for part in (shown, ", ".join(others[:_MOST]) + more) if part)


def _run(names: Sequence[str]) -> list[str]:
    """The longest run of columns that are called the same but for a number."""
    runs: dict[str, list[str]] = {}
    for name in names:
        if (matched := _NUMBERED.fullmatch(name)) and not _PREDICTION.fullmatch(name):
            runs.setdefault(matched[1], []).append(name)
    longest: list[str] = max(runs.values(), key=len, default=[])
    return longest if len(longest) > 1 else []


def _is_known(name: str, labels: LabelNames) -> bool:
    """Whether a plain name is that of an attribute, a key or a label."""
    words = {name, name.removeprefix("patient_"), name.removeprefix("patients_")}
    return bool(words & _OF_IMAGES) or labels.find(name) is not None
