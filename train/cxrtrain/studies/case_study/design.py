"""The design of the case study: its datasets, parts, age bins and the two sets of rules it is counted by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

FINDING = "cardiomegaly"
# In the order of the publication. Four are trained on; the fifth has children alone.
TRAINED_ON = ("vindr_cxr", "nih_cxr14", "padchest", "chexpert")
CHILDREN = "vindr_pcxr"
DATASETS = (*TRAINED_ON, CHILDREN)
NAMES = {
    "vindr_cxr": "VinDr-CXR",
    "nih_cxr14": "NIH",
    "padchest": "PadChest",
    "chexpert": "CheXpert",
    "vindr_pcxr": "VinDr-PCXR",
}
BLENDS = (0.0, 0.25, 0.5, 0.75, 1.0)
CALIBRATION, ADULT_TEST, CHILD_TEST = "calibration", "test_healthy_adult", "test_pediatric"

PUBLISHED, CAREFUL = "published", "careful"
RULES = (PUBLISHED, CAREFUL)
REPLICATES = 12_000
SEED = 42

ADULTS, INFANTS, OLDER = "healthy_adults", "healthy_children:0-1", "healthy_children:2-10"
YOUNG = "healthy_children"


@dataclass(frozen=True)
class Bin:
    """Ages from `low` (years, included) to `high` (not included; infinity: no end)."""

    low: float
    high: float

    @property
    def name(self) -> str:
        """As people write it: `3`, `18-24`, `80+`."""
        if math.isinf(self.high):
            return f"{self.low:.0f}+"
        return f"{self.low:.0f}" if self.high - self.low == 1 else f"{self.low:.0f}-{self.high - 1:.0f}"


def bins_of(part: str, rules: str) -> tuple[Bin, ...]:
    """The study's bins: children by year, adults in five; the published last one ends at 100."""
    if part == CHILD_TEST:
        return tuple(Bin(year, year + 1) for year in range(18))
    ends = (18.0, 25.0, 40.0, 60.0, 80.0, 100.0 if rules == PUBLISHED else math.inf)
    return tuple(Bin(low, high) for low, high in pairwise(ends))


WHAT_DIFFERS = (
    (
        "published: the interval is redrawn by image; a bin in which nobody, or everybody, is called positive has the rate itself "
        "as its interval; bins in which nobody is called positive are left out of the rate over all ages, which raises it; ages "
        "are cut to whole years and end at 100, VinDr-PCXR's at 10; AP films of NIH and films with devices stay; the threshold "
        "is the lowest of those equally good, rounded to four digits."
    ),
    (
        "careful: the interval is redrawn by patient, and is Wilson's where the bootstrap has none; every healthy image of known "
        "age counts; an age whose precision leaves the bin open is in no bin, and counted; PA films (or of untold view), without "
        "devices where the data tell; the threshold is not rounded."
    ),
)
