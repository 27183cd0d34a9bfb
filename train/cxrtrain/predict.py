"""What a run's best model says of images: predictions and features. `prediction_files` writes them down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from cxrdata.errors import CxrError
from cxrdata.wording import counted
from cxrtrain import checkpoint
from cxrtrain.assemble import reference
from cxrtrain.augment.histogram import match_histograms
from cxrtrain.bundle import Bundle, open_bundle
from cxrtrain.choice import has_own_bundle
from cxrtrain.distributed import Place, joined
from cxrtrain.forward import outputs_of
from cxrtrain.inputs import Inputs
from cxrtrain.models.net import Net, build_net
from cxrtrain.pixels import Pixels, PixelStore, stored
from cxrtrain.run_folder import BUNDLE, Run

FEATURES = "features"
_BATCH = 64  # at least so many images are looked at at once


@dataclass(frozen=True)
class Asked:
    """Which images, with the pixels of which store. part: of the bundle's split; None: all of it. device: None takes a GPU
    where there is one. skip_missing: leave out images that the store lacks. histogram_blend: share of histogram matching to
    the run's training images, which the store must then have (the case study of Hua et al. 2025: 0 to 1)."""

    bundle: Bundle
    store: Path
    part: str | None = None
    device: str | None = None
    skip_missing: bool = False
    histogram_blend: float = 0.0


@dataclass(frozen=True)
class Said:
    """What a run says of images. bundle: these images alone, by key. outputs: by head, shape (images, width), or `FEATURES`
    alone. first: whether this process is the one that writes."""

    run: Run
    bundle: Bundle
    outputs: dict[str, Tensor]
    first: bool


def predict(
    run: Run,
    asked: Asked,
    *,
    features: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Said:
    """What the run's best model puts out for each image, once. features: what its heads see instead.

    Raises CxrError: CXR-155 no epoch is finished, or the checkpoint is damaged; CXR-148, CXR-151 the store; CXR-501 no such
    part; CXR-502 no training images to match histograms to; CXR-507 no image is left.
    """
    bundle = _chosen(asked, say)
    with joined(asked.device) as place:
        speak = say if place.first else _silent
        store = _store(run, asked.store, bundle)
        net, inputs = load(run, place)
        learnt = _learnt(run, asked.bundle)
        _remark(run, learnt, bundle, speak)
        rows = np.arange(len(bundle), dtype=np.int64)
        outputs = outputs_of(
            net,
            (lambda images: {FEATURES: net.features(images)}) if features else net,
            Pixels(store, rows, place.device),
            rows,
            inputs=inputs,
            batch=max(run.experiment.loop.batch, _BATCH),
            precision=run.experiment.loop.precision,
            place=place,
            change=_matching(run, learnt, asked, place),
            tell=lambda done: tell(f"{done * place.world:,} of {len(rows):,} images"),
        )
        return Said(run, bundle, outputs, place.first)


def load(run: Run, place: Place) -> tuple[Net, Inputs]:
    """The net of the run's best epoch, on the device, and what is done to images before it. Raises CxrError CXR-155."""
    where = str(run.folder.path)
    if not run.folder.best.is_file():
        fix = "let it train on: the command that began it goes on from its last checkpoint"
        raise CxrError("CXR-155", f"the run {run.run_id} has not finished an epoch yet", where=where, fix=fix)
    found = checkpoint.load(run.folder.best)
    if found.facts.get("run_id") != run.run_id:
        problem = f"the checkpoint is of the run {found.facts.get('run_id')}, and the folder of {run.run_id}"
        raise CxrError("CXR-155", problem, where=str(run.folder.best), fix="put the run's own files back")
    experiment = run.experiment
    inputs = Inputs.again(experiment.input, run.about["input"])
    net = build_net(
        experiment.model,
        run.heads,
        channels=experiment.input.channels,
        side=inputs.side(experiment.data.side),
        seed=experiment.loop.seed,
    )
    try:
        net.load_state_dict(found.tensors)
    except RuntimeError as error:
        fix = "put the run's own files back, or train anew"
        problem = f"the checkpoint does not hold the run's model {experiment.model.backbone}"
        raise CxrError("CXR-155", problem, where=str(run.folder.best), fix=fix) from error
    return net.to(place.device), inputs


def _chosen(asked: Asked, say: Callable[[str], None]) -> Bundle:
    """The images that are asked for, and of which the store has the pixels."""
    bundle = asked.bundle
    keep = np.ones(len(bundle), dtype=np.bool_)
    if asked.part is not None:
        keep[:] = False
        keep[bundle.rows(asked.part)] = True
    if asked.skip_missing:
        there = stored(asked.store, bundle)
        if n := int((keep & ~there).sum()):
            say(f"{counted(n, 'image')} left out: the store lacks them")
        keep &= there
    if not keep.any():
        fix = "ask for other images, or build the store for them: cxrdata images build"
        raise CxrError("CXR-507", "no image is left by what was asked for", where=str(bundle.folder), fix=fix)
    return bundle if keep.all() else bundle.only(keep)


def _store(run: Run, folder: Path, bundle: Bundle) -> PixelStore:
    """The store opened for the images. Its size cannot be chosen: the run has learnt one."""
    side = run.experiment.data.side
    try:
        return PixelStore(folder, bundle, side=side)
    except CxrError as error:
        if error.code == "CXR-151" and "pixels a side" in error.problem:
            error.problem = error.problem.replace("the experiment takes", "the run was trained on")
            error.fix = f"cxrdata images build --size {side} --fit {run.experiment.data.fit} --out STORE"
        raise


def _learnt(run: Run, asked: Bundle) -> Bundle | None:
    """The images that the run was trained on, if the bundle that it took them from is at hand."""
    if run.about.get("bundle_sha256") == asked.digest:
        own = asked
    elif has_own_bundle(run):
        own = open_bundle(run.folder.path / BUNDLE)
    else:
        return None
    fold = run.about.get("fold")
    keep = np.zeros(len(own), dtype=np.bool_)
    keep[own.rows(run.experiment.data.train, fold=tuple(fold) if fold else None)] = True
    return own.only(keep)


def _remark(run: Run, learnt: Bundle | None, bundle: Bundle, say: Callable[[str], None]) -> None:
    """What whoever reads the predictions should know."""
    state = run.about["state"]
    if state not in ("finished", "imported"):
        say(f"the run is {state}: this is its best epoch so far, {run.about.get('best_epoch', '?')}")
    if learnt is None:
        return
    seen = set(zip(learnt.dataset, learnt.image_id, strict=True))
    n = sum(key in seen for key in zip(bundle.dataset, bundle.image_id, strict=True))
    if n:
        say(f"{counted(n, 'image')} of {len(bundle):,} were trained on: what is said of them is no test")


def _matching(run: Run, learnt: Bundle | None, asked: Asked, place: Place) -> Callable[[Tensor], Tensor] | None:
    """Histogram matching to images drawn from those that were trained on, as training draws them; None at blend 0."""
    if asked.histogram_blend == 0:
        return None
    if learnt is None:
        fix = "name the bundle that the run was trained on: --bundle DIR:PART"
        raise CxrError(
            "CXR-502", "nothing says which images the run was trained on", where="--histogram-blend", fix=fix
        )
    experiment = replace(run.experiment, augment=replace(run.experiment.augment, histogram_p=1.0))
    rows = np.arange(len(learnt), dtype=np.int64)
    levels = reference(experiment, _store(run, asked.store, learnt), rows, place.device)
    assert levels is not None
    return lambda images: match_histograms(images, levels, asked.histogram_blend)


def _silent(_: str) -> None:
    """Says nothing."""
