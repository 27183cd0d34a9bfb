"""The other tables of the review by the rules of its publication; `published` has the summary and what they share.

Each follows what the publication's code counted and printed, its choices included: a mean age divided by patients
without one, patients parted evenly between countries and rounded down, sexes under the key `Gender` unread.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import polars as pl

from cxrdata.review.counting import (
    HOW_ORDER,
    MODALITIES,
    NOT_DOCUMENTED,
    PATIENT_LEVEL,
    PERCENT_DIGITS,
    SOURCE_ORDER,
    TASKS,
    datasets_needed,
    has_task,
    how_many,
    modality_points,
    percent,
    real,
    reviewed_papers,
    slug,
    summed,
    unit,
)
from cxrdata.review.facts import Facts
from cxrdata.review.published import analysed, distinct_datasets

# What the publication put into its formula, where its text says 1.18 %.
_SHARE_REACHED, _DATASETS_REACHED = 0.018, (100, 110)
_SHARE_DIGITS = 4
_LEFT_OUT_SECONDARY = "KiTS23"


def overview(facts: Facts) -> pl.DataFrame:
    """measure, value: how many datasets say what, mean and bounds of age, share of female patients."""
    datasets = distinct_datasets(facts.datasets)
    known = analysed(datasets)
    imputable = pl.col("modalities").list.eval(pl.element().is_in(["CT", "MRI", "Fundus"])).list.any()
    whole_years = known.filter(pl.col("age_mean_unit") == "years")
    rows: list[tuple[str, float | None]] = [
        ("datasets", datasets.height),
        ("datasets_with_age", how_many(datasets, pl.col("age_class").is_not_null())),
        ("datasets_with_share_of_adults", how_many(datasets, pl.col("adult_share").is_not_null())),
        ("datasets_without_patients_stated", how_many(datasets, pl.col("patients_stated").is_null())),
        ("datasets_to_impute", how_many(datasets, pl.col("patients_stated").is_null() & imputable)),
        ("datasets_without_patients", how_many(datasets, pl.col("patients").is_null())),
        ("datasets_with_patients", how_many(datasets, pl.col("patients").is_not_null())),
        ("datasets_analysed", known.height),
        # Ages are cut to whole years, and the sum is divided by all patients, those without an age too.
        ("mean_age_years", _mean(whole_years["age_mean_years"].floor(), whole_years["patients"], known["patients"])),
        ("min_age_years", real(known["age_min_years"].min())),
        ("max_age_years", real(known["age_max_years"].max())),
        *_female(known),
    ]
    return pl.DataFrame(rows, schema={"measure": pl.String, "value": pl.Float64}, orient="row")


def _mean(values: pl.Series, weights: pl.Series, of: pl.Series) -> float | None:
    patients = summed(of)
    return round(float((values * weights).sum()) / patients, PERCENT_DIGITS) if patients else None


def _female(known: pl.DataFrame) -> list[tuple[str, float | None]]:
    stated = pl.col("female_share").is_not_null() & (pl.col("sex_stated_as") == "Sex")
    read = known.with_columns(female=pl.when(stated).then(pl.col("female_share")))
    said = read.filter(pl.col("female").is_not_null())
    half = read.with_columns(pl.col("female").fill_null(0.5))

    def by_patient(frame: pl.DataFrame) -> float | None:
        total = summed(frame["patients"])
        return round(float((frame["patients"] * frame["female"]).sum()) / total, _SHARE_DIGITS) if total else None

    mean = real(said["female"].mean())
    return [
        ("female_share_by_dataset", None if mean is None else round(mean, _SHARE_DIGITS)),
        ("female_share_by_patient", by_patient(said)),
        ("female_share_by_patient_half_where_unknown", by_patient(half)),
    ]


def papers(facts: Facts) -> pl.DataFrame:
    """about, measure, count, of, percent: the conference papers, and the datasets that they use."""
    chosen = reviewed_papers(facts.papers)
    used = facts.listings.filter(pl.col("listing") == "midl_datasets")
    with_children = pl.col("age_class").is_in(["children", "both"])
    rows = [
        ("papers", "meet_the_criteria", chosen.height, facts.papers.height),
        ("papers", "use_public_data", how_many(chosen, pl.col("data_kinds").list.contains("public")), chosen.height),
        ("papers", "mention_age", how_many(chosen, pl.col("age_mentioned")), chosen.height),
        ("papers", "known_to_have_children", how_many(chosen, with_children), chosen.height),
        ("datasets", "document_age", how_many(used, pl.col("age_documented_how").is_not_null()), used.height),
        ("datasets", "patient_level_age", how_many(used, pl.col("age_documented_how") == PATIENT_LEVEL), used.height),
        ("datasets", "known_to_have_children", how_many(used, with_children), used.height),
    ]
    return pl.DataFrame(
        [(*row, percent(row[2], row[3])) for row in rows],
        schema={
            "about": pl.String, "measure": pl.String, "count": pl.Int64, "of": pl.Int64, "percent": pl.Float64,
        },
        orient="row",
    )  # fmt: skip


def documentation(facts: Facts) -> pl.DataFrame:
    """source, how, datasets, of, percent: how age is documented; every entry of a source, papers among them."""
    groups = {"papers": reviewed_papers(facts.papers)} | {
        source: facts.datasets.filter(pl.col("source") == source) for source in SOURCE_ORDER[1:]
    }
    rows = []
    for source, entries in groups.items():
        how = entries["age_documented_how"].fill_null(NOT_DOCUMENTED)
        for word in HOW_ORDER:
            count = int((how == word).sum())
            rows.append((source, word, count, entries.height, percent(count, entries.height, 1)))
    names = {"source": pl.String, "how": pl.String, "datasets": pl.Int64, "of": pl.Int64, "percent": pl.Float64}
    return pl.DataFrame(rows, schema=names, orient="row")


def children(facts: Facts) -> pl.DataFrame:
    """kind, modality, dataset_name, unit, children, percent, datasets, datasets_needed.

    kind `dataset`: what a dataset gives to the children of a modality, and per cent of them; `modality`: all of it, and
    per cent children; `needed`: datasets of children alone that would bring `datasets` ones of so many per cent
    children to 22 %.
    """
    known = analysed(distinct_datasets(facts.datasets))
    rows: list[tuple[Any, ...]] = []
    for modality in MODALITIES:
        of_it = modality_points(known, modality, every_statement=False)
        total = of_it.select((pl.col("points") * (1 - pl.col("adult_share"))).sum()).item()
        young = of_it.filter(pl.col("adult_share") < 1).with_columns(n=pl.col("points") * (1 - pl.col("adult_share")))
        for name, n in (
            young.sort(["n", "entry"], descending=[True, False], nulls_last=True)
            .select("dataset_name", "n")
            .iter_rows()
        ):
            share = None if n is None else percent(n, total)
            rows.append(("dataset", modality, name, unit(modality), _tidy(n), share, None, None))
        rows.append((
            "modality", modality, None, unit(modality), _tidy(total), percent(total, summed(of_it["points"])), of_it.height, None,
        ))  # fmt: skip
    for datasets in _DATASETS_REACHED:
        needed = datasets_needed(datasets, _SHARE_REACHED)
        rows.append(("needed", None, None, "datasets", None, percent(_SHARE_REACHED, 1), datasets, round(needed, 2)))
    return pl.DataFrame(
        rows,
        schema={
            "kind": pl.String, "modality": pl.String, "dataset_name": pl.String, "unit": pl.String,
            "children": pl.Float64, "percent": pl.Float64, "datasets": pl.Int64, "datasets_needed": pl.Float64,
        },
        orient="row",
    )  # fmt: skip


def _tidy(number: float | None) -> float | None:
    """Two decimals: what lies behind them is the noise of sums in floating point."""
    return None if number is None else round(number, PERCENT_DIGITS)


def modalities(facts: Facts) -> pl.DataFrame:
    """modality, datasets, of, percent_datasets, unit, adults, children, percent_children, over the datasets analysed."""
    known = analysed(distinct_datasets(facts.datasets))
    rows = []
    for modality in MODALITIES:
        datasets = modality_points(known, modality, every_statement=False)
        adults, young = _split(datasets)
        rows.append((
            modality, datasets.height, known.height, percent(datasets.height, known.height), unit(modality),
            int(adults), int(young), percent(young, adults + young),
        ))  # fmt: skip
    rows.sort(key=lambda row: -row[1])
    return pl.DataFrame(
        rows,
        schema={
            "modality": pl.String, "datasets": pl.Int64, "of": pl.Int64, "percent_datasets": pl.Float64,
            "unit": pl.String, "adults": pl.Int64, "children": pl.Int64, "percent_children": pl.Float64,
        },
        orient="row",
    )  # fmt: skip


def tasks(facts: Facts) -> pl.DataFrame:
    """modality, task, unit, adults, children, datasets, of, percent_datasets.

    Rows of a modality: its sequences or images of adults and of children, by task, cut to whole numbers. Rows of the
    modality `any`: datasets of each task among those that name one.
    """
    known = analysed(distinct_datasets(facts.datasets))
    rows: list[tuple[Any, ...]] = []
    for modality in MODALITIES:
        of_it = modality_points(known, modality, every_statement=False)
        for task, words in TASKS.items():
            chosen = of_it.filter(has_task(words))
            adults, young = _split(chosen)
            rows.append((modality, task, unit(modality), int(adults), int(young), chosen.height, None, None))
    named = known.filter(pl.col("task_categories").is_not_null())
    categories = sorted(set(named["task_categories"].explode().to_list()))
    counts = [(category, how_many(named, has_task(category))) for category in categories]
    for category, count in sorted(counts, key=lambda pair: -pair[1]):
        rows.append(("any", category, "datasets", None, None, count, named.height, percent(count, named.height)))
    return pl.DataFrame(
        rows,
        schema={
            "modality": pl.String, "task": pl.String, "unit": pl.String, "adults": pl.Int64, "children": pl.Int64,
            "datasets": pl.Int64, "of": pl.Int64, "percent_datasets": pl.Float64,
        },
        orient="row",
    )  # fmt: skip


def _split(datasets: pl.DataFrame) -> tuple[float, float]:
    """Points of adults and of children."""
    both = datasets.select(
        adults=(pl.col("points") * pl.col("adult_share")).sum(),
        children=(pl.col("points") * (1 - pl.col("adult_share"))).sum(),
    )
    return both.row(0)


def countries(facts: Facts) -> pl.DataFrame:
    """country, datasets, patients, percent_patients, children, percent_children, over the datasets analysed.

    A dataset's patients are parted evenly between its institutions that name a country, each part cut to a whole.
    """
    known = analysed(distinct_datasets(facts.datasets))
    found: dict[str, list[float]] = {}
    for patients, share, stated in known.select("patients", "adult_share", "institution_countries").iter_rows():
        named = [country for country in stated or () if country]
        young = patients * (1 - share)
        for place, country in enumerate(named):
            counts = found.setdefault(country, [0, 0, 0])
            counts[0] += country not in named[:place]
            counts[1] += patients // len(named)
            counts[2] += math.floor(young / len(named))
    totals = [sum(counts[at] for counts in found.values()) for at in range(3)]
    rows = [
        (country, n, patients, percent(patients, totals[1]), young, percent(young, totals[2]))
        for country, (n, patients, young) in sorted(found.items(), key=lambda item: (-item[1][1], item[0]))
    ]
    return pl.DataFrame(
        rows,
        schema={
            "country": pl.String, "datasets": pl.Int64, "patients": pl.Int64, "percent_patients": pl.Float64,
            "children": pl.Int64, "percent_children": pl.Float64,
        },
        orient="row",
    )  # fmt: skip


_REPACKAGING = {
    "about": pl.String, "measure": pl.String, "count": pl.Float64, "of": pl.Float64, "percent": pl.Float64,
}  # fmt: skip


def repackaging(facts: Facts) -> pl.DataFrame:
    """about, measure, count, of, percent: what is lost where datasets are made from others.

    `secondary`: the datasets reused (without KiTS23); `primary`: those made from them; `medsam_ct`, `medsam_mri`: what
    MedSAM was made from; `vqa_rad`: the cases behind VQA-RAD, which it gives without their age.
    """
    lists = facts.listings
    secondary = lists.filter(
        (pl.col("listing") == "repackaging_secondary") & (pl.col("dataset_name") != _LEFT_OUT_SECONDARY)
    ).unique("dataset_name", keep="first", maintain_order=True)
    primary = lists.filter(pl.col("listing") == "repackaging_primary")
    rows: list[tuple[Any, ...]] = [*_how("secondary", secondary), *_reuse(primary, secondary)]
    for listing in ("medsam_ct", "medsam_mri"):
        rows += _medsam(listing, lists.filter(pl.col("listing") == listing))
    cases = lists.filter(pl.col("listing") == "vqa_rad")
    all_cases, with_age = summed(cases["images"]), summed(cases["patients"])
    young = cases.select((pl.col("patients") * (1 - pl.col("adult_share"))).sum()).item()
    rows += [
        ("vqa_rad", "cases_given_without_their_age", all_cases, all_cases),
        ("vqa_rad", "cases_whose_source_states_an_age", with_age, all_cases),
        ("vqa_rad", "children_among_those_with_an_age", round(young), with_age),
    ]
    return pl.DataFrame([(*row, percent(row[2], row[3])) for row in rows], schema=_REPACKAGING, orient="row")


def _how(about: str, datasets: pl.DataFrame) -> list[tuple[Any, ...]]:
    how = datasets["age_documented_how"].fill_null(NOT_DOCUMENTED)
    return [(about, f"age_{slug(word)}", int((how == word).sum()), datasets.height) for word in HOW_ORDER]


def _reuse(primary: pl.DataFrame, secondary: pl.DataFrame) -> list[tuple[Any, ...]]:
    with_age = set(secondary.filter(pl.col("age_documented_how") == PATIENT_LEVEL)["dataset_name"])
    annotated = set(secondary["dataset_name"])
    reusing = primary.filter(_reuses(with_age))
    known = primary.filter(_reuses(annotated))
    uses = known.select(dataset_name=pl.col("secondary_of")).explode("dataset_name").join(secondary, on="dataset_name")
    mean = 1 - (real(secondary["adult_share"].mean()) or 0.0)
    weighted = 1 - (real(uses["adult_share"].mean()) or 0.0)
    return [
        ("primary", "reuse_a_dataset_with_patient_level_age", reusing.height, primary.height),
        *((about, f"of_these_{measure}", *rest) for about, measure, *rest in _how("primary", reusing)),
        ("primary", "reuse_an_annotated_dataset", known.height, primary.height),
        ("secondary", "mean_share_of_children", round(mean, _SHARE_DIGITS), 1),
        ("secondary", "mean_share_of_children_weighted_by_use", round(weighted, _SHARE_DIGITS), 1),
    ]


def _reuses(names: set[str]) -> pl.Expr:
    return pl.col("secondary_of").list.eval(pl.element().is_in(sorted(names))).list.any().fill_null(value=False)


def _medsam(about: str, datasets: pl.DataFrame) -> list[tuple[Any, ...]]:
    internal = datasets.filter(pl.col("validation") == "internal")
    young = _children_of(datasets)
    rows: list[tuple[Any, ...]] = [
        (about, "datasets_without_documented_age", how_many(datasets, pl.col("age_documented_how").is_null()), datasets.height),
        (about, "datasets_of_unknown_age", how_many(datasets, pl.col("age_class").is_null()), datasets.height),
        (about, "children", int(young), summed(datasets["patients"])),
    ]  # fmt: skip
    if internal.is_empty():
        return rows
    mixed = summed(internal.filter(pl.col("age_class") == "both")["patients"])
    adults = summed(internal.filter(pl.col("age_class").is_in(["adult", "adult_prenatal"]))["patients"])
    inside = int(_children_of(internal))
    return [
        *rows,
        (about, "children_of_internal_datasets_with_children", inside, mixed),
        (about, "children_of_internal_datasets_with_adults_alone_added", inside, mixed + adults),
    ]


def _children_of(datasets: pl.DataFrame) -> float:
    return float(datasets.select((pl.col("patients") * (1 - pl.col("adult_share"))).sum()).item())


TABLES: dict[str, Callable[[Facts], pl.DataFrame]] = {
    "overview": overview, "papers": papers, "documentation": documentation, "children": children,
    "modalities": modalities, "tasks": tasks, "countries": countries, "repackaging": repackaging,
}  # fmt: skip
