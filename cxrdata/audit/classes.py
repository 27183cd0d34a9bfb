"""Several classes, one of which holds of each image (race, sex): one-vs-rest, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cxrdata.audit.data import Scored
from cxrdata.audit.ordered import Floats
from cxrdata.errors import CxrError

CONFUSION_SCHEMA: dict[str, pl.DataType] = {
    "truth": pl.String(),
    "predicted": pl.String(),
    "n": pl.Int64(),
    "weight": pl.Float64(),
    "share_of_truth": pl.Float64(),
}


def one_vs_rest(template: Scored, classes: Sequence[str], scores: Floats, truth: NDArray[np.integer]) -> list[Scored]:
    """An input of the engine for each class: is the image of this class, or of another?

    template: everything but scores and truth; its label is put before the class, `race: Black`. scores: (images, classes).
    truth: (images,) index into classes. Raises CxrError CXR-502 where shapes or codes do not fit.
    """
    _check(classes, scores, truth)
    return [
        replace(
            template,
            label=f"{template.label}: {name}",
            scores=np.ascontiguousarray(scores[:, at], dtype=np.float64),
            positive=truth == at,
        )
        for at, name in enumerate(classes)
    ]


def confusion_matrix(
    classes: Sequence[str],
    scores: Floats,
    truth: NDArray[np.integer],
    weights: Floats | None = None,
) -> pl.DataFrame:
    """`CONFUSION_SCHEMA`, a row for each true and each predicted class; predicted is the class with the highest score, the
    first of equals. share_of_truth: normalised by truth, so that each true class sums to 1; null where it has no image.
    """
    _check(classes, scores, truth)
    k = len(classes)
    cells = truth.astype(np.intp) * k + scores.argmax(axis=1)
    weight = np.bincount(cells, weights, k * k).astype(np.float64).reshape(k, k)
    of_truth = weight.sum(axis=1, keepdims=True)
    shares = np.divide(weight, of_truth, out=np.full((k, k), np.nan), where=of_truth > 0)
    return pl.DataFrame(
        {
            "truth": np.repeat(classes, k).tolist(),
            "predicted": list(classes) * k,
            "n": np.bincount(cells, minlength=k * k),
            "weight": weight.ravel(),
            "share_of_truth": pl.Series(shares.ravel()).fill_nan(None),
        },
        schema=CONFUSION_SCHEMA,
    )


def _check(classes: Sequence[str], scores: Floats, truth: NDArray[np.integer]) -> None:
    if scores.shape != (len(truth), len(classes)):
        raise CxrError("CXR-502", f"{len(classes)} classes and {len(truth)} images, but scores of shape {scores.shape}")
    if len(truth) and not (truth.min() >= 0 and truth.max() < len(classes)):
        raise CxrError("CXR-502", "a true class is none of the classes", fix="leave images of unknown class out")
