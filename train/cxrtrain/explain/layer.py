"""The last layer of a backbone in which it is still known what lies where: found by the shapes of what layers put out.

Feature maps are (n, channels, h, w); transformers' are (n, h, w, channels), or tokens (n, extra + h·w, channels) whose extra
ones (class token, registers) come first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cxrdata.errors import CxrError
from cxrtrain.models.net import Net

_CLOSE = 1e-4
_TRIED = 2  # images that a layer is looked for with


@dataclass(frozen=True)
class _Layout:
    """How a layer's output is to be read as maps. kind: `channels_first`, `channels_last`, `tokens`. extra: tokens that are
    no place of the image."""

    kind: str
    side: int
    channels: int
    extra: int = 0

    def maps(self, native: Tensor) -> Tensor:
        """(n, channels, side, side)."""
        if self.kind == "channels_first":
            return native
        if self.kind == "channels_last":
            return native.permute(0, 3, 1, 2)
        return native[:, self.extra :].transpose(1, 2).reshape(len(native), self.channels, self.side, self.side)

    def replaced(self, native: Tensor, maps: Tensor) -> Tensor:
        """What the layer would put out with other maps; the first dimension may be longer."""
        if self.kind == "channels_first":
            return maps
        if self.kind == "channels_last":
            return maps.permute(0, 2, 3, 1)
        return torch.cat([native[:, : self.extra].expand(len(maps), -1, -1), maps.flatten(2).transpose(1, 2)], dim=1)


@dataclass
class SpatialLayer:
    """A net seen as two parts: up to a layer whose output still has places, and from there on.

    name: of the module. pooled: the features are the mean of this layer's maps over their places, which was tried out, so
    that a linear head's logit is the mean of a map (Zhou et al. 2016). rectified: a ReLU without a module of its own stands
    between the layer and the mean (torchvision's DenseNet); maps are those behind it.
    """

    net: Net
    name: str
    layout: _Layout
    pooled: bool = False
    rectified: bool = False
    _staged: bool = field(default=False, repr=False)

    def native(self, images: Tensor) -> Tensor:
        """What the layer puts out for normalised images."""
        kept: list[Tensor] = []
        with torch.no_grad(), _hooked(self.net.backbone.get_submodule(self.name), _keep(kept)):
            self.net.features(images)
        return kept[0]

    def maps(self, native: Tensor) -> Tensor:
        """(n, channels, h, w)."""
        maps = self.layout.maps(native)
        return maps.relu() if self.rectified else maps

    def features(self, images: Tensor, native: Tensor, maps: Tensor) -> Tensor:
        """(n, width): what the heads see where the layer's maps are these. images, and native, what the layer put out for
        them: of all n, or of one."""
        if self.pooled:
            return maps.mean(dim=(2, 3))
        replaced = self.layout.replaced(native, maps).clone()  # what comes after may change it in place
        if self._staged:
            made: Tensor = self.net.backbone.forward_head(replaced)  # type: ignore[operator]
            return made
        # The images themselves are needed: of a transformer, the rest of the block goes around the layer.
        with _hooked(self.net.backbone.get_submodule(self.name), lambda *_: replaced):
            return self.net.features(images.expand(len(maps), -1, -1, -1))


def spatial_layer(net: Net, *, channels: int, side: int) -> SpatialLayer:
    """The last layer of a net with at least two places a side on which the features depend: a class token's do not depend on
    the patches of the last block. Of those as wide as the features, if there are any.

    Raises CxrError CXR-502 where there is none.
    """
    net.eval()
    backbone = net.backbone
    device = next(net.parameters()).device
    drawer = torch.Generator().manual_seed(0)
    images = torch.rand((_TRIED, channels, side, side), generator=drawer).to(device).requires_grad_()
    outputs, features = _outputs(backbone, images)
    # A plain sum would do away with itself behind a layer normalisation.
    weights = torch.rand(features.shape[1], generator=drawer).to(device)
    found = [(name, out, layout) for name, out in outputs if (layout := _layout(out, net.width)) is not None]
    wide = [one for one in found if one[2].channels == net.width]
    found = wide or found
    if found:
        gradients = torch.autograd.grad((features @ weights).sum(), [out for _, out, _ in found], allow_unused=True)
        for (name, out, layout), gradient in reversed(list(zip(found, gradients, strict=True))):
            if gradient is not None and bool(layout.maps(gradient).abs().sum() > 0):
                return _tried(net, name, out.detach(), layout, images.detach(), features.detach())
    raise CxrError(
        "CXR-502",
        f"no layer of the model keeps two places a side of images of {side} pixels",
        where=type(backbone).__name__,
        fix="explain a run that was trained on larger images",
    )


def _tried(net: Net, name: str, native: Tensor, layout: _Layout, images: Tensor, features: Tensor) -> SpatialLayer:
    """The layer, with what holds of it on the images that were tried."""
    maps = layout.maps(native)
    layer = SpatialLayer(net, name, layout)
    for rectified in (False, True):
        mean = (maps.relu() if rectified else maps).mean(dim=(2, 3))
        if mean.shape == features.shape and torch.allclose(mean, features, rtol=_CLOSE, atol=_CLOSE):
            layer.pooled, layer.rectified = True, rectified
            return layer
    first, last = (getattr(net.backbone, half, None) for half in ("forward_features", "forward_head"))
    if callable(first) and callable(last):  # timm's models are made of these two
        with torch.no_grad():
            halfway = first(images)
            layer._staged = (  # noqa: SLF001 - our own
                isinstance(halfway, Tensor)
                and halfway.shape == native.shape
                and torch.allclose(halfway, native, rtol=_CLOSE, atol=_CLOSE)
                and torch.allclose(last(halfway), features, rtol=_CLOSE, atol=_CLOSE)
            )
    return layer


def _layout(out: Tensor, width: int) -> _Layout | None:
    """How an output is to be read, if it has places at all."""
    shape = tuple(out.shape)
    if len(shape) == 4:
        last = shape[1] == shape[2] > 1 and (shape[3] == width or shape[2] != shape[3])
        if last:
            return _Layout("channels_last", shape[1], shape[3])
        return _Layout("channels_first", shape[2], shape[1]) if shape[2] == shape[3] > 1 else None
    if len(shape) == 3 and shape[2] == width:
        for extra in range(min(shape[1], 9)):  # a class token, a distillation token, up to eight registers
            side = math.isqrt(shape[1] - extra)
            if side > 1 and side * side == shape[1] - extra:
                return _Layout("tokens", side, shape[2], extra)
    return None


def _outputs(backbone: nn.Module, images: Tensor) -> tuple[list[tuple[str, Tensor]], Tensor]:
    """What each module that is called once puts out, in the order of their ends; and the features."""
    kept: list[tuple[str, Tensor]] = []
    handles = []
    for name, module in backbone.named_modules():
        if name:

            def hook(_module: nn.Module, _given: object, out: object, name: str = name) -> object:
                if not isinstance(out, Tensor):
                    return None
                kept.append((name, out))
                return out.clone()  # what comes after may change it in place

            handles.append(module.register_forward_hook(hook))
    try:
        with torch.enable_grad():
            features: Tensor = backbone(images)
    finally:
        for handle in handles:
            handle.remove()
    calls = [name for name, _ in kept]
    return [(name, out) for name, out in kept if calls.count(name) == 1], features


def _keep(kept: list[Tensor]) -> Callable[[nn.Module, object, Tensor], Tensor]:
    def hook(_module: nn.Module, _given: object, out: Tensor) -> Tensor:
        kept.append(out)
        return out.clone()

    return hook


@contextmanager
def _hooked(module: nn.Module, hook: Callable[..., object]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
