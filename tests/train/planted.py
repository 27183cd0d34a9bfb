"""A catalog of synthetic NIH images, drawings of them in which sex and a finding are planted, and a run trained on these."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

import cxrdata
from cxrdata.cli.main import run as command
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog
from cxrtrain.config_file import experiment_of
from cxrtrain.loop import Request, train
from cxrtrain.prepare import prepare
from cxrtrain.run_folder import Run

SIDE = 64
FINDING = "infiltration"
SPLIT = "thirds"


@dataclass(frozen=True)
class Planted:
    """truth: dataset, image_id, patient_id, sex, age_years, view, state of the finding."""

    catalog: Path
    store: Path
    run: Run
    truth: pl.DataFrame


def plant(
    folder: Path, nih: Path, *, heads: list[dict[str, object]], backbone: str = "test_resnet", epochs: int = 4
) -> Planted:
    """nih: the synthetic dataset's folder."""
    catalog = folder / "catalog"
    build_catalog(BuildRequest(catalog, named=[(Registry().get("nih"), nih)], workers=1))
    assert command(["split", "--dataset", "nih", "--ratios", "0.5,0.2,0.3", "--name", SPLIT, "-c", str(catalog)]) == 0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with cxrdata.open(catalog) as opened:
            truth = opened.sql(
                f"SELECT i.dataset, i.image_id, i.patient_id, i.sex, i.age_years, i.view, l.{FINDING} AS state "
                "FROM images i JOIN image_labels l USING (dataset, image_id) ORDER BY ALL"
            )
            store = write_store(folder / "store", truth)
            experiment = experiment_of(
                {
                    "name": "planted",
                    "data": {"side": SIDE, "split": SPLIT},
                    "input": {"channels": 1},
                    "model": {"backbone": backbone},
                    "optim": {"lr": 0.003},
                    "loop": {"epochs": epochs, "batch": 16},
                    "heads": heads,
                },
                where="planted.toml",
            )
            bundle = prepare(opened, experiment, folder / "run" / "bundle")
            run = train(Request(experiment, bundle, store, folder / "run", device="cpu", tensorboard=False))
    finally:
        torch.set_num_threads(threads)
    return Planted(catalog, store, run, truth)


def write_store(folder: Path, truth: pl.DataFrame) -> Path:
    """Noise; a bright square at the top left where the finding is; of women the lower edge is bright."""
    folder.mkdir(parents=True)
    n = truth.height
    pixels = np.random.default_rng(0).integers(0, 60, (n, SIDE, SIDE), dtype=np.uint8)
    pixels[(truth["state"] == 1).fill_null(value=False).to_numpy(), 8:24, 8:24] += 150
    pixels[(truth["sex"] == "F").fill_null(value=False).to_numpy(), -12:, :] += 150
    np.save(folder / "shard-0.npy", pixels)
    index = truth.select("dataset", "image_id").with_columns(
        shard=pl.lit("shard-0.npy"), row=pl.int_range(n, dtype=pl.Int32), source_sha256=pl.lit("0"),
        mean=pl.Series(pixels.mean((1, 2))), sd=pl.Series(pixels.std((1, 2))),
    )  # fmt: skip
    index.write_parquet(folder / "index.parquet")
    manifest = {"format": 1, "side": SIDE, "index_sha256": "0", "shards": [{"file": "shard-0.npy", "images": n}]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
