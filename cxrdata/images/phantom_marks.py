"""A mark that shows whom a drawn chest is of: what a model can learn in place of the disease.

Real pictures hold such marks: a site's marker, a letter in a corner, a way to frame. This one is a soft spot near one
place, on pictures of one value of an attribute, and it is all that tells the values apart; with the disease it goes
together only as far as a split makes it so (`cxrdata split --spurious`). It lies on the dark ground beside the neck
unless told otherwise: one noise for all pictures hides it there by pressing that ground to black.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Over which share of its radius a spot fades.
_EDGE = 0.5


@dataclass(frozen=True)
class Mark:
    """`attribute`: a column of `images`; pictures of its `value` are marked. `contrast`: what is added in the spot's middle, in
    shares of the range (negative: darker). `size`: its diameter as a share of the shorter side. `place`: its middle, from
    the left and from the top, as shares of the picture; `jitter`: the standard deviation of either, from picture to picture."""

    attribute: str
    value: str
    contrast: float
    size: float
    place: tuple[float, float]
    jitter: float


def stamp(rng: np.random.Generator, picture: Floats, mark: Mark) -> None:
    """Draw the mark into a picture of 0 to 1, in place."""
    rows, columns = picture.shape
    (across, down), (right, lower) = mark.place, rng.normal(0, mark.jitter, 2)
    x = np.arange(columns, dtype=np.float32)[None, :] + np.float32(0.5 - (across + right) * columns)
    y = np.arange(rows, dtype=np.float32)[:, None] + np.float32(0.5 - (down + lower) * rows)
    radius = mark.size * min(rows, columns) / 2
    inside = np.clip((1 - np.hypot(x, y) / np.float32(radius)) / np.float32(_EDGE), 0, 1)
    picture += np.float32(mark.contrast) * inside
    np.clip(picture, 0, 1, out=picture)
