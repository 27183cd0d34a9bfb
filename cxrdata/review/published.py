"""The review by the rules of its publication (Hua et al., medRxiv 2025.06.06.25328913, and its repository).

These rules hide things: more than x % adult counts as exactly x, what is unknown is left out, and datasets of nearly
one name count twice. They stand here as they were applied, so that the published figures follow from the facts.
"""

from __future__ import annotations

import polars as pl

from cxrdata.review.counting import PERCENT_DIGITS

SUMMARY_SCHEMA = {
    "source": pl.String,
    "countries": pl.Int64,
    "institutions": pl.Int64,
    "datasets": pl.Int64,
    "analysed": pl.Int64,
    "patients": pl.Int64,
    "children": pl.Int64,
    "percent_children": pl.Float64,
}
# Row of the summary -> the entries that it is about; duplicates are removed after this.
SELECTIONS: dict[str, pl.Expr] = {
    "total": pl.lit(value=True),
    "without_cancer": ~pl.col("cancer"),
    "collections": pl.col("source") == "collections",
    "tcia": pl.col("part") == "tcia",
    "midrc": pl.col("part") == "midrc",
    "stanford_aimi": pl.col("part") == "stanford_aimi",
    "challenges": pl.col("source") == "challenges",
    "grand_challenge": pl.col("part") == "grand_challenge",
    "kaggle": pl.col("part") == "kaggle",
    "highly_cited": pl.col("source") == "highly_cited",
    "benchmarks": pl.col("source") == "benchmarks",
    "msd": pl.col("part") == "msd",
    "medfair": pl.col("part") == "medfair",
    "amos": pl.col("part") == "amos",
}


def distinct_datasets(facts: pl.DataFrame) -> pl.DataFrame:
    """The first entry of each exact name, in the order challenges, benchmarks, highly cited, collections."""
    return facts.sort("entry").unique("dataset_name", keep="first", maintain_order=True)


def analysed(datasets: pl.DataFrame) -> pl.DataFrame:
    """Those whose share of adults and number of patients are both known, imputed numbers included."""
    return datasets.filter(pl.col("adult_share").is_not_null() & pl.col("patients").is_not_null())


def summary(facts: pl.DataFrame) -> pl.DataFrame:
    """One row a source, the columns of `SUMMARY_SCHEMA`; `percent_children` null where nothing is analysed.

    Countries and institutions are counted over all datasets, patients and children over those analysed.
    """
    rows = [_row(source, distinct_datasets(facts.filter(chosen))) for source, chosen in SELECTIONS.items()]
    return pl.DataFrame(rows, schema=SUMMARY_SCHEMA, orient="row")


def _row(source: str, datasets: pl.DataFrame) -> tuple[str, int, int, int, int, int, int, float | None]:
    known = analysed(datasets)
    adults = children = 0.0
    # The published patients are adults plus children, each added up dataset by dataset in floating point, and cut to
    # a whole number: 231,077 in collections where the numbers themselves sum to 231,078. Only this order of sums gives
    # all of the published figures, so it is written out.
    for patients, share in known.select("patients", "adult_share").iter_rows():
        adults += patients * share
        children += patients * (1 - share)
    total = adults + children
    return (
        source,
        _distinct(datasets, "institution_countries"),
        _distinct(datasets, "institutions"),
        datasets.height,
        known.height,
        int(total),
        int(children),
        round(100 * children / total, PERCENT_DIGITS) if total else None,
    )


def _distinct(datasets: pl.DataFrame, column: str) -> int:
    return datasets[column].explode().drop_nulls().n_unique()
