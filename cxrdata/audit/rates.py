"""Intervals of rates (TPR, FPR, PPV, …): Wilson and Clopper-Pearson, for images that come several from a patient.

Images of one patient tell less than as many of different patients. So both intervals are computed for the effective number
of images: the number of independent ones that would give the variance observed between patients (the design effect of
Kish; its use in Clopper-Pearson intervals: Korn and Graubard, Survey Methodology 24:193, 1998; in Wilson intervals: Dean and
Pagano, J Surv Stat Methodol 3:484, 2015). Where every patient has one image it is the number of images. A rate of 0 or 1
has no variance to observe: there the patients count, (Σ m)² / Σ m² for m images each, as if the images of one were copies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cxrdata.audit.distributions import normal_quantile
from cxrdata.audit.ordered import Floats
from cxrdata.errors import CxrError


@dataclass(frozen=True)
class Rate:
    """A share of images. estimate: nan where there are none. effective: number of images it is worth."""

    estimate: float
    effective: float


def rate_of(numerators: Floats, denominators: Floats) -> Rate:
    """The rate of patients' sums: (patients,) each, weight of the images counted and of those that could be."""
    own = denominators > 0
    above, below = numerators[own], denominators[own]
    total = float(below.sum())
    if not total:
        return Rate(math.nan, 0.0)
    estimate = float(above.sum()) / total
    if (below == 1).all():
        return Rate(estimate, total)
    kish = total**2 / float((below**2).sum())
    patients = len(below)
    if patients == 1 or not 0 < estimate < 1:
        return Rate(estimate, kish)
    variance = float(((above - estimate * below) ** 2).sum()) / total**2 * patients / (patients - 1)
    if variance <= 0:
        return Rate(estimate, kish)
    return Rate(estimate, min(estimate * (1 - estimate) / variance, total))


def wilson(rate: Rate, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (JASA 22:209, 1927); (nan, nan) without images."""
    if not rate.effective:
        return math.nan, math.nan
    n, p = rate.effective, rate.estimate
    z = float(normal_quantile(np.array((1 + confidence) / 2)))
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (0.0 if p == 0 else max(middle - half, 0.0)), (1.0 if p == 1 else min(middle + half, 1.0))


def clopper_pearson(rate: Rate, confidence: float = 0.95) -> tuple[float, float]:
    """The exact binomial interval (Biometrika 26:404, 1934); (nan, nan) without images.

    Raises CxrError CXR-604 without scipy.
    """
    try:
        from scipy.special import betaincinv
    except ImportError as error:
        raise CxrError("CXR-604", "Clopper-Pearson intervals need scipy", fix="pip install 'cxrdata[stats]'") from error
    if not rate.effective:
        return math.nan, math.nan
    positive = rate.estimate * rate.effective
    negative = rate.effective - positive
    tail = (1 - confidence) / 2
    low = 0.0 if rate.estimate == 0 else float(betaincinv(positive, negative + 1, tail))
    high = 1.0 if rate.estimate == 1 else float(betaincinv(positive + 1, negative, 1 - tail))
    return low, high
