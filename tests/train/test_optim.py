"""The learning rate's course; statistics that are taken anew."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cxrtrain.config import OptimConfig
from cxrtrain.optim import Schedule, renew_statistics


def test_cosine_ends_at_the_last_step_that_is_taken() -> None:
    wish = OptimConfig(lr=1.0, schedule="cosine", min_lr=0.1, warmup_epochs=1)
    whole = Schedule(wish, steps_per_epoch=10, epochs=5)
    assert [whole.rate(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert whole.rate(10) == pytest.approx(1.0)
    assert whole.rate(30) == pytest.approx(0.55)
    assert whole.rate(50) == pytest.approx(0.1)
    assert Schedule(wish, steps_per_epoch=10, epochs=5, most=30).rate(30) == pytest.approx(0.1)


def test_plateau_is_that_of_torch() -> None:
    losses = [1.0, 0.9, 0.95, 0.91, 0.9, 0.8, 0.85, 0.85, 0.85, 0.85]
    ours = Schedule(OptimConfig(lr=1.0, schedule="plateau", factor=0.5, patience=1), steps_per_epoch=1, epochs=10)
    optim = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optim, factor=0.5, patience=1, threshold=0.0)
    for loss in losses:
        ours.after_epoch(loss)
        theirs.step(loss)
        assert ours.rate(0) == pytest.approx(optim.param_groups[0]["lr"])


class _PartlyFrozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.free = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
        self.frozen.running_mean.fill_(7.0)  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.frozen(x)
        made: torch.Tensor = self.free(x)
        return made

    def train(self, mode: bool = True) -> _PartlyFrozen:  # noqa: FBT001, FBT002 - torch's own signature
        super().train(mode)
        self.frozen.eval()
        return self


def test_statistics_are_renewed_but_where_they_are_frozen() -> None:
    model = _PartlyFrozen()
    images = torch.randn(3, 40, 2, generator=torch.Generator().manual_seed(0)) + 3
    renew_statistics(model, lambda: images)
    assert model.frozen.running_mean is not None and model.free.running_mean is not None
    assert torch.equal(model.frozen.running_mean, torch.full((2,), 7.0))
    torch.testing.assert_close(model.free.running_mean, images.mean(dim=(0, 1)))
    assert model.free.momentum == 0.1
