"""Equalising against torchvision, matching against its definition by interpolation of ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from torch import Tensor

from cxrtrain.augment import cumulative_histograms, equalise, match_histograms, reference_histogram


def matched(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The levels of `image`, each replaced by the reference's of the same rank: as scikit-image's match_histograms."""
    values, places, counts = np.unique(image, return_inverse=True, return_counts=True)
    known, known_counts = np.unique(reference, return_counts=True)
    rank, known_rank = np.cumsum(counts) / image.size, np.cumsum(known_counts) / reference.size
    assert len(values) == len(rank)
    return np.interp(rank, known_rank, known)[places].reshape(image.shape)


def test_equalise_is_torchvisions(levels: Tensor) -> None:
    few = levels.clone()
    few[0] = 77  # one level
    few[1] = 10
    few[1, :2] = 200  # hardly any below the brightest
    few[2] = (few[2] > 90) * 255
    few[3] = few[3] // 4 + 100
    few[4, :3] = 255
    after = equalise(few[:, None].float() / 255)
    for at in range(8):
        assert torch.equal((after[at] * 255).round().byte(), tv.equalize(few[at][None])), at
    assert torch.equal(after[0], few[0][None].float() / 255)


def test_equalised_ranks_are_even(images: Tensor) -> None:
    quarters = torch.quantile(equalise(images).flatten(1), torch.tensor([0.25, 0.5, 0.75]), dim=1)
    assert torch.allclose(quarters, torch.tensor([0.25, 0.5, 0.75])[:, None].expand(3, 8), atol=0.05)


def test_matching_is_by_rank(levels: Tensor, images: Tensor) -> None:
    gaps = levels[7].clone()
    gaps[gaps < 60] = 3
    gaps[(gaps > 120) & (gaps < 180)] = 200
    for reference in (levels[7], gaps, torch.full_like(gaps, 40)):
        after = match_histograms(images, reference_histogram(reference[None]), 1.0)
        for at in range(8):
            expected = matched(levels[at].numpy(), reference.numpy())
            assert np.abs(after[at, 0].numpy() * 255 - expected).max() < 1e-3


def test_each_image_may_have_a_reference_of_its_own(levels: Tensor, images: Tensor) -> None:
    each = cumulative_histograms(levels.flip(0) // 2)
    after = match_histograms(images, each, 0.75)
    for at in range(8):
        assert torch.equal(after[at : at + 1], match_histograms(images[at : at + 1], each[at], 0.75))
    assert not torch.equal(after[:1], match_histograms(images[:1], each[1], 0.75))


def test_an_image_matched_to_itself_stays(levels: Tensor, images: Tensor) -> None:
    after = match_histograms(images[:1], reference_histogram(levels[:1]), 1.0)
    assert torch.allclose(after, images[:1], atol=1e-6)


def test_blend_is_a_share(levels: Tensor, images: Tensor) -> None:
    reference = reference_histogram(levels[4:] // 2)
    whole = match_histograms(images, reference, 1.0)
    assert match_histograms(images, reference, 0.0) is images
    assert (whole - images).abs().mean() > 0.1
    for blend in (0.25, 0.5, 0.75):
        expected = (1 - blend) * images + blend * whole
        assert torch.allclose(match_histograms(images, reference, blend), expected, atol=1e-6)


def test_the_reference_is_the_mean_of_its_images(levels: Tensor) -> None:
    reference = reference_histogram(levels)
    assert reference.shape == (256,) and reference.dtype == torch.float64
    assert reference[-1].item() == pytest.approx(1)
    for level in (0, 60, 150, 254):
        assert reference[level].item() == pytest.approx((levels <= level).double().mean().item())
    with pytest.raises(ValueError, match="no reference images"):
        reference_histogram(levels[:0])
