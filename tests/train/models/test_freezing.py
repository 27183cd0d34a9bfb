"""Freezing: what is frozen has no gradients, and its running statistics do not move in training."""

from __future__ import annotations

import copy

import pytest
import torch
from cxrtrain.bundle import HeadTargets
from cxrtrain.config import ModelConfig
from cxrtrain.models.freezing import blocks_of, freeze
from cxrtrain.models.net import Net, build_net
from torch import nn

from cxrdata.errors import CxrError

HEART = HeadTargets("heart", "binary", "bce", ("cardiomegaly",), ("target_heart",))


def net_of(backbone: str, side: int = 32) -> Net:
    return build_net(ModelConfig(backbone=backbone), [HEART], channels=1, side=side, seed=0)


def steps(net: Net, n: int, side: int = 32) -> None:
    optimiser = torch.optim.SGD([one for one in net.parameters() if one.requires_grad], lr=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(n):
        net.train()
        loss = net(torch.rand(4, 1, side, side, generator=generator) * 3)["heart"].square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def moved(net: Net, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}


def copied(net: Net) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def test_a_frozen_backbone_keeps_its_running_statistics() -> None:
    """Published code froze parameters alone: in training mode the batch normalisation's means and variances drifted."""
    net = net_of("densenet121")
    assert freeze(net, "backbone") == 1025
    before = copied(net)
    steps(net, 5)
    assert moved(net, before) == {"heads.heart.weight", "heads.heart.bias"}
    assert not any(module.training for module in net.backbone.modules())
    assert net.training and net.dropout.training
    assert all(one.grad is None for one in net.backbone.parameters())


def test_what_wraps_a_net_does_not_thaw_it() -> None:
    """Several GPUs and averaged weights put a net into others, or copy it, and set their mode."""
    net = net_of("resnet10t")
    freeze(net, "first:2")
    for wrapped in (nn.DataParallel(net), nn.Sequential(net), copy.deepcopy(net)):
        wrapped.eval()
        wrapped.train()
        inner = next(one for one in wrapped.modules() if isinstance(one, Net))
        assert inner.training and not inner.backbone.bn1.training and inner.backbone.layer3[0].bn1.training


def test_unfrozen_they_do_move() -> None:
    net = net_of("resnet10t")
    freeze(net, "none")
    before = copied(net)
    steps(net, 3)  # timm starts a block's last normalisation at zero: nothing reaches its convolutions at first
    assert {"backbone.bn1.running_mean", "backbone.bn1.weight", "backbone.layer4.0.conv1.weight"} <= moved(net, before)


def test_the_first_blocks_and_no_more() -> None:
    net = net_of("resnet10t")
    assert [name for name, _ in blocks_of(net)] == ["stem", "layer1.0", "layer2.0", "layer3.0", "layer4.0"]
    freeze(net, "first:3")
    before = copied(net)
    steps(net, 3)
    changed = moved(net, before)
    frozen = ("backbone.conv1.", "backbone.bn1.", "backbone.layer1.", "backbone.layer2.")
    assert not any(name.startswith(frozen) for name in changed)
    rest = {name for name in before if not name.startswith(frozen)}
    assert changed == rest  # parameters and statistics alike
    freeze(net, "none")
    assert net.frozen == () and all(module.training for module in net.train().modules())


def test_a_transformers_positions_are_frozen_with_its_stem() -> None:
    net = net_of("test_vit")
    freeze(net, "first:2")
    frozen = {name for name, one in net.named_parameters() if not one.requires_grad}
    assert {"backbone.cls_token", "backbone.pos_embed", "backbone.patch_embed.proj.weight"} <= frozen
    assert any(name.startswith("backbone.blocks.0.") for name in frozen)
    assert not any(name.startswith(("backbone.blocks.1.", "backbone.norm", "heads.")) for name in frozen)


@pytest.mark.parametrize(
    ("backbone", "first", "last", "count"),
    [
        ("densenet121", ["stem", "features.denseblock1", "features.transition1"], "features.norm5", 9),
        ("torchvision:densenet121", ["stem", "features.denseblock1", "features.transition1"], "features.norm5", 9),
        ("torchvision:resnet34", ["stem", "layer1.0", "layer1.1"], "layer4.2", 17),
        ("test_convnext", ["stem", "stages.0.blocks.0", "stages.1.downsample"], "head", 14),
        ("test_vit", ["stem", "blocks.0", "blocks.1"], "norm", 8),
        ("torchvision:efficientnet_b0", ["stem", "features.1.0", "features.2.0"], "features.8", 18),
        ("small", ["stem", "blocks.0", "blocks.1"], "blocks.3", 5),
    ],
)
def test_blocks_come_in_order_and_are_all_of_the_backbone(
    backbone: str, first: list[str], last: str, count: int
) -> None:
    net = net_of(backbone)
    names = [name for name, _ in blocks_of(net)]
    assert (names[:3], names[-1], len(names)) == (first, last, count)
    freeze(net, f"first:{count}")
    assert not any(one.requires_grad for one in net.backbone.parameters())
    assert all(one.requires_grad for one in net.heads.parameters())


@pytest.mark.parametrize(
    ("said", "code"), [("first:6", "CXR-502"), ("first:-1", "CXR-505"), ("first:", "CXR-505"), ("all", "CXR-505")]
)
def test_what_cannot_be_frozen_is_refused(said: str, code: str) -> None:
    net = net_of("resnet10t")
    with pytest.raises(CxrError) as caught:
        freeze(net, said)
    assert caught.value.code == code
    assert all(one.requires_grad for one in net.parameters())
