"""Losses and a few metrics on a part of a bundle, for choosing an epoch; `cxrdata audit` is where models are judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cxrtrain.bundle import Bundle, HeadTargets
from cxrtrain.objectives import entry_losses, probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Judged:
    """losses: mean loss by head; metrics: `auroc` (mean over outputs that have both classes), `accuracy`, `mae` by head."""

    losses: dict[str, float]
    metrics: dict[str, float]


def judge(bundle: Bundle, rows: NDArray[np.int64], outputs: dict[str, Tensor]) -> Judged:
    """outputs: by head, shape (rows, width), on the CPU, in the order of `rows`."""
    losses: dict[str, float] = {}
    metrics: dict[str, float] = {}
    for head in bundle.heads:
        said = outputs[head.name]
        targets = torch.from_numpy(bundle.targets(head)[rows])
        each, known = entry_losses(head, said, targets)
        losses[head.name] = float(each.double().sum() / known.sum().clamp(min=1))
        metrics |= {f"{head.name}_{name}": value for name, value in _metrics(head, said, targets).items()}
    return Judged(losses, metrics)


def _metrics(head: HeadTargets, outputs: Tensor, targets: Tensor) -> dict[str, float]:
    said = probabilities(head, outputs).double().numpy()
    true = targets.double().numpy()
    if head.kind == "regression":
        known = ~np.isnan(true)
        return {"mae": float(np.abs(said - true)[known].mean())} if known.any() else {}
    if head.kind == "classes":
        known = ~np.isnan(true[:, 0])
        if not known.any():
            return {}
        answer = said[known].argmax(axis=1)
        true = np.where(np.isnan(true), np.nan, true == np.arange(len(head.outputs)))
        found = {"accuracy": float((answer == targets.numpy()[known, 0]).mean())}
    else:
        found = {}
    areas = [area for at in range(said.shape[1]) if (area := auroc(said[:, at], true[:, at])) is not None]
    return found | ({"auroc": float(np.mean(areas))} if areas else {})


def auroc(scores: NDArray[np.float64], true: NDArray[np.float64]) -> float | None:
    """Area under the ROC curve by the ranks' sum, ties halved; NaN in `true` left out; None where a class is empty."""
    known = ~np.isnan(true)
    scores, positive = scores[known], true[known] > 0.5
    n, n_positive = len(scores), int(positive.sum())
    if n_positive in (0, n):
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * (n - n_positive)))
