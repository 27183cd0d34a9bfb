"""Densities of a number by group, for figures: Gaussian kernels, the width by Silverman's rule of thumb.

Silverman, Density Estimation for Statistics and Data Analysis (1986), equation 3.31: 0.9 times the smaller of the standard
deviation and the interquartile range over 1.34, times n to the power of -1/5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.small_cells import MIN_CELL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

POINTS = 121
KEY = ("dataset", "image_id")
FEW = MIN_CELL  # images under which a curve would be bumps of single images
DENSITY_SCHEMA = {"value": pl.String, "at": pl.Float64, "density": pl.Float64, "n": pl.Int64}
_NORMAL_IQR = 1.34
_ROOM = 0.05  # of the range, on either side


def bandwidth(values: Floats, n: int | None = None) -> float:
    """0 where the values do not spread. n: how many images they are of, if some are of one that was drawn several times."""
    quarter, three_quarters = np.percentile(values, [25, 75])
    # Where half of the values are one, their quartiles say nothing of the spread.
    spreads = [one for one in (values.std(ddof=1), (three_quarters - quarter) / _NORMAL_IQR) if one > 0]
    return float(0.9 * min(spreads) * (n or len(values)) ** -0.2) if spreads else 0.0


def span(values: Floats) -> tuple[float, float]:
    """The range that figures show."""
    low, high = float(values.min()), float(values.max())
    room = _ROOM * (high - low) or 1.0
    return low - room, high + room


def densities(rows: pl.DataFrame, column: str, by: str, limits: tuple[float, float]) -> pl.DataFrame:
    """`DENSITY_SCHEMA`: the density of `column` at `POINTS` places within the limits, for each value of `by` of at least
    `FEW` images that differ, in the order in which the values come.

    rows: dataset, image_id and the columns; an image that was drawn several times is there as often, and counts so in the
    density, but is one image: few of them, drawn often, would make spikes. n: the images.
    """
    at = np.linspace(*limits, POINTS)
    parts = [pl.DataFrame(schema=DENSITY_SCHEMA)]
    for value in rows[by].unique(maintain_order=True).to_list():
        known = rows.filter(pl.col(by) == value, pl.col(column).is_not_null())
        numbers, n = known[column].to_numpy(), known.n_unique(KEY)
        width = bandwidth(numbers, n) if n >= FEW else 0.0
        if width == 0.0:
            continue
        heights = np.exp(-0.5 * ((at[:, None] - numbers) / width) ** 2).sum(axis=1)
        scaled = heights / (len(numbers) * width * np.sqrt(2 * np.pi))
        parts.append(pl.DataFrame({"value": [value] * POINTS, "at": at, "density": scaled, "n": [n] * POINTS}))
    return pl.concat(parts)
