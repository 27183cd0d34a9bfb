"""What the two synthetic VinDr data sets share: identifiers, detector frames, boxes.

Coordinates are drawn as fractions of the image and multiplied by its frame at the
end, so a box lies inside its image whatever size of image the plan asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrdata.sources.synthesis import SynthPlan

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# A DICOM of the official size would be 10 MB. These divide it: about 60 by 50 pixels,
# or 280 by 230 when the plan asks for images.
SMALL_DIVISOR = 40
IMAGE_DIVISOR = 10
# A reader's edge strays this far from another's, as a share of the image.
READER_JITTER = 0.02
COORDINATE_DECIMALS = 4


class Region(NamedTuple):
    """Where boxes of a finding lie: ranges of centre and size, in shares of the image."""

    centre_x: tuple[float, float]
    centre_y: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]


LUNGS = Region((0.15, 0.85), (0.20, 0.75), (0.06, 0.30), (0.06, 0.30))
HEART = Region((0.50, 0.58), (0.58, 0.68), (0.42, 0.58), (0.22, 0.34))
AORTA = Region((0.48, 0.58), (0.26, 0.36), (0.10, 0.18), (0.10, 0.20))
PLEURA = Region((0.15, 0.85), (0.70, 0.85), (0.10, 0.30), (0.08, 0.25))
CHEST_WALL = Region((0.12, 0.88), (0.12, 0.70), (0.06, 0.22), (0.05, 0.15))


def box_divisor(plan: SynthPlan, chosen: frozenset[str]) -> int:
    """How much smaller the frame of the boxes is than the official detector's: boxes
    are pixels of the DICOM file, so they follow the small files where those are written."""
    if "dicom" not in chosen or plan.official_size:
        return 1
    return IMAGE_DIVISOR if plan.images else SMALL_DIVISOR


def apportion(weights: Sequence[int], total: int, *, at_least: int = 0) -> IntArray:
    """Share `total` out by whole `weights` with the largest-remainder method.

    Shape `(len(weights),)`. Weights above 0 get `at_least`, taken from the largest
    shares; weights that already sum to `total` are returned unchanged.
    """
    weight = np.asarray(weights, dtype=np.int64)
    share, remainder = np.divmod(weight * total, max(int(weight.sum()), 1))
    order = np.argsort(-remainder, kind="stable")
    share[order[: total - int(share.sum())]] += 1
    raised = np.where(weight > 0, np.maximum(share, at_least), 0)
    for _ in range(int(raised.sum()) - total):
        raised[int(np.argmax(raised))] -= 1
    return raised.astype(np.int64)


def image_ids(rng: np.random.Generator, n: int) -> list[str]:
    """`n` identifiers of 32 hexadecimal digits, as VinDr names its images."""
    digits = rng.bytes(16 * n).hex()
    return [digits[start : start + 32] for start in range(0, 32 * n, 32)]


def draw_frames(rng: np.random.Generator, shapes: Sequence[tuple[int, int]], n: int, divisor: int) -> IntArray:
    """Rows and columns of `n` images, shape `(n, 2)`, drawn from detector `shapes`."""
    picked: IntArray = np.asarray(shapes, dtype=np.int64)[rng.integers(0, len(shapes), n)]
    return picked // divisor


def place_boxes(
    rng: np.random.Generator, regions: Sequence[Region], region: IntArray, lesion: IntArray, frames: IntArray
) -> FloatArray:
    """Corners `x_min, y_min, x_max, y_max` in pixels, shape `(n, 4)`.

    `region` indexes `regions`; boxes with one `lesion` number outline the same lesion
    and differ by the readers' jitter only; `frames` holds each box's rows and columns.
    """
    table: FloatArray = np.asarray(regions, dtype=np.float64)[region]
    low, high = table[:, :, 0], table[:, :, 1]
    n_lesions = int(lesion.max()) + 1 if len(lesion) else 0
    drawn = low + (high - low) * rng.random((n_lesions, 4))[lesion]
    drawn += (rng.random(drawn.shape) - 0.5) * READER_JITTER
    half = np.maximum(drawn[:, 2:], 0.05) / 2
    centre = np.clip(drawn[:, :2], half, 1 - half)
    size = frames[:, ::-1].astype(np.float64)
    corners = np.hstack([(centre - half) * size, (centre + half) * size])
    return np.clip(corners, 0.0, np.hstack([size, size])).round(COORDINATE_DECIMALS)


def position_in_run(keys: IntArray) -> IntArray:
    """0, 1, 2, … within each run of equal neighbouring `keys`."""
    if not len(keys):
        return keys
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    lengths = np.diff(np.r_[starts, len(keys)])
    return np.arange(len(keys), dtype=np.int64) - np.repeat(starts, lengths)
