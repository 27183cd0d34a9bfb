"""Masked autoencoders' vision transformers in the layout that He et al. published (arXiv 2111.06377), and those who
pretrained on chest X-rays after them: what a net of ours makes of an image is what the layout's own arithmetic makes of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor
from torch.nn import functional

from cxrdata.errors import CxrError
from cxrtrain.bundle import HeadTargets
from cxrtrain.config import ModelConfig
from cxrtrain.models.net import Net, build_net
from cxrtrain.models.weights import load_weights

SEX = HeadTargets("sex", "classes", "ce", ("M", "F"), ("target_sex",))
# Of timm's smallest transformer, pictures of 160 pixels when its weights were made.
WIDTH, DEPTH, HEADS, HIDDEN, PATCH, GRID = 64, 6, 2, 192, 16, 10


def of_block(name: str, width: int, hidden: int) -> dict[str, tuple[int, ...]]:
    sizes: dict[str, tuple[int, ...]] = {
        "norm1.weight": (width,), "norm1.bias": (width,), "attn.qkv.weight": (3 * width, width), "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width), "attn.proj.bias": (width,), "norm2.weight": (width,), "norm2.bias": (width,),
        "mlp.fc1.weight": (hidden, width), "mlp.fc1.bias": (hidden,), "mlp.fc2.weight": (width, hidden), "mlp.fc2.bias": (width,),
    }  # fmt: skip
    return {f"{name}.{part}": size for part, size in sizes.items()}


def encoder(
    width: int = WIDTH, depth: int = DEPTH, hidden: int = HIDDEN, grid: int = GRID, *, channels: int = 3
) -> dict[str, tuple[int, ...]]:
    """The names and sizes of the published layout."""
    sizes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width), "pos_embed": (1, 1 + grid * grid, width),
        "patch_embed.proj.weight": (width, channels, PATCH, PATCH), "patch_embed.proj.bias": (width,),
        "norm.weight": (width,), "norm.bias": (width,),
    }  # fmt: skip
    for at in range(depth):
        sizes |= of_block(f"blocks.{at}", width, hidden)
    return sizes


def decoder(*, channels: int = 3) -> dict[str, tuple[int, ...]]:
    """What pictures were rebuilt with, which a pretrained checkpoint has beside the encoder."""
    return {
        "mask_token": (1, 1, 32), "decoder_pos_embed": (1, 1 + GRID * GRID, 32), "decoder_embed.weight": (32, WIDTH),
        "decoder_embed.bias": (32,), **of_block("decoder_blocks.0", 32, 64), "decoder_norm.weight": (32,), "decoder_norm.bias": (32,),
        "decoder_pred.weight": (PATCH * PATCH * channels, 32), "decoder_pred.bias": (PATCH * PATCH * channels,),
    }  # fmt: skip


def numbers(sizes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    made = {name: torch.randn(size, generator=generator) * 0.2 for name, size in sizes.items()}
    return {name: one + 1 if "norm" in name and name.endswith("weight") else one for name, one in made.items()}


def features(state: dict[str, Tensor], images: Tensor, *, norm: str | None) -> Tensor:
    """The layout's arithmetic, written out. norm: that behind the average of the patches; None: the class token's."""
    n, side = len(images), images.shape[-1] // PATCH
    patches = functional.unfold(images, PATCH, stride=PATCH).transpose(1, 2)
    x = patches @ state["patch_embed.proj.weight"].flatten(1).T + state["patch_embed.proj.bias"]
    places = state["pos_embed"][:, 1:].reshape(1, GRID, GRID, WIDTH).permute(0, 3, 1, 2)
    if side != GRID:
        places = functional.interpolate(places, size=(side, side), mode="bicubic", align_corners=False, antialias=True)
    x = x + places.permute(0, 2, 3, 1).reshape(1, side * side, WIDTH)
    x = torch.cat(((state["cls_token"] + state["pos_embed"][:, :1]).expand(n, 1, WIDTH), x), dim=1)

    def normed(x: Tensor, name: str) -> Tensor:
        away = x - x.mean(-1, keepdim=True)
        return (
            away / (away.square().mean(-1, keepdim=True) + 1e-6).sqrt() * state[f"{name}.weight"]
            + state[f"{name}.bias"]
        )

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    for at in range(DEPTH):
        block = f"blocks.{at}"
        parts = linear(normed(x, f"{block}.norm1"), f"{block}.attn.qkv").reshape(n, -1, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-2, -1) / (WIDTH // HEADS) ** 0.5).softmax(-1)
        x = x + linear((weights @ value).transpose(1, 2).reshape(n, -1, WIDTH), f"{block}.attn.proj")
        inner = linear(normed(x, f"{block}.norm2"), f"{block}.mlp.fc1")
        x = x + linear(inner * 0.5 * (1 + torch.erf(inner / 2**0.5)), f"{block}.mlp.fc2")
    return normed(x, "norm")[:, 0] if norm is None else normed(x[:, 1:].mean(1), norm)


def loaded(path: Path, *, channels: int = 3, side: int = 160, pooling: str | None = "avg") -> tuple[Net, list[str]]:
    config = ModelConfig(backbone="test_vit", weights=str(path), pooling=pooling, freeze="backbone")
    net = build_net(config, (SEX,), channels=channels, side=side, seed=1)
    return net.eval(), load_weights(net, config)


def written(state: dict[str, Tensor], path: Path) -> Path:
    """As the published trainers save: with what they were called with, an object."""
    called = argparse.Namespace(model="mae_vit", mask_ratio=0.9, input_size=160)
    torch.save({"model": state, "optimizer": {"state": {}}, "epoch": 799, "args": called}, path)
    return path


@pytest.mark.parametrize("side", [160, 64, 192])
def test_features_of_a_pretrained_checkpoint(side: int, tmp_path: Path) -> None:
    state = numbers(encoder() | decoder())
    net, notes = loaded(written(state, tmp_path / "mae.pth"), side=side)
    images = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = net.features(images)
        assert torch.allclose(found, features(state, images, norm="norm"), atol=2e-4)
        assert not torch.allclose(
            found, features(state | {"norm.weight": torch.ones(WIDTH)}, images, norm="norm"), atol=1e-2
        )
    assert f"left out: {len(decoder())} tensors that make no features" in notes
    patches = side // PATCH
    assert (f"its positions were resampled to {patches} by {patches} patches" in notes) == (patches != GRID)


def test_features_of_one_that_was_trained_on(tmp_path: Path) -> None:
    """Its normalisation is called `fc_norm`, and it has a head."""
    state = numbers(
        encoder()
        | {"fc_norm.weight": (WIDTH,), "fc_norm.bias": (WIDTH,), "head.weight": (14, WIDTH), "head.bias": (14,)}
    )
    images = torch.rand(2, 3, 160, 160)
    both, notes = loaded(written(state, tmp_path / "both.pth"))
    assert "left out: norm, as fc_norm is in its place" in notes
    assert "left out: its classifier of 14 outputs; heads start anew (sex 2)" in notes
    usual, notes = loaded(
        written({name: one for name, one in state.items() if not name.startswith("norm.")}, tmp_path / "w.pth")
    )
    assert not [note for note in notes if "fc_norm" in note]
    with torch.no_grad():
        expected = features(state, images, norm="fc_norm")
        assert torch.allclose(both.features(images), expected, atol=2e-4)
        assert torch.allclose(usual.features(images), expected, atol=2e-4)


def test_features_of_the_class_token(tmp_path: Path) -> None:
    state = numbers(encoder() | decoder())
    net, _ = loaded(written(state, tmp_path / "mae.pth"), pooling="token")
    images = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        assert torch.allclose(net.features(images), features(state, images, norm=None), atol=2e-4)


def test_the_head_of_a_linear_probe_is_left_out(tmp_path: Path) -> None:
    """It normalises the features by statistics of its own, so its weights alone would say something else."""
    head = {
        "head.0.running_mean": (WIDTH,),
        "head.0.running_var": (WIDTH,),
        "head.1.weight": (2, WIDTH),
        "head.1.bias": (2,),
    }
    state = numbers(encoder() | head) | {"head.0.num_batches_tracked": torch.tensor(7)}
    config = ModelConfig(backbone="test_vit", weights=str(written(state, tmp_path / "probe.pth")), pooling="avg")
    net = build_net(config, (SEX,), channels=3, side=160, seed=1).eval()
    notes = load_weights(net, config)
    assert "left out: its head, a linear layer behind a batch normalisation" in notes
    assert not torch.equal(net.heads["sex"].weight, state["head.1.weight"])


@pytest.mark.parametrize(("theirs", "ours"), [(1, 1), (1, 3), (3, 1)])
def test_channels(theirs: int, ours: int, tmp_path: Path) -> None:
    """A grey picture means the same in as many channels as there are."""
    state = numbers(encoder(channels=theirs))
    net, _ = loaded(written(state, tmp_path / "mae.pth"), channels=ours)
    grey = torch.rand(2, 1, 160, 160)
    with torch.no_grad():
        expected = features(state, grey.repeat(1, theirs, 1, 1), norm="norm")
        assert torch.allclose(net.features(grey.repeat(1, ours, 1, 1)), expected, atol=2e-4)


def test_an_average_loaded_as_a_class_token_is_refused(tmp_path: Path) -> None:
    sizes = encoder() | {"fc_norm.weight": (WIDTH,), "fc_norm.bias": (WIDTH,)}
    state = {name: one for name, one in numbers(sizes).items() if not name.startswith("norm.")}
    with pytest.raises(CxrError, match=r"missing: norm\.weight") as error:
        loaded(written(state, tmp_path / "w.pth"), pooling="token")
    assert error.value.code == "CXR-157"
    assert error.value.fix == "they are of a transformer that averages its patches: model.pooling = avg"


def test_a_vit_b_16_is_of_the_published_layout() -> None:
    """Names and sizes, without making its 86 million numbers."""
    with torch.device("meta"):
        backbone = timm.create_model("vit_base_patch16_224", num_classes=0, global_pool="avg")
    published = encoder(768, 12, 3072, 14)
    expected = {
        name.replace("norm.", "fc_norm.") if name.startswith("norm.") else name: size
        for name, size in published.items()
    }
    assert {name: tuple(one.shape) for name, one in backbone.state_dict().items()} == expected
    assert backbone.fc_norm.eps == backbone.blocks[0].norm1.eps == 1e-6
    assert backbone.blocks[0].attn.num_heads == 12
