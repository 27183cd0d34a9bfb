"""The report as a whole: what it tells, that it tells of nobody, and that no name can break out of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from cxrdata.cli.main import run
from cxrdata.report import charts
from cxrdata.report.catalog_report import catalog_report
from cxrdata.report.contents import Contents
from cxrdata.report.figure import Figure, save_figures, specification
from cxrdata.report.page import Page, render
from cxrdata.report.section import Section
from cxrdata.store.catalog import Catalog
from tests.report.hostile import HOSTILE, hostile_page

COUNTS = ("images", "persons", "positive", "patients", "studies")


class Reader(HTMLParser):
    """Elements with their attributes, and the text outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not self._inside or self._inside[-1] not in {"script", "style"}:
            self.text += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


def catalog_sections(page: Page) -> list[Section]:
    """Those about the catalog; the review is of published datasets and papers."""
    return [section for section in page.sections if section.name != "review"]


def tables(page: Page) -> Iterator[tuple[str, pl.DataFrame]]:
    for section in catalog_sections(page):
        for item in section.shows:
            yield item.name, item.table if isinstance(item, Figure) else item.frame


def test_it_tells_what_the_issue_asks_for(report_page: Page) -> None:
    assert [section.name for section in report_page.sections][:6] == [
        "contents",
        "ages",
        "people",
        "labels",
        "missing",
        "split-plain",
    ]
    assert [section.name for section in report_page.sections][6:] == ["ledger", "review"]
    assert len(report_page.sections[-1].figures) >= 5
    names = {name for name, _ in tables(report_page)}
    assert {
        "datasets", "terms", "ages", "age_groups", "sex", "race_ethnicity", "view", "prevalence_all", "prevalence_sex", "prevalence_race",
        "prevalence_age", "missing", "ledger", "split-plain-size", "split-plain-balance", "split-plain-groups", "split-plain-labels",
    } <= names  # fmt: skip
    assert "nih_cxr14" in report_page.notices[0] and "SYNTHETIC" in report_page.notices[0]
    terms = dict(tables(report_page))["terms"]
    assert terms["licence"].is_not_null().all() and terms["terms"].is_not_null().all()


def test_charts_are_valid_and_have_a_row_for_what_they_show(report_page: Page) -> None:
    for figure in report_page.figures:
        figure.chart.to_dict(validate=True)  # raises where it breaks the schema of Vega-Lite
        assert figure.table.height and figure.caption.endswith("."), figure.name


def test_no_small_count_stands_in_any_table_or_chart(report_page: Page) -> None:
    masked = 0
    for name, frame in tables(report_page):
        for column in frame.columns:
            if frame[column].dtype.is_integer():
                assert not frame[column].drop_nulls().is_between(1, 10).any(), (name, column)
            elif frame[column].dtype == pl.String and column not in {"age", "doi"}:
                for text in frame[column].drop_nulls():
                    masked += text.startswith("masked")
                    if found := re.fullmatch(r"([\d,]+)( \(.*\))?", text):
                        assert not 0 < int(found[1].replace(",", "")) < 11, (name, column, text)
    assert masked > 20
    for figure in (figure for section in catalog_sections(report_page) for figure in section.figures):
        for rows in specification(figure)["datasets"].values():
            for row in rows:
                assert all(row.get(key) is None or not 0 < row[key] < 11 for key in COUNTS), (figure.name, row)


def test_no_id_of_anyone_is_in_it(reported: Catalog, report_text: str) -> None:
    tokens = set(re.findall(r"[\w./-]+", report_text[: report_text.index("<script>")]))
    ids = reported.sql(
        "SELECT image_id AS id FROM images WHERE dataset = 'nih_cxr14' UNION SELECT patient_id FROM images WHERE dataset = 'chexpert'"
    )
    assert ids.height > 500
    assert not tokens & set(ids["id"])


def test_the_page_is_whole_and_reads_without_eyes(report_page: Page, report_text: str) -> None:
    text = report_text
    reader = read(text)
    assert len(text) < 3_000_000
    kinds = [tag for tag, _ in reader.elements]
    assert kinds.count("h1") == 1 and kinds.count("main") == 1
    assert not [
        attributes
        for tag, attributes in reader.elements
        if tag in {"script", "img", "iframe"} and attributes.get("src")
    ]
    links = [attributes["href"] for tag, attributes in reader.elements if tag in {"a", "link"}]
    ids = [attributes["id"] for _, attributes in reader.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert all(link == "data:," or (link and link[0] == "#" and link[1:] in ids) for link in links)
    charts = [attributes for _, attributes in reader.elements if attributes.get("role") == "img"]
    assert len(charts) == len(report_page.figures)
    assert {f"chart-{figure.name}" for figure in report_page.figures} <= set(ids)
    assert all(attributes["aria-label"] and attributes["tabindex"] == "0" for attributes in charts)
    assert kinds.count("summary") >= len(report_page.figures)
    assert kinds.count("caption") == kinds.count("table") >= len(list(tables(report_page)))
    assert "prefers-color-scheme:dark" in text and "@media print" in text


def test_the_same_catalog_gives_the_same_page(reported: Catalog, report_text: str) -> None:
    assert render(catalog_report(reported)) == report_text


def test_hostile_names_stay_text(reported: Catalog, contents: Contents) -> None:
    page = hostile_page(reported, contents)
    text = render(page)
    reader = read(text)
    assert HOSTILE in reader.text and HOSTILE not in text
    assert [tag for tag, _ in reader.elements].count("script") == 3
    assert not [name for _, attributes in reader.elements for name in attributes if name.startswith("on")]
    block = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    assert (
        block
        and "<" not in block[1]
        and HOSTILE in json.dumps(json.loads(block[1]), ensure_ascii=False).replace('\\"', '"')
    )
    cells = re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", text)
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    assert "'=cmd|' /C calc'!A0" in reader.text  # defused, and still told


def test_min_cell_one_masks_nothing(reported: Catalog) -> None:
    page = catalog_report(reported, min_cell=1, splits=())
    assert not any(
        "masked" in frame[column].to_list()
        for _, frame in tables(page)
        for column in frame.columns
        if frame[column].dtype == pl.String
    )
    assert not [section for section in page.sections if section.name.startswith("split-")]


def test_the_command(
    reported_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handed = []

    def save_two(
        figures: list[Figure], folder: Path, **wishes: tuple[str, ...]
    ) -> list[Path]:  # all of them take seconds
        handed.extend(figure.name for figure in figures)
        return save_figures(figures[:2], folder, **wishes)

    monkeypatch.setattr("cxrdata.report.figure.save_figures", save_two)
    out, folder = tmp_path / "a 'quoted' \"path\".html", tmp_path / "figures"
    arguments = ["report", "-c", str(reported_folder), "--out", str(out), "--figures", str(folder)]
    code = run([*arguments, "--no-splits", "--title", "A & <B>"])
    captured = capsys.readouterr()
    assert (code, captured.out) == (0, "")
    text = out.read_text(encoding="utf-8")
    assert "<title>A &amp; &lt;B&gt;</title>" in text and str(tmp_path) not in text
    assert {"ages", "missing", "prevalence_sex"} < set(handed) and not [name for name in handed if "split" in name]
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{name}.{suffix}" for name in sorted(handed[:2]) for suffix in ("csv", "png", "svg")
    ]
    assert (folder / "ages.svg").read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--split", "nobody"], "CXR-501"),
        (["--split", "plain", "--no-splits"], "CXR-502"),
        (["--min-cell", "0"], "CXR-502"),
    ],
)
def test_wrong_usage_is_one_block(
    reported_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: str
) -> None:
    assert run(["report", "-c", str(reported_folder), "--out", str(tmp_path / "r.html"), *arguments]) != 0
    captured = capsys.readouterr()
    assert captured.err.count(f"error {code}") == 1 and "fix:" in captured.err
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("places", "code"),
    [
        (["--out", "r.pdf"], "CXR-502"),
        (["--out", "r"], "CXR-502"),
        (["--out", "no/such/r.html"], "CXR-602"),
        (["--out", "r.html", "--figures", "taken/figures"], "CXR-602"),
    ],
)
def test_where_it_cannot_write_it_says_so_before_the_work(
    reported_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    places: list[str],
    code: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setattr("cxrdata.report.catalog_report.html_report", lambda *_, **__: pytest.fail("it worked"))
    assert run(["report", "-c", str(reported_folder), *places]) != 0
    err = capsys.readouterr().err
    assert err.count(f"error {code}") == 1 and "fix:" in err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_each_race_has_a_colour_and_a_shape_of_its_own(report_page: Page) -> None:
    seen = 0
    for figure in report_page.figures:
        if figure.name.startswith(("prevalence_race", "prevalence_age", "split-plain-groups")):
            whole = specification(figure)
            panels = whole.get("concat", [whole])
            for encoding in (layer["encoding"] for panel in panels for layer in panel["layer"]):
                for channel in ("color", "shape"):
                    scale = encoding.get(channel, {}).get("scale")
                    if scale:
                        seen += 1
                        assert len(set(scale["range"])) == len(scale["domain"]) == len(scale["range"])
                        assert "yOffset" in encoding
    assert seen > 6
    races = [f"race {number}" for number in range(9)]
    assert len(set(charts.categories([*races, "unknown"]).to_dict()["range"])) == 10


def test_without_the_extra_it_says_how_to_get_it(
    reported_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "altair", None)
    assert run(["report", "-c", str(reported_folder), "--out", str(tmp_path / "r.html")]) == 3
    err = capsys.readouterr().err
    assert "CXR-604" in err and "pip install 'cxrdata[report]'" in err
