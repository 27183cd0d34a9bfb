"""`cxrdata demo --train`: a model at the end of the road; without the extra, how to get it."""

from __future__ import annotations

import shlex
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
import torch
from cxrtrain.config_file import read_experiment

import cxrdata.demo
from cxrdata.cli.main import run as command
from cxrdata.demo import QUICK_SPLIT, SIZE, train_on_phantoms

SCALE = 0.005


def test_it_does_what_the_experiment_asks_for() -> None:
    data = read_experiment("quick").data
    assert data.made_by == shlex.join(["cxrdata", *QUICK_SPLIT])
    assert data.side == int(SIZE[1])


def test_split_store_train_predict_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, catalog = tmp_path / "data", str(tmp_path / "cxr-catalog")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert command(["synth", str(data), "--only", "nih,vindr", "--scale", str(SCALE), "--quiet"]) == 0
        assert command(["build-catalog", "--root", str(data), "-c", catalog, "--quiet"]) == 0
        train_on_phantoms(tmp_path, scale=SCALE, epochs=1)
    finally:
        torch.set_num_threads(threads)
    out = capsys.readouterr().out
    typed = [line.split()[2] for line in out.splitlines() if line.startswith("$ cxrdata ")]
    assert typed == ["synth", "images", "split", "train", "predict", "audit"]
    said = pl.read_parquet(tmp_path / "predictions.parquet")
    assert {"dataset", "image_id", "prob_cardiomegaly", "pred_age_years", "prob_f", "run_id"} <= set(said.columns)
    assert said["prob_cardiomegaly"].is_between(0, 1).all()
    overall = [line.split()[:2] for line in out.splitlines() if " overall " in line]
    assert overall[0] == [said["run_id"][0], "cardiomegaly"]


def test_without_the_extra_it_says_how_to_get_it_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(name: str) -> ModuleSpec | None:
        return None if name == "torch" else find_spec(name)

    monkeypatch.setattr(cxrdata.demo, "find_spec", found)
    assert command(["demo", str(tmp_path / "demo"), "--train"]) == 3
    assert capsys.readouterr().err == (
        "error CXR-604: training needs torch, which is not installed\n"
        "  fix: pip install 'cxrdata[train]'; or leave --train out\n"
    )
    assert not (tmp_path / "demo").exists()
