"""Age at the study: a value, the range that its precision allows, and what is wrong with it.

A completed age of n years is a true age in [n, n + 1); a year of birth or an anchor year
leaves more open. The group (child or adult) is stated only where the whole range agrees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

ADULT_YEARS = 18.0
DAYS_A_YEAR = 365.25
MONTHS_A_YEAR = 12.0

# Flags for which no age is given (CONTRACT §5).
_NO_AGE = ("placeholder", "implausible", "missing")
AGE_COLUMNS = (
    "age_years", "age_low_years", "age_high_years", "age_raw", "age_precision", "age_flag", "age_group", "age_group_reason",
)  # fmt: skip


def harmonise_age(frame: pl.DataFrame, form: str, rules: Mapping[str, Any]) -> pl.DataFrame:
    """Add the age columns of `images` to a frame with the raw columns that `form` needs.

    years: `age_raw` in completed years. dicom: `age_raw` as nnnY, nnnM, nnnW or nnnD (DICOM PS3.5 AS).
    birth_year: `birth_year` and `study_date`. anchor_year: `anchor_age`, `anchor_year`, `study_date`.
    none: all null.

    rules (catalog `[age]`): `maximum_years`, above which an age is implausible; `top_code_years`, the
    age at and above which everyone is given the same; `placeholders`, raw values that mean "unknown".

    An unreadable age has flag `missing` and `_age_unreadable` true, for the caller to report.
    """
    estimate = {
        "years": _years,
        "dicom": _dicom,
        "birth_year": _birth_year,
        "anchor_year": _anchor_year,
        "none": _none,
    }[form]
    if "age_raw" not in frame.columns:
        frame = frame.with_columns(age_raw=pl.lit(None, pl.String))
    frame = estimate(frame, rules)
    return _group(_flag(frame, rules))


def _years(frame: pl.DataFrame, _rules: Mapping[str, Any]) -> pl.DataFrame:
    value = pl.col("age_raw").str.strip_chars().cast(pl.Float64, strict=False)
    whole = value == value.floor()
    return frame.with_columns(
        _value=value, age_precision=pl.when(value.is_not_null()).then(pl.lit("year"))
    ).with_columns(_low=value, _high=pl.when(whole).then(value + 1).otherwise(value))


def _dicom(frame: pl.DataFrame, _rules: Mapping[str, Any]) -> pl.DataFrame:
    text = pl.col("age_raw").str.strip_chars().str.to_uppercase()
    number = text.str.extract(r"^(\d{1,4})[YMWD]$", 1).cast(pl.Float64)
    unit = text.str.extract(r"^\d{1,4}([YMWD])$", 1)
    step = unit.replace_strict(
        {"Y": 1.0, "M": 1 / MONTHS_A_YEAR, "W": 7 / DAYS_A_YEAR, "D": 1 / DAYS_A_YEAR},
        default=None,
        return_dtype=pl.Float64,
    )
    return frame.with_columns(
        _value=pl.when(unit == "M")
        .then(number / MONTHS_A_YEAR)
        .when(unit == "D")
        .then(number / DAYS_A_YEAR)
        .otherwise(number * step),
        _high=pl.when(unit == "M").then((number + 1) / MONTHS_A_YEAR).otherwise((number + 1) * step),
        # A week is finer than a month and coarser than a day; the contract has no word for it.
        age_precision=unit.replace_strict(
            {"Y": "year", "M": "month", "W": "month", "D": "day"}, default=None, return_dtype=pl.String
        ),
    ).with_columns(_low=pl.col("_value"))


def _birth_year(frame: pl.DataFrame, _rules: Mapping[str, Any]) -> pl.DataFrame:
    """Born at any time of the year: the true age lies in the year that ends with the day of the study."""
    date, birth = pl.col("study_date"), pl.col("birth_year")
    # With the day of the study over: who is born on 31 December has a birthday that day, on 1 January on the first.
    into_year = date.dt.ordinal_day() / pl.when(date.dt.is_leap_year()).then(366.0).otherwise(365.0)
    difference = (date.dt.year() - birth).cast(pl.Float64)
    return frame.with_columns(
        _value=difference,
        _low=pl.max_horizontal(pl.when(difference >= 0).then(0.0), difference - 1 + into_year),
        _high=difference + into_year,
        age_precision=pl.when(difference.is_not_null()).then(pl.lit("birth_year")),
    )


def _anchor_year(frame: pl.DataFrame, rules: Mapping[str, Any]) -> pl.DataFrame:
    """MIMIC-IV: completed age at some time of the anchor year; both it and the study are shifted alike."""
    date = pl.col("study_date")
    elapsed = (date.dt.year() - pl.col("anchor_year")).cast(pl.Float64)
    into_year = (date.dt.ordinal_day() - 1) / DAYS_A_YEAR
    value = pl.col("anchor_age") + elapsed
    return frame.with_columns(
        _value=value,
        # Aged n at some time of the anchor year: born within two years' span.
        _low=pl.max_horizontal(pl.when(value >= 0).then(0.0), value - 1 + into_year),
        _high=value + 1 + into_year,
        _top_coded=pl.col("anchor_age") >= rules.get("top_code_years", 1e9),
        _top_low=rules.get("top_code_low_years", 0.0) - 1 + elapsed + into_year,
        age_precision=pl.when(value.is_not_null()).then(pl.lit("anchor_year")),
    )


def _none(frame: pl.DataFrame, _rules: Mapping[str, Any]) -> pl.DataFrame:
    nothing = pl.lit(None, pl.Float64)
    return frame.with_columns(_value=nothing, _low=nothing, _high=nothing, age_precision=pl.lit(None, pl.String))


def _flag(frame: pl.DataFrame, rules: Mapping[str, Any]) -> pl.DataFrame:
    value, raw = pl.col("_value"), pl.col("age_raw").str.strip_chars()
    top = rules.get("top_code_years")
    if "_top_coded" not in frame.columns:
        frame = frame.with_columns(
            _top_coded=(value >= top) if top is not None else pl.lit(value=False),
            _top_low=pl.lit(top, pl.Float64),
        )
    placeholder = raw.str.to_uppercase().is_in([str(p) for p in rules.get("placeholders", ())])
    without_number = raw.str.to_uppercase().is_in([str(p) for p in rules.get("unreadable_as_missing", ())])
    flag = (
        pl.when(placeholder)
        .then(pl.lit("placeholder"))
        .when(value.is_null())
        .then(pl.lit("missing"))
        .when((value < 0) | (value > rules["maximum_years"]))
        .then(pl.lit("implausible"))
        .when(pl.col("_top_coded"))
        .then(pl.lit("top_coded"))
        .otherwise(pl.lit("ok"))
    )
    # A readable year of birth without a date of the study is no unreadable age.
    unread = value.is_null() & pl.col("birth_year").is_null() if "birth_year" in frame.columns else value.is_null()
    frame = frame.with_columns(
        age_flag=flag,
        _age_unreadable=unread
        & raw.is_not_null()
        & (raw != "")
        & ~placeholder.fill_null(value=False)
        & ~without_number.fill_null(value=False),
    )
    known = ~pl.col("age_flag").is_in(_NO_AGE)
    capped = pl.col("age_flag") == "top_coded"
    return frame.with_columns(
        age_years=pl.when(known).then(value),
        age_low_years=pl.when(known).then(pl.when(capped).then("_top_low").otherwise("_low")),
        age_high_years=pl.when(known & ~capped).then("_high"),
        age_precision=pl.when(known).then("age_precision"),
    ).drop("_value", "_low", "_high", "_top_coded", "_top_low")


def _group(frame: pl.DataFrame) -> pl.DataFrame:
    """Child or adult where the range leaves no doubt. Upper bounds are exclusive: a completed 17 is a child."""
    low, high = pl.col("age_low_years"), pl.col("age_high_years")
    straddles = (low < ADULT_YEARS) & (high > ADULT_YEARS)
    return frame.with_columns(
        age_group=pl.when(low.is_null() | straddles)
        .then(None)
        .when(low >= ADULT_YEARS)
        .then(pl.lit("adult"))
        .otherwise(pl.lit("pediatric")),
        age_group_reason=pl.when(low.is_null())
        .then(pl.lit("age ") + pl.col("age_flag"))
        .when(straddles)
        .then(pl.lit("the ") + pl.col("age_precision") + pl.lit(" leaves both sides of 18 open")),
    )


def age_group_in(groups: pl.DataFrame) -> pl.Expr:
    """The group of an age by its range (`age_low_years`, `age_high_years`), null where the range straddles a bound.

    groups: the rows of one scheme of `age_groups`: age_group, low_years, high_years (null: unbounded).
    """
    low, high = pl.col("age_low_years"), pl.col("age_high_years")
    chosen: pl.Expr = pl.lit(None, pl.String)
    for group in groups.iter_rows(named=True):
        fits = low >= group["low_years"]
        if group["high_years"] is not None:
            # A null upper bound of an age is unbounded (top-coded): it fits the last group alone.
            fits = fits & (low < group["high_years"]) & (high <= group["high_years"]).fill_null(value=False)
        chosen = pl.when(fits).then(pl.lit(group["age_group"])).otherwise(chosen)
    return chosen
