"""Small image files and catalogs for the tests of `cxrdata.images`."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def png(seed: int = 0, *, side: int = 64, mode: str = "L") -> bytes:
    """A PNG of smooth noise, no two seeds alike."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (24, 24), dtype=np.uint8))
    return saved(coarse.resize((side, side), Image.Resampling.BICUBIC).convert(mode))


def saved(picture: Image.Image, kind: str = "PNG", **wishes: object) -> bytes:
    """A picture as the bytes of a file."""
    file = io.BytesIO()
    picture.save(file, kind, **wishes)
    return file.getvalue()


def write(folder: Path, name: str, content: bytes = b"x") -> Path:
    """A file below a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def zipped(path: Path, members: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, members: Mapping[str, bytes], *, mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
