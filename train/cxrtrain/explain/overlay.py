"""A map over its image: red speaks for the output, blue against it, and where nothing is said the image stays grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_FOR, _AGAINST = (214.0, 39.0, 40.0), (31.0, 119.0, 220.0)
_MOST_COVERED = 0.65  # of the image, where the map is at its limit
_LINE, _MARGIN, _GAP = 14, 4, 6  # pixels
_LEAST_SIDE = 224  # smaller images are enlarged, for captions to fit below


def enlarged(maps: torch.Tensor, side: int) -> NDArray[np.float32]:
    """(n, h, w) → (n, side, side), bilinear."""
    big = interpolate(maps[:, None].float(), size=(side, side), mode="bilinear", align_corners=False)
    return np.asarray(big[:, 0].cpu().numpy(), dtype=np.float32)


def placed(maps: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Maps of the middle of images, as `input.crop` cuts it out, in images of `side`; around it nothing is said."""
    first = (side - maps.shape[-1]) // 2
    whole = np.zeros((len(maps), side, side), np.float32)
    whole[:, first : first + maps.shape[-1], first : first + maps.shape[-1]] = maps
    return whole


def overlay(image: NDArray[np.uint8], values: NDArray[np.float32], limit: float) -> NDArray[np.uint8]:
    """(side, side) grey and a map of that size → (side, side, 3). limit: the value, of either sign, that is fully coloured."""
    grey = np.repeat(image[:, :, None].astype(np.float32), 3, axis=2)
    strength = np.clip(np.abs(values) / limit, 0, 1)[:, :, None] if limit > 0 else np.zeros((*values.shape, 1))
    colour = np.where((values >= 0)[:, :, None], np.asarray(_FOR), np.asarray(_AGAINST))
    covered = strength * _MOST_COVERED
    return np.rint(grey * (1 - covered) + colour * covered).astype(np.uint8)


def enlarging(side: int) -> int:
    """How often each pixel is to be drawn for captions to fit below."""
    return -(-_LEAST_SIDE // side)


def side_by_side(image: NDArray[np.uint8], coloured: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image, and the image under its map: (side, 2·side + gap, 3), enlarged where it is small."""
    times = enlarging(image.shape[0])
    pair = [np.repeat(image[:, :, None], 3, axis=2), coloured]
    first, second = (one.repeat(times, axis=0).repeat(times, axis=1) for one in pair)
    gap = np.full((first.shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([first, gap, second], axis=1)


def captioned(picture: NDArray[np.uint8], lines: Sequence[str], limit: float, *, signed: bool) -> Image.Image:
    """A picture with lines of text below, and what its colours mean."""
    from PIL import Image, ImageDraw

    height, width, _ = picture.shape
    lines = [line for text in lines for line in _wrapped(text, width - 2 * _MARGIN)]
    canvas = Image.new("RGB", (width, height + (len(lines) + 1) * _LINE + 2 * _MARGIN), "white")
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    top = height + _MARGIN
    for line in lines:
        draw.text((_MARGIN, top), line, fill="black")
        top += _LINE
    _legend(canvas, top, limit, signed=signed)
    return canvas


def _wrapped(text: str, width: int) -> list[str]:
    """A text in lines that fit, parted between words where that is possible."""
    from PIL import Image, ImageDraw

    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _legend(canvas: Image.Image, top: int, limit: float, *, signed: bool) -> None:
    """A bar of the colours over mid grey, between the values at its ends."""
    from PIL import Image, ImageDraw

    draw = ImageDraw.Draw(canvas)
    if not limit > 0:
        draw.text((_MARGIN, top), "no place of the image speaks for it", fill="black")
        return
    ends = (f"{-limit:.3g}" if signed else "0", f"{limit:.3g}")
    left = _MARGIN + int(draw.textlength(ends[0])) + _MARGIN
    right = canvas.width - int(draw.textlength(ends[1])) - 2 * _MARGIN
    values = np.linspace(-1 if signed else 0, 1, max(right - left, 1), dtype=np.float32)
    bar = overlay(np.full((_LINE - 6, len(values)), 128, np.uint8), np.repeat(values[None], _LINE - 6, axis=0), 1.0)
    draw.text((_MARGIN, top), ends[0], fill="black")
    canvas.paste(Image.fromarray(bar), (left, top + 3))
    draw.text((right + _MARGIN, top), ends[1], fill="black")
