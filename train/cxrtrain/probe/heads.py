"""A linear head on features that stay as they are: what a model with a frozen backbone would learn, without running it anew.

Optimiser: Adam (lr 3e-3, no weight decay), batches of 256 in an order drawn anew each epoch from the seed, on features that
are standardised by their training mean and SD, which are then folded into the weights. An epoch is one pass over the
training images, or as many as 20 steps take: of a few hundred images a pass would hardly move the weights. The epoch of the
lowest validation loss is kept; it ends after 10 epochs without a lower one, or after 100.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

LR = 3e-3
BATCH = 256
EPOCHS = 100
PATIENCE = 10
STEPS = 20  # of an epoch, at least
_LEAST_SD = 1e-6

Features = Callable[[NDArray[np.int64]], Tensor]


@dataclass(frozen=True)
class LinearHead:
    """weight (classes, width) and bias (classes,), of features as they are."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, head: nn.Module) -> LinearHead:
        """A net's head."""
        assert isinstance(head, nn.Linear)
        return cls(head.weight.detach().float().cpu(), head.bias.detach().float().cpu())

    def logits(self, features: Tensor) -> Tensor:
        return features @ self.weight.T + self.bias


def fit_head(
    features: Features,
    target: NDArray[np.int64],
    train: NDArray[np.int64],
    valid: NDArray[np.int64],
    *,
    classes: int,
    seed: int = 0,
    epochs: int = EPOCHS,
) -> LinearHead:
    """features: of rows, shape (rows, width): an array that is indexed, or a frozen net that is run. target: (all rows,),
    the class; train, valid: rows whose class is known."""
    mean, sd = _mean_and_sd(features, train)
    drawer = torch.Generator().manual_seed(seed)
    head = nn.Linear(len(mean), classes)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=drawer) * 0.01)
        head.bias.zero_()
    optimiser = torch.optim.Adam(head.parameters(), lr=LR)
    truth = torch.from_numpy(target)
    passes = max(1, math.ceil(STEPS * BATCH / len(train)))
    best, kept, since = float("inf"), _copied(head), 0
    for epoch in range(epochs):
        order = np.concatenate([np.random.default_rng((seed, epoch, one)).permutation(train) for one in range(passes)])
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            loss = cross_entropy(head((features(rows) - mean) / sd), truth[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        now = _loss(head, features, truth, valid, mean, sd)
        if now < best:
            best, kept, since = now, _copied(head), 0
        else:
            since += 1
            if since >= PATIENCE:
                break
    weight = kept[0] / sd
    return LinearHead(weight, kept[1] - weight @ mean)


def _copied(head: nn.Linear) -> tuple[Tensor, Tensor]:
    return head.weight.detach().clone(), head.bias.detach().clone()


def _mean_and_sd(features: Features, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """By unit, over some rows, in batches."""
    total = squares = torch.zeros(1, dtype=torch.float64)
    for start in range(0, len(rows), BATCH):
        some = features(rows[start : start + BATCH]).double()
        total, squares = total + some.sum(0), squares + (some**2).sum(0)
    mean = total / len(rows)
    sd = (squares / len(rows) - mean**2).clamp(min=0).sqrt()
    # A unit that never moves says nothing: it is left at 0 rather than divided by nearly nothing.
    return mean.float(), torch.where(sd > _LEAST_SD, sd, torch.inf).float()


@torch.no_grad()
def _loss(
    head: nn.Linear, features: Features, truth: Tensor, rows: NDArray[np.int64], mean: Tensor, sd: Tensor
) -> float:
    total = 0.0
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        total += float(cross_entropy(head((features(some) - mean) / sd), truth[some], reduction="sum"))
    return total / len(rows)
