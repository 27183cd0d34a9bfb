"""Principal components and t-SNE, the same on every run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrdata.errors import CxrError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


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
    _, values, modes = np.linalg.svd(features - mean, full_matrices=False)
    explained = values**2 / (values**2).sum()
    # Rounding must not ask for one more where the sum reaches the share exactly.
    n = min(int(np.searchsorted(np.cumsum(explained), share - 1e-12)) + 1, int((values > values[0] * 1e-12).sum()))
    modes = modes[:n]
    signs = np.sign(modes[np.arange(n), np.abs(modes).argmax(axis=1)])
    return Components(mean, modes * signs[:, None], explained[:n])


def embedded_plane(scores: Floats, *, seed: int = 0, perplexity: float = 30.0) -> Floats:
    """t-SNE (van der Maaten & Hinton 2008) of principal components, shape (images, 2), as scikit-learn computes it.

    Raises CxrError: CXR-410 fewer images than the perplexity allows, CXR-604 without scikit-learn.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise CxrError("CXR-604", "scikit-learn is not installed", fix="pip install 'cxrdata[stats]'") from error
    if len(scores) <= 3 * perplexity:
        raise CxrError(
            "CXR-410",
            f"t-SNE with perplexity {perplexity:g} needs more than {3 * perplexity:g} images, not {len(scores)}",
            fix="choose a smaller --perplexity, or more images",
        )
    found: Floats = (
        TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(scores).astype(np.float64)
    )
    return found
