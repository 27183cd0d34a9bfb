"""Published beside here: differences, reasons, and numbers as the page shows them."""

from __future__ import annotations

import polars as pl

from cxrdata.report.page import _table
from cxrtrain.studies.comparison import compare, rounded


def test_each_published_figure_keeps_its_place_and_says_why() -> None:
    published = pl.DataFrame({"what": ["b", "a", None], "published": [1.0, 2.0, 3.0]})
    here = pl.DataFrame({"what": [None, "b"], "here": [2.5, 1.5]}, schema={"what": pl.String, "here": pl.Float64})
    found = compare(published, here, ("what",), lambda row: None if row["here"] is not None else f"no {row['what']}")
    assert found.rows() == [("b", 1.0, 1.5, 0.5, None), ("a", 2.0, None, None, "no a"), (None, 3.0, 2.5, -0.5, None)]


def test_a_negative_difference_is_a_number_on_the_page() -> None:
    """And no formula, before which an apostrophe would stand."""
    shown = rounded(pl.DataFrame({"what": ["a", "b", "c"], "difference": [-216_712.0, -0.0005, 12.0]}))
    assert shown["difference"].to_list() == ["\u2212216,712", "\u22120.001", "12"]
    page = _table(shown, "differences")
    assert '<td class="number">\u2212216,712</td>' in page and "&#x27;" not in page
