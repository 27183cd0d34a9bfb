"""How far an edited image is from the original: PSNR and SSIM, both of values 0 to 1.

SSIM as Wang et al., IEEE Trans. Image Process. 13:600, 2004: a Gaussian window of 11 pixels and SD 1.5, K1 0.01, K2 0.03,
the mean over all places where the window lies within the image.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

_WINDOW, _SD = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def psnr(first: Tensor, second: Tensor) -> Tensor:
    """(n,) decibels of images (n, 1, side, side); infinite where nothing differs."""
    error = ((first - second) ** 2).mean(dim=(1, 2, 3))
    return -10 * torch.log10(error)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """(n,): 1 where nothing differs. Images have 11 pixels a side at least."""
    window = _window(first)
    mean = [conv2d(images, window) for images in (first, second)]
    variance = [
        conv2d(images**2, window) - of**2 for images, of in zip((first, second), mean, strict=True)
    ]  # of the population, as published
    together = conv2d(first * second, window) - mean[0] * mean[1]
    above = (2 * mean[0] * mean[1] + _C1) * (2 * together + _C2)
    below = (mean[0] ** 2 + mean[1] ** 2 + _C1) * (variance[0] + variance[1] + _C2)
    return (above / below).mean(dim=(1, 2, 3))


def _window(like: Tensor) -> Tensor:
    away = torch.arange(_WINDOW, dtype=like.dtype, device=like.device) - _WINDOW // 2
    bell = torch.exp(-(away**2) / (2 * _SD**2))
    bell = bell / bell.sum()
    return (bell[:, None] * bell[None, :])[None, None]
