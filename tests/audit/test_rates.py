"""Intervals of rates: against statsmodels where images are independent, and by patient where they are not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cxrdata.audit.rates import Rate, clopper_pearson, rate_of, wilson

CASES = [(0, 1), (0, 7), (3, 3), (1, 40), (17, 60), (999, 1000)]


@pytest.mark.parametrize(("hits", "n"), CASES)
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_independent_images_give_the_intervals_of_statsmodels(hits: int, n: int, confidence: float) -> None:
    proportion_confint = pytest.importorskip("statsmodels.stats.proportion").proportion_confint
    rate = rate_of(np.arange(n) < hits, np.ones(n))
    assert rate == Rate(hits / n, n)
    for ours, name in ((wilson, "wilson"), (clopper_pearson, "beta")):
        low, high = proportion_confint(hits, n, alpha=1 - confidence, method=name)
        assert ours(rate, confidence) == pytest.approx((low, high), abs=1e-12)


def test_no_images_have_no_interval() -> None:
    rate = rate_of(np.zeros(4), np.zeros(4))
    assert math.isnan(rate.estimate)
    assert all(math.isnan(end) for end in (*wilson(rate), *clopper_pearson(rate)))


def test_zero_and_all_get_a_proper_interval_from_the_number_of_patients() -> None:
    none = rate_of(np.zeros(3), np.array([5.0, 5.0, 5.0]))
    assert none == Rate(0.0, 3.0)
    assert wilson(none)[0] == 0
    assert wilson(none)[1] > 0.5
    assert clopper_pearson(none) == pytest.approx((0, 1 - 0.025 ** (1 / 3)))
    every = rate_of(np.array([5.0, 1.0]), np.array([5.0, 1.0]))
    assert every.effective == pytest.approx(36 / 26)
    assert wilson(every)[1] == 1


def test_copies_of_an_image_add_nothing() -> None:
    """Patients with four identical images each are worth one image each, up to the k - 1 of an estimated variance."""
    single = np.array([1.0, 0, 0, 1, 0, 0, 0, 1, 0, 0])
    rate = rate_of(4 * single, np.full(10, 4.0))
    assert rate.estimate == pytest.approx(0.3)
    assert rate.effective == pytest.approx(9)


def test_the_effective_number_never_exceeds_the_images() -> None:
    """Images of a patient that differ more than those of different patients do not make more of them."""
    rate = rate_of(np.full(20, 1.0), np.full(20, 2.0) + np.tile([1.0, -1.0], 10) * 1e-3)
    assert rate.effective == pytest.approx(40)


def test_the_variance_is_that_of_the_ratio_estimator() -> None:
    rng = np.random.default_rng(1)
    below = rng.integers(1, 5, 50).astype(float)
    above = rng.binomial(below.astype(int), rng.beta(0.5, 0.7, 50)).astype(float)
    rate = rate_of(above, below)
    residuals = above - rate.estimate * below
    variance = 50 * residuals.var(ddof=1) / below.sum() ** 2
    assert rate.estimate * (1 - rate.estimate) / rate.effective == pytest.approx(variance, rel=1e-9)
