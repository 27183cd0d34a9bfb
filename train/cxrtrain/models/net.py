"""A net: one backbone that makes features of an image, and a linear head for each thing that is learned."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from cxrtrain.bundle import HeadTargets
from cxrtrain.config import ModelConfig
from cxrtrain.models.backbones import build_backbone


class Net(nn.Module):
    """`backbone`, dropout, `heads`. Input: float, shape (n, channels, height, width), already normalised.

    outputs: what each head puts out, in order, by the head's name. Modules named in `frozen` stay in eval whatever mode the
    net is in, so that their batch normalisation keeps its running statistics and they drop nothing out.
    """

    def __init__(self, backbone: nn.Module, width: int, heads: Sequence[HeadTargets], *, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone
        self.width = width
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({head.name: nn.Linear(width, head.width) for head in heads})
        self.outputs = {head.name: head.outputs for head in heads}
        self.frozen: tuple[str, ...] = ()

    def features(self, x: Tensor) -> Tensor:
        """Shape (n, width): what the heads see."""
        made: Tensor = self.backbone(x)
        return made

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """By the head's name, shape (n, width of the head): logits, or a regression's scaled number."""
        features = self.dropout(self.features(x))
        return {name: head(features) for name, head in self.heads.items()}

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's own signature
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self


def build_net(config: ModelConfig, heads: Sequence[HeadTargets], *, channels: int, side: int, seed: int = 0) -> Net:
    """A net with random weights that follow from `seed` alone: not from what was drawn before, and each head's not from
    what other heads there are.

    Raises CxrError: CXR-501 no such backbone, CXR-502 a backbone that takes no images of this size.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(_seed_of(seed, "backbone"))
        backbone, width = build_backbone(config.backbone, channels=channels, side=side, pooling=config.pooling)
        net = Net(backbone, width, heads, dropout=config.dropout)
        for name, head in net.heads.items():
            torch.default_generator.manual_seed(_seed_of(seed, f"head {name}"))
            assert isinstance(head, nn.Linear)
            head.reset_parameters()
    return net


def _seed_of(seed: int, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{what}".encode()).digest()[:8], "big") >> 1
