"""Sharpness and blur against torchvision, image by image."""

from __future__ import annotations

import math

import torch
import torchvision.transforms.v2.functional as tv
from torch import Tensor

from cxrtrain.augment import blur, sharpen


def test_sharpness_is_torchvisions(images: Tensor) -> None:
    factors = torch.tensor([0.0, 0.5, 1.0, 1.25, 2.0, 3.0, 0.25, 5.0], dtype=torch.float64)
    after = sharpen(images, factors)
    for at, factor in enumerate(factors.tolist()):
        assert torch.allclose(after[at], tv.adjust_sharpness(images[at], factor), atol=2e-6)
    assert torch.equal(after[..., 0, :], images[..., 0, :])
    assert torch.equal(after[2], images[2])


def test_an_image_of_two_rows_is_too_small_to_sharpen(images: Tensor) -> None:
    low = images[..., :2, :]
    assert torch.equal(sharpen(low, torch.full((8,), 3.0)), low)


def test_blur_is_torchvisions(wide: Tensor) -> None:
    sigma = torch.tensor([0.4, 1.0, 2.3, 4.0], dtype=torch.float64)
    after = blur(wide, sigma)
    for at, one in enumerate(sigma.tolist()):
        width = 2 * math.ceil(3 * one) + 1
        assert torch.allclose(after[at], tv.gaussian_blur(wide[at], [width, width], [one, one]), atol=5e-6)


def test_no_sigma_no_blur_and_one_larger_than_the_image(images: Tensor) -> None:
    small = images[:2, :, :5, :5]
    after = blur(small, torch.tensor([0.0, 50.0], dtype=torch.float64))
    assert torch.equal(after[0], small[0])
    assert float(after[1].std()) < 0.25 * float(small[1].std())
    assert torch.isfinite(after).all()
