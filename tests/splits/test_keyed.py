"""Numbers that depend on a key and a seed alone."""

from __future__ import annotations

import hashlib
import random

import polars as pl
import pytest

from cxrdata.splits.keyed import DRAW, FOLD, KEEP, PLACE, fractions, keyed_numbers


def _numbers(purpose: str, seed: int, pairs: list[tuple[str, str]]) -> list[int]:
    frame = pl.DataFrame(pairs, schema={"dataset": pl.String, "key": pl.String}, orient="row")
    return keyed_numbers(purpose, seed, frame["dataset"], frame["key"]).to_list()


def test_rule_as_documented() -> None:
    """The first 16 hexadecimal digits of the MD5 of `purpose|seed|dataset|key`, spelt out by value."""
    assert _numbers(PLACE, 0, [("chexpert", "patient00001")]) == [0x17C82DCB120B7650]
    expected = int(hashlib.md5("keep|7|padchest|Ñ 1.png".encode()).hexdigest()[:16], 16)
    assert _numbers(KEEP, 7, [("padchest", "Ñ 1.png")]) == [expected]


def test_only_the_key_counts() -> None:
    pairs = [(dataset, f"p{at}") for dataset in ("a", "b") for at in range(50)]
    alone = {pair: _numbers(PLACE, 3, [pair])[0] for pair in pairs}
    assert len(set(alone.values())) == len(pairs)
    mixed = random.Random(0).sample(pairs, len(pairs))
    assert _numbers(PLACE, 3, mixed) == [alone[pair] for pair in mixed]


@pytest.mark.parametrize("other", [(FOLD, 0), (KEEP, 0), (DRAW, 0), (PLACE, 1)])
def test_purpose_and_seed_count(other: tuple[str, int]) -> None:
    pairs = [("a", f"p{at}") for at in range(4)]
    assert not set(_numbers(PLACE, 0, pairs)) & set(_numbers(*other, pairs))


def test_fractions_are_even() -> None:
    """Of 20,000 keys each tenth of [0, 1) holds a tenth, within five standard errors; ends are in order."""
    found = fractions(pl.Series(_numbers(PLACE, 0, [("a", str(at)) for at in range(20_000)]), dtype=pl.UInt64))
    shares = (found * 10).floor().value_counts()["count"]
    assert shares.len() == 10
    assert all(abs(n - 2000) < 5 * (20_000 * 0.09) ** 0.5 for n in shares)
    assert fractions(pl.Series([0, 2**63], dtype=pl.UInt64)).to_list() == [0.0, 0.5]


def test_no_keys() -> None:
    assert _numbers(PLACE, 0, []) == []
