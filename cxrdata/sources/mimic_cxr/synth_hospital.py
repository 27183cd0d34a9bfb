"""Synthetic MIMIC-IV tables: patients and admissions, in both layouts.

`hosp` is version 3.1 (column `race`, 33 values), `core` version 1.0 (column `ethnicity`, 8 values).
Most patients have no chest film; some filmed subjects have no row, or no admission and so no race;
about 6 % of the admitted name several races. (Counts: MIMIC-IV release pages; chexploration.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.sources.drawing.totals import (
    Ints,
    apportion,
    draw_text,
    group_sizes,
    weighted_classes,
)
from cxrdata.sources.mimic_cxr.synth_cohort import People, filmed_subjects, numbers
from cxrdata.sources.synthesis import SynthPlan, write_csv

if TYPE_CHECKING:
    from pathlib import Path

RACES = {
    "WHITE": 59_600,
    "WHITE - OTHER EUROPEAN": 2_600,
    "WHITE - RUSSIAN": 1_200,
    "WHITE - EASTERN EUROPEAN": 350,
    "WHITE - BRAZILIAN": 250,
    "BLACK/AFRICAN AMERICAN": 13_000,
    "BLACK/CAPE VERDEAN": 1_000,
    "BLACK/CARIBBEAN ISLAND": 600,
    "BLACK/AFRICAN": 400,
    "HISPANIC/LATINO - PUERTO RICAN": 2_000,
    "HISPANIC OR LATINO": 1_500,
    "HISPANIC/LATINO - DOMINICAN": 1_200,
    "HISPANIC/LATINO - GUATEMALAN": 400,
    "HISPANIC/LATINO - SALVADORAN": 300,
    "HISPANIC/LATINO - MEXICAN": 150,
    "HISPANIC/LATINO - COLUMBIAN": 150,
    "HISPANIC/LATINO - HONDURAN": 120,
    "HISPANIC/LATINO - CUBAN": 100,
    "HISPANIC/LATINO - CENTRAL AMERICAN": 80,
    "ASIAN - CHINESE": 2_000,
    "ASIAN": 1_500,
    "ASIAN - SOUTH EAST ASIAN": 700,
    "ASIAN - ASIAN INDIAN": 500,
    "ASIAN - KOREAN": 300,
    "UNKNOWN": 3_800,
    "OTHER": 3_700,
    "PORTUGUESE": 700,
    "UNABLE TO OBTAIN": 600,
    "PATIENT DECLINED TO ANSWER": 500,
    "SOUTH AMERICAN": 250,
    "AMERICAN INDIAN/ALASKA NATIVE": 200,
    "NATIVE HAWAIIAN OR OTHER PACIFIC ISLANDER": 130,
    "MULTIPLE RACE/ETHNICITY": 120,
}
# Admissions of version 1.0 by value.
ETHNICITIES = {
    "WHITE": 337_630,
    "BLACK/AFRICAN AMERICAN": 80_293,
    "HISPANIC/LATINO": 29_823,
    "OTHER": 26_813,
    "ASIAN": 24_506,
    "UNKNOWN": 19_400,
    "UNABLE TO OBTAIN": 3_740,
    "AMERICAN INDIAN/ALASKA NATIVE": 1_535,
}
# Patients by the two values that their admissions name.
RACE_CONFLICTS = {
    ("OTHER", "WHITE"): 3_900,
    ("UNKNOWN", "WHITE"): 3_400,
    ("WHITE", "WHITE - OTHER EUROPEAN"): 1_500,
    ("WHITE", "WHITE - RUSSIAN"): 700,
    ("BLACK/AFRICAN AMERICAN", "OTHER"): 700,
    ("BLACK/AFRICAN AMERICAN", "BLACK/CAPE VERDEAN"): 500,
    ("HISPANIC OR LATINO", "HISPANIC/LATINO - PUERTO RICAN"): 500,
    ("PATIENT DECLINED TO ANSWER", "WHITE"): 400,
    ("HISPANIC OR LATINO", "WHITE"): 400,
    ("UNABLE TO OBTAIN", "WHITE"): 400,
    ("ASIAN", "ASIAN - CHINESE"): 400,
    ("BLACK/AFRICAN AMERICAN", "WHITE"): 250,
    ("ASIAN", "OTHER"): 200,
    ("PORTUGUESE", "WHITE"): 150,
}
ETHNICITY_CONFLICTS = {
    ("OTHER", "WHITE"): 2_489,
    ("UNKNOWN", "WHITE"): 1_131,
    ("BLACK/AFRICAN AMERICAN", "OTHER"): 560,
    ("BLACK/AFRICAN AMERICAN", "WHITE"): 168,
    ("HISPANIC/LATINO", "OTHER"): 3_500,
    ("HISPANIC/LATINO", "WHITE"): 1_600,
    ("ASIAN", "OTHER"): 1_500,
    ("UNABLE TO OBTAIN", "WHITE"): 2_500,
    ("BLACK/AFRICAN AMERICAN", "UNKNOWN"): 2_000,
}


@dataclass(frozen=True)
class Release:
    """One release of MIMIC-IV: its folder, official sizes and how it says race."""

    folder: str
    patients: int
    admitted: int
    admissions: int
    race_column: str
    races: dict[str, int]
    conflicts: dict[tuple[str, str], int]
    providers: bool


HOSP = Release("3.1/hosp", 364_627, 223_452, 546_028, "race", RACES, RACE_CONFLICTS, providers=True)
CORE = Release("1.0/core", 382_278, 256_878, 523_740, "ethnicity", ETHNICITIES, ETHNICITY_CONFLICTS, providers=False)
ABSENT_FILMED = 100  # filmed subjects without a patients row (about 100 in v1.0)
FILMED_WITHOUT_ADMISSION = 0.25
DIED_IN_HOSPITAL = 0.02
DIED_LATER = 0.12
THROUGH_ED = 0.65
ADMISSION_SHARES = (0.0, 0.55, 0.56, 0.74, 0.88, 0.96, 0.995, 0.9998, 1.0)
ADMISSION_COUNTS = (1.0, 1.0, 2.0, 2.0, 4.0, 8.0, 25.0, 80.0, 230.0)
YEAR_GROUPS = ("2008 - 2010", "2011 - 2013", "2014 - 2016", "2017 - 2019", "2020 - 2022")
ADMISSION_TYPES: dict[str | None, float] = {
    "EW EMER.": 33,
    "EU OBSERVATION": 22,
    "OBSERVATION ADMIT": 15,
    "URGENT": 10,
    "SURGICAL SAME DAY ADMISSION": 8,
    "DIRECT OBSERVATION": 5,
    "DIRECT EMER.": 4,
    "ELECTIVE": 2.5,
    "AMBULATORY OBSERVATION": 0.5,
}
ADMISSION_LOCATIONS: dict[str | None, float] = {
    "EMERGENCY ROOM": 45,
    "PHYSICIAN REFERRAL": 27,
    "TRANSFER FROM HOSPITAL": 10,
    "WALK-IN/SELF REFERRAL": 9,
    "CLINIC REFERRAL": 3,
    "PROCEDURE SITE": 2,
    "TRANSFER FROM SKILLED NURSING FACILITY": 1.5,
    "PACU": 1.5,
    "INTERNAL TRANSFER TO OR FROM PSYCH": 0.9,
    "INFORMATION NOT AVAILABLE": 0.1,
}
DISCHARGE_LOCATIONS: dict[str | None, float] = {
    "HOME": 35,
    None: 27,
    "HOME HEALTH CARE": 18,
    "SKILLED NURSING FACILITY": 11,
    "REHAB": 3,
    "CHRONIC/LONG TERM ACUTE CARE": 2,
    "HOSPICE": 1,
    "PSYCH FACILITY": 1,
    "AGAINST ADVICE": 1,
    "ACUTE HOSPITAL": 0.5,
    "OTHER FACILITY": 0.5,
}
INSURANCE: dict[str | None, float] = {"Medicare": 45, "Private": 32, "Medicaid": 19, "Other": 2.5, None: 1.5}
LANGUAGES: dict[str | None, float] = {
    "English": 90,
    "Spanish": 4,
    "Russian": 1.5,
    "Chinese": 1.5,
    "Kabuverdianu": 1,
    "Portuguese": 1,
    "Haitian": 0.8,
    None: 0.2,
}
MARITAL: dict[str | None, float] = {"MARRIED": 44, "SINGLE": 37, "WIDOWED": 10, "DIVORCED": 7, None: 2}
MINUTES_A_DAY = 1_440
PAIR = 2


def unfilmed(plan: SynthPlan) -> int:
    """How many people without chest film the larger release needs."""
    filmed = filmed_subjects(plan) - plan.count(ABSENT_FILMED)
    return max(plan.count(release.patients) for release in (HOSP, CORE)) - filmed


def write(folder: Path, plan: SynthPlan, everyone: People, release: Release, *, compress: bool) -> None:
    """Write `patients` and `admissions` of one release below `folder` (the mimiciv root)."""
    rng = plan.rng("mimic_cxr", "hospital", release.folder)
    filmed = rng.permutation(np.flatnonzero(everyone.filmed))[plan.count(ABSENT_FILMED) :]
    others = np.flatnonzero(everyone.rank < plan.count(release.patients) - len(filmed))
    patients = np.sort(np.concatenate([filmed, others]))
    filmed_admitted = filmed[round(FILMED_WITHOUT_ADMISSION * len(filmed)) :]
    n_others = max(plan.count(release.admitted) - len(filmed_admitted), 1)
    admitted = np.sort(np.concatenate([filmed_admitted, rng.permutation(others)[:n_others]]))
    total = max(plan.count(release.admissions), 2 * len(admitted))
    sizes = group_sizes(rng, len(admitted), total, ADMISSION_SHARES, ADMISSION_COUNTS)
    stays = _stays(rng, everyone, admitted, sizes, _races(plan, rng, sizes, release))
    provider = [pl.col("admit_provider_id")] if release.providers else []
    admissions = stays.select(
        *("subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type"),
        *provider,
        *("admission_location", "discharge_location", "insurance", "language", "marital_status"),
        pl.col("race").alias(release.race_column),
        *("edregtime", "edouttime", "hospital_expire_flag"),
    ).sort("subject_id", "hadm_id")
    root = folder / release.folder
    write_csv(_patients(rng, everyone, patients, stays, release), root / "patients.csv", compress=compress)
    write_csv(admissions, root / "admissions.csv", compress=compress)


def _patients(
    rng: np.random.Generator, everyone: People, patients: Ints, stays: pl.DataFrame, release: Release
) -> pl.DataFrame:
    """One row a patient; `dod` agrees with a death in hospital."""
    n = len(patients)
    groups = YEAR_GROUPS if release is HOSP else YEAR_GROUPS[:-1]
    gender = np.where(everyone.female[patients], "F", "M")
    dies_later = rng.random(n) < DIED_LATER
    years = (everyone.anchor_year[patients] - 1970).astype("datetime64[Y]")
    death = years.astype("datetime64[D]").astype(np.int64) + rng.integers(366, 2_500, n)
    last_stay = stays.filter(pl.col("hospital_expire_flag") == 1).select(
        "subject_id", died=pl.col("deathtime").str.slice(0, 10)
    )
    known = stays["subject_id"].unique(maintain_order=True)
    frame = pl.DataFrame(
        {
            "subject_id": everyone.subject_id[patients],
            "gender": gender,
            "anchor_age": everyone.anchor_age[patients],
            "anchor_year": everyone.anchor_year[patients],
            "anchor_year_group": draw_text(rng, n, dict.fromkeys(groups, 1.0)),
        }
    ).with_columns(
        later=pl.when(pl.Series(dies_later)).then(
            pl.from_epoch(pl.Series(death), time_unit="d").dt.to_string("%Y-%m-%d")
        )
    )
    # A later death only for those never admitted: no date of death before an admission.
    later_only = pl.when(~pl.col("subject_id").is_in(known.implode())).then("later")
    return frame.join(last_stay, on="subject_id", how="left", maintain_order="left").select(
        pl.exclude("later", "died"), dod=pl.coalesce("died", later_only)
    )


def _races(plan: SynthPlan, rng: np.random.Generator, sizes: Ints, release: Release) -> pl.Series:
    """The race of each admission, patient by patient; totals by value as the release has them."""
    names = list(release.races)
    targets = apportion(int(sizes.sum()), list(release.races.values()))
    race = np.full(int(sizes.sum()), -1, dtype=np.int64)
    first = np.cumsum(sizes) - sizes
    several = rng.permutation(np.flatnonzero(sizes > 1))
    for (one, other), count in release.conflicts.items():
        here, several = several[: plan.count(count)], several[plan.count(count) :]
        rows = np.concatenate([first[here], first[here] + 1])
        codes = np.repeat([names.index(one), names.index(other)], len(here))
        race[rows] = codes
        for patient in here[sizes[here] > PAIR].tolist():
            rest = slice(first[patient] + 2, first[patient] + sizes[patient])
            pair = np.array([names.index(one), names.index(other)])
            race[rest] = pair[rng.integers(0, 2, int(sizes[patient]) - 2)]
    patient_of = np.repeat(np.arange(len(sizes)), sizes)
    consistent = np.flatnonzero(race[first] == -1)
    used = np.bincount(race[race >= 0], minlength=len(names))
    remaining = np.maximum(targets - used, 1)
    remaining[int(np.argmax(remaining))] += int(sizes[consistent].sum()) - int(remaining.sum())
    of_patient = np.full(len(sizes), -1, dtype=np.int64)
    of_patient[consistent] = weighted_classes(rng, sizes[consistent], remaining)
    return pl.Series(names)[np.where(race >= 0, race, of_patient[patient_of])]


def _stays(rng: np.random.Generator, everyone: People, admitted: Ints, sizes: Ints, race: pl.Series) -> pl.DataFrame:
    """One row an admission, in order of time within a patient; times in minutes made text."""
    n = int(sizes.sum())
    patient = np.repeat(np.arange(len(sizes)), sizes)
    first = np.cumsum(sizes) - sizes
    stay = 120 + rng.integers(0, 6 * MINUTES_A_DAY, n)
    gap = rng.integers(1, 200, n) * MINUTES_A_DAY // (1 + sizes[patient] // 5) + 600
    running = np.cumsum(stay + gap)
    year = (everyone.anchor_year[admitted] - 1970).astype("datetime64[Y]")
    start = year.astype("datetime64[m]").astype(np.int64) + rng.integers(0, 300 * MINUTES_A_DAY, len(sizes))
    admit = start[patient] + running - running[first][patient]
    last = np.zeros(n, dtype=bool)
    last[first + sizes - 1] = True
    died = last & (rng.random(n) < DIED_IN_HOSPITAL * n / len(sizes))
    died[int(first[0] + sizes[0] - 1)] = True
    emergency = rng.random(n) < THROUGH_ED
    letters = np.array(list("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    codes = letters[rng.integers(0, len(letters), (5, 4_000))]
    providers = pl.Series(["P" + "".join(code) for code in codes.T.tolist()])
    frame = pl.DataFrame(
        {
            "subject_id": everyone.subject_id[admitted][patient],
            "hadm_id": rng.permutation(numbers(rng, n, 20_000_019, 29_999_828)),
            "admittime": admit,
            "dischtime": admit + stay,
            "edregtime": admit - rng.integers(60, 600, n),
            "edouttime": admit + rng.integers(5, 110, n),
            "admission_type": draw_text(rng, n, ADMISSION_TYPES),
            "admit_provider_id": providers[rng.integers(0, len(providers), n)],
            "admission_location": draw_text(rng, n, ADMISSION_LOCATIONS),
            "discharge_location": draw_text(rng, n, DISCHARGE_LOCATIONS),
            "insurance": draw_text(rng, n, INSURANCE),
            "language": draw_text(rng, n, LANGUAGES),
            "marital_status": draw_text(rng, n, MARITAL),
            "race": race,
            "hospital_expire_flag": died.astype(np.int64),
            "emergency": emergency,
        }
    )
    moments = pl.col("admittime", "dischtime", "edregtime", "edouttime")
    frame = frame.with_columns(pl.from_epoch(moments * 60, time_unit="s").dt.to_string("%Y-%m-%d %H:%M:%S"))
    expired = pl.col("hospital_expire_flag") == 1
    return frame.with_columns(
        deathtime=pl.when(expired).then("dischtime"),
        discharge_location=pl.when(expired).then(pl.lit("DIED")).otherwise("discharge_location"),
        edregtime=pl.when("emergency").then("edregtime"),
        edouttime=pl.when("emergency").then("edouttime"),
    )
