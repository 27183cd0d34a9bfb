"""What stands in a page besides figures: pictures that are part of the file, tables whose numbers line up."""

from __future__ import annotations

import base64
from html.parser import HTMLParser

import polars as pl
import pytest

from cxrdata.report.figure import Figure
from cxrdata.report.page import Page, render
from cxrdata.report.section import Picture, Section, Table

MINUS = "\N{MINUS SIGN}"


class Elements(HTMLParser):
    """All elements in order: name, attributes, text that follows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.found:
            tag, attributes, before = self.found[-1]
            self.found[-1] = (tag, attributes, before + data)

    def of(self, *tags: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, text.strip()) for tag, attributes, text in self.found if tag in tags]


def made(*shows: Figure | Picture | Table) -> Elements:
    return Elements(render(Page("t", [], [], [Section("s", "S", [], list(shows))], "f")))


def test_a_picture_is_part_of_the_page_and_stands_beside_its_table() -> None:
    files = [b"\x89PNG one", b"\x89PNG two"]
    table = pl.DataFrame({"finding": ["mass", "edema"], "truth": ["yes", "no"]})
    page = made(Picture("p", "<b>title", 'said "so" <script>', files, table))
    pictures = [attributes for attributes, _ in page.of("img")]
    prefix = "data:image/png;base64,"
    assert [base64.b64decode(str(one["src"]).removeprefix(prefix)) for one in pictures] == files
    assert {one["alt"] for one in pictures} == {'said "so" <script>'}
    assert [text for _, text in page.of("td")] == ["yes", "no"]
    assert [attributes.get("class") for attributes, _ in page.of("div")][:2] == [None, "picture"]
    assert page.of("script", "b") == []  # nothing to draw, and no word of a title is markup


def test_negative_numbers_as_text_line_up_with_the_others() -> None:
    """They are written with a minus sign; a hyphen would be defused, as a spreadsheet takes it for a formula."""
    frame = pl.DataFrame({"name": ["a", "b"], "told": [f"{MINUS}0.5", "0.2"], "plain": ["-0.5", "0.2"]})
    cells = [(text, attributes.get("class")) for attributes, text in made(Table("t", "T", "c", frame)).of("td")]
    assert cells == [(f"{MINUS}0.5", "number"), ("'-0.5", None), ("0.2", "number"), ("0.2", None)]


def test_a_long_table_that_lies_beside_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a figure: by its file, for the eye and for a screen reader. Without such a file the table stays, however long."""
    monkeypatch.setattr("cxrdata.report.page.specification", lambda _: {})
    monkeypatch.setattr("cxrdata.report.page.drawing_code", str)

    def cells(rows: int, beside: str | None) -> tuple[int, int]:
        page = made(Figure("f", "T", "c", None, pl.DataFrame({"at": range(rows), "n": range(rows)}), beside))
        said = f"The same numbers, {rows:,} rows, are in figures/a&b.csv."
        labels = [attributes.get("aria-label") or "" for attributes, _ in page.of("div")]
        assert any(said in label for label in labels) == any(text == said for _, text in page.of("p"))
        return len(page.of("td")), sum(said in label for label in labels)

    assert cells(1201, "figures/a&b.csv") == (0, 1)
    assert cells(200, "figures/a&b.csv") == (200, 0)
    assert cells(1201, None) == (1201, 0)
