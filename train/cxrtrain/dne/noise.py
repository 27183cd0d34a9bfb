"""The one noise for all images: how it is added, kept, and read from files of ours and of others.

noise.safetensors   `noise`, float32 (side, side), to be added to values 0 to 1; its header says what it was fitted for
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cxrdata.errors import CxrError
from cxrtrain.models.foreign import open_checkpoint, refusing
from cxrtrain.models.unpickle import Tensor as StoredTensor

NOISE_FILE = "noise.safetensors"
_NAME, _ABOUT = "noise", "about"
_SUFFIXES = (".safetensors", ".npy", ".pt", ".pth")
_GREY = 127  # of the picture: where nothing is added
_SAME = 1e-6  # channels that differ by less are one


@dataclass(frozen=True)
class Noise:
    """values: (side, side) float32, shared by all channels and images. about: what it was fitted for, as the header says."""

    values: NDArray[np.float32]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def side(self) -> int:
        return int(self.values.shape[0])

    @property
    def digest(self) -> str:
        """Of the values alone."""
        return hashlib.sha256(np.ascontiguousarray(self.values, dtype="<f4").tobytes()).hexdigest()

    def tensor(self, device: torch.device) -> Tensor:
        return torch.from_numpy(self.values).to(device)


def edited(images: Tensor, noise: Tensor) -> Tensor:
    """images: (…, side, side), values 0 to 1; with the noise added they stay in that range."""
    return (images + noise).clamp(0.0, 1.0)


def within(values: Tensor, limit: float | None) -> Tensor:
    """The noise within its ℓ∞ budget: no pixel is changed by more than `limit`."""
    return values if limit is None else values.clamp(-limit, limit)


def write_noise(noise: Noise, folder: Path) -> Path:
    """noise.safetensors, and noise.png to look at, into a folder."""
    from safetensors.numpy import save_file

    path = folder / NOISE_FILE
    # One text: several would stand in the file in any order, and the same noise is to be the same bytes.
    header = {_ABOUT: json.dumps({"side": noise.side, **noise.about}, sort_keys=True)}
    save_file({_NAME: np.ascontiguousarray(noise.values)}, path, metadata=header)
    write_picture(noise, folder / "noise.png")
    return path


def write_picture(noise: Noise, path: Path) -> None:
    """The noise as a grey picture: black takes most away, white adds most, middle grey changes nothing."""
    from PIL import Image

    most = float(np.abs(noise.values).max()) or 1.0
    grey = np.rint(_GREY + noise.values / most * _GREY).astype(np.uint8)
    enlarge = max(1, 256 // noise.side)
    Image.fromarray(np.kron(grey, np.ones((enlarge, enlarge), dtype=np.uint8))).save(path)


def read_noise(path: Path, *, side: int, resample: bool = False) -> tuple[Noise, list[str]]:
    """A noise from a file, and what is to be known of it, as sentences.

    Ours, or a published one: .npy, .pt or .pth with a tensor of shape (1, 3, s, s), (3, s, s), (1, s, s) or (s, s); no code
    in it is run. Channels that differ are averaged, for images here have one. resample: bring another side to `side`.

    Raises CxrError: CXR-160 there is no such file, or it holds no noise; CXR-161 it has another side; CXR-158 a damaged or
    dangerous checkpoint.
    """
    if path.suffix not in _SUFFIXES or not path.is_file():
        problem = "this file does not exist" if path.suffix in _SUFFIXES else f"noise is not read from {path.suffix!r}"
        raise CxrError("CXR-160", problem, where=str(path), fix=f"name a file that ends in {', '.join(_SUFFIXES)}")
    found, about = _read(path)
    values, notes = _plane(found, path)
    if values.shape[0] != side:
        if not resample:
            raise CxrError(
                "CXR-161",
                f"the noise is for images of {values.shape[0]} pixels a side, and these have {side}",
                where=path.name,
                fix=f"--set data.side={values.shape[0]}, or resample it: --resample",
            )
        notes.append(f"the noise was resampled from {values.shape[0]} to {side} pixels a side: it is another one now")
        scaled = functional.interpolate(
            torch.from_numpy(values)[None, None], size=(side, side), mode="bilinear", antialias=True
        )
        values = scaled[0, 0].numpy()
    return Noise(np.ascontiguousarray(values, dtype=np.float32), about), notes


def _read(path: Path) -> tuple[NDArray[Any], dict[str, Any]]:
    """The array of a file, and its header."""
    if path.suffix == ".npy":
        try:
            return np.asarray(np.load(path, allow_pickle=False)), {}
        except (OSError, ValueError, EOFError) as error:
            fix = "have its author save it with numpy.save, without objects"
            raise CxrError("CXR-160", "the file holds no array of numbers", where=path.name, fix=fix) from error
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with refusing(path), safe_open(path, framework="np") as file:
            names = list(file.keys())
            name = _NAME if _NAME in names else _only(names, path)
            header = dict(file.metadata() or {})
            return np.asarray(file.get_tensor(name)), json.loads(header[_ABOUT]) if _ABOUT in header else header
    with open_checkpoint(path) as checkpoint:
        content = checkpoint.content
        if not isinstance(content, StoredTensor):
            state = checkpoint.state()
            content = state[_only(list(state), path)]
        return checkpoint.tensor(content).float().numpy(), {}


def _only(names: list[str], path: Path) -> str:
    if len(names) != 1:
        said = ", ".join(names[:3]) or "nothing"
        raise CxrError(
            "CXR-160", f"the file holds {said}, and not one noise", where=path.name, fix="name a file with one tensor"
        )
    return names[0]


def _plane(found: NDArray[Any], path: Path) -> tuple[NDArray[np.float32], list[str]]:
    """(side, side) of what was read."""
    array = found[0] if found.ndim == 4 and found.shape[0] == 1 else found
    channels = array[None] if array.ndim == 2 else array
    if channels.ndim != 3 or channels.shape[0] not in (1, 3) or channels.shape[1] != channels.shape[2]:
        problem = f"the file holds an array of shape {list(found.shape)}, and no noise"
        raise CxrError("CXR-160", problem, where=path.name, fix="(1, 3, s, s), (3, s, s) or (s, s) are read")
    if not np.issubdtype(channels.dtype, np.number) or not np.isfinite(channels).all():
        raise CxrError("CXR-160", "the noise has values that are no finite numbers", where=path.name, fix="fit it anew")
    plane = channels.astype(np.float64)
    apart = float(np.abs(plane - plane[:1]).max())
    notes = []
    if apart > _SAME:
        notes.append(f"its channels differ, by up to {apart:.3g}; images here are grey, so the mean was taken")
    return plane.mean(axis=0).astype(np.float32), notes
