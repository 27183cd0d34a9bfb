"""DeLong's variance, against its definition over all pairs and against resampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from cxrdata.audit.delong import delong, newcombe

Floats = NDArray[np.float64]


def _by_definition(scores: Floats, positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Equations 3 to 5 of the 1988 paper, with every pair of a positive and a negative image."""
    pairs = [np.sign(one[positive][:, None] - one[~positive][None]) / 2 + 0.5 for one in scores]
    v10 = np.stack([pair.mean(axis=1) for pair in pairs])
    v01 = np.stack([pair.mean(axis=0) for pair in pairs])
    m, n = v10.shape[1], v01.shape[1]
    return v10.mean(axis=1), np.cov(v10) / m + np.cov(v01) / n


def _two_models(seed: int, n: int) -> tuple[Floats, NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    positive[:4] = [True, True, False, False]
    common = rng.normal(size=n) + positive
    return np.round(np.stack([common + rng.normal(size=n), common + rng.normal(size=n)]), 1), positive


@pytest.mark.parametrize("seed", range(20))
def test_midranks_give_what_all_pairs_give(seed: int) -> None:
    scores, positive = _two_models(seed, 5 + 7 * seed)
    found = delong(scores, positive)
    estimates, covariance = _by_definition(scores, positive)
    assert np.abs(found.estimates - estimates).max() <= 1e-12
    assert np.abs(found.covariance - covariance).max() <= 1e-12


def test_a_paired_difference_is_the_normal_test_of_that_covariance() -> None:
    norm = pytest.importorskip("scipy.stats").norm
    scores, positive = _two_models(3, 200)
    estimates, c = _by_definition(scores, positive)
    difference, error = estimates[0] - estimates[1], math.sqrt(c[0, 0] + c[1, 1] - 2 * c[0, 1])
    estimate, low, high, p = delong(scores, positive).difference(0, 1)
    assert estimate == pytest.approx(difference, abs=1e-12)
    assert (low, high) == pytest.approx(norm.interval(0.95, difference, error), abs=1e-12)
    assert p == pytest.approx(2 * norm.sf(abs(difference) / error), rel=1e-9)


def test_the_same_model_twice_has_no_difference_to_test() -> None:
    scores, positive = _two_models(0, 50)
    estimate, _, _, p = delong(np.stack([scores[0], scores[0]]), positive).difference(0, 1)
    assert estimate == 0
    assert math.isnan(p)


def test_single_images_of_patients_are_images() -> None:
    scores, positive = _two_models(1, 60)
    alone = delong(scores, positive)
    as_patients = delong(scores, positive, np.arange(60)[::-1])
    assert (alone.covariance == as_patients.covariance).all()


def test_copied_images_count_once() -> None:
    """Every patient's image four times over: the variance stays about what it was, where images alone quarter it."""
    scores, positive = _two_models(2, 400)
    once = delong(scores, positive).covariance[0, 0]
    copied = scores.repeat(4, axis=1), positive.repeat(4)
    by_patient = delong(*copied, np.arange(400).repeat(4)).covariance[0, 0]
    assert by_patient == pytest.approx(once, rel=0.02)
    assert delong(*copied).covariance[0, 0] == pytest.approx(once / 4, rel=0.02)


def test_patients_variance_is_that_of_resampled_patients() -> None:
    rng = np.random.default_rng(5)
    who = np.repeat(np.arange(150), 3)
    positive = rng.random(450) < rng.beta(0.4, 0.8, 150)[who]
    scores = (positive + rng.normal(size=150)[who] + rng.normal(size=450))[None]
    found = delong(scores, positive, who)
    redrawn = []
    for _ in range(800):
        images = (3 * rng.integers(0, 150, 150)[:, None] + np.arange(3)).ravel()
        redrawn.append(delong(scores[:, images], positive[images]).estimates[0])
    assert math.sqrt(found.covariance[0, 0]) == pytest.approx(np.std(redrawn), rel=0.1)
    assert np.std(redrawn) > 1.1 * math.sqrt(delong(scores, positive).covariance[0, 0])


def test_one_class_has_no_auroc() -> None:
    found = delong(np.zeros((1, 3)), np.ones(3, np.bool_))
    assert np.isnan(found.estimates).all()
    assert all(math.isnan(end) for end in found.interval(0))


@pytest.mark.parametrize("estimate", [0.0, 1.0])
def test_a_perfect_auroc_still_has_an_interval(estimate: float) -> None:
    few, many = newcombe(estimate, 5, 20), newcombe(estimate, 500, 2000)
    assert estimate in few
    assert estimate in many
    assert 0 < many[1] - many[0] < 0.01
    assert 0.2 < few[1] - few[0] < 0.6


def test_newcombe_solves_its_equation() -> None:
    """|estimate - end| = z times the standard error of Hanley and McNeil at the end, with the mean of both sample sizes."""
    z = 1.959963984540054
    for end in newcombe(0.8, 30, 90):
        spread = 1 + (60 - 1) * ((1 - end) / (2 - end) + end / (1 + end))
        assert abs(0.8 - end) == pytest.approx(z * math.sqrt(end * (1 - end) * spread / (30 * 90)), rel=1e-9)
    assert newcombe(0.3, 30, 90) == pytest.approx(tuple(1 - end for end in reversed(newcombe(0.7, 30, 90))))


def test_patients_with_both_classes_are_not_counted_as_two() -> None:
    """A patient whose images all score high raises the positives and the negatives; leaving patients out says the same."""
    rng = np.random.default_rng(7)
    who = np.repeat(np.arange(200), 4)
    positive = rng.random(800) < 0.5
    scores = (positive + 2 * rng.normal(size=200)[who] + rng.normal(size=800))[None]
    without = np.array([delong(scores[:, who != one], positive[who != one]).estimates[0] for one in range(200)])
    jackknife = 199 / 200 * ((without - without.mean()) ** 2).sum()
    found = delong(scores, positive, who)
    assert found.covariance[0, 0] == pytest.approx(jackknife, rel=0.02)


def test_an_interval_is_students_on_the_logit_scale() -> None:
    stats = pytest.importorskip("scipy.stats")
    scores, positive = _two_models(4, 15)
    one = scores[0]
    pairs = np.sign(one[positive][:, None] - one[~positive][None]) / 2 + 0.5
    m, n = pairs.shape
    a, b = pairs.mean(axis=1).var(ddof=1) / m, pairs.mean(axis=0).var(ddof=1) / n
    freedom = (a + b) ** 2 / (a**2 / (m - 1) + b**2 / (n - 1))
    auroc = pairs.mean()
    half = stats.t.ppf(0.975, round(freedom, 2)) * math.sqrt(a + b) / (auroc * (1 - auroc))
    logit = math.log(auroc / (1 - auroc))
    expected = tuple(1 / (1 + math.exp(-end)) for end in (logit - half, logit + half))
    assert delong(scores, positive).interval(0) == pytest.approx(expected, abs=1e-9)
