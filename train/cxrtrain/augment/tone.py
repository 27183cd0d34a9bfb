"""Sharpness and Gaussian blur, each image by its own factor."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from cxrtrain.augment.sending import send

_REACH = 3.0  # standard deviations


def sharpen(images: Tensor, factors: Tensor) -> Tensor:
    """Images (n, 1, rows, columns) by factors (n,): 0 is smoothed, 1 as it was, 2 as far the other way; clipped to [0, 1].

    Smoothed: each pixel with its eight neighbours, itself counted five times (Pillow's SMOOTH); the outermost stay.
    """
    if min(images.shape[-2:]) < 3:
        return images
    middle = images[..., 1:-1, 1:-1]
    beside = images[..., :-2] + images[..., 1:-1] + images[..., 2:]
    nine = beside[..., :-2, :] + beside[..., 1:-1, :] + beside[..., 2:, :]
    smooth = (nine + 4 * middle) / 13
    factor = send(factors.float(), images.device).view(-1, 1, 1, 1)
    out = images.clone()
    out[..., 1:-1, 1:-1] = (middle + (1 - factor) * (smooth - middle)).clamp(0, 1)  # so factor 1 changes no bit
    return out


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Images (n, 1, rows, columns) under Gaussians of sigma (n,) pixels, on the CPU; to 3 sigma, mirrored at the edges.

    Sums of shifted images rather than convolutions: exact in 32 bits on every device, and nothing is tuned anew for each
    number of images.
    """
    rows, columns = images.shape[-2:]
    reach = (_REACH * sigma).ceil()
    most = min(int(reach.max()), min(rows, columns) - 1)
    away = torch.arange(most + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (away / sigma[:, None].clamp(min=1e-6)) ** 2).where(away <= reach[:, None], 0.0)
    weights = weights / (2 * weights.sum(dim=1, keepdim=True) - weights[:, :1])
    weight = send(weights.float(), images.device).view(len(images), most + 1, 1, 1, 1)
    padded = pad(images, (most, most, most, most), mode="reflect")
    down = _summed(padded, weight, -2, rows, most)
    return _summed(down, weight, -1, columns, most)


def _summed(padded: Tensor, weight: Tensor, axis: int, pixels: int, most: int) -> Tensor:
    out = padded.narrow(axis, most, pixels) * weight[:, 0]
    for away in range(1, most + 1):
        both = padded.narrow(axis, most - away, pixels) + padded.narrow(axis, most + away, pixels)
        out.addcmul_(both, weight[:, away])
    return out
