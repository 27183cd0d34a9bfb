"""Backbones by name: `small` (ours), any of timm, `torchvision:NAME`; each ends in features, its classifier taken off."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cxrdata.errors import CxrError, nearest

OWN = ("small",)
TORCHVISION = "torchvision:"


def build_backbone(name: str, *, channels: int, side: int, pooling: str | None = None) -> tuple[nn.Module, int]:
    """A backbone that makes (n, width) of (n, channels, side, side), and its width, which is found by trying it.

    Raises CxrError: CXR-501 no such backbone, CXR-502 it takes no such images or has no such pooling.
    """
    if name in OWN:
        _no_pooling(name, pooling)
        backbone: nn.Module = _own(channels)
    elif name.startswith(TORCHVISION):
        _no_pooling(name, pooling)
        backbone = _from_torchvision(name, channels)
    else:
        backbone = _from_timm(name, channels, side, pooling)
    return backbone, _width(backbone, name, channels, side)


def _own(channels: int) -> nn.Module:
    from cxrtrain.models.small import Small

    return Small(channels)


def _no_pooling(name: str, pooling: str | None) -> None:
    if pooling not in (None, "avg"):
        raise CxrError("CXR-502", f"{name} has no pooling {pooling!r}", where="model.pooling", fix="leave it out")


def check_name(name: str) -> None:
    """Raises CxrError CXR-501 where no backbone is called so."""
    if name in OWN:
        return
    if name.startswith(TORCHVISION):
        import torchvision  # type: ignore[import-untyped]

        known = [f"{TORCHVISION}{one}" for one in torchvision.models.list_models(module=torchvision.models)]
        there = name in known
    else:
        import timm

        there = timm.is_model(name)
        known = [*OWN, *timm.list_models()]
    if not there:
        hint = nearest(name, known) or nearest(name.removeprefix(TORCHVISION), known)
        raise CxrError(
            "CXR-501",
            f"there is no backbone {name!r}{hint}",
            where="model.backbone",
            fix="name `small`, a model of timm, or torchvision:NAME",
        )


def _from_timm(name: str, channels: int, side: int, pooling: str | None) -> nn.Module:
    import timm

    check_name(name)
    options: dict[str, Any] = {} if pooling is None else {"global_pool": pooling}
    usual = timm.get_pretrained_cfg(name)
    if usual is not None and usual.fixed_input_size and usual.input_size[1:] != (side, side):
        options["img_size"] = side  # a transformer's table of positions is made for one size
    try:
        backbone: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, in_chans=channels, **options)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        problem = f"{name} cannot be built for {channels} channels, {side} pixels, pooling {pooling or 'its own'}"
        raise CxrError(
            "CXR-502", f"{problem}: {error}", where="model", fix="change pooling, data.side or backbone"
        ) from (error)
    _whole_patches(backbone, name, side)
    return backbone


def _whole_patches(backbone: nn.Module, name: str, side: int) -> None:
    """A vision transformer would leave out, unsaid, the edge that fills no patch."""
    patch = getattr(getattr(backbone, "patch_embed", None), "patch_size", None)
    size = patch[0] if isinstance(patch, tuple) else patch
    if isinstance(size, int) and side % size:
        problem = f"{name} cuts images into patches of {size} pixels, and {side} is no multiple of it"
        raise CxrError("CXR-502", problem, where="data.side", fix=f"{side // size * size or size} is")


def _from_torchvision(name: str, channels: int) -> nn.Module:
    import warnings

    import torchvision

    check_name(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of two models: their random weights will be drawn differently
        backbone: nn.Module = torchvision.models.get_model(name.removeprefix(TORCHVISION), weights=None)
    if hasattr(backbone, "aux_logits"):
        backbone.__dict__["aux_logits"] = False  # GoogLeNet and Inception put out further scores in training
        for auxiliary in ("aux1", "aux2", "AuxLogits"):
            if hasattr(backbone, auxiliary):
                setattr(backbone, auxiliary, None)
    _strip_classifier(backbone, name)
    if channels != 3:
        _other_channels(backbone, channels)
    return backbone


def classifier_of(backbone: nn.Module) -> str:
    """The name of the last linear layer, or of the convolution that stands in for one."""
    last = [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return str(last[-1])


def _strip_classifier(backbone: nn.Module, name: str) -> None:
    last = classifier_of(backbone)
    if not isinstance(backbone.get_submodule(last), nn.Linear):
        raise CxrError(
            "CXR-502",
            f"{name} has no linear classifier that heads could take the place of",
            where="model.backbone",
            fix="take another backbone",
        )
    parent, _, own = last.rpartition(".")
    setattr(backbone.get_submodule(parent), own, nn.Identity())
    backbone.__dict__["classifier_name"] = last  # for who looks for it in a file of weights


def first_convolution(backbone: nn.Module) -> str:
    """The name of the first convolution of a backbone."""
    return str(next(name for name, module in backbone.named_modules() if isinstance(module, nn.Conv2d)))


def _other_channels(backbone: nn.Module, channels: int) -> None:
    name = first_convolution(backbone)
    old = backbone.get_submodule(name)
    assert isinstance(old, nn.Conv2d)
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    parent, _, own = name.rpartition(".")
    setattr(backbone.get_submodule(parent), own, new)


def _width(backbone: nn.Module, name: str, channels: int, side: int) -> int:
    """Found by one image, without changing any running statistics."""
    was = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            made = backbone(torch.zeros(1, channels, side, side))
    except (AssertionError, RuntimeError, ValueError) as error:
        problem = f"{name} takes no images of {side} by {side} pixels: {error}"
        raise CxrError("CXR-502", problem, where="data.side", fix="change data.side or model.backbone") from error
    finally:
        backbone.train(was)
    if not isinstance(made, Tensor) or made.ndim != 2:
        raise CxrError("CXR-502", f"{name} makes no features of an image", where="model", fix="take another backbone")
    return int(made.shape[1])
