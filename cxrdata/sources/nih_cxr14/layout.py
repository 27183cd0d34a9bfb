"""Variants of the NIH ChestX-ray14 metadata, told apart by content (two share a name).

A: the original, ages with a unit (`058Y`). B: Kaggle's copy, the unit stripped.
C: v2020, no trailing comma, `Patient Gender`. D: v2020, `Patient Sex`.
"""

from __future__ import annotations

import re

from cxrdata.sources.textfile import Head

_WITH_UNIT = re.compile(r"\d+[YMDW]$", re.IGNORECASE)


def variant(role: str, head: Head) -> str:
    """`A`, `B`, `C` or `D` for the metadata; empty for the other files."""
    if role != "images":
        return ""
    if "Patient Sex" in head.fields:
        return "D"
    if any(_WITH_UNIT.fullmatch(age.strip()) for age in head.column("Patient Age")):
        return "A"
    # B comes from A and keeps its stray comma.
    return "B" if head.trailing_comma else "C"
