"""Class activation maps against formulas by hand, over backbones of every shape."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cxrdata.errors import CxrError
from cxrtrain.bundle import HeadTargets
from cxrtrain.config import ModelConfig
from cxrtrain.explain.cam import cam, chexnet, direction, maps_of
from cxrtrain.explain.layer import SpatialLayer, spatial_layer
from cxrtrain.models.net import Net, build_net

FINDING = HeadTargets("finding", "binary", "bce", ("cardiomegaly",), ("t",))
SOFTMAX = HeadTargets("softmax", "binary", "ce", ("cardiomegaly",), ("t",))
CLASSES = HeadTargets("race", "classes", "ce", ("White", "Asian", "Black"), ("t",))
SIDE = 32


class Pooled(nn.Module):
    """Two convolutions and the mean over places: the features are the mean of the last maps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1, stride=2)
        self.last = nn.Conv2d(4, channels, 3, padding=1)
        self.num_features = channels

    def maps(self, x: Tensor) -> Tensor:
        return torch.relu(self.last(torch.relu(self.first(x))))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.last(torch.relu_(self.first(x)))).mean(dim=(2, 3))


class Squared(Pooled):
    """The mean is not the end of it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) ** 2


def made(kind: type[Pooled], *heads: HeadTargets, channels: int = 6) -> Net:
    torch.manual_seed(1)
    return Net(kind(channels), channels, heads or (FINDING,)).eval()


def layer_of(net: Net, channels: int = 1, side: int = SIDE) -> SpatialLayer:
    return spatial_layer(net, channels=channels, side=side)


@pytest.fixture
def images() -> Tensor:
    return torch.rand((3, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(2))


def weight_of(net: Net, head: HeadTargets = FINDING, output: int = 0) -> Tensor:
    return direction(net.heads[head.name], head, output)[0]


class TestCam:
    def test_by_hand_and_its_mean_is_the_logit(self, images: Tensor) -> None:
        net = made(Pooled)
        layer = layer_of(net)
        assert (layer.name, layer.pooled, layer.rectified) == ("last", True, True)
        found = maps_of("cam", layer, images, weight_of(net))
        with torch.no_grad():
            maps = net.backbone.maps(images)
            expected = sum(net.heads["finding"].weight[0, k] * maps[:, k] for k in range(6))
            logit = net(images)["finding"][:, 0]
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(found.mean(dim=(1, 2)) + net.heads["finding"].bias, logit)

    def test_peaks_on_a_planted_square(self) -> None:
        net = made(Pooled)
        with torch.no_grad():  # the net looks for brightness, and for nothing else
            for layer in (net.backbone.first, net.backbone.last):
                layer.weight.fill_(0.1)
                layer.bias.zero_()
            net.heads["finding"].weight.fill_(1.0)
        image = torch.zeros(1, 1, SIDE, SIDE)
        image[0, 0, 20:26, 4:10] = 1
        for method in ("cam", "grad-cam", "ablation-cam"):
            found = maps_of(method, layer_of(net), image, weight_of(net))[0]
            row, column = np.unravel_index(int(found.argmax()), found.shape)
            assert 10 <= row < 13 and 2 <= column < 5, method

    def test_softmax_of_one_finding_is_the_difference(self) -> None:
        net = made(Pooled, SOFTMAX, CLASSES)
        weight, bias = direction(net.heads["softmax"], SOFTMAX, 0)
        torch.testing.assert_close(weight, net.heads["softmax"].weight[1] - net.heads["softmax"].weight[0])
        torch.testing.assert_close(bias, net.heads["softmax"].bias[1] - net.heads["softmax"].bias[0])
        torch.testing.assert_close(weight_of(net, CLASSES, 2), net.heads["race"].weight[2])

    def test_refused_where_the_features_are_no_mean(self, images: Tensor) -> None:
        net = made(Squared)
        for method in ("cam", "chexnet"):
            with pytest.raises(CxrError) as caught:
                maps_of(method, layer_of(net), images, weight_of(net), prevalence=0.1)
            assert caught.value.code == "CXR-502"
            assert caught.value.fix == "--method grad-cam or ablation-cam"


class TestChexnet:
    def test_by_hand(self) -> None:
        values = torch.tensor([[[-30.0, -1.0], [0.0, 30.0]]])
        found = chexnet(values, 0.02)[0].flatten().tolist()
        shares = [1 / (1 + math.exp(-value)) for value in (-30, -1, 0, 30)]
        assert found == pytest.approx([max(-5, min(5, math.log(share / 0.02))) for share in shares], rel=1e-5)
        assert found[0] == -5

    @pytest.mark.parametrize("prevalence", [0.0, 1.0, math.nan])
    def test_a_prevalence_that_is_none(self, prevalence: float) -> None:
        with pytest.raises(CxrError, match="CXR-502"):
            chexnet(torch.zeros(1, 2, 2), prevalence)


class TestGradCam:
    def test_of_a_pooled_net_it_is_the_positive_cam_up_to_scale(self, images: Tensor) -> None:
        net = made(Pooled)
        plain = cam(net.backbone.maps(images).detach(), weight_of(net)).relu()
        found = maps_of("grad-cam", layer_of(net), images, weight_of(net))
        places = (SIDE // 2) ** 2
        torch.testing.assert_close(found * places, plain)
        assert plain.max() > 0

    def test_otherwise_by_hand(self, images: Tensor) -> None:
        net = made(Squared)
        maps = net.backbone.last(torch.relu(net.backbone.first(images))).detach().requires_grad_()
        logit = (maps.relu().mean(dim=(2, 3)) ** 2) @ weight_of(net)
        (gradient,) = torch.autograd.grad(logit.sum(), maps)
        expected = (gradient.mean(dim=(2, 3))[:, :, None, None] * maps).sum(1).relu().detach()
        torch.testing.assert_close(maps_of("grad-cam", layer_of(net), images, weight_of(net)), expected)


class TestAblationCam:
    def test_against_a_loop_by_hand(self, images: Tensor) -> None:
        net, loops = made(Squared), []
        weight = weight_of(net)
        with torch.no_grad():
            for image in images.split(1):
                maps = net.backbone.last(torch.relu(net.backbone.first(image)))
                logit = (maps.relu().mean(dim=(2, 3)) ** 2) @ weight
                total = torch.zeros(maps.shape[2:])
                for k in range(maps.shape[1]):
                    without = maps.clone()
                    without[:, k] = 0
                    fall = logit - (without.relu().mean(dim=(2, 3)) ** 2) @ weight
                    total += fall * maps[0, k]
                loops.append(total.relu())
        torch.testing.assert_close(maps_of("ablation-cam", layer_of(net), images, weight), torch.stack(loops))

    def test_only_the_strongest(self, images: Tensor) -> None:
        net = made(Pooled)
        layer, weight = layer_of(net), weight_of(net)
        every = maps_of("ablation-cam", layer, images, weight)
        torch.testing.assert_close(maps_of("ablation-cam", layer, images, weight, top=6), every)
        one = maps_of("ablation-cam", layer, images[:1], weight, top=1)[0]
        maps = net.backbone.maps(images[:1])[0].detach()
        k = int(maps.flatten(1).norm(dim=1).argmax())
        torch.testing.assert_close(one, (weight[k] * maps[k].mean() * maps[k]).relu())


BACKBONES = [
    ("small", None, 64, "blocks", False),
    ("test_resnet", None, 64, None, True),
    ("test_convnext", None, 64, None, False),
    ("test_vit", None, 32, "blocks.5.norm1", False),
    ("test_vit", "avg", 32, "norm", False),
    ("swin_tiny_patch4_window7_224", None, 64, "norm", True),
    ("torchvision:resnet18", None, 64, "layer4", True),
]


@pytest.mark.parametrize(("name", "pooling", "side", "layer_name", "pooled"), BACKBONES)
def test_any_backbone(name: str, pooling: str | None, side: int, layer_name: str | None, *, pooled: bool) -> None:
    """The layer is found; from its own maps the rest of the net makes the same features; maps lie where the image does."""
    net = build_net(ModelConfig(name, pooling=pooling), [FINDING], channels=1, side=side).eval()
    layer = layer_of(net, side=side)
    assert layer_name in (None, layer.name)
    assert layer.pooled == pooled
    images = torch.rand((2, 1, side, side), generator=torch.Generator().manual_seed(3))
    native = layer.native(images)
    maps = layer.maps(native)
    assert maps.shape[2] == maps.shape[3] > 1
    with torch.no_grad():
        torch.testing.assert_close(layer.features(images, native, maps), net.features(images), atol=1e-4, rtol=1e-3)
    assert maps_of("grad-cam", layer, images, weight_of(net)).shape == (2, *maps.shape[2:])
    if name != "test_vit":
        # The layer's maps move where the image changes; a transformer's tokens all see each other.
        changed = images.clone()
        changed[:, :, : side // 8, : side // 8] += 3.0
        moved = (layer.maps(layer.native(changed)) - maps).abs().sum(dim=(0, 1))
        assert moved[0, 0] > moved[-1, -1]


def test_no_layer_with_places() -> None:
    net = build_net(ModelConfig("small"), [FINDING], channels=1, side=2).eval()
    with pytest.raises(CxrError, match="two places a side"):
        layer_of(net, side=2)
