"""Reading the store: items, batches into a buffer, narrowing by key, processes, and what is missing."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.images.build import StoreRequest, build_store
from cxrdata.images.resize import Frame
from cxrdata.images.shards import mean_and_sd
from cxrdata.images.store import ImageStore


@pytest.fixture
def store(tmp_path: Path, located: pl.DataFrame) -> ImageStore:
    build_store(StoreRequest(tmp_path / "store", located, Frame(32), shard_bytes=4 * 32 * 32))
    return ImageStore(tmp_path / "store")


def test_batches_go_into_the_same_buffer(store: ImageStore) -> None:
    buffer = np.zeros((4, 32, 32), dtype=np.uint8)
    batch = store.read([9, 0, 5, 5], buffer)
    assert batch.base is buffer
    for at, position in enumerate([9, 0, 5, 5]):
        assert np.array_equal(buffer[at], store[position])
    last = store.read(np.array([1, 2]), buffer)
    assert last.shape == (2, 32, 32)
    assert np.array_equal(buffer[2], store[5])  # what is beyond a short batch is left


@pytest.mark.parametrize("buffer", [np.zeros((1, 32, 32), np.uint8), np.zeros((2, 32, 32), np.float32)])
def test_a_buffer_that_does_not_fit(store: ImageStore, buffer: np.ndarray) -> None:
    with pytest.raises(ValueError, match="buffer"):
        store.read([0, 1], buffer)


def test_narrowed_to_keys_in_their_order(store: ImageStore) -> None:
    keys = store.index.select("dataset", "image_id")[[7, 2]]
    narrowed = store.only(keys)
    assert len(narrowed) == 2
    assert np.array_equal(narrowed[0], store[7])
    assert np.array_equal(narrowed.read([1, 0]), store.read([2, 7]))


def test_an_image_that_is_not_there(store: ImageStore) -> None:
    with pytest.raises(CxrError, match=r"nih_cxr14:other\.png") as error:
        store.only(pl.DataFrame({"dataset": ["nih_cxr14"], "image_id": ["other.png"]}))
    assert error.value.code == "CXR-149"
    with pytest.raises(IndexError):
        store[10]


def test_pickled_small_and_whole(store: ImageStore) -> None:
    narrowed = store.only(store.index[3:6])
    narrowed.read([0, 1, 2])
    copy = pickle.loads(pickle.dumps(narrowed))
    assert np.array_equal(copy.read([2, 0]), narrowed.read([2, 0]))
    assert len(pickle.dumps(narrowed)) < 10_000


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(CxrError) as error:
        ImageStore(tmp_path / "nothing")
    assert error.value.code == "CXR-148"


def test_a_store_of_another_format(store: ImageStore) -> None:
    text = store.folder.manifest.read_text(encoding="utf-8")
    store.folder.manifest.write_text(text.replace('"format": 1', '"format": 99'), encoding="utf-8")
    with pytest.raises(CxrError, match="format 99"):
        ImageStore(store.folder.path)


def test_mean_and_sd_are_those_of_numpy() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (50, 40), dtype=np.uint8)
    mean, sd = mean_and_sd(pixels)
    assert mean == pytest.approx(pixels.mean(), abs=1e-12)
    assert sd == pytest.approx(pixels.std(), abs=1e-9)


@pytest.mark.parametrize("wanted", [[0.0, 1.0], np.array([1.5]), ["1"], [True, False], np.ones((2, 2), int), 3, [10]])
def test_what_are_no_positions(store: ImageStore, wanted: Any) -> None:
    with pytest.raises(IndexError):
        store.read(wanted)


def test_a_mask_and_no_positions_at_all(store: ImageStore) -> None:
    mask = np.arange(10) % 4 == 1
    assert np.array_equal(store.read(mask), store.read([1, 5, 9]))
    assert store.read([]).shape == (0, 32, 32)
    assert store.read(np.array([], dtype=bool)).shape == (0, 32, 32)


@pytest.mark.parametrize("wanted", [1.0, "1", None, slice(2), [1]])
def test_an_item_is_named_by_a_whole_number(store: ImageStore, wanted: Any) -> None:
    with pytest.raises(TypeError):
        store[wanted]


FORKED = """
import sys
import numpy as np
import torch
from cxrdata.images.store import ImageStore

store = ImageStore(sys.argv[1])
whole = store.read(range(len(store)))
for images, expected in ((ImageStore(sys.argv[1]), whole), (store.only(store.index.reverse()), whole[::-1])):
    loader = torch.utils.data.DataLoader(images, batch_size=4, num_workers=2, multiprocessing_context="fork")
    assert np.array_equal(torch.cat(list(loader)).numpy(), expected)
"""


def test_forked_workers_of_torch_read_batches(store: ImageStore) -> None:
    pytest.importorskip("torch")
    command = [sys.executable, "-W", "ignore", "-c", FORKED, str(store.folder.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
