"""What the backbone makes of images, by origin: trained by the run, on ImageNet, or not at all; made once and kept.

    CACHE/<origin>-<key>/features.npy   float32, (rows, width), in the order of the bundle's rows

The key follows from the run, its best checkpoint, the store and the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrdata.errors import CxrError
from cxrdata.stages import run_stage, sha256_file, stage_key
from cxrtrain.bundle import Bundle
from cxrtrain.distributed import Place, joined
from cxrtrain.forward import outputs_of
from cxrtrain.inputs import Inputs
from cxrtrain.models.net import Net, build_net
from cxrtrain.models.weights import load_weights
from cxrtrain.pixels import Pixels, PixelStore
from cxrtrain.predict import FEATURES, load
from cxrtrain.run_folder import Run

ORIGINS = ("run", "imagenet", "random")
_FILE = "features.npy"
_BATCH = 64
_VERSION = 1


def features_of(
    run: Run,
    origin: str,
    bundle: Bundle,
    store: Path,
    cache: Path,
    *,
    device: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> NDArray[np.float32]:
    """(rows of the bundle, width). The images are not changed for training; batch normalisation stays as it is.

    Raises CxrError: CXR-159 ImageNet's weights are nowhere, CXR-502 the backbone has none; those of the store and the run.
    """
    pixels = PixelStore(store, bundle, side=run.experiment.data.side)
    key = stage_key(
        version=_VERSION,
        origin=origin,
        run=run.run_id,
        checkpoint=sha256_file(run.folder.best) if run.folder.best.is_file() else None,
        store=pixels.digest,
        rows=bundle.keys_of(range(len(bundle))),
    )

    def work(folder: Path) -> None:
        with joined(device) as place:
            net, inputs = net_of(run, origin, place, say)
            rows = np.arange(len(bundle), dtype=np.int64)
            found = outputs_of(
                net,
                lambda images: {FEATURES: net.features(images)},
                Pixels(pixels, rows, place.device),
                rows,
                inputs=inputs,
                batch=max(run.experiment.loop.batch, _BATCH),
                precision=run.experiment.loop.precision,
                place=place,
                tell=lambda done: tell(f"{origin}: {done:,} of {len(rows):,} images"),
            )
        np.save(folder / _FILE, found[FEATURES].numpy())

    folder, _ = run_stage(cache, origin, key, work, whole=lambda place: _is_whole(place / _FILE, len(bundle)))
    return np.asarray(np.load(folder / _FILE, allow_pickle=False), dtype=np.float32)


def _is_whole(file: Path, rows: int) -> bool:
    """Whether a kept file holds a vector for each row: one that was damaged is made again."""
    try:
        kept = np.load(file, mmap_mode="r", allow_pickle=False)
    except (EOFError, OSError, ValueError):
        return False
    return kept.ndim == 2 and len(kept) == rows and kept.dtype == np.float32


def net_of(run: Run, origin: str, place: Place, say: Callable[[str], None]) -> tuple[Net, Inputs]:
    """The run's net, or one of its architecture with other weights, which gets the images as the run's does."""
    if origin == "run":
        return load(run, place)
    if origin not in ORIGINS:
        raise CxrError("CXR-501", f"there is no origin {origin!r}", fix=f"--origins {','.join(ORIGINS)}")
    experiment = run.experiment
    inputs = Inputs.again(experiment.input, run.about["input"])
    model = replace(experiment.model, weights="imagenet" if origin == "imagenet" else "none", freeze="none")
    side = inputs.side(experiment.data.side)
    net = build_net(model, (), channels=experiment.input.channels, side=side, seed=experiment.loop.seed)
    for sentence in load_weights(net, model, say=say):
        say(sentence)
    return net.to(place.device), inputs
