"""Principal components against scikit-learn's; what has none; t-SNE."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from cxrdata.errors import CxrError
from cxrdata.explore.projection import embedded_plane, principal_components


def _table(case: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    spread = np.linspace(3.0, 0.1, 12)
    return {
        "more images than features": lambda: rng.normal(size=(300, 12)) * spread + 5,
        "more features than images": lambda: rng.normal(size=(9, 12)) * spread,
        "as many of both": lambda: rng.normal(size=(12, 12)) * spread,
        "every image twice": lambda: np.repeat(rng.normal(size=(40, 12)) * spread, 2, axis=0),
        "few distinct images": lambda: np.repeat(rng.normal(size=(4, 12)), 20, axis=0),
        "features that repeat each other": lambda: np.tile(rng.normal(size=(80, 4)), 3) + 100.0,
        "one feature that varies": lambda: np.eye(12)[[0] * 30] * rng.normal(size=(30, 1)),
    }[case]()


@pytest.mark.parametrize(
    "case",
    [
        "more images than features",
        "more features than images",
        "as many of both",
        "every image twice",
        "few distinct images",
        "features that repeat each other",
        "one feature that varies",
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_components_are_those_of_scikit_learn(case: str, share: float) -> None:
    table = _table(case)
    reference = PCA(n_components=share, svd_solver="full").fit(table)
    found = principal_components(table, share=share)
    assert len(found.modes) == reference.n_components_
    np.testing.assert_allclose(found.explained, reference.explained_variance_ratio_, atol=1e-12)
    # A component is known but for its sign: ours has its largest entry positive.
    signs = np.sign((found.modes * reference.components_).sum(axis=1))
    np.testing.assert_allclose(found.modes, reference.components_ * signs[:, None], atol=1e-8)
    np.testing.assert_allclose(found.scores(table), reference.transform(table) * signs, atol=1e-8)
    assert (found.modes.max(axis=1) == np.abs(found.modes).max(axis=1)).all()
    np.testing.assert_allclose(found.modes @ found.modes.T, np.eye(len(found.modes)), atol=1e-10)


def test_a_share_that_is_reached_exactly_asks_for_no_further_component() -> None:
    # Variances of 7 : 2 : 1, whose first two shares add up to a little less than 0.9 in floating point.
    axes = np.eye(3)[[0] * 7 + [1] * 2 + [2]]
    table = np.concatenate([axes, -axes])
    assert 0.7 + 0.2 < 0.9
    assert len(principal_components(table, share=0.9).explained) == 2
    assert len(principal_components(table, share=0.9001).explained) == 3
    assert len(principal_components(table, share=0.7).explained) == 1


def test_all_of_the_variance_is_in_as_many_components_as_there_are() -> None:
    assert len(principal_components(_table("few distinct images"), share=1.0).explained) == 3
    assert len(principal_components(_table("features that repeat each other"), share=1.0).explained) == 4


@pytest.mark.parametrize("table", [np.ones((5, 3)), np.ones((1, 3)), np.zeros((0, 3))])
def test_features_that_do_not_vary_have_none(table: np.ndarray) -> None:
    with pytest.raises(CxrError) as error:
        principal_components(table)
    assert str(error.value) == (
        "error CXR-410: the features do not vary, so they have no principal components\n"
        "  fix: give features of several images"
    )


def test_the_plane_is_that_of_scikit_learn_and_the_same_twice() -> None:
    table = _table("every image twice")[:50]
    scores = principal_components(table).scores(table)
    found = embedded_plane(scores, seed=5, perplexity=8)
    with threadpool_limits(1):  # several threads wait for each other longer than they work
        reference = TSNE(2, perplexity=8, init="pca", random_state=5).fit_transform(scores)
    np.testing.assert_allclose(found, reference, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found, embedded_plane(scores, seed=5, perplexity=8))
    assert not np.allclose(found, embedded_plane(scores, seed=5, perplexity=6))


def test_one_component_has_a_plane_too() -> None:
    assert embedded_plane(np.arange(20.0)[:, None], perplexity=3).shape == (20, 2)


def test_too_few_images_for_the_perplexity() -> None:
    with pytest.raises(CxrError) as error:
        embedded_plane(np.random.default_rng(0).normal(size=(90, 3)))
    assert str(error.value) == (
        "error CXR-410: t-SNE with perplexity 30 needs more than 90 images, not 90\n"
        "  fix: choose a smaller --perplexity, more images, or leave it out with --no-tsne"
    )
