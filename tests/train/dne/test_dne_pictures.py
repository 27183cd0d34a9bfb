"""PSNR and SSIM against definitions written anew."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from cxrtrain.dne.pictures import psnr, ssim

RANDOM = np.random.default_rng(0)
FIRST = RANDOM.random((3, 24, 24))
SECOND = np.clip(FIRST + RANDOM.normal(0, 0.1, FIRST.shape), 0, 1)


def tensors() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(FIRST)[:, None], torch.from_numpy(SECOND)[:, None]


def test_psnr() -> None:
    expected = [10 * math.log10(1 / np.mean((a - b) ** 2)) for a, b in zip(FIRST, SECOND, strict=True)]
    assert psnr(*tensors()).numpy() == pytest.approx(np.array(expected))
    assert torch.isinf(psnr(tensors()[0], tensors()[0])).all()


def test_ssim() -> None:
    """By scipy's Gaussian filter, cut at 5 pixels, on the places where the window lies within the image."""

    def smooth(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, 1.5, truncate=3.5)[5:-5, 5:-5]

    for at, (a, b) in enumerate(zip(FIRST, SECOND, strict=True)):
        mean_a, mean_b = smooth(a), smooth(b)
        var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
        both = smooth(a * b) - mean_a * mean_b
        map_ = ((2 * mean_a * mean_b + 1e-4) * (2 * both + 9e-4)) / (
            (mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)
        )
        assert float(ssim(*tensors())[at]) == pytest.approx(map_.mean())
    assert ssim(tensors()[0], tensors()[0]).numpy() == pytest.approx(1)
