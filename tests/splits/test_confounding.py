"""How far age goes together with dataset, view and sex."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrdata.splits.confounding import confounding, cramers_v


def _images(rows: list[tuple[str | None, str, str | None, str | None, int]]) -> pl.DataFrame:
    """age group, dataset, view, sex, how many such images."""
    columns = ["age_group", "dataset", "view", "sex"]
    return pl.DataFrame(
        [row[:-1] for row in rows for _ in range(row[-1])], schema=dict.fromkeys(columns, pl.String), orient="row"
    )


def test_by_hand() -> None:
    """[[20, 10], [10, 20]]: chi-squared 20/3, phi² 1/9; corrected 1/9 - 1/59 over 1 - 1/59."""
    assert cramers_v([[20, 10], [10, 20]]) == pytest.approx(math.sqrt((1 / 9 - 1 / 59) / (1 - 1 / 59)), abs=1e-12)


def test_three_columns_by_hand() -> None:
    """[[10, 20, 30], [6, 9, 17]]: phi² 0.003 is below the correction, 2/91. The other: expected counts 35, 20, 35 a row."""
    assert cramers_v([[10, 20, 30], [6, 9, 17]]) == 0
    table = [[60, 20, 10], [10, 20, 60]]
    phi_squared = 4 * 625 / 35 / 180
    expected = math.sqrt((phi_squared - 2 / 179) / (2 - 1 / 179 - 1))
    assert cramers_v(table) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([[30, 0], [0, 50]], 1.0),
        ([[3, 0, 0], [0, 5, 0]], 1.0),  # an empty column does not count
        ([[10, 10], [10, 10]], 0.0),
        ([[10, 10], [0, 0]], None),
        ([[5], [7]], None),
        ([], None),
        ([[0, 0], [0, 0]], None),
        ([[1, 0], [0, 1]], None),  # two images: the correction leaves nothing
    ],
)
def test_ends_of_the_scale(table: list[list[int]], expected: float | None) -> None:
    assert cramers_v(table) == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), min_size=2, max_size=4))
def test_between_0_and_1_and_the_same_transposed(table: list[list[int]]) -> None:
    value = cramers_v(table)
    assert value is None or 0 <= value <= 1
    turned = cramers_v(list(zip(*table, strict=True)))
    assert (value is None) == (turned is None)
    if value is not None:
        assert turned == pytest.approx(value, abs=1e-9)


def test_counts_and_associations() -> None:
    rows = _images(
        [
            ("pediatric", "p", None, "F", 6),
            ("pediatric", "p", None, "M", 2),
            ("pediatric", "n", "PA", "F", 2),
            ("adult", "n", "PA", "F", 10),
            ("adult", "n", "AP", None, 10),
            (None, "n", "AP", "F", 4),
        ]
    )
    found = confounding(rows)
    assert (found.largest_dataset, found.largest_share, found.without_age_group) == ("p", 0.8, 4)
    assert found.counts.filter(attribute="view").rows() == [
        ("view", "AP", 0, 10, 0.0, 0.5),
        ("view", "PA", 2, 10, 0.2, 0.5),
        ("view", None, 8, 0, 0.8, 0.0),
    ]
    by_name = {row["attribute"]: row for row in found.associations.to_dicts()}
    assert by_name["dataset"]["cramers_v"] == cramers_v([[8, 0], [2, 20]])
    assert (by_name["view"]["images"], by_name["view"]["unknown"]) == (22, 8)
    assert by_name["view"]["cramers_v"] == cramers_v([[0, 10], [2, 10]])
    assert by_name["view"]["cramers_v_with_unknown"] == cramers_v([[0, 10], [2, 10], [8, 0]])
    assert by_name["sex"]["cramers_v"] == cramers_v([[8, 10], [2, 0]])
    assert found.sentences()[0] == "80% of the children are from p"
    assert found.sentences()[2].startswith("age and view: Cramér's V ") and "the 8 unknown" in found.sentences()[2]
    assert found.report()["its_share_of_children"] == 0.8


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([("adult", "n", "PA", "F", 5), ("adult", "m", "AP", "F", 5)], "it is known of no child"),
        ([("pediatric", "n", "PA", "F", 5), ("pediatric", "m", "PA", "F", 5)], "it is known of no adult"),
        ([("pediatric", "n", None, "F", 5), ("adult", "n", None, "F", 5)], "it is known of no image"),
        ([("pediatric", "n", "PA", "F", 5), ("adult", "n", "PA", "F", 5)], "it has one value only"),
        ([("pediatric", "n", "PA", "F", 1), ("adult", "n", "AP", "F", 1)], "there are too few images"),
    ],
)
def test_not_computed(rows: list[tuple[str | None, str, str | None, str | None, int]], why: str) -> None:
    view = confounding(_images(rows)).associations.row(1, named=True)
    assert (view["cramers_v"], view["note"]) == (None, why)


def test_nothing_at_all() -> None:
    found = confounding(_images([]))
    assert (found.largest_dataset, found.largest_share, found.counts.height) == (None, None, 0)
    assert found.associations["attribute"].to_list() == ["dataset", "view", "sex"]


def test_an_attribute_may_have_a_value_called_unknown() -> None:
    rows = _images([("pediatric", "n", "unknown", "F", 5), ("adult", "n", None, "F", 5), ("adult", "n", "PA", "F", 5)])
    view = confounding(rows, ["view"]).associations.row(0, named=True)
    assert (view["images"], view["unknown"], view["cramers_v"]) == (10, 5, pytest.approx(1.0))
