"""What a trainer is put together from: its folder, the model as it is called, its optimisers' parameters, its loggers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cxrdata.errors import CxrError
from cxrdata.wording import counted
from cxrtrain import run_folder
from cxrtrain.augment.histogram import reference_histogram
from cxrtrain.bundle import Bundle
from cxrtrain.config import Experiment
from cxrtrain.distributed import Place
from cxrtrain.inputs import Inputs
from cxrtrain.keeping import Progress
from cxrtrain.models.freezing import freeze
from cxrtrain.models.net import Net, build_net
from cxrtrain.models.weights import load_weights
from cxrtrain.pixels import PixelStore
from cxrtrain.records import CsvLogger, Logger, Loggers, TensorBoardLogger
from cxrtrain.sampling import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REFERENCE = 3  # the stream of random numbers that picks reference images


def about_run(
    experiment: Experiment,
    bundle: Bundle,
    store: PixelStore,
    inputs: Inputs,
    fold: tuple[int, int] | None,
    place: Place,
) -> dict[str, Any]:
    """What run.json says of a run from its beginning: what it was made from, and what `predict` must know."""
    return {
        "state": "running",
        "experiment": experiment.name,
        "bundle_sha256": bundle.digest,
        "store_index_sha256": store.digest,
        "split": bundle.about.get("split"),
        "catalog_build": bundle.about.get("catalog_build"),
        "fold": list(fold) if fold else None,
        "heads": bundle.about["heads"],
        "input": inputs.facts(),
        "images": {
            "train": len(bundle.rows(experiment.data.train, fold=fold)),
            "valid": len(bundle.rows(experiment.data.valid, fold=fold)),
        },
        "torch": torch.__version__,
        "device": place.device.type,
        "processes": place.world,
    }


def begun(out: Path, experiment: Experiment, about: dict[str, Any], place: Place) -> run_folder.RunFolder:
    """The run's folder, which the first process makes. Raises CxrError CXR-156 where it holds something else."""
    return run_folder.begin(out, experiment, about) if place.first else run_folder.RunFolder(out)


def numerics(experiment: Experiment, device: torch.device) -> None:
    """How exact: the same result each time, or whatever is fastest."""
    exact = experiment.loop.deterministic
    torch.use_deterministic_algorithms(exact)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = not exact
        if exact:  # cuBLAS asks for it, before its first call
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def check_heads(bundle: Bundle, experiment: Experiment) -> None:
    """Raises CxrError CXR-150 where the bundle's heads are not the experiment's."""
    there = [(head.name, head.kind, head.loss) for head in bundle.heads]
    usual = {"binary": "bce", "multilabel": "bce", "classes": "ce", "regression": "mse"}
    wished = [(head.name, head.kind, head.loss or usual[head.kind]) for head in experiment.heads]
    if there != wished:
        told, asked = (", ".join(" ".join(head) for head in heads) for heads in (there, wished))
        problem = f"the bundle was made for another experiment: its heads are {told}; this one has {asked}"
        fix = "write one for this experiment: cxrdata train EXPERIMENT --prepare BUNDLE"
        raise CxrError("CXR-150", problem, where=str(bundle.folder), fix=fix)


def check_learnable(bundle: Bundle, parts: Mapping[str, NDArray[np.int64]]) -> None:
    """Raises CxrError CXR-152 where a part holds no known target of a head, or one value of it only. parts: rows by name; a
    fold, or a store that lacks images, may leave less than the bundle has."""
    fix = "another split or fold, or more images"
    for name, rows in parts.items():
        if not len(rows):
            raise CxrError("CXR-152", f"the part {name!r} has no image", where=str(bundle.folder), fix=fix)
        for head in bundle.heads:
            known = [values[~np.isnan(values)] for values in bundle.targets(head)[rows].T]
            if any(len(np.unique(values)) > 1 for values in known):
                continue
            n = max(len(values) for values in known)
            problem = (
                f"head {head.name!r} has one value only in the part {name!r}, in {counted(n, 'image')}"
                if n
                else f"no image of the part {name!r} has a known target of head {head.name!r}"
            )
            raise CxrError("CXR-152", problem, where=str(bundle.folder), fix=fix)


def group_counts(bundle: Bundle, rows: NDArray[np.int64]) -> dict[str, list[int]]:
    """By head, how many of some rows of each group have a known target."""
    counts = {}
    for head in bundle.heads:
        known = ~np.isnan(bundle.targets(head)[rows]).all(axis=1)
        group = bundle.group[rows][known]
        counts[head.name] = np.bincount(group[group >= 0], minlength=max(len(bundle.groups), 1)).tolist()
    return counts


def net(experiment: Experiment, bundle: Bundle, side: int, *, going_on: bool, say: Callable[[str], None]) -> Net:
    """The model with the weights it starts from, frozen as is wished. going_on: its weights come from a checkpoint."""
    config = experiment.model
    made = build_net(config, bundle.heads, channels=experiment.input.channels, side=side, seed=experiment.loop.seed)
    if not going_on:
        for sentence in load_weights(made, config, say=say):
            say(sentence)
    if not freeze(made, config.freeze):
        raise CxrError(
            "CXR-505", "everything is frozen: nothing is left to learn", where="model.freeze", fix="freeze less"
        )
    return made


def wrapped(model: nn.Module, experiment: Experiment, place: Place) -> tuple[nn.Module, DistributedDataParallel | None]:
    """The model as it is called, in parallel with other processes and compiled where that is worth its minutes; and what
    averages its gradients where there are several processes."""
    parallel = DistributedDataParallel(model) if place.world > 1 else None
    forward: nn.Module = parallel or model
    wish = experiment.loop.compile
    if wish == "on" or (wish == "auto" and place.device.type == "cuda"):
        forward = torch.compile(forward)  # type: ignore[assignment]
    return forward, parallel


def parameter_sets(model: Net, bundle: Bundle, experiment: Experiment) -> list[list[nn.Parameter]]:
    """Of each optimiser: everything, or, in turn, the backbone and one head."""
    if experiment.optim.turns == "together" or len(bundle.heads) == 1:
        return [list(model.parameters())]
    backbone = list(model.backbone.parameters())
    return [backbone + list(model.heads[head.name].parameters()) for head in bundle.heads]


def reference(
    experiment: Experiment, store: PixelStore, rows: NDArray[np.int64], device: torch.device
) -> Tensor | None:
    """Grey levels that histograms are matched to, of images drawn from the training images; None where none are matched."""
    wish = experiment.augment
    if wish.histogram_p <= 0:
        return None
    several = np.unique(rows)
    chosen = stream(experiment.loop.seed, _REFERENCE).choice(
        several, min(wish.histogram_images, len(several)), replace=False
    )
    images = np.empty((len(chosen), store.side, store.side), dtype=np.uint8)
    store.read(np.sort(chosen), images)
    return reference_histogram(torch.from_numpy(images)).to(device)


def loggers(
    folder: run_folder.RunFolder, at: Progress, place: Place, *, tensorboard: bool, say: Callable[[str], None]
) -> Loggers:
    """Those of the first process; the others write nothing."""
    if not place.first:
        return Loggers([], folder.path)
    with run_folder.writing(folder.path):
        found: list[Logger] = [CsvLogger(folder.path, step=at.step, epoch=at.epoch)]
    if tensorboard:
        try:
            found.append(TensorBoardLogger(folder.path, step=at.step))
        except ImportError:
            say("tensorboard is not installed: the CSV files alone are written")
    return Loggers(found, folder.path)
