"""MixUp: λ from its Beta, partners a permutation, images in that proportion."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cxrtrain.augment import draw_mixup, mix


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_lambda_is_beta(alpha: float, generator: torch.Generator) -> None:
    drawn = torch.tensor([draw_mixup(2, alpha, generator)[1] for _ in range(3000)])
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.03)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_partners_are_a_permutation_and_the_seed_says_which(generator: torch.Generator) -> None:
    partner, lam = draw_mixup(64, 1.0, generator)
    assert sorted(partner.tolist()) == list(range(64)) and partner.tolist() != list(range(64))
    again, same_lam = draw_mixup(64, 1.0, torch.Generator().manual_seed(11))
    assert torch.equal(partner, again) and lam == same_lam
    assert draw_mixup(64, 1.0, generator)[1] != lam


def test_images_are_mixed_in_that_share(images: Tensor) -> None:
    partner = torch.arange(8).roll(1)
    before = images.clone()
    after = mix(images, partner, 0.3)
    assert torch.equal(images, before)
    for at in range(8):
        assert torch.allclose(after[at], 0.3 * images[at] + 0.7 * images[at - 1], atol=1e-6)
    assert mix(images, partner, 1.0) is images
    assert torch.equal(mix(images, partner, 0.0), images[partner])


def test_alpha_0_mixes_nothing_and_draws_as_much(generator: torch.Generator) -> None:
    other = torch.Generator().manual_seed(11)
    assert draw_mixup(8, 0.0, generator)[1] == 1.0
    draw_mixup(8, 1.0, other)
    assert torch.equal(generator.get_state(), other.get_state())
