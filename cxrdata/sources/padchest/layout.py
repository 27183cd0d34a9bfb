"""PadChest has one table in one format; only gzip or not differs, and that is no variant of the content."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxrdata.sources.textfile import Head


def variant(role: str, head: Head) -> str:  # noqa: ARG001 - the signature is that of every source
    """Always empty."""
    return ""
