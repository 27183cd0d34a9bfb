"""Counts in sentences, values in names of columns."""

from __future__ import annotations

import re

_HISSING = ("s", "x", "ch", "sh")


def counted(n: int, noun: str) -> str:
    """A number and what it counts: `1 row`, `2,000 rows`, `3 boxes`. Of several words the last is put in the plural."""
    if n == 1:
        return f"{n:,} {noun}"
    return f"{n:,} {noun}{'es' if noun.endswith(_HISSING) else 's'}"


def slug(value: str) -> str:
    """A value as part of a column's name: lower case, anything else but letters and digits an underscore."""
    return re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_")
