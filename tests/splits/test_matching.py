"""Thinning adults to the children's distribution."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrdata.splits.matching import largest_following, thinned
from cxrdata.splits.ratios import Ratios


@pytest.mark.parametrize(
    ("shape", "most", "expected"),
    [
        ((1, 1), (5, 3), (4, 3)),  # of 7 each has 3.5, within one; of 8 it would be 4 and 4
        # The first is the scarce one: 97 of 1,456 children, 116 of 1,747 adults.
        ((97, 583, 126, 650), (116, 782, 187, 976), (116, 700, 151, 780)),
        ((3, 1), (3, 1), (3, 1)),
        ((3, 1), (100, 1), (5, 1)),  # of 6 it is 4.5 and 1.5; of 7 5.25 and 1.75, which the second cannot give
        ((5, 0), (7, 9), (7, 0)),
        ((0, 0), (7, 9), (0, 0)),
        ((1,), (4,), (4,)),
    ],
)
def test_by_hand(shape: tuple[int, ...], most: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert largest_following(shape, most) == expected


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=4))
def test_largest_by_brute_force(cells: list[tuple[int, int]]) -> None:
    shape, most = zip(*cells, strict=True)
    found = largest_following(shape, most)
    if not sum(shape):
        assert sum(found) == 0
        return
    ratios = Ratios(tuple(map(str, shape)), tuple(map(float, shape)))
    fits = [
        size for size in range(sum(most) + 1) if all(q <= m for q, m in zip(ratios.quotas(size), most, strict=True))
    ]
    assert sum(found) == max(fits)
    assert found == ratios.quotas(sum(found))
    assert all(abs(n - sum(found) * of / sum(shape)) < 1 for n, of in zip(found, shape, strict=True))


def _people(cells: list[tuple[str | None, str | None, int]], *, first: int = 0) -> pl.DataFrame:
    rows = [(sex, view) for sex, view, n in cells for _ in range(n)]
    frame = pl.DataFrame(rows, schema={"sex": pl.String, "view": pl.String}, orient="row")
    at = pl.int_range(pl.len()) + first
    return frame.with_columns(image_id=at.cast(pl.String).str.zfill(4), number=(at * 7919 % 1009).cast(pl.UInt64))


def test_thinned_in_order_of_number_null_a_value_of_its_own() -> None:
    adults = _people([("F", "PA", 6), ("M", "PA", 4), (None, "PA", 4), ("M", "AP", 2)])
    children = _people([("F", "PA", 2), ("M", "PA", 4), (None, "PA", 2)])
    found = thinned(adults.sample(fraction=1, shuffle=True, seed=3), children, ["sex", "view"])
    assert found.cells.rows() == [
        ("F", "PA", 2, 6, 2),
        ("M", "AP", 0, 2, 0),
        ("M", "PA", 4, 4, 4),
        (None, "PA", 2, 4, 2),
    ]
    leaving = set(found.leaving["image_id"])
    for sex in ("F", None):
        of_sex = adults.filter(pl.col("sex").eq_missing(pl.lit(sex))).sort("number")["image_id"].to_list()
        assert [image in leaving for image in of_sex] == [False] * 2 + [True] * (len(of_sex) - 2)
    assert found.leaving.height == 8
    assert found.notes == []
    assert found.leaving.columns == adults.columns


def test_children_without_an_adult_are_said() -> None:
    adults = _people([("F", "PA", 6), ("M", "PA", 6)])
    children = _people([("F", "PA", 3), ("M", "PA", 2), ("F", None, 4), ("M", "AP", 1), ("O", "AP", 1), ("O", "PA", 1)])
    found = thinned(adults, children, ["sex", "view"])
    first = "7 of 12 children have no healthy adult of the test to match"
    groups = (
        "sex F, view None: 4 children; sex M, view AP: 1 children; sex O, view AP: 1 children; and 1 more such groups"
    )
    assert found.notes == [f"{first} ({groups})"]
    assert found.cells.filter(pl.col("adults") > 0).rows() == [("F", "PA", 3, 6, 6), ("M", "PA", 2, 6, 4)]


def test_nothing_in_common() -> None:
    found = thinned(_people([("F", "PA", 6)]), _people([("M", "PA", 2)]), ["sex"])
    assert found.leaving.height == 6
    assert found.notes == [
        "2 of 2 children have no healthy adult of the test to match (sex M: 2 children)",
        "no healthy adult of the test is left by the matching",
    ]
