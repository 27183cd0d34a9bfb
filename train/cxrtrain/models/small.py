"""Our own small net: for trying things out, for tests, and for drawn chests."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

STAGES = (24, 48, 80, 112)


class Small(nn.Module):
    """A stem at half the side, then four stages of one residual block each, halving the side; mean and greatest value of
    each channel over the picture. About 330,000 parameters.

    Group instead of batch normalisation: the result for an image does not depend on the others of its batch, so that one
    process and several compute the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, STAGES[0], 5, stride=2, padding=2, bias=False), nn.GroupNorm(8, STAGES[0]), nn.ReLU()
        )
        wide = (STAGES[0], *STAGES)
        self.blocks = nn.Sequential(*(_Block(before, after) for before, after in pairwise(wide)))
        self.num_features = 2 * STAGES[-1]

    def forward(self, x: Tensor) -> Tensor:
        maps = self.blocks(self.stem(x))
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)


class _Block(nn.Module):
    """Two convolutions beside a short cut; at the block's end the side is halved."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(8, after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(8, after)
        self.short = nn.Conv2d(before, after, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        made = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        return functional.relu(made + self.short(x))
