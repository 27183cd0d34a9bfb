"""The published figures of the review, from the published workbook and from the facts that ship."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import polars as pl
import pytest

from cxrdata.review.facts import Import, import_workbook
from cxrdata.review.published import SELECTIONS, SUMMARY_SCHEMA, analysed, distinct_datasets, summary
from cxrdata.schemas.open_datasets import OPEN_DATASETS, open_datasets_text, read_open_datasets
from cxrdata.schemas.review_lists import REVIEW_LISTINGS, REVIEW_PAPERS, read_listings, read_papers
from cxrdata.schemas.validate import validate
from tests.review.workbooks import ADULTS, write_workbook

# countries, institutions, datasets, analysed, patients, children, per cent: as saved in the publication's repository
PUBLISHED = {
    "total": (34, 181, 203, 135, 512_608, 6_026, 1.18),
    "without_cancer": (28, 105, 100, 66, 463_180, 5_883, 1.27),
    "collections": (11, 65, 106, 80, 231_077, 4_043, 1.75),
    "challenges": (28, 100, 58, 29, 101_181, 212, 0.21),
    "highly_cited": (14, 40, 30, 19, 235_478, 1_888, 0.80),
    "benchmarks": (14, 37, 18, 15, 142_721, 83, 0.06),
}
WORKBOOK = Path("review") / "public_datasets_metadata.xlsx"


@pytest.fixture(scope="module")
def real(real_data: Path) -> Import:
    return import_workbook(real_data / WORKBOOK)


@pytest.mark.parametrize("source", sorted(PUBLISHED))
def test_published_figures_from_the_facts_that_ship(source: str) -> None:
    row = summary(read_open_datasets()).row(by_predicate=pl.col("source") == source)
    assert row == (source, *PUBLISHED[source])


def test_facts_that_ship_are_those_of_the_workbook(real: Import) -> None:
    shipped = read_open_datasets()
    assert shipped.equals(real.facts)
    assert open_datasets_text(shipped, source=real.source) == open_datasets_text(real.facts, source=real.source)
    assert not real.skipped_rows


def test_cells_of_the_real_workbook_that_are_named(real: Import) -> None:
    """Statements of modalities that sum to 101 %, guesses of the reviewers, a task in place of a modality: no more."""
    named: dict[str, list[tuple[str, str]]] = {}
    for sheet, cell, message in real.problems.select("sheet", "cell", "message").iter_rows():
        named.setdefault(message, []).append((sheet, cell))
    assert named == {
        "the shares sum to 101 %; they are kept as stated": [
            ("Challenges", "P24"),
            ("Benchmarks", "K12"),
            ("Well-Cited Datasets", "L13"),
            ("Data Collection (TCIA)", "L33"),
        ],
        "not available: what is said beside it is a guess, left out": [
            ("Challenges", cell) for cell in ("P3", "P5", "P17", "P32", "P33", "P34")
        ],
        "not among CT, MRI, PET, US, X-ray, Fundus, Others": [("Repackaging (MedSAM MRI)", "N9")],
    }


def test_the_real_workbook_with_its_sheets_and_columns_moved(real: Import, real_data: Path, tmp_path: Path) -> None:
    """Everything in the opposite order, and a column of remarks renamed: the same facts, and the column named."""
    held = openpyxl.load_workbook(real_data / WORKBOOK, read_only=True, data_only=True)
    moved = openpyxl.Workbook(write_only=True)
    for title in reversed(held.sheetnames):
        sheet = moved.create_sheet(title)
        for row in held[title].iter_rows(values_only=True):
            sheet.append(["Notes" if value == "Considerations" else value for value in reversed(row)])
    moved.save(tmp_path / "moved.xlsx")
    made = import_workbook(tmp_path / "moved.xlsx")
    assert made.facts.equals(real.facts) and made.papers.equals(real.papers) and made.listings.equals(real.listings)
    named = made.problems.filter(pl.col("code") == "CXR-117")
    assert set(named["message"]) == {"this column is not known and not read", "this column is gone; nothing reads it"}
    assert made.problems.height - named.height == real.problems.height


def test_papers_and_lists_that_ship_are_those_of_the_workbook(real: Import) -> None:
    assert read_papers().equals(real.papers) and read_listings().equals(real.listings)
    assert validate(real.papers, REVIEW_PAPERS)[1].is_empty() and validate(real.listings, REVIEW_LISTINGS)[1].is_empty()
    assert real.papers.height == 70
    counts = dict(real.listings["listing"].value_counts().rows())
    assert counts == {
        "midl_datasets": 62, "repackaging_primary": 16, "repackaging_secondary": 26, "medsam_ct": 25, "medsam_mri": 25,
        "vqa_rad": 4,
    }  # fmt: skip


def test_no_race_and_no_organ_is_a_word_for_unknown() -> None:
    facts = read_open_datasets()
    races = set(facts["races"].explode().drop_nulls())
    assert not races & {"N/A", "Unknown"}
    assert not [race for race in races if "likely" in race]
    organs = set(facts["organs"].explode().drop_nulls())
    assert not [organ for organ in organs if organ.islower()]
    assert {"Lumbar Spine", "Chest"} <= organs


def test_facts_that_ship_meet_their_schema_and_hold_no_sentence() -> None:
    facts = read_open_datasets()
    sound, broken = validate(facts, OPEN_DATASETS)
    assert broken.is_empty() and sound.height == 212
    texts = [name for name, dtype in OPEN_DATASETS.types().items() if dtype in {pl.String, pl.List(pl.String)}]
    longest = {name: facts.select(pl.col(name).explode().str.split(" ").list.len().max()).item() for name in texts}
    assert max(longest.values()) <= 12, longest  # a hospital's or a category's name, never a description


def test_parts_add_up_to_their_source() -> None:
    rows = {row["source"]: row for row in summary(read_open_datasets()).iter_rows(named=True)}
    assert list(rows) == list(SELECTIONS)
    assert rows["msd"]["datasets"] + rows["medfair"]["datasets"] + rows["amos"]["datasets"] == 18
    assert rows["midrc"]["datasets"] + rows["stanford_aimi"]["datasets"] + rows["tcia"]["datasets"] == 106
    assert rows["grand_challenge"]["datasets"] + rows["kaggle"]["datasets"] == 57  # one challenge hosts itself


def test_the_first_of_one_name_counts(tmp_path: Path) -> None:
    again = {**ADULTS, "Peds vs. Adult": "Peds"}
    made = import_workbook(
        write_workbook(tmp_path / "w.xlsx", {"Challenges": [ADULTS], "Data Collection (TCIA)": [again]})
    )
    kept = analysed(distinct_datasets(made.facts))
    assert kept.select("source", "adult_share").rows() == [("challenges", 1.0)]
    assert made.facts.filter(pl.col("dataset_name") == "Adults")["listed_before"].to_list() == [False, True]
    tcia = summary(made.facts).row(by_predicate=pl.col("source") == "tcia")
    assert tcia == ("tcia", 0, 0, 1, 1, 1000, 1000, 100.0)


def test_cancer_leaves_before_duplicates(tmp_path: Path) -> None:
    """A second entry whose words name no cancer keeps the dataset in, as in the publication."""
    named = {**ADULTS, "Patient Demographics / Covariates / Metadata": "Description: Glioma patients"}
    made = import_workbook(write_workbook(tmp_path / "w.xlsx", {"Challenges": [named], "Benchmarks": [ADULTS]}))
    assert made.facts["cancer"].to_list()[:2] == [True, False]
    rows = {row[0]: row for row in summary(made.facts).iter_rows()}
    assert rows["without_cancer"][4:6] == (1, 1000)
    assert rows["challenges"][4] == rows["benchmarks"][4] == 1


def test_nothing_analysed_has_no_percentage(tmp_path: Path) -> None:
    made = import_workbook(write_workbook(tmp_path / "w.xlsx", {}))
    frame = summary(made.facts)
    assert frame["percent_children"].null_count() == frame.height
    assert dict(frame.schema) == SUMMARY_SCHEMA
