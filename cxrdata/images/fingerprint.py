"""What a picture looks like in a few numbers: a hash that survives resizing and recompression, and its polarity."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

Grey = NDArray[np.uint8]
THUMB = 64  # the side of the square that everything here looks at
HASH_SIDE = 16  # lowest frequencies a direction; 256 bits tell chest radiographs apart, which 64 do not
HASH_BITS = HASH_SIDE * HASH_SIDE


def thumb(picture: Image.Image) -> NDArray[np.float64]:
    """A picture of mode `L` squashed to THUMB by THUMB."""
    from PIL import Image

    return np.asarray(picture.resize((THUMB, THUMB), Image.Resampling.BOX), dtype=np.float64)


@cache
def _cosines() -> NDArray[np.float64]:
    """The lowest cosine waves over THUMB pixels, one a row; the constant one is left out."""
    waves, pixels = np.arange(1, HASH_SIDE + 1)[:, None], np.arange(THUMB)[None, :]
    return np.asarray(np.cos(np.pi * waves * (2 * pixels + 1) / (2 * THUMB)))


def perceptual_hash(small: NDArray[np.float64]) -> str:
    """HASH_BITS bits, hexadecimal: which of the lowest frequencies of a `thumb` are above their median.

    Brightness and contrast leave it as it is; resizing and recompression change a few bits, another radiograph of the
    same patient a hundred. (The DCT hash of Zauner, 2010, with more frequencies.)
    """
    cosines = _cosines()
    strengths = cosines @ small @ cosines.T
    bits = strengths > np.median(strengths)
    return np.packbits(bits.ravel()).tobytes().hex()


@cache
def _chest() -> NDArray[np.float64]:
    """A chest in the fewest strokes, of mean 0 and length 1: bright in the middle and below, dark lungs, dark corners above."""
    at = (np.arange(THUMB) + 0.5) / THUMB
    y, x = at[:, None], at[None, :]
    spine = np.exp(-(((x - 0.5) / 0.10) ** 2))
    belly = 1 / (1 + np.exp(-(y - 0.80) / 0.04))
    lungs = sum(np.exp(-(((x - side) / 0.13) ** 2) - (((y - 0.45) / 0.25) ** 2)) for side in (0.27, 0.73))
    corners = sum(np.exp(-(((x - side) / 0.12) ** 2) - ((y / 0.20) ** 2)) for side in (0.0, 1.0))
    drawn = 1.2 * spine + 0.8 * belly - lungs - corners
    drawn = drawn - drawn.mean()
    return np.asarray(drawn / np.linalg.norm(drawn))


def polarity(small: NDArray[np.float64]) -> float | None:
    """How like a chest a `thumb` is, -1 to 1: below 0 it is more like a negative of one. Null for a constant picture."""
    centred = small - small.mean()
    length = float(np.linalg.norm(centred))
    return float((centred * _chest()).sum() / length) if length > 1e-9 else None
