"""Linear heads on frozen features: the same as training through the frozen net, and as good as they can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from cxrtrain.bundle import HeadTargets
from cxrtrain.config import ModelConfig
from cxrtrain.models.freezing import freeze
from cxrtrain.models.net import build_net
from cxrtrain.probe.heads import fit_head

N, WIDTH = 600, 8
HEAD = HeadTargets("sex", "classes", "ce", ("F", "M"), ("t",))


def made(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features on very different scales, one of them the same for all; the class follows from two of them, noisily."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(N, WIDTH))
    target = (features[:, 0] - features[:, 3] + rng.normal(size=N) > 0).astype(np.int64)
    features = features * np.array([1, 100, 0.01, 1, 1, 1, 1, 0]) + np.array([0, 0, 5, 0, 50, 0, 0, 3])
    return features.astype(np.float32), target


def test_it_finds_what_logistic_regression_finds() -> None:
    features, target = made()
    train, valid = np.arange(400), np.arange(400, N)
    whole = torch.from_numpy(features)
    head = fit_head(lambda rows: whole[torch.from_numpy(rows)], target, train, valid, classes=2)
    expected = LogisticRegression(C=np.inf, max_iter=2000).fit(
        (features[train] - features[train].mean(0)) / np.maximum(features[train].std(0), 1e-6), target[train]
    )
    logits = head.logits(whole)
    agreed = (logits.argmax(1).numpy() == expected.predict(
        (features - features[train].mean(0)) / np.maximum(features[train].std(0), 1e-6)
    )).mean()  # fmt: skip
    assert agreed > 0.97
    assert head.weight[:, 7].abs().max() == 0  # of a unit that never moves nothing is learnt
    again = fit_head(lambda rows: whole[torch.from_numpy(rows)], target, train, valid, classes=2)
    assert torch.equal(again.weight, head.weight)


@pytest.mark.parametrize("backbone", ["small", "test_resnet"])  # the second has batch normalisation
def test_features_that_were_kept_are_as_good_as_the_frozen_net(backbone: str) -> None:
    net = build_net(ModelConfig(backbone), [HEAD], channels=1, side=32)
    freeze(net, "backbone")
    net.train()  # as in training: what is frozen must stay as it is all the same
    images = torch.rand((40, 1, 32, 32), generator=torch.Generator().manual_seed(1))
    target = (images.mean(dim=(1, 2, 3)) > images.mean()).long().numpy()
    with torch.no_grad():
        kept = net.features(images)
    train, valid = np.arange(30), np.arange(30, 40)
    wishes = {"classes": 2, "epochs": 2}
    once = fit_head(lambda rows: kept[torch.from_numpy(rows)], target, train, valid, **wishes)
    through = fit_head(
        lambda rows: net.features(images[torch.from_numpy(rows)]).detach(), target, train, valid, **wishes
    )
    spread = kept.std(0).clamp(min=1e-4)
    torch.testing.assert_close(through.weight * spread, once.weight * spread, atol=2e-4, rtol=1e-2)
    torch.testing.assert_close(through.logits(kept), once.logits(kept), atol=2e-3, rtol=1e-2)
