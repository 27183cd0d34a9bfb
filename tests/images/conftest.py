"""Small image files of every kind, and the real ones where they are."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from cxrdata.images.decode import Grey
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog


@pytest.fixture(scope="session")
def chest() -> Grey:
    """A smooth picture of 300 by 240 with a little noise: every row and column differs, so that a transposed or
    mirrored result is seen."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:300, 0:240]
    wave = 120 + 60 * np.sin(x / 23) * np.cos(y / 31) + 0.12 * x + 0.08 * y
    return np.clip(wave + rng.normal(0, 3, wave.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def encoded() -> Callable[..., bytes]:
    """`encoded(pixels, "PNG")`: the bytes of an image file."""

    def encode(pixels: np.ndarray | Image.Image, kind: str = "PNG", **wishes: object) -> bytes:
        picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        buffer = io.BytesIO()
        picture.save(buffer, kind, **wishes)
        return buffer.getvalue()

    return encode


@pytest.fixture(scope="session")
def real_images(real_data: Path) -> list[Path]:
    """The 36 real NIH images."""
    return sorted((real_data / "nih" / "images").glob("*.png"))


@pytest.fixture(scope="session")
def six_datasets(registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a catalog of all six datasets, some tens of images each; without image files, and not to be changed."""
    folder = tmp_path_factory.mktemp("six") / "cxr-catalog"
    names = ("chexpert", "mimic_cxr", "nih_cxr14", "padchest", "vindr_cxr", "vindr_pcxr")
    named = [(registry.get(name), synthetic(name, scale=0.0003)) for name in names]
    build_catalog(BuildRequest(folder, named=named, workers=1))
    return folder


@pytest.fixture
def located(tmp_path: Path, chest: Grey) -> pl.DataFrame:
    """Ten small PNG files, each a little different, as `locate` would say where they are."""
    folder = tmp_path / "files"
    folder.mkdir()
    rows = []
    for number in range(10):
        path = folder / f"{number:08d}_000.png"
        Image.fromarray(np.roll(chest, 7 * number, axis=0)).save(path)
        rows.append(("nih_cxr14", path.name, str(path), None))
    return pl.DataFrame(rows, schema=["dataset", "image_id", "path", "member"], orient="row")
