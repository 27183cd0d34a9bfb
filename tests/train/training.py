"""A store of small drawn pictures and a bundle over it, written in milliseconds, for the trainer to learn from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cxrtrain.bundle import Bundle, HeadTargets, write_bundle
from cxrtrain.config import (
    DataConfig,
    Experiment,
    HeadConfig,
    LoopConfig,
    ModelConfig,
)

SIDE = 16
DATASET = "nih_cxr14"
HEART = HeadTargets("heart", "binary", "bce", ("heart",), ("target_heart",))


def keys(n: int) -> list[str]:
    return [f"{at:08d}_000.png" for at in range(n)]


def pictures(bright: Sequence[int] | np.ndarray, *, side: int = SIDE, seed: int = 0) -> np.ndarray:
    """Noise, with a bright square in the middle where `bright` is 1."""
    images = np.random.default_rng(seed).integers(0, 110, (len(bright), side, side), dtype=np.uint8)
    images[np.asarray(bright) == 1, side // 4 : side // 2, side // 4 : side // 2] += 90
    return images


def write_store(folder: Path, images: np.ndarray, *, ids: Sequence[str] | None = None) -> Path:
    """An image store as `cxrdata images build` leaves it, in two shards."""
    folder.mkdir(parents=True)
    ids = list(ids if ids is not None else keys(len(images)))
    half = len(images) // 2
    shards = {"shard-0.npy": images[:half], "shard-1.npy": images[half:]}
    for name, part in shards.items():
        np.save(folder / name, part)
    index = pa.table(
        {
            "dataset": [DATASET] * len(ids),
            "image_id": ids,
            "shard": [name for name, part in shards.items() for _ in part],
            "row": pa.array([at for part in shards.values() for at in range(len(part))], pa.int32()),
            "mean": images.mean((1, 2)),
            "sd": images.std((1, 2)),
        }
    )
    pq.write_table(index, folder / "index.parquet")
    manifest = {
        "format": 1,
        "side": images.shape[1],
        "index_sha256": hashlib.sha256((folder / "index.parquet").read_bytes()).hexdigest(),
        "shards": [{"file": name, "images": len(part)} for name, part in shards.items()],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def write_rows(
    folder: Path,
    targets: dict[str, Any],
    part: Sequence[str],
    *,
    heads: Sequence[HeadTargets] = (HEART,),
    group: Sequence[int | None] | None = None,
    groups: Sequence[str] = (),
    fold: Sequence[int | None] | None = None,
    n_draws: Sequence[int] | None = None,
    weight: Sequence[float] | None = None,
) -> Bundle:
    """A bundle over the pictures of a store; targets by column, NaN or None where not known."""
    n = len(part)
    columns = {
        name: pa.array([None if one is None or one != one else float(one) for one in values], pa.float32())  # noqa: PLR0124
        for name, values in targets.items()
    }
    table = pa.table(
        {
            "dataset": [DATASET] * n,
            "image_id": keys(n),
            "part": list(part),
            "fold": pa.array(list(fold) if fold is not None else [None] * n, pa.int32()),
            "n_draws": pa.array(list(n_draws) if n_draws is not None else [1] * n, pa.int32()),
            "weight": pa.array(list(weight) if weight is not None else [1.0] * n, pa.float64()),
            "group": pa.array(list(group) if group is not None else [None] * n, pa.int32()),
            **columns,
        }
    )
    return write_bundle(folder, table, heads=heads, groups=list(groups), train="train", valid="valid")


@dataclass(frozen=True)
class Ground:
    """Where a run can take place."""

    store: Path
    bundle: Bundle
    experiment: Experiment

    def wish(self, **tables: dict[str, Any]) -> Experiment:
        """The experiment with some values of its tables changed: `wish(loop={"epochs": 2})`."""
        changed = {name: replace(getattr(self.experiment, name), **values) for name, values in tables.items()}
        return replace(self.experiment, **changed)


def experiment(**tables: Any) -> Experiment:
    return Experiment(
        name="tiny",
        heads=tables.pop("heads", (HeadConfig("heart", "binary", finding="cardiomegaly"),)),
        data=tables.pop("data", DataConfig(side=SIDE)),
        model=tables.pop("model", ModelConfig()),
        loop=tables.pop("loop", LoopConfig(epochs=2, batch=8)),
        **tables,
    )


def ground(folder: Path, *, n: int = 40, n_valid: int = 12, seed: int = 0, **bundle: Any) -> Ground:
    """Pictures of which half are bright, `n` to train and `n_valid` to validate on."""
    bright = np.random.default_rng([seed, 1]).permutation(np.arange(n + n_valid) % 2)
    store = write_store(folder / "store", pictures(bright, seed=seed))
    part = ["train"] * n + ["valid"] * n_valid
    rows = write_rows(folder / "bundle", {"target_heart": bright}, part, **bundle)
    return Ground(store, rows, experiment())
