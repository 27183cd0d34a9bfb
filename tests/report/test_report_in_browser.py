"""The report in a real browser: every figure is drawn, nothing is fetched, nothing fails, light and dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cxrdata.report.contents import Contents
from cxrdata.report.page import Page, render
from cxrdata.store.catalog import Catalog
from tests.report.hostile import hostile_page

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 60_000  # milliseconds: a bound, not an expectation


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window. Skipped with a reason where there is none, unless CXRDATA_REQUIRE_BROWSER is set."""
    required = bool(os.environ.get("CXRDATA_REQUIRE_BROWSER"))
    path = next(filter(None, map(shutil.which, NAMES)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        if required:
            raise
        pytest.skip("playwright is not installed")
    if path is None:
        if required:
            pytest.fail("CXRDATA_REQUIRE_BROWSER is set, but there is no chromium")
        pytest.skip("no chromium: the page was not looked at in a browser")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Visit:
    """A page opened from a file, with all that it said and asked for."""

    def __init__(self, browser: Any, path: Path, scheme: str) -> None:
        self.tab = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme=scheme)
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.tab.on(
            "console",
            lambda message: self.problems.append(message.text) if message.type in {"error", "warning"} else None,
        )
        self.tab.on("pageerror", lambda error: self.problems.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto(path.as_uri())
        self.tab.wait_for_function("document.documentElement.dataset.drawn", timeout=PATIENCE)


@pytest.fixture(scope="module")
def written(report_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_text, encoding="utf-8")
    return path


def test_every_figure_is_drawn_and_nothing_is_fetched(browser: Any, written: Path, report_page: Page) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        visit = Visit(browser, written, scheme)
        assert visit.problems == []
        assert [url for url in visit.requests if not url.startswith("data:")] == [written.as_uri()]
        for figure in report_page.figures:
            drawn = visit.tab.locator(
                f"#chart-{figure.name} svg :is(.mark-rect, .mark-symbol, .mark-rule) path, #chart-{figure.name} svg line"
            )
            assert drawn.count() > 0, figure.name
        picture = Image.open(BytesIO(visit.tab.screenshot(full_page=True))).convert("L")
        counts = picture.histogram()
        ground = max(range(256), key=counts.__getitem__)
        grounds[scheme] = ground
        apart = sum(n for value, n in enumerate(counts) if abs(value - ground) > 60)
        assert apart / sum(counts) > 0.01, "the page is blank"
        visit.tab.close()
    assert grounds["light"] > 240 and grounds["dark"] < 40


def test_the_keyboard_reaches_figures_and_tables(browser: Any, written: Path, report_page: Page) -> None:
    visit = Visit(browser, written, "light")
    reached = []
    visit.tab.keyboard.press("Tab")
    assert visit.tab.evaluate("document.activeElement.className") == "skip"
    visit.tab.keyboard.press("Enter")
    for _ in range(8):
        visit.tab.keyboard.press("Tab")
        reached.append(
            visit.tab.evaluate("[document.activeElement.tagName, document.activeElement.getAttribute('role')]")
        )
    assert ["DIV", "img"] in reached and ["SUMMARY", None] in reached and ["DIV", "region"] in reached
    # A folded table opens by the keyboard, and shows the numbers of its figure.
    last = report_page.figures[-1].name
    folded = visit.tab.locator(f"#figure-{last} details")
    was_open = folded.evaluate("one => one.open")
    visit.tab.locator(f"#figure-{last} summary").focus()
    visit.tab.keyboard.press("Enter")
    assert folded.evaluate("one => one.open") != was_open
    visit.tab.close()


def test_hostile_names_run_nothing(browser: Any, reported: Catalog, contents: Contents, tmp_path: Path) -> None:
    path = tmp_path / "a 'hostile' \"path\" & <name>.html"
    page = hostile_page(reported, contents)
    path.write_text(render(page), encoding="utf-8")
    visit = Visit(browser, path, "dark")
    assert visit.problems == []
    assert visit.tab.title() == page.title  # the text itself, and not what it would set
    assert visit.tab.evaluate("document.querySelectorAll('img').length") == 0
    chart = visit.tab.locator("#chart-datasets svg .mark-rect path").first
    chart.hover()
    visit.tab.wait_for_function("document.querySelector('#vg-tooltip-element.visible')", timeout=PATIENCE)
    assert visit.tab.evaluate("document.querySelectorAll('img').length") == 0
    assert visit.tab.title() == page.title
    visit.tab.close()
