"""A run with several heads, trained one step on random pictures, and what it was made from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from cxrtrain.bundle import Bundle, HeadTargets, write_bundle
from cxrtrain.config_file import experiment_of
from cxrtrain.loop import Request, train
from cxrtrain.run_folder import Run

from cxrdata.interop.label_orders import chexploration_outputs

SIDE = 16
N, N_TEST = 40, 12
LABELS = chexploration_outputs(14) or ()
RACES = ("White", "Asian", "Black")
DISEASE = HeadTargets("disease", "multilabel", "bce", LABELS, tuple(f"target_disease_{name}" for name in LABELS))
RACE = HeadTargets("race", "classes", "ce", RACES, ("target_race",))
AGE = HeadTargets("age", "regression", "mse", ("age_years",), ("target_age",), mean=50.0, sd=20.0)
HEADS = (DISEASE, RACE, AGE)
EXPERIMENT = {
    "name": "made",
    "data": {"side": SIDE},
    "loop": {"batch": 16, "epochs": 1},
    "heads": [
        {"name": "disease", "kind": "multilabel", "labels": list(LABELS)},
        {"name": "race", "kind": "classes", "attribute": "race", "classes": list(RACES)},
        {"name": "age", "kind": "regression", "attribute": "age_years"},
    ],
}


@dataclass(frozen=True)
class Made:
    """A run, trained on a bundle from elsewhere, and the store."""

    run: Run
    bundle: Bundle
    store: Path


def image_ids(n: int = N) -> list[str]:
    return [f"{at:08d}_000.png" for at in range(n)]


def write_store(folder: Path, *, n: int = N, side: int = SIDE) -> Path:
    """An image store of random pictures."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (n, side, side), dtype=np.uint8)
    np.save(folder / "shard-0.npy", pixels)
    columns = {
        "dataset": ["nih_cxr14"] * n,
        "image_id": image_ids(n),
        "shard": ["shard-0.npy"] * n,
        "row": pa.array(range(n), pa.int32()),
        "mean": pixels.mean((1, 2)),
        "sd": pixels.std((1, 2)),
    }
    pq.write_table(pa.table(columns), folder / "index.parquet")
    manifest = {"format": 1, "side": side, "index_sha256": "0", "shards": [{"file": "shard-0.npy", "images": n}]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def targets() -> dict[str, pa.Array]:
    """Columns of targets; the first race and the first label of the last image are not known."""
    rng = np.random.default_rng(1)
    found = {column: pa.array(rng.integers(0, 2, N).tolist(), pa.int8()) for column in DISEASE.columns}
    found[DISEASE.columns[0]] = pa.array([*found[DISEASE.columns[0]].to_pylist()[:-1], None], pa.int8())
    races = [None, *rng.integers(0, 3, N - 1).tolist()]
    return found | {"target_race": pa.array(races, pa.int64()), "target_age": pa.array(rng.uniform(20, 80, N))}


def write_made_bundle(folder: Path, heads: tuple[HeadTargets, ...] = HEADS) -> Bundle:
    """Images 0 … 19 are training, 20 … 27 validation, the rest test. heads: none, of a bundle for prediction alone."""
    columns = {
        "dataset": ["nih_cxr14"] * N,
        "image_id": image_ids(),
        "part": ["train"] * 20 + ["valid"] * 8 + ["test"] * N_TEST,
        "fold": pa.nulls(N, pa.int64()),
        "n_draws": pa.nulls(N, pa.int64()),
        "weight": pa.nulls(N, pa.float64()),
        "group": pa.nulls(N, pa.int32()),
    }
    table = pa.table(columns | (targets() if heads else {}))
    return write_bundle(folder, table, heads=heads, groups=[], train="train", valid="valid", split={"name": "halves"})


def make_run(folder: Path) -> Made:
    """Two steps of training."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        bundle = write_made_bundle(folder / "bundle")
        store = write_store(folder / "store")
        experiment = experiment_of(EXPERIMENT, where="made.toml")
        run = train(Request(experiment, bundle, store, folder / "run", device="cpu", tensorboard=False))
    finally:
        torch.set_num_threads(threads)
    return Made(run, bundle, store)
