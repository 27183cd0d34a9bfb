"""Counts in sentences."""

from __future__ import annotations

_HISSING = ("s", "x", "ch", "sh")


def counted(n: int, noun: str) -> str:
    """A number and what it counts: `1 row`, `2,000 rows`, `3 boxes`. Of several words the last is put in the plural."""
    if n == 1:
        return f"{n:,} {noun}"
    return f"{n:,} {noun}{'es' if noun.endswith(_HISSING) else 's'}"
