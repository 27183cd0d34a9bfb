"""The noise: how it is added, and read from files of ours and of others."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrdata.errors import CxrError
from cxrtrain.dne.noise import NOISE_FILE, Noise, edited, read_noise, within, write_noise

VALUES = np.random.default_rng(0).normal(0, 0.1, (8, 8)).astype(np.float32)


def test_edited_images_stay_in_range() -> None:
    images = torch.tensor([[[[0.0, 0.5], [0.9, 1.0]]]])
    found = edited(images, torch.tensor([[-0.2, 0.25], [0.3, -0.5]]))
    assert torch.allclose(found, torch.tensor([[[[0.0, 0.75], [1.0, 0.5]]]]))


def test_the_budget_is_of_each_pixel() -> None:
    values = torch.tensor([-1.0, 0.05, 0.3])
    assert torch.equal(within(values, 0.1), torch.tensor([-0.1, 0.05, 0.1]))
    assert within(values, None) is values


def test_ours_comes_back_with_what_it_says(tmp_path: Path) -> None:
    written = write_noise(Noise(VALUES, {"objective": "uniform", "penalty": 0.01}), tmp_path)
    found, notes = read_noise(written, side=8)
    assert written.name == NOISE_FILE
    assert np.array_equal(found.values, VALUES)
    assert found.about == {"side": 8, "objective": "uniform", "penalty": 0.01}
    assert notes == []
    assert found.digest == Noise(VALUES).digest != Noise(VALUES + 1).digest
    assert (tmp_path / "noise.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (3, 8, 8), (1, 8, 8), (8, 8)])
@pytest.mark.parametrize("suffix", [".npy", ".pt", ".pth"])
def test_published_shapes(tmp_path: Path, shape: tuple[int, ...], suffix: str) -> None:
    path = tmp_path / f"theirs{suffix}"
    array = np.broadcast_to(VALUES, shape).copy()
    if suffix == ".npy":
        np.save(path, array)
    else:
        torch.save(torch.from_numpy(array), path)
    found, notes = read_noise(path, side=8)
    assert np.array_equal(found.values, VALUES)
    assert notes == []


def test_a_state_dict_with_one_tensor(tmp_path: Path) -> None:
    torch.save(
        {"noise": torch.nn.Parameter(torch.from_numpy(VALUES)[None, None].expand(1, 3, 8, 8).clone())},
        tmp_path / "a.pth",
    )
    assert np.array_equal(read_noise(tmp_path / "a.pth", side=8)[0].values, VALUES)
    torch.save({"a": torch.zeros(8, 8), "b": torch.zeros(8, 8)}, tmp_path / "b.pth")
    with pytest.raises(CxrError, match="CXR-160") as told:
        read_noise(tmp_path / "b.pth", side=8)
    assert "a, b" in told.value.problem


def test_channels_that_differ_are_averaged_and_told(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.stack([VALUES - 0.3, VALUES, VALUES + 0.3]))
    found, notes = read_noise(tmp_path / "a.npy", side=8)
    assert np.allclose(found.values, VALUES, atol=1e-6)
    assert "channels differ, by up to 0.6" in notes[0]


def test_another_side_is_refused_or_resampled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((16, 16), 0.25, np.float32))
    with pytest.raises(CxrError, match="CXR-161") as told:
        read_noise(tmp_path / "a.npy", side=8)
    assert "16 pixels a side, and these have 8" in told.value.problem
    found, notes = read_noise(tmp_path / "a.npy", side=8, resample=True)
    assert found.values.shape == (8, 8)
    assert np.allclose(found.values, 0.25)
    assert "resampled from 16 to 8" in notes[0]


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch /tmp/never",)


@pytest.mark.parametrize(
    ("name", "code"), [("a.npy", "CXR-160"), ("a.pt", "CXR-158"), ("a.txt", "CXR-160"), ("none.npy", "CXR-160")]
)
def test_what_is_no_noise(tmp_path: Path, name: str, code: str) -> None:
    """Among them a file that would run code where it was unpickled."""
    for suffix in (".npy", ".pt", ".txt"):
        (tmp_path / f"a{suffix}").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(CxrError, match=code):
        read_noise(tmp_path / name, side=8)


@pytest.mark.parametrize(
    "array", [np.zeros((8, 4)), np.zeros((2, 8, 8)), np.zeros(8), np.full((8, 8), np.nan), np.array([["a"]])]
)
def test_arrays_that_are_no_noise(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(CxrError, match="CXR-160"):
        read_noise(tmp_path / "a.npy", side=8)
