"""The careful rules on small facts: bounds, unknowns, names of one dataset, the largest dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cxrdata.review import workbook as sheets
from cxrdata.review.aliases import alias_list, canonical_name, other_names
from cxrdata.review.careful import CHILDREN_SCHEMA, children_among, merged, summary
from cxrdata.review.counting import modality_points
from cxrdata.review.facts import Facts, import_workbook, load_facts
from cxrdata.review.published import SUMMARY_SCHEMA
from cxrdata.review.tables import RULES, TABLES, make_table
from tests.review.workbooks import ADULTS, write_workbook


def facts_of(folder: Path, *rows: dict[str, Any], **others: list[dict[str, Any]]) -> Facts:
    """Facts of a workbook whose challenges are `rows`; every other sheet has one row of which nothing is known."""
    named = {sheets.NAME: "Dataset", sheets.MODALITIES: "CT"}
    listed = [{**named, sheets.NAME: f"Dataset {n}", **row} for n, row in enumerate(rows, 1)]
    return import_workbook(write_workbook(folder / "w.xlsx", {"Challenges": listed, **others})).all_facts()


def total(facts: Facts) -> dict[str, Any]:
    return summary(facts.datasets).row(by_predicate=pl.col("source") == "challenges", named=True)


@pytest.mark.parametrize(
    ("adult", "low", "high"),
    [
        ("Adult", 0, 0),
        ("Peds", 1000, 1000),
        ("Peds, Adult (>97.5%)", 0, 25),
        ("Peds, Adult (97.5%)", 25, 25),
        ("Adult/Prenatal", 0, 1000),
        ("Peds, Adult (>99.99%)", 0, 1),
    ],
)
def test_children_are_between_bounds(tmp_path: Path, adult: str, low: int, high: int) -> None:
    row = total(facts_of(tmp_path, {sheets.ADULT: adult, sheets.SAMPLE_SIZE: "Patients: 1,000"}))
    assert (row["analysed"], row["children_low"], row["children_high"]) == (1, low, high)


def test_what_is_unknown_is_in_no_total_and_stands_beside_it(tmp_path: Path) -> None:
    facts = facts_of(
        tmp_path,
        {sheets.ADULT: "Adult", sheets.SAMPLE_SIZE: "Patients: 60"},
        {sheets.ADULT: "Peds, Adult", sheets.SAMPLE_SIZE: "Patients: 40"},
        {sheets.ADULT: "Peds", sheets.MODALITIES: "X-ray", sheets.SAMPLE_SIZE: "Images: 9"},
    )
    row = total(facts)
    assert (row["datasets"], row["analysed"], row["patients"]) == (3, 1, 60)
    assert (row["datasets_share_unknown"], row["datasets_size_unknown"], row["size_of_share_unknown"]) == (1, 1, 40)
    assert (row["percent_children_low_with_unknown"], row["percent_children_high_with_unknown"]) == (0.0, 40.0)
    # Its images are known, and are children's.
    made = make_table("modalities", facts, "careful").row(by_predicate=pl.col("modality") == "X-ray", named=True)
    assert (made["size"], made["children_low"], made["children_high"]) == (9, 9, 9)


def test_names_of_one_dataset_are_counted_once(tmp_path: Path) -> None:
    adult = {sheets.ADULT: "Adult"}
    facts = facts_of(
        tmp_path,
        {**adult, sheets.NAME: "2022 AMOS", sheets.SAMPLE_SIZE: "Patients: 500"},
        Benchmarks=[{**ADULTS, sheets.NAME: "AMOS", sheets.SAMPLE_SIZE: "Patients: 600"}],
    )
    kept = merged(facts.datasets).filter(pl.col("canonical_name") == "AMOS")
    assert kept.select("dataset_name", "patients").rows() == [("AMOS", 600)]
    assert facts.datasets["aliases"][0].to_list() == ["AMOS"]


def test_of_several_entries_the_one_with_an_age_is_kept(tmp_path: Path) -> None:
    facts = facts_of(
        tmp_path,
        {sheets.NAME: "AMOS", sheets.ADULT: "N/A", sheets.SAMPLE_SIZE: "Patients: 600"},
        Benchmarks=[{**ADULTS, sheets.NAME: "AMOS", sheets.SAMPLE_SIZE: "Patients: 10"}],
    )
    assert merged(facts.datasets).filter(pl.col("canonical_name") == "AMOS")["patients"].to_list() == [10]


def test_every_total_also_without_the_largest(tmp_path: Path) -> None:
    facts = facts_of(
        tmp_path,
        {sheets.ADULT: "Peds", sheets.SAMPLE_SIZE: "Patients: 30"},
        {sheets.ADULT: "Peds, Adult (>90%)", sheets.SAMPLE_SIZE: "Patients: 100"},
    )
    row = total(facts)
    assert (row["largest_dataset"], row["children_of_largest_low"]) == ("Dataset 1", 30)
    assert (row["children_low"], row["children_high"]) == (30, 40)
    assert (row["children_low_without_largest"], row["children_high_without_largest"]) == (0, 10)
    assert row["percent_children_high_without_largest"] == 10.0


def test_without_children_there_is_no_largest(tmp_path: Path) -> None:
    row = total(facts_of(tmp_path, {sheets.ADULT: "Adult", sheets.SAMPLE_SIZE: "Patients: 30"}))
    assert (row["largest_dataset"], row["children_high_without_largest"]) == (None, 0)


def test_shares_of_modalities_that_sum_to_101_per_cent_are_scaled(tmp_path: Path) -> None:
    facts = facts_of(
        tmp_path,
        {
            sheets.ADULT: "Peds", sheets.SAMPLE_SIZE: "Sequences: 1010", sheets.MODALITIES: "CT, MRI",
            sheets.DEMOGRAPHICS: "Modalities: CT (81%), MRI (20%)",
        },
    )  # fmt: skip
    for_once, twice = ({}, {})
    for kept, every in ((for_once, True), (twice, False)):
        for name in ("CT", "MRI"):
            kept[name] = modality_points(facts.datasets, name, every_statement=every)["points"].sum()
    assert for_once == pytest.approx({"CT": 810.0, "MRI": 200.0})
    assert twice == pytest.approx({"CT": 818.1, "MRI": 202.0})


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", TABLES)
def test_tables_of_almost_nothing(tmp_path: Path, name: str, rules: str) -> None:
    """No division by nothing, no column lost, where no dataset says a thing."""
    made = make_table(name, facts_of(tmp_path, {}), rules)
    assert made.columns == make_table(name, load_facts()[0], rules).columns
    assert "NaN" not in made.write_csv() and "inf" not in made.write_csv().split(",")


def test_careful_summary_begins_with_the_columns_of_the_contract() -> None:
    made = make_table("summary", load_facts()[0], "careful")
    assert made.columns == [*SUMMARY_SCHEMA, *CHILDREN_SCHEMA]
    assert made["source"].to_list() == make_table("summary", load_facts()[0], "published")["source"].to_list()
    for row in made.iter_rows(named=True):
        assert row["children_low"] <= row["children"] <= row["children_high"]
        assert row["children_low_without_largest"] <= row["children_low"]


def test_bounds_hold_whatever_the_share_within_them() -> None:
    """The published point lies between them, dataset by dataset."""
    facts = load_facts()[0].datasets
    for entry in facts.filter(pl.col("adult_share").is_not_null() & pl.col("patients").is_not_null())["entry"]:
        found = children_among(facts.filter(pl.col("entry") == entry))
        assert found.low <= found.point <= found.high <= found.size


def test_the_list_of_aliases_names_what_the_review_lists() -> None:
    """An alias, or the dataset it means, is in the facts that ship, in its lists or in its papers."""
    facts, _ = load_facts()
    names = {
        *facts.datasets["dataset_name"], *facts.listings["dataset_name"],
        *facts.listings["secondary_of"].explode(), *facts.papers["datasets"].explode(),
    }  # fmt: skip
    lost = [alias for alias, name in alias_list().items() if alias not in names and name not in names]
    assert lost == []
    assert canonical_name("C4KC-KiTS") == canonical_name("2019 KiTS") == "KiTS19"
    assert other_names("C4KC-KiTS") == ["KiTS19", "2019 KiTS"]
    assert other_names("EchoNet Pediatric") is None
