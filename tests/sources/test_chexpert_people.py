"""CheXpert: race, ethnicity, sex and the order of studies, from the workbook and from CheXpert Plus."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from chexpert_files import (
    IMAGE,
    LABELS,
    ledger,
    notes,
    plus,
    rejected,
    row,
    study,
    train,
    workbook,
    write_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., Any]

# ---------------------------------------------------------------- CheXpert Plus beside train.csv


def test_plus_merges_and_adds(tmp_path: Path, harmonised: Run) -> None:
    """Precedence of the catalog entry: train.csv's age and sex are believed, gaps filled, differences counted."""
    train(tmp_path, {"Age": "60"}, {"at": study(2), "Sex": ""}, {"at": study(3), "Sex": "Male"})
    plus(
        tmp_path,
        {"age": "61.0"},
        {"path_to_image": study(2)},
        {"path_to_image": study(3)},
        {"path_to_image": study(4), "age": "0.0"},
    )
    result = harmonised("chexpert", tmp_path)
    assert ledger(result)["df_chexpert_plus_240401.csv"] == (4, 1, 3, 0, 0)
    assert row(result)["age_years"] == 60
    assert row(result, study(2))["sex"] == "F"
    assert row(result, study(3))["sex"] == "M"
    added = row(result, study(4))
    assert (added["source_file"], added["age_flag"], added["view"]) == (
        "df_chexpert_plus_240401.csv",
        "placeholder",
        "AP",
    )
    found = notes(result)
    assert found["disagreement", "age"] == [1]
    assert found["disagreement", "sex"][0] == 1
    assert found["coverage", "images"] == [1]


def test_study_order_of_plus(tmp_path: Path, harmonised: Run) -> None:
    """formats.md 1.1: Plus's patient_report_date_order; a study stands where its first report does, places run from 1."""
    second = study(1, "view2_frontal")
    plus(
        tmp_path,
        {"patient_report_date_order": "5"},
        {"path_to_image": second, "patient_report_date_order": "4"},
        {"path_to_image": study(2), "patient_report_date_order": "2"},
        {"path_to_image": study(1, patient="patient00002"), "patient_report_date_order": "1"},
    )
    train(tmp_path, {"at": study(1, patient="patient00002")}, {"at": study(2, patient="patient00002")})
    result = harmonised("chexpert", tmp_path)
    orders = dict(result["studies"].select("study_id", "study_order").iter_rows())
    assert orders == {
        "patient00001/study1": 2,
        "patient00001/study2": 1,
        "patient00002/study1": 1,
        "patient00002/study2": 2,
    }
    found = notes(result)
    assert found["disagreement", "study_order"] == [1, 1]
    assert found["coverage", "study_order"] == [1]


def test_study_order_without_plus_is_the_number(tmp_path: Path, harmonised: Run) -> None:
    """catalog/chexpert.toml, precedence of study_order."""
    train(tmp_path, {"at": study(2)}, {"at": study(10)})
    orders = dict(harmonised("chexpert", tmp_path)["studies"].select("study_id", "study_order").iter_rows())
    assert orders == {"patient00001/study2": 2, "patient00001/study10": 10}


def test_broken_json_lines(tmp_path: Path, harmonised: Run) -> None:
    """CXR-210: a line that is no object is refused, the others stay; images that no list has are unmatched."""
    train(tmp_path, {}, {"at": study(2)})
    lines = [
        json.dumps({"path_to_image": path, **dict.fromkeys(LABELS), "Edema": 1.0})
        for path in (IMAGE, study(2), study(3))
    ]
    (tmp_path / "report_fixed.json").write_text(f"{lines[0]}\n{lines[1][:40]}\n{lines[2]}\n")
    result = harmonised("chexpert", tmp_path)
    assert rejected(result) == [("CXR-210", "row", 2, None, None)]
    assert ledger(result)["report_fixed.json"] == (3, 0, 1, 1, 1)
    assert result["states_chexpert_chexbert_report"].select("image_id", "Edema", "Fracture").rows() == [(IMAGE, 1, -2)]


# ---------------------------------------------------------------- race and ethnicity


@pytest.mark.parametrize(
    ("primary_race", "ethnicity", "expected"),
    [
        ("White", "Non-Hispanic/Non-Latino", ("White", "Non-Hispanic", "White", None)),
        ("White", None, ("White", None, "White", None)),
        ("White, Hispanic", "Unknown", ("White", "Hispanic", "Hispanic", None)),
        ("White, non-Hispanic", "Hispanic/Latino", ("White", "Hispanic", "Hispanic", None)),
        ("Other", "Hispanic", ("Other", "Hispanic", "Hispanic", None)),
        ("Patient Refused", "Patient Refused", (None, None, None, "declined")),
        ("Race and Ethnicity Unknown", None, (None, None, None, "unknown")),
        (None, "Not Hispanic", (None, "Non-Hispanic", None, "not_recorded")),
        ("Asian - Historical Conv", "Unknown", ("Asian", None, "Asian", None)),
    ],
)
def test_race_and_ethnicity_of_the_workbook(
    primary_race: str | None, ethnicity: str | None, expected: tuple[str | None, ...], tmp_path: Path, harmonised: Run
) -> None:
    """metadata/race.tsv; formats.md 1.1: the suffix of PRIMARY_RACE completes ETHNICITY, and where it contradicts it, loses."""
    train(tmp_path, {})
    workbook(tmp_path, ("patient00001", "Female", 68, primary_race, ethnicity))
    result = harmonised("chexpert", tmp_path)
    patient = result["patients"].row(0, named=True)
    assert tuple(patient[c] for c in ("race", "ethnicity", "race_ethnicity", "race_missing_reason")) == expected
    contradicted = primary_race == "White, non-Hispanic"
    assert bool(notes(result)["disagreement", "ethnicity"]) == contradicted
    assert patient["race_raw"] == ([primary_race] if primary_race else None)


def test_race_comes_from_the_workbook_then_plus(tmp_path: Path, harmonised: Run) -> None:
    """Precedence of the catalog entry; a patient's repeated answer in Plus is one statement, two answers are a conflict."""
    people = {n: f"patient0000{n}" for n in (1, 2, 3, 4)}
    plus(
        tmp_path,
        {"race": "Asian", "ethnicity": "Hispanic/Latino"},
        {"path_to_image": study(1, patient=people[2]), "race": "Asian", "ethnicity": "Hispanic/Latino"},
        {"path_to_image": study(1, patient=people[3]), "race": "Asian"},
        {"path_to_image": study(2, patient=people[3]), "race": "Asian"},
        {"path_to_image": study(3, patient=people[3]), "race": "White"},
        {"path_to_image": study(1, patient=people[4])},
    )
    workbook(
        tmp_path,
        (people[1], "Female", 68, "White", None),
        (people[2], "Female", 68, "Unknown", "Non-Hispanic/Non-Latino"),
    )
    patients = {r["patient_id"]: r for r in harmonised("chexpert", tmp_path)["patients"].iter_rows(named=True)}
    answers = {
        n: (patients[p]["race"], patients[p]["ethnicity"], patients[p]["race_missing_reason"])
        for n, p in people.items()
    }
    assert answers == {
        1: ("White", "Hispanic", None),
        2: ("Asian", "Non-Hispanic", None),
        3: (None, None, "conflict"),
        4: (None, None, "not_recorded"),
    }
    assert [patients[p]["race_conflict"] for p in people.values()] == [True, False, True, False]


def test_unknown_race_is_reported(tmp_path: Path, harmonised: Run) -> None:
    """CONTRACT §6: an unknown value is never silently turned into Other."""
    train(tmp_path, {})
    workbook(tmp_path, ("patient00001", "Female", 68, "Martian", "Unknown"))
    result = harmonised("chexpert", tmp_path)
    assert rejected(result) == [("CXR-303", "value", 2, "race", "Martian")]
    assert result["patients"]["race"].to_list() == [None]


def test_workbook_ages_are_never_image_ages(tmp_path: Path, harmonised: Run) -> None:
    """formats.md 1.1: AGE_AT_CXR 9 against ages of 19 to 20; 2,117 patients above the cap; 3 sexes differ."""
    patients = [f"patient0000{n}" for n in range(1, 6)]
    ages = ["19", "90", "50", "50", "50"]
    train(tmp_path, *({"at": study(1, patient=p), "Age": a} for p, a in zip(patients, ages, strict=True)))
    stated = [9, 97, 51, 60, 50]
    workbook(
        tmp_path,
        *(
            (p, "Male" if p == patients[4] else "Female", a, "White", None)
            for p, a in zip(patients, stated, strict=True)
        ),
    )
    result = harmonised("chexpert", tmp_path)
    assert result["images"].sort("patient_id")["age_years"].to_list() == [19, 90, 50, 50, 50]
    assert "pediatric" not in result["images"]["age_group"].to_list()
    messages = {m: n for _, t, i, n, m in result.account.notes().iter_rows() if (t, i) == ("disagreement", "age")}
    assert list(messages.values()) == [1, 1, 1]
    assert sum("under 18" in m for m in messages) == sum("above it" in m for m in messages) == 1
    assert notes(result)["disagreement", "sex"] == [1]
    assert result["images"].sort("patient_id")["sex"].to_list() == ["F"] * 5


def test_the_workbook_fills_sex_of_the_test_set(tmp_path: Path, harmonised: Run) -> None:
    """catalog/chexpert.toml, precedence of sex_raw: the released test labels give none."""
    image = study(1, patient="patient64741", split="test")
    write_rows(tmp_path / "test_labels.csv", [{"Path": image, "Edema": "1"}], ["Path", *LABELS])
    workbook(
        tmp_path,
        ("patient64741", "Male", 68, "White", None),
        ("patient64742", "Male", 68, "White", None),
        ("64743", "Male", 68, "White", None),
    )
    result = harmonised("chexpert", tmp_path)
    assert row(result, image)["sex"] == "M"
    assert ledger(result)["CHEXPERT DEMO.xlsx"] == (3, 0, 1, 1, 1)
    assert [r[0] for r in rejected(result)] == ["CXR-207"]
