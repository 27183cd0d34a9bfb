"""How many images a patient may bring, at most and at least."""

from __future__ import annotations

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.splits.keyed import KEEP, keyed_numbers
from cxrdata.splits.placement import UNIT

_KEYS = ("dataset", "image_id")
_PREFERRED = {"hash": None, "frontal": "frontal", "labelled": "labelled"}
_IN_TIME = ("study_order", "study_date", "image_id")


def at_least(members: pl.DataFrame, k: int) -> pl.DataFrame:
    """The images of units that have at least `k`, in the order of `members`. Raises CxrError CXR-502 for k below 1."""
    _check(k)
    return members.filter(pl.len().over(UNIT) >= k)


def at_most(members: pl.DataFrame, k: int, *, seed: int, keep: str = "hash") -> pl.DataFrame:
    """At most `k` images of each unit, in the order of `members`.

    keep: `hash`, those with the smallest keyed numbers; `frontal` and `labelled`, the same among images where the column of
    that name is true, and among the others only where these are too few; `first`, by study_order, study_date (as far as
    `members` has them, unknown last) and image id.

    Raises CxrError: CXR-502 for k below 1 or another `keep`, CXR-501 where the column that `keep` needs is missing.
    """
    _check(k)
    if keep != "first" and keep not in _PREFERRED:
        raise CxrError("CXR-502", f"images cannot be kept by {keep!r}", fix=f"one of first, {', '.join(_PREFERRED)}")
    many = members.filter(pl.len().over(UNIT) > k)
    if keep == "first":
        order = [pl.col(name) for name in _IN_TIME if name in members.columns]
    else:
        many = many.with_columns(keyed_numbers(KEEP, seed, many["dataset"], many["image_id"]))
        order = [*_preferred(members, keep), pl.col("number"), pl.col("image_id")]
    ordered = many.sort(*UNIT, *order, nulls_last=True)
    beyond = ordered.filter(pl.int_range(pl.len()).over(UNIT) >= k)
    return members.join(beyond, on=_KEYS, how="anti", maintain_order="left")


def _preferred(members: pl.DataFrame, keep: str) -> list[pl.Expr]:
    name = _PREFERRED[keep]
    if name is None:
        return []
    if name not in members.columns:
        raise CxrError(
            "CXR-501", f"the images have no column {name!r}, by which they are to be kept", fix="keep by hash"
        )
    return [~pl.col(name).fill_null(value=False)]


def _check(k: int) -> None:
    if k < 1:
        raise CxrError("CXR-502", f"a patient cannot be limited to {k} images", fix="give a number of at least 1")
