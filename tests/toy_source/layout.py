"""The two releases of the toy dataset, told apart by content."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxrdata.sources.textfile import Head


def variant(role: str, head: Head) -> str:
    """`coded` where the films' findings are 0 and 1, `words` where they are yes and no; else empty."""
    if role != "films":
        return ""
    return "words" if {"yes", "no"}.intersection(head.column("large heart")) else "coded"
