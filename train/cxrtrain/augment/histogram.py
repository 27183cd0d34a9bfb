"""Equalising and matching of histograms, over the 256 levels of an 8-bit image.

Values that a step before put between two levels count as the nearer one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cxrtrain.augment.sending import send

LEVELS = 256


def equalise(images: Tensor) -> Tensor:
    """Images (n, 1, rows, columns), each with its histogram levelled by whole numbers as Pillow and torchvision do it.

    One with too few values for it (fewer than 255 pixels below its brightest level) stays as it is.
    """
    level = _levels(images)
    counts = _counts(level)
    places = torch.arange(LEVELS, device=images.device)
    brightest = (places * (counts > 0)).amax(dim=1, keepdim=True)
    step = (level.shape[1] - counts.gather(1, brightest)) // (LEVELS - 1)
    some = step.clamp(min=1)
    below = counts.cumsum(dim=1) - counts
    table = ((below + step // 2) // some).clamp(0, LEVELS - 1).float() / (LEVELS - 1)
    table[:, 0] = 0
    equal = table.gather(1, level).view_as(images)
    return torch.where((step > 0).view(-1, 1, 1, 1), equal, images)


def cumulative_histograms(images: Tensor) -> Tensor:
    """uint8 images of shape (m, rows, columns): 64-bit, shape (m, 256), the share of pixels at or below each level."""
    counts = _counts(images.flatten(1).long())
    return counts.double().cumsum(dim=1) / counts.sum(dim=1, keepdim=True)


def reference_histogram(images: Tensor) -> Tensor:
    """The mean cumulative histogram of reference images, uint8 of shape (m, rows, columns): 64-bit, shape (256,).

    Raises ValueError when there are none.
    """
    if not images.numel():
        raise ValueError("there are no reference images")
    return cumulative_histograms(images).mean(dim=0)


@torch.no_grad()
def match_histograms(images: Tensor, reference: Tensor, blend: float) -> Tensor:
    """Images (n, 1, rows, columns), values 0 to 1: (1 - blend) of each, and blend of it matched to the reference.

    Matched: a level takes the reference's level of the same rank (share of pixels at or below it), between two levels by a
    straight line (Pizer et al. 1987; as scikit-image's match_histograms for images of 8 bits). reference: what
    `reference_histogram` gives; or for each image its own, shape (n, 256), rows of what `cumulative_histograms` gives (the
    case study of ped_vs_adults-cxr draws one of 64 images for each). At blend 0 an image comes out as it went in.
    """
    if blend == 0:
        return images
    level = _levels(images)
    rank = _counts(level).double().cumsum(dim=1) / level.shape[1]
    each = send(reference.double(), images.device).expand(len(level), LEVELS).contiguous()
    table = _level_of_rank(rank, each).float() / (LEVELS - 1)
    matched = table.gather(1, level).view_as(images)
    return torch.lerp(images, matched, blend).clamp(0, 1)


def _level_of_rank(rank: Tensor, reference: Tensor) -> Tensor:
    """The reference's level at each rank, fractional, all of shape (n, 256); levels that it does not have are passed over."""
    upper = torch.searchsorted(reference, rank).clamp(max=LEVELS - 1)
    # The share below `upper`, and the first level that reaches it: the next lower one that occurs.
    shares_below = torch.cat([reference.new_zeros(len(reference), 1), reference[:, :-1]], dim=1)
    before = shares_below.gather(1, upper)
    lower = torch.searchsorted(reference, before)
    span = reference.gather(1, upper) - before
    part = ((rank - before) / torch.where(span > 0, span, 1.0)).clamp(0, 1)
    between = lower + part * (upper - lower)
    return torch.where((before > 0) & (span > 0), between, upper.double())


def _levels(images: Tensor) -> Tensor:
    """Levels 0 to 255, shape (n, pixels)."""
    return (images * (LEVELS - 1)).round().clamp(0, LEVELS - 1).long().flatten(1)


def _counts(level: Tensor) -> Tensor:
    """Pixels at each level: whole numbers, shape (n, 256)."""
    # One row of bins: in one dimension adding up has a deterministic form on a GPU, and whole numbers add up to the same.
    bins = (level + LEVELS * torch.arange(len(level), device=level.device)[:, None]).flatten()
    counts = torch.zeros(len(level) * LEVELS, dtype=torch.long, device=level.device)
    return counts.scatter_add_(0, bins, torch.ones_like(bins)).view(-1, LEVELS)
