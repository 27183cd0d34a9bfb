"""The columns that every row of the audit begins and ends with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cxrdata.audit.data import OVERALL, UNSTABLE
from cxrdata.audit.intervals import Interval
from cxrdata.audit.subject import Part, Subject
from cxrdata.wording import counted


def head(subject: Subject, part: Part, group: int | None) -> dict[str, Any]:
    """What every row begins with. group: null for a row about all groups of a part."""
    scored = subject.scored
    return {
        "model": scored.model,
        "label": scored.label,
        "truth": scored.truth,
        "policy": scored.policy,
        "group_by": part.by,
        "group_value": None if group is None else part.values[group],
        "n": int(part.n.sum() if group is None else part.n[group]),
        "n_positive": int(part.n_positive.sum() if group is None else part.n_positive[group]),
    }


def is_masked(subject: Subject, part: Part, group: int) -> bool:
    """Too few patients to be shown; a group of nobody has nothing to hide, and everybody is no cell."""
    return part.by != OVERALL and 0 < part.n_patients[group] < subject.request.min_cell


def masked(subject: Subject) -> dict[str, Any]:
    """What a masked row holds instead of its figures; N stands in every row."""
    return {"n_positive": None, "note": f"masked: fewer than {subject.request.min_cell} patients"}


def interval_columns(subject: Subject, found: Interval, notes: Sequence[str]) -> dict[str, Any]:
    """The columns of a row that say how sure it is."""
    return {
        "ci_low": None if math.isnan(found.low) else found.low,
        "ci_high": None if math.isnan(found.high) else found.high,
        "method": found.method or None,
        "seed": subject.request.seed if "bootstrap" in found.method else None,
        "note": "; ".join(note for note in notes if note) or None,
    }


def unstable(n_positive: int, n_negative: int) -> str:
    """A warning where a class is too small for its figures to mean much."""
    if n_positive < UNSTABLE:
        return f"unstable: {counted(n_positive, 'positive')}"
    return f"unstable: {counted(n_negative, 'negative')}" if n_negative < UNSTABLE else ""
