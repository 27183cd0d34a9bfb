"""`cxrdata report`: what is in a catalog, as one HTML file of aggregates."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from cxrdata.report.contents import read_contents
from cxrdata.report.figure import require_altair
from cxrdata.report.page import Page, drawing_code, render
from cxrdata.report.prevalence import prevalence
from cxrdata.report.section import Section
from cxrdata.report.sections import (
    age_section,
    label_section,
    ledger_section,
    missing_section,
    overview,
    people_section,
)
from cxrdata.report.split_sections import chosen, split_section
from cxrdata.report.tallies import tally
from cxrdata.small_cells import MIN_CELL
from cxrdata.version import __version__

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

TITLE = "Report on the catalog"


def catalog_report(
    catalog: Catalog, *, min_cell: int = MIN_CELL, splits: Sequence[str] | None = None, title: str | None = None
) -> Page:
    """The report of a catalog: contents, ages, people, labels, what is missing, ledger, splits (all, or those named), and
    the review's figures. Counts of fewer than `min_cell` persons are masked (`disclosure`).

    Raises CxrError: CXR-501 no such split, CXR-604 without the extra `[report]`.
    """
    require_altair()
    names = chosen(catalog, splits)
    contents = read_contents(catalog)
    tallies = tally(contents, min_cell=min_cell)
    sections = [
        overview(contents, tallies),
        age_section(contents, tallies),
        people_section(tallies),
        label_section(prevalence(catalog, tallies), contents, min_cell=min_cell),
        missing_section(tallies),
        *(split_section(catalog, name, tallies) for name in names),
        ledger_section(tallies),
    ]
    return Page(
        title=title or TITLE,
        said=_said(min_cell),
        notices=_notices(contents.datasets.filter("synthetic")["dataset"].to_list()),
        sections=[*sections, review_section()],
        foot=f"cxrdata {__version__}, catalog build {catalog.build.build_id}. {_TERMS}",
    )


def html_report(
    catalog: Catalog, *, min_cell: int = MIN_CELL, splits: Sequence[str] | None = None, title: str | None = None
) -> tuple[Page, str]:
    """`catalog_report` and its HTML; the drawing code is fetched from the extra while the catalog is counted."""
    require_altair()
    with ThreadPoolExecutor(max_workers=1) as beside:
        code = beside.submit(drawing_code)
        page = catalog_report(catalog, min_cell=min_cell, splits=splits, title=title)
        code.result()
    return page, render(page)


def review_section() -> Section:
    """The figures of the review of public imaging datasets that ships, as its publication counted."""
    from cxrdata.report.review_figures import review_figures
    from cxrdata.review.facts import load_facts

    facts, _ = load_facts(None)
    said = (
        "Not about this catalog but about all public medical imaging datasets that the review lists, as its publication counted "
        "them; these are counts of datasets and papers, and stated sizes, so none is masked. "
        "`cxrdata review --help` has them by careful rules too."
    )
    return Section("review", "Children in public imaging datasets", [said], list(review_figures(facts, "published")))


_TERMS = "The terms of each dataset hold for what is derived from it too: see DATA_TERMS.md in the catalog's folder."


def _said(min_cell: int) -> list[str]:
    said = ["Aggregates only: no row of any patient is in this file. Each figure has its numbers as a table below it."]
    if min_cell > 1:
        said.append(
            f"Counts of 1 to {min_cell - 1} persons (<{min_cell}) are masked, and others with them, so that none follows from a "
            "total; all of these read “masked”. A person is a patient, or an image where a dataset tells no patients apart. "
            "0 is shown. The share of a large masked count is rounded so that the count does not follow."
        )
    return said


def _notices(synthetic: list[str]) -> list[str]:
    if not synthetic:
        return []
    return [
        f"SYNTHETIC DATA: {', '.join(synthetic)} {'is' if len(synthetic) == 1 else 'are'} made of random numbers. No number about {'it' if len(synthetic) == 1 else 'them'} says anything about patients."
    ]
