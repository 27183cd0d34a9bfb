"""Which split a unit falls into: by its keyed number alone, or by quotas that are filled in the order of the numbers.

A unit is what must not be parted: a patient, or an image where the dataset has no patient ids. Every rule works within one
dataset, so that no other dataset has a part in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.splits.keyed import FOLD, PLACE, fractions, keyed_numbers
from cxrdata.splits.ratios import Ratios

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]

UNIT = ("dataset", "unit")
UNKNOWN = "unknown"
STATES = (
    "positive",
    "uncertain",
    "negative",
    "unmentioned",
)  # of a label; the first that any image has is the patient's


def units_of(members: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The units of `members` (dataset, unit, …): dataset, unit, n_images, number (keyed), fraction in [0, 1); sorted by unit."""
    units = members.group_by(UNIT).agg(n_images=pl.len().cast(pl.Int64)).sort(UNIT)
    number = keyed_numbers(PLACE, seed, units["dataset"], units["unit"])
    return units.with_columns(number, fractions(number))


def place_by_hash(units: pl.DataFrame, ratios: Ratios) -> pl.DataFrame:
    """dataset, unit, split: the split on whose part of [0, 1) the unit's fraction lies. No other unit has a say."""
    passed = [(pl.col("fraction") >= end).cast(pl.Int64) for end in ratios.bounds[:-1]]
    return units.select(*UNIT, split=_named(pl.sum_horizontal(pl.lit(0, dtype=pl.Int64), *passed), ratios))


def place_exact(
    units: pl.DataFrame, ratios: Ratios, *, weigh: str = "patient", strata: Sequence[str] = ()
) -> pl.DataFrame:
    """dataset, unit, split: quotas filled in the order of the keyed numbers, within each dataset and stratum.

    units: as of `units_of`, with one text column an attribute of `strata`.

    weigh="patient": each split of a dataset has exactly `Ratios.quotas` units; in a stratum each split is less than two
    units away from its share, and that is so for all strata up to any one of them together (`_shared_out`).
    weigh="image": the quotas are numbers of images. A unit goes where the middle of its images comes to lie, so each split
    is within one unit's images of its quota (of the largest unit; two, where there are strata).

    Sorted by unit. Raises CxrError CXR-502 for another `weigh`.
    """
    if weigh not in ("patient", "image"):
        raise CxrError("CXR-502", f"quotas cannot be weighed by {weigh!r}", fix="weigh by patient or image")
    ordered = units.sort("dataset", *strata, "number", "unit")
    ordered = ordered.with_columns(stratum=pl.struct("dataset", *strata).rle_id())
    parts = []
    for part in ordered.partition_by("dataset", maintain_order=True):
        runs = part["stratum"].rle().struct.field("len").to_list()
        place = (
            _filled(runs, ratios)
            if weigh == "patient"
            else _filled_by_images(runs, part["n_images"].to_numpy(), ratios)
        )
        parts.append(part.select(*UNIT, place=pl.Series(place, dtype=pl.Int64)))
    if not parts:
        return units.select(*UNIT, split=pl.lit(None, dtype=pl.String))
    return pl.concat(parts).sort(UNIT).select(*UNIT, split=_named(pl.col("place"), ratios))


def _named(place: pl.Expr, ratios: Ratios) -> pl.Expr:
    """The split's name for its place in `ratios`."""
    return place.replace_strict(dict(enumerate(ratios.names)), return_dtype=pl.String)


def _filled(runs: Sequence[int], ratios: Ratios) -> list[int]:
    """The place of each unit of a dataset, its strata one after the other, each with `runs` units in the order of numbers."""
    return [
        place
        for shares in _shared_out(runs, ratios.quotas(sum(runs)))
        for place, n in enumerate(shares)
        for _ in range(n)
    ]


def _shared_out(runs: Sequence[int], quotas: Sequence[int]) -> list[list[int]]:
    """How many units of each stratum go to each split: whole numbers, each row sums to `runs`, each column to `quotas`.

    Every stratum first gives each split the whole part of its share. What is left, fewer units than there are splits, goes
    one by one to the split that is furthest behind its share of all strata so far, so rounding is carried over from stratum
    to stratum (the problem is the chairman assignment of Tijdeman, Discrete Mathematics 32:323, 1980). Of up to three
    splits none is ever behind or ahead by a whole unit. Before a unit is given, the k arrears sum to 1, so the greatest is
    at least 1/k, and nobody ends up ahead by more than 1 - 1/k. Hence any two of three are together at most 2/3 behind,
    5/3 with the next unit's share, and the one of them that is passed over at most half of that, 5/6. At the end of all
    strata the arrears are whole numbers below one: the quotas are met exactly.
    """
    total = max(sum(runs), 1)
    # All arrears are counted in parts of 1 / (total * steps), where `steps` divides evenly into the units left over.
    steps = math.lcm(*range(1, len(quotas)))
    behind = [0] * len(quotas)
    table = []
    for n in runs:
        row = [n * quota // total for quota in quotas]
        rest = [n * quota % total for quota in quotas]
        left = n - sum(row)
        for _ in range(left):
            behind = [arrears + part * steps // left for arrears, part in zip(behind, rest, strict=True)]
            at = max(range(len(quotas)), key=lambda one: (behind[one], -one))
            row[at] += 1
            behind[at] -= total * steps
        table.append(row)
    return table


def _filled_by_images(runs: Sequence[int], images: Numbers, ratios: Ratios) -> list[int]:
    """The place of each unit, by where the middle of its images lies among those of its stratum."""
    import numpy as np

    total = int(images.sum())
    quotas = np.cumsum(ratios.quotas(total))[:-1]
    given = np.zeros_like(quotas)  # images of the splits up to each one so far
    before = start = 0
    places: list[int] = []
    for n in runs:
        own = images[start : start + n]
        before += int(own.sum())
        start += n
        ends = np.cumsum(own)
        # In parts of 1 / (2 total) images, so that all numbers are whole.
        borders = np.maximum.accumulate(2 * (quotas * before - given * total))
        place = np.searchsorted(borders, (2 * ends - own) * total, side="right")
        given += np.array([own[place <= at].sum() for at in range(len(quotas))], dtype=given.dtype)
        places += place.tolist()
    return places


def strata_of_units(members: pl.DataFrame, attributes: Sequence[str]) -> pl.DataFrame:
    """dataset, unit and one value an attribute, sorted by unit.

    A patient's value is the one that most of its images have, among equals the first in the order of text; of a label, the
    first of positive, uncertain, negative, unmentioned that any image has. Null counts only where every image is null: unknown.
    """
    units = members.select(UNIT).unique().sort(UNIT)
    for name in attributes:
        known = members.select(*UNIT, name).drop_nulls(name)
        if is_label(members[name]):
            rank = {state: at for at, state in enumerate(STATES)}
            first = known.group_by(UNIT).agg(pl.col(name).replace_strict(rank, return_dtype=pl.Int8).min())
            value = first.with_columns(pl.col(name).replace_strict(dict(enumerate(STATES)), return_dtype=pl.String))
        else:
            counts = known.group_by(*UNIT, name).len().sort(*UNIT, "len", name, descending=[False, False, True, False])
            value = counts.unique(UNIT, keep="first", maintain_order=True).drop("len")
        units = units.join(value, on=UNIT, how="left", maintain_order="left").with_columns(
            pl.col(name).fill_null(UNKNOWN)
        )
    return units


def is_label(values: pl.Series) -> bool:
    """Whether an attribute's values are states of a label."""
    known = values.drop_nulls().unique()
    return known.len() > 0 and known.is_in(STATES).all()


def moved(placed: pl.DataFrame, plain: pl.DataFrame) -> tuple[int, int]:
    """How many units are not where the hash alone places them, and how many there are. Both: dataset, unit, split."""
    both = placed.join(plain.select(*UNIT, plain="split"), on=UNIT, how="inner")
    return int((both["split"] != both["plain"]).sum()), both.height


def place_folds(units: pl.DataFrame, k: int, seed: int) -> pl.DataFrame:
    """dataset, unit, fold (0 … k-1): by a keyed number of its own, so that folds and splits are independent.

    Raises CxrError CXR-502 for fewer than two folds, more folds than units, or a fold that no unit falls into.
    """
    if k < 2:
        raise CxrError("CXR-502", f"{k} folds were asked for", fix="give at least 2, for example --folds 5")
    fraction = fractions(keyed_numbers(FOLD, seed, units["dataset"], units["unit"]))
    if k > units.height:
        problem = f"{k} folds were asked for, and there are {units.height:,} patients"
        raise CxrError("CXR-502", problem, fix=_fewer(fraction, units.height))
    fold = _fold(fraction, k)
    if (filled := fold.n_unique()) < k:
        problem = f"the {units.height:,} patients fall into only {filled} of {k} folds"
        raise CxrError("CXR-502", problem, fix=_fewer(fraction, filled))
    return units.select(*UNIT, fold=fold).sort(UNIT)


def _fold(fraction: pl.Series, k: int) -> pl.Series:
    return (fraction * k).floor().cast(pl.Int64).clip(0, k - 1)


def _fewer(fraction: pl.Series, most: int) -> str:
    """The advice to take the largest number of folds, `most` at most, that leaves none empty."""
    k = next((k for k in range(min(most, len(fraction)), 1, -1) if _fold(fraction, k).n_unique() == k), 1)
    return f"ask for fewer folds, such as --folds {k}" if k > 1 else "leave --folds out, or split more images"
