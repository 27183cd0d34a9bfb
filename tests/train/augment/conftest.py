"""Pictures with an up, a side and grain: a step that mirrors, turns or shifts wrongly is seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor


def _picture(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    y, x = np.mgrid[0:rows, 0:columns]
    wave = 110 + 60 * np.sin(x / rng.uniform(3, 9)) * np.cos(y / rng.uniform(3, 9)) + 0.8 * x + 0.4 * y
    wave[: rows // 8, : columns // 5] = 0  # a dark corner, as a collimated film has
    return np.clip(wave + rng.normal(0, 12, wave.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def levels() -> Tensor:
    """Eight pictures of 64 by 64, 8-bit, shape (8, 64, 64)."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.stack([_picture(rng, 64, 64) for _ in range(8)]))


@pytest.fixture
def images(levels: Tensor) -> Tensor:
    """The same from 0 to 1, shape (8, 1, 64, 64)."""
    return levels[:, None].float() / 255


@pytest.fixture
def wide() -> Tensor:
    """Four pictures of 40 rows by 72 columns from 0 to 1."""
    rng = np.random.default_rng(1)
    return torch.from_numpy(np.stack([_picture(rng, 40, 72) for _ in range(4)]))[:, None].float() / 255


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)
