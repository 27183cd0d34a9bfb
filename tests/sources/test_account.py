"""The account: every row settled, every refusal recorded."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrdata.errors import PROBLEMS, CxrError
from cxrdata.schemas import tables
from cxrdata.schemas.validate import validate
from cxrdata.sources.account import LEDGER_SCHEMA, LONGEST_VALUE, REJECT_SCHEMA, Account
from cxrdata.wording import counted

ROWS = pl.DataFrame({"_line": [7, 3], "Age": ["old", "x" * 300]})


def test_a_ledger_that_adds_up() -> None:
    account = Account("nih_cxr14")
    account.read("b.csv", 10)
    account.settle("b.csv", kept=5, merged=2, unmatched=1)
    account.reject_rows("b.csv", ROWS, "CXR-201")
    account.read("a.csv", 1)
    account.settle("a.csv", kept=1)
    assert account.ledger().rows() == [("nih_cxr14", "a.csv", 1, 1, 0, 0, 0), ("nih_cxr14", "b.csv", 10, 5, 2, 1, 2)]
    assert validate(account.ledger(), tables.LEDGER)[1].is_empty()


@given(st.lists(st.integers(0, 5), min_size=5, max_size=5))
def test_a_ledger_adds_up_or_the_build_fails(counts: list[int]) -> None:
    """CONTRACT §5: read is kept + merged + unmatched + rejected, always."""
    read, kept, merged, unmatched, rejected = counts
    account = Account("padchest")
    account.read("f.csv", read)
    account.settle("f.csv", kept=kept)
    account.settle("f.csv", merged=merged, unmatched=unmatched)
    account.reject_rows("f.csv", pl.DataFrame({"_line": range(rejected)}), "CXR-208")
    if read == kept + merged + unmatched + rejected:
        assert account.ledger().row(0)[2:] == tuple(counts)
        return
    with pytest.raises(CxrError) as caught:
        account.ledger()
    assert caught.value.code == "CXR-401"
    assert caught.value.where == "padchest: f.csv"
    assert caught.value.problem == (
        f"{counted(read, 'row')} read, but {kept} kept + {merged} merged + {unmatched} unmatched + {rejected} rejected"
    )


def test_refused_rows_are_counted_quoted_and_cut() -> None:
    account = Account("nih_cxr14")
    account.reject_rows("f.csv", ROWS, "CXR-207", column="Age")
    assert account.entry("f.csv").rejected == 2
    title = PROBLEMS["CXR-207"].title
    assert account.rejects().rows() == [
        ("nih_cxr14", "f.csv", 3, "row", "CXR-207", "Age", "x" * LONGEST_VALUE, title),
        ("nih_cxr14", "f.csv", 7, "row", "CXR-207", "Age", "old", title),
    ]


def test_nulled_values_leave_their_row_uncounted() -> None:
    account = Account("nih_cxr14")
    account.reject_values("f.csv", ROWS, "CXR-307", column="age_years", value="Age", message="not an age")
    assert account.entry("f.csv").rejected == 0
    assert set(account.rejects().select("kind", "column_name", "message").rows()) == {
        ("value", "age_years", "not an age")
    }
    assert account.rejects()["value"].to_list() == ["x" * LONGEST_VALUE, "old"]


def test_rows_may_come_from_several_files() -> None:
    account = Account("nih_cxr14")
    rows = ROWS.with_columns(file=pl.Series(["b.csv", "a.csv"]))
    account.reject_values(pl.col("file"), rows, "CXR-303", column="Age")
    assert account.rejects().select("source_file", "line").rows() == [("a.csv", 3), ("b.csv", 7)]


def test_rows_already_settled_are_not_counted_twice() -> None:
    account = Account("nih_cxr14")
    account.reject_rows("f.csv", ROWS, "CXR-213", count=False)
    assert "f.csv" not in account.entries
    assert account.rejects().height == 2


def test_rows_without_a_line_have_none() -> None:
    account = Account("vindr_cxr")
    account.reject_rows("a.dicom", pl.DataFrame({"x": [1]}), "CXR-211")
    assert account.rejects()["line"].to_list() == [None]


def test_nothing_refused() -> None:
    account = Account("nih_cxr14")
    account.reject_rows("f.csv", ROWS.clear(), "CXR-201")
    account.reject_values("f.csv", ROWS.clear(), "CXR-301", column="Age")
    assert account.rejects().is_empty()
    assert account.rejects().schema == pl.Schema(REJECT_SCHEMA)
    assert account.ledger().schema == pl.Schema(LEDGER_SCHEMA)


def test_order_does_not_depend_on_the_order_of_refusals() -> None:
    """CONTRACT §1: byte-identical on any thread count."""
    rows = ROWS.with_columns(_line=pl.Series([7, None], dtype=pl.Int64))
    first, second = Account("nih_cxr14"), Account("nih_cxr14")
    for account, codes in ((first, ("CXR-301", "CXR-302")), (second, ("CXR-302", "CXR-301"))):
        for code in codes:
            account.reject_values("f.csv", rows if account is first else rows.reverse(), code, column="Age")
    assert first.rejects().equals(second.rejects())
    assert validate(first.rejects(), tables.REJECTS)[1].is_empty()


def test_notes_are_sorted() -> None:
    account = Account("nih_cxr14")
    account.note("coverage", "sex", 2, "b")
    account.note("ambiguity", "view", 1, "a")
    assert account.notes().rows() == [
        ("nih_cxr14", "ambiguity", "view", 1, "a"),
        ("nih_cxr14", "coverage", "sex", 2, "b"),
    ]
    assert validate(account.notes(), tables.BUILD_NOTES)[1].is_empty()
