"""Drawing synthetic populations whose totals are exact.

Everything here uses integers, shuffles and linear interpolation only, so that the
same generator gives the same result on every machine. Shared by the synthetic
writers of CheXpert and MIMIC-CXR.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def spread(rng: np.random.Generator, n: int, shares: Sequence[float], values: Sequence[float]) -> Floats:
    """`n` values that follow a quantile function, in random order.

    `shares` (ascending, 0 to 1) and `values` are points of the quantile function; between
    them it is linear. The values are evenly spaced quantiles, so even a small sample has
    the stated quantiles.
    """
    positions = (np.arange(n) + 0.5) / n
    return rng.permutation(np.interp(positions, shares, values))


def fit_total(rng: np.random.Generator, sizes: Ints, total: int, at_most: int) -> Ints:
    """Move `sizes` by single steps, at random places, until they sum to `total`.

    Every size stays within 1 and `at_most`. Raises ValueError where no such sizes exist.
    """
    if not len(sizes) <= total <= len(sizes) * at_most:
        message = f"{len(sizes)} groups of 1 to {at_most} cannot hold {total}"
        raise ValueError(message)
    fitted = np.clip(sizes, 1, at_most)
    while (gap := total - int(fitted.sum())) != 0:
        movable = np.flatnonzero(fitted < at_most if gap > 0 else fitted > 1)
        fitted[rng.permutation(movable)[: abs(gap)]] += 1 if gap > 0 else -1
    return fitted


def group_sizes(
    rng: np.random.Generator,
    n: int,
    total: int,
    shares: Sequence[float],
    values: Sequence[float],
) -> Ints:
    """Sizes (1 or more) of `n` groups that sum to `total`, long-tailed as the quantile function
    of `spread` says; its last value is the largest size, unless `total` needs larger ones."""
    at_most = max(int(values[-1]), -(-total // n))
    drawn = np.floor(spread(rng, n, shares, values)).astype(np.int64)
    return fit_total(rng, drawn, total, at_most)


def apportion(total: int, shares: Sequence[float], *, at_least: int = 1) -> Ints:
    """Counts in proportion to `shares` that sum to `total`, none below `at_least` (the largest
    class gives what the rare ones need)."""
    weights = np.asarray(shares, dtype=np.float64)
    counts: Ints = np.maximum(np.rint(weights / weights.sum() * total).astype(np.int64), at_least)
    counts[int(np.argmax(weights))] += total - int(counts.sum())
    return counts


def shuffled_classes(rng: np.random.Generator, counts: Ints) -> Ints:
    """Class numbers, each as often as `counts` says, in random order."""
    classes: Ints = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return classes


def draw_classes(rng: np.random.Generator, n: int, shares: Sequence[float]) -> Ints:
    """`n` class numbers drawn independently with the given shares (any positive scale)."""
    edges = np.cumsum(np.asarray(shares, dtype=np.float64))
    return np.searchsorted(edges[:-1] / edges[-1], rng.random(n), side="right").astype(np.int64)


def draw_text(rng: np.random.Generator, n: int, options: Mapping[str | None, float]) -> pl.Series:
    """`n` texts drawn independently; `options` maps each (None is null) to its share, on any scale."""
    values = pl.Series(list(options), dtype=pl.String)
    return values[draw_classes(rng, n, list(options.values()))]


def take_rows(order: Ints, rows: Ints, target: int) -> Ints:
    """The first units of `order` whose `rows` sum to exactly `target`.

    `rows` holds the rows of every unit, `order` the candidates' positions in it. The last few
    are units of one row; where there are too few of those, the sum is as near below as it gets.
    """
    running = np.cumsum(rows[order])
    fitting = int(np.searchsorted(running, target, side="right"))
    missing = target - (int(running[fitting - 1]) if fitting else 0)
    rest = order[fitting:]
    return np.concatenate([order[:fitting], rest[rows[rest] == 1][:missing]])


def without(order: Ints, taken: Ints) -> Ints:
    """`order` less the positions in `taken`, the order kept."""
    return order[~np.isin(order, taken)]


def weighted_classes(rng: np.random.Generator, rows: Ints, targets: Ints) -> Ints:
    """A class for each unit so that the rows of each class sum to its target.

    Units of several rows go to the large classes in proportion; units of one row then fill
    every class up to its target. `targets` sum to the sum of `rows`; where a class is
    already over its target (too few units of one row), the first classes absorb the rest.
    """
    classes = np.zeros(len(rows), dtype=np.int64)
    several = rng.permutation(np.flatnonzero(rows > 1))
    single = rng.permutation(np.flatnonzero(rows == 1))
    large = np.flatnonzero(targets >= targets.sum() / 50)
    edges = np.cumsum(targets[large])
    middles = np.cumsum(rows[several]) - rows[several] / 2
    several_rows = max(int(rows[several].sum()), 1)
    classes[several] = large[np.searchsorted(edges[:-1] / edges[-1], middles / several_rows)]
    held = np.bincount(classes[several], weights=rows[several], minlength=len(targets)).astype(np.int64)
    missing = np.maximum(targets - held, 0)
    fill = np.repeat(np.arange(len(targets)), missing)[::-1]
    used = min(len(fill), len(single))
    classes[single[:used]] = fill[:used]
    return classes
