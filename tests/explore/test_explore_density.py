"""Densities against scipy's kernels; groups that have none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import gaussian_kde, iqr

from cxrdata.explore.density import FEW, POINTS, bandwidth, densities, span


def _images(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows as those of an image each."""
    return rows.with_row_index("image_id").with_columns(pl.col("image_id").cast(pl.String), dataset=pl.lit("d"))


def test_a_density_is_that_of_scipy() -> None:
    rng = np.random.default_rng(2)
    values = {"a": rng.normal(size=90), "b": rng.exponential(size=40) * 3}
    rows = pl.DataFrame({"x": np.concatenate(list(values.values())), "by": ["a"] * 90 + ["b"] * 40})
    rows = _images(rows)
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
    rows = _images(rows)
    assert densities(rows, "x", "by", (0.0, 1.0)).is_empty() is not drawn


def test_values_of_which_most_are_one_still_spread() -> None:
    values = np.array([0.0] * 40 + [1.0, 2.0, 5.0])
    assert bandwidth(values) == pytest.approx(0.9 * values.std(ddof=1) * 43**-0.2)


def test_images_that_were_drawn_often_are_few_all_the_same() -> None:
    """Two images drawn fifty times each are no hundred, and make no spikes; what is drawn often weighs as much."""
    some = _images(pl.DataFrame({"x": np.arange(FEW, dtype=float), "by": ["a"] * FEW}))
    few = pl.concat([some.head(FEW - 1)] * 50)
    assert densities(few, "x", "by", (0.0, 20.0)).is_empty()
    once, often = (densities(pl.concat([some] * times), "x", "by", (-9.0, 20.0)) for times in (1, 50))
    assert once["n"].unique().to_list() == often["n"].unique().to_list() == [FEW]
    # The sample SD of more rows is a little smaller, and nothing else differs.
    np.testing.assert_allclose(often["density"], once["density"], rtol=0.2, atol=1e-4)
