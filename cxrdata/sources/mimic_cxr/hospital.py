"""MIMIC-IV's `patients` and `admissions`, for the subjects that have chest films.

Four patients in five have none, so rows are matched before anything else is done with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cxrdata.sources.rows import numbers, settle_matches, with_sound_keys, without_repeats
from cxrdata.sources.textfile import read_csv

if TYPE_CHECKING:
    from cxrdata.sources.account import Account
    from cxrdata.sources.base import FoundFile

SUBJECT_ID = r"^1\d{7}$"
SUBJECT_FORM = "1 and seven digits"
_PATIENT_COLUMNS = ("subject_id", "gender", "anchor_age", "anchor_year")


def with_demographics(found: FoundFile, images: pl.DataFrame, subjects: pl.Series, account: Account) -> pl.DataFrame:
    """`images` with `sex_raw`, `age_raw` (`52 in 2180`: anchor age and anchor year), `anchor_age`, `anchor_year`
    (Int32); null for subjects that have no row.
    """
    name = found.name
    table = read_csv(found.path, name=name, account=account, required=found.spec.columns, columns=_PATIENT_COLUMNS)
    table = with_sound_keys(table, account, column="subject_id", pattern=SUBJECT_ID, form=SUBJECT_FORM)
    table = without_repeats(table, account, keys=["subject_id"])
    frame = settle_matches(table, account, subjects, column="subject_id")
    frame = numbers(frame, {"anchor_age": pl.Int32, "anchor_year": pl.Int32}, account, name)
    _note_absent(frame, subjects, name, "age and sex", account)
    known = frame.select(
        patient_id="subject_id",
        sex_raw="gender",
        age_raw=pl.format("{} in {}", "anchor_age", "anchor_year"),
        anchor_age="anchor_age",
        anchor_year="anchor_year",
    )
    return images.join(known, on="patient_id", how="left", maintain_order="left")


def race_statements(found: FoundFile, subjects: pl.Series, account: Account) -> pl.DataFrame:
    """One statement an admission, in order of time, as `RawDataset.race` wants them.

    The column is `race` or `ethnicity` (the file's variant); both are one question for race and ethnicity.
    """
    name, field = found.name, found.variant
    columns = ("subject_id", "hadm_id", "admittime", field)
    table = read_csv(found.path, name=name, account=account, required=[*found.spec.columns, field], columns=columns)
    table = with_sound_keys(table, account, column="subject_id", pattern=SUBJECT_ID, form=SUBJECT_FORM)
    table = with_sound_keys(table, account, column="hadm_id")
    table = without_repeats(table, account, keys=["hadm_id"])
    frame = settle_matches(table, account, subjects, column="subject_id")
    _note_absent(frame, subjects, name, "race", account)
    # Times are written year first, so their text sorts as they do.
    frame = frame.sort("subject_id", "admittime", "hadm_id", nulls_last=True)
    return frame.select(
        patient_id="subject_id",
        field=pl.lit(field),
        raw_value=field,
        precedence=pl.lit(0, pl.Int32),
        record_order=pl.int_range(pl.len(), dtype=pl.UInt32),
        about=pl.lit("race"),
        source_file=pl.lit(name),
        _line="_line",
    )


def _note_absent(frame: pl.DataFrame, subjects: pl.Series, name: str, gives: str, account: Account) -> None:
    absent = subjects.len() - frame["subject_id"].n_unique()
    if absent:
        account.note("coverage", gives, absent, f"patients with chest films but no row in {name}: {gives} unknown")
