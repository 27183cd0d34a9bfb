"""Replicates that depend on seed, number and patients alone, and the intervals that come of them."""

from __future__ import annotations

import numpy as np
import pytest

from cxrdata.audit.bootstrap import (
    DRAW,
    bca,
    halves,
    left_out,
    percentile,
    replicates,
    shuffled,
)

ALL = np.zeros(40, np.intp)


def test_whole_patients_are_drawn_with_replacement() -> None:
    counts = replicates(ALL, 0, range(500))
    assert (counts.sum(axis=1) == 40).all()
    # A patient is left out with probability (1 - 1/40)^40, and drawn once a replicate on average.
    assert (counts == 0).mean() == pytest.approx((39 / 40) ** 40, abs=0.01)
    assert counts.mean(axis=0) == pytest.approx(np.ones(40), abs=0.25)


def test_a_replicate_depends_on_its_number_and_the_seed_alone() -> None:
    counts = replicates(ALL, 0, range(5))
    assert (replicates(ALL, 0, [3]) == counts[3]).all()
    assert (replicates(ALL, 1, [3]) != counts[3]).any()
    assert len(np.unique(counts, axis=0)) == 5


def test_the_stream_is_the_documented_one() -> None:
    """Anyone can repeat it: raw PCG64, its halves in turn, floor(h · k / 2^32)."""
    raw = np.random.PCG64(np.random.SeedSequence((7, 1, 2))).random_raw(20)
    expected = [int(half) * 40 >> 32 for number in raw for half in (int(number) >> 32, int(number) & (2**32 - 1))]
    assert (np.bincount(expected, minlength=40) == replicates(ALL, 7, [2])[0]).all()
    assert [int(one) for one in halves(0, DRAW, 0, 3)] == [3821399010, 2242647589, 2392889704]


def test_strata_keep_their_numbers_of_patients() -> None:
    strata = np.arange(40) % 3
    counts = replicates(strata, 0, range(20))
    for stratum in range(3):
        assert (counts[:, strata == stratum].sum(axis=1) == (strata == stratum).sum()).all()
    assert (counts > 1).any()


@pytest.mark.parametrize(("patients", "blocks"), [(1, 1), (30, 30), (1201, 500)])
def test_the_jackknife_leaves_everybody_out_once(patients: int, blocks: int) -> None:
    counts = left_out(patients, 0)
    assert counts.shape == (blocks, patients)
    assert (counts.sum(axis=0) == blocks - 1).all()
    assert set(np.unique((counts == 0).sum(axis=1))) <= {patients // blocks, -(-patients // blocks)}


def test_shuffling_keeps_everybody() -> None:
    assert sorted(shuffled(0, DRAW, 0, 50).tolist()) == list(range(50))
    assert shuffled(0, DRAW, 0, 50).tolist() != shuffled(0, DRAW, 1, 50).tolist()


def test_percentiles_are_those_of_numpy_without_the_undefined() -> None:
    values = np.random.default_rng(0).normal(size=(200, 3))
    values[:50, 1] = np.nan
    values[:, 2] = np.nan
    low, high = percentile(values, 0.9)
    assert (low[:2], high[:2]) == (
        pytest.approx(np.nanquantile(values[:, :2], 0.05, axis=0)),
        pytest.approx(np.nanquantile(values[:, :2], 0.95, axis=0)),
    )
    assert np.isnan([low[2], high[2]]).all()


@pytest.mark.parametrize("few_values", [False, True])
def test_bca_is_that_of_scipy(few_values: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """On the same resamples of a skewed sample's mean; of few values, many replicates equal the estimate."""
    stats = pytest.importorskip("scipy.stats")
    sample = np.random.default_rng(1).exponential(size=60)
    if few_values:
        sample = np.round(sample / 2)
    theirs = stats.bootstrap((sample,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(2))
    jackknife = np.array([np.delete(sample, at).mean() for at in range(60)])
    low, high = bca(theirs.bootstrap_distribution[:, None], np.array([sample.mean()]), jackknife[:, None])
    assert (low[0], high[0]) == pytest.approx(tuple(theirs.confidence_interval), abs=1e-12)


def test_bca_without_replicates_on_both_sides_has_no_interval() -> None:
    low, high = bca(np.full((100, 1), 2.0), np.array([1.0]), np.zeros((10, 1)))
    assert np.isnan([low[0], high[0]]).all()
