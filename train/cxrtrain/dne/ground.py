"""What the steps of one experiment share: its data, the images, and the eye that makes embeddings of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrtrain.distributed import joined
from cxrtrain.dne.api import Manners, open_api
from cxrtrain.dne.backbone import Backbone, Embeddings, Eye, Images, backbone_of
from cxrtrain.dne.black_box import Counted, LocalBackbone, NoBackward, named_function
from cxrtrain.dne.black_fit import Asked
from cxrtrain.dne.config import DneExperiment
from cxrtrain.dne.data import DneData
from cxrtrain.dne.heads import Labelled
from cxrtrain.dne.noise import Noise
from cxrtrain.models.net import Net
from cxrtrain.pixels import PixelStore

EMBEDDINGS = "embeddings"


@dataclass(frozen=True)
class Box:
    """A black box in place of a backbone of ours: an address, or a function `MODULE:FUNCTION`. budget: queries in all."""

    api: str | None = None
    function: str | None = None
    budget: int | None = None
    manners: Manners = field(default_factory=Manners)


@dataclass(frozen=True)
class Ground:
    """backbone: null where only a black box is there. eye: who makes the embeddings."""

    experiment: DneExperiment
    data: DneData
    images: Images
    eye: Eye
    backbone: Backbone | None
    embeddings: Embeddings

    def labelled(self, rows: NDArray[np.int64], truth: NDArray[np.int64], noise: Noise | None = None) -> Labelled:
        """Embeddings of rows with what is asked of them. truth: (all rows,)."""
        return Labelled(self.embeddings.of(rows, noise), truth[rows])

    def asked(self, folder: Path) -> Asked:
        """The eye for who gets no gradients: of our own backbone, one through which no gradient goes and which counts what it is
        asked, in a folder."""
        if self.backbone is None:
            assert isinstance(self.eye, Asked)
            return self.eye
        net = self.backbone.net
        blind = Net(NoBackward(net.backbone), net.width, ())
        box = LocalBackbone(
            blind, self.backbone.inputs, self.backbone.digest, side=self.images.side, precision=self.backbone.precision
        )
        counted = Counted(box, journal=folder / "queries.json")
        return Asked(counted, counted.name)


@contextmanager
def opened(
    experiment: DneExperiment,
    bundle: Path,
    store: Path,
    cache: Path,
    *,
    parts: tuple[str, ...],
    box: Box | None = None,
    skip_missing: bool = False,
    device: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Ground]:
    """The ground of a step. parts: those of `train`, `valid`, `test` whose images it may look at: no other is read.
    skip_missing: leave out images that the store lacks.

    Raises CxrError as reading the bundle, the store, the weights, and asking the black box do.
    """
    data = DneData.read(bundle, experiment, store=store if skip_missing else None)
    wanted = np.concatenate([getattr(data, part) for part in parts])
    pixels = PixelStore(store, data.bundle, side=experiment.data.side, fit=experiment.data.fit)
    with ExitStack() as stack:
        place = stack.enter_context(joined(device))
        images = Images(pixels, data.bundle, wanted, place.device)
        if box is None:
            backbone = backbone_of(experiment, pixels.mean_and_sd(data.train), place, say=say)
            eye: Eye = backbone
        else:
            backbone, eye = None, _asked(box, data, cache.parent, stack, side=experiment.data.side)
        yield Ground(experiment, data, images, eye, backbone, Embeddings(eye, images, cache, tell))


def _asked(box: Box, data: DneData, folder: Path, stack: ExitStack, *, side: int) -> Asked:
    if box.api is not None:
        datasets = sorted(set(data.bundle.dataset))
        service = stack.enter_context(
            open_api(box.api, datasets=datasets, journal=folder / "api", budget=box.budget, manners=box.manners)
        )
        return Asked(service, service.name, service.forget)
    assert box.function is not None
    function = named_function(box.function, side=side)
    counted = Counted(function, budget=box.budget, journal=folder / "function" / "queries.json")
    return Asked(counted, counted.name)
