"""What the benchmark of training trains on: an image store of random pictures, a bundle of them, and JPEG files.

Written with numpy and pyarrow alone (the files with Pillow), for machines that have nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from cxrtrain import pixels
from cxrtrain.bundle import Bundle, HeadTargets, write_bundle

_DATASET = "random"
_SHARD = 4096
_SMALL = 28  # the pictures are so many random tones a side, enlarged: noise would be dear to decode as JPEG


@dataclass(frozen=True)
class Plan:
    """How much is measured. steps: of each timed round; rounds: of which the median counts; workers: of the DataLoader;
    file_images: how many of the pictures are files too."""

    folder: Path
    backbone: str
    batches: tuple[int, ...] = (128, 256, 512)
    images: int = 16_384
    side: int = 224
    steps: int = 60
    rounds: int = 3
    workers: int = 12
    file_images: int = 8_192
    device: str | None = None
    seed: int = 0

    @property
    def store(self) -> Path:
        return self.folder / "store"


def make_data(plan: Plan, *, files: bool) -> Bundle:
    """An image store (CONTRACT §7), a bundle of its images and, if wanted, the first of them as JPEG files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(plan.seed)
    plan.store.mkdir(parents=True, exist_ok=True)
    names = [f"{number:06d}" for number in range(plan.images)]
    index: dict[str, list[Any]] = {name: [] for name in ("dataset", "image_id", "shard", "row", "mean", "sd")}
    shards = []
    for start in range(0, plan.images, _SHARD):
        pictures = _pictures(random, min(_SHARD, plan.images - start), plan.side)
        shard = f"shard-{start // _SHARD:05d}.npy"
        np.save(plan.store / shard, pictures)
        shards.append({"file": shard})
        index["image_id"] += names[start : start + len(pictures)]
        index["shard"] += [shard] * len(pictures)
        index["row"] += range(len(pictures))
        index["mean"] += [float(picture.mean()) for picture in pictures]
        index["sd"] += [float(picture.std()) for picture in pictures]
        if files:
            _write_files(plan, pictures, start)
    index["dataset"] = [_DATASET] * plan.images
    pq.write_table(pa.table(index), plan.store / "index.parquet")
    about = {"format": pixels.FORMAT, "side": plan.side, "index_sha256": f"random-{plan.seed}", "shards": shards}
    (plan.store / "manifest.json").write_text(json.dumps(about), encoding="utf-8")
    target = random.integers(0, 2, plan.images).astype(np.float64)
    n_valid = max(2, min(plan.images // 8, 2 * max(plan.batches)))
    target[:2] = target[-2:] = (0, 1)  # each part has both classes
    rows = pa.table(
        {
            "dataset": index["dataset"],
            "image_id": names,
            "part": ["train"] * (plan.images - n_valid) + ["valid"] * n_valid,
            "fold": pa.nulls(plan.images, pa.int64()),
            "n_draws": pa.nulls(plan.images, pa.int64()),
            "weight": pa.nulls(plan.images, pa.float64()),
            "group": pa.nulls(plan.images, pa.int32()),
            "target_finding": target,
        }
    )
    head = HeadTargets("finding", "binary", "bce", ("finding",), ("target_finding",))
    return write_bundle(plan.folder / "bundle", rows, heads=[head], groups=[], train="train", valid="valid")


def _pictures(random: np.random.Generator, n: int, side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    small = random.integers(0, 256, (n, _SMALL, _SMALL), dtype=np.uint8)
    at = np.arange(side) * _SMALL // side
    return np.ascontiguousarray(small[:, at][:, :, at])


def _write_files(plan: Plan, pictures: np.ndarray[Any, np.dtype[np.uint8]], start: int) -> None:
    if find_spec("PIL") is None:
        return
    from PIL import Image

    for number, picture in enumerate(pictures, start):
        if number < plan.file_images:
            path = file_of(plan, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path, "JPEG", quality=90)


def file_of(plan: Plan, number: int) -> Path:
    return plan.folder / "files" / f"{number % 100:02d}" / f"{number:06d}.jpg"
