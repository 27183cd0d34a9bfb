"""Counts in sentences."""

from __future__ import annotations

import pytest

from cxrdata.wording import counted


@pytest.mark.parametrize(
    ("n", "noun", "text"),
    [
        (0, "row", "0 rows"),
        (1, "row", "1 row"),
        (2, "row", "2 rows"),
        (112_120, "official image", "112,120 official images"),
        (1, "box", "1 box"),
        (3, "box", "3 boxes"),
        (2, "patch", "2 patches"),
    ],
)
def test_counted(n: int, noun: str, text: str) -> None:
    assert counted(n, noun) == text
