"""What a report says of a catalog, counted by SQL: aggregates alone, before anything is masked.

Each count has its persons beside it: distinct patients, or images where the dataset tells no patients apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.store.database import literal, quoted

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

UNKNOWN = "unknown"
OLDEST = 90  # ages from here on are one bin: so few people are that old that a year of age would tell them apart
# low bound in years -> name; of the best estimate of an age.
BANDS = {0: "under 18", 18: "18 to 39", 40: "40 to 59", 60: "60 to 79", 80: "80 and over"}
CHILDREN = BANDS[0]
# What people are grouped by, and the SQL of it on `images`.
GROUPS = {
    "sex": "sex",
    "race": "race",
    "age": "CASE "
    + " ".join(f"WHEN age_years >= {low} THEN '{name}'" for low, name in reversed(BANDS.items()))
    + " END",
    "view": "view",
}
# Columns of `images` whose absence matters to a study; the patient's and the image's first.
LOOKED_AT = (
    "patient_id", "study_id", "age_years", "sex", "race", "ethnicity", "view", "position", "study_date", "manufacturer",
    "original_rows_px", "pixel_spacing_row_mm", "patient_size_m", "patient_weight_kg",
)  # fmt: skip
# Counted by their hashes, in half the time: that two of a million persons share one of 64 bits is out of the question.
_PERSON = "hash(coalesce(patient_id, image_id))"
_COUNTS = f"count(*) AS images, count(DISTINCT {_PERSON}) AS persons"


@dataclass(frozen=True)
class Contents:
    """What was counted; the columns stand beside each table.

    datasets: dataset, title, institution, country, licence, terms, doi, homepage, patient_ids, synthetic, images, studies,
    persons, labelers. groups: dataset, attribute, value, images, persons. races: dataset, race, ethnicity, images, persons.
    years: dataset, year (0 to 90), images, persons. flags: dataset, flag, images, persons, of the images
    without an age. missing: dataset, name, images, persons. ledger, rejects: as in the catalog, rejects counted.
    """

    datasets: pl.DataFrame
    groups: pl.DataFrame
    races: pl.DataFrame
    years: pl.DataFrame
    flags: pl.DataFrame
    missing: pl.DataFrame
    ledger: pl.DataFrame
    rejects: pl.DataFrame


def read_contents(catalog: Catalog) -> Contents:
    """Count what a report tells, but for labels and splits. A second or two for a million images."""
    return Contents(
        datasets=_datasets(catalog),
        groups=pl.concat(_group(catalog, name, sql) for name, sql in GROUPS.items()),
        races=catalog.sql(
            f"SELECT dataset, coalesce(race, '{UNKNOWN}') AS race, coalesce(ethnicity, '{UNKNOWN}') AS ethnicity, {_COUNTS} "
            "FROM images GROUP BY ALL ORDER BY ALL"
        ),
        years=catalog.sql(
            f"SELECT dataset, least(floor(age_years), {OLDEST})::BIGINT AS year, {_COUNTS} FROM images "
            "WHERE age_years IS NOT NULL GROUP BY ALL ORDER BY ALL"
        ),
        flags=catalog.sql(
            f"SELECT dataset, age_flag AS flag, {_COUNTS} FROM images WHERE age_years IS NULL GROUP BY ALL ORDER BY ALL"
        ),
        missing=_missing(catalog),
        ledger=catalog.sql("FROM ledger ORDER BY dataset, source_file"),
        rejects=catalog.sql(
            "SELECT dataset, source_file, kind, code, column_name, count(*) AS n FROM rejects GROUP BY ALL ORDER BY ALL"
        ),
    )


def in_catalog_order(names: Sequence[str], contents: Contents) -> list[str]:
    """Datasets in the order of the catalog."""
    return [name for name in contents.datasets["dataset"].to_list() if name in set(names)]


def _datasets(catalog: Catalog) -> pl.DataFrame:
    return catalog.sql(f"""
        WITH counted AS (
          SELECT dataset, {_COUNTS}, count(DISTINCT study_id) AS studies FROM images GROUP BY dataset
        ),
        labelled AS (
          SELECT dataset, list(DISTINCT labeler ORDER BY labeler) AS labelers FROM label_counts GROUP BY dataset
        )
        SELECT dataset, title, institution, country, licence, terms, doi, homepage, patient_ids, synthetic,
          images, nullif(studies, 0) AS studies, persons, labelers
        FROM datasets JOIN counted USING (dataset) LEFT JOIN labelled USING (dataset)
        ORDER BY dataset""")


def _group(catalog: Catalog, name: str, sql: str) -> pl.DataFrame:
    return catalog.sql(
        f"SELECT dataset, {literal(name)} AS attribute, coalesce({sql}, '{UNKNOWN}') AS value, {_COUNTS} "
        "FROM images GROUP BY ALL ORDER BY ALL"
    )


def _missing(catalog: Catalog) -> pl.DataFrame:
    """Of each column looked at: the images without a value, and of how many persons they are."""
    by_person = ", ".join(f"count({quoted(name)}) AS {quoted(name)}" for name in LOOKED_AT)
    parts = ", ".join(
        f"sum(n - {quoted(name)})::BIGINT AS {quoted(name)}, count(*) FILTER (n > {quoted(name)}) AS {quoted('persons ' + name)}"
        for name in LOOKED_AT
    )
    wide = catalog.sql(f"""
        WITH people AS (
          SELECT dataset, {_PERSON} AS person, count(*) AS n, {by_person} FROM images GROUP BY ALL
        )
        SELECT dataset, {parts} FROM people GROUP BY dataset ORDER BY dataset""")
    unlabelled = catalog.sql(f"""
        SELECT dataset, 'labels' AS name, count(*) AS images, count(DISTINCT {_PERSON}) AS persons
        FROM images JOIN (SELECT dataset, image_id FROM image_labels WHERE labeler IS NULL) USING (dataset, image_id)
        GROUP BY dataset""")
    long = pl.concat(
        wide.select("dataset", pl.lit(name).alias("name"), images=name, persons=f"persons {name}") for name in LOOKED_AT
    )
    return pl.concat([long, unlabelled.cast(dict(long.schema))])  # type: ignore[arg-type]
