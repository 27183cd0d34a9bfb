"""The normal and Student's t distribution, so that intervals need no more than NumPy."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from cxrdata.audit.ordered import Floats

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_HALVINGS = 60

_erf = np.frompyfunc(math.erf, 1, 1)


def normal_probability(z: Floats) -> Floats:
    """The standard normal distribution function."""
    return (1 + np.asarray(_erf(np.asarray(z, dtype=np.float64) / math.sqrt(2)), dtype=np.float64)) / 2


def normal_quantile(p: Floats) -> Floats:
    """Its inverse; nan stays nan."""
    inverse = NormalDist().inv_cdf
    flat = [inverse(one) if 0 < one < 1 else math.nan for one in np.ravel(p).tolist()]
    return np.array(flat, dtype=np.float64).reshape(np.shape(p))


@lru_cache(maxsize=4096)
def student_quantile(p: float, freedom: float) -> float:
    """Quantile p, from 0.5 on, of Student's t with at least one degree of freedom; they need not be whole.

    With t = tan(a) · √freedom the density becomes a power of cos(a), which is integrated by 64 nodes and halved upon.
    """
    half = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)

    def probability(angle: float) -> float:
        at = angle * (_NODES + 1) / 2
        return 0.5 + half * float(_WEIGHTS @ np.cos(at) ** (freedom - 1)) * angle / 2

    low, high = 0.0, math.pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if probability(middle) < p:
            low = middle
        else:
            high = middle
    return math.tan(low) * math.sqrt(freedom)
