"""What every reader does with rows: keys, repeats, matches, numbers, dates, boxes."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrdata.sources.account import Account
from cxrdata.sources.rows import boxes_within, dates, numbers, settle_matches, with_sound_keys, without_repeats
from cxrdata.sources.textfile import TextTable

NAME = "f.csv"


def table(**columns: list[Any]) -> TextTable:
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return TextTable(frame.with_row_index("_record").with_columns(_line=pl.col("_record") + 2), NAME)


@pytest.fixture
def account() -> Account:
    return Account("nih_cxr14")


def refused(account: Account) -> list[tuple[Any, ...]]:
    return account.rejects().select("line", "kind", "code", "column_name", "value", "message").rows()


def test_keys_missing_and_malformed(account: Account) -> None:
    got = with_sound_keys(table(key=["a1", None, "b", "a2"]), account, column="key", pattern=r"^a\d$")
    assert got.frame["key"].to_list() == ["a1", "a2"]
    assert got.frame["_line"].to_list() == [2, 5]
    assert refused(account) == [
        (3, "row", "CXR-206", "key", None, "key is empty"),
        (4, "row", "CXR-207", "key", "b", r"key is not of the form ^a\d$"),
    ]
    assert account.entry(NAME).rejected == 2


def test_the_form_of_a_key_is_told_in_words(account: Account) -> None:
    with_sound_keys(table(key=["b"]), account, column="key", pattern=r"^a\d$", form="a1")
    assert refused(account) == [(2, "row", "CXR-207", "key", "b", "key is not of the form a1")]


def test_a_missing_key_may_have_its_own_code(account: Account) -> None:
    with_sound_keys(table(key=["a", None]), account, column="key", code_missing="CXR-209")
    assert [row[2] for row in refused(account)] == ["CXR-209"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", None])), max_size=12))
@settings(deadline=None)
def test_the_first_of_each_key_stays(rows: list[tuple[str, str | None]]) -> None:
    for keys in (["key"], ["key", "reader"]):
        account = Account("vindr_cxr")
        got = without_repeats(table(key=[k for k, _ in rows], reader=[r for _, r in rows]), account, keys=keys)
        seen: set[Any] = set()
        first, repeated = [], []
        for at, row in enumerate(rows):
            key = row[: len(keys)]
            (repeated if key in seen else first).append(at + 2)
            seen.add(key)
        assert got.frame["_line"].to_list() == first
        assert [row[0] for row in refused(account)] == repeated
        assert {row[2] for row in refused(account)} <= {"CXR-208"}
        assert {row[5] for row in refused(account)} <= {f"the same {' and '.join(keys)} as an earlier row"}


@pytest.mark.parametrize("kept", [False, True])
def test_matches_are_settled_and_the_rest_is_counted(kept: bool, account: Account) -> None:  # noqa: FBT001
    """DESIGN: left joins, counted misses."""
    got = settle_matches(table(key=["a", "b", "a", None]), account, pl.Series(["a", "c"]), column="key", kept=kept)
    assert got["key"].to_list() == ["a", "a"]
    entry = account.entry(NAME)
    assert (entry.kept, entry.merged, entry.unmatched) == ((2, 0, 2) if kept else (0, 2, 2))


@pytest.mark.parametrize(
    ("cell", "whole", "real"),
    [
        ("512", 512, 512.0), ("512.0", 512, 512.0), (" 5.12e+02 ", 512, 512.0), ("0.143", None, 0.143), ("None", None, None),
        ("", None, None), (None, None, None), ("x", None, None), ("1,5", None, None), ("-3", -3, -3.0),
    ],
)  # fmt: skip
def test_numbers(cell: str | None, whole: int | None, real: float | None) -> None:
    """formats.md 1.5: PadChest mixes notations and writes None."""
    for dtype, expected in ((pl.Int64, whole), (pl.Float64, real)):
        account = Account("padchest")
        got = numbers(table(n=[cell]).frame, {"n": dtype}, account, NAME, nulls=("None",))
        assert got["n"].to_list() == [expected]
        assert got["n"].dtype == dtype
        is_empty = cell in {None, "", "None"}
        faults = [] if expected is not None or is_empty else [(2, "value", "CXR-301", "n", cell, "not a number")]
        assert refused(account) == faults


@pytest.mark.parametrize(
    ("cell", "date"),
    [
        ("20140702", dt.date(2014, 7, 2)), ("21800506", dt.date(2180, 5, 6)), (" 20140702 ", dt.date(2014, 7, 2)), ("None", None),
        ("", None), (None, None), ("2014-07-02", None), ("20141301", None), ("20140230", None), ("2014070", None),
    ],
)  # fmt: skip
def test_dates(cell: str | None, date: dt.date | None, account: Account) -> None:
    got = dates(table(d=[cell]).frame, "d", account, NAME, nulls=("None",))
    assert got["d"].to_list() == [date]
    assert got["d"].dtype == pl.Date
    is_empty = cell in {None, "", "None"}
    assert refused(account) == ([] if date or is_empty else [(2, "value", "CXR-302", "d", cell, "not a date")])


@pytest.mark.parametrize(
    ("box", "is_sound"),
    [
        ((0, 0, 10, 10), True), ((0, 0, 100, 50), True), ((0, 0, 100.5, 50), False), ((0, 0, 10, 51), False),
        ((-1, 0, 10, 10), False), ((5, 5, 5, 9), False), ((9, 5, 5, 9), False), ((0, None, 10, 10), False),
    ],
)  # fmt: skip
def test_boxes_lie_within_their_image(box: tuple[float | None, ...], is_sound: bool, account: Account) -> None:  # noqa: FBT001
    corners = ("x_min", "y_min", "x_max", "y_max")
    frame = pl.DataFrame(
        {"_line": [2], **{c: [v] for c, v in zip(corners, box, strict=True)}},
        schema_overrides=dict.fromkeys(corners, pl.Float64),
    )
    got = boxes_within(frame, account, NAME, width=pl.lit(100), height=pl.lit(50))
    assert got.height == is_sound
    assert [row[2] for row in refused(account)] == ([] if is_sound else ["CXR-212"])


def test_an_image_of_unknown_size_bounds_no_box(account: Account) -> None:
    frame = pl.DataFrame({"_line": [2], "x_min": [0.0], "y_min": [0.0], "x_max": [9e9], "y_max": [1.0]})
    unknown = pl.lit(None, pl.Int64)
    assert boxes_within(frame, account, NAME, width=unknown, height=unknown).height == 1
