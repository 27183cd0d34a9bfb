"""Published beside here, and how numbers are told."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cxrtrain.studies.comparison import compare, rounded, signed


def test_every_published_figure_has_a_row_and_a_missing_one_a_reason() -> None:
    published = pl.DataFrame({"name": ["a", "b", None], "published": [0.5, 0.75, 1.0]})
    here = pl.DataFrame({"name": [None, "a", "other"], "here": [0.5, 0.25, 9.0]})
    found = compare(published, here, ["name"], lambda row: "not here" if row["here"] is None else None)
    expected = pl.DataFrame(
        {"name": ["a", "b", None], "published": [0.5, 0.75, 1.0], "here": [0.25, None, 0.5], "difference": [-0.25, None, -0.5],
         "reason": [None, "not here", None]}
    )  # fmt: skip
    assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    ("value", "places", "told"),
    [(-0.1234, 3, "\N{MINUS SIGN}0.123"), (-0.0004, 3, "0.000"), (0.5, 2, "0.50"), (-1234.0, 0, "\N{MINUS SIGN}1,234")],
)
def test_signs(value: float, places: int, told: str) -> None:
    assert signed(value, places) == told


def test_counts_stay_whole() -> None:
    frame = pl.DataFrame({"n": [22433.0, -12.0, None], "share": [0.5, -0.25, 10.5], "blend": [0.25, 0.5, 1.0]})
    told = rounded(frame, but=("blend",))
    assert told["n"].to_list() == ["22,433", "\N{MINUS SIGN}12", None]
    assert told["share"].to_list() == ["0.500", "\N{MINUS SIGN}0.250", "10.500"]
    assert told["blend"].to_list() == [0.25, 0.5, 1.0]


def test_a_small_difference_of_counts_is_a_count() -> None:
    frame = pl.DataFrame({"published": [223414.0, 64740.0, 1.0], "here": [223414.0, 64737.0, 1.0]})
    told = rounded(frame.with_columns(difference=pl.col("here") - pl.col("published")))
    assert told["difference"].to_list() == ["0", "\N{MINUS SIGN}3", "0.000"]
    assert told["here"].to_list() == ["223,414", "64,737", "1.000"]
