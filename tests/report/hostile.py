"""A report of a catalog whose names try to be code: of datasets, titles, files, races."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from cxrdata.report.contents import Contents
from cxrdata.report.page import Page
from cxrdata.report.prevalence import prevalence
from cxrdata.report.sections import (
    age_section,
    label_section,
    ledger_section,
    missing_section,
    overview,
    people_section,
)
from cxrdata.report.tallies import tally
from cxrdata.store.catalog import Catalog

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
FORMULA = "=cmd|' /C calc'!A0"


def hostile_page(catalog: Catalog, contents: Contents) -> Page:
    """The page of `contents` with nih_cxr14 renamed to HOSTILE and chexpert to FORMULA, and texts to match."""
    names = {"nih_cxr14": HOSTILE, "chexpert": FORMULA}

    def renamed(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(pl.col("dataset").replace(names))

    labels = renamed(prevalence(catalog, tally(contents)))
    bad = replace(
        contents,
        **{name: renamed(getattr(contents, name)) for name in ("groups", "years", "flags", "missing", "rejects")},
        datasets=renamed(contents.datasets).with_columns(title=pl.lit(HOSTILE), terms=pl.lit(FORMULA)),
        races=renamed(contents.races).with_columns(pl.col("race").replace({"White": HOSTILE, "Asian": FORMULA})),
        ledger=renamed(contents.ledger).with_columns(
            source_file=pl.concat_str(pl.lit("a 'b' \"c\" "), pl.lit(HOSTILE), "source_file")
        ),
    )
    tallies = tally(bad)
    sections = [
        overview(bad, tallies), age_section(bad, tallies), people_section(tallies), label_section(labels, bad),
        missing_section(tallies), ledger_section(tallies),
    ]  # fmt: skip
    return Page(title=HOSTILE, said=[HOSTILE], notices=[FORMULA], sections=sections, foot=HOSTILE)
