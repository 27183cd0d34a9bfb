"""Whether two groups of patients differ in what a model made of their images: two-sample Kolmogorov-Smirnov tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cxrdata.audit.adjust import adjusted
from cxrdata.errors import CxrError

ADJUST = "by"
# Of Glocker et al. 2023.
PUBLISHED = (
    ("disease", "Pleural Effusion", "No Finding"),
    ("race", "Asian", "White"),
    ("race", "Black", "Asian"),
    ("race", "White", "Black"),
    ("sex", "F", "M"),
)
KS_SCHEMA = {
    "resampled": pl.Boolean, "marginal": pl.String, "attribute": pl.String, "first": pl.String, "second": pl.String,
    "n_first": pl.Int64, "n_second": pl.Int64, "statistic": pl.Float64, "p_value": pl.Float64, "p_adjusted": pl.Float64,
    "note": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class Contrast:
    """Two values of an attribute."""

    attribute: str
    first: str
    second: str


def contrasts_of(attributes: Mapping[str, Sequence[str]]) -> list[Contrast]:
    """Those of Glocker et al. 2023 of the attributes that are there, and all pairs of values of other attributes.

    attributes: attribute -> its values in order.
    """
    found = [Contrast(*one) for one in PUBLISHED if set(one[1:]) <= set(attributes.get(one[0], ()))]
    done = {one[0] for one in PUBLISHED}
    for attribute, values in attributes.items():
        if attribute not in done or not any(one.attribute == attribute for one in found):
            found += [Contrast(attribute, a, b) for at, a in enumerate(values) for b in values[at + 1 :]]
    return found


def compared(
    rows: pl.DataFrame, marginals: Sequence[str], contrasts: Sequence[Contrast], *, resampled: bool
) -> pl.DataFrame:
    """`KS_SCHEMA`: a row a marginal and contrast, p values adjusted over all of them by Benjamini and Yekutieli.

    rows: one column a marginal and one an attribute. The tests take images as independent, as published; where patients
    have several, p values are too small (`note`). A contrast with an empty side has no test. Raises CXR-604 without scipy.
    """
    try:
        from scipy.stats import ks_2samp
    except ImportError as error:
        raise CxrError("CXR-604", "scipy is not installed", fix="pip install 'cxrdata[stats]'") from error
    repeated = "images of one patient count as independent" if rows["patient"].n_unique() < rows.height else None
    found = []
    for marginal in marginals:
        for one in contrasts:
            sides = [
                rows.filter(pl.col(one.attribute) == value)[marginal].drop_nulls().to_numpy()
                for value in (one.first, one.second)
            ]
            tested = min(len(side) for side in sides) > 0
            test = ks_2samp(*sides) if tested else None
            found.append(
                (
                    resampled,
                    marginal,
                    one.attribute,
                    one.first,
                    one.second,
                    len(sides[0]),
                    len(sides[1]),
                    float(test.statistic) if test else None,
                    float(test.pvalue) if test else None,
                    None,
                    repeated if tested else "a group has no images",
                )  # fmt: skip
            )
    table = pl.DataFrame(found, schema=KS_SCHEMA, orient="row")
    p_values = table["p_value"].fill_null(np.nan).to_numpy()
    p_adjusted = pl.Series("p_adjusted", adjusted(p_values, ADJUST)).fill_nan(None)
    return table.with_columns(p_adjusted)
