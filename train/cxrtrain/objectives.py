"""What is minimised: losses by head that leave out what is not known, and how groups count in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as fn
from torch import Tensor

from cxrtrain.bundle import HeadTargets
from cxrtrain.config import ObjectiveConfig
from cxrtrain.distributed import processes, summed

_NOTHING = 1e-12  # what a sum of weights is at least, to be divided by


@dataclass(frozen=True)
class Mixed:
    """MixUp of a batch: each image is `share` itself and the rest its partner."""

    partner: Tensor
    share: float


@dataclass(frozen=True)
class Batch:
    """What the losses need of a batch: targets by head, shape (n, columns) with NaN where not known; number of the group,
    -1 unknown; weight of the image; which share of its step's images the batch has."""

    targets: Mapping[str, Tensor]
    group: Tensor
    weight: Tensor
    mixed: Mixed | None = None
    part: float = 1.0


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
    return loss.masked_fill(~known, 0.0), known


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

    `state`: GroupDRO's weights of the groups, shape (heads, groups), to be kept with the model. Each head has its own: what
    is hard in one is no reason to attend to the group in another.
    """

    def __init__(self, config: ObjectiveConfig, counts: Mapping[str, Sequence[int]], device: torch.device) -> None:
        """counts: by head, the training images of each group whose target is known."""
        self.config = config
        self._place = {name: place for place, name in enumerate(counts)}
        sizes = torch.tensor([list(of) or [1] for of in counts.values()], dtype=torch.float64)
        self.state = torch.full_like(sizes, 1.0 / sizes.shape[1]).to(device)
        # So that each group's weights have the same sum, and all weights the mean 1.
        there = (sizes > 0).sum(1, keepdim=True).clamp(min=1)
        each = torch.where(sizes > 0, sizes.sum(1, keepdim=True) / (sizes.clamp(min=1) * there), 0.0)
        self._share = each.float().to(device)

    def sizes(self, heads: Sequence[HeadTargets], batches: Sequence[Batch]) -> dict[str, Tensor]:
        """By head, the sum of the weights of a step's known targets, over its batches and over all processes: what the
        losses are divided by, so that a step over several small batches is the step over the large one."""
        own = [torch.stack([self._weights(head, batch).sum() for batch in batches]).sum() for head in heads]
        total = summed(torch.stack(own))
        return {head.name: total[place].clamp(min=_NOTHING) for place, head in enumerate(heads)}

    def loss(self, head: HeadTargets, outputs: Tensor, batch: Batch, size: Tensor) -> Tensor:
        """What one head's loss over a step owes to this batch, of which this process has a share. size: of the step.

        Its gradient, averaged over the processes and summed over the step's batches, is that of the whole in one process.
        Only GroupDRO looks at each batch by itself, as its weights of the groups move with each.
        """
        losses, _ = entry_losses(head, outputs, batch.targets[head.name])
        weights, group = self._weights(head, batch), batch.group
        if batch.mixed is not None:
            share, partner = batch.mixed.share, batch.mixed.partner
            others, _ = entry_losses(head, outputs, batch.targets[head.name][partner])
            losses = torch.cat([losses, others])
            weights = torch.cat([share * weights, (1 - share) * weights[partner]])
            group = torch.cat([group, group[partner]])
        if self.config.name == "group_dro":
            return self._group_dro(self._place[head.name], losses, weights, group) * batch.part
        return (losses * weights).sum() * processes() / size

    def _weights(self, head: HeadTargets, batch: Batch) -> Tensor:
        """The weight of each target, shape (n, columns): 0 where it is not known, or the group that must be is not."""
        weight = batch.weight
        if self.config.name != "erm":
            weight = weight * (batch.group >= 0)
        if self.config.name == "reweight":
            weight = weight * self._share[self._place[head.name]][batch.group.clamp(min=0)]
        return weight.unsqueeze(1) * ~torch.isnan(batch.targets[head.name])

    def _group_dro(self, at: int, losses: Tensor, weights: Tensor, group: Tensor) -> Tensor:
        """Sagawa et al. 2020, algorithm 1: groups that do badly gain weight, then the weighted sum of the groups' means."""
        n, to = self.state.shape[1], group.clamp(min=0)
        sums = torch.zeros(n, device=losses.device).index_add(0, to, (losses * weights).sum(1))
        counts = torch.zeros(n, device=losses.device).index_add(0, to, weights.sum(1))
        both = summed(torch.stack([sums.detach(), counts]))
        size = both[1].clamp(min=_NOTHING)
        moved = self.state[at] * torch.exp(self.config.step_size * (both[0] / size).double())
        now = torch.where(both[1] > 0, moved, self.state[at])
        self.state[at] = now / now.sum()
        return (self.state[at].float() * sums / size).sum() * processes()
