"""Geometry against torchvision, and against resizing with a triangle where it shrinks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from torch import Tensor

from cxrtrain.augment import Augment, Drawn, warp
from cxrtrain.config import AugmentConfig


def plain(n: int, **changed: Tensor) -> Drawn:
    """Nothing drawn, but for what is said."""
    return replace(Augment(AugmentConfig()).draw(n, torch.Generator()), **changed)


@pytest.mark.parametrize("shape", ["square", "wide"])
def test_affine_is_torchvisions(shape: str, images: Tensor, wide: Tensor, generator: torch.Generator) -> None:
    batch = images if shape == "square" else wide
    rows, columns = batch.shape[-2:]
    config = AugmentConfig(affine_p=1, rotate_degrees=40, translate=0.2, zoom=(0.81, 1.5), shear_degrees=20)
    drawn = Augment(config).draw(len(batch), generator)
    after = warp(batch, drawn)
    for at, image in enumerate(batch):
        across, down = drawn.shift[at].tolist()
        expected = tv.affine(
            image,
            angle=drawn.degrees[at].item(),
            translate=[across * columns, down * rows],
            scale=drawn.zoom[at].item(),
            shear=[drawn.shear[at].item(), 0.0],
            interpolation=tv.InterpolationMode.BILINEAR,
        )
        assert torch.allclose(after[at], expected, atol=1e-4)


def test_crop_is_torchvisions_but_for_the_rim(images: Tensor) -> None:
    box = torch.tensor([0.25, 0.125, 0.5, 0.75], dtype=torch.float64).repeat(8, 1)
    after = warp(images, plain(8, crop=torch.ones(8, dtype=torch.bool), box=box))
    expected = tv.resized_crop(images, 8, 16, 48, 32, [64, 64])
    # At the rim ours sees the pixels beside the crop; torchvision repeats the last one.
    assert torch.allclose(after[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-5)


def test_zoom_out_puts_the_picture_there_without_aliasing(images: Tensor) -> None:
    canvas = torch.tensor([2.0, 0.25, 0.5], dtype=torch.float64).repeat(8, 1)
    after = warp(images, plain(8, zoom_out=torch.ones(8, dtype=torch.bool), canvas=canvas))
    laid = torch.zeros(8, 1, 128, 128)
    laid[..., 32:96, 16:80] = images
    expected, jagged = (tv.resize(laid, [64, 64], antialias=smooth) for smooth in (True, False))
    picture = (..., slice(16, 48), slice(8, 40))
    inner = (..., slice(18, 46), slice(10, 38))
    outside = after.clone()
    outside[picture] = 0
    assert not outside.any()
    ours, without = ((one[inner] - expected[inner]).abs().mean() for one in (after, jagged))
    assert ours < 0.01
    assert ours < without / 2


def test_zoom_out_brings_nothing_back_that_a_crop_left_out(images: Tensor) -> None:
    yes = torch.ones(8, dtype=torch.bool)
    box = torch.tensor([0.25, 0.25, 0.5, 0.5], dtype=torch.float64).repeat(8, 1)
    canvas = torch.tensor([2.0, 0.5, 0.5], dtype=torch.float64).repeat(8, 1)
    bright = images * 0.5 + 0.5
    after = warp(bright, plain(8, crop=yes, box=box, zoom_out=yes, canvas=canvas))
    # Half of the side, drawn at half: every pixel of the crop one pixel, in the middle of a black canvas.
    inside = (..., slice(16, 48), slice(16, 48))
    assert torch.allclose(after[inside], bright[inside], atol=1e-5)
    outside = after.clone()
    outside[inside] = 0
    assert not outside.any()


def test_steps_in_one_resampling_are_the_steps_one_by_one(images: Tensor, generator: torch.Generator) -> None:
    from torch.nn.functional import avg_pool2d

    smooth = avg_pool2d(images, 9, stride=1, padding=4)  # so that sampling twice hardly blurs
    drawn = Augment(AugmentConfig(affine_p=1, rotate_degrees=20, crop_p=1, crop=(0.5, 0.9))).draw(8, generator)
    turned = warp(smooth, replace(drawn, box=plain(8).box))
    one_by_one = warp(turned, plain(8, crop=drawn.crop, box=drawn.box))
    assert (warp(smooth, drawn) - one_by_one).abs().mean() < 0.005
    other_order = warp(warp(smooth, plain(8, crop=drawn.crop, box=drawn.box)), replace(drawn, box=plain(8).box))
    assert (warp(smooth, drawn) - other_order).abs().mean() > 0.02
