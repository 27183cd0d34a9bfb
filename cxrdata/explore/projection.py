"""Principal components and t-SNE, the same on every run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrdata.errors import CxrError
from cxrdata.explore.extra import T_SNE, require_stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BLOCK = 8192  # images that are centred at once: a second copy of all features need not fit into memory
# Shares of the largest variance under which a component is rounding. The variances are known as such, or as squares of
# singular values, which is why the digits of a double do not reach further.
_NOTHING = 1e-14
# Rounding must not ask for one more component where the sum reaches the share exactly.
_SLACK = 1e-12
_NEIGHBOURHOODS = 3  # images a perplexity needs, as in scikit-learn's search for neighbours


@dataclass(frozen=True)
class Components:
    """Principal components. modes: (components, features), orthonormal, by falling variance; the sign of each is such that its
    largest entry is positive. explained: each one's share of the whole variance."""

    mean: Floats
    modes: Floats
    explained: Floats

    def scores(self, features: Floats) -> Floats:
        """Shape (images, components)."""
        found: Floats = (features - self.mean) @ self.modes.T
        return found


def principal_components(features: Floats, *, share: float = 0.99) -> Components:
    """As few components as hold `share` of the variance. Raises CxrError CXR-410 for fewer than two images or none that
    differ."""
    if len(features) < 2 or not np.ptp(features, axis=0).any():
        raise CxrError(
            "CXR-410",
            "the features do not vary, so they have no principal components",
            fix="give features of several images",
        )
    mean = features.mean(axis=0)
    variances, modes = (_of_covariance if len(features) > features.shape[1] else _of_images)(features, mean)
    explained = variances / variances.sum()
    enough = int(np.searchsorted(np.cumsum(explained), share - _SLACK)) + 1
    n = min(enough, int((variances > variances[0] * _NOTHING).sum()))
    modes = modes[:n]
    signs = np.sign(modes[np.arange(n), np.abs(modes).argmax(axis=1)])
    return Components(mean, modes * signs[:, None], explained[:n])


def _of_covariance(features: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """Of more images than features: tens of times faster than their singular values, and without a matrix of their size."""
    scatter = np.zeros((features.shape[1], features.shape[1]))
    for start in range(0, len(features), _BLOCK):
        centred = features[start : start + _BLOCK] - mean
        scatter += centred.T @ centred
    values, vectors = np.linalg.eigh(scatter)
    return np.clip(values[::-1], 0.0, None), vectors.T[::-1]


def _of_images(features: Floats, mean: Floats) -> tuple[Floats, Floats]:
    _, values, modes = np.linalg.svd(features - mean, full_matrices=False)
    return values**2, modes


def embedded_plane(scores: Floats, *, seed: int = 0, perplexity: float = 30.0) -> Floats:
    """t-SNE (van der Maaten & Hinton 2008) of principal components, shape (images, 2), as scikit-learn computes it.

    The same on one machine with one version of scikit-learn. The last digit of a score decides where points go, so
    elsewhere it is another, equally good plane.
    Raises CxrError: CXR-410 fewer images than the perplexity allows, CXR-604 without scikit-learn.
    """
    require_stats(T_SNE)
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(scores) <= _NEIGHBOURHOODS * perplexity:
        raise CxrError(
            "CXR-410",
            f"t-SNE with perplexity {perplexity:g} needs more than {_NEIGHBOURHOODS * perplexity:g} images, not {len(scores):,}",
            fix="choose a smaller --perplexity, more images, or leave it out with --no-tsne",
        )
    # A start at the components needs two of them.
    start = "pca" if scores.shape[1] > 1 else "random"
    # One thread: sums in one order however many cores there are, and many times faster than several on a busy machine.
    with threadpool_limits(1):
        found: Floats = TSNE(2, perplexity=perplexity, init=start, random_state=seed).fit_transform(scores)
    return found.astype(np.float64)
