"""Densities against scipy's kernels; groups that have none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import gaussian_kde, iqr

from cxrdata.explore.density import FEW, POINTS, bandwidth, densities, span


def test_a_density_is_that_of_scipy() -> None:
    rng = np.random.default_rng(2)
    values = {"a": rng.normal(size=90), "b": rng.exponential(size=40) * 3}
    rows = pl.DataFrame({"x": np.concatenate(list(values.values())), "by": ["a"] * 90 + ["b"] * 40})
    limits = span(rows["x"].to_numpy())
    found = densities(rows, "x", "by", limits)
    for value, numbers in values.items():
        width = 0.9 * min(numbers.std(ddof=1), iqr(numbers) / 1.34) * len(numbers) ** -0.2
        reference = gaussian_kde(numbers, bw_method=width / numbers.std(ddof=1))
        part = found.filter(value=value)
        np.testing.assert_allclose(part["density"], reference(part["at"].to_numpy()), rtol=1e-9)
        assert part["n"].unique().to_list() == [len(numbers)] and part.height == POINTS


def test_the_span_holds_all_values_with_room() -> None:
    assert span(np.array([0.0, 10.0])) == (-0.5, 10.5)
    assert span(np.array([3.0])) == (2.0, 4.0)


@pytest.mark.parametrize(("n", "spread", "drawn"), [(FEW - 1, 1.0, False), (FEW, 1.0, True), (50, 0.0, False)])
def test_few_rows_or_equal_ones_have_none(n: int, spread: float, drawn: bool) -> None:  # noqa: FBT001 - of the table
    rows = pl.DataFrame({"x": spread * np.arange(n, dtype=float), "by": ["a"] * n})
    assert densities(rows, "x", "by", (0.0, 1.0)).is_empty() is not drawn


def test_values_of_which_most_are_one_still_spread() -> None:
    values = np.array([0.0] * 40 + [1.0, 2.0, 5.0])
    assert bandwidth(values) == pytest.approx(0.9 * values.std(ddof=1) * 43**-0.2)
