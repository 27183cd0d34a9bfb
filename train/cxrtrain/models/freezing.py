"""Freezing: none, all but the heads, or the first n blocks of the backbone. Frozen is frozen: no gradients, and batch
normalisation and dropout in there stay as in use, so that no running statistic drifts (a defect of published code)."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from cxrdata.errors import CxrError
from cxrtrain.models.net import Net

NONE, BACKBONE, FIRST = "none", "backbone", "first:"
_FEW = 4  # so many convolutions in a row may be a stem


@dataclass
class _Blocks:
    """What a walk through a backbone found. opened: modules whose children are blocks of their own."""

    found: list[tuple[str, nn.Module]] = field(default_factory=list)
    opened: list[nn.Module] = field(default_factory=list)


def freeze(net: Net, said: str) -> int:
    """Freeze as `ModelConfig.freeze` says; how many parameters stay trainable. What was frozen before is freed first.

    Raises CxrError: CXR-505 what is no such word, CXR-502 more blocks than there are.
    """
    blocks = _walk(net)
    count = _count(said, len(blocks.found))
    for parameter in net.parameters():
        parameter.requires_grad = True
    modules: list[nn.Module] = [net.backbone] if said == BACKBONE else []
    for _, block in blocks.found[:count]:
        modules += list(block) if isinstance(block, _Group) else [block]
    for module in modules:
        module.requires_grad_(requires_grad=False)
    if count:  # tables of positions and class tokens belong to what comes first
        for module in blocks.opened:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad = False
    chosen = {id(module) for module in modules}
    net.frozen = tuple(name for name, module in net.named_modules() if id(module) in chosen)
    net.train(net.training)
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def blocks_of(net: Net) -> list[tuple[str, nn.Module]]:
    """The backbone's blocks in order, by name: what comes before the first block is `stem`.

    DenseNet: stem, dense blocks and transitions; ResNet: stem, residual blocks; ConvNeXt: stem, downsamplings and blocks;
    ViT: patch embedding (`stem`), blocks; a last normalisation is a block of its own.
    """
    return _walk(net).found


def _count(said: str, there: int) -> int:
    if said in (NONE, BACKBONE):
        return 0
    number = said.removeprefix(FIRST)
    if not said.startswith(FIRST) or not number.isdecimal():
        raise CxrError("CXR-505", f"model.freeze cannot be {said!r}", fix="none, backbone, or first:N, such as first:3")
    if int(number) > there:
        problem = f"model.freeze asks for {number} blocks, and the backbone has {there}"
        raise CxrError("CXR-502", problem, fix=f"first:{there} at most, or backbone")
    return int(number)


class _Group(nn.ModuleList):
    """Modules in a row that count as one block."""


def _walk(net: Net) -> _Blocks:
    blocks = _Blocks()
    _open(net.backbone, "", blocks)
    found = blocks.found
    # What stands before the first real block is the stem.
    layers = next((at for at, (_, module) in enumerate(found) if not _is_layer(module)), 0)
    if layers:
        blocks.found = [("stem", _Group(module for _, module in found[:layers])), *found[layers:]]
    return blocks


def _open(module: nn.Module, name: str, blocks: _Blocks) -> None:
    """Add the blocks of a module that consists of blocks."""
    blocks.opened.append(module)
    for own, child in module.named_children():
        full = f"{name}.{own}" if name else own
        if _is_row(child) or any(_is_row(one) and _mostly_blocks(one) for one in child.children()):
            _open(child, full, blocks)
        elif any(True for _ in child.parameters()):
            blocks.found.append((full, child))


def _is_row(module: nn.Module) -> bool:
    """Whether a module is a list of blocks, or a long one of layers (VGG); a few layers in a row are one block."""
    if not isinstance(module, nn.Sequential | nn.ModuleList):
        return False
    return any(not _is_layer(child) for child in module) or sum(map(_weights, module)) > _FEW


def _mostly_blocks(row: nn.Module) -> bool:
    """A stage's list of blocks; not a block's own list of layers, among them one that gates them."""
    kinds = [_is_layer(child) for child in row.children() if any(True for _ in child.parameters())]
    return sum(kinds) < len(kinds) / 2


def _is_layer(module: nn.Module) -> bool:
    """A convolution or linear layer with what belongs to it, a normalisation; a deep stem is a few in a row."""
    children = list(module.children())
    in_a_row = isinstance(module, nn.Sequential) and all(_weights(child) <= 1 for child in children)
    return _weights(module) <= (_FEW if in_a_row else 1)


def _weights(module: nn.Module) -> int:
    return sum(isinstance(one, nn.Conv2d | nn.Linear) for one in module.modules())
