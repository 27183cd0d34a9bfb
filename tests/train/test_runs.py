"""Runs listed, shown, and made of foreign checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from made_run import Made, N, make_run, write_store

from cxrdata.cli.main import run as command
from cxrtrain.run_folder import open_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def runs(made: Made, tmp_path: Path) -> Path:
    """A folder with a whole run, one that has just begun, one that is damaged, and files that are none."""
    folder = tmp_path / "runs"
    shutil.copytree(made.run.folder.path, folder / "a" / "whole")
    begun = shutil.copytree(made.run.folder.path, folder / "begun")
    shutil.rmtree(begun / "checkpoints")
    about = json.loads((begun / "run.json").read_text())
    for name in ("epochs", "steps", "best_epoch", "best_loss"):
        del about[name]
    (begun / "run.json").write_text(json.dumps(about | {"state": "running", "fold": [1, 5]}))
    (folder / "damaged").mkdir()
    (folder / "damaged" / "run.json").write_text("{")
    (folder / "other").mkdir()
    (folder / "other" / "notes.txt").write_text("no run")
    return folder


def test_list(runs: Path, made: Made, tmp_path: Path) -> None:
    assert command(["runs", "list", str(runs), "--out", str(tmp_path / "runs.csv")]) == 0
    rows = {Path(row["folder"]).name: row for row in pl.read_csv(tmp_path / "runs.csv").iter_rows(named=True)}
    assert list(rows) == ["whole", "begun", "damaged"]
    whole, begun = rows["whole"], rows["begun"]
    said = ("run_id", "experiment", "split", "state", "epochs", "of_epochs", "steps", "best_epoch")
    assert [whole[name] for name in said] == [made.run.run_id, "made", "halves", "finished", 1, 1, 2, 1]
    best = json.loads((runs / "a" / "whole" / "checkpoints" / "best.json").read_text())
    assert f"disease_auroc {best['metrics']['disease_auroc']:.4g}" in whole["metrics"].split(", ")
    assert whole["best_loss"] == pytest.approx(sum(best["valid"].values()), rel=1e-9)
    assert [begun[name] for name in (*said[3:5], "fold")] == ["interrupted", None, "2/5"]
    assert (begun["best_loss"], begun["metrics"]) == (None, None)
    assert [rows["damaged"][name] for name in ("run_id", "state")] == [None, "damaged"]


def test_list_of_nothing_and_of_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["runs", "list", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "0 rows\n"
    assert command(["runs", "list", str(tmp_path / "nowhere")]) == 3
    assert capsys.readouterr().err.startswith("error CXR-101: there is no such folder\n")


def test_show(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["runs", "show", str(made.run.folder.path)]) == 0
    out = capsys.readouterr().out
    facts, epochs, config = out.split("\n\n", 2)
    assert facts.splitlines()[0].split() == ["run", made.run.run_id]
    assert "finished, 1 of 1 epochs, 2 steps; best epoch 1, validation loss" in facts
    assert "race: White, Asian, Black" in facts
    assert "train 20, valid 8" in facts
    assert epochs.splitlines()[0].split()[:3] == ["epoch", "step", "valid_loss"]
    assert len(epochs.splitlines()) == 2
    assert config == made.run.folder.config.read_text()


def test_show_of_a_run_that_has_just_begun(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "begun" / "epochs.csv").unlink()
    assert command(["runs", "show", str(runs / "begun")]) == 0
    assert "\nstate       interrupted\n" in capsys.readouterr().out
    assert command(["runs", "show", str(runs / "other")]) == 1
    assert capsys.readouterr().err.startswith("error CXR-155: there is no run here\n")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """A model of chexploration's race task and its file, as Lightning writes them."""
    torch.manual_seed(0)
    model = torchvision.models.resnet34(weights=None)
    model.fc = torch.nn.Linear(512, 3)
    path = tmp_path_factory.mktemp("theirs") / "epoch=7.ckpt"
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 7, "state_dict": state}, path)
    return model.eval(), path


class TestImport:
    def test_predicts_as_the_original_does(
        self, theirs: tuple[torch.nn.Module, Path], made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model, path = theirs
        out = tmp_path / "theirs"
        assert command(["runs", "import", str(path), "--out", str(out)]) == 0
        run = open_run(out)
        assert capsys.readouterr().out == f"{run.run_id}  imported  {out}\n"
        store = write_store(tmp_path / "store", n=N, side=224)
        arguments = ["--bundle", f"{made.bundle.folder}:valid", "--store", str(store), "--device", "cpu"]
        assert command(["predict", str(out), *arguments, "--out", str(tmp_path / "p.parquet")]) == 0
        table = pq.read_table(tmp_path / "p.parquet")
        images = torch.from_numpy(np.load(store / "shard-0.npy")[20:28].astype(np.float32))
        with torch.inference_mode():
            expected = model(images[:, None].repeat(1, 3, 1, 1)).numpy()
        found = np.stack([table[f"logit_{name}"].to_numpy() for name in ("white", "asian", "black")], axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
        assert set(table["run_id"].to_pylist()) == {run.run_id}
        capsys.readouterr()
        assert command(["runs", "show", str(out)]) == 0
        assert "epoch=7.ckpt of chexploration, epoch 7" in capsys.readouterr().out

    def test_again_and_into_another_runs_folder(
        self, theirs: tuple[torch.nn.Module, Path], made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, path = theirs
        for _ in range(2):  # the same file makes the same run
            assert command(["runs", "import", str(path), "--out", str(tmp_path / "theirs"), "--quiet"]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first == second
        there = shutil.copytree(made.run.folder.path, tmp_path / "ours")
        before = (there / "checkpoints" / "best.safetensors").read_bytes()
        assert command(["runs", "import", str(path), "--out", str(there)]) == 2
        assert capsys.readouterr().err.startswith("error CXR-156: the folder holds the run ")
        assert (there / "checkpoints" / "best.safetensors").read_bytes() == before

    def test_what_is_no_checkpoint(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "x.ckpt").write_text("no checkpoint")
        assert command(["runs", "import", str(tmp_path / "x.ckpt"), "--out", str(tmp_path / "x")]) == 1
        assert capsys.readouterr().err.startswith("error CXR-158: ")
        assert not (tmp_path / "x").exists()
        assert command(["runs", "import", str(tmp_path / "y.ckpt"), "--out", str(tmp_path / "x")]) == 3
        assert capsys.readouterr().err.startswith("error CXR-101: there is no such file\n")
