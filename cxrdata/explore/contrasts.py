"""Whether two groups of patients differ in what a model made of their images: two-sample Kolmogorov-Smirnov tests."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cxrdata.audit.adjust import adjusted
from cxrdata.errors import CxrError, nearest
from cxrdata.explore.extra import KOLMOGOROV_SMIRNOV, require_stats
from cxrdata.small_cells import MIN_CELL
from cxrdata.splits.attributes import SCHEME

ADJUST = "by"
EMPTY = "a group has no images"
_ALL = "*"
KS_SCHEMA = {
    "resampled": pl.Boolean, "marginal": pl.String, "attribute": pl.String, "first": pl.String, "second": pl.String,
    "n_first": pl.Int64, "n_second": pl.Int64, "statistic": pl.Float64, "p_value": pl.Float64, "p_adjusted": pl.Float64,
    "n_tests": pl.Int64, "note": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class Contrast:
    """Two values of an attribute."""

    attribute: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.attribute} {self.first} and {self.second}"


# Of Glocker et al. 2023.
PUBLISHED = (
    Contrast("disease", "Pleural Effusion", "No Finding"),
    Contrast("race", "Asian", "White"),
    Contrast("race", "Black", "Asian"),
    Contrast("race", "White", "Black"),
    Contrast("sex", "F", "M"),
)


@dataclass(frozen=True)
class Wish:
    """A contrast as it is asked for. values: two of them, or none for all pairs."""

    attribute: str
    values: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Wish:
        """`ATTRIBUTE:FIRST:SECOND`, or `ATTRIBUTE:*` for all pairs. Raises CxrError CXR-502 for anything else."""
        scheme = SCHEME if text.startswith(SCHEME) else ""
        name, *values = text.removeprefix(scheme).split(":")
        if values == [_ALL] and name:
            return cls(scheme + name, ())
        if len(values) != 2 or not all((name, *values)) or values[0] == values[1]:
            raise CxrError(
                "CXR-502",
                f"{text!r} names no two values of an attribute",
                fix="--contrast ATTRIBUTE:FIRST:SECOND, such as view:AP:PA, or ATTRIBUTE:* for all pairs of its values",
            )
        return cls(scheme + name, tuple(values))

    def contrasts(self, values: Sequence[str]) -> list[Contrast]:
        """values: those of the attribute, in order. Raises CxrError CXR-501 where one that is wished for is not among them."""
        for value in self.values:
            if value not in values:
                raise CxrError(
                    "CXR-501",
                    f"no image has the {self.attribute} {value!r}{nearest(value, list(values))}",
                    fix=f"values here: {', '.join(values) or 'none, every value is null'}",
                )
        pairs = [self.values] if self.values else list(combinations(values, 2))
        return [Contrast(self.attribute, first, second) for first, second in pairs]


def contrasts_of(values: Mapping[str, Sequence[str]], wishes: Sequence[Wish] = ()) -> tuple[list[Contrast], list[str]]:
    """The published ones whose values are there, and those wished for, each once; and what was not possible.

    values: attribute -> its values in order. Raises CxrError CXR-501 for a wish that nobody fits.
    """
    found = [one for one in PUBLISHED if {one.first, one.second} <= set(values.get(one.attribute, ()))]
    lacking = [one for one in PUBLISHED if one not in found]
    asked = [one for wish in wishes for one in wish.contrasts(values[wish.attribute])]
    pairs: dict[tuple[str, frozenset[str]], Contrast] = {}
    for one in (*found, *asked):
        pairs.setdefault((one.attribute, frozenset((one.first, one.second))), one)
    notes = [f"of the published contrasts there are no images for {'; '.join(map(str, lacking))}"] if lacking else []
    return list(pairs.values()), notes


def compared(
    rows: pl.DataFrame,
    marginals: Sequence[str],
    contrasts: Sequence[Contrast],
    *,
    resampled: bool,
    min_cell: int = MIN_CELL,
) -> pl.DataFrame:
    """`KS_SCHEMA`: a row a marginal and contrast, p values adjusted over all `n_tests` of them by Benjamini and Yekutieli.

    rows: one column a marginal and one an attribute, `patient`, and dataset, image_id. The tests take rows as independent,
    as published; where patients or images come several times, p values are too small (`note`). A contrast with a
    side that is empty, or of fewer than `min_cell` patients, has no test; of such few there is no count either. Raises CxrError CXR-604 without scipy.
    """
    require_stats(KOLMOGOROV_SMIRNOV)
    found = []
    for marginal in marginals:
        known = rows.filter(pl.col(marginal).is_not_null())
        for one in contrasts:
            sides = [known.filter(pl.col(one.attribute) == value) for value in (one.first, one.second)]
            few = [0 < side["patient"].n_unique() < min_cell for side in sides]
            tested = all(side.height for side in sides) and not any(few)
            test = _tested(*(side[marginal].to_numpy() for side in sides)) if tested else None
            found.append(
                {
                    "resampled": resampled,
                    "marginal": marginal,
                    "attribute": one.attribute,
                    "first": one.first,
                    "second": one.second,
                    "n_first": None if few[0] else sides[0].height,
                    "n_second": None if few[1] else sides[1].height,
                    "statistic": float(test.statistic) if test else None,
                    "p_value": float(test.pvalue) if test else None,
                    "note": _repeated(pl.concat(sides)) if test else _untested(few, min_cell),
                }
            )
    table = pl.DataFrame(found, schema=KS_SCHEMA)
    p_values = table["p_value"].fill_null(np.nan).to_numpy()
    p_adjusted = pl.Series("p_adjusted", adjusted(p_values, ADJUST)).fill_nan(None)
    n_tests = pl.col("p_value").count().cast(pl.Int64).alias("n_tests")
    return table.with_columns(p_adjusted, n_tests)


def _untested(few: Sequence[bool], min_cell: int) -> str:
    return f"masked: a group has fewer than {min_cell} patients" if any(few) else EMPTY


def _tested(first: NDArray[np.float64], second: NDArray[np.float64]) -> Any:  # noqa: ANN401 - of scipy
    """The test. Where scipy cannot sum up the exact p value, it takes the asymptotic one and warns, which is no news here."""
    from scipy.stats import ks_2samp

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="ks_2samp: Exact calculation unsuccessful", category=RuntimeWarning)
        return ks_2samp(first, second)


def _repeated(rows: pl.DataFrame) -> str | None:
    """What was counted as independent and is not."""
    images, patients = rows.select("dataset", "image_id").n_unique(), rows["patient"].n_unique()
    if images < rows.height:
        return f"{rows.height:,} draws of {images:,} images of {patients:,} patients count as independent"
    return f"{images:,} images of {patients:,} patients count as independent" if patients < images else None
