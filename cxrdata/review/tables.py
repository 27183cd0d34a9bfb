"""The tables of the review: each by name, with what it shows and how it is made by either set of rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from cxrdata.review.facts import Facts

RULES = ("published", "careful")


@dataclass(frozen=True)
class ReviewTable:
    """One table. `title`: a line of help and the title of its figure; `about`: what its numbers are.
    `lists`: which of `papers` and `listings` it shows beside the datasets.
    """

    name: str
    title: str
    about: str
    lists: tuple[str, ...] = ()


TABLES: dict[str, ReviewTable] = {
    table.name: table
    for table in (
        ReviewTable(
            "summary",
            "Count countries, institutions, datasets, patients and children by source.",
            "A dataset is analysed where its share of adults and its number of patients are both known.",
        ),
        ReviewTable(
            "overview",
            "Show how many datasets say what, mean and range of age, and sexes.",
            "One row a measure.",
        ),
        ReviewTable(
            "papers",
            "Count conference papers: what data they use, whether they mention age.",
            "Papers of one conference (MIDL 2023 and 2024), and the datasets that they use.",
            lists=("papers", "listings"),
        ),
        ReviewTable(
            "documentation",
            "Show how age is documented, by source.",
            "Patient by patient, in bins, as summary statistics, in a description, or not at all.",
            lists=("papers",),
        ),
        ReviewTable(
            "children",
            "Show which datasets hold the children, by modality, and how many datasets are lacking.",
            "Sequences of CT, MRI and ultrasound, images of X-ray and fundus photography. Rows `needed` say how many more "
            "datasets, of children alone and as large as the others, would bring so many datasets with so many per cent "
            "children to 22 % children, the share of children among the people of the United States.",
        ),
        ReviewTable(
            "modalities",
            "Count datasets, adults and children by imaging modality.",
            "A dataset of several modalities is parted by the shares stated, else evenly.",
        ),
        ReviewTable(
            "tasks",
            "Count adults and children by modality and kind of task.",
            "A dataset of several tasks counts in each.",
        ),
        ReviewTable(
            "countries",
            "Count datasets, patients and children by country.",
            "Countries of the institutions that a dataset names.",
        ),
        ReviewTable(
            "repackaging",
            "Show what becomes of age where datasets are made from others.",
            "Datasets reused and made from them, MedSAM's parts, and the cases of VQA-RAD.",
            lists=("listings",),
        ),
    )
}


def make_table(name: str, facts: Facts, rules: str) -> pl.DataFrame:
    """A table of `TABLES` by `published` or `careful` rules."""
    from cxrdata.review import careful, careful_tables, published, published_tables

    if name == "summary":
        return published.summary(facts.datasets) if rules == "published" else careful.summary(facts.datasets)
    made = published_tables.TABLES if rules == "published" else careful_tables.TABLES
    return made[name](facts)
