"""Tables of the review read carefully: papers, how age is documented, and what becomes of it in repackaging."""

from __future__ import annotations

from typing import Any

import polars as pl

from cxrdata.review.careful import Children, children_among, merged, whole
from cxrdata.review.counting import (
    HOW_ORDER,
    NOT_DOCUMENTED,
    PATIENT_LEVEL,
    SOURCE_ORDER,
    how_many,
    percent,
    reviewed_papers,
    slug,
    summed,
)
from cxrdata.review.facts import Facts


def papers(facts: Facts) -> pl.DataFrame:
    """about, measure, count, unknown, of, percent_low, percent_high: those of which it is unknown may be all or none."""
    chosen = reviewed_papers(facts.papers)
    used = facts.listings.filter(pl.col("listing") == "midl_datasets")
    no_kind = pl.col("data_kinds").is_null()
    kinds = [(f"use_{kind}_data", pl.col("data_kinds").list.contains(kind), no_kind) for kind in ("public", "private")]
    rows = [("papers", "meet_the_criteria", chosen.height, 0, facts.papers.height)]
    rows += _said("papers", chosen, [
        *kinds,
        ("name_their_datasets", pl.col("datasets").is_not_null(), pl.lit(value=False)),
        ("mention_age", pl.col("age_mentioned"), pl.col("age_mentioned").is_null()),
        ("have_children", _with_children(), pl.col("age_class") == "unknown"),
        ("have_adults_alone", pl.col("age_class") == "adult", pl.col("age_class") == "unknown"),
    ])  # fmt: skip
    rows += _said("datasets", used, [
        ("document_age", pl.col("age_documented_how").is_not_null(), pl.lit(value=False)),
        ("patient_level_age", pl.col("age_documented_how") == PATIENT_LEVEL, pl.lit(value=False)),
        ("have_children", _with_children(), pl.col("age_class").is_null() | (pl.col("age_class") == "adult_prenatal")),
    ])  # fmt: skip
    return pl.DataFrame(
        [(*row, percent(row[2], row[4]), percent(row[2] + row[3], row[4])) for row in rows],
        schema={
            "about": pl.String, "measure": pl.String, "count": pl.Int64, "unknown": pl.Int64, "of": pl.Int64,
            "percent_low": pl.Float64, "percent_high": pl.Float64,
        },
        orient="row",
    )  # fmt: skip


def _with_children() -> pl.Expr:
    return pl.col("age_class").is_in(["children", "both"])


def _said(
    about: str, rows: pl.DataFrame, measures: list[tuple[str, pl.Expr, pl.Expr]]
) -> list[tuple[str, str, int, int, int]]:
    return [
        (about, measure, how_many(rows, holds.fill_null(value=False)), how_many(rows, unknown), rows.height)
        for measure, holds, unknown in measures
    ]


def documentation(facts: Facts) -> pl.DataFrame:
    """source, how, datasets, of, percent, and how completely: complete, incomplete, completeness_unknown; and how many
    give an age range or a mean. Near-duplicates count once within a source.
    """
    chosen = reviewed_papers(facts.papers)
    absent = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in {
            "age_complete": pl.Boolean,
            "age_min_years": pl.Float64,
            "age_mean_years": pl.Float64,
        }.items()
    ]
    groups = {"papers": chosen.with_columns(absent)} | {
        source: merged(facts.datasets.filter(pl.col("source") == source)) for source in SOURCE_ORDER[1:]
    }
    rows = []
    for source, entries in groups.items():
        for word in HOW_ORDER:
            those = entries.filter(pl.col("age_documented_how").fill_null(NOT_DOCUMENTED) == word)
            rows.append((
                source, word, those.height, entries.height, percent(those.height, entries.height, 1),
                how_many(those, pl.col("age_complete")), how_many(those, ~pl.col("age_complete")),
                how_many(those, pl.col("age_complete").is_null()),
                how_many(those, pl.col("age_min_years").is_not_null()),
                how_many(those, pl.col("age_mean_years").is_not_null()),
            ))  # fmt: skip
    counts = ("complete", "incomplete", "completeness_unknown", "with_age_range", "with_mean_age")
    return pl.DataFrame(
        rows,
        schema={
            "source": pl.String, "how": pl.String, "datasets": pl.Int64, "of": pl.Int64, "percent": pl.Float64,
            **dict.fromkeys(counts, pl.Int64),
        },
        orient="row",
    )  # fmt: skip


def repackaging(facts: Facts) -> pl.DataFrame:
    """about, measure, count, unknown, of, percent_low, percent_high.

    `secondary`: the datasets reused; `primary`: those made from them; `medsam_ct`, `medsam_mri`: what MedSAM was made
    from; `vqa_rad`: the cases behind VQA-RAD, which it gives without their age. Children are between bounds, with those
    of datasets of unknown share in the upper.
    """
    lists = facts.listings
    secondary = lists.filter(pl.col("listing") == "repackaging_secondary")
    primary = lists.filter(pl.col("listing") == "repackaging_primary")
    with_age = secondary.filter(pl.col("age_documented_how") == PATIENT_LEVEL)["dataset_name"].to_list()
    reuses = pl.col("secondary_of").list.eval(pl.element().is_in(with_age)).list.any().fill_null(value=False)
    reusing = primary.filter(reuses)
    rows: list[tuple[Any, ...]] = [
        *_how("secondary", secondary),
        *_how("primary", primary),
        ("primary", "reuse_a_dataset_with_patient_level_age", reusing.height, 0, primary.height),
        ("primary", "of_these_give_no_age", how_many(reusing, pl.col("age_documented_how").is_null()), 0, reusing.height),
        ("primary", "hold_others_data_alone", how_many(primary, pl.col("only_secondary")), 0, primary.height),
        ("primary", "collected_from_public_pages", how_many(primary, pl.col("scraped")), 0, primary.height),
    ]  # fmt: skip
    for listing in ("medsam_ct", "medsam_mri"):
        datasets = lists.filter(pl.col("listing") == listing)
        no_age = how_many(datasets, pl.col("age_documented_how").is_null())
        rows.append((listing, "datasets_without_documented_age", no_age, 0, datasets.height))
        rows.append((
            listing, "datasets_with_children", how_many(datasets, _with_children()),
            how_many(datasets, pl.col("age_class").is_null() | (pl.col("age_class") == "adult_prenatal")),
            datasets.height,
        ))  # fmt: skip
        rows.append(_children_between(listing, datasets))
    cases = lists.filter(pl.col("listing") == "vqa_rad")
    total, known = summed(cases["images"]), summed(cases["patients"])
    young = round(children_among(cases).point)
    rows.append(("vqa_rad", "cases_given_without_their_age", total, 0, total))
    rows.append(("vqa_rad", "children", young, total - known, total))
    return pl.DataFrame(
        [(*row, percent(row[2], row[4]), percent(row[2] + row[3], row[4])) for row in rows],
        schema={
            "about": pl.String, "measure": pl.String, "count": pl.Int64, "unknown": pl.Int64, "of": pl.Int64,
            "percent_low": pl.Float64, "percent_high": pl.Float64,
        },
        orient="row",
    )  # fmt: skip


def _how(about: str, datasets: pl.DataFrame) -> list[tuple[Any, ...]]:
    how = datasets["age_documented_how"].fill_null(NOT_DOCUMENTED)
    return [(about, f"age_{slug(word)}", int((how == word).sum()), 0, datasets.height) for word in HOW_ORDER]


def _children_between(about: str, datasets: pl.DataFrame) -> tuple[Any, ...]:
    """count: the children that are certain; unknown: how many more there may be."""
    found: Children = children_among(datasets)
    beside = summed(datasets.filter(pl.col("adult_share").is_null())["patients"])
    low, high = whole(found.low, found.high)
    return about, "children", low, high - low + beside, summed(datasets["patients"])
