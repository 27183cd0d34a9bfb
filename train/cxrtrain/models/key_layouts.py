"""Published checkpoints by the names of their tensors: of which system, of what net, what the outputs are, and which
pixels it wants. Facts of the layouts: the systems' own public code and papers (systems named in each function).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cxrdata.errors import CxrError
from cxrdata.interop.label_orders import chexnet_outputs, chexploration_outputs
from cxrtrain.bundle import HeadTargets
from cxrtrain.config import DataConfig, Experiment, HeadConfig, InputConfig, ModelConfig
from cxrtrain.models.backbones import TORCHVISION
from cxrtrain.models.foreign import Checkpoint, open_checkpoint, refusing
from cxrtrain.models.net import Net, build_net
from cxrtrain.models.unpickle import Stub
from cxrtrain.models.weights import fit_backbone, read_weights

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CHEXPERT_LABELS = chexploration_outputs(14) or ()
NIH_LABELS = tuple(chexnet_outputs())
# Mean and SD of pixels from 0 to 1 of the case study's training sets, where a checkpoint names the set and not the values.
CASE_STUDY_PIXELS = {
    "vindr_cxr": (0.5512, 0.2411),
    "nih_cxr18": (0.5124, 0.2307),
    "padchest": (0.5053, 0.2481),
    "chexbert": (0.5072, 0.2889),
}
_SIDES = (16, 2048)
_CASE_STUDY_SETS = {"nih_cxr18": "nih_cxr14", "chexbert": "chexpert"}


@dataclass(frozen=True)
class Imported:
    """A foreign model as one of ours. layout: the system it is of. mean, sd: what pixels are normalised by, a channel each,
    at `experiment.input.scale`; empty for none. epoch: as the checkpoint counts. notes: what to know of it, as sentences."""

    net: Net
    experiment: Experiment
    heads: tuple[HeadTargets, ...]
    layout: str
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    epoch: int | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Recognised:
    """What the names say: places of the heads' linear layers by head, the prefix of the backbone's names."""

    layout: str
    backbone: str
    prefix: str
    places: dict[str, str]
    heads: tuple[HeadConfig, ...]
    input: InputConfig
    side: int = 224
    mean: tuple[float, ...] = ()
    sd: tuple[float, ...] = ()
    datasets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def import_checkpoint(path: Path) -> Imported:
    """Recognise a published checkpoint and make our net of it; no code of the file is run.

    Raises CxrError: CXR-157 of no known layout, or tensors are missing; CXR-158 damaged, or with code in it.
    """
    if path.suffix == ".safetensors":
        return _imported(read_weights(path)[0], {}, path)
    with open_checkpoint(path) as checkpoint:
        state = {name: checkpoint.tensor(one) for name, one in checkpoint.state().items()}
        return _imported(state, _facts(checkpoint), path)


def _imported(state: Mapping[str, torch.Tensor], facts: Mapping[str, Any], path: Path) -> Imported:
    names = {name.removeprefix("module."): one for name, one in state.items()}
    known = _recognise(names, facts)
    if known is None:
        known_layouts = "ped_vs_adults-cxr, chexploration, reproduce-chexnet"
        problem = f"the names of its tensors are of no layout known here, such as {next(iter(names), 'none')!r}"
        fix = f"known: {known_layouts}; as weights to train from: model.weights = FILE"
        raise CxrError("CXR-157", problem, where=path.name, fix=fix)
    heads = tuple(_targets(head) for head in known.heads)
    model = ModelConfig(backbone=known.backbone, weights="none")
    net = build_net(model, heads, channels=known.input.channels, side=known.side)
    places = tuple(f"{place}." for place in known.places.values())
    backbone = {
        name.removeprefix(known.prefix): one
        for name, one in names.items()
        if name.startswith(known.prefix) and not name.startswith(places)
    }
    notes = fit_backbone(net, backbone, path.name, heads=False)
    for head, place in known.places.items():
        with refusing(path):
            net.heads[head].load_state_dict({part: names[f"{place}.{part}"] for part in ("weight", "bias")})
    experiment = Experiment(
        name=_slug(path.stem),
        title=f"Imported: {known.layout}",
        source=f"{known.layout}, {path.name}",
        heads=known.heads,
        data=DataConfig(datasets=known.datasets, side=known.side),
        input=known.input,
        model=model,
    )
    epoch = facts.get("epoch")
    return Imported(
        net=net.eval(),
        experiment=experiment,
        heads=heads,
        layout=known.layout,
        mean=known.mean,
        sd=known.sd,
        epoch=epoch if isinstance(epoch, int) else None,
        notes=(*known.notes, *notes),
    )


def _recognise(names: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> _Recognised | None:
    for layout in (_chexploration_multitask, _case_study, _chexnet, _chexploration):
        found = layout(names, facts)
        if found is not None:
            return found
    return None


def _chexploration_multitask(names: Mapping[str, torch.Tensor], _: Mapping[str, Any]) -> _Recognised | None:
    """A backbone and three linear layers; Glocker et al. 2023."""
    places = {"disease": "fc_disease", "sex": "fc_sex", "race": "fc_race"}
    backbone = _torchvision_backbone(names, "backbone.")
    widths = {head: _width(names, place) for head, place in places.items()}
    if backbone is None or widths != {"disease": 14, "sex": 2, "race": 3}:
        return None
    heads = (_DISEASE, _SEX, _RACE)
    return _Recognised("chexploration", backbone, "backbone.", places, heads, _chexploration_input(names))


def _chexploration(names: Mapping[str, torch.Tensor], _: Mapping[str, Any]) -> _Recognised | None:
    """`model.` is a model of torchvision; its number of outputs tells the task. Of the SPLIT test there is a second copy of
    the classifier beside it."""
    backbone = _torchvision_backbone(names, "model.")
    place = "model.classifier" if f"{TORCHVISION}densenet121" == backbone else "model.fc"
    head = {14: _DISEASE, 3: _RACE, 2: _SEX}.get(_width(names, place))
    if backbone is None or head is None:
        return None
    notes = ("the backbone is frozen as the SPLIT test has it",) if "classifier.weight" in names else ()
    places = {head.name: place}
    return _Recognised("chexploration", backbone, "model.", places, (head,), _chexploration_input(names), notes=notes)


def _chexnet(names: Mapping[str, torch.Tensor], _: Mapping[str, Any]) -> _Recognised | None:
    """A model of torchvision as it was pickled, its classifier followed by a sigmoid; Zech 2018."""
    backbone = _torchvision_backbone(names, "")
    if backbone is None or _width(names, "classifier.0") != len(NIH_LABELS):
        return None
    head = HeadConfig("findings", "multilabel", labels=NIH_LABELS, policy="zeros")
    # Every image is square there: scaled to 224, the crop of 224 takes all of it.
    pixels = InputConfig(channels=_channels(names), scale="0-1", normalise="imagenet")
    notes = ("its sigmoid is left to whoever reads the logits",)
    return _Recognised(
        "reproduce-chexnet", backbone, "", {head.name: "classifier.0"}, (head,), pixels, 224, *IMAGENET,
        datasets=("nih_cxr14",), notes=notes,
    )  # fmt: skip


def _case_study(names: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> _Recognised | None:
    """`network.` is a model of timm or torchvision with two outputs and a softmax; Hua et al. 2025."""
    if not any(name.startswith("network.") for name in names):
        return None
    said = _plain(facts.get("hyper_parameters"))
    places = [name.removesuffix(".weight") for name, one in names.items() if one.ndim == 2 and one.shape[0] == 2]
    backbone = _case_study_backbone(names, said)
    label = said.get("label_col", "Cardiomegaly")
    if len(places) != 1 or backbone is None or label != "Cardiomegaly":
        return None
    head = HeadConfig("cardiomegaly", "binary", finding="cardiomegaly", against="healthy", loss="ce")
    channels = _channels(names)
    dataset = str(said.get("dset", ""))
    mean, sd, notes = _case_study_pixels(said, dataset, channels)
    pixels = InputConfig(channels=channels, scale="0-1", normalise="training" if mean else "none")
    datasets = (_CASE_STUDY_SETS.get(dataset, dataset),) if dataset in CASE_STUDY_PIXELS else ()
    return _Recognised(
        "ped_vs_adults-cxr", backbone, "network.", {head.name: places[0]}, (head,), pixels, _side(said.get("img_size")), mean, sd,
        datasets=datasets, notes=notes,
    )  # fmt: skip


def _case_study_pixels(
    said: Mapping[str, Any], dataset: str, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[str, ...]]:
    """Mean and SD a channel: as the checkpoint says, else of the data it was trained on, else unknown."""
    values = [_numbers(said.get(key)) for key in ("norm_mean", "norm_std")]
    if all(values):
        mean, sd = ((one * channels)[:channels] for one in values)
        return mean, sd, ()
    if dataset in CASE_STUDY_PIXELS:
        mean, sd = ((one,) * channels for one in CASE_STUDY_PIXELS[dataset])
        return mean, sd, (f"mean and SD of the pixels are the published ones of {dataset}",)
    return (), (), ("the checkpoint does not say by which mean and SD its pixels were normalised",)


def _side(said: Any) -> int:  # noqa: ANN401
    """Of (height, width), or one number; what cannot be is not believed."""
    size = said[0] if isinstance(said, list | tuple) and said else said
    return size if isinstance(size, int) and _SIDES[0] <= size <= _SIDES[1] else 224


def _case_study_backbone(names: Mapping[str, torch.Tensor], said: Mapping[str, Any]) -> str | None:
    name = said.get("model_name")
    if isinstance(name, str):
        return f"{TORCHVISION}{name}" if said.get("model_provider", "torchvision") == "torchvision" else name
    stem = names.get("network.stem.0.weight")
    deep = "network.stages.2.blocks.26.norm.weight" in names and "network.stages.2.blocks.27.norm.weight" not in names
    return "convnext_base" if stem is not None and stem.shape[0] == 128 and deep else None


_DISEASE = HeadConfig("disease", "multilabel", labels=CHEXPERT_LABELS, policy="zeros")
_SEX = HeadConfig("sex", "classes", attribute="sex", classes=("M", "F"))
_RACE = HeadConfig("race", "classes", attribute="race", classes=("White", "Asian", "Black"))


def _chexploration_input(names: Mapping[str, torch.Tensor]) -> InputConfig:
    return InputConfig(channels=_channels(names), scale="0-255", normalise="none")


def _torchvision_backbone(names: Mapping[str, torch.Tensor], prefix: str) -> str | None:
    """DenseNet-121 or ResNet-34, by the blocks that are there and the next that is not."""
    if _deepest(names, rf"{re.escape(prefix)}features\.denseblock3\.denselayer(\d+)\.") == 24:
        return f"{TORCHVISION}densenet121"
    if (
        _deepest(names, rf"{re.escape(prefix)}layer3\.(\d+)\.") == 5
        and _deepest(names, rf"{re.escape(prefix)}layer1\.0\.conv(\d+)\.") == 2
    ):
        return f"{TORCHVISION}resnet34"
    return None


def _deepest(names: Mapping[str, torch.Tensor], pattern: str) -> int:
    found = (re.match(pattern, name) for name in names)
    return max((int(one[1]) for one in found if one), default=-1)


def _width(names: Mapping[str, torch.Tensor], place: str) -> int:
    weight = names.get(f"{place}.weight")
    return int(weight.shape[0]) if weight is not None and weight.ndim == 2 else 0


def _channels(names: Mapping[str, torch.Tensor]) -> int:
    """Of the first convolution."""
    return next((int(one.shape[1]) for one in names.values() if one.ndim == 4), 3)


def _targets(head: HeadConfig) -> HeadTargets:
    """What a head puts out, named as a bundle names its columns."""
    kind, loss = head.kind, head.loss or {"classes": "ce"}.get(head.kind, "bce")
    if kind == "multilabel":
        columns = tuple(f"target_{head.name}_{label}" for label in head.labels)
        return HeadTargets(head.name, kind, loss, head.labels, columns)
    outputs = head.classes if kind == "classes" else (str(head.finding),)
    return HeadTargets(head.name, kind, loss, outputs, (f"target_{head.name}",))


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """What stands beside the tensors."""
    content = checkpoint.content
    return {name: one for name, one in content.items() if isinstance(name, str)} if isinstance(content, dict) else {}


def _plain(said: Any) -> dict[str, Any]:  # noqa: ANN401
    """Hyper-parameters, a dictionary or an object like one."""
    if isinstance(said, Stub):
        said = said.items or said.state
    return {str(name): one for name, one in said.items()} if isinstance(said, dict) else {}


def _numbers(said: Any) -> tuple[float, ...]:  # noqa: ANN401
    several = said if isinstance(said, list | tuple) else (said,)
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in several):
        return ()
    return tuple(float(one) for one in several)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "imported"
