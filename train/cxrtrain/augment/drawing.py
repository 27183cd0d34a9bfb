"""What is drawn for each image of a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from cxrtrain.config import AugmentConfig

# One number each in [0, 1) of an image, always all of them: so an image's place in the batch alone says what it gets,
# and what one step draws does not depend on which others are in use. New ones are added at the end.
_NUMBERS = (
    "flip", "affine", "rotate", "across", "down", "zoom", "shear", "crop", "crop_left", "crop_top",
    "zoom_out", "canvas", "canvas_left", "canvas_top", "equalise", "histogram", "sharpen", "sharpness", "blur", "sigma",
)  # fmt: skip
# A crop of a drawn area and aspect may not fit the frame: torchvision's RandomResizedCrop tries ten, then takes the whole.
_CROPS = 10
_ASPECTS = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class Drawn:
    """The parameters of n images, on the CPU; where a step is not drawn, its parameters are those that change nothing.

    flip, affine, crop, zoom_out, equalise, histogram, sharpen, blur: which images the step is for, bool of shape (n,).
    degrees: clockwise. shift (n, 2): to the right and down, in sides. zoom. shear: degrees, along the rows.
    box (n, 4): left, top, width, height of the crop, in sides. canvas (n, 3): its side, and left and top of the picture on
    it, in sides of the picture. sharpness: the factor. sigma: of the blur, pixels. All floats are 64-bit.
    """

    flip: Tensor
    affine: Tensor
    degrees: Tensor
    shift: Tensor
    zoom: Tensor
    shear: Tensor
    crop: Tensor
    box: Tensor
    zoom_out: Tensor
    canvas: Tensor
    equalise: Tensor
    histogram: Tensor
    sharpen: Tensor
    sharpness: Tensor
    blur: Tensor
    sigma: Tensor

    def __len__(self) -> int:
        return len(self.flip)

    def __getitem__(self, rows: slice | Tensor) -> Drawn:
        """Those of some images: a slice, or their numbers."""
        return Drawn(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})

    @property
    def moved(self) -> Tensor:
        """Which images are resampled: affine, crop or zoom-out."""
        return self.affine | self.crop | self.zoom_out


def draw(config: AugmentConfig, n: int, generator: torch.Generator) -> Drawn:
    """Parameters of n images from a generator of the CPU."""
    numbers = torch.rand((n, len(_NUMBERS) + 2 * _CROPS), generator=generator, dtype=torch.float64)
    of = dict(zip(_NUMBERS, numbers.T, strict=False))
    affine, crop, zoom_out = (
        of["affine"] < config.affine_p,
        of["crop"] < config.crop_p,
        of["zoom_out"] < config.zoom_out_p,
    )
    sharpen, blur = of["sharpen"] < config.sharpness_p, of["blur"] < config.blur_p
    shift = torch.stack([_around(of["across"], config.translate), _around(of["down"], config.translate)], dim=1)
    return Drawn(
        flip=of["flip"] < config.flip_p,
        affine=affine,
        degrees=_around(of["rotate"], config.rotate_degrees).where(affine, 0.0),
        shift=shift.where(affine[:, None], 0.0),
        zoom=_between(of["zoom"], config.zoom).where(affine, 1.0),
        shear=_around(of["shear"], config.shear_degrees).where(affine, 0.0),
        crop=crop,
        box=_boxes(of["crop_left"], of["crop_top"], numbers[:, -2 * _CROPS :], config.crop).where(
            crop[:, None], torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
        ),
        zoom_out=zoom_out,
        canvas=_canvases(of["canvas"], of["canvas_left"], of["canvas_top"], config.zoom_out).where(
            zoom_out[:, None], torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
        ),
        equalise=of["equalise"] < config.equalise_p,
        histogram=(of["histogram"] < config.histogram_p) & (config.histogram_blend > 0),
        sharpen=sharpen,
        sharpness=_between(of["sharpness"], config.sharpness).where(sharpen, 1.0),
        blur=blur,
        sigma=_between(of["sigma"], config.blur_sigma).where(blur, 0.0),
    )


def _between(number: Tensor, ends: tuple[float, float]) -> Tensor:
    return ends[0] + number * (ends[1] - ends[0])


def _around(number: Tensor, most: float) -> Tensor:
    return (2 * number - 1) * most


def _boxes(left: Tensor, top: Tensor, tries: Tensor, areas: tuple[float, float]) -> Tensor:
    """Crops, shape (n, 4): area uniform, aspect 3/4 to 4/3 uniform in its logarithm, place uniform."""
    area = _between(tries[:, :_CROPS], areas)
    low, high = (math.log(one) for one in _ASPECTS)
    aspect = _between(tries[:, _CROPS:], (low, high)).exp()
    whole = torch.ones((len(area), 1), dtype=area.dtype)
    width = torch.cat([(area * aspect).sqrt(), whole], dim=1)
    height = torch.cat([(area / aspect).sqrt(), whole], dim=1)
    fits = (width <= 1) & (height <= 1)
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)  # the first that fits; the last always does
    width, height = width.gather(1, first)[:, 0], height.gather(1, first)[:, 0]
    return torch.stack([left * (1 - width), top * (1 - height), width, height], dim=1)


def _canvases(side: Tensor, left: Tensor, top: Tensor, sides: tuple[float, float]) -> Tensor:
    """Canvases, shape (n, 3): side, and left and top of the picture on it."""
    side = _between(side, sides)
    return torch.stack([side, left * (side - 1), top * (side - 1)], dim=1)
