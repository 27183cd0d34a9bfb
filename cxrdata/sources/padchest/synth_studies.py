"""The random patients, studies and label sets behind the synthetic PadChest table.

Counts are those of the official table (160,861 images, 67,625 patients) and of its paper
(109,931 studies; Bustos et al. 2020, doi:10.1016/j.media.2020.101797). Labels belong to a
report, so all images of a study share them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrdata.sources.drawing.counts import groups_totalling, long_tail, order_within, pick
from cxrdata.sources.padchest.synth_labels import ALONE, label_counts

if TYPE_CHECKING:
    from cxrdata.sources.drawing.counts import Bools, Ints
    from cxrdata.sources.synthesis import SynthPlan

IMAGES, PATIENTS, STUDIES = 160_861, 67_625, 109_931
UNLABELLED_IMAGES = 103
STUDIES_A_PATIENT = {
    0.0: 1, 0.70: 1, 0.71: 2, 0.85: 2, 0.92: 3, 0.97: 5, 0.99: 9, 0.999: 20, 1.0: 40,
}  # fmt: skip
IMAGES_A_STUDY = {0.0: 1, 0.57: 1, 0.575: 2, 0.98: 2, 0.985: 3, 0.997: 4, 1.0: 12}
# Cumulative share of patients below each age at the first study.
AGES = {
    0: 0.0, 1: 0.003, 5: 0.010, 10: 0.017, 15: 0.024, 18: 0.030, 30: 0.10, 45: 0.28, 60: 0.50,
    72: 0.75, 82: 0.92, 90: 0.985, 95: 0.997, 105: 1.0,
}  # fmt: skip
# A birth year makes an age of 18 mean 17 or 18; the others are the ends and two children.
AGES_ALWAYS_PRESENT = (0, 9, 17, 18, 105)
OLDEST = 105
FIRST_DAY, LAST_DAY = np.datetime64("2009-01-01"), np.datetime64("2017-12-31")
# Share of single-image and of other studies taken lying or sitting, from the front.
PORTABLE = (0.28, 0.04)


@dataclass(frozen=True)
class Studies:
    """Arrays over patients, over studies (`study_*`, `patient` their patient) and over
    images (`image_*`, `study` their study); studies of a patient in order of time."""

    patient: Ints
    study: Ints
    birth_year: Ints
    birth_known: Bools
    female: Bools
    sex_known: Bools
    study_day: np.ndarray[tuple[int], np.dtype[np.datetime64]]
    study_portable: Bools
    study_labelled: Bools
    # One entry a label of a study, in the order in which the study lists them.
    label_study: Ints
    label: Ints
    image_order: Ints
    image_projection: np.ndarray[tuple[int], np.dtype[np.str_]]

    @property
    def image_age(self) -> Ints:
        """Year of the study less year of birth, per image."""
        return self.study_year[self.study] - self.birth_year[self.patient[self.study]]

    @property
    def study_year(self) -> Ints:
        """Calendar year, per study."""
        return self.study_day.astype("datetime64[Y]").astype(np.int64) + 1970


def draw_studies(plan: SynthPlan) -> Studies:
    """Draw all patients, studies, images and labels of a plan."""
    rng = plan.rng("padchest", "patients")
    patients, studies = plan.count(PATIENTS, at_least=68), plan.count(STUDIES, at_least=110)
    patient = np.repeat(np.arange(patients), long_tail(patients, studies, STUDIES_A_PATIENT, rng))
    sizes = long_tail(studies, plan.count(IMAGES, at_least=161), IMAGES_A_STUDY, rng)
    study = np.repeat(np.arange(studies), sizes)
    sex_rng = plan.rng("padchest", "sex")
    day = _study_days(plan, patient)
    birth_year = _birth_years(plan, patient, day)
    portable = plan.rng("padchest", "portable").random(studies) < np.where(sizes == 1, *PORTABLE)
    labelled, label_study, label = _labels(plan, sizes)
    order = order_within(study)
    return Studies(
        patient=patient,
        study=study,
        birth_year=birth_year,
        # Middle-aged ones, so that no age is missing from a small set.
        birth_known=~_some(sex_rng, (birth_year > 1940) & (birth_year < 1980), plan.count(70)),
        female=sex_rng.random(patients) < 0.5,
        sex_known=~_some(sex_rng, np.ones(patients, dtype=np.bool_), plan.count(20)),
        study_day=day,
        study_portable=portable,
        study_labelled=labelled,
        label_study=label_study,
        label=label,
        image_order=order,
        image_projection=_projections(plan, portable[study], order, sizes[study]),
    )


def _some(rng: np.random.Generator, candidates: Bools, count: int) -> Bools:
    chosen = np.zeros(len(candidates), dtype=np.bool_)
    chosen[pick(candidates, count, rng)] = True
    return chosen


def _study_days(plan: SynthPlan, patient: Ints) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    days = int((LAST_DAY - FIRST_DAY).astype(np.int64))
    offset = plan.rng("padchest", "dates").integers(0, days + 1, len(patient))
    return FIRST_DAY + offset[np.lexsort((offset, patient))].astype("timedelta64[D]")


def _birth_years(plan: SynthPlan, patient: Ints, day: np.ndarray[tuple[int], np.dtype[np.datetime64]]) -> Ints:
    rng = plan.rng("padchest", "birth")
    year = day.astype("datetime64[Y]").astype(np.int64) + 1970
    first = year[np.searchsorted(patient, np.arange(patient[-1] + 1))]
    last = year[np.searchsorted(patient, np.arange(patient[-1] + 1), side="right") - 1]
    # Evenly spaced shares rather than free draws: a small set has its children too.
    share = (rng.permutation(len(first)) + 0.5) / len(first)
    age = np.floor(np.interp(share, list(AGES.values()), list(AGES))).astype(np.int64)
    fixed = pick(first == last, len(AGES_ALWAYS_PRESENT), rng)
    age[fixed] = AGES_ALWAYS_PRESENT[: len(fixed)]
    born: Ints = np.maximum(first - age, last - OLDEST)
    return born


def _projections(
    plan: SynthPlan, portable: Bools, order: Ints, size: Ints
) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """PA with L in most studies of several images, AP ones alone; few COSTAL and EXCLUDE."""
    rng = plan.rng("padchest", "projection")
    draw = rng.random(len(order))
    alone = np.where(draw < 0.03, "L", "PA")
    later = np.select([draw < 0.10, draw < 0.75], ["COSTAL", "L"], "PA")
    standing = np.select([size == 1, order == 0, order == 1], [alone, "PA", "L"], later)
    result = np.where(portable, np.where(draw < 0.75, "AP_horizontal", "AP"), standing)
    few = rng.permutation(len(order))
    costal, excluded = plan.count(300), plan.count(40)
    result[few[:costal]] = "COSTAL"
    result[few[costal : costal + excluded]] = "EXCLUDE"
    return result


def _labels(plan: SynthPlan, sizes: Ints) -> tuple[Bools, Ints, Ints]:
    """Labels of studies (labelled or not; study and label of each) such that every label
    is on the right number of images and no labelled study is left without one."""
    rng = plan.rng("padchest", "labels")
    counts = label_counts()
    names = list(counts)
    held: list[tuple[int, Ints]] = []
    free = np.ones(len(sizes), dtype=np.bool_)
    labelled = np.ones(len(sizes), dtype=np.bool_)

    def choose(candidates: Bools, target: int) -> Ints:
        # A few times as many candidates as needed: rare labels would otherwise sort all studies.
        pool = pick(candidates, 4 * target + 60, rng)
        return pool[groups_totalling(sizes[pool], target, rng)]

    unlabelled = choose(free, plan.count(UNLABELLED_IMAGES))
    labelled[unlabelled] = free[unlabelled] = False
    for name in ALONE:
        studies = choose(free, plan.count(counts[name]))
        free[studies] = False
        held.append((names.index(name), studies))
    empty = free.copy()
    others = [name for name in names if name not in (*ALONE, "unchanged")]
    for name in others:
        target = plan.count(counts[name])
        # Half of them go to studies that have nothing yet, until few of those are left …
        fresh = target // 2 if sizes[empty].sum() > 0.06 * sizes.sum() else 0
        new = choose(empty, fresh) if fresh else np.empty(0, dtype=np.int64)
        empty[new] = False
        taken = free.copy()
        taken[new] = False
        more = choose(taken & ~empty if (taken & ~empty).any() else taken, target - int(sizes[new].sum()))
        empty[more] = False
        held.append((names.index(name), np.concatenate([new, more])))
    # … and what is left is `unchanged` since an earlier study, alone or beside other labels.
    rest = np.flatnonzero(empty)
    more = choose(free & ~empty, max(1, plan.count(counts["unchanged"]) - int(sizes[rest].sum())))
    held.append((names.index("unchanged"), np.concatenate([rest, more])))
    study = np.concatenate([studies for _, studies in held])
    label = np.concatenate([np.full(len(studies), position) for position, studies in held])
    in_order = np.lexsort((rng.random(len(study)), study))
    return labelled, study[in_order], label[in_order]
