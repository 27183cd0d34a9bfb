"""What a trainer is put together from: its folder, the model as it is called, its optimisers' parameters, its loggers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cxrtrain import run_folder
from cxrtrain.augment.histogram import reference_histogram
from cxrtrain.bundle import Bundle
from cxrtrain.config import Experiment
from cxrtrain.distributed import Place
from cxrtrain.inputs import Inputs
from cxrtrain.keeping import Progress
from cxrtrain.models import Net
from cxrtrain.pixels import PixelStore
from cxrtrain.records import CsvLogger, Loggers, TensorBoardLogger
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


def wrapped(model: nn.Module, experiment: Experiment, place: Place) -> nn.Module:
    """The model as it is called: compiled where that is worth its minutes, in parallel with other processes."""
    forward: nn.Module = model
    wish = experiment.loop.compile
    if wish == "on" or (wish == "auto" and place.device.type == "cuda"):
        forward = torch.compile(forward)  # type: ignore[assignment]
    if place.world > 1:
        # In turn, each backward pass reaches one head only.
        forward = DistributedDataParallel(forward, find_unused_parameters=experiment.optim.turns == "in_turn")
    return forward


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
        return Loggers([])
    found: list[Any] = [CsvLogger(folder.path, step=at.step, epoch=at.epoch)]
    if tensorboard:
        try:
            found.append(TensorBoardLogger(folder.path, step=at.step))
        except ImportError:
            say("tensorboard is not installed: the CSV files alone are written")
    return Loggers(found)
