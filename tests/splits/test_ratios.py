"""Shares of the splits and the whole numbers that follow them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrdata.errors import CxrError
from cxrdata.splits.ratios import Ratios

FIX = "give train,valid,test or train,test, for example --ratios 0.6,0.1,0.3"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the ratios '' are not numbers separated by commas"),
        ("a,b", "the ratios 'a,b' are not numbers separated by commas"),
        ("0.5;0.5", "the ratios '0.5;0.5' are not numbers separated by commas"),
        ("1", "1 ratios were given"),
        ("0.25,0.25,0.25,0.25", "4 ratios were given"),
        ("0.5,0.6", "the ratios 0.5,0.6 sum to 1.1, not to 1"),
        ("0.6,0.1,0.2", "the ratios 0.6,0.1,0.2 sum to 0.9, not to 1"),
        ("0,1", "each ratio must be above 0, got 0,1"),
        ("1.2,-0.2", "each ratio must be above 0, got 1.2,-0.2"),
        ("nan,0.5", "each ratio must be above 0, got nan,0.5"),
        ("inf,0.5", "each ratio must be above 0, got inf,0.5"),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(CxrError) as caught:
        Ratios.parse(text)
    assert (caught.value.code, caught.value.problem, caught.value.fix) == ("CXR-502", problem, FIX)


def test_parsed() -> None:
    three = Ratios.parse("0.6, 0.1, 0.3")
    assert (three.names, three.shares, str(three)) == (("train", "valid", "test"), (0.6, 0.1, 0.3), "0.6,0.1,0.3")
    assert three.bounds == (0.6, 0.7, 1.0)
    assert Ratios.parse("0.8,0.2").names == ("train", "test")


def test_without() -> None:
    rest = Ratios.parse("0.6,0.1,0.3").without(["test"])
    assert rest.names == ("train", "valid")
    assert rest.shares == pytest.approx((6 / 7, 1 / 7))


def test_quotas_by_value() -> None:
    ratios = Ratios.parse("0.7,0.1,0.2")
    assert [ratios.quotas(total) for total in (0, 1, 5, 10, 1001)] == [
        (0, 0, 0),
        (1, 0, 0),
        (4, 0, 1),
        (7, 1, 2),
        (701, 100, 200),
    ]


@given(st.lists(st.integers(1, 50), min_size=2, max_size=3), st.integers(0, 100_000))
def test_quotas(parts: list[int], total: int) -> None:
    ratios = Ratios(("train", "valid", "test")[: len(parts)], tuple(part / sum(parts) for part in parts))
    quotas = ratios.quotas(total)
    assert sum(quotas) == total
    assert all(abs(quota - total * part / sum(parts)) < 1 for quota, part in zip(quotas, parts, strict=True))
