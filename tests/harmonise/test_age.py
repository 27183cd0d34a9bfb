"""Ages: values, ranges and flags; the true age of a random person must lie in the range stated."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrdata.harmonise.age import AGE_COLUMNS, harmonise_age

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrdata.sources.base import Registry

RULES = {"maximum_years": 120.0}
PEOPLE = st.lists(
    st.tuples(st.dates(dt.date(1900, 1, 1), dt.date(2015, 12, 31)), st.integers(0, 110 * 365)), min_size=1, max_size=60
)


def aged(raws: Sequence[str | None], form: str = "dicom", rules: dict[str, Any] = RULES) -> pl.DataFrame:
    return harmonise_age(pl.DataFrame({"age_raw": raws}, schema={"age_raw": pl.String}), form, rules)


def one(raw: str | None, form: str = "dicom", **rules: Any) -> dict[str, Any]:
    return aged([raw], form, RULES | rules).row(0, named=True)


def birthday(birth: dt.date, year: int) -> dt.date:
    """The birthday of a year; of 29 February, in common years, 1 March."""
    try:
        return birth.replace(year=year)
    except ValueError:
        return dt.date(year, 3, 1)


def true_age(birth: dt.date, day: dt.date) -> float:
    """Completed years, and the share of the days to the next birthday that are over."""
    completed = day.year - birth.year - (day < birthday(birth, day.year))
    last, following = birthday(birth, birth.year + completed), birthday(birth, birth.year + completed + 1)
    return completed + (day - last).days / (following - last).days


def people(drawn: Sequence[tuple[dt.date, int]]) -> tuple[list[dt.date], list[dt.date], list[float]]:
    births = [birth for birth, _ in drawn]
    studies = [birth + dt.timedelta(days) for birth, days in drawn]
    return births, studies, [true_age(birth, study) for birth, study in zip(births, studies, strict=True)]


def check_range(frame: pl.DataFrame, ages: Sequence[float]) -> None:
    """The true age is in [low, high), and the group is stated exactly where both ends agree, and then right."""
    for row, age in zip(frame.iter_rows(named=True), ages, strict=True):
        low, high, group = row["age_low_years"], row["age_high_years"], row["age_group"]
        assert low <= age < high, row
        assert row["age_flag"] == "ok"
        if low < 18 < high:
            assert group is None
            assert row["age_group_reason"] == f"the {row['age_precision']} leaves both sides of 18 open"
        else:
            assert group == ("adult" if age >= 18 else "pediatric")
            assert row["age_group_reason"] is None


@given(PEOPLE)
@settings(max_examples=100, deadline=None)
def test_range_of_a_birth_year(drawn: list) -> None:
    births, studies, ages = people(drawn)
    frame = harmonise_age(
        pl.DataFrame({"birth_year": [birth.year for birth in births], "study_date": studies}), "birth_year", RULES
    )
    check_range(frame, ages)
    assert ((frame["age_high_years"] - frame["age_low_years"]) <= 1 + 1e-12).all()


@given(PEOPLE, st.data())
@settings(max_examples=100, deadline=None)
def test_range_of_an_anchor_age(drawn: list, data: st.DataObject) -> None:
    """MIMIC-IV: the completed age at some day of the anchor year, carried to the year of the study (formats.md 1.3)."""
    births, studies, ages = people(drawn)
    anchors = [dt.date(data.draw(st.integers(birth.year + 1, 2100)), 1, 1) for birth in births]
    anchors = [day + dt.timedelta(data.draw(st.integers(0, 364))) for day in anchors]
    frame = pl.DataFrame(
        {
            "anchor_age": [int(true_age(birth, day)) for birth, day in zip(births, anchors, strict=True)],
            "anchor_year": [day.year for day in anchors],
            "study_date": studies,
        }
    )
    # An anchor age from before the birthday may put the estimate below zero on the day of birth.
    known = (pl.col("anchor_age") + pl.col("study_date").dt.year() - pl.col("anchor_year")) >= 0
    frame = frame.with_columns(_true=pl.Series(ages)).filter(known)
    check_range(harmonise_age(frame, "anchor_year", RULES), frame["_true"].to_list())


@given(PEOPLE)
@settings(max_examples=100, deadline=None)
def test_range_of_completed_years(drawn: list) -> None:
    ages = people(drawn)[2]
    check_range(aged([str(int(age)) for age in ages], "years"), ages)
    check_range(aged([f"{int(age):03d}Y" for age in ages]), ages)


@given(st.lists(st.integers(0, 9999 * 30), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None)
def test_range_of_months_weeks_and_days(days: list[int]) -> None:
    """DICOM PS3.5 AS. Months are twelfths of a year, days and weeks counted at 365.25 a year."""
    months = [day / 30 for day in days if day / 30 / 12 < 119]
    check_range(aged([f"{int(month):03d}M" for month in months]), [month / 12 for month in months])
    short = [day % 9_999 for day in days]
    check_range(aged([f"{day:03d}D" for day in short]), [(day + 0.5) / 365.25 for day in short])
    check_range(aged([f"{day // 7:03d}W" for day in short]), [day / 365.25 for day in short])


@pytest.mark.parametrize(
    ("raw", "years", "high", "precision", "group"),
    [
        ("058Y", 58, 59, "year", "adult"),
        ("017Y", 17, 18, "year", "pediatric"),
        ("018Y", 18, 19, "year", "adult"),
        ("013M", 13 / 12, 14 / 12, "month", "pediatric"),
        ("215M", 215 / 12, 18, "month", "pediatric"),
        ("216M", 18, 217 / 12, "month", "adult"),
        ("001D", 1 / 365.25, 2 / 365.25, "day", "pediatric"),
        ("000D", 0, 1 / 365.25, "day", "pediatric"),
        ("6574D", 6574 / 365.25, 6575 / 365.25, "day", None),
        ("003W", 21 / 365.25, 28 / 365.25, "month", "pediatric"),
        (" 7y ", 7, 8, "year", "pediatric"),
    ],
)
def test_dicom_ages(raw: str, years: float, high: float, precision: str, group: str | None) -> None:
    got = one(raw)
    assert got["age_years"] == got["age_low_years"] == pytest.approx(years, abs=1e-12)
    assert got["age_high_years"] == pytest.approx(high, abs=1e-12)
    assert (got["age_precision"], got["age_group"], got["age_flag"], got["age_raw"]) == (precision, group, "ok", raw)


@pytest.mark.parametrize("raw", ["Y", "058", "058y ears", "5.5Y", "-1Y", "12345Y", "abc", "058Z"])
def test_unreadable_ages_are_missing_and_reported(raw: str) -> None:
    got = one(raw)
    assert (got["age_flag"], got["age_years"], got["_age_unreadable"]) == ("missing", None, True)
    assert got["age_group_reason"] == "age missing"


def test_a_known_way_of_leaving_out_the_number_is_not_reported() -> None:
    """formats.md 1.6, 1.7: a bare `Y` means missing."""
    got = one("Y", unreadable_as_missing=["Y"])
    assert (got["age_flag"], got["_age_unreadable"]) == ("missing", False)


@pytest.mark.parametrize("raw", [None, "", "  "])
@pytest.mark.parametrize("form", ["years", "dicom"])
def test_an_empty_age_is_missing(raw: str | None, form: str) -> None:
    got = one(raw, form)
    assert (got["age_flag"], got["_age_unreadable"], got["age_precision"]) == ("missing", False, None)


@pytest.mark.parametrize(
    ("raw", "maximum", "flag"),
    [
        ("411Y", 120, "implausible"),
        ("148Y", 120, "implausible"),
        ("238Y", 120, "implausible"),
        ("120Y", 120, "ok"),
        ("019Y", 18, "implausible"),
        ("018Y", 18, "ok"),
    ],
)
def test_implausible_ages(raw: str, maximum: float, flag: str) -> None:
    """formats.md 1.4 (NIH variant A), 1.6 and 1.7. The raw value stays; nothing is derived from it."""
    got = one(raw, maximum_years=maximum)
    assert got["age_flag"] == flag
    assert got["age_raw"] == raw
    if flag == "implausible":
        derived = ("age_years", "age_low_years", "age_high_years", "age_precision", "age_group")
        assert [got[column] for column in derived] == [None] * 5
        assert got["age_group_reason"] == "age implausible"
        assert not got["_age_unreadable"]


@pytest.mark.parametrize(
    ("dataset", "raw", "flag", "years"),
    [
        ("chexpert", "0", "placeholder", None),
        ("chexpert", "18", "ok", 18),
        ("chexpert", "89", "ok", 89),
        ("chexpert", "90", "top_coded", 90),
        ("nih_cxr14", "0", "ok", 0),
        ("nih_cxr14", "95", "ok", 95),
        ("vindr_cxr", "000Y", "placeholder", None),
        ("vindr_cxr", "000D", "placeholder", None),
        ("vindr_cxr", "Y", "missing", None),
        ("vindr_cxr", "238Y", "implausible", None),
        ("vindr_cxr", "006Y", "ok", 6),
        ("vindr_pcxr", "000D", "ok", 0),
        ("vindr_pcxr", "019Y", "implausible", None),
        ("vindr_pcxr", "Y", "missing", None),
    ],
)
def test_the_rules_of_each_dataset(dataset: str, raw: str, flag: str, years: float | None, registry: Registry) -> None:
    """formats.md 1.1, 1.4, 1.6, 1.7: what a placeholder, a top code and an implausible age are differs."""
    form = "years" if dataset in {"chexpert", "nih_cxr14"} else "dicom"
    got = aged([raw], form, dict(registry.get(dataset).entry["age"])).row(0, named=True)
    assert (got["age_flag"], got["age_years"], got["_age_unreadable"]) == (flag, years, False)
    if flag == "top_coded":
        assert (got["age_low_years"], got["age_high_years"], got["age_group"]) == (years, None, "adult")


def test_the_top_code_of_mimic(registry: Registry) -> None:
    """formats.md 1.3: 91 stands for anyone over 89, so the true age is open upwards, and 90 at the least."""
    frame = pl.DataFrame(
        {
            "anchor_age": [91, 89, 91],
            "anchor_year": [2150] * 3,
            "study_date": [dt.date(y, 1, 1) for y in (2150, 2152, 2155)],
        }
    )
    rules = dict(registry.get("mimic_cxr").entry["age"])
    got = harmonise_age(frame, "anchor_year", rules)
    assert got["age_flag"].to_list() == ["top_coded", "ok", "top_coded"]
    assert got["age_years"].to_list() == [91, 91, 96]
    assert got["age_low_years"].to_list() == [89, 90, 94]
    assert got["age_high_years"].to_list() == [None, 92, None]


def test_birth_years_at_the_ends_of_a_year() -> None:
    """On 31 December everyone has had the birthday; on 1 January those born that day have it too."""
    frame = pl.DataFrame(
        {
            "birth_year": [2000] * 4,
            "study_date": [dt.date(2018, 12, 31), dt.date(2017, 12, 31), dt.date(2018, 1, 1), dt.date(2016, 12, 31)],
        }
    )
    got = harmonise_age(frame, "birth_year", RULES)
    assert got["age_group"].to_list() == ["adult", "pediatric", None, "pediatric"]
    assert got["age_low_years"].to_list() == pytest.approx([18, 17, 17 + 1 / 365, 16])
    assert got["age_high_years"].to_list() == pytest.approx([19, 18, 18 + 1 / 365, 17])


def test_a_study_before_the_birth_is_implausible() -> None:
    frame = pl.DataFrame({"birth_year": [2010, 2010], "study_date": [dt.date(2009, 12, 31), dt.date(2010, 1, 1)]})
    got = harmonise_age(frame, "birth_year", RULES)
    assert got["age_flag"].to_list() == ["implausible", "ok"]
    assert got["age_low_years"].to_list() == [None, 0]


def test_a_birth_year_without_a_date_of_the_study() -> None:
    """The year of birth is readable; the age is missing all the same."""
    frame = pl.DataFrame(
        {"birth_year": [1950], "study_date": [None], "age_raw": ["1950.0"]},
        schema={"birth_year": pl.Int64, "study_date": pl.Date, "age_raw": pl.String},
    )
    got = harmonise_age(frame, "birth_year", RULES).row(0, named=True)
    assert (got["age_flag"], got["_age_unreadable"]) == ("missing", False)


def test_a_dataset_without_ages() -> None:
    got = harmonise_age(pl.DataFrame({"image_id": ["a"]}), "none", RULES)
    assert set(AGE_COLUMNS) <= set(got.columns)
    assert got["age_flag"].to_list() == ["missing"]


def test_rows_keep_their_order_and_their_columns() -> None:
    frame = pl.DataFrame({"image_id": ["b", "a", "c"], "age_raw": ["001Y", None, "030Y"]})
    got = harmonise_age(frame, "dicom", RULES)
    assert got["image_id"].to_list() == ["b", "a", "c"]
    assert set(got.columns) == {"image_id", *AGE_COLUMNS, "_age_unreadable"}
