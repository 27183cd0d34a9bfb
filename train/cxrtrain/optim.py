"""Optimisers, the learning rate's course, and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from cxrtrain.config import OptimConfig


def optimiser(config: OptimConfig, parameters: Iterable[nn.Parameter], device: torch.device) -> Optimizer:
    """The optimiser over those parameters that are to be learned."""
    learned = [parameter for parameter in parameters if parameter.requires_grad]
    fused = device.type == "cuda"
    if config.name == "sgd":
        return torch.optim.SGD(
            learned, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=fused
        )
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(learned, lr=config.lr, weight_decay=config.weight_decay, fused=fused)


class Schedule:
    """The learning rate of each step. `plateau`: times `factor` when the watched loss has not improved for more than
    `patience` epochs. `cosine`: down to min_lr over all steps, after a linear rise over the warm-up."""

    def __init__(self, config: OptimConfig, *, steps_per_epoch: int, epochs: int, most: int | None = None) -> None:
        """most: steps, after which training ends though epochs are left."""
        self.config = config
        self._warmup = max(1, round(config.warmup_epochs * steps_per_epoch)) if config.warmup_epochs > 0 else 0
        self._steps = max(1, min(steps_per_epoch * epochs, most or steps_per_epoch * epochs))
        self.best = math.inf
        self.waited = 0
        self.scale = 1.0

    def rate(self, step: int) -> float:
        """Of the step of that number, from 0."""
        config = self.config
        if step < self._warmup:
            return config.lr * (step + 1) / self._warmup
        if config.schedule == "cosine":
            share = (step - self._warmup) / max(1, self._steps - self._warmup)
            return config.min_lr + (config.lr - config.min_lr) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
        return max(config.lr * self.scale, config.min_lr)

    def after_epoch(self, loss: float) -> None:
        """Tell it the watched loss of an epoch."""
        if loss < self.best:
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
            if self.config.schedule == "plateau" and self.waited > self.config.patience:
                self.scale, self.waited = self.scale * self.config.factor, 0

    def state(self) -> dict[str, Any]:
        """Plain data; infinity as null, which JSON has not."""
        return {"best": None if math.isinf(self.best) else self.best, "waited": self.waited, "scale": self.scale}

    def restore(self, state: dict[str, Any]) -> None:
        self.best = math.inf if state["best"] is None else state["best"]
        self.waited, self.scale = state["waited"], state["scale"]


class Average:
    """A running mean of a model's tensors: exponential with a decay (EMA), or of all that were added (SWA)."""

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self.decay = decay
        self.n = 0
        self.tensors = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        """EMA starts from the first weights that are added, so that it is no mean with the initial ones."""
        self.n += 1
        keep = 1 - 1 / self.n if self.decay is None else (0.0 if self.n == 1 else self.decay)
        for name, value in model.state_dict().items():
            mine = self.tensors[name]
            if mine.is_floating_point():
                mine.mul_(keep).add_(value.detach(), alpha=1 - keep)
            else:
                mine.copy_(value)

    def restore(self, tensors: dict[str, Tensor], n: int) -> None:
        self.n = n
        for name, value in tensors.items():
            self.tensors[name].copy_(value)


@torch.no_grad()
def swapped_in(model: nn.Module, average: Average) -> dict[str, Tensor]:
    """Give a model the averaged tensors; returns its own, to be loaded again."""
    own = {name: value.detach().clone() for name, value in model.state_dict().items()}
    model.load_state_dict(average.tensors)
    return own


@torch.no_grad()
def renew_statistics(model: nn.Module, images: Callable[[], Iterable[Tensor]]) -> None:
    """Take batch normalisation's running statistics anew, as means over all batches of `images`: they are of no average of
    weights. Frozen layers, which stay in eval, keep theirs."""
    model.train()
    layers = [
        one for one in model.modules() if isinstance(one, _BatchNorm) and one.training and one.track_running_stats
    ]
    if not layers:
        return
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    for batch in images():
        model(batch)
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum
