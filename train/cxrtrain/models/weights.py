"""What a net starts from: random numbers, ImageNet, a file of weights, or a run of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cxrdata.errors import CxrError
from cxrdata.wording import counted
from cxrtrain.config import ModelConfig
from cxrtrain.models.backbones import first_convolution
from cxrtrain.models.fetching import imagenet_file
from cxrtrain.models.foreign import open_checkpoint, refusing
from cxrtrain.models.net import Net

RUN = "run:"
BACKBONE_ONLY = "#backbone"
BEST = Path("checkpoints") / "best.safetensors"
_WRAPPERS = ("module.", "_orig_mod.", "model.", "backbone.", "network.", "net.", "encoder.module.")
# Layers of DenseNet were called `norm.1` before torch 0.4, in torchvision's published files to this day.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")
# No part of what makes features: what masked autoencoders reconstruct with, the scores beside that Inception trains with.
_BESIDE = ("decoder_", "decoder.", "mask_token", "aux1.", "aux2.", "AuxLogits.")
# Of a linear probe of masked autoencoders: its head begins with a batch normalisation.
_PROBED = "head.0.running_mean"
_LISTED = 3


def load_weights(net: Net, config: ModelConfig, *, say: Callable[[str], None] = lambda _: None) -> list[str]:
    """Load what `config.weights` says into a net, in place; what is to be known of it, as sentences.

    `none`; `imagenet`; a file (safetensors, or a state dict or checkpoint of torch); `run:FOLDER`, a run's best checkpoint.
    With `#backbone` behind a file or run, and wherever the backbone is frozen, the backbone alone is taken, and heads start
    anew. say: told before anything is fetched.

    Raises CxrError: CXR-157 the weights are of another model or task, CXR-158 the file is damaged or holds code, CXR-159
    ImageNet's weights are nowhere, CXR-155 no such run.
    """
    said = config.weights
    if said == "none":
        return []
    if said == "imagenet":
        path = imagenet_file(config.backbone, say)
        state, _ = read_weights(path)
        return [f"weights: ImageNet, {path.name}", *fit_backbone(net, state, path.name, heads=False)]
    heads = not said.endswith(BACKBONE_ONLY) and config.freeze != "backbone"
    place = said.removesuffix(BACKBONE_ONLY)
    if place.startswith(RUN):
        return load_run(net, Path(place.removeprefix(RUN)), heads=heads)
    path = Path(place)
    if not path.is_file():
        problem = f"there is no file of weights {place!r}"
        raise CxrError("CXR-159", problem, where="model.weights", fix="none, imagenet, a file, or run:FOLDER")
    state, outputs = read_weights(path)
    # Ours has both; torchvision's transformers have heads too.
    if all(any(name.startswith(one) for name in state) for one in ("heads.", "backbone.")):
        return _fit_net(net, state, outputs, path.name, heads=heads)
    return [f"weights: {path.name}", *fit_backbone(net, state, path.name, heads=heads)]


def load_run(net: Net, run: Path, *, heads: bool = True) -> list[str]:
    """Load a run's best checkpoint; without `heads` the backbone alone. Raises as `load_weights` does."""
    path = run / BEST
    if not path.is_file():
        fix = "name a run that has passed its first epoch; cxrdata runs list"
        raise CxrError("CXR-155", "the run has no best checkpoint", where=str(run), fix=fix)
    state, outputs = read_weights(path)
    return _fit_net(net, state, outputs, f"{run.name}/{BEST.as_posix()}", heads=heads)


def outputs_metadata(net: Net) -> dict[str, str]:
    """For the header of a safetensors file: what each head puts out, so that another task's head is known as such."""
    return {"outputs": json.dumps({name: list(outputs) for name, outputs in net.outputs.items()}, sort_keys=True)}


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, list[str]] | None]:
    """The tensors of a file by name, and what its heads put out, where its header says. Raises CxrError CXR-158."""
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with refusing(path), safe_open(path, framework="pt") as file:
            header: Mapping[str, str] = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            return state, json.loads(header["outputs"]) if "outputs" in header else None
    with open_checkpoint(path) as checkpoint:
        return {name: checkpoint.tensor(one) for name, one in checkpoint.state().items()}, None


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as the bare model has them: what wrappers put before them taken off, old spellings in today's."""
    names = dict(state)
    while True:
        wrapper = next((one for one in _WRAPPERS if names and all(name.startswith(one) for name in names)), None)
        if wrapper is None:
            break
        names = {name.removeprefix(wrapper): tensor for name, tensor in names.items()}
    return {_OLD_DENSENET.sub(r"\1\2.", name): tensor for name, tensor in names.items()}


def _fit_net(
    net: Net, state: Mapping[str, Tensor], outputs: Mapping[str, list[str]] | None, where: str, *, heads: bool
) -> list[str]:
    """A state dict of our own into a net."""
    if not heads:
        backbone = {name.removeprefix("backbone."): one for name, one in state.items() if name.startswith("backbone.")}
        return [
            f"weights: {where}, the backbone alone; heads start anew",
            *fit_backbone(net, backbone, where, heads=False),
        ]
    own = {name: list(said) for name, said in net.outputs.items()}
    theirs = sorted({name.split(".")[1] for name in state if name.startswith("heads.")})
    fix = "to take the backbone alone, add #backbone to model.weights"
    if theirs != sorted(own) or (outputs is not None and outputs != own):
        said = "; ".join(f"{name}: {', '.join((outputs or {}).get(name, ['?'])[:_LISTED])}" for name in theirs)
        problem = f"the checkpoint is of another task: its heads are {said or 'none'}; asked for: {', '.join(own)}"
        raise CxrError("CXR-157", problem, where=where, fix=fix)
    _load(net, state, where, fix)
    return [f"weights: {where}"]


def fit_backbone(net: Net, state: Mapping[str, Tensor], where: str, *, heads: bool) -> list[str]:
    """A state dict of a bare model, under whatever wrappers, into a net's backbone; its classifier where it fits."""
    own = net.backbone.state_dict()
    names = plain_names(state)
    notes: list[str] = []
    _take_norm(names, own, notes)
    _take_positions(names, net.backbone, own, notes)
    left = [name for name in names if name not in own]
    probed = [name for name in left if _PROBED in names and name.startswith("head.")]
    if probed:
        notes.append("left out: its head, a linear layer behind a batch normalisation")
    left = [name for name in left if name not in probed]
    classifier = _classifier(net.backbone, names, left)
    _take_classifier(net, names, classifier, notes, heads=heads)
    others = [name for name in left if name.startswith(_BESIDE)]
    if others:
        notes.append(f"left out: {counted(len(others), 'tensor')} that make no features")
    taken = {name: one for name, one in names.items() if name not in {*others, *classifier, *probed}}
    _take_channels(taken, net.backbone, own, notes)
    _load(net.backbone, taken, where, _other_weights(names, own))
    return notes


def _classifier(backbone: torch.nn.Module, names: Mapping[str, Tensor], left: list[str]) -> list[str]:
    """Of what the backbone has no place for, the classifier's weight and bias."""
    about: Any = getattr(backbone, "pretrained_cfg", None) or {}
    said = str(about.get("classifier") or getattr(backbone, "classifier_name", "") or "classifier")
    places = [name.removesuffix(".weight") for name in left if name.endswith(".weight") and names[name].ndim == 2]
    # Some are followed by a sigmoid, and so one deeper: `classifier.0`.
    found = [
        place for place in places if place in (said, f"{said}.0", "fc", "classifier", "classifier.0", "head.fc", "head")
    ]
    return [name for name in left if any(name in (f"{place}.weight", f"{place}.bias") for place in found)]


def _take_classifier(
    net: Net, names: dict[str, Tensor], classifier: list[str], notes: list[str], *, heads: bool
) -> None:
    weight = next((name for name in classifier if name.endswith(".weight")), None)
    if weight is None:
        return
    width = int(names[weight].shape[0])
    wanted = {name: tuple(head.state_dict()["weight"].shape) for name, head in net.heads.items()}
    bias = weight.removesuffix("weight") + "bias"
    if heads and len(wanted) == 1 and bias in names and tuple(names[weight].shape) in wanted.values():
        (name,) = wanted
        net.heads[name].load_state_dict({"weight": names[weight], "bias": names[bias]})
        notes.append(f"its classifier of {counted(width, 'output')} became the head {name}")
        return
    asked = ", ".join(f"{name} {shape[0]}" for name, shape in wanted.items()) or "none"
    notes.append(f"left out: its classifier of {counted(width, 'output')}; heads start anew ({asked})")


def _take_norm(names: dict[str, Tensor], own: Mapping[str, Tensor], notes: list[str]) -> None:
    """A transformer that averages its patches has the last normalisation behind that, and calls it otherwise. Weights that
    were pretrained have it as `norm`; such as have both were trained on with the one behind the average."""
    if "fc_norm.weight" not in own or "norm.weight" in own:
        return
    for part in ("weight", "bias"):
        found = names.pop(f"norm.{part}", None)
        if found is not None and names.setdefault(f"fc_norm.{part}", found) is not found and part == "weight":
            notes.append("left out: norm, as fc_norm is in its place")


def _other_weights(names: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What to do about weights that do not fit."""
    if "fc_norm.weight" in names and "fc_norm.weight" not in own:
        return "they are of a transformer that averages its patches: model.pooling = avg"
    return "take weights of this backbone, or name theirs as model.backbone"


def _take_positions(
    names: dict[str, Tensor], backbone: torch.nn.Module, own: Mapping[str, Tensor], notes: list[str]
) -> None:
    """A transformer's table of positions at another side than the weights': resampled."""
    table, wanted = names.get("pos_embed"), own.get("pos_embed")
    grid = getattr(getattr(backbone, "patch_embed", None), "grid_size", None)
    if table is None or wanted is None or grid is None or table.shape == wanted.shape or table.ndim != 3:
        return
    from timm.layers.pos_embed import resample_abs_pos_embed

    before = wanted.shape[1] - grid[0] * grid[1]
    names["pos_embed"] = resample_abs_pos_embed(table, list(grid), num_prefix_tokens=before)
    notes.append(f"its positions were resampled to {grid[0]} by {grid[1]} patches")


def _take_channels(
    names: dict[str, Tensor], backbone: torch.nn.Module, own: Mapping[str, Tensor], notes: list[str]
) -> None:
    """Three channels' weights for one channel: the sum, which answers to a grey image as three equal channels would. One
    channel's for three: a third each, which answers to three equal channels as to the one."""
    first = f"{first_convolution(backbone)}.weight"
    weight = names.get(first)
    if weight is None or weight.ndim != 4:
        return
    theirs, ours = int(weight.shape[1]), int(own[first].shape[1])
    if (theirs, ours) == (3, 1):
        names[first] = weight.sum(dim=1, keepdim=True)
        notes.append("its first convolution was summed over the three channels")
    elif (theirs, ours) == (1, 3):
        names[first] = weight.repeat(1, 3, 1, 1) / 3
        notes.append("its first convolution was shared out over three channels")


def _load(module: torch.nn.Module, state: Mapping[str, Tensor], where: str, fix: str) -> None:
    """Every tensor, or none. Raises CxrError CXR-157 with the first that are missing, unexpected or of another shape."""
    own = module.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}  # unknown to torch before 0.4.1
    faults = {
        "missing": [name for name in own if name not in state and name not in counters],
        "unexpected": [name for name in state if name not in own],
        "of another shape": [
            f"{name} {list(state[name].shape)}, not {list(own[name].shape)}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ],
    }
    if any(faults.values()):
        said = "; ".join(
            f"{len(names):,} {what}: {', '.join(names[:_LISTED])}{' …' if len(names) > _LISTED else ''}"
            for what, names in faults.items()
            if names
        )
        raise CxrError("CXR-157", f"the weights do not fit: {said}", where=where, fix=fix)
    with torch.no_grad():
        for name, tensor in own.items():
            if name in state:
                tensor.copy_(state[name])
