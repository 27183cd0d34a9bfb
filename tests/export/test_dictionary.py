"""The data dictionary: nothing that the catalog has is missing from it, and nothing in it runs."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile import HOSTILE_NAME, HOSTILE_TITLE

from cxrdata.errors import CxrError
from cxrdata.export.dictionary import dictionary, export_dictionary, table_sections, unit_of
from cxrdata.export.pages import Code, Grid, Section, html_page, markdown_page
from cxrdata.store.catalog import Catalog
from cxrdata.vocabularies import Vocabularies

VOID = {"meta", "link", "br"}


class _Page(HTMLParser):
    """Tags are closed in order; what stands in the page as text, ids, links and rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        assert not any(name.startswith("on") for name in given)
        self.ids += [given["id"]] if given.get("id") else []
        self.links += [given["href"]] if given.get("href") else []
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def _all(sections: list[Section]) -> list[Section]:
    return [one for section in sections for one in (section, *_all(list(section.children)))]


def test_every_relation_and_column_of_a_catalog_is_there(catalog: Catalog) -> None:
    sections = {section.title: section for section in table_sections(Vocabularies.load())}
    inner = ("states_", "readings_", "label_codes_")
    for name in catalog.tables:
        if name.startswith(inner) or name == "splits":
            continue
        described = catalog.sql(f"SELECT column_name, column_type FROM (DESCRIBE {name})")
        grid = sections[name].grid
        assert grid is not None
        assert {(row[0].text, row[1]) for row in grid.rows} == set(described.iter_rows()), name
        assert all(row[4] for row in grid.rows)


def test_units_and_allowed_values() -> None:
    sections = {section.title: section for section in table_sections(Vocabularies.load())}
    grid = sections["images"].grid
    assert grid is not None
    rows = {row[0].text: row for row in grid.rows}
    assert rows["age_years"][2:4] == ("years", "at least 0")
    assert rows["age_flag"][3] == "ok, top_coded, placeholder, implausible, missing; never null"
    assert rows["original_rows_px"][2] == "pixels"
    assert [unit_of(name) for name in ("patient_weight_kg", "patient_size_m", "bytes", "x_min", "sex")] == [
        "kg", "m", "bytes", "pixels", "",
    ]  # fmt: skip


def test_vocabularies_are_whole(catalog: Catalog, tmp_path: Path) -> None:
    export_dictionary(catalog, tmp_path / "d.html")
    page = _Page((tmp_path / "d.html").read_text(encoding="utf-8"))
    words = " ".join(page.text.split())
    for row in catalog.table("findings").collect().iter_rows(named=True):
        for text in (row["title"], row["definition"], *row["differs"].splitlines()):
            assert " ".join(text.replace("`", "").split()) in words
    cells = {tuple(row) for row in page.rows}
    mapped = catalog.table("label_map").collect().drop_nulls("finding")
    for row in mapped.iter_rows(named=True):
        assert (row["dataset"], row["native_label"], row["predicate"], row["comment"] or "") in cells
    for scheme in ("pediatric_adult", "case_study", "nichd"):
        assert scheme in words
    assert ("pediatric", "0", "18", "") in cells
    assert "Native Hawaiian/Pacific Islander" in words
    assert any(row[:3] == ["mimic_cxr", "race", "ASIAN - CHINESE"] and "Asian" in row for row in page.rows)
    assert "SYNTHETIC" in words


def test_html_stands_alone_and_its_contents_lead_somewhere(catalog: Catalog) -> None:
    text = html_page("Dictionary", dictionary(catalog))
    page = _Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} == set(page.ids)
    assert not {"script", "link", "img", "iframe"} & page.tags
    assert "url(" not in text
    assert "prefers-color-scheme:dark" in text
    assert "@media print" in text


def test_markdown_tables_are_tables(catalog: Catalog) -> None:
    widths: list[int] = []
    rows = 0
    for line in markdown_page("Dictionary", dictionary(catalog)).splitlines():
        if line.startswith("|"):
            widths.append(len(re.findall(r"(?<!\\)\|", line)))
            rows += 1
            assert len(set(widths)) == 1, line
        else:
            widths = []
    assert rows > 500
    assert [len(_all(dictionary(catalog)))] == [
        markdown_page("Dictionary", dictionary(catalog)).count("\n## ")
        + markdown_page("Dictionary", dictionary(catalog)).count("\n### ")
    ]


def test_hostile_names_are_text(hostile: Catalog, tmp_path: Path) -> None:
    for suffix in ("html", "md"):
        export_dictionary(hostile, tmp_path / f"d.{suffix}")
        text = (tmp_path / f"d.{suffix}").read_text(encoding="utf-8")
        assert "<script" not in text
        assert "alert(1)" in text
    page = _Page((tmp_path / "d.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert any(row[:2] == [HOSTILE_NAME, HOSTILE_TITLE] for row in page.rows)


def test_whatever_a_text_holds_is_shown() -> None:
    text = 'a `<b>` <img src=x onerror=alert(1)> | \\ [x](javascript:alert(1)) *b*\nsecond & `c|d` "q"'
    section = Section(text, [text], Grid((text,), [(text,), (Code("a`<script>"),), (Code("a|b"),)]), code=True)
    page = _Page(html_page(text, [section]))
    assert page.tags <= {"html", "head", "meta", "title", "style", "body", "nav", "ul", "li", "a", "main", "h1", "h2", "section", "code", "p", "div", "table", "thead", "tbody", "tr", "th", "td"}  # fmt: skip
    assert page.rows[1] == [text.replace("`", "")]
    assert page.rows[2] == ["a`<script>"]
    markdown = markdown_page(text, [section])
    assert "<" not in markdown
    assert not re.search(r"(?<!\\)\]\(", markdown)
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [2, 2, 2, 2, 2]


def test_without_a_catalog_what_ships_is_described(tmp_path: Path) -> None:
    made = export_dictionary(None, tmp_path / "d.md")
    text = (tmp_path / "d.md").read_text(encoding="utf-8")
    assert list(made.files) == [tmp_path / "d.md"]
    assert "without a catalog" in text
    assert "VinDr-PCXR" in text
    with pytest.raises(CxrError, match="CXR-511"):
        export_dictionary(None, tmp_path / "d.md")
    with pytest.raises(CxrError, match="CXR-502"):
        export_dictionary(None, tmp_path / "d.docx")
