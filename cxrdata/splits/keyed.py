"""Numbers that depend on a key and a seed alone: what places patients, chooses images and draws.

The rule, so that anyone can repeat it without this package: the first 16 hexadecimal digits of the MD5 of the UTF-8
text `purpose|seed|dataset|key`, read as one number; divided by 2^64 it is the key's fraction in [0, 1).
No other row, no order of rows and no engine has a part in it.
"""

from __future__ import annotations

from hashlib import md5

import numpy as np
import polars as pl

PLACE = "place"  # which split a patient falls into
FOLD = "fold"  # which fold a patient outside the test falls into
KEEP = "keep"  # which images of a patient or a cell are kept
DRAW = "draw"  # which images are drawn how often
_RANGE = 2**64


def keyed_numbers(purpose: str, seed: int, dataset: pl.Series, key: pl.Series) -> pl.Series:
    """One unsigned 64-bit number a row. `dataset` and `key` are text without nulls, of equal length."""
    head = pl.lit(f"{purpose}|{seed}|")
    texts = pl.select((head + dataset + pl.lit("|") + key).cast(pl.Binary)).to_series().to_list()
    digests = b"".join([md5(text, usedforsecurity=False).digest() for text in texts])
    return pl.Series("number", np.frombuffer(digests, ">u8")[::2].astype("u8"), dtype=pl.UInt64)


def fractions(numbers: pl.Series) -> pl.Series:
    """Keyed numbers as fractions in [0, 1), exact to double precision."""
    return (numbers.cast(pl.Float64) / _RANGE).alias("fraction")
