"""Pixels as a model gets them, the same in training and prediction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from cxrtrain.config import InputConfig

# Of torchvision's models: mean and SD of ImageNet's three channels, values 0 to 1.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Inputs:
    """What is done to images before the model. mean, sd: by channel, values 0 to 1; none: not normalised."""

    config: InputConfig
    mean: tuple[float, ...] = ()
    sd: tuple[float, ...] = ()

    @classmethod
    def of(cls, config: InputConfig, training: tuple[float, float]) -> Inputs:
        """training: mean and SD of the training images' pixels."""
        if config.normalise == "training":
            return cls(config, (training[0],) * config.channels, (max(training[1], 1e-6),) * config.channels)
        if config.normalise == "imagenet":
            mean, sd = _IMAGENET
            if config.channels == 1:
                return cls(config, (sum(mean) / 3,), (sum(sd) / 3,))
            return cls(config, mean, sd)
        return cls(config)

    def facts(self) -> dict[str, Any]:
        """What a run has to keep of it besides its config."""
        return {"mean": list(self.mean), "sd": list(self.sd)}

    @classmethod
    def again(cls, config: InputConfig, facts: dict[str, Any]) -> Inputs:
        return cls(config, tuple(facts["mean"]), tuple(facts["sd"]))

    def side(self, of: int) -> int:
        """Pixels a side that the model sees, of images with so many."""
        return min(self.config.crop or of, of)

    def __call__(self, images: Tensor) -> Tensor:
        """Float images (n, 1, h, w), values 0 to 1 → (n, channels, side, side)."""
        side = self.side(images.shape[-1])
        first = (images.shape[-1] - side) // 2
        images = images[..., first : first + side, first : first + side]
        images = images.expand(-1, self.config.channels, -1, -1)
        scale = 255.0 if self.config.scale == "0-255" else 1.0
        if self.mean:
            images = (images - _by_channel(self.mean, images.device)) / _by_channel(self.sd, images.device)
        images = images * scale if scale != 1.0 else images
        return images.contiguous(memory_format=torch.channels_last) if images.is_cuda else images


@cache
def _by_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Sent once: each copy to a GPU would wait until it has done its work."""
    with torch.inference_mode(mode=False):
        return torch.tensor(values, device=device).view(1, -1, 1, 1)


def as_float(images: Tensor) -> Tensor:
    """uint8 → float32, values 0 to 1."""
    return images.float().div_(255.0)
