"""What the audit computes on, and the rows it answers with: numbers alone, no files, no catalog."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

UNSTABLE = 10  # positives, or negatives, under which a row says that it is unstable
OVERALL = "overall"  # the `group_by` of rows about everybody; their `group_value` is null

ROW_SCHEMA: dict[str, pl.DataType] = {
    "model": pl.String(),
    "label": pl.String(),
    "truth": pl.String(),
    "policy": pl.String(),
    "group_by": pl.String(),
    "group_value": pl.String(),
    "metric": pl.String(),
    "n": pl.Int64(),
    "n_positive": pl.Int64(),
    "estimate": pl.Float64(),
    "ci_low": pl.Float64(),
    "ci_high": pl.Float64(),
    "p_value": pl.Float64(),
    "p_adjusted": pl.Float64(),
    "method": pl.String(),
    "seed": pl.Int64(),
    "note": pl.String(),
}


@dataclass(frozen=True)
class Grouping:
    """One way to part the images.

    by: its name, as `--by` names it. values: group names in display order; one may be nobody's. codes: (n,) int32, index
    into values, -1 where unknown: such an image is in the overall rows alone.
    """

    by: str
    values: tuple[str, ...]
    codes: NDArray[np.int32]


@dataclass(frozen=True)
class Scored:
    """One label of one model on the images where its truth is known: the engine's whole input.

    scores: (n,) finite; a higher one speaks for the label. positive: (n,). patients: (n,) codes 0…k-1, the unit of the
    bootstrap. weights: (n,) draws of a resampled split, else ones. groupings: crossed groups are groupings too.
    probabilities: the scores lie within [0, 1] as probabilities; Brier and ECE are computed only then.
    """

    model: str
    label: str
    truth: str
    policy: str
    scores: NDArray[np.float64]
    positive: NDArray[np.bool_]
    patients: NDArray[np.int64]
    weights: NDArray[np.float64]
    groupings: tuple[Grouping, ...]
    probabilities: bool
