"""Which groups are compared, and who leaves because it is in none."""

from __future__ import annotations

import re

import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.splits.groups import Compared, compared


def _members(counts: dict[tuple[str | None, ...], int], names: tuple[str, ...] = ("race",)) -> pl.DataFrame:
    """Images by (dataset, value, …)."""
    values = [key for key, n in counts.items() for _ in range(n)]
    columns = {name: [value[at] for value in values] for at, name in enumerate(("dataset", *names))}
    ids = [f"{at:05}" for at in range(len(values))]
    schema = dict.fromkeys(columns, pl.String)
    return pl.DataFrame(columns, schema=schema).with_columns(image_id=pl.Series(ids, dtype=pl.String))


def _refusal(members: pl.DataFrame, attributes: list[str], groups: list[str] | None = None, **wishes: bool) -> CxrError:
    with pytest.raises(CxrError) as caught:
        compared(members, attributes, groups or [], **wishes)
    return caught.value


def _images(part: Compared) -> list[tuple[str, int]]:
    return [(part.said(cell), part.rows.filter(cell=cell).height) for cell in range(len(part.cells))]


def test_default_groups() -> None:
    """At least 2 % of all images of the dataset, those without a value included; never Other and Multiple."""
    counts = {
        ("a", "White"): 560,
        ("a", "Black"): 20,
        ("a", "Asian"): 19,
        ("a", "Other"): 200,
        ("a", "Multiple"): 100,
        ("a", None): 101,
    }
    (part,), left_out = compared(_members(counts), ["race"])
    assert _images(part) == [("race Black", 20), ("race White", 560)]
    assert {(one["reason"], one["images"]) for one in left_out} == {
        ("race is Asian, under 2 % of the images", 19),
        ("race is Other, a category of the rest", 200),
        ("race is Multiple, a category of the rest", 100),
        ("race is null", 101),
    }


def test_label_groups() -> None:
    counts = {
        ("a", "positive"): 1,
        ("a", "negative"): 300,
        ("a", "uncertain"): 50,
        ("a", "unmentioned"): 40,
        ("a", None): 9,
    }
    (part,), left_out = compared(_members(counts, ("edema",)), ["edema"])
    assert _images(part) == [("edema negative", 300), ("edema positive", 1)]
    assert {(one["reason"], one["images"]) for one in left_out} == {
        ("edema is uncertain, neither positive nor negative", 50),
        ("edema is unmentioned, neither positive nor negative", 40),
        ("edema is null", 9),
    }


def test_cells_of_two_attributes_are_numbered_in_order() -> None:
    counts = {
        ("a", race, sex): n for n, (race, sex) in enumerate([("W", "M"), ("W", "F"), ("B", "M"), ("B", "F")], start=3)
    }
    (part,), left_out = compared(_members(counts, ("race", "sex")), ["race", "sex"])
    assert _images(part) == [("race B, sex F", 6), ("race B, sex M", 5), ("race W, sex F", 4), ("race W, sex M", 3)]
    assert part.table().rows() == [("a", "B", "F"), ("a", "B", "M"), ("a", "W", "F"), ("a", "W", "M")]
    assert left_out == []


def test_datasets_without_the_attribute_or_with_one_group_leave() -> None:
    counts = {("a", "F"): 5, ("a", "M"): 5, ("b", None): 7, ("c", "F"): 8, ("c", None): 2, ("d", "Other"): 3}
    parts, left_out = compared(_members(counts, ("sex",)), ["sex"])
    assert [part.dataset for part in parts] == ["a"]
    assert left_out == [
        {"dataset": "b", "reason": "the dataset does not say sex", "images": 7},
        {"dataset": "c", "reason": "sex has one group (F): nothing to balance", "images": 10},
        {"dataset": "d", "reason": "sex has no group: nothing to balance", "images": 3},
    ]


def test_pooled() -> None:
    counts = {("a", "F"): 5, ("b", "M"): 4, ("b", None): 1, ("c", None): 7}
    (part,), left_out = compared(_members(counts, ("sex",)), ["sex"], pool=True)
    assert (part.dataset, _images(part)) == (None, [("sex F", 5), ("sex M", 4)])
    assert left_out == [
        {"dataset": "c", "reason": "the dataset does not say sex", "images": 7},
        {"dataset": "b", "reason": "sex is null", "images": 1},
    ]


@pytest.mark.parametrize("groups", [["Other", "White"], ["race=White", "race=Other"], ["White", "race=Other", "White"]])
def test_named_groups(groups: list[str]) -> None:
    counts = {("a", "White"): 900, ("a", "Black"): 300, ("a", "Other"): 3}
    (part,), left_out = compared(_members(counts), ["race"], groups)
    assert _images(part) == [("race Other", 3), ("race White", 900)]
    assert left_out == [
        {"dataset": "a", "reason": "race is Black, not one of the groups that were named", "images": 300}
    ]


TWO = _members({("a", "White", "F"): 9, ("a", "Black", "M"): 9, ("a", "Asian", "F"): 9}, ("race", "sex"))


@pytest.mark.parametrize(
    ("attributes", "groups", "code", "problem", "fix"),
    [
        ([], [], "CXR-502", "no attribute is named to balance by", "for example --balance race"),
        (["rase"], [], "CXR-501", "the images have no attribute 'rase'; did you mean race?", "columns: dataset, race, sex, image_id"),
        (["sex", "sex"], [], "CXR-502", "'sex' is named twice", "name each attribute once"),
        (["race"], ["Whit", "Black"], "CXR-501", "no image is in a group 'Whit'; did you mean White?", "groups here: Asian, Black, White"),
        (["race", "sex"], ["sex=X"], "CXR-501", "no image is in a group 'sex=X'", "groups here: F, M"),
        (["race"], ["sex=F"], "CXR-501", "no image is in a group 'sex=F'", "groups here: Asian, Black, White"),
        (
            ["race"], ["White"], "CXR-502", "White is the only group of race that is named; nothing is left to compare it with",
            "name at least two of each attribute that you choose groups of",
        ),
    ],
)  # fmt: skip
def test_wrong_usage(attributes: list[str], groups: list[str], code: str, problem: str, fix: str) -> None:
    error = _refusal(TWO, attributes, groups)
    assert (error.code, error.problem, error.fix) == (code, problem, fix)


def test_ambiguous_group() -> None:
    members = _members({("a", "Other", "Other"): 2, ("a", "W", "M"): 2}, ("race", "sex"))
    error = _refusal(members, ["race", "sex"], ["Other"])
    assert (error.code, error.problem, error.fix) == (
        "CXR-502",
        "'Other' is a group of race and of sex",
        "say which, such as race=Other",
    )


def test_nothing_to_balance() -> None:
    error = _refusal(_members({("a", "F"): 3, ("b", None): 2}, ("sex",)), ["sex"])
    assert (error.code, error.problem) == (
        "CXR-410",
        "no dataset has groups of sex to balance (b: the dataset does not say sex; a: sex has one group (F): nothing to balance)",
    )


def test_empty_cells_are_refused_with_what_is_possible() -> None:
    counts = {("a", "W", "F"): 40, ("a", "W", "M"): 30, ("a", "B", "F"): 20, ("a", "B", "M"): 25, ("a", "A", "F"): 10}
    members = _members(counts, ("race", "sex"))
    error = _refusal(members, ["race", "sex"])
    assert (error.code, error.problem) == ("CXR-410", "a: 1 of 6 cells have no image: race A, sex M")
    assert error.fix == (
        '--groups "race=B,race=W,sex=F,sex=M" has at least 20 images in each of 4 cells; or --balance race has images in all cells; '
        "or leave a out with --dataset"
    )
    # What it says holds.
    named = re.search(r'--groups "(.*?)"', error.fix)
    assert named is not None
    (part,), _ = compared(members, ["race", "sex"], named[1].split(","))
    assert min(n for _, n in _images(part)) == 20


def test_empty_cells_where_no_groups_can_leave() -> None:
    """Two races, two sexes, one cell empty: nothing can be left out, so only fewer attributes help."""
    members = _members({("a", "W", "F"): 4, ("a", "W", "M"): 3, ("a", "B", "F"): 2}, ("race", "sex"))
    assert (
        _refusal(members, ["race", "sex"]).fix
        == "--balance race has images in all cells; or leave a out with --dataset"
    )
    assert _refusal(members, ["race", "sex"], pool=True).fix == "--balance race has images in all cells"


def test_many_empty_cells_are_counted() -> None:
    members = _members({("a", f"r{at}", f"s{at}"): 5 for at in range(4)}, ("race", "site"))
    assert _refusal(members, ["race", "site"]).problem == (
        "a: 12 of 16 cells have no image: race r0, site s1; race r0, site s2; race r0, site s3; and 9 more"
    )
