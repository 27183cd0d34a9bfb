"""What is minimised: losses by head that leave out what is not known, and how groups count in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as fn
from torch import Tensor

from cxrtrain.bundle import HeadTargets
from cxrtrain.config import ObjectiveConfig
from cxrtrain.distributed import summed


@dataclass(frozen=True)
class Mixed:
    """MixUp of a batch: each image is `share` itself and the rest its partner."""

    partner: Tensor
    share: float


@dataclass(frozen=True)
class Batch:
    """What the losses need of a batch: targets by head, shape (n, columns) with NaN where not known; number of the group,
    -1 unknown; weight of the image."""

    targets: Mapping[str, Tensor]
    group: Tensor
    weight: Tensor
    mixed: Mixed | None = None


def entry_losses(head: HeadTargets, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of each target and whether it is known, both of the targets' shape; 0 where not known.

    outputs: (n, width) logits, or scaled numbers for regression.
    """
    known = ~torch.isnan(targets)
    said = torch.where(known, targets, torch.zeros_like(targets))
    outputs = outputs.float()
    if head.kind == "regression":
        scaled = (said - head.mean) / head.sd
        loss = (fn.l1_loss if head.loss == "l1" else fn.mse_loss)(outputs, scaled, reduction="none")
    elif head.loss == "ce":
        loss = fn.cross_entropy(outputs, said[:, 0].long(), reduction="none").unsqueeze(1)
    else:
        loss = fn.binary_cross_entropy_with_logits(outputs, said, reduction="none")
    return loss * known, known


def probabilities(head: HeadTargets, outputs: Tensor) -> Tensor:
    """What a head says, shape (n, outputs): probabilities, or the number in its own unit."""
    outputs = outputs.float()
    if head.kind == "regression":
        return outputs * head.sd + head.mean
    if head.loss == "ce":
        shares = torch.softmax(outputs, dim=1)
        return shares[:, 1:] if head.kind == "binary" else shares
    return torch.sigmoid(outputs)


def logits(head: HeadTargets, outputs: Tensor) -> Tensor:
    """What a head says before the sigmoid or softmax, shape (n, outputs); for one finding under a softmax the difference."""
    outputs = outputs.float()
    if head.kind == "binary" and head.loss == "ce":
        return outputs[:, 1:] - outputs[:, :1]
    return outputs


class Objective:
    """ERM, reweighting or GroupDRO over the groups of a bundle; the same in one process and in several.

    `state`: GroupDRO's weights of the groups, to be kept with the model.
    """

    def __init__(self, config: ObjectiveConfig, counts: Sequence[int], device: torch.device) -> None:
        """counts: training images by group."""
        self.config = config
        n = max(len(counts), 1)
        self.state = torch.full((n,), 1.0 / n, dtype=torch.float64, device=device)
        sizes = torch.tensor(list(counts) or [1], dtype=torch.float64, device=device)
        self._share = torch.where(sizes > 0, sizes.sum() / (sizes.clamp(min=1) * (sizes > 0).sum()), 0.0).float()

    def loss(self, head: HeadTargets, outputs: Tensor, batch: Batch) -> Tensor:
        """The loss of one head over the whole batch, of which this process has a share.

        Its gradient, averaged over the processes, is that of the whole batch's loss in one process.
        """
        losses, known = entry_losses(head, outputs, batch.targets[head.name])
        if batch.mixed is None:
            return self._over(losses, known, batch.group, batch.weight)
        share, partner = batch.mixed.share, batch.mixed.partner
        others, also = entry_losses(head, outputs, batch.targets[head.name][partner])
        mine = self._over(losses, known, batch.group, batch.weight)
        return share * mine + (1 - share) * self._over(others, also, batch.group[partner], batch.weight[partner])

    def _over(self, losses: Tensor, known: Tensor, group: Tensor, weight: Tensor) -> Tensor:
        if self.config.name == "group_dro":
            return self._group_dro(losses, known, group, weight)
        if self.config.name == "reweight":
            weight = weight * torch.where(group >= 0, self._share[group.clamp(min=0)], 0.0)
        weights = weight.unsqueeze(1) * known
        total, world = summed(weights.sum())
        return (losses * weights).sum() * world / total.clamp(min=1e-12)

    def _group_dro(self, losses: Tensor, known: Tensor, group: Tensor, weight: Tensor) -> Tensor:
        """Sagawa et al. 2020, algorithm 1: groups that do badly gain weight, then the weighted sum of the groups' means."""
        n = len(self.state)
        weights = weight.unsqueeze(1) * known * (group >= 0).unsqueeze(1)
        to = group.clamp(min=0)
        sums = torch.zeros(n, device=losses.device).index_add(0, to, (losses * weights).sum(1))
        counts = torch.zeros(n, device=losses.device).index_add(0, to, weights.sum(1))
        both, world = summed(torch.stack([sums.detach(), counts]))
        means = both[0] / both[1].clamp(min=1e-12)
        if torch.is_grad_enabled():
            moved = self.state * torch.exp(self.config.step_size * means.double())
            self.state = torch.where(both[1] > 0, moved, self.state)
            self.state = self.state / self.state.sum()
        return (self.state.float() * sums / both[1].clamp(min=1e-12)).sum() * world
