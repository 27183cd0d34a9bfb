"""The two editions of VinDr-CXR: PhysioNet's, and the training part that Kaggle distributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxrdata.sources.textfile import Head


def variant(role: str, head: Head) -> str:  # noqa: ARG001 - every layout has the same signature
    """`kaggle` for the competition's table, `physionet` for the four files of PhysioNet."""
    return "kaggle" if role == "kaggle" else "physionet"
