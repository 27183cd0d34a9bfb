"""Class activation maps: which places of an image speak for an output of a head.

    cam           Σ weight · map; its mean, and the head's bias, are the logit (Zhou et al., CVPR 2016)
    chexnet       log(sigmoid(cam) / prevalence), cut to −5 … 5 (reproduce-chexnet, Zech 2018)
    grad-cam      ReLU of Σ mean gradient · map (Selvaraju et al., ICCV 2017)
    ablation-cam  ReLU of Σ fall of the logit without the map · map (Desai and Ramaswamy, WACV 2020)

The first two need a net whose features are the mean of its last maps; the others take any.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cxrdata.errors import CxrError
from cxrtrain.bundle import HeadTargets
from cxrtrain.explain.layer import SpatialLayer

METHODS = ("grad-cam", "cam", "ablation-cam", "chexnet")
CHEXNET_LIMIT = 5.0
_UNITS = 64  # switched off at once, in one batch


def direction(head: nn.Module, asked: HeadTargets, output: int) -> tuple[Tensor, Tensor]:
    """Weights, shape (width,), and bias of the logit of one output; of one finding under a softmax their difference."""
    assert isinstance(head, nn.Linear)
    weight, bias = head.weight.detach().float(), head.bias.detach().float()
    if asked.kind == "binary" and asked.loss == "ce":
        return weight[1] - weight[0], bias[1] - bias[0]
    return weight[output], bias[output]


def maps_of(
    method: str,
    layer: SpatialLayer,
    images: Tensor,
    weight: Tensor,
    *,
    prevalence: float | None = None,
    top: int | None = None,
) -> Tensor:
    """Maps (n, h, w) of normalised images, for the logit that `weight` gives of the features.

    prevalence: for `chexnet`. top: for `ablation-cam`, only so many of each image's maps, those of the greatest norm.
    Raises CxrError CXR-502 where the method does not fit the net.
    """
    if method in ("cam", "chexnet") and not layer.pooled:
        raise CxrError(
            "CXR-502",
            f"{method} needs a model whose features are the mean of its last maps, and this one's are not",
            where=f"layer {layer.name} of {type(layer.net.backbone).__name__}",
            fix="--method grad-cam or ablation-cam",
        )
    native = layer.native(images).float()
    if method == "cam":
        return cam(layer.maps(native), weight)
    if method == "chexnet":
        assert prevalence is not None
        return chexnet(cam(layer.maps(native), weight), prevalence)
    if method == "grad-cam":
        return _grad_cam(layer, images, native, weight)
    each = zip(images, native, strict=True)
    return torch.stack([_ablation_cam(layer, image[None], one[None], weight, top) for image, one in each])


def cam(maps: Tensor, weight: Tensor) -> Tensor:
    """maps (n, channels, h, w), weight (channels,) → (n, h, w)."""
    return torch.einsum("nchw,c->nhw", maps, weight)


def chexnet(maps: Tensor, prevalence: float) -> Tensor:
    """How much likelier than usual the finding is by each place alone, as a logarithm; without the head's bias, as published.
    Raises CxrError CXR-502 for a prevalence that is none."""
    if not 0 < prevalence < 1:
        problem = f"the prevalence is {prevalence:g}, and no map can be compared with that"
        raise CxrError("CXR-502", problem, fix="--prevalence P, between 0 and 1")
    shares = nn.functional.logsigmoid(maps) - torch.log(torch.tensor(prevalence))
    return shares.clamp(-CHEXNET_LIMIT, CHEXNET_LIMIT)


def _grad_cam(layer: SpatialLayer, images: Tensor, native: Tensor, weight: Tensor) -> Tensor:
    maps = layer.maps(native).detach().requires_grad_()
    with torch.enable_grad():
        logits = layer.features(images, native, maps).float() @ weight
        (gradient,) = torch.autograd.grad(logits.sum(), maps)
    with torch.no_grad():
        return (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1).relu()


@torch.no_grad()
def _ablation_cam(layer: SpatialLayer, image: Tensor, native: Tensor, weight: Tensor, top: int | None) -> Tensor:
    """Of one image, (h, w). The published weights are the fall divided by the logit, which is the same for all maps: it would
    change the scale alone, and of a negative logit turn the picture over, so it is left out."""
    maps = layer.maps(native)
    whole = layer.features(image, native, maps).float() @ weight
    strength = maps[0].flatten(1).norm(dim=1)
    units = torch.arange(maps.shape[1], device=maps.device)
    if top is not None and top < len(units):
        units = torch.argsort(strength, descending=True, stable=True)[:top].sort().values
    falls = torch.zeros(maps.shape[1], device=maps.device)
    for several in torch.split(units, _UNITS):
        without = maps.repeat(len(several), 1, 1, 1)
        without[torch.arange(len(several)), several] = 0
        falls[several] = whole - layer.features(image, native, without).float() @ weight
    return torch.einsum("chw,c->hw", maps[0], falls).relu()
