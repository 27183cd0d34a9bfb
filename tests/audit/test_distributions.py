"""Distributions against scipy."""

from __future__ import annotations

import numpy as np
import pytest

from cxrdata.audit.distributions import normal_probability, normal_quantile, student_quantile


def test_the_normal_distribution_is_that_of_scipy() -> None:
    norm = pytest.importorskip("scipy.stats").norm
    z = np.linspace(-6, 6, 25)
    assert normal_probability(z) == pytest.approx(norm.cdf(z), abs=1e-14)
    p = np.array([1e-6, 0.025, 0.5, 0.9, np.nan])
    assert normal_quantile(p) == pytest.approx(norm.ppf(p), abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("freedom", [1, 1.5, 2, 6.83, 30, 1000, 1e5])
def test_students_quantiles_are_those_of_scipy(freedom: float) -> None:
    t = pytest.importorskip("scipy.stats").t
    for p in (0.5, 0.9, 0.975, 0.995):
        assert student_quantile(p, freedom) == pytest.approx(t.ppf(p, freedom), rel=1e-7, abs=1e-12)
