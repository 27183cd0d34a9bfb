"""The noise by gradients through the frozen backbone: Adam on ε alone, the epoch kept that validation images like best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrdata.errors import CxrError
from cxrtrain.dne.backbone import Backbone, Images
from cxrtrain.dne.config import NoiseConfig
from cxrtrain.dne.noise import edited, within
from cxrtrain.dne.objectives import OF, penalised
from cxrtrain.probe.heads import LinearHead
from cxrtrain.sampling import epoch_order

_AT_ONCE = 256


@dataclass(frozen=True)
class Epoch:
    """objective: of training images, on the way, and of validation images at its end, both without the penalty. norm: ‖ε‖₂;
    largest: of a pixel."""

    epoch: int
    objective: float
    valid_objective: float
    norm: float
    largest: float


@dataclass(frozen=True)
class FittedNoise:
    """values: (side, side), of the epoch (from 1; 0 is none at all) whose validation objective was lowest."""

    values: NDArray[np.float32]
    epoch: int
    valid_objective: float
    trace: tuple[Epoch, ...]


@dataclass(frozen=True)
class Problem:
    """What a noise is fitted on. attribute: (rows of the bundle,), the class; train, valid: rows."""

    images: Images
    probe: LinearHead
    attribute: NDArray[np.int64]
    train: NDArray[np.int64]
    valid: NDArray[np.int64]

    def judged(
        self, embed: Callable[[Tensor], Tensor], noise: Tensor, objective: str, rows: NDArray[np.int64]
    ) -> float:
        """The objective over images with the noise, without the penalty."""
        orders = [rows[at : at + _AT_ONCE] for at in range(0, len(rows), _AT_ONCE)]
        with torch.no_grad():
            logits = [self.probe.logits(embed(edited(images, noise)).cpu()) for images in self.images.batches(orders)]
        return float(OF[objective](torch.cat(logits), torch.from_numpy(self.attribute[rows])))


def fit_white(
    backbone: Backbone,
    problem: Problem,
    wish: NoiseConfig,
    objective: str,
    *,
    penalty: float,
    seed: int,
    tell: Callable[[str], None] = lambda _: None,
) -> FittedNoise:
    """Minimise λ₁ · objective + λ_reg · ‖ε‖₂ over ε, which begins at 0 and stays within the ℓ∞ budget.

    Raises CxrError CXR-153 where the loss is no longer finite.
    """
    device = problem.images.device
    probe = LinearHead(problem.probe.weight.to(device), problem.probe.bias.to(device))
    noise = torch.zeros((problem.images.side, problem.images.side), device=device, requires_grad=True)
    optimiser = torch.optim.Adam([noise], lr=wish.lr)
    best, at, lowest = (
        noise.detach().clone(),
        0,
        problem.judged(backbone.embed, noise.detach(), objective, problem.valid),
    )
    trace = [Epoch(0, float("nan"), lowest, 0.0, 0.0)]
    for epoch in range(wish.epochs):
        order = epoch_order(problem.train, None, seed=seed, epoch=epoch)
        batches = [order[start : start + wish.batch] for start in range(0, len(order), wish.batch)]
        total = torch.zeros((), device=device)
        for images, rows in zip(problem.images.batches(batches), batches, strict=True):
            logits = probe.logits(backbone.features(edited(images, noise)))
            found = OF[objective](logits, torch.from_numpy(problem.attribute[rows]).to(device))
            optimiser.zero_grad()
            penalised(found, noise, weight=wish.weight, penalty=penalty).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            with torch.no_grad():
                noise.copy_(within(noise, wish.limit))
            total += found.detach() * len(rows)
        now = noise.detach().clone()
        if not torch.isfinite(now).all():
            raise CxrError("CXR-153", f"the noise is no longer finite in epoch {epoch + 1}", fix="a smaller noise.lr")
        judged = problem.judged(backbone.embed, now, objective, problem.valid)
        trace.append(Epoch(epoch + 1, float(total) / len(order), judged, float(now.norm()), float(now.abs().max())))
        tell(f"epoch {epoch + 1} of {wish.epochs}: {objective} {judged:.4f} on validation images")
        if judged < lowest:
            best, at, lowest = now, epoch + 1, judged
    return FittedNoise(best.cpu().numpy(), at, lowest, tuple(trace))
