"""Ages, sexes, views and labels that differ from the source."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from cxrdata.annotate import annotate_frame
from cxrdata.store.catalog import Catalog


def _report(catalog: Catalog, keys: pl.DataFrame, kind: str, **columns: Any) -> dict[str, Any]:
    reports = annotate_frame(catalog, keys.select("image_uid").with_columns(**columns)).summary[kind]
    assert len(reports) == 1
    return reports[0]


@pytest.fixture(scope="session")
def aged(nih: pl.DataFrame) -> pl.DataFrame:
    return nih.filter((pl.col("age_flag") == "ok") & (pl.col("age_precision") == "year"))


@pytest.mark.parametrize("spelling", ["{}", "{}.0", "0{}Y", " {} "])
def test_equal_ages_agree(catalog: Catalog, aged: pl.DataFrame, spelling: str) -> None:
    two_digits = aged.filter(pl.col("age_years") >= 10)
    given = pl.Series([spelling.format(int(age)) for age in two_digits["age_years"]])
    report = _report(catalog, two_digits, "ages", **{"Patient Age": given})
    assert (report["compared"], report["different"], report["unreadable"]) == (two_digits.height, 0, 0)


def test_wrong_ages_are_counted_with_their_rows(catalog: Catalog, aged: pl.DataFrame) -> None:
    ages = [str(int(age)) for age in aged["age_years"]]
    ages[3], ages[5], ages[6] = str(int(aged["age_years"][3]) + 1), "old", ""
    report = _report(catalog, aged, "ages", age=pl.Series(ages))
    assert (report["compared"], report["different"], report["unreadable"]) == (aged.height - 2, 1, 1)
    assert report["examples"] == [
        {"row": 4, "image": aged["image_uid"][3], "file": ages[3], "catalog": str(int(aged["age_years"][3]))}
    ]


def test_an_age_within_the_range_of_a_birth_year_agrees(catalog: Catalog, images: pl.DataFrame) -> None:
    born = images.filter((pl.col("age_precision") == "birth_year") & (pl.col("age_years") > 1))
    # On 31 December everyone has had the year's birthday.
    last_day = (pl.col("study_date").dt.month() == 12) & (pl.col("study_date").dt.day() == 31)
    born = born.filter(~last_day)
    for years in (0, -1):
        assert _report(catalog, born, "ages", age=born["age_years"] + years)["different"] == 0
    assert _report(catalog, born, "ages", age=born["age_years"] + 2)["different"] == born.height


def test_months_in_the_source_beside_completed_years_in_the_file(catalog: Catalog, images: pl.DataFrame) -> None:
    infants = images.filter(pl.col("age_precision") == "month")
    assert infants.height
    report = _report(catalog, infants, "ages", age=infants["age_low_years"].floor())
    assert (report["compared"], report["different"]) == (infants.height, 0)
    assert _report(catalog, infants, "ages", age=infants["age_raw"])["different"] == 0


@pytest.mark.parametrize(
    ("female", "male", "coding"),
    [
        ("F", "M", None),
        ("female", "MALE", None),
        ("0", "1", "0 = F, 1 = M"),
        (1, 0, "0 = M, 1 = F"),
        (1.0, 0.0, "0 = M, 1 = F"),
    ],
)
def test_sexes(catalog: Catalog, nih: pl.DataFrame, female: object, male: object, coding: str | None) -> None:
    given = pl.Series([female if sex == "F" else male for sex in nih["sex"]])
    report = _report(catalog, nih, "sexes", Gender=given)
    assert (report["compared"], report["different"], report["coding"]) == (nih.height, 0, coding)


def test_wrong_sexes(catalog: Catalog, nih: pl.DataFrame) -> None:
    given = nih["sex"].to_list()
    given[2] = "M" if given[2] == "F" else "F"
    report = _report(catalog, nih, "sexes", sex=pl.Series(given))
    assert [(example["row"], example["file"]) for example in report["examples"]] == [(3, given[2])]


def test_codes_that_fit_no_reading_are_not_compared(catalog: Catalog, nih: pl.DataFrame) -> None:
    given = (pl.int_range(nih.height, eager=True) // 7 % 2).alias("sex")
    summary = annotate_frame(catalog, nih.select("image_uid").with_columns(sex=given)).summary
    assert summary["sexes"] == []
    assert summary["not_checked"][0]["what"] == "sex"


def test_views(catalog: Catalog, nih: pl.DataFrame) -> None:
    given = nih["view"].replace({"PA": "POSTEROANTERIOR"}).to_list()
    given[0] = "LL"
    report = _report(catalog, nih, "views", ViewPosition=pl.Series(given))
    assert (report["compared"], report["different"]) == (nih.height, 1)


@pytest.mark.parametrize("name", ["Effusion", "pleural_effusion", "Pleural Effusion", "PLEURAL-effusion"])
def test_labels_by_any_name(catalog: Catalog, nih: pl.DataFrame, name: str) -> None:
    report = _report(catalog, nih, "labels", **{name: nih["pleural_effusion"]})
    assert (report["findings"], report["compared"], report["different"]) == (
        {"nih_cxr14": "pleural_effusion"},
        nih.height,
        0,
    )
    flipped = 1 - nih["pleural_effusion"]
    assert _report(catalog, nih, "labels", **{name: flipped})["different"] == nih.height
    text = nih["pleural_effusion"].replace_strict({1: "True", 0: "False"})
    assert _report(catalog, nih, "labels", **{name: text})["different"] == 0


def test_choices_are_told_from_contradictions(catalog: Catalog, images: pl.DataFrame) -> None:
    mine = images.filter(pl.col("dataset") == "chexpert")
    zeros = mine["edema"].replace({-1: 0}).fill_null(0)
    report = _report(catalog, mine, "labels", Edema=zeros)
    assert report["different"] == 0
    assert report["uncertain_recoded"] == int((mine["edema"] == -1).sum()) > 0
    assert report["not_stated"] == mine["edema"].null_count() > 0


def test_probabilities_are_not_labels(catalog: Catalog, nih: pl.DataFrame) -> None:
    summary = annotate_frame(catalog, nih.select("image_uid", prob_Hernia=pl.lit(0), hernia=pl.lit(0.25))).summary
    assert summary["labels"] == []
    assert summary["not_checked"][0]["what"] == "hernia"


def test_predictions_are_named_as_such(catalog: Catalog, nih: pl.DataFrame) -> None:
    summary = annotate_frame(catalog, nih.select("image_uid", prob_Hernia=pl.lit(0.5), prob_Edema=pl.lit(0.5))).summary
    assert {"what": "prob_Hernia, prob_Edema", "why": "predictions, not labels"} in summary["not_checked"]
