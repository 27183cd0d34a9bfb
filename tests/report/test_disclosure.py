"""Masking: what is small is hidden, and the system of all that is shown leaves it open. Checked by solving that system."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrdata.report.disclosure import Count, Sum, masked, table_sums
from tests.report.solve import feasible_ranges

MIN_CELL = 11
SMALL_OR_NOT = st.one_of(st.integers(0, 14), st.integers(0, 400))


def table_of(cells: Sequence[Sequence[int]]) -> tuple[dict[Hashable, Count], list[Sum]]:
    rows, columns = range(len(cells)), range(len(cells[0]))
    n: dict[Hashable, int] = {(row, column): cells[row][column] for row in rows for column in columns}
    n |= {(row, "all"): sum(cells[row]) for row in rows}
    n |= {("all", column): sum(row[column] for row in cells) for column in columns}
    n["all", "all"] = sum(map(sum, cells))
    return {key: Count(value, value) for key, value in n.items()}, table_sums(list(rows), list(columns))


@st.composite
def tables(draw: st.DrawFn) -> list[list[int]]:
    width = draw(st.integers(1, 5))
    row = st.lists(SMALL_OR_NOT, min_size=width, max_size=width)
    return draw(st.lists(row, min_size=1, max_size=5))


def check(counts: Mapping[Hashable, Count], sums: Sequence[Sum], hidden: set[Hashable]) -> None:
    small = {key for key, count in counts.items() if 0 < count.persons < MIN_CELL}
    assert small <= hidden
    for key, (low, high) in feasible_ranges(counts, sums, hidden).items():
        assert low < high, f"{key} follows: {low}"
        assert low <= counts[key].images <= high


@settings(max_examples=40, deadline=None, derandomize=True)
@given(tables())
def test_no_masked_count_of_a_table_follows_from_its_totals(cells: list[list[int]]) -> None:
    counts, sums = table_of(cells)
    check(counts, sums, masked(counts, sums, min_cell=MIN_CELL))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.lists(SMALL_OR_NOT, min_size=1, max_size=4), min_size=1, max_size=4))
def test_no_masked_count_of_a_tree_follows_from_its_subtotals(groups: list[list[int]]) -> None:
    counts: dict[Hashable, Count] = {}
    sums = []
    for group, years in enumerate(groups):
        counts |= {(group, year): Count(n, n) for year, n in enumerate(years)}
        counts[group] = Count(sum(years), sum(years))
        sums.append(Sum(group, [(group, year) for year in range(len(years))]))
    whole = sum(map(sum, groups))
    counts["all"] = Count(whole, whole)
    sums.append(Sum("all", list(range(len(groups)))))
    check(counts, sums, masked(counts, sums, min_cell=MIN_CELL))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(tables())
def test_totals_shown_elsewhere_stay_shown_if_cells_can_hide_the_small_ones(cells: list[list[int]]) -> None:
    cells = [[n + 20 for n in row] for row in cells] + [[3] + [40] * (len(cells[0]) - 1)]
    counts, sums = table_of(cells)
    totals = {key for key in counts if "all" in key}  # type: ignore[operator]
    hidden = masked(counts, sums, min_cell=MIN_CELL, shown=totals)
    check(counts, sums, hidden)
    if len(cells[0]) > 1 and len(cells) > 1:
        assert not hidden & totals


def test_one_small_count_takes_the_smallest_partner_that_serves() -> None:
    counts: dict[Hashable, Count] = {
        "F": Count(5000, 900),
        "M": Count(4000, 800),
        "O": Count(3, 1),
        "unknown": Count(60, 40),
    }
    counts["all"] = Count(9063, 1741)
    assert masked(counts, [Sum("all", ["F", "M", "O", "unknown"])], shown=["all"]) == {"O", "unknown"}


def test_nobody_is_shown_and_persons_count_rather_than_images() -> None:
    counts: dict[Hashable, Count] = {"a": Count(0, 0), "b": Count(500, 4), "c": Count(300, 290), "all": Count(800, 294)}
    assert masked(counts, [Sum("all", ["a", "b", "c"])], shown=["all"]) == {"b", "c"}


def test_counts_of_one_each_hide_their_total_as_ones_cannot_fall() -> None:
    counts: dict[Hashable, Count] = {year: Count(1, 1) for year in range(12)}
    counts["all"] = Count(12, 12)
    sums = [Sum("all", list(range(12)))]
    assert "all" in masked(counts, sums)
    # Where the total is known anyway, a zero is masked to leave it open who is where.
    counts[12] = Count(0, 0)
    sums = [Sum("all", list(range(13)))]
    hidden = masked(counts, sums, shown=["all"])
    assert 12 in hidden and "all" not in hidden
    check(counts, sums, hidden)


def test_what_another_table_hides_is_hidden_here() -> None:
    counts, sums = table_of([[50, 60], [70, 80]])
    hidden = masked(counts, sums, hidden=[(0, "all"), (1, "all")])
    assert {(0, "all"), (1, "all")} <= hidden
    check(counts, sums, hidden)


def test_nothing_is_masked_below_two() -> None:
    counts, sums = table_of([[1, 2], [3, 4]])
    assert masked(counts, sums, min_cell=1) == set()


def test_sums_that_make_no_network_are_refused() -> None:
    counts: dict[Hashable, Count] = {key: Count(20, 20) for key in "abc"}
    counts["a"] = Count(2, 2)
    with pytest.raises(ValueError, match="more than two sums"):
        masked(counts, [Sum("b", ["a"]), Sum("c", ["a"]), Sum("b", ["a"])])
