"""Race and ethnicity: rules of decision, and every raw value of race.tsv against the rule that its scheme states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrdata.errors import CxrError
from cxrdata.harmonise.race import harmonise_race
from cxrdata.sources.account import Account

if TYPE_CHECKING:
    from cxrdata.vocabularies import Vocabularies

MIMIC_STATEMENTS = {
    "WHITE": "White", "BLACK/AFRICAN": "Black", "ASIAN": "Asian", "OTHER": "Other",
    "UNKNOWN": None, "PATIENT DECLINED TO ANSWER": None, "HISPANIC OR LATINO": None, None: None,
}  # fmt: skip


def statement(patient: str, field: str, value: str | None, order: int, **other: Any) -> dict[str, Any]:
    about = "ethnicity" if field == "ETHNICITY" else "race"
    usual = {"precedence": 0 if field == "ETHNICITY" else 1, "about": about, "_line": order + 2, "source_file": "f.csv"}
    return {"patient_id": patient, "field": field, "raw_value": value, "record_order": order, **usual, **other}


SCHEMA = {
    "patient_id": pl.String, "field": pl.String, "raw_value": pl.String, "record_order": pl.Int64,
    "precedence": pl.Int64, "about": pl.String, "_line": pl.Int64, "source_file": pl.String,
}  # fmt: skip


def decide(
    vocabularies: Vocabularies,
    rows: list[dict[str, Any]],
    dataset: str = "mimic_cxr",
    patients: tuple[str, ...] = ("p",),
    **wishes: Any,
) -> tuple[dict[str, dict[str, Any]], Account]:
    account = Account(dataset)
    frame = pl.DataFrame(rows, schema=SCHEMA)
    asked = pl.DataFrame({"patient_id": list(patients)})
    got = harmonise_race(frame, asked, dataset, vocabularies, account, **wishes)
    assert got["patient_id"].to_list() == list(patients)
    return {row.pop("patient_id"): row for row in got.iter_rows(named=True)}, account


def of_mimic(vocabularies: Vocabularies, *values: str | None, **wishes: Any) -> dict[str, Any]:
    """The answer for one patient whose admissions say `values`, in this order."""
    rows = [statement("p", "race", value, at) for at, value in enumerate(values)]
    return decide(vocabularies, rows, **wishes)[0]["p"]


@pytest.mark.parametrize(
    ("values", "majority", "first", "unanimous", "reason"),
    [
        (["WHITE"], "White", "White", "White", None),
        (["WHITE", "WHITE - RUSSIAN"], "White", "White", "White", None),
        (["WHITE", "ASIAN"], None, "White", None, "conflict"),
        (["ASIAN", "WHITE", "WHITE"], "White", "Asian", None, "conflict"),
        (["UNKNOWN", "ASIAN"], "Asian", "Asian", "Asian", None),
        (["PATIENT DECLINED TO ANSWER", "UNKNOWN", "UNKNOWN", "BLACK/AFRICAN"], "Black", "Black", "Black", None),
        (["OTHER", "WHITE"], None, "Other", None, "conflict"),
        (["UNKNOWN"], None, None, None, "unknown"),
        (["UNABLE TO OBTAIN"], None, None, None, "unknown"),
        (["UNKNOWN", "PATIENT DECLINED TO ANSWER"], None, None, None, "declined"),
        ([None], None, None, None, "not_recorded"),
        (["HISPANIC OR LATINO"], None, None, None, "not_recorded"),
        (["ASIAN", "WHITE", "BLACK/AFRICAN", "WHITE", "ASIAN"], None, "Asian", None, "conflict"),
    ],
)
def test_rules_for_disagreeing_records(
    values: list[str | None],
    majority: str | None,
    first: str | None,
    unanimous: str | None,
    reason: str | None,
    vocabularies: Vocabularies,
) -> None:
    """CONTRACT §6: unknown and declined never vote; ties are null."""
    expected = {"majority": majority, "first": first, "unanimous": unanimous}
    for rule, race in expected.items():
        got = of_mimic(vocabularies, *values, rule=rule)
        assert got["race"] == race, rule
        assert got["race_missing_reason"] == (None if race else reason), rule
        assert got["race_conflict"] == (reason == "conflict"), rule


@given(st.lists(st.sampled_from(list(MIMIC_STATEMENTS)), min_size=1, max_size=7))
@settings(max_examples=60, deadline=None)
def test_rules_against_a_plain_count(vocabularies: Vocabularies, values: list[str | None]) -> None:
    known = [race for value in values if (race := MIMIC_STATEMENTS[value])]
    counts = sorted(((known.count(race), race) for race in set(known)), reverse=True)
    is_tie = len(counts) > 1 and counts[0][0] == counts[1][0]
    expected = {
        "majority": counts[0][1] if counts and not is_tie else None,
        "first": known[0] if known else None,
        "unanimous": counts[0][1] if len(counts) == 1 else None,
    }
    for rule, race in expected.items():
        got = of_mimic(vocabularies, *values, rule=rule)
        assert (got["race"], got["race_conflict"]) == (race, len(counts) > 1)
        assert got["ethnicity"] == ("Hispanic" if "HISPANIC OR LATINO" in values else None)
        assert got["race_raw"] == (sorted({value for value in values if value}) or None)


def test_first_is_first_by_order_not_by_row(vocabularies: Vocabularies) -> None:
    rows = [statement("p", "race", value, order) for value, order in (("ASIAN", 5), ("WHITE", 2), ("UNKNOWN", 0))]
    assert decide(vocabularies, rows, rule="first")[0]["p"]["race"] == "White"


def test_one_question_and_two(vocabularies: Vocabularies) -> None:
    """CONTRACT §6: one question for both leaves the race of a Hispanic open, and of a White the ethnicity."""
    columns = ("race", "ethnicity", "race_ethnicity")
    white, hispanic = of_mimic(vocabularies, "WHITE"), of_mimic(vocabularies, "HISPANIC/LATINO - CUBAN")
    assert [white[c] for c in columns] == ["White", None, "White"]
    assert [hispanic[c] for c in columns] == [None, "Hispanic", "Hispanic"]
    both = of_mimic(vocabularies, "WHITE", "HISPANIC/LATINO - CUBAN")
    assert [both[c] for c in columns] == ["White", "Hispanic", "Hispanic"]
    assert not both["race_conflict"], "the two values answer different questions"
    rows = [statement("p", "PRIMARY_RACE", "White", 0), statement("p", "ETHNICITY", "Non-Hispanic/Non-Latino", 0)]
    two = decide(vocabularies, rows, "chexpert")[0]["p"]
    assert [two[c] for c in columns] == ["White", "Non-Hispanic", "White"]
    assert (two["race_raw"], two["ethnicity_raw"]) == (["White"], ["Non-Hispanic/Non-Latino"])


@pytest.mark.parametrize(
    ("race", "ethnicity", "expected"),
    [
        ("White, Hispanic", "Non-Hispanic/Non-Latino", ("White", "Non-Hispanic")),
        ("Black, non-Hispanic", "Unknown", ("Black", "Non-Hispanic")),
        ("Other, Hispanic", None, ("Other", "Hispanic")),
        ("White", "Hispanic", ("White", "Hispanic")),
        ("Patient Refused", "Hispanic/Latino", (None, "Hispanic")),
        ("Unknown", "Patient Refused", (None, None)),
    ],
)
def test_the_suffix_completes_the_ethnicity_and_never_overrules_it(
    race: str, ethnicity: str | None, expected: tuple[str | None, str | None], vocabularies: Vocabularies
) -> None:
    """formats.md 1.1: the suffix of PRIMARY_RACE names the ethnicity, and can contradict or complete ETHNICITY."""
    rows = [statement("p", "PRIMARY_RACE", race, 0), statement("p", "ETHNICITY", ethnicity, 0)]
    got = decide(vocabularies, rows, "chexpert")[0]["p"]
    assert (got["race"], got["ethnicity"]) == expected
    assert not got["race_conflict"]


def test_reasons_come_from_the_question_of_race_alone(vocabularies: Vocabularies) -> None:
    """Refusing to state the ethnicity is no refusal to state the race."""
    rows = [statement("p", "PRIMARY_RACE", "Unknown", 0), statement("p", "ETHNICITY", "Patient Refused", 0)]
    assert decide(vocabularies, rows, "chexpert")[0]["p"]["race_missing_reason"] == "unknown"


def test_no_record_is_not_an_empty_record(vocabularies: Vocabularies) -> None:
    got, _ = decide(vocabularies, [statement("a", "race", None, 0)], patients=("a", "b"))
    assert {patient: row["race_missing_reason"] for patient, row in got.items()} == {
        "a": "not_recorded",
        "b": "no_record",
    }
    assert got["b"]["race_conflict"] is False
    patients = pl.DataFrame({"patient_id": ["a"]})
    never = harmonise_race(None, patients, "nih_cxr14", vocabularies, Account("nih_cxr14")).row(0, named=True)
    assert (never["race"], never["race_missing_reason"]) == (None, "not_recorded")


def test_an_unknown_value_is_reported_and_never_other(vocabularies: Vocabularies) -> None:
    """CONTRACT §6."""
    got, account = decide(vocabularies, [statement("p", "race", "MARTIAN", 3)])
    assert got["p"]["race"] is None
    assert got["p"]["race_raw"] == ["MARTIAN"]
    columns = ("source_file", "line", "kind", "code", "column_name", "value")
    assert account.rejects().select(columns).rows() == [("f.csv", 5, "value", "CXR-303", "race", "MARTIAN")]


@pytest.mark.parametrize("wish", [{"rule": "plurality"}, {"scheme": "omb2024"}])
def test_unknown_rule_and_scheme(wish: dict[str, str], vocabularies: Vocabularies) -> None:
    with pytest.raises(CxrError, match="is called") as caught:
        of_mimic(vocabularies, "WHITE", **wish)
    assert caught.value.code == "CXR-501"


# formats.md 1.1 and 1.3, all values of each field.
CHEXPERT_RACE = (
    "White|Other|White, non-Hispanic|Asian|Unknown|Black or African American|Race and Ethnicity Unknown|Other, Hispanic|"
    "Asian, non-Hispanic|Native Hawaiian or Other Pacific Islander|Black, non-Hispanic|White, Hispanic|"
    "Other, non-Hispanic|Patient Refused|American Indian or Alaska Native|Pacific Islander, non-Hispanic|"
    "Native American, non-Hispanic|Black, Hispanic|Native American, Hispanic|Asian, Hispanic|White or Caucasian|"
    "Pacific Islander, Hispanic|Asian - Historical Conv"
)
CHEXPERT_ETHNICITY = "Non-Hispanic/Non-Latino|Unknown|Hispanic/Latino|Patient Refused|Not Hispanic|Hispanic"
MIMIC_ETHNICITY = (
    "WHITE|BLACK/AFRICAN AMERICAN|HISPANIC/LATINO|OTHER|ASIAN|UNKNOWN|UNABLE TO OBTAIN|AMERICAN INDIAN/ALASKA NATIVE"
)
MIMIC_RACE = (
    "AMERICAN INDIAN/ALASKA NATIVE|ASIAN|ASIAN - ASIAN INDIAN|ASIAN - CHINESE|ASIAN - KOREAN|ASIAN - SOUTH EAST ASIAN|"
    "BLACK/AFRICAN|BLACK/AFRICAN AMERICAN|BLACK/CAPE VERDEAN|BLACK/CARIBBEAN ISLAND|HISPANIC OR LATINO|"
    "HISPANIC/LATINO - CENTRAL AMERICAN|HISPANIC/LATINO - COLUMBIAN|HISPANIC/LATINO - CUBAN|HISPANIC/LATINO - DOMINICAN|"
    "HISPANIC/LATINO - GUATEMALAN|HISPANIC/LATINO - HONDURAN|HISPANIC/LATINO - MEXICAN|HISPANIC/LATINO - PUERTO RICAN|"
    "HISPANIC/LATINO - SALVADORAN|MULTIPLE RACE/ETHNICITY|NATIVE HAWAIIAN OR OTHER PACIFIC ISLANDER|OTHER|"
    "PATIENT DECLINED TO ANSWER|PORTUGUESE|SOUTH AMERICAN|UNABLE TO OBTAIN|UNKNOWN|WHITE|WHITE - BRAZILIAN|"
    "WHITE - EASTERN EUROPEAN|WHITE - OTHER EUROPEAN|WHITE - RUSSIAN"
)
FIELDS = {
    ("chexpert", "PRIMARY_RACE"): CHEXPERT_RACE,
    ("chexpert", "ETHNICITY"): CHEXPERT_ETHNICITY,
    ("chexpert", "race"): CHEXPERT_RACE,
    ("chexpert", "ethnicity"): CHEXPERT_ETHNICITY,
    ("mimic_cxr", "ethnicity"): MIMIC_ETHNICITY,
    ("mimic_cxr", "race"): MIMIC_RACE,
}
VALUES = {field: text.split("|") for field, text in FIELDS.items()}
SCHEMES = ("omb1997", "chexploration", "cxr_fairness")
Meaning = tuple[str | None, str | None]


def is_ethnicity_only(dataset: str, field: str) -> bool:
    return dataset == "chexpert" and field.lower() == "ethnicity"


def hispanic_or_not(value: str) -> str | None:
    """What a CheXpert value says of ethnicity, in its column or as a suffix."""
    lowered = value.lower()
    if "hispanic" not in lowered:
        return None
    return "Non-Hispanic" if "non-hispanic" in lowered or "not hispanic" in lowered else "Hispanic"


def omb1997(dataset: str, field: str, value: str) -> Meaning:
    """CONTRACT §6 and, for the disputed values, the scheme's own comments."""
    if is_ethnicity_only(dataset, field):
        return None, hispanic_or_not(value)
    named = value.upper()
    if dataset == "mimic_cxr" and named.startswith(("HISPANIC", "SOUTH AMERICAN")):
        return None, "Hispanic"
    words = {
        "WHITE": "White", "BLACK": "Black", "ASIAN": "Asian", "OTHER": "Other", "PORTUGUESE": "White", "MULTIPLE": "Multiple",
        "NATIVE HAWAIIAN": "Native Hawaiian/Pacific Islander", "PACIFIC": "Native Hawaiian/Pacific Islander",
        "AMERICAN INDIAN": "American Indian/Alaska Native", "NATIVE AMERICAN": "American Indian/Alaska Native",
    }  # fmt: skip
    race = next((race for word, race in words.items() if named.startswith(word)), None)
    return race, hispanic_or_not(value) if dataset == "chexpert" else None


def chexploration(dataset: str, field: str, value: str) -> Meaning:
    """formats.md, race maps: CheXpert by contained word, MIMIC (then `ethnicity`) by the exact value; else dropped."""
    if is_ethnicity_only(dataset, field):
        return None, "Non-Hispanic" if hispanic_or_not(value) == "Non-Hispanic" else None
    if dataset == "chexpert":
        return next((race for race in ("Black", "White", "Asian") if race in value), None), None
    return {"WHITE": "White", "BLACK/AFRICAN AMERICAN": "Black", "ASIAN": "Asian"}.get(value), None


def cxr_fairness(dataset: str, field: str, value: str) -> Meaning:
    """formats.md, race maps: exact WHITE, BLACK/AFRICAN AMERICAN, else Other; CheXpert by its first word."""
    if is_ethnicity_only(dataset, field):
        return None, None
    if dataset == "mimic_cxr":
        return {"WHITE": "White", "BLACK/AFRICAN AMERICAN": "Black"}.get(value, "Other"), None
    return next((race for race in ("White", "Black") if value.startswith(race)), "Other"), None


def test_race_tsv_lists_every_value_of_every_field(vocabularies: Vocabularies) -> None:
    assert [len(values) for values in VALUES.values()] == [23, 6, 23, 6, 8, 33]
    for scheme in SCHEMES:
        rows = vocabularies.race.filter(pl.col("scheme") == scheme)
        listed = {key: set(group["raw_value"]) for key, group in rows.group_by("dataset", "field")}
        assert listed == {key: set(values) for key, values in VALUES.items()}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_value_means_what_the_scheme_says(scheme: str, vocabularies: Vocabularies) -> None:
    rule = {"omb1997": omb1997, "chexploration": chexploration, "cxr_fairness": cxr_fairness}[scheme]
    for row in vocabularies.race.filter(pl.col("scheme") == scheme).iter_rows(named=True):
        expected = rule(row["dataset"], row["field"], row["raw_value"])
        assert (row["race"], row["ethnicity"]) == expected, (row["field"], row["raw_value"])


def test_every_value_is_decided_as_listed(vocabularies: Vocabularies) -> None:
    """One patient a value, all at once: what the table says is what the patient gets."""
    for scheme in SCHEMES:
        for (dataset, field), values in VALUES.items():
            rows = [statement(value, field, value, 0, precedence=0) for value in values]
            got, account = decide(vocabularies, rows, dataset, tuple(values), scheme=scheme)
            assert account.rejects().is_empty()
            listed = vocabularies.race.filter(
                (pl.col("scheme") == scheme) & (pl.col("dataset") == dataset) & (pl.col("field") == field)
            )
            for row in listed.iter_rows(named=True):
                found = got[row["raw_value"]]
                assert (found["race"], found["ethnicity"]) == (row["race"], row["ethnicity"])


def test_why_a_race_is_missing(vocabularies: Vocabularies) -> None:
    """CONTRACT §5: declined is one thing, unknown another, and not asked a third."""
    rows = vocabularies.race.filter((pl.col("scheme") == "omb1997") & pl.col("missing_reason").is_not_null())
    reasons = {(row["field"], row["raw_value"]): row["missing_reason"] for row in rows.iter_rows(named=True)}
    for (_, value), reason in reasons.items():
        lowered = value.lower()
        expected = (
            "declined" if "declined" in lowered or "refused" in lowered
            else "unknown" if "unknown" in lowered or "unable" in lowered
            else "not_recorded"
        )  # fmt: skip
        assert reason == expected, value
    answered = vocabularies.race.filter(pl.col("race").is_not_null() & pl.col("missing_reason").is_not_null())
    assert answered.is_empty()
