"""The one random set of images behind every synthetic NIH ChestX-ray14 file.

All four variants of the entry file, the lists, the boxes and Google's relabels describe
the images drawn here, so that they differ as the official files differ. Counts are
those of `Data_Entry_2017_v2020.csv` (112,120 images, 30,805 patients); the changes since
the 2017 file are those found by comparing the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrdata.sources.drawing.counts import (
    apportion,
    distinct_label_sets,
    groups_totalling,
    long_tail,
    order_within,
    pick,
    top_scores,
)

if TYPE_CHECKING:
    from cxrdata.sources.drawing.counts import Bools, Floats, Ints
    from cxrdata.sources.synthesis import SynthPlan

IMAGES, PATIENTS, TEST_IMAGES, FEMALE_IMAGES, AP_IMAGES = 112_120, 30_805, 25_596, 48_780, 44_810
NO_FINDING = 60_361
LONGEST_FOLLOW_UP = 12.0  # years
LABEL_COUNTS = {
    "Atelectasis": 11_559,
    "Cardiomegaly": 2_776,
    "Consolidation": 4_667,
    "Edema": 2_303,
    "Effusion": 13_317,
    "Emphysema": 2_516,
    "Fibrosis": 1_686,
    "Hernia": 227,
    "Infiltration": 19_894,
    "Mass": 5_782,
    "Nodule": 6_331,
    "Pleural_Thickening": 3_385,
    "Pneumonia": 1_431,
    "Pneumothorax": 5_302,
}
LABELS = tuple(LABEL_COUNTS)
PNEUMONIA = LABELS.index("Pneumonia")
# Images with 1, 2, … 9 findings.
FINDINGS_AN_IMAGE = (30_963, 14_306, 4_856, 1_247, 301, 67, 16, 1, 2)
IMAGES_A_PATIENT = {
    0.0: 1, 0.567: 1, 0.57: 2, 0.70: 2, 0.75: 3, 0.80: 4, 0.85: 6,
    0.90: 8, 0.95: 14, 0.98: 24, 0.99: 35, 0.995: 50, 0.999: 81, 1.0: 184,
}  # fmt: skip
# Images below each age; whole years at band limits, quantiles between them.
IMAGES_BELOW_AGE = {
    0: 0, 1: 14, 2: 68, 5: 341, 10: 1_538, 15: 3_543, 18: 5_402, 34.5: 28_030, 40: 36_439, 49.5: 56_060,
    59.5: 84_090, 60: 85_682, 72.5: 106_514, 80: 111_101, 85: 112_000, 96: 112_120,
}  # fmt: skip
AGE_BANDS = (0, 1, 2, 5, 10, 15, 18, 40, 60, 80, 96)
# Width, height, pixel spacing in mm, weight. The last stands for detectors with cropping.
DETECTORS = (
    (2500, 2048, 0.168, 26), (2500, 2048, 0.171, 7), (2992, 2991, 0.143, 20), (3056, 2544, 0.139, 14),
    (2048, 2500, 0.168, 6), (2048, 2500, 0.171, 2), (2021, 2021, 0.194311, 4), (2544, 3056, 0.139, 2),
    (2020, 2021, 0.194314, 1), (1936, 1936, 0.115, 1), (0, 2991, 0.143, 16),
)  # fmt: skip


@dataclass(frozen=True)
class Images:
    """One entry an image, patients in order, each patient's images in order of time.

    `findings` and `old_findings` have shape (images, 14); the old ones and `old_age`,
    `old_unit` (`Y`, `M`, `D`) are those of the 2017 file. `suffix` is the number in the
    file name, `follow_up` the place in time: they agree except where v2020 renumbered.
    """

    patient: Ints
    follow_up: Ints
    suffix: Ints
    age: Ints
    old_age: Ints
    old_unit: Ints
    female: Bools
    ap: Bools
    test: Bools
    findings: Bools
    old_findings: Bools
    detector: Ints
    width: Ints
    height: Ints


def draw_images(plan: SynthPlan) -> Images:
    """Draw all images of a plan. Exact counts at scale 1, in proportion below it."""
    n = plan.count(IMAGES, at_least=112)
    share = n / IMAGES
    rng = plan.rng("nih_cxr14", "patients")
    sizes = long_tail(plan.count(PATIENTS, at_least=31), n, IMAGES_A_PATIENT, rng)
    index = np.repeat(np.arange(len(sizes)), sizes)
    follow_up = order_within(index)
    age = _ages(plan, index, n)
    findings = _findings(plan, index, sizes, n)
    old_age, old_unit = _old_ages(plan, age, share)
    detector, width, height = _detectors(plan, n)
    view_score = _patient_effect(plan.rng("nih_cxr14", "view"), sizes, index) + 0.8 * np.log(sizes)[index]
    women = groups_totalling(sizes, round(FEMALE_IMAGES * share), plan.rng("nih_cxr14", "sex"))
    split_rng = plan.rng("nih_cxr14", "split")
    # The power makes the test patients as few (about 2,797) and as often imaged as the official ones.
    test_patients = groups_totalling(sizes, round(TEST_IMAGES * share), split_rng, power=0.62)
    return Images(
        patient=index + 1,
        follow_up=follow_up,
        suffix=_suffixes(plan, sizes, follow_up, round(24_106 * share)),
        age=age,
        old_age=old_age,
        old_unit=old_unit,
        female=women[index],
        ap=top_scores(view_score, round(AP_IMAGES * share)),
        test=test_patients[index],
        findings=findings,
        old_findings=_old_findings(plan, findings, share),
        detector=detector,
        width=width,
        height=height,
    )


def _patient_effect(rng: np.random.Generator, sizes: Ints, index: Ints) -> Floats:
    """A random score an image, alike within a patient."""
    return rng.normal(size=len(sizes))[index] + rng.normal(size=len(index))


def _ages(plan: SynthPlan, index: Ints, n: int) -> Ints:
    """Whole years: never falling within a patient, and exact in every age band."""
    rng = plan.rng("nih_cxr14", "age")
    below, years = np.array(list(IMAGES_BELOW_AGE.values())), np.array(list(IMAGES_BELOW_AGE))
    start = np.interp(rng.random(index[-1] + 1) * IMAGES, below, years)[index]
    gap = np.where(rng.random(n) < 0.8, 0.0, rng.exponential(1.2, n))
    gap[order_within(index) == 0] = 0.0
    elapsed = np.cumsum(gap)
    elapsed -= elapsed[np.searchsorted(index, index)]
    # The films were taken over a quarter of a century, few patients followed for half of it.
    span = elapsed[np.searchsorted(index, index, side="right") - 1]
    elapsed *= np.minimum(1.0, LONGEST_FOLLOW_UP / np.maximum(span, LONGEST_FOLLOW_UP))
    # The images' order by age is kept, their ages replaced by those of the official bands.
    order = np.argsort(start + elapsed, kind="stable")
    official = np.diff([IMAGES_BELOW_AGE[limit] for limit in AGE_BANDS])
    ends = np.cumsum(apportion(n, official))
    ages = np.empty(n, dtype=np.int64)
    for low, high, first, last in zip(AGE_BANDS[:-1], AGE_BANDS[1:], np.r_[0, ends[:-1]], ends, strict=True):
        at = (np.arange(last - first) + 0.5) / (last - first)
        rank = IMAGES_BELOW_AGE[low] + at * (IMAGES_BELOW_AGE[high] - IMAGES_BELOW_AGE[low])
        ages[order[first:last]] = np.clip(np.floor(np.interp(rank, below, years)), low, high - 1)
    return ages


def _suffixes(plan: SynthPlan, sizes: Ints, follow_up: Ints, moved: int) -> Ints:
    """File-name numbers: some patients' images are turned round, so that `moved` rows
    have a suffix other than their follow-up number."""
    order = plan.rng("nih_cxr14", "suffix").permutation(np.flatnonzero(sizes >= 2))
    ends = np.cumsum(sizes[order])
    spans = np.clip(moved - np.r_[0, ends[:-1]], 0, sizes[order])
    last = int(np.flatnonzero(spans)[-1])
    if spans[last] == 1:  # one image alone cannot change places
        spans[last] = 2
        wide = np.flatnonzero(spans[:last] >= 3)
        spans[wide[:1]] -= 1
    turned = np.zeros(len(sizes), dtype=np.int64)
    turned[order] = spans
    span = np.repeat(turned, sizes)
    inside = follow_up < span
    return np.where(inside, (follow_up + 1) % np.maximum(span, 1), follow_up)


def _findings(plan: SynthPlan, index: Ints, sizes: Ints, n: int) -> Bools:
    """Label sets with exact counts of every label; no row is "No Finding"."""
    rng = plan.rng("nih_cxr14", "findings")
    counts = apportion(round(sum(LABEL_COUNTS.values()) * n / IMAGES), list(LABEL_COUNTS.values()))
    score = _patient_effect(rng, sizes, index) + 0.25 * np.log(sizes)[index]
    with_finding = np.flatnonzero(top_scores(score, n - round(NO_FINDING * n / IMAGES)))
    parts = apportion(len(with_finding), FINDINGS_AN_IMAGE, at_least=0)
    set_sizes = rng.permutation(np.repeat(np.arange(1, len(parts) + 1), parts))
    gap = int(counts.sum() - set_sizes.sum())
    set_sizes[pick(set_sizes == 1 if gap > 0 else set_sizes > 1, abs(gap), rng)] += np.sign(gap)
    findings = np.zeros((n, len(LABELS)), dtype=np.bool_)
    findings[with_finding] = distinct_label_sets(set_sizes, counts, rng)
    return findings


def _old_findings(plan: SynthPlan, findings: Bools, share: float) -> Bools:
    """The 2017 label sets: 181 differ. 51 had no finding and 27 lacked the pneumonia that
    v2020 gives them; the other 103 lacked another finding."""
    rng = plan.rng("nih_cxr14", "old findings")
    old = findings.copy()
    pneumonia, several = findings[:, PNEUMONIA], findings.sum(axis=1) > 1
    old[pick(pneumonia & ~several, max(1, round(51 * share)), rng), PNEUMONIA] = False
    old[pick(pneumonia & several, max(1, round(27 * share)), rng), PNEUMONIA] = False
    for image in pick(several & ~pneumonia, max(1, round(103 * share)), rng):
        old[image, int(np.flatnonzero(findings[image])[0])] = False
    return old


def _old_ages(plan: SynthPlan, age: Ints, share: float) -> tuple[Ints, Ints]:
    """The 2017 ages and their units (positions in "YMD").

    27,376 are one year higher, of which 148 make an adult of a child; 26 are in months, 1
    in days (an adult of 33 in v2020), 16 over 100, and 52 differ otherwise, 2 of them a
    child in place of an adult.
    """
    rng = plan.rng("nih_cxr14", "old age")
    old, unit = age.copy(), np.zeros(len(age), dtype=np.int64)
    free = np.ones(len(age), dtype=np.bool_)

    def take(candidates: Bools, official: int) -> Ints:
        wanted = max(1, round(official * share))
        chosen = pick(candidates & free, wanted, rng)
        free[chosen] = False
        return chosen

    months = np.concatenate([take(age == 0, 6), take(age == 1, 20)])
    old[months] = 12 * age[months] + rng.integers(1, 12, len(months))
    unit[months] = 1
    # At scale 1 this is the official case; in small sets any adult near that age stands for it.
    day = take(np.abs(age - 33) == np.abs(age - 33)[free].min(), 0)
    old[day], unit[day] = 1, 2
    typed_one = take((age >= 48) & (age <= 55), 12)
    old[typed_one] = age[typed_one] + 100
    typed_four = take(np.abs(age - 41) <= 3, 4)
    old[typed_four] = rng.integers(411, 415, len(typed_four))
    as_child = take(age >= 18, 2)
    old[as_child] = rng.integers(2, 18, len(as_child))
    otherwise = take((age >= 25) & (age < 80), 50)
    old[otherwise] += rng.choice([-3, -2, 2, 3, 10], len(otherwise))
    grown = take(age == 17, 148)
    older = take((age >= 2) & (age != 17), 27_376 - 148)
    old[np.concatenate([grown, older])] += 1
    return old, unit


def _detectors(plan: SynthPlan, n: int) -> tuple[Ints, Ints, Ints]:
    """Detector (position in DETECTORS), width and height in pixels of each image."""
    rng = plan.rng("nih_cxr14", "detector")
    counts = apportion(n, [weight for *_, weight in DETECTORS])
    detector = rng.permutation(np.repeat(np.arange(len(DETECTORS)), counts))
    table = np.array([(width, height) for width, height, *_ in DETECTORS])
    width, height = table[detector].T
    cropped = rng.integers(1143, 2990, n)
    lowered = height - np.where(rng.random(n) < 0.4, rng.integers(0, 900, n), 0)
    return detector, np.where(width == 0, cropped, width), np.where(width == 0, lowered, height)
