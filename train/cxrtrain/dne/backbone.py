"""The frozen model: embeddings of images, with gradients for those who may have them, and kept where no noise changes them.

    CACHE/embeddings-<key>/features.npy   float32, (rows, width)

The key follows from the backbone, the store's pixels, the rows and the noise's digest: what is asked for again is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrdata.stages import run_stage, sha256_file, stage_key
from cxrtrain.bundle import Bundle
from cxrtrain.distributed import Place
from cxrtrain.dne.config import DneExperiment
from cxrtrain.dne.noise import Noise, edited
from cxrtrain.forward import autocast
from cxrtrain.inputs import Inputs, as_float
from cxrtrain.models.freezing import freeze
from cxrtrain.models.net import Net, build_net
from cxrtrain.models.weights import BACKBONE_ONLY, RUN, load_weights
from cxrtrain.pixels import Pixels, PixelStore
from cxrtrain.predict import load
from cxrtrain.run_folder import open_run

_FILE = "features.npy"
_BATCH = 256
_VERSION = 1


class Images:
    """Images of a bundle as float batches on a device; `wanted` are all rows that will be asked for."""

    def __init__(self, store: PixelStore, bundle: Bundle, wanted: NDArray[np.int64], device: torch.device) -> None:
        self.store, self.bundle, self.device = store, bundle, device
        self._pixels = Pixels(store, wanted, device)

    @property
    def side(self) -> int:
        return self.store.side

    def batches(self, orders: Sequence[NDArray[np.int64]]) -> Iterator[Tensor]:
        """(n, 1, side, side), values 0 to 1, for each list of rows."""
        return (as_float(images) for images in self._pixels.batches(orders))


class Eye(Protocol):
    """Whatever makes embeddings of images: our backbone, or a black box."""

    @property
    def digest(self) -> str:
        """Of what its embeddings depend on."""
        ...

    def embed(self, images: Tensor) -> Tensor:
        """(n, 1, side, side), values 0 to 1 → (n, width), without gradients."""
        ...


class Backbone:
    """A net that is frozen: no parameter has a gradient, batch normalisation and dropout are as in use."""

    def __init__(self, net: Net, inputs: Inputs, device: torch.device, digest: str, precision: str = "auto") -> None:
        freeze(net, "backbone")
        self.net = net.requires_grad_(requires_grad=False).eval().to(device)
        self.inputs, self.device, self.precision = inputs, device, precision
        self._digest = digest

    @property
    def digest(self) -> str:
        return self._digest

    def features(self, images: Tensor) -> Tensor:
        """As `embed`, and gradients reach the images."""
        with autocast(self.precision, self.device):
            return self.net.features(self.inputs(images)).float()

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        return self.features(images)


def backbone_of(
    experiment: DneExperiment,
    training: tuple[float, float],
    place: Place,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> Backbone:
    """The experiment's backbone. training: mean and SD of the training images' pixels, which some inputs are normalised by.

    Raises CxrError as `load_weights` and `build_net` do.
    """
    wish = experiment.backbone
    if wish.weights.startswith(RUN):
        run = open_run(Path(wish.weights.removeprefix(RUN).removesuffix(BACKBONE_ONLY)))
        net, inputs = load(run, place)
        digest = stage_key(run=run.run_id, checkpoint=sha256_file(run.folder.best))
        return Backbone(net, inputs, place.device, digest, wish.precision)
    inputs = Inputs.of(experiment.input, training)
    model = experiment.as_training.model
    side = inputs.side(experiment.data.side)
    net = build_net(model, (), channels=experiment.input.channels, side=side, seed=experiment.seed)
    for sentence in load_weights(net, model, say=say):
        say(sentence)
    file = Path(wish.weights)
    digest = stage_key(
        name=wish.name,
        pooling=wish.pooling,
        weights=sha256_file(file) if file.is_file() else wish.weights,
        seed=experiment.seed if wish.weights == "none" else None,
        channels=experiment.input.channels,
        inputs=inputs.facts(),
        input=[experiment.input.scale, side],
    )
    return Backbone(net, inputs, place.device, digest, wish.precision)


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of a bundle's images by one eye, made once each. cache: the folder where they are kept."""

    eye: Eye
    images: Images
    cache: Path
    tell: Callable[[str], None] = lambda _: None

    def of(self, rows: NDArray[np.int64], noise: Noise | None = None) -> Tensor:
        """(rows, width), in their order, on the CPU; with a noise, of the edited images."""
        key = stage_key(
            version=_VERSION,
            eye=self.eye.digest,
            store=self.images.store.digest,
            rows=self.images.bundle.keys_of(rows.tolist()),
            noise=None if noise is None else noise.digest,
        )

        def work(folder: Path) -> None:
            found, done = [], 0
            plane = None if noise is None else noise.tensor(self.images.device)
            for images in self.images.batches([rows[at : at + _BATCH] for at in range(0, len(rows), _BATCH)]):
                found.append(self.eye.embed(images if plane is None else edited(images, plane)).float().cpu())
                done += len(images)
                self.tell(f"embeddings, {done:,} of {len(rows):,} images")
            np.save(folder / _FILE, torch.cat(found).numpy())

        folder, _ = run_stage(self.cache, "embeddings", key, work, whole=lambda place: (place / _FILE).is_file())
        return torch.from_numpy(np.asarray(np.load(folder / _FILE, allow_pickle=False), dtype=np.float32))
