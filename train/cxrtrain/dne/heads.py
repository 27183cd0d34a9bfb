"""Linear heads on embeddings that stay as they are, by the published recipes: the attribute's probe, and fine-tuning."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cxrtrain.dne.config import FinetuneConfig, ProbeConfig
from cxrtrain.probe.heads import LinearHead
from cxrtrain.sampling import epoch_order

_AT_ONCE = 4096


@dataclass(frozen=True)
class Fitted:
    """A head, the epoch (from 1) whose validation loss was lowest, that loss, and the losses of all epochs."""

    head: LinearHead
    epoch: int
    valid_loss: float
    losses: tuple[float, ...]


def fit_probe(train: Labelled, valid: Labelled, wish: ProbeConfig, *, classes: int, seed: int) -> Fitted:
    """Adam, no weight decay."""
    return _fit(
        train,
        valid,
        lambda ours: torch.optim.Adam(ours, lr=wish.lr),
        wish.epochs,
        wish.batch,
        classes=classes,
        seed=seed,
    )


def fit_disease(train: Labelled, valid: Labelled, wish: FinetuneConfig, *, seed: int) -> Fitted:
    """AdamW, its rate proportional to the batch."""
    lr = wish.base_lr * wish.batch / 256

    def optimiser(ours: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(ours, lr=lr, weight_decay=wish.weight_decay)

    return _fit(train, valid, optimiser, wish.epochs, wish.batch, classes=2, seed=seed)


@dataclass(frozen=True)
class Labelled:
    """features: (n, width); truth: (n,), the class."""

    features: Tensor
    truth: NDArray[np.int64]


def _fit(
    train: Labelled,
    valid: Labelled,
    optimiser_of: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    epochs: int,
    batch: int,
    *,
    classes: int,
    seed: int,
) -> Fitted:
    """The head of the epoch of the lowest validation loss. All random numbers follow from the seed."""
    drawer = torch.Generator().manual_seed(seed)
    head = nn.Linear(train.features.shape[1], classes)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=drawer) * 0.01)
        head.bias.zero_()
    optimiser = optimiser_of(list(head.parameters()))
    truth, rows = torch.from_numpy(train.truth), np.arange(len(train.truth))
    losses: list[float] = []
    best = LinearHead.of(head)
    for epoch in range(epochs):
        order = torch.from_numpy(epoch_order(rows, None, seed=seed, epoch=epoch, n=None))
        for chosen in torch.split(order, batch):
            loss = cross_entropy(head(train.features[chosen]), truth[chosen])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        now = LinearHead.of(head)
        losses.append(loss_of(now, valid))
        if losses[-1] <= min(losses):
            best = LinearHead(now.weight.clone(), now.bias.clone())
    return Fitted(best, int(np.argmin(losses)) + 1, min(losses), tuple(losses))


@torch.no_grad()
def loss_of(head: LinearHead, data: Labelled) -> float:
    """Mean cross-entropy."""
    return float(cross_entropy(head.logits(data.features), torch.from_numpy(data.truth)))


def write_head(fitted: Fitted, folder: Path, name: str) -> None:
    """NAME.safetensors: weight and bias; its header says when it was best."""
    from safetensors.torch import save_file

    header = {"about": json.dumps({"epoch": fitted.epoch, "valid_losses": fitted.losses})}
    tensors = {"weight": fitted.head.weight.contiguous(), "bias": fitted.head.bias.contiguous()}
    save_file(tensors, folder / f"{name}.safetensors", metadata=header)


def read_head(folder: Path, name: str) -> LinearHead:
    from safetensors.torch import load_file

    tensors = load_file(folder / f"{name}.safetensors")
    return LinearHead(tensors["weight"], tensors["bias"])
