"""Random directions in which GeZO tries to move a noise: each pixel on its own, or a coarse grid drawn up to the image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cxrdata.errors import CxrError

SPACES = ("pixels", "grid")


@dataclass(frozen=True)
class Directions:
    """Gaussian directions of an image's size; of either space the expected squared norm at scale s is s² · side².

    grid: places a side of the coarse space; no more than the image has.
    """

    side: int
    space: str
    grid: int = 16

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise CxrError("CXR-501", f"there is no space of directions {self.space!r}", fix=" or ".join(SPACES))

    def draw(self, random: np.random.Generator, scale: float) -> NDArray[np.float32]:
        """One direction, (side, side)."""
        if self._up is None:
            return (scale * random.standard_normal((self.side, self.side))).astype(np.float32)
        coarse = random.standard_normal((self._up.shape[1], self._up.shape[1]))
        return (scale * (self._up @ coarse @ self._up.T)).astype(np.float32)

    @cached_property
    def _up(self) -> NDArray[np.float64] | None:
        """(side, grid): bilinear interpolation along one side, so scaled that directions are as long as those by pixel.

        The expected squared norm of R z Rᵀ is ‖R‖⁴ (Frobenius), for z of independent unit variance.
        """
        if self.space == "pixels":
            return None
        weights = bilinear(min(self.grid, self.side), self.side)
        weights *= np.sqrt(self.side) / np.linalg.norm(weights)
        return weights


def bilinear(places: int, side: int) -> NDArray[np.float64]:
    """(side, places): the weights that draw `places` values up to `side`, centres of pixels aligned, ends held."""
    at = np.clip((np.arange(side) + 0.5) * places / side - 0.5, 0, places - 1)
    low = np.minimum(at.astype(np.int64), max(places - 2, 0))
    weights = np.zeros((side, places))
    rows = np.arange(side)
    weights[rows, low] = 1 - (at - low)
    if places > 1:
        weights[rows, low + 1] = at - low
    return weights
