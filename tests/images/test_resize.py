"""Resizing against an independent reference: the same filter as a sum of 64-bit floats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxrdata.errors import CxrError
from cxrdata.images.decode import Grey, decode
from cxrdata.images.resize import Frame, decode_into, resize


def weights(old: int, new: int) -> NDArray[np.float64]:
    """The weight of each old pixel in each new one, shape (new, old): a triangle of half-width one new pixel."""
    scale = old / new
    width = max(scale, 1.0)
    centres = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old) + 0.5 - centres[:, None]) / width
    found = np.clip(1 - distance, 0, None)
    return found / found.sum(axis=1, keepdims=True)


def reference(pixels: Grey, rows: int, columns: int) -> NDArray[np.float64]:
    return weights(pixels.shape[0], rows) @ pixels.astype(np.float64) @ weights(pixels.shape[1], columns).T


def test_real_images_within_one_grey_level(real_images: list[Path]) -> None:
    frame = Frame(224)
    out = np.empty((224, 224), dtype=np.uint8)
    for at, path in enumerate(real_images):
        data = path.read_bytes()
        pixels = decode(data).pixels
        resized = resize(pixels, frame)
        assert np.abs(resized - reference(pixels, 224, 224)).max() <= 1
        if at % 9 == 0:
            decode_into(data, frame, out)
            assert np.array_equal(out, resized)


@pytest.mark.parametrize("side", [64, 100, 299, 512])
@pytest.mark.parametrize("columns", [240, 239, 1])  # four at a time where they can be
def test_squash_is_the_reference_also_upwards(side: int, columns: int, chest: Grey) -> None:
    pixels = np.ascontiguousarray(chest[:, :columns])
    assert np.abs(resize(pixels, Frame(side)) - reference(pixels, side, side)).max() <= 1


def test_pad_keeps_the_aspect_and_all(chest: Grey) -> None:
    padded = resize(chest, Frame(100, "pad"))  # 300 by 240 becomes 100 by 80
    assert (padded[:, :10] == 0).all()
    assert (padded[:, 90:] == 0).all()
    assert np.abs(padded[:, 10:90] - reference(chest, 100, 80)).max() <= 1


def test_crop_keeps_the_aspect_and_the_centre(chest: Grey) -> None:
    cropped = resize(chest, Frame(80, "crop"))  # 300 by 240 becomes 100 by 80
    assert np.abs(cropped - reference(chest, 100, 80)[10:90]).max() <= 1


def test_scaled_jpeg_is_near_the_whole(chest: Grey, encoded) -> None:  # noqa: ANN001
    from PIL import Image

    data = encoded(Image.fromarray(chest).resize((1920, 2400), Image.Resampling.BICUBIC), "JPEG", quality=95)
    out = np.empty((224, 224), dtype=np.uint8)
    decode_into(data, Frame(224), out)
    difference = np.abs(out - reference(decode(data).pixels, 224, 224))
    assert difference.mean() < 1
    assert 1 < difference.max() < 8
    decode_into(data, Frame(224, exact=True), out)
    assert np.abs(out - reference(decode(data).pixels, 224, 224)).max() <= 1


@pytest.mark.parametrize(("side", "fit"), [(0, "squash"), (9000, "squash"), (224, "stretch")])
def test_frames_that_are_none(side: int, fit: str) -> None:
    with pytest.raises(CxrError) as error:
        Frame(side, fit)
    assert error.value.code == "CXR-502"
