"""Nets: backbones by name, their widths, and weights that follow from the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cxrtrain.bundle import HeadTargets
from cxrtrain.config import ModelConfig
from cxrtrain.models.net import Net, build_net
from torch import nn

from cxrdata.errors import CxrError
from cxrdata.images.phantom_norms import Norms
from cxrdata.images.phantoms import Subject, draw_phantom

HEART = HeadTargets("heart", "binary", "bce", ("cardiomegaly",), ("target_heart",))
TWO = HeadTargets("heart", "binary", "ce", ("cardiomegaly",), ("target_heart",))
RACE = HeadTargets("race", "classes", "ce", ("White", "Asian", "Black"), ("target_race",))
AGE = HeadTargets("age", "regression", "mse", ("age_years",), ("target_age",), mean=50.0, sd=10.0)


def net_of(backbone: str, *heads: HeadTargets, channels: int = 1, side: int = 64, seed: int = 0, **said: str) -> Net:
    return build_net(ModelConfig(backbone=backbone, **said), heads or (HEART,), channels=channels, side=side, seed=seed)


@pytest.mark.parametrize(
    ("backbone", "channels", "side", "width"),
    [
        ("small", 1, 64, 224),
        ("small", 3, 33, 224),
        ("resnet10t", 1, 64, 512),
        ("test_convnext", 3, 64, 64),
        ("densenet121", 3, 32, 1024),
        ("torchvision:resnet18", 1, 64, 512),
        ("torchvision:mobilenet_v3_small", 3, 64, 1024),
    ],
)
def test_every_backbone_ends_in_features(backbone: str, channels: int, side: int, width: int) -> None:
    net = net_of(backbone, HEART, RACE, AGE, channels=channels, side=side).eval()
    x = torch.rand(2, channels, side, side)
    with torch.no_grad():
        features, made = net.features(x), net(x)
    assert features.shape == (2, width) == (2, net.width)
    assert {name: tuple(one.shape) for name, one in made.items()} == {"heart": (2, 1), "race": (2, 3), "age": (2, 1)}
    assert torch.equal(made["race"], net.heads["race"](features))


def test_one_finding_under_a_softmax_has_two_outputs() -> None:
    assert net_of("small", TWO)(torch.rand(2, 1, 64, 64))["heart"].shape == (2, 2)


def test_a_transformer_takes_other_sizes_and_averages_its_patches() -> None:
    net = net_of("test_vit", side=96, pooling="avg").eval()
    assert net.backbone.pos_embed.shape[1] == 1 + (96 // 16) ** 2
    x = torch.rand(1, 1, 96, 96)
    tokens = net.backbone.forward_features(x)
    assert torch.allclose(net.features(x), net.backbone.fc_norm(tokens[:, 1:].mean(dim=1)), atol=1e-6)


def test_weights_follow_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = net_of("resnet10t", HEART, seed=3).state_dict()
    drawn = torch.rand(5)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(5), drawn)  # building draws nothing from the caller's numbers
    torch.manual_seed(2)
    same, other = net_of("resnet10t", RACE, HEART, seed=3).state_dict(), net_of("resnet10t", HEART, seed=4).state_dict()
    assert all(torch.equal(same[name], one[name]) for name in one)  # whatever other heads there are
    assert not torch.equal(other["heads.heart.weight"], one["heads.heart.weight"])
    assert not torch.equal(other["backbone.layer1.0.conv1.weight"], one["backbone.layer1.0.conv1.weight"])


def test_dropout_is_before_the_heads_and_only_in_training() -> None:
    net = build_net(ModelConfig(backbone="small", dropout=0.5), [HEART], channels=1, side=32, seed=0)
    x = torch.rand(4, 1, 32, 32)
    assert not torch.equal(net(x)["heart"], net(x)["heart"])
    net.eval()
    assert torch.equal(net(x)["heart"], net(x)["heart"])


@pytest.mark.parametrize(
    ("backbone", "said"),
    [("densenet112", "densenet121"), ("torchvision:resnet43", "torchvision:resnet34"), ("smal", "small")],
)
def test_an_unknown_backbone_is_named_with_the_nearest(backbone: str, said: str) -> None:
    with pytest.raises(CxrError, match="there is no backbone") as caught:
        net_of(backbone)
    assert caught.value.code == "CXR-501"
    assert said in caught.value.problem


@pytest.mark.parametrize(
    ("backbone", "side", "pooling"),
    [
        ("test_vit", 100, None),
        ("small", 64, "token"),
        ("resnet10t", 64, "nonsense"),
        ("torchvision:squeezenet1_0", 64, None),
    ],
)
def test_what_a_backbone_cannot_take_is_refused(backbone: str, side: int, pooling: str | None) -> None:
    with pytest.raises(CxrError) as caught:
        build_net(ModelConfig(backbone=backbone, pooling=pooling), [HEART], channels=1, side=side, seed=0)
    assert caught.value.code == "CXR-502"
    assert caught.value.fix


def phantoms(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng, norms = np.random.default_rng(seed), Norms.load()
    enlarged = rng.random(n) < 0.5
    pictures = [
        draw_phantom(rng, norms, Subject("nih_cxr14", float(rng.uniform(20, 85)), "PA", enlarged=bool(one)), 64, 64)[0]
        for one in enlarged
    ]
    return (torch.tensor(np.stack(pictures))[:, None] - 0.5) / 0.25, torch.tensor(enlarged, dtype=torch.float32)


def test_the_small_net_measures_hearts() -> None:
    """Held-out AUROC of cardiomegaly on drawn chests, after three passes over 384 of them."""
    net = net_of("small")
    assert 100_000 < sum(one.numel() for one in net.parameters()) < 400_000
    images, truth = phantoms(384, 0)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for rows in torch.randperm(len(images), generator=generator).split(32):
            loss = nn.functional.binary_cross_entropy_with_logits(net(images[rows])["heart"][:, 0], truth[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    held_out, enlarged = phantoms(200, 1)
    with torch.no_grad():
        scores = net.eval()(held_out)["heart"][:, 0]
    positive, negative = scores[enlarged == 1], scores[enlarged == 0]
    auroc = (positive[:, None] > negative[None, :]).float().mean().item()
    assert auroc >= 0.95
