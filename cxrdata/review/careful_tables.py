"""The other tables of the review, read carefully; `careful` has the summary and the rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from cxrdata.review.careful import (
    CHILDREN_SCHEMA,
    children_among,
    children_columns,
    largest_of,
    merged,
    whole,
    with_known,
)
from cxrdata.review.careful_lists import documentation, papers, repackaging
from cxrdata.review.counting import (
    CHILDREN_WANTED,
    MODALITIES,
    PERCENT_DIGITS,
    TASKS,
    datasets_needed,
    has_task,
    how_many,
    modality_points,
    percent,
    real,
    summed,
    unit,
)
from cxrdata.review.facts import Facts
from cxrdata.review.published import analysed, distinct_datasets

_SHARE_DIGITS = 4
UNKNOWN_COUNTRY = "unknown"


def overview(facts: Facts) -> pl.DataFrame:
    """measure, value, low, high, datasets, patients: a value where the facts give one, else its bounds.

    `datasets` and `patients` say what a measure rests on.
    """
    datasets = merged(facts.datasets)
    rows: list[tuple[Any, ...]] = [
        ("entries", facts.datasets.height, None, None, None, None),
        *_sizes(datasets),
        *_ages(datasets, distinct_datasets(facts.datasets)),
        *_sexes(datasets),
        *_children_rows("", datasets),
    ]
    name = largest_of(datasets)
    rows += _children_rows("_without_largest", datasets.filter(pl.col("canonical_name") != pl.lit(name)))
    names = {"measure": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame(rows, schema={**names, "datasets": pl.Int64, "patients": pl.Int64}, orient="row")


def _sizes(datasets: pl.DataFrame) -> list[tuple[Any, ...]]:
    conditions = {
        "datasets": pl.lit(value=True),
        "datasets_age_class_unknown": pl.col("age_class").is_null(),
        "datasets_share_of_adults_unknown": pl.col("adult_share").is_null(),
        "datasets_share_of_adults_as_bound": pl.col("adult_share").is_not_null()
        & (pl.col("adult_share_low") < pl.col("adult_share_high")),
        "datasets_patients_imputed": pl.col("patients_imputed_from").is_not_null(),
        "datasets_patients_unknown": pl.col("patients").is_null(),
        "datasets_analysed": pl.col("adult_share").is_not_null() & pl.col("patients").is_not_null(),
    }
    chosen = {measure: datasets.filter(condition) for measure, condition in conditions.items()}
    return [(name, rows.height, None, None, rows.height, summed(rows["patients"])) for name, rows in chosen.items()]


def _ages(datasets: pl.DataFrame, as_published: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Mean ages are divided by the patients who have one."""
    stated = datasets.filter(pl.col("age_mean_years").is_not_null() & pl.col("patients").is_not_null())
    # The publication's datasets and whole years, rightly divided: what its 50.55 would have been.
    theirs = analysed(as_published).filter(pl.col("age_mean_unit") == "years")
    return [
        ("mean_age_years", _mean(stated["age_mean_years"], stated), None, None, *_base(stated)),
        ("mean_age_years_of_published_datasets", _mean(theirs["age_mean_years"].floor(), theirs), None, None, *_base(theirs)),
        ("min_age_years", real(datasets["age_min_years"].min()), None, None, *_base(datasets, "age_min_years")),
        ("max_age_years", real(datasets["age_max_years"].max()), None, None, *_base(datasets, "age_max_years")),
    ]  # fmt: skip


def _base(datasets: pl.DataFrame, column: str | None = None) -> tuple[int, int]:
    rows = datasets.filter(pl.col(column).is_not_null()) if column else datasets
    return rows.height, summed(rows["patients"])


def _mean(values: pl.Series, datasets: pl.DataFrame) -> float | None:
    patients = summed(datasets["patients"])
    return round(float((values * datasets["patients"]).sum()) / patients, PERCENT_DIGITS) if patients else None


def _sexes(datasets: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Among those of whom it is said, and the bounds over all: those of whom it is not said may be all or none."""
    counted = datasets.filter(pl.col("patients").is_not_null())
    said = counted.filter(pl.col("female_share").is_not_null())
    all_patients = summed(counted["patients"])
    female = float((said["patients"] * said["female_share"]).sum())
    unsaid = all_patients - summed(said["patients"])
    known = summed(said["patients"])
    return [
        ("female_share_where_documented", round(female / known, _SHARE_DIGITS) if known else None, None, None, *_base(said)),
        (
            "female_share", None, round(female / all_patients, _SHARE_DIGITS) if all_patients else None,
            round((female + unsaid) / all_patients, _SHARE_DIGITS) if all_patients else None, *_base(counted),
        ),
    ]  # fmt: skip


def _children_rows(suffix: str, datasets: pl.DataFrame) -> list[tuple[Any, ...]]:
    found = children_among(datasets)
    low, high, percent_low, percent_high = found.bounds()
    base = (found.datasets, round(found.size))
    return [
        (f"children{suffix}", None, low, high, *base),
        (f"percent_children{suffix}", None, percent_low, percent_high, *base),
    ]


def children(facts: Facts) -> pl.DataFrame:
    """kind, modality, dataset_name, unit, children_low, children_high, percent_low, percent_high, datasets,
    datasets_needed_low, datasets_needed_high.

    kind `dataset`: what a dataset gives, and per cent of the children by either bound of it against the rest; `total`:
    all of a modality (of every modality: patients), and per cent children; `without_largest`: the same without the
    dataset that holds most; `share_unknown`: sizes of datasets of which no share is known; `needed`: datasets of
    children alone that would bring the datasets analysed to 22 % children.
    """
    datasets = merged(facts.datasets)
    rows: list[tuple[Any, ...]] = []
    for modality, frame, size in _by_modality(datasets):
        what = "patients" if size == "patients" else unit(modality)
        rows += [("dataset", modality, name, what, *rest, None, None, None) for name, *rest in _parts(frame, size)]
        largest = largest_of(frame, size)
        rest = frame.filter(pl.col("canonical_name") != pl.lit(largest)) if largest else frame
        for kind, name, some in (("total", None, frame), ("without_largest", largest, rest)):
            found = children_among(some, size)
            rows.append((kind, modality, name, what, *found.bounds(), found.datasets, None, None))
        unknown = frame.filter(pl.col("adult_share").is_null())
        rows.append((
            "share_unknown", modality, None, what, 0, round(summed(unknown[size])), None, None, unknown.height, None, None,
        ))  # fmt: skip
    found = children_among(datasets)
    shares = [found.low / found.size, found.high / found.size] if found.size else [0.0, 0.0]
    needed = [round(max(datasets_needed(found.datasets, share), 0.0), 2) for share in reversed(shares)]
    wanted = 100 * CHILDREN_WANTED
    rows.append(("needed", "any", None, "datasets", None, None, wanted, wanted, found.datasets, *needed))
    return pl.DataFrame(
        rows,
        schema={
            "kind": pl.String, "modality": pl.String, "dataset_name": pl.String, "unit": pl.String,
            "children_low": pl.Int64, "children_high": pl.Int64, "percent_low": pl.Float64, "percent_high": pl.Float64,
            "datasets": pl.Int64, "datasets_needed_low": pl.Float64, "datasets_needed_high": pl.Float64,
        },
        orient="row",
    )  # fmt: skip


def _by_modality(datasets: pl.DataFrame) -> list[tuple[str, pl.DataFrame, str]]:
    """All datasets by patients, then each modality by its sequences or images."""
    split = [(name, modality_points(datasets, name, every_statement=True), "points") for name in MODALITIES]
    return [("any", datasets, "patients"), *split]


def _parts(datasets: pl.DataFrame, size: str) -> list[tuple[Any, ...]]:
    """name, children_low, children_high, percent_low, percent_high of the datasets that may hold children."""
    total = children_among(datasets, size)
    some = with_known(datasets, size).filter(pl.col("adult_share_low") < 1)
    order = some.with_columns(n=pl.col(size) * (1 - pl.col("adult_share_low"))).sort(
        ["n", "entry"], descending=[True, False]
    )
    rows = []
    for row in order.iter_rows(named=True):
        low, high = row[size] * (1 - row["adult_share_high"]), row[size] * (1 - row["adult_share_low"])
        # Least where the others hold most, and the other way round.
        least, most = (low, low + total.high - high), (high, high + total.low - low)
        rows.append((row["canonical_name"], *whole(low, high), percent(*least), percent(*most)))
    return rows


def modalities(facts: Facts) -> pl.DataFrame:
    """modality, datasets, of, percent_datasets, unit, analysed, size, adults_low, adults_high, and the children."""
    datasets = merged(facts.datasets)
    rows = []
    for modality in MODALITIES:
        of_it = modality_points(datasets, modality, every_statement=True)
        share = percent(of_it.height, datasets.height)
        rows.append((modality, of_it.height, datasets.height, share, unit(modality), *_split(of_it)))
    rows.sort(key=lambda row: -row[1])
    names = {"modality": pl.String, "datasets": pl.Int64, "of": pl.Int64, "percent_datasets": pl.Float64}
    return pl.DataFrame(rows, schema={**names, "unit": pl.String, **_SPLIT_SCHEMA}, orient="row")


def tasks(facts: Facts) -> pl.DataFrame:
    """modality, task, unit, datasets, analysed, size, adults_low, adults_high, and the children; of modality `any` all
    datasets of a task category, in patients. `not stated`: the datasets whose task the review does not name.
    """
    datasets = merged(facts.datasets)
    rows: list[tuple[Any, ...]] = []
    for modality in MODALITIES:
        of_it = modality_points(datasets, modality, every_statement=True)
        for task, words in TASKS.items():
            chosen = of_it.filter(has_task(words))
            rows.append((modality, task, unit(modality), chosen.height, *_split(chosen)))
    categories = sorted(set(datasets["task_categories"].explode().drop_nulls().to_list()))
    groups = {category: datasets.filter(has_task(category)) for category in categories}
    groups["not stated"] = datasets.filter(pl.col("task_categories").is_null())
    for category, chosen in sorted(groups.items(), key=lambda item: -item[1].height):
        rows.append(("any", category, "patients", chosen.height, *_split(chosen, "patients")))
    names = {"modality": pl.String, "task": pl.String, "unit": pl.String, "datasets": pl.Int64}
    return pl.DataFrame(rows, schema={**names, **_SPLIT_SCHEMA}, orient="row")


_SPLIT_SCHEMA: dict[str, Any] = {
    "analysed": pl.Int64, "size": pl.Int64, "adults_low": pl.Int64, "adults_high": pl.Int64, **CHILDREN_SCHEMA,
}  # fmt: skip


def _split(datasets: pl.DataFrame, size: str = "points") -> tuple[Any, ...]:
    found = children_among(datasets, size)
    adults = whole(found.size - found.high, found.size - found.low)
    return found.datasets, round(found.size), *adults, *children_columns(datasets, size)


def countries(facts: Facts) -> pl.DataFrame:
    """country, datasets, patients_low, patients_high, and the children; `unknown`: datasets that name no country.

    How a dataset's patients part between its countries is unknown: the least are those of datasets of the country
    alone, the most all those of datasets that name it.
    """
    datasets = merged(facts.datasets).with_columns(
        countries=pl.col("institution_countries").list.drop_nulls().list.unique().list.sort()
    )
    named = datasets.filter(pl.col("countries").list.len() > 0)
    nameless = datasets.filter(pl.col("countries").list.len().fill_null(0) == 0)
    groups = {country: named.filter(pl.col("countries").list.contains(country)) for country in _countries(named)}
    rows = [_country(country, group) for country, group in groups.items()]
    rows.sort(key=lambda row: (-row[3], row[0]))
    rows.append(_country(UNKNOWN_COUNTRY, nameless))
    return pl.DataFrame(
        rows,
        schema={
            "country": pl.String, "datasets": pl.Int64, "patients_low": pl.Int64, "patients_high": pl.Int64,
            "children_low": pl.Int64, "children_high": pl.Int64, "datasets_share_unknown": pl.Int64,
            "datasets_patients_unknown": pl.Int64, "largest_dataset": pl.String,
            "patients_high_without_largest": pl.Int64, "children_low_without_largest": pl.Int64,
            "children_high_without_largest": pl.Int64,
        },
        orient="row",
    )  # fmt: skip


def _countries(named: pl.DataFrame) -> list[str]:
    return sorted(set(named["countries"].explode().to_list()))


def _country(country: str, datasets: pl.DataFrame) -> tuple[Any, ...]:
    largest = largest_of(datasets)
    rest = datasets.filter(pl.col("canonical_name") != pl.lit(largest)) if largest else datasets
    return (
        country, datasets.height, summed(_alone(datasets)["patients"]), summed(datasets["patients"]),
        *_national(datasets), how_many(datasets, pl.col("adult_share").is_null()),
        how_many(datasets, pl.col("patients").is_null()), largest, summed(rest["patients"]), *_national(rest),
    )  # fmt: skip


def _alone(datasets: pl.DataFrame) -> pl.DataFrame:
    """Those of one country alone, or, of the unknown, of none."""
    return datasets.filter(pl.col("countries").list.len().fill_null(0) <= 1)


def _national(datasets: pl.DataFrame) -> tuple[int, int]:
    alone, all_of_it = children_among(_alone(datasets)), children_among(datasets)
    return whole(alone.low, all_of_it.high)


TABLES: dict[str, Callable[[Facts], pl.DataFrame]] = {
    "overview": overview, "papers": papers, "documentation": documentation, "children": children,
    "modalities": modalities, "tasks": tasks, "countries": countries, "repackaging": repackaging,
}  # fmt: skip
