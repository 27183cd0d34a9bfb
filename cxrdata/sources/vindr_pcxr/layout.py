"""VinDr-PCXR has one edition; training and test files differ in their names alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxrdata.sources.textfile import Head


def variant(role: str, head: Head) -> str:  # noqa: ARG001 - every layout has the same signature
    """Empty: there is one edition."""
    return ""
