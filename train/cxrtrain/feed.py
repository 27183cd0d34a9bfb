"""What a trainer is fed: which images in which batches, how they are changed, and what is asked of them.

All of it follows from (seed, epoch, step), so that a run can go on anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cxrdata.errors import CxrError
from cxrdata.wording import counted
from cxrtrain.augment import Augment
from cxrtrain.augment.mixup import draw_mixup, mix
from cxrtrain.augment.sending import send
from cxrtrain.bundle import Bundle
from cxrtrain.config import Experiment
from cxrtrain.distributed import Place
from cxrtrain.inputs import Inputs, as_float
from cxrtrain.objectives import Batch, Mixed
from cxrtrain.pixels import Pixels
from cxrtrain.sampling import Share, batches, epoch_order, sampling_weights, step_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Feed:
    """The training images of a run, step by step."""

    def __init__(
        self,
        experiment: Experiment,
        bundle: Bundle,
        rows: NDArray[np.int64],
        *,
        inputs: Inputs,
        augment: Augment,
        place: Place,
    ) -> None:
        """rows: of the bundle, each as often as it comes in an epoch.

        Raises CxrError: CXR-152 fewer images than processes, and as `sampling_weights` does.
        """
        self.experiment, self.rows, self.place = experiment, rows, place
        self.inputs, self.augment = inputs, augment
        self.weights = sampling_weights(experiment, bundle, rows)
        # Where the split's weights decide how often an image comes, they do not count again in the loss.
        weight = np.ones(len(bundle)) if self.weights is not None else bundle.weight
        self._weight = torch.from_numpy(weight.astype(np.float32)).to(place.device)
        self._group = torch.from_numpy(bundle.group).to(place.device)
        self._targets = {head.name: torch.from_numpy(bundle.targets(head)).to(place.device) for head in bundle.heads}
        if not self.steps(0):
            problem = f"{counted(len(rows), 'training image')} for {place.world} processes with batches of {experiment.loop.batch}"
            raise CxrError("CXR-152", problem, where="loop.batch", fix="fewer processes, or a larger batch")

    def steps(self, epoch: int) -> list[list[Share]]:
        """Of each step of an epoch, this process's share of its batches."""
        data, loop = self.experiment.data, self.experiment.loop
        order = epoch_order(self.rows, self.weights, seed=loop.seed, epoch=epoch, n=data.images_per_epoch)
        shares = batches(order, loop.batch, rank=self.place.rank, world=self.place.world)
        n = self.experiment.optim.accumulate
        return [shares[start : start + n] for start in range(0, len(shares), n)]

    def asked(self, shares: Sequence[Share]) -> list[Batch]:
        """What is asked of the batches of a step."""
        images = sum(share.total for share in shares)
        return [self._asked(share, images) for share in shares]

    def _asked(self, share: Share, images: int) -> Batch:
        rows = send(torch.from_numpy(share.rows), self.place.device)
        targets = {name: target[rows] for name, target in self._targets.items()}
        return Batch(targets, self._group[rows], self._weight[rows], part=share.total / images)

    def values(self, images: Tensor, share: Share, *, epoch: int, number: int) -> tuple[Tensor, Mixed | None]:
        """A batch as the model gets it, changed as is drawn for it, and how it was mixed. number: of the batch in the run.

        What is drawn for an image does not depend on how many processes there are; MixUp's partners are of the same process.
        Seeds torch's own generator too, for dropout.
        """
        seed = step_seed(self.experiment.loop.seed, epoch, number)
        drawer = torch.Generator().manual_seed(seed)
        drawn = self.augment.draw(share.total, drawer)[share.start : share.start + len(share.rows)]
        values = self.augment.apply(as_float(images), drawn)
        mixed = None
        if self.experiment.augment.mixup_alpha > 0:
            partner, kept = draw_mixup(len(share.rows), self.experiment.augment.mixup_alpha, drawer)
            mixed = Mixed(send(partner, self.place.device), kept)
            values = mix(values, mixed.partner, kept)
        torch.manual_seed(seed + self.place.rank)
        return self.inputs(values), mixed

    def plain(self, pixels: Pixels) -> Iterator[Tensor]:
        """All training images as they are, as the model gets them."""
        size = self.experiment.loop.batch
        orders = [self.rows[start : start + size] for start in range(0, len(self.rows), size)]
        return (self.inputs(as_float(images)) for images in pixels.batches(orders))
