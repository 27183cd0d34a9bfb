"""What a study ends in: its page, the page's figures, and the published figures beside those found here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from cxrdata.report.figure import Figure
    from cxrdata.report.page import Page


def write_page(page: Page, published: pl.DataFrame, folder: Path, *, figures: Sequence[Figure] | None = None) -> None:
    """report.html, figures/ (SVG, PNG, CSV) and published.csv into a folder. figures: those of the page that are saved; null for
    all."""
    from cxrdata.report.figure import FORMATS, save_figures
    from cxrdata.report.page import render

    (folder / "report.html").write_text(render(page), encoding="utf-8")
    save_figures(page.figures if figures is None else figures, folder / "figures", formats=FORMATS)
    published.write_csv(folder / "published.csv")
