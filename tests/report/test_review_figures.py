"""The figures of the review: one a table, of its numbers, by both sets of rules."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

from cxrdata.report.figure import save_figures, specification
from cxrdata.report.review_figures import review_figures
from cxrdata.review import workbook as sheets
from cxrdata.review.facts import Facts, import_workbook, load_facts
from cxrdata.review.tables import RULES, TABLES, make_table
from tests.review.workbooks import ADULTS, write_workbook


@pytest.fixture(scope="module")
def facts() -> Facts:
    return load_facts()[0]


@pytest.mark.parametrize("rules", RULES)
def test_a_figure_of_every_table(facts: Facts, rules: str) -> None:
    figures = review_figures(facts, rules)
    assert [figure.name for figure in figures] == [f"review_{name}_{rules}" for name in TABLES]
    for name, figure in zip(TABLES, figures, strict=True):
        assert figure.table.equals(make_table(name, facts, rules))
        assert figure.caption.endswith("2025.06.06.25328913.")
        assert "datasets" in specification(figure)


def test_published_bars_begin_at_nothing_and_careful_ones_at_their_lower_bound(facts: Facts) -> None:
    def ends(rules: str) -> list[tuple[str, str | None]]:
        chart = specification(review_figures(facts, rules, only="summary")[0])["hconcat"][1]["layer"][0]["encoding"]
        return [(chart["x"]["field"], chart.get("x2", {}).get("field"))]

    assert ends("published") == [("percent_children", None)]
    assert ends("careful") == [("percent_children_low", "percent_children_high")]


def test_figures_are_files_and_the_same_each_time(facts: Facts, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        save_figures(review_figures(facts, "published", only="documentation"), tmp_path / folder, formats=("svg",))
    one, two = ((tmp_path / folder / "review_documentation_published.svg").read_bytes() for folder in ("one", "two"))
    assert one == two
    assert b"conference papers" in one and b"Patient-Level" in one


@pytest.mark.parametrize("rules", RULES)
def test_facts_that_say_almost_nothing_are_drawn(tmp_path: Path, rules: str) -> None:
    path = write_workbook(tmp_path / "w.xlsx", {"Challenges": [{**ADULTS, sheets.ADULT: "N/A"}]})
    for figure in review_figures(import_workbook(path).all_facts(), rules):
        assert specification(figure)["description"].startswith(figure.title)
