"""Ages, sexes and views of a file beside the catalog's.

Columns are recognised by name, whatever their case, spaces and underscores. A cell that is blank claims nothing, so
it is not compared; neither is a row whose image the catalog knows no such fact about.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.harmonise.age import harmonise_age
from cxrdata.schemas.tables import VIEWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cxrdata.annotate.facts import Facts
    from cxrdata.vocabularies import Vocabularies

AGE_NAMES = frozenset(
    {"age", "ages", "ageyears", "ageinyears", "ageyr", "ageyrs", "ageatstudy", "ageatcxr", "patientage"}
)
SEX_NAMES = frozenset({"sex", "gender", "patientsex", "patientgender", "patientsexdicom", "sexdicom"})
VIEW_NAMES = frozenset({"view", "viewposition", "viewpositiondicom", "patientview", "projection", "appa"})
EXAMPLES = 5
_BLANKS = ("", "nan", "none", "null", "na", "n/a")
# Below this share of agreement, 0/1 is no spelling of the catalog's sexes.
_CODING_AGREES = 0.95
_NO_LIMIT = {"maximum_years": float("inf")}


def normalised(name: str) -> str:
    """A column or label name without case, spaces, underscores and other signs."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def cells(series: pl.Series) -> pl.Series:
    """A column's cells as trimmed lower-case text without a vain `.0`; blanks of all spellings null."""
    text = series.cast(pl.String).str.strip_chars().str.to_lowercase().str.replace(r"^(-?\d+)\.0*$", "$1")
    return pl.select(pl.when(~text.is_in(_BLANKS)).then(text).alias(series.name)).to_series()


def examples(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """The first rows of a frame with `row` (1-based, below the header), `image`, `file` and `catalog`."""
    return rows.select("row", "image", "file", "catalog").head(EXAMPLES).to_dicts()


def beside(facts: Facts, given: pl.Series, **known: pl.Series) -> pl.DataFrame:
    """The matched rows in which the file states something: row, image, dataset, file, and the columns of `known`."""
    frame = pl.DataFrame(
        {
            "row": pl.int_range(1, len(given) + 1, eager=True),
            "dataset": facts.keys["dataset"],
            "image_id": facts.keys["image_id"],
            "file": given.cast(pl.String),
        }
        | known
    )
    frame = frame.filter(pl.col("image_id").is_not_null() & cells(given).is_not_null())
    return frame.with_columns(image=pl.format("{}:{}", "dataset", "image_id"))


def _report(
    column: str, compared: pl.DataFrame, different: pl.DataFrame, *, unreadable: int, unknown: int
) -> dict[str, Any]:
    return {
        "column": column,
        "compared": compared.height,
        "different": different.height,
        "unreadable": unreadable,
        "catalog_unknown": unknown,
        "examples": examples(different),
    }


def compare_ages(facts: Facts, given: pl.Series) -> dict[str, Any]:
    """Ages in years or as DICOM age strings (`058Y`, `013M`, DICOM PS3.5 AS).

    A whole number n is a completed age, a true age in [n, n + 1). It differs where no age in it lies within the
    catalog's [age_low_years, age_high_years).
    """
    images = facts.images
    rows = beside(
        facts,
        given,
        low=images["age_low_years"],
        high=images["age_high_years"],
        age=images["age_raw"],
        known=images["age_years"],
    )
    rows = rows.with_columns(age_raw="file")
    dicom, years = (harmonise_age(rows.select("age_raw"), form, _NO_LIMIT) for form in ("dicom", "years"))
    rows = rows.with_columns(
        file_low=pl.Series(dicom["age_low_years"]).fill_null(years["age_low_years"]),
        file_high=pl.Series(dicom["age_high_years"]).fill_null(years["age_high_years"]),
    )
    readable = rows.filter(pl.col("file_low").is_not_null())
    compared = readable.filter(pl.col("low").is_not_null())
    # A point (58.5 years) has no width, so its lower end alone must lie within.
    reaches_in = (pl.col("file_high") > pl.col("low")) | (pl.col("file_low") >= pl.col("low"))
    within = reaches_in & (pl.col("file_low") < pl.col("high")).fill_null(value=True)
    different = compared.filter(~within)
    different = different.with_columns(catalog=cells(different["known"].round(2)))
    return _report(
        given.name,
        compared,
        different,
        unreadable=rows.height - readable.height,
        unknown=readable.height - compared.height,
    )


def compare_sexes(facts: Facts, given: pl.Series, vocabularies: Vocabularies) -> dict[str, Any]:
    """Sexes spelt as any dataset spells them (metadata/sex.tsv), or as 0 and 1 where one reading of them agrees with the
    catalog in more than 95 %; `coding` says which. `not_checked` gives the reason where neither does.
    """
    spelt = _terms(vocabularies.sex, "sex")
    values = set(cells(given).drop_nulls().unique())
    if values and values <= {"0", "1"}:
        return _compare_coded_sexes(facts, given)
    return _compare_terms(facts, given, spelt, facts.images["sex"]) | {"coding": None}


def _compare_coded_sexes(facts: Facts, given: pl.Series) -> dict[str, Any]:
    for coding in ({"0": "M", "1": "F"}, {"0": "F", "1": "M"}):
        report = _compare_terms(facts, given, coding, facts.images["sex"])
        if report["compared"] and report["different"] < (1 - _CODING_AGREES) * report["compared"]:
            return report | {"coding": ", ".join(f"{code} = {sex}" for code, sex in coding.items())}
    return {
        "column": given.name,
        "not_checked": "neither reading of 0 and 1 agrees with the catalog in more than 95 %",
    }


def compare_views(facts: Facts, given: pl.Series, vocabularies: Vocabularies) -> dict[str, Any]:
    """Views spelt as any dataset spells them (metadata/views.tsv) or as the catalog does."""
    plain = vocabularies.views.filter(~pl.col("field").str.contains("|", literal=True) & (pl.col("field") != "path"))
    terms = _terms(plain, "view") | {view.lower(): view for view in VIEWS}
    return _compare_terms(facts, given, terms, facts.images["view"])


def _terms(vocabulary: pl.DataFrame, meaning: str) -> dict[str, str | None]:
    """Raw value in lower case -> what all datasets mean by it; None where it states nothing or they differ."""
    values = vocabulary.select(pl.col("raw_value").str.to_lowercase(), meaning).drop_nulls("raw_value").unique()
    single = pl.when(pl.col(meaning).n_unique() == 1).then(pl.col(meaning).first())
    return dict(values.group_by("raw_value").agg(single.alias(meaning)).iter_rows())


def _compare_terms(facts: Facts, given: pl.Series, terms: Mapping[str, str | None], known: pl.Series) -> dict[str, Any]:
    meant = cells(given).replace_strict(terms, default=None, return_dtype=pl.String)
    rows = beside(facts, given, meant=meant, text=cells(given), catalog=known)
    unreadable = int((~rows["text"].is_in(list(terms))).sum())
    readable = rows.filter(pl.col("meant").is_not_null())
    compared = readable.filter(pl.col("catalog").is_not_null())
    different = compared.filter(pl.col("meant") != pl.col("catalog"))
    return _report(
        given.name,
        compared,
        different,
        unreadable=unreadable,
        unknown=readable.height - compared.height,
    )
