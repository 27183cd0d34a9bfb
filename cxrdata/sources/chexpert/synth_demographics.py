"""The synthetic demographics workbook, CHEXPERT DEMO.xlsx.

One row a patient. As in the official workbook, some training patients have no row, many
rows belong to no training patient, a few sexes disagree with train.csv, ages are one number
a patient, uncapped, and at times absurd beside the image's age.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.sources.chexpert.synth_images import (
    LAST_WORKBOOK_PATIENT,
    TOP_CODE,
    TRAIN_PATIENTS,
    padded,
)
from cxrdata.sources.chexpert.synth_workbook import workbook_bytes
from cxrdata.sources.drawing.totals import (
    Ints,
    apportion,
    draw_classes,
    shuffled_classes,
    spread,
    take_rows,
)
from cxrdata.sources.synthesis import SynthPlan, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from cxrdata.sources.chexpert.synth_images import Cohort
FILE_NAME = "CHEXPERT DEMO.xlsx"
SHEET = "CheXpert Demo 11-13"
OLDEST = 110
MALE = 0.55
OLDER_THAN_FIRST_STUDY = 0.1
# Spellings of PRIMARY_RACE in order of frequency, with rounded shares per 10,000; null is an empty cell.
RACES: tuple[tuple[str | None, float], ...] = (
    ("White", 4400),
    ("Other", 1170),
    ("White, non-Hispanic", 1120),
    ("Asian", 920),
    ("Unknown", 650),
    ("Black or African American", 420),
    ("Race and Ethnicity Unknown", 330),
    ("Other, Hispanic", 280),
    ("Asian, non-Hispanic", 170),
    ("Native Hawaiian or Other Pacific Islander", 130),
    (None, 110),
    ("Black, non-Hispanic", 90),
    ("White, Hispanic", 70),
    ("Other, non-Hispanic", 50),
    ("Patient Refused", 40),
    ("American Indian or Alaska Native", 25),
    ("Pacific Islander, non-Hispanic", 10),
    ("Native American, non-Hispanic", 6),
    ("Black, Hispanic", 4),
    ("Native American, Hispanic", 2),
    ("Asian, Hispanic", 1.5),
    ("White or Caucasian", 1),
    ("Pacific Islander, Hispanic", 0.5),
    ("Asian - Historical Conv", 0.3),
)
ETHNICITIES = (
    "Non-Hispanic/Non-Latino",
    "Unknown",
    "Hispanic/Latino",
    "Patient Refused",
    None,
    "Not Hispanic",
    "Hispanic",
)
# Shares of ETHNICITIES beside each kind of race. A suffix is now contradicted, now completed.
SHARES_BESIDE = {
    "hispanic": (0.03, 0.05, 0.915, 0.002, 0.002, 0.0, 0.001),
    "non-hispanic": (0.95, 0.035, 0.005, 0.005, 0.003, 0.002, 0.0),
    "unknown": (0.22, 0.62, 0.08, 0.05, 0.03, 0.0, 0.0),
    "other": (0.45, 0.06, 0.483, 0.004, 0.002, 0.0005, 0.0005),
    "plain": (0.88, 0.06, 0.05, 0.007, 0.002, 0.0005, 0.0005),
}


def demographics(plan: SynthPlan, train: Cohort, valid: Cohort) -> pl.DataFrame:
    """A row a patient: `patient` (number), `GENDER`, `AGE_AT_CXR`, `PRIMARY_RACE`, `ETHNICITY`,
    sorted by patient. The validation and test patients are among the extra ones."""
    rng = plan.rng("chexpert", "demographics")
    known = _train_people(train)
    absent = _absent(plan, rng, known["images"].to_numpy())
    known = known.filter(~pl.int_range(pl.len()).is_in(absent.tolist()))
    extra = _extra_people(plan, rng, valid)
    people = pl.concat([_with_mismatches(plan, rng, known), extra])
    ages = np.concatenate([_train_ages(plan, rng, known), _extra_ages(plan, rng, len(extra))])
    race, ethnicity = _race_and_ethnicity(plan, len(people))
    return people.select(
        "patient",
        GENDER="sex",
        AGE_AT_CXR=pl.Series(ages),
        PRIMARY_RACE=race,
        ETHNICITY=ethnicity,
    ).sort("patient")


def write_workbook(people: pl.DataFrame, folder: Path) -> None:
    """Write `demographics` as the workbook, patients named as in its PATIENT column."""
    named = people.select(
        pl.format("patient{}", padded(pl.col("patient"))).alias("PATIENT"),
        pl.exclude("patient"),
    )
    write_bytes(workbook_bytes(named, SHEET), folder / FILE_NAME)


def _train_people(train: Cohort) -> pl.DataFrame:
    return (
        train.images.group_by("patient", maintain_order=True)
        .agg(
            pl.col("sex").first(),
            first_age=pl.col("age").first(),
            oldest=pl.col("age").max(),
            images=pl.len(),
        )
        .sort("patient")
    )


def _absent(plan: SynthPlan, rng: np.random.Generator, images: Ints) -> Ints:
    """Positions of the training patients without a row: 310 with 853 images."""
    n, n_images = plan.count(310), plan.count(853, at_least=2)
    several = rng.permutation(np.flatnonzero(images > 1))
    chosen = take_rows(several, images.astype(np.int64) - 1, n_images - n)
    single = rng.permutation(np.flatnonzero(images == 1))
    return np.concatenate([chosen, single[: n - len(chosen)]])


def _with_mismatches(plan: SynthPlan, rng: np.random.Generator, known: pl.DataFrame) -> pl.DataFrame:
    """Turn the sex of a few patients round (the one of unknown sex stays)."""
    certain = np.flatnonzero((known["sex"] != "Unknown").to_numpy())
    turned = rng.permutation(certain)[: plan.count(3)].tolist()
    other = pl.when(pl.col("sex") == "Male").then(pl.lit("Female")).otherwise(pl.lit("Male"))
    is_turned = pl.int_range(pl.len()).is_in(turned)
    return known.select("patient", sex=pl.when(is_turned).then(other).otherwise("sex"))


def _extra_people(plan: SynthPlan, rng: np.random.Generator, valid: Cohort) -> pl.DataFrame:
    """Patients outside training: numbers up to the official last one, that one included."""
    valid_sex = dict(valid.images.select("patient", "sex").iter_rows())
    first = int(valid.images["patient"].to_numpy().min())
    last = first - 1 + max(LAST_WORKBOOK_PATIENT - TRAIN_PATIENTS, plan.count(1_200))
    n = plan.count(1_171, at_least=8)
    between = first + 1 + rng.permutation(last - first - 1)[: n - 2]
    numbers = np.concatenate([between, [first, last]])
    sexes = np.where(rng.random(len(numbers)) < MALE, "Male", "Female").tolist()
    pairs = zip(numbers.tolist(), sexes, strict=True)
    rows = [(number, valid_sex.get(number, sex)) for number, sex in pairs]
    return pl.DataFrame(rows, schema={"patient": pl.Int64, "sex": pl.String}, orient="row")


def _train_ages(plan: SynthPlan, rng: np.random.Generator, known: pl.DataFrame) -> Ints:
    """Mostly the age at the first study; above the cap where train.csv says 90, and for a few a
    child's age that train.csv contradicts."""
    first = known["first_age"].to_numpy()
    oldest = known["oldest"].to_numpy()
    jitter = np.where(rng.random(len(first)) < OLDER_THAN_FIRST_STUDY, rng.integers(1, 4, len(first)), 0)
    ages: Ints = np.clip(first + jitter, 18, TOP_CODE).astype(np.int64)
    capped = rng.permutation(np.flatnonzero(oldest == TOP_CODE))[: plan.count(2_117)]
    ages[capped] = _above_cap(rng, len(capped))
    ages[capped[0]] = OLDEST
    below = rng.permutation(np.flatnonzero(oldest < TOP_CODE))
    beyond = plan.count(56)
    ages[below[:beyond]] = _above_cap(rng, beyond)
    children = below[beyond : beyond + plan.count(60)]
    ages[children] = rng.integers(0, 18, len(children))
    ages[children[0]] = 9
    return ages


def _extra_ages(plan: SynthPlan, rng: np.random.Generator, n: int) -> Ints:
    ages: Ints = np.floor(spread(rng, n, (0.0, 0.5, 1.0), (18.0, 62.0, 90.9))).astype(np.int64)
    children, beyond = plan.count(9), plan.count(35)
    ages[:children] = rng.integers(0, 18, children)
    ages[0] = 0
    ages[children : children + beyond] = _above_cap(rng, beyond)
    return ages


def _above_cap(rng: np.random.Generator, n: int) -> Ints:
    exact = spread(rng, n, (0.0, 0.7, 0.99, 1.0), (91.0, 95.0, 103.0, 110.9))
    years: Ints = np.floor(exact).astype(np.int64)
    return years


def _race_and_ethnicity(plan: SynthPlan, n: int) -> tuple[pl.Series, pl.Series]:
    rng = plan.rng("chexpert", "race")
    race_of = shuffled_classes(rng, apportion(n, [share for _, share in RACES]))
    ethnicity_of = np.zeros(n, dtype=np.int64)
    kinds = np.array([_kind(name) for name, _ in RACES])[race_of]
    for kind, shares in SHARES_BESIDE.items():
        here = np.flatnonzero(kinds == kind)
        ethnicity_of[here] = draw_classes(rng, len(here), shares)
    # Each value somewhere, in every size: the rare ones beside a plain race, then one suffix
    # contradicted and one completed.
    plain = rng.permutation(np.flatnonzero(kinds == "plain"))
    ethnicity_of[plain[: len(ETHNICITIES)]] = np.arange(len(ETHNICITIES))
    ethnicity_of[np.flatnonzero(kinds == "non-hispanic")[0]] = ETHNICITIES.index("Hispanic/Latino")
    ethnicity_of[np.flatnonzero(kinds == "hispanic")[0]] = ETHNICITIES.index("Unknown")
    races = pl.Series([name for name, _ in RACES], dtype=pl.String)
    return races[race_of], pl.Series(ETHNICITIES, dtype=pl.String)[ethnicity_of]


def _kind(race: str | None) -> str:
    if race in (None, "Unknown", "Race and Ethnicity Unknown", "Patient Refused"):
        return "unknown"
    if race == "Other":
        return "other"
    if race.endswith(", non-Hispanic"):
        return "non-hispanic"
    return "hispanic" if race.endswith(", Hispanic") else "plain"
