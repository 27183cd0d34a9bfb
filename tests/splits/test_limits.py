"""At most and at least so many images a patient."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrdata.errors import CxrError
from cxrdata.splits.keyed import KEEP, keyed_numbers
from cxrdata.splits.limits import at_least, at_most

# One patient's five images, and one image of another patient and of another dataset's patient of the same name.
MEMBERS = pl.DataFrame(
    [
        ("a", "i1", "p", 2, "20200101", False, True),
        ("a", "i2", "p", 1, "20200109", None, False),
        ("a", "i3", "p", 1, "20200101", True, False),
        ("a", "i4", "p", None, None, True, True),
        ("a", "i5", "p", 2, None, False, None),
        ("a", "j1", "q", 1, None, False, False),
        ("b", "i1", "p", 1, None, True, True),
    ],
    schema=["dataset", "image_id", "unit", "study_order", "study_date", "frontal", "labelled"],
    orient="row",
)


def _kept(k: int, keep: str, seed: int = 0) -> list[str]:
    kept = at_most(MEMBERS, k, seed=seed, keep=keep)
    assert kept.columns == MEMBERS.columns
    assert {("a", "j1"), ("b", "i1")} <= set(kept.select("dataset", "image_id").rows())
    return kept.filter(dataset="a", unit="p")["image_id"].to_list()


def _by_hash(ids: list[str], seed: int = 0) -> list[str]:
    numbers = keyed_numbers(KEEP, seed, pl.Series(["a"] * len(ids)), pl.Series(ids))
    return [image for _, image in sorted(zip(numbers.to_list(), ids, strict=True))]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6])
def test_each_way_to_keep(k: int) -> None:
    everyone = [f"i{at}" for at in range(1, 6)]
    assert _kept(k, "hash") == sorted(_by_hash(everyone)[:k])
    assert _kept(k, "first") == sorted(["i3", "i2", "i1", "i5", "i4"][:k])
    assert _kept(k, "frontal") == sorted([*_by_hash(["i3", "i4"]), *_by_hash(["i1", "i2", "i5"])][:k])
    assert _kept(k, "labelled") == sorted([*_by_hash(["i1", "i4"]), *_by_hash(["i2", "i3", "i5"])][:k])


def test_seed_counts() -> None:
    assert len({tuple(_kept(2, "hash", seed)) for seed in range(20)}) > 3


def test_first_without_dates() -> None:
    assert at_most(MEMBERS.select("dataset", "image_id", "unit"), 2, seed=0, keep="first")["image_id"].to_list() == [
        "i1",
        "i2",
        "j1",
        "i1",
    ]


def test_at_least() -> None:
    assert at_least(MEMBERS, 1).equals(MEMBERS)
    assert at_least(MEMBERS, 2).equals(MEMBERS.filter(dataset="a", unit="p"))
    assert at_least(MEMBERS, 6).is_empty()


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 4)), max_size=30),
    st.integers(1, 4),
)
def test_limits_in_any_order(drawn: list[tuple[str, int]], k: int) -> None:
    rows = [(dataset, f"i{at}", f"p{patient}") for at, (dataset, patient) in enumerate(drawn)]
    schema = {"dataset": pl.String, "image_id": pl.String, "unit": pl.String}
    members = pl.DataFrame(rows, schema=schema, orient="row").sort("dataset", "image_id")
    sizes = members.group_by("dataset", "unit").len()
    most, least = at_most(members, k, seed=1), at_least(members, k)
    assert most.height == sizes["len"].clip(upper_bound=k).sum()
    assert least.height == sizes.filter(pl.col("len") >= k)["len"].sum()
    mixed = members.sample(fraction=1, shuffle=True, seed=k)
    assert at_most(mixed, k, seed=1).sort("dataset", "image_id").equals(most)
    # Another dataset has no part in who stays.
    assert at_most(members.filter(dataset="a"), k, seed=1).equals(most.filter(dataset="a"))


@pytest.mark.parametrize(
    ("k", "keep", "code", "problem", "fix"),
    [
        (0, "hash", "CXR-502", "a patient cannot be limited to 0 images", "give a number of at least 1"),
        (1, "last", "CXR-502", "images cannot be kept by 'last'", "one of first, hash, frontal, labelled"),
        (1, "frontal", "CXR-501", "the images have no column 'frontal', by which they are to be kept", "keep by hash"),
    ],
)
def test_refused(k: int, keep: str, code: str, problem: str, fix: str) -> None:
    with pytest.raises(CxrError) as caught:
        at_most(MEMBERS.drop("frontal"), k, seed=0, keep=keep)
    assert (caught.value.code, caught.value.problem, caught.value.fix) == (code, problem, fix)


def test_at_least_none_refused() -> None:
    with pytest.raises(CxrError, match="a patient cannot be limited to -1 images"):
        at_least(MEMBERS, -1)
