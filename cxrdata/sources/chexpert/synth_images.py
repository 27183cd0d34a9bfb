"""The synthetic CheXpert population: patients, studies, images, without labels.

Counts are those of the official files (train.csv; valid and test as the CheXpert
paper states them); how many studies hold two frontals, or a lateral alone, follows
CheXpert Plus, which covers the same images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.sources.drawing.totals import (
    fit_total,
    group_sizes,
    spread,
    take_rows,
    without,
)

if TYPE_CHECKING:
    from cxrdata.sources.drawing.totals import Floats, Ints
    from cxrdata.sources.synthesis import SynthPlan

TRAIN_PATIENTS, VALID_PATIENTS, TEST_PATIENTS = 64_540, 200, 500
LAST_WORKBOOK_PATIENT = 65_740
TOP_CODE = 90
YOUNGEST = 18
AGE_SHARES = (0.0, 0.05, 0.25, 0.50, 0.75, 0.95, 1.0)
AGE_YEARS = (18.0, 26.0, 48.0, 60.5, 72.0, 86.0, 97.0)
STUDY_SHARES = (0.0, 0.47, 0.48, 0.66, 0.80, 0.90, 0.96, 0.99, 0.999, 1.0)
STUDY_COUNTS = (1.0, 1.0, 2.0, 2.0, 4.0, 6.0, 10.0, 20.0, 45.0, 74.0)


@dataclass(frozen=True)
class Cohort:
    """One split: `images`, a row an image, sorted by patient, study and view, with `patient`,
    `study`, `view` (numbers), `frontal_lateral`, `ap_pa`, `sex`, `age` and `study_row` (the study's
    position in the split); `rows`, the images of each study; `split`, its name in the paths."""

    split: str
    images: pl.DataFrame
    rows: Ints

    def per_image(self, studies: pl.DataFrame) -> pl.DataFrame:
        """`studies` (a row a study) repeated for each image."""
        return studies[self.images["study_row"]]

    def paths(self, root: str = "") -> pl.Series:
        """Each image's path, below `root` (which ends in a slash) if one is given."""
        path = pl.format(
            "{}{}/patient{}/study{}/view{}_{}.jpg",
            pl.lit(root),
            pl.lit(self.split),
            padded(pl.col("patient")),
            "study",
            "view",
            pl.col("frontal_lateral").str.to_lowercase(),
        )
        return self.images.select(Path=path)["Path"]


def padded(number: pl.Expr) -> pl.Expr:
    """A patient number as CheXpert writes it: five digits."""
    return number.cast(pl.String).str.zfill(5)


def first_patient(plan: SynthPlan, split: str) -> int:
    """The official number of a split's first patient, pushed up only above official size."""
    valid = max(TRAIN_PATIENTS, plan.count(TRAIN_PATIENTS)) + 1
    test = valid + max(VALID_PATIENTS, plan.count(VALID_PATIENTS))
    return {"train": 1, "valid": valid, "test": test}[split]


def train_cohort(plan: SynthPlan) -> Cohort:
    """The training split, with its odd ages, views and the one patient of unknown sex."""
    rng = plan.rng("chexpert", "images")
    n_studies, n_images = plan.count(187_641), plan.count(223_414)
    of_patient = group_sizes(rng, plan.count(TRAIN_PATIENTS), n_studies, STUDY_SHARES, STUDY_COUNTS)
    extra = n_images - n_studies
    three = plan.count(1_778)
    rows = np.ones(n_studies, dtype=np.int64)
    several = rng.permutation(n_studies)[: extra - three]
    rows[several] = 2
    rows[several[:three]] = 3
    lateral_only = rng.permutation(np.flatnonzero(rows == 1))[: plan.count(37)]
    laterals = plan.count(32_387) - len(lateral_only)
    with_lateral = several[:laterals]

    images = _lay_out(rows, of_patient, lateral_only, with_lateral)
    images = images.with_columns(ap_pa=_train_projections(plan, images, with_lateral))
    ages = _train_ages(plan, rows, of_patient)
    sexes = _sexes(plan, "train", len(of_patient), 0.59)
    sexes[_unknown_sex(plan, rows, of_patient)] = "Unknown"
    return Cohort("train", _people(images, 1, sexes, ages), rows)


def reader_cohort(plan: SynthPlan, split: str) -> Cohort:
    """The validation or test split: one study a patient, both projections and laterals."""
    rng = plan.rng("chexpert", split)
    patients, images, laterals, postero = {
        "valid": (VALID_PATIENTS, 234, 32, 33),
        "test": (TEST_PATIENTS, 668, 150, 70),
    }[split]
    n = plan.count(patients, at_least=6)
    extra = plan.count(images, at_least=n + 2) - n
    rows = fit_total(rng, np.ones(n, dtype=np.int64), n + extra, 3)
    several = rng.permutation(np.flatnonzero(rows > 1))
    with_lateral = several[: plan.count(laterals)]
    frame = _lay_out(rows, np.ones(n, dtype=np.int64), np.empty(0, dtype=np.int64), with_lateral)
    frontal = np.flatnonzero(frame["frontal_lateral"].to_numpy() == "Frontal")
    projection = np.full(len(frame), None, dtype=object)
    projection[frontal] = "AP"
    projection[rng.permutation(frontal)[: plan.count(postero)]] = "PA"
    frame = frame.with_columns(ap_pa=pl.Series(projection.tolist(), dtype=pl.String))
    ages = np.clip(np.floor(spread(rng, n, AGE_SHARES, AGE_YEARS)), YOUNGEST, TOP_CODE).astype(np.int64)
    return Cohort(
        split,
        _people(frame, first_patient(plan, split), _sexes(plan, split, n, 0.54), ages),
        rows,
    )


def _lay_out(rows: Ints, of_patient: Ints, lateral_only: Ints, with_lateral: Ints) -> pl.DataFrame:
    """The images of all studies: a frontal first, the lateral, if any, last."""
    study_row = np.repeat(np.arange(len(rows)), rows)
    starts = np.cumsum(rows) - rows
    view = np.arange(len(study_row)) - starts[study_row] + 1
    has_lateral = np.zeros(len(rows), dtype=bool)
    has_lateral[with_lateral] = True
    has_lateral[lateral_only] = True
    lateral = has_lateral[study_row] & (view == rows[study_row])
    first_study = np.cumsum(of_patient) - of_patient
    patient_row = np.repeat(np.arange(len(of_patient)), of_patient)
    study = np.arange(len(rows)) - first_study[patient_row] + 1
    return pl.DataFrame(
        {
            "study_row": study_row,
            "patient_row": patient_row[study_row],
            "study": study[study_row],
            "view": view,
            "frontal_lateral": np.where(lateral, "Lateral", "Frontal"),
        }
    )


def _train_projections(plan: SynthPlan, images: pl.DataFrame, with_lateral: Ints) -> pl.Series:
    """AP and PA by study, PA likelier beside a lateral; LL and RL as rare as they are in
    train.csv, where they stand on rows that say Frontal."""
    rng = plan.rng("chexpert", "projections")
    study_row = images["study_row"].to_numpy()
    score = rng.random(int(study_row[-1]) + 1)
    score[with_lateral] -= 0.5
    frontal = np.flatnonzero(images["frontal_lateral"].to_numpy() == "Frontal")
    order = frontal[np.argsort(score[study_row[frontal]], kind="stable")]
    projection = np.full(len(images), None, dtype=object)
    postero = plan.count(29_420)
    projection[order[:postero]] = "PA"
    projection[order[postero:]] = "AP"
    odd = rng.permutation(order[postero:])[: plan.count(16) + 1]
    projection[odd] = "LL"
    projection[odd[-1]] = "RL"
    return pl.Series(projection.tolist(), dtype=pl.String)


def _train_ages(plan: SynthPlan, rows: Ints, of_patient: Ints) -> Ints:
    """Whole years at each study: rising within a patient, top-coded at 90, three zeros."""
    rng = plan.rng("chexpert", "ages")
    base = spread(rng, len(of_patient), AGE_SHARES, AGE_YEARS)
    years_between = spread(rng, len(of_patient), (0.0, 0.5, 1.0), (0.1, 0.4, 1.5))
    patient_row = np.repeat(np.arange(len(of_patient)), of_patient)
    number = np.arange(len(rows)) - (np.cumsum(of_patient) - of_patient)[patient_row]
    exact: Floats = base[patient_row] + np.minimum(number * years_between[patient_row], 12)
    ages = np.clip(np.floor(exact), YOUNGEST, TOP_CODE - 1).astype(np.int64)
    # The very old have fewer films: 2,117 patients share the 7,579 top-coded rows.
    oldest = np.argsort(of_patient[patient_row] * 0.2 - exact, kind="stable")
    top_coded = take_rows(oldest, rows, plan.count(7_579))
    ages[top_coded] = TOP_CODE
    others = rng.permutation(without(oldest, top_coded))
    ages[take_rows(others[rows[others] == 1], rows, plan.count(3))] = 0
    return ages


def _sexes(plan: SynthPlan, split: str, n: int, male: float) -> list[str]:
    rng = plan.rng("chexpert", "sex", split)
    return ["Male" if place < round(n * male) else "Female" for place in rng.permutation(n).tolist()]


def _unknown_sex(plan: SynthPlan, rows: Ints, of_patient: Ints) -> int:
    """A patient of one image: train.csv has a single row of unknown sex."""
    rng = plan.rng("chexpert", "unknown sex")
    first = np.cumsum(of_patient) - of_patient
    return int(rng.choice(np.flatnonzero((of_patient == 1) & (rows[first] == 1))))


def _people(images: pl.DataFrame, first: int, sexes: list[str], ages: Ints) -> pl.DataFrame:
    return images.with_columns(
        patient=pl.col("patient_row") + first,
        sex=pl.Series(sexes)[images["patient_row"]],
        age=pl.Series(ages)[images["study_row"]],
    ).drop("patient_row")
