"""MixUp (Zhang et al. 2018, arXiv 1710.09412): every image mixed with another, and so its loss.

One share λ for the whole batch, from Beta(α, α), as the authors and the case study of ped_vs_adults-cxr have it (its
partner is the image before, in a shuffled batch: the same in distribution as ours, drawn at random). The loss of
the mixed batch is `lam * loss(targets) + (1 - lam) * loss(targets[partner])`, which holds also for targets that are not
known.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cxrtrain.augment.sending import send


def draw_mixup(n: int, alpha: float, generator: torch.Generator) -> tuple[Tensor, float]:
    """Partners of n images (a permutation, on the CPU) and λ, from a generator of the CPU; α 0 gives λ 1: nothing mixed."""
    partner = torch.randperm(n, generator=generator)
    # torch draws no Beta from a generator of one's own: it seeds numpy's, which does.
    seed = int(torch.randint(2**62, (), generator=generator))
    return partner, float(np.random.default_rng(seed).beta(alpha, alpha)) if alpha > 0 else 1.0


@torch.no_grad()
def mix(images: Tensor, partner: Tensor, lam: float) -> Tensor:
    """lam of each image and 1 - lam of its partner."""
    if lam == 1.0:
        return images
    return torch.lerp(images.index_select(0, send(partner, images.device)), images, lam)
