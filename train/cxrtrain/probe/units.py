"""Units of the last layer: ranked on training data by how much of an attribute they carry, and switched off.

    difference  greatest distance of a group's mean from that of all others, in pooled SD
    weight      greatest weight of the attribute's head, as seen from the mean over its classes, times the unit's SD
    auroc       greatest distance from 0.5 of the unit's AUROC for a group against all others

A unit that is switched off has its training mean, or 0, for every image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrdata.errors import CxrError
from cxrtrain.evaluate import auroc

CRITERIA = ("difference", "weight", "auroc")
TO = ("mean", "zero")

Floats = NDArray[np.float64]


def ranked(
    criterion: str, features: Floats, group: NDArray[np.int64], *, classes: int, weight: Floats | None = None
) -> NDArray[np.int64]:
    """All units, the strongest first; equal ones in their order.

    features: (training images, units); group: (training images,) 0 … classes - 1. weight: (classes, units) of the attribute's
    head, for `weight`.
    """
    if criterion == "difference":
        strength = np.max([_difference(features, group == one) for one in range(classes)], axis=0)
    elif criterion == "auroc":
        strength = np.max([_area(features, group == one) for one in range(classes)], axis=0)
    elif criterion == "weight":
        assert weight is not None
        # What is added to all classes alike changes no probability.
        strength = np.abs(weight - weight.mean(axis=0)).max(axis=0) * features.std(axis=0)
    else:
        raise CxrError("CXR-501", f"there is no criterion {criterion!r}", fix=f"--criterion {' or '.join(CRITERIA)}")
    return np.argsort(-strength, kind="stable").astype(np.int64)


def _difference(features: Floats, inside: NDArray[np.bool_]) -> Floats:
    first, second = features[inside], features[~inside]
    if not len(first) or not len(second):
        return np.zeros(features.shape[1])
    freedom = max(len(features) - 2, 1)
    pooled = np.sqrt((len(first) * first.var(axis=0) + len(second) * second.var(axis=0)) / freedom)
    away = np.abs(first.mean(axis=0) - second.mean(axis=0))
    return np.asarray(np.divide(away, pooled, out=np.zeros_like(away), where=pooled > 0))


def _area(features: Floats, inside: NDArray[np.bool_]) -> Floats:
    areas = [auroc(column, inside.astype(np.float64)) for column in features.T]
    return np.asarray([0.0 if area is None else abs(area - 0.5) for area in areas])


def count_of(share: float, units: int) -> int:
    """How many units a share of them is; one at least."""
    return max(1, round(share * units))


def switched_off(
    features: NDArray[np.float32], units: NDArray[np.int64], level: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A copy of (images, units) with some units at their `level`, (units,) for all."""
    changed = features.copy()
    changed[:, units] = level[units]
    return changed


def random_units(n: int, of: int, *, seed: int, draw: int) -> NDArray[np.int64]:
    """n units out of all, the same for the same seed and number of the draw."""
    return np.random.default_rng((seed, draw, n)).choice(of, n, replace=False).astype(np.int64)
