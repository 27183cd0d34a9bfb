"""Workbooks that were altered: moved sheets and columns are read, what is gone or broken is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.review import workbook as sheets
from cxrdata.review.facts import Import, import_workbook
from cxrdata.review.workbook import CASES, PAPERS, PRIMARY, READ
from cxrdata.sources.account import LONGEST_VALUE
from tests.review.workbooks import ADULTS, write_workbook


def one(folder: Path, **cells: Any) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """The facts of one challenge, and the cells named: (cell, value, message)."""
    columns = {getattr(sheets, key): value for key, value in cells.items()}
    made = import_workbook(write_workbook(folder / "w.xlsx", {"Challenges": [{**ADULTS, **columns}]}))
    return made.facts.row(0, named=True), made.problems.select("cell", "value", "message").rows()


def test_moved_sheets_and_columns_change_nothing(tmp_path: Path) -> None:
    rows = {"Challenges": [ADULTS], PRIMARY.title: [{sheets.NAME: "Adults", sheets.SECONDARY: "One\nTwo"}]}
    straight = import_workbook(write_workbook(tmp_path / "a.xlsx", rows))
    order = [sheet.title for sheet in reversed(READ)]
    moved = import_workbook(write_workbook(tmp_path / "b.xlsx", rows, order=order, moved_columns=True))
    assert straight.facts.equals(moved.facts)
    assert straight.facts["secondary_of"].to_list()[0] == ["One", "Two"]


def test_a_renamed_column_is_named(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "w.xlsx", {}, renamed={sheets.ADULT: "Adult or child"})
    with pytest.raises(CxrError) as caught:
        import_workbook(path)
    assert caught.value.code == "CXR-107"
    assert caught.value.block().splitlines()[:2] == [
        "error CXR-107: the header lacks 'Peds vs. Adult'",
        "  at:  w.xlsx [Challenges]:1",
    ]
    assert (caught.value.fix or "").startswith("use the review's workbook as it was published")


def test_a_header_that_differs_by_case_or_blanks_is_meant(tmp_path: Path) -> None:
    path = write_workbook(
        tmp_path / "w.xlsx", {}, renamed={sheets.ADULT: "peds  vs.adult", sheets.ORGANS: "Organ/Body Parts"}
    )
    with pytest.raises(CxrError) as caught:
        import_workbook(path)
    assert caught.value.problem == (
        "the header lacks 'Peds vs. Adult' (did you mean 'peds  vs.adult'?), 'Organ / Body Part' (did you mean Organ/Body Parts?)"
    )


def test_a_sheet_that_differs_by_case_is_meant(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "w.xlsx", {})
    book = openpyxl.load_workbook(path)
    book["Benchmarks"].title = "benchmarks "
    book.save(path)
    with pytest.raises(CxrError) as caught:
        import_workbook(path)
    assert caught.value.problem == "the workbook has no sheet 'Benchmarks'; did you mean 'benchmarks '?"
    assert "dataset's official site" not in caught.value.block()


def test_a_missing_sheet_is_named(tmp_path: Path) -> None:
    order = [sheet.title for sheet in READ if sheet.title != "Benchmarks"]
    with pytest.raises(CxrError) as caught:
        import_workbook(write_workbook(tmp_path / "w.xlsx", {}, order=order))
    assert caught.value.code == "CXR-109"
    assert caught.value.problem == "the workbook has no sheet 'Benchmarks'"


def test_every_other_header_is_checked(tmp_path: Path) -> None:
    """An unknown column, a known one that nothing reads and that is gone, an unknown sheet: each is named."""
    path = write_workbook(tmp_path / "w.xlsx", {}, also=["Age Documentd How"], without=["Years Collected"])
    problems = import_workbook(path).problems.filter(pl.col("code") == "CXR-117")
    unknown = problems.filter(pl.col("value").is_not_null())
    assert unknown["sheet"].to_list()[-1] == "Repackaging (VQA-RAD)" and unknown.height == len(READ)
    assert unknown["message"][1] == "this column is not known and not read; did you mean Age Documented How?"
    assert unknown.filter(pl.col("sheet") == "Challenges")["cell"].to_list() == ["X1"]
    gone = problems.filter(pl.col("value").is_null()).select("sheet", "column_name", "message").rows()
    assert ("Challenges", "Years Collected", "this column is gone; nothing reads it") in gone
    assert len(gone) == 5


def test_a_sheet_that_is_not_known_is_named(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "w.xlsx", {})
    book = openpyxl.load_workbook(path)
    book.create_sheet("Chalenges (old)")
    book.save(path)
    assert import_workbook(path).problems.select("code", "sheet", "cell", "message").rows() == [
        ("CXR-117", "Chalenges (old)", None, "this sheet is not known and not read")
    ]


def test_the_workbook_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    load = openpyxl.load_workbook
    monkeypatch.setattr(openpyxl, "load_workbook", lambda *args, **kwargs: opened.append(args) or load(*args, **kwargs))
    path = write_workbook(tmp_path / "w.xlsx", {})
    import_workbook(path)
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("text", "value", "message"),
    [
        (
            "Ethnicity: N/A but most likely Brazilian", "N/A but most likely Brazilian",
            "not available: what is said beside it is a guess, left out",
        ),
        (
            "Ethnicity: N/A but most likely from mother; White (32%), N/A (68%)",
            "N/A but most likely from mother; White (32%), N/A (68%)",
            "not available: what is said beside it is a guess, left out",
        ),
        (
            "Ethnicty: White (100%)", "Ethnicty: White (100%)",
            "the key is not known, the line is not read; did you mean Ethnicity?",
        ),
        ("Hospital of Lima", "Hospital of Lima", "a line is not `Key: value`"),
    ],
)  # fmt: skip
def test_lines_of_the_demographics_that_are_not_read_are_named(
    tmp_path: Path, text: str, value: str, message: str
) -> None:
    facts, named = one(tmp_path, DEMOGRAPHICS=text)
    assert (facts["races"], facts["race_unknown_share"]) == (None, None)
    assert named == [("F2", value, message)]


def test_keys_that_no_fact_is_made_of_are_known(tmp_path: Path) -> None:
    assert one(tmp_path, DEMOGRAPHICS="Views: PA (60%), AP (40%)\nSmoking: Never (28%)\nAge SD: 11-12 years")[1] == []


def test_races_and_the_share_of_whom_none_is_known(tmp_path: Path) -> None:
    facts, named = one(tmp_path, DEMOGRAPHICS="Race: White (60%), Black (20%), N/A (15%), Unknown (5%)")
    assert (facts["races"], facts["race_shares"]) == (["White", "Black"], [0.6, 0.2])
    assert (facts["race_unknown_share"], named) == (pytest.approx(0.2), [])


def test_codes_of_body_parts_are_words(tmp_path: Path) -> None:
    facts, named = one(tmp_path, ORGANS="chest (46%)\nlspine (30%)\nport chest (20%)\nservice (3%)\nothers (1%)")
    assert (facts["organs"], named) == (["Chest", "Lumbar Spine"], [])
    unknown, named = one(tmp_path, ORGANS="chestt (100%)")
    assert unknown["organs"] == ["chestt"]
    assert named == [("J2", "chestt", "the code of a body part is not known; did you mean chest?")]


def test_how_sex_and_mean_age_are_stated_is_kept(tmp_path: Path) -> None:
    stated, _ = one(tmp_path, DEMOGRAPHICS="Gender: F (60%), M (40%)\nAvg. Age: 46.6")
    assert (stated["sex_stated_as"], stated["female_share"], stated["age_mean_unit"]) == ("Gender", 0.6, None)
    assert one(tmp_path, DEMOGRAPHICS="Sex: F (60%), M (40%)\nAvg. Age: 46.6 years")[0]["age_mean_unit"] == "years"


def test_papers_and_cases(tmp_path: Path) -> None:
    paper = {sheets.YEAR: 2024, sheets.PAPER_LINK: "https://x.org/1", sheets.PAPER_DATA: "Public Data, Simulated"}
    case = {sheets.CASE: "https://x.org/2", sheets.CASE_MODALITY: "Chest X-ray"}
    made = import_workbook(
        write_workbook(
            tmp_path / "w.xlsx",
            {
                PAPERS.title: [
                    {**paper, sheets.ADULT: "Peds & Adult", sheets.PAPER_MODALITY: "MRI", sheets.AGE_DOCUMENTED: "TRUE"},
                    {**paper, sheets.ADULT: "Grown-ups", sheets.PAPER_MODALITY: "MRI, Exclusion Criteria"},
                    {sheets.CONFERENCE: "Everything below is excluded"},
                ],
                CASES.title: [{**case, sheets.CASE_AGE: 17}, {**case, sheets.CASE_AGE: 18}, {**case, sheets.CASE_AGE: "old"}, case],
            },
        )
    )  # fmt: skip
    assert made.papers.select("age_class", "excluded", "modalities", "age_mentioned").rows() == [
        ("both", False, ["MRI"], True), (None, True, ["MRI"], None),
    ]  # fmt: skip
    cases = made.listings.filter(pl.col("listing") == "vqa_rad")
    assert cases.select("dataset_name", "modalities", "images", "patients", "adult_share").rows() == [
        ("Chest X-ray", ["X-ray"], 4, 2, 0.5)
    ]
    assert made.problems.select("sheet", "cell", "value").rows() == [
        ("MIDL Papers", "H3", "Grown-ups"), ("Repackaging (VQA-RAD)", "C4", "old"),
    ]  # fmt: skip


def test_country_without_institution_is_kept(tmp_path: Path) -> None:
    facts, named = one(tmp_path, INSTITUTIONS="Hospital(Italy)\nN/A (China)")
    assert facts["institutions"] == ["Hospital", None]
    assert facts["institution_countries"] == ["Italy", "China"]
    assert one(tmp_path, INSTITUTIONS="N/A (China)")[0]["institutions"] is None
    assert one(tmp_path, INSTITUTIONS="N/A")[0]["institution_countries"] is None
    assert named == []


@pytest.mark.parametrize(
    ("text", "age_class", "low", "high", "point"),
    [
        ("Adult", "adult", 1.0, 1.0, 1.0),
        ("Peds", "children", 0.0, 0.0, 0.0),
        ("Peds, Adult", "both", 0.0, 1.0, None),
        ("Peds, Adult (>97.5%)", "both", 0.975, 1.0, 0.975),
        ("Peds, Adult (97.5%)", "both", 0.975, 0.975, 0.975),
        ("Adult/Prenatal", "adult_prenatal", 0.0, 1.0, 1.0),
        ("N/A", None, 0.0, 1.0, None),
        (None, None, 0.0, 1.0, None),
    ],
)
def test_share_of_adults(
    tmp_path: Path, text: str | None, age_class: str | None, low: float, high: float, point: float | None
) -> None:
    facts, named = one(tmp_path, ADULT=text)
    found = [facts[name] for name in ("age_class", "adult_share_low", "adult_share_high", "adult_share")]
    assert found == [age_class, low, high, point]
    assert named == []


@pytest.mark.parametrize(
    ("column", "text", "fact", "kept", "cell", "value", "message"),
    [
        (
            "ADULT", "Peds, Adult (>101%)", "adult_share", None, "I2", "Peds, Adult (>101%)",
            "neither Adult, Peds, `Peds, Adult`, `Peds, Adult (>x%)` nor Adult/Prenatal",
        ),
        (
            "SAMPLE_SIZE", "Patients: 10\nScans: 7", "patients", 10, "G2", "Scans: 7",
            "a line is not `Patients|Sequences|Images: number`, once each",
        ),
        (
            "SAMPLE_SIZE", "Patients: many", "patients", None, "G2", "Patients: many",
            "a line is not `Patients|Sequences|Images: number`, once each",
        ),
        *(
            ("SAMPLE_SIZE", text, "patients", None, "G2", text, "more than 1,000,000,000, which no dataset has")
            for text in ("Patients: 99999999999999999999999", "Patients: 1,000,000,001", "Patients: " + "9" * 5000)
        ),
        *(
            (
                "SAMPLE_SIZE", text, "patients", None, "G2", text,
                "a line is not `Patients|Sequences|Images: number`, once each",
            )
            for text in ("Patients: 1,2,3", "Patients: 1000,000", "Patients: \u0661\u0662\u0663")
        ),
        *(
            ("DEMOGRAPHICS", f"{key}: {text}", fact, None, "F2", text, "above 130 years, which nobody is")
            for key, text, fact in (
                ("Avg. Age", "500", "age_mean_years"), ("Median Age", "131 years", "age_median_years"),
                ("Age Range", "0 to 200 years", "age_min_years"), ("Age Range", "140 years and above", "age_min_years"),
            )
        ),
        (
            "DEMOGRAPHICS", "Age Range: 80 to 20 years", "age_min_years", None, "F2", "80 to 20 years",
            "the age range ends before it begins",
        ),
        (
            "DEMOGRAPHICS", "Avg. Age: \u0665\u0660", "age_mean_years", None, "F2", "\u0665\u0660",
            "the age is not a number of years or days",
        ),
        ("DEMOGRAPHICS", "Sex: F (900%)", "female_share", None, "F2", "F (900%)", "a share is above 100 %"),
        (
            "DEMOGRAPHICS", "Sex: F (1.2.3%)", "female_share", None, "F2", "F (1.2.3%)",
            "the shares are not `A (x%), B (y%)`",
        ),
        (
            "LOCATION", "Kagle", "part", None, "O2", "Kagle",
            "the place is not known, the entry is of no part; did you mean Kaggle?",
        ),
        (
            "INSTITUTIONS", "Hospital (Chyna)", "institution_countries", ["Chyna"], "E2", "Chyna",
            "the country is not among those of the facts that ship; it is kept as stated; did you mean China?",
        ),
        (
            "INSTITUTIONS", "Hospital of Lima", "institutions", None, "E2", "Hospital of Lima",
            "a line is not `Institution (Country)`",
        ),
        (
            "AGE_HOW", "Somehow", "age_documented_how", None, "C2", "Somehow",
            "not among Patient-Level, Binned Patient-Level, Summary Statistics, Task/Data Description",
        ),
        ("AGE_COMPLETE", "perhaps", "age_complete", None, "D2", "perhaps", "neither TRUE nor FALSE"),
        (
            "DEMOGRAPHICS", "Avg. Age: sixty", "age_mean_years", None, "F2", "sixty",
            "the age is not a number of years or days",
        ),
        ("DEMOGRAPHICS", "Age Range: old", "age_min_years", None, "F2", "old", "the age range is not `a to b years`"),
        ("DEMOGRAPHICS", "Sex: half", "female_share", None, "F2", "half", "the shares are not `A (x%), B (y%)`"),
        (
            "DEMOGRAPHICS", "Sex: F (60%), M (41%)", "female_share", 0.6, "F2", "F (60%), M (41%)",
            "the shares sum to 101 %; they are kept as stated",
        ),
        ("AGE_COMPLETE", "#N/A", "age_complete", None, "D2", "#N/A", "the cell holds a spreadsheet error"),
        (
            "ORGANS", "Chest, Head|Neck", "organs", ["Chest"], "J2", "Head|Neck",
            "an item holds '|', which parts the items of a list",
        ),
    ],
)  # fmt: skip
def test_cells_that_do_not_parse_are_named(
    tmp_path: Path, column: str, text: str, fact: str, kept: Any, cell: str, value: str, message: str
) -> None:
    facts, named = one(tmp_path, **{column: text})
    assert facts[fact] == kept
    assert named == [(cell, value[:LONGEST_VALUE], message)]


def test_ages_in_years_and_days(tmp_path: Path) -> None:
    facts, named = one(tmp_path, DEMOGRAPHICS="Avg. Age: 36.525 days\nAge Range: 0 to 14 days")
    assert facts["age_mean_years"] == pytest.approx(0.1)
    assert facts["age_max_years"] == pytest.approx(14 / 365.25)
    mixed, _ = one(tmp_path, DEMOGRAPHICS="Age Range: 5 days to 16 years\nMedian Age: 46.6")
    assert (mixed["age_min_years"], mixed["age_max_years"]) == (pytest.approx(5 / 365.25), 16.0)
    assert mixed["age_median_years"] == 46.6
    above, _ = one(tmp_path, DEMOGRAPHICS="Age Range: 12 years and above")
    assert (above["age_min_years"], above["age_max_years"], named) == (12.0, None, [])


def test_shares_of_modalities(tmp_path: Path) -> None:
    equal, _ = one(tmp_path, MODALITIES="CT, MRI")
    assert (equal["modalities"], equal["modality_shares"]) == (["CT", "MRI"], [0.5, 0.5])
    stated, named = one(tmp_path, MODALITIES="CT, MRI", DEMOGRAPHICS="Modality: MRI (80%), CT (20%)")
    assert (stated["modalities"], stated["modality_shares"], named) == (["MRI", "CT"], [0.8, 0.2], [])


@pytest.mark.parametrize(
    ("modality", "size", "patients", "imputed"),
    [
        ("CT", "Sequences: 7", 7, "sequences"),
        ("CT, X-ray", "Sequences: 7", 7, "sequences"),
        ("X-ray", "Sequences: 7", None, None),
        ("Fundus", "Images: 45", 23, "images"),
        ("X-ray", "Images: 45", None, None),
        ("MRI", "Patients: 3\nSequences: 7", 3, None),
    ],
)
def test_patients_are_imputed(
    tmp_path: Path, modality: str, size: str, patients: int | None, imputed: str | None
) -> None:
    facts, _ = one(tmp_path, MODALITIES=modality, SAMPLE_SIZE=size)
    assert (facts["patients"], facts["patients_imputed_from"]) == (patients, imputed)


def test_the_most_that_is_counted_adds_up(tmp_path: Path) -> None:
    rows = [{**ADULTS, sheets.NAME: f"Dataset {n}", sheets.SAMPLE_SIZE: "Patients: 1,000,000,000"} for n in range(20)]
    made = import_workbook(write_workbook(tmp_path / "w.xlsx", {"Challenges": rows}))
    assert (made.facts["patients"].sum(), made.problems.height) == (20_000_000_000, 0)


def test_numbers_of_the_lists_have_limits(tmp_path: Path) -> None:
    """Years, ages of cases and cases used that no column holds: named, not an overflow."""
    huge = {sheets.YEAR: "9" * 400, sheets.PAPER_LINK: "https://x.org/1"}
    case = {sheets.CASE_MODALITY: "Chest X-ray", sheets.CASE_AGE: 131}
    rows = {
        PAPERS.title: [huge],
        CASES.title: [case],
        "Repackaging (MedSAM CT)": [{sheets.NAME: "A", sheets.REPORTED: "inf"}],
    }
    made = import_workbook(write_workbook(tmp_path / "w.xlsx", rows))
    assert made.papers["year"].to_list() == [None]
    assert made.problems.select("column_name", "message").rows() == [
        ("Year", "more than 2,100"), (sheets.REPORTED, "not a number"), (sheets.CASE_AGE, "more than 130"),
    ]  # fmt: skip


def test_rows_without_a_name_are_counted(tmp_path: Path) -> None:
    rows = [ADULTS, {sheets.NAME: None, sheets.ADULT: "Adult"}]
    made: Import = import_workbook(write_workbook(tmp_path / "w.xlsx", {"Challenges": rows}))
    assert made.skipped_rows == 1
    assert made.problems.select("cell", "message").rows() == [
        ("A3", "the row has no name of a dataset and is left out")
    ]
    assert made.sentence() == "6 datasets listed; 1 cell not understood or doubtful; 1 row without a name left out"
