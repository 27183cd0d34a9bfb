"""The golden table of `explain`: which images, what the model says of them and how far their maps go, of a net whose weights
are written by a formula, so that they are the same on every machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import torch
from planted import FINDING, plant
from polars.testing import assert_frame_equal
from safetensors import safe_open
from safetensors.torch import save_file

from cxrtrain.cli.explain import explain

GOLDEN = Path(__file__).parent / "golden" / "index.csv"
HEADS: list[dict[str, object]] = [{"name": "finding", "kind": "binary", "finding": FINDING, "against": "all"}]
_MACHINE = ("run_id",)  # of the store's and bundle's bytes, which are tested elsewhere


def write_weights(file: Path) -> None:
    """Waves of a length of each tensor's own; running variances stay positive."""
    with safe_open(file, framework="pt") as opened:
        header = opened.metadata()
        state = {name: opened.get_tensor(name) for name in sorted(opened.keys())}
    for at, (name, tensor) in enumerate(state.items()):
        if tensor.is_floating_point():
            wave = torch.sin(torch.arange(tensor.numel(), dtype=torch.float64) * (0.7 + 0.01 * at) + at)
            scale = 1.0 if tensor.ndim == 1 else (3.0 / tensor[0].numel()) ** 0.5
            made = wave.abs() + 0.5 if (tensor.ndim == 1 and "weight" in name) or "var" in name else wave * scale
            state[name] = made.reshape(tensor.shape).to(tensor.dtype)
    save_file(state, file, metadata=header)


def test_the_golden_table(synthetic: Callable[..., Path], tmp_path: Path) -> None:
    """Made anew with CXRDATA_UPDATE_EXPECTED=1."""
    planted = plant(tmp_path / "planted", synthetic("nih_cxr14", scale=0.002), heads=HEADS, epochs=1)
    run = tmp_path / "run"
    shutil.copytree(planted.run.folder.path, run)
    write_weights(run / "checkpoints" / "best.safetensors")
    parts = []
    for method in ("cam", "chexnet", "grad-cam", "ablation-cam"):
        places = [
            "-c",
            str(planted.catalog),
            "--store",
            str(planted.store),
            "--out",
            str(tmp_path / method),
            "--device",
            "cpu",
            "-q",
        ]
        explain.main([str(run), *places, "--by", "sex", "--per-group", "2", "--method", method], standalone_mode=False)
        parts.append(pl.read_parquet(tmp_path / method / "index.parquet").drop(_MACHINE))
    rows = pl.concat(parts)
    if os.environ.get("CXRDATA_UPDATE_EXPECTED"):
        rows.write_csv(GOLDEN)
    assert rows.filter(method="cam")["score"].n_unique() == 4
    assert_frame_equal(rows, pl.read_csv(GOLDEN, schema=rows.schema), rel_tol=1e-3, abs_tol=1e-4)
