"""Turn, shift, zoom, shear, crop and zoom-out in one resampling.

Places are said from -1 to 1 across the frame, its outer edges (`align_corners=False`): so a turn is about the middle and a
crop of half the side is half the side, as torchvision has it. Bilinear, black outside.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from cxrtrain.augment.drawing import Drawn
from cxrtrain.augment.sending import send
from cxrtrain.augment.tone import blur

# Where an image shrinks by more, it is smoothed first. Below it, the filter's neighbours would weigh under half a per cent.
_SHRINKS = 1.25


def warp(images: Tensor, drawn: Drawn) -> Tensor:
    """Images (n, 1, rows, columns) with the geometry that is drawn for them.

    Those that shrink by s are first smoothed by a Gaussian of (s² - 1) / 6 square pixels: with the bilinear triangle's own
    1/6 that is the variance of a triangle s pixels wide, with which `cxrdata.images.resize` shrinks.
    """
    rows, columns = images.shape[-2:]
    source = source_places(drawn, rows, columns)
    shrink = (source[:, 0, 0] * source[:, 1, 1] - source[:, 0, 1] * source[:, 1, 0]).abs().sqrt()
    sigma = ((shrink**2 - 1) / 6).clamp(min=0).sqrt().where(shrink > _SHRINKS, 0.0)
    if bool((sigma > 0).any()):
        images = blur(images, sigma)
    picture = _picture_places(drawn)
    packed = send(torch.cat([source.flatten(1), picture.flatten(1)], dim=1).float(), images.device)
    # Sums of products, not a matrix product: on a GPU that may run with 10 bits (TF32), a tenth of a pixel.
    a, b, c, d, e, f, *cut = (one[:, None, None] for one in packed.T)
    across, down = _centres(columns, images.device)[None, None, :], _centres(rows, images.device)[None, :, None]
    grid = torch.stack([a * across + b * down + c, d * across + e * down + f], dim=-1)
    out = grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if bool(drawn.zoom_out.any()):
        scale_x, shift_x, scale_y, shift_y = cut
        inside = _inside(scale_x * across + shift_x, columns) * _inside(scale_y * down + shift_y, rows)
        out = out * inside[:, None]
    return out.clamp(0, 1)


def source_places(drawn: Drawn, rows: int, columns: int) -> Tensor:
    """Where each place of the result comes from: shape (n, 2, 3), source = M[:, :2] · (across, down) + M[:, 2].

    The last step's inverse comes first: canvas to crop, crop to turned picture, turned picture to image.
    """
    turn, shear = drawn.degrees.deg2rad(), drawn.shear.deg2rad().tan()
    cos, sin = turn.cos() / drawn.zoom, turn.sin() / drawn.zoom
    aspect = rows / columns  # a turn is one of pixels, also in a frame that is not square
    inverse = torch.stack([cos - shear * sin, (sin + shear * cos) * aspect, -sin / aspect, cos], dim=1).view(-1, 2, 2)
    box, canvas = drawn.box, drawn.canvas
    scale = box[:, 2:] * canvas[:, :1]
    # Of the point that is turned: places after crop and zoom-out, less the shift (in sides, hence twice).
    shift = 2 * box[:, :2] + box[:, 2:] - 1 + box[:, 2:] * _canvas_shift(canvas) - 2 * drawn.shift
    return torch.cat([inverse * scale[:, None, :], inverse @ shift[:, :, None]], dim=2)


def _canvas_shift(canvas: Tensor) -> Tensor:
    return canvas[:, :1] - 2 * canvas[:, 1:] - 1


def _picture_places(drawn: Drawn) -> Tensor:
    """Scale and shift, across and down, from a place on the canvas to one in the picture that lies on it: shape (n, 2, 2).

    What a crop or a turn moved out of the frame must not come back beside the picture. Where neither was drawn the image
    ends there by itself: zeros, which is the middle of the picture.
    """
    scale = drawn.canvas[:, :1].expand(-1, 2)
    places = torch.stack([scale, _canvas_shift(drawn.canvas)], dim=2)
    return places.where((drawn.zoom_out & (drawn.affine | drawn.crop))[:, None, None], 0.0)


def _inside(place: Tensor, pixels: int) -> Tensor:
    """1 inside the picture, 0 outside, and over one of its pixels from one to the other, as bilinear sampling fades."""
    return (0.5 + (1 - place.abs()) * (pixels / 2)).clamp(0, 1)


def _centres(pixels: int, device: torch.device) -> Tensor:
    return (2 * torch.arange(pixels, device=device, dtype=torch.float32) + 1) / pixels - 1
