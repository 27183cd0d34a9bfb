"""Changes to training images, on the device where the batch is, each image on its own.

Parameters are drawn on the CPU (`draw`) and applied on any device (`apply`), so what is drawn does not depend on where it
is applied, and one of several processes draws for the whole batch and keeps its part: `drawn[first:last]`. Which images
take part in a step is known on the CPU too: a step works on those alone, in one go, and the device is never waited for.

Order: mirror; then turn, shift, zoom and shear; crop; zoom-out (these in one resampling); then equalise; histogram
matching; sharpness; blur. The tones come last, so equalise and histogram matching count the black that geometry brought.
A step that no image draws is not run, and an image that draws nothing comes out bit for bit as it went in.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cxrtrain.augment.drawing import Drawn, draw
from cxrtrain.augment.geometry import warp
from cxrtrain.augment.histogram import cumulative_histograms, equalise, match_histograms, reference_histogram
from cxrtrain.augment.mixup import draw_mixup, mix
from cxrtrain.augment.sending import send
from cxrtrain.augment.tone import blur, sharpen
from cxrtrain.config import AugmentConfig

__all__ = [
    "Augment",
    "Drawn",
    "blur",
    "cumulative_histograms",
    "draw_mixup",
    "equalise",
    "match_histograms",
    "mix",
    "reference_histogram",
    "sharpen",
    "warp",
]

_Step = Callable[[Tensor, Tensor], Tensor]


class Augment:
    """An experiment's augmentation but for MixUp, which works on whole batches (`draw_mixup`, `mix`).

    reference: what `reference_histogram` gives; needed where `histogram_p` is above 0. Raises ValueError without it.
    """

    def __init__(self, config: AugmentConfig, reference: Tensor | None = None) -> None:
        if config.histogram_p > 0 and reference is None:
            raise ValueError("histogram matching needs the reference images' histogram")
        self.config = config
        self.reference = reference

    def draw(self, n: int, generator: torch.Generator) -> Drawn:
        """Parameters for n images, from a generator of the CPU, which moves on by the same amount whatever is drawn."""
        return draw(self.config, n, generator)

    @torch.no_grad()
    def apply(self, images: Tensor, drawn: Drawn) -> Tensor:
        """float32 images of shape (n, 1, rows, columns), values 0 to 1, changed as drawn; `images` itself is left alone."""
        if len(images) != len(drawn):
            raise ValueError(f"{len(images)} images and parameters for {len(drawn)}")
        # Under autocast some of what follows would run in 16 bits.
        with torch.autocast(images.device.type, enabled=False):
            return self._steps(images, drawn)

    def _steps(self, images: Tensor, drawn: Drawn) -> Tensor:
        images = _change(images, drawn.flip, lambda chosen, _: chosen.flip(-1))
        images = _change(images, drawn.moved, lambda chosen, rows: warp(chosen, drawn[rows]))
        images = _change(images, drawn.equalise, lambda chosen, _: equalise(chosen))
        images = _change(images, drawn.histogram, self._match)
        images = _change(images, drawn.sharpen, lambda chosen, rows: sharpen(chosen, drawn.sharpness[rows]))
        return _change(images, drawn.blur, lambda chosen, rows: blur(chosen, drawn.sigma[rows]).clamp(0, 1))

    def _match(self, chosen: Tensor, _: Tensor) -> Tensor:
        assert self.reference is not None
        self.reference = send(self.reference, chosen.device)
        return match_histograms(chosen, self.reference, self.config.histogram_blend)


def _change(images: Tensor, chosen: Tensor, step: _Step) -> Tensor:
    """`step` on the images that are chosen (CPU, shape (n,)); it gets them and their rows (CPU)."""
    rows = chosen.nonzero().flatten()
    if not len(rows):
        return images
    if len(rows) == len(images):
        return step(images, rows)
    places = send(rows, images.device)
    return images.index_copy(0, places, step(images.index_select(0, places), rows))
