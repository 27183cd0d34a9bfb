"""Every table of the review on the facts that ship: against the files in `golden/`, the repository's saved outputs and
plain Python.

After a change that is meant, `python -m tests.review.test_review_tables` writes the golden files anew.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cxrdata.resources import data_folder
from cxrdata.review.facts import Facts, load_facts
from cxrdata.review.tables import RULES, TABLES, make_table

GOLDEN = Path(__file__).parent / "golden"
# Modality -> adults, children: all, condition classification, anatomy and lesion segmentation, image enhancement; as
# saved in the publication's repository.
BREAKDOWN = {
    "X-ray": (959_482, 7_520, 891_720, 6_136, 0, 0, 0, 0, 0, 0),
    "US": (23_805, 4_467, 192, 0, 10_830, 4_467, 751, 0, 518, 0),
    "CT": (289_581, 914, 262_069, 124, 4_677, 373, 7_092, 309, 760, 40),
    "MRI": (52_390, 176, 18_905, 5, 1_903, 17, 22_174, 134, 1_283, 4),
    "Fundus": (117_900, 48, 117_860, 20, 40, 28, 0, 0, 0, 0),
}
# What single datasets give to the children of their modality, as saved there.
LARGEST = {
    ("X-ray", "Chest X-ray14"): 71.86, ("X-ray", "PadChest"): 6.42, ("CT", "Pediatric-CT-SEG"): 39.25,
    ("CT", "Soft-tissue-Sarcoma"): 0.55, ("MRI", "2024 BONBID-HIE"): 75.5, ("MRI", "VQA-RAD"): 9.39,
    ("US", "EchoNet Pediatric"): 100.0, ("Fundus", "2019 ODIR"): 38.65,
}  # fmt: skip
PARTS = {
    "tcia": (11, 61, 69, 51, 42_145, 478, 1.14),
    "midrc": (1, 3, 24, 19, 77_565, 1_468, 1.89),
    "stanford_aimi": (1, 2, 13, 10, 111_368, 2_096, 1.88),
    "grand_challenge": (16, 53, 44, 24, 74_072, 212, 0.29),
    "kaggle": (18, 51, 13, 5, 27_110, 0, 0.0),
    "msd": (11, 29, 10, 7, 2_013, 0, 0.0),
    "medfair": (4, 9, 7, 7, 140_108, 76, 0.05),
    "amos": (1, 2, 1, 1, 600, 6, 1.1),
}


@pytest.fixture(scope="module")
def facts() -> Facts:
    return load_facts()[0]


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", TABLES)
def test_tables_are_the_golden_ones(facts: Facts, name: str, rules: str) -> None:
    made = make_table(name, facts, rules)
    held = pl.read_csv(GOLDEN / f"{name}_{rules}.csv", schema=made.schema)
    assert_frame_equal(made, held, rel_tol=1e-9)


def test_breakdown_is_the_one_saved_with_the_publication(facts: Facts) -> None:
    made = make_table("tasks", facts, "published").filter(pl.col("modality") != "any")
    found = {
        modality: tuple(n for row in rows.select("adults", "children").iter_rows() for n in row)
        for (modality,), rows in made.group_by("modality", maintain_order=True)
    }
    assert found == BREAKDOWN


@pytest.mark.parametrize("source", sorted(PARTS))
def test_parts_are_those_saved_with_the_publication(facts: Facts, source: str) -> None:
    assert make_table("summary", facts, "published").row(by_predicate=pl.col("source") == source) == (
        source,
        *PARTS[source],
    )


def test_what_single_datasets_give_is_as_saved_with_the_publication(facts: Facts) -> None:
    made = make_table("children", facts, "published").filter(pl.col("kind") == "dataset")
    found = {
        (modality, name): share for modality, name, share in made.select("modality", "dataset_name", "percent").rows()
    }
    assert {key: found[key] for key in LARGEST} == LARGEST
    assert made.group_by("modality", maintain_order=True).len()["len"].to_list() == [9, 1, 17, 9, 3]


def test_documentation_is_as_drawn_by_the_publication(facts: Facts) -> None:
    """Where the parts of its stacked bars end, in per cent."""
    made = make_table("documentation", facts, "published")
    ends = {
        source: made.filter(pl.col("source") == source)["percent"].cum_sum().round(1).to_list()
        for source in made["source"].unique()
    }
    assert ends["papers"][2] == 100.0
    assert ends["collections"][2:4] == [39.6, 41.5]
    assert ends["challenges"][2:4] == [77.6, 79.3]
    assert ends["benchmarks"][2] == 61.1
    assert ends["highly_cited"][2] == 76.6


def test_counts_are_those_drawn_by_the_publication(facts: Facts) -> None:
    """Lengths of the bars of its figures of tasks, modalities and countries."""
    tasks = dict(
        make_table("tasks", facts, "published").filter(pl.col("modality") == "any").select("task", "datasets").rows()
    )
    drawn = ("Condition/Disease", "Lesion/Tumor", "Anatomy/Organ", "Disease (Risk)", "Image Reconstruction")
    assert [n for begins in drawn for task, n in tasks.items() if task.startswith(begins)] == [34, 32, 30, 6, 6]
    assert make_table("modalities", facts, "published")["datasets"].to_list() == [71, 52, 20, 11, 5]
    first = make_table("countries", facts, "published").head(3)
    assert first.select("country", "percent_patients", "percent_children").rows() == [
        ("USA", 77.68, 95.56),
        ("Spain", 13.39, 3.44),
        ("Vietnam", 3.53, 0.0),
    ]


def test_mean_age_as_published_and_rightly_divided(facts: Facts) -> None:
    published = dict(make_table("overview", facts, "published").rows())
    careful = {row["measure"]: row for row in make_table("overview", facts, "careful").iter_rows(named=True)}
    assert published["mean_age_years"] == 50.55
    assert careful["mean_age_years_of_published_datasets"]["value"] == 57.42
    assert careful["mean_age_years"]["value"] == 57.13


def test_children_by_modality_in_plain_python(facts: Facts) -> None:
    """From the text that ships, without the code of the tables."""
    with (data_folder("catalog") / "open_datasets.tsv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t"))
    children: dict[str, float] = defaultdict(float)
    for row in {row["dataset_name"]: row for row in reversed(rows)}.values():
        if not row["adult_share"] or not row["patients"]:
            continue
        names = row["modalities"].split("|")
        for place, name in enumerate(names):
            size = row["sequences"] if name in {"CT", "MRI", "US"} else row["images_stated"]
            explicit = row["modality_shares_from"] == "Modalities"
            share = float(row["modality_shares"].split("|")[place]) if explicit else 1 / len(names)
            children[name] += float(size or 0) * share * (1 - float(row["adult_share"]))
    totals = make_table("children", facts, "published").filter(pl.col("kind") == "modality")
    for modality, n in totals.select("modality", "children").iter_rows():
        assert n == pytest.approx(children[modality], abs=0.005)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", TABLES)
def test_no_table_prints_the_noise_of_floating_point(facts: Facts, name: str, rules: str) -> None:
    for column in make_table(name, facts, rules).select(pl.selectors.float()):
        assert column.drop_nulls().equals(column.drop_nulls().round(4))


def test_careful_total_in_plain_python(facts: Facts) -> None:
    best: dict[str, tuple[bool, int, int, float, float]] = {}
    for row in facts.datasets.iter_rows(named=True):
        known = row["adult_share"] is not None and row["patients"] is not None
        bounds = 1 - row["adult_share_high"], 1 - row["adult_share_low"]
        mine = (known, row["patients"] or 0, -row["entry"], *bounds)
        best[row["canonical_name"]] = max(best.get(row["canonical_name"], mine), mine, key=lambda one: one[:3])
    known_ones = [one for one in best.values() if one[0]]
    total = make_table("summary", facts, "careful").row(by_predicate=pl.col("source") == "total", named=True)
    assert (total["datasets"], total["analysed"]) == (len(best), len(known_ones))
    assert total["patients"] == sum(one[1] for one in known_ones)
    assert total["children_low"] == int(sum(one[1] * one[3] for one in known_ones))
    assert total["children_high"] - 1 < sum(one[1] * one[4] for one in known_ones) <= total["children_high"]


def test_repackaging_as_the_publication_counts_it(facts: Facts) -> None:
    made = {(row[0], row[1]): row[2:] for row in make_table("repackaging", facts, "published").iter_rows()}
    assert made["primary", "of_these_age_not_documented"] == (8, 8, 100.0)
    assert made["medsam_ct", "datasets_without_documented_age"] == (12, 25, 48.0)
    assert made["medsam_mri", "datasets_without_documented_age"] == (15, 25, 60.0)
    assert made["vqa_rad", "cases_given_without_their_age"] == (312, 312, 100.0)


def write_golden() -> None:
    """Write every golden file from the facts that ship."""
    held = load_facts()[0]
    for name in TABLES:
        for rules in RULES:
            make_table(name, held, rules).write_csv(GOLDEN / f"{name}_{rules}.csv")


if __name__ == "__main__":
    write_golden()
