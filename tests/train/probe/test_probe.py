"""`cxrdata probe` on a run in whose images sex is planted: rows, what is kept, what is frozen."""

from __future__ import annotations

import io
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from planted import FINDING, SIDE, SPLIT, Planted, plant
from safetensors.torch import save_file

import cxrdata
from cxrdata.errors import CxrError
from cxrtrain.cli.probe import probe
from cxrtrain.cli.train import train
from cxrtrain.config import ModelConfig
from cxrtrain.models.net import build_net
from cxrtrain.probe import embedding
from cxrtrain.probe.data import probe_data
from cxrtrain.probe.figures import probe_figures
from cxrtrain.probe.rows import SCHEMA
from cxrtrain.probe.run import own_head

HEADS = [
    {"name": "finding", "kind": "binary", "finding": FINDING, "against": "all"},
    {"name": "sex", "kind": "classes", "attribute": "sex", "classes": ["F", "M"]},
]


@pytest.fixture(scope="module")
def planted(synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"), synthetic("nih_cxr14", scale=0.002), heads=HEADS)


def probed(planted: Planted, capsys: pytest.CaptureFixture[str], *more: str, attribute: str = "sex") -> pl.DataFrame:
    places = ["-c", str(planted.catalog), "--store", str(planted.store), "--device", "cpu", "--format", "csv"]
    quick = ["--bootstrap", "50", "--draws", "4", "--attribute", attribute]
    capsys.readouterr()
    probe.main([str(planted.run.folder.path), *places, *quick, *more], standalone_mode=False)
    return pl.read_csv(io.StringIO(capsys.readouterr().out), schema=SCHEMA)


def test_two_heads(planted: Planted, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = probed(planted, capsys, "--origins", "run,random", "--figures", str(tmp_path / "figures"))
    split = rows.filter(read_by="probe")
    assert split["origin"].to_list() == ["run", "random"]
    assert split.filter(origin="run")["estimate"][0] > 0.9  # it is written all over the images' lower edge
    assert split["target"].unique().to_list() == ["F"]
    # The run's own head is the one that is read when units go.
    off = rows.filter(pl.col("units") != "none")
    assert off.filter(about="attribute")["read_by"].unique().to_list() == ["sex"]
    assert off.filter(about="finding")["read_by"].unique().to_list() == ["finding"]
    assert off["share"].unique().sort().to_list() == [0.01, 0.02, 0.05, 0.1, 0.2]
    own = rows.filter(read_by="sex", units="none")
    assert own.height == 1
    # The test part alone is judged, one row of it an image whose sex is known.
    with cxrdata.open(planted.catalog) as opened:
        said = opened.sql(
            f"SELECT sex FROM splits JOIN images USING (dataset, image_id) WHERE split_name = '{SPLIT}' AND split = 'test'"
        )["sex"]
    assert own["n"].to_list() == [said.count()]
    assert own["n_positive"].to_list() == [(said == "F").sum()]
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["ablation.png", "ablation.svg", "origins.png", "origins.svg"]
    ablation = probe_figures(rows)[1].table
    first = ablation.filter(pl.col("percent") == 0, about="attribute")
    assert set(first["estimate"]) == {own["estimate"][0]}


def test_features_are_made_once(
    planted: Planted, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes = ("--origins", "run,random", "--no-ablation", "--cache", str(tmp_path))
    first = probed(planted, capsys, *wishes)
    files = sorted(tmp_path.glob("*/features.npy"))
    assert [path.parent.name.split("-")[0] for path in files] == ["random", "run"]
    assert not np.array_equal(*(np.load(path) for path in files))
    monkeypatch.setattr(embedding, "net_of", None)  # nobody asks for a net again
    assert probed(planted, capsys, *wishes).equals(first)


def test_images_that_the_store_lacks(planted: Planted, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shutil.copytree(planted.store, tmp_path / "store")
    with cxrdata.open(planted.catalog) as opened:
        lost = opened.sql(
            f"SELECT image_id FROM splits WHERE split_name = '{SPLIT}' AND split = 'test' ORDER BY 1 LIMIT 3"
        )
    index = pl.read_parquet(tmp_path / "store" / "index.parquet")
    index.join(lost, on="image_id", how="anti").write_parquet(tmp_path / "store" / "index.parquet")
    wishes = ("--origins", "random", "--no-ablation", "--cache", str(tmp_path / "cache"))
    whole = probed(planted, capsys, *wishes)
    with pytest.raises(CxrError, match="the store lacks 3 images"):
        probed(planted, capsys, *wishes, "--store", str(tmp_path / "store"))
    rows = probed(planted, capsys, *wishes, "--store", str(tmp_path / "store"), "--skip-missing")
    known = planted.truth.join(lost, on="image_id", how="semi")["sex"].count()
    assert rows["n"].item() == whole["n"].item() - known


def test_an_attribute_that_the_run_has_no_head_for(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    rows = probed(planted, capsys, "--origins", "run", "--shares", "10", attribute="view")
    assert rows["read_by"].to_list() == ["probe", "finding", "probe", "finding", "probe", "finding"]
    assert rows["units"].to_list() == ["none"] * 2 + ["ranked"] * 2 + ["random"] * 2


def test_own_head_only_of_the_same_classes(planted: Planted, tmp_path: Path) -> None:
    with cxrdata.open(planted.catalog) as opened:
        same = probe_data(opened, planted.run, "sex", tmp_path / "same")
        turned = probe_data(opened, planted.run, "sex", tmp_path / "turned", classes=("M", "F"))
    assert own_head(planted.run, same) == "sex"
    assert own_head(planted.run, turned) is None


def test_patients_are_the_unit(planted: Planted, tmp_path: Path) -> None:
    with cxrdata.open(planted.catalog) as opened:
        data = probe_data(opened, planted.run, "sex", tmp_path / "bundle")
    known = dict(planted.truth.select("image_id", "patient_id").iter_rows())
    pairs = {(known[image], code) for image, code in zip(data.bundle.image_id, data.patients.tolist(), strict=True)}
    assert len(pairs) == len({code for _, code in pairs}) == len({patient for patient, _ in pairs})


def test_freezing_is_planned_and_run(planted: Planted, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    wishes = ("--origins", "run,random", "--no-ablation", "--freeze", "2,backbone", "--runs", str(tmp_path / "runs"))
    places = ["-c", str(planted.catalog), "--store", str(planted.store), "--device", "cpu", "--bootstrap", "20"]
    probe.main([str(planted.run.folder.path), *places, "--attribute", "sex", *wishes], standalone_mode=False)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cxrdata train")]
    assert len(lines) == 4
    assert not (tmp_path / "runs" / "runs").exists()
    # The printed command is one that works.
    words = shlex.split(lines[1])
    train.main([*words[2:], "-c", str(planted.catalog), "--device", "cpu", "-q"], standalone_mode=False)
    assert "finished" in capsys.readouterr().out
    rows = probed(
        planted, capsys, *wishes[:1], "run", *wishes[2:3], "--freeze", "2", "--train", "--runs", str(tmp_path / "own")
    )
    trained = rows.filter(read_by="trained")
    assert trained.select("origin", "frozen").rows() == [("run", "first:2")]
    assert trained["estimate"][0] > 0.5
    assert trained["n"].to_list() == rows.filter(read_by="probe")["n"].to_list()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--criterion", "luck"), "CXR-501"),
        (("--shares", "0"), "CXR-502"),
        (("--shares", "a"), "CXR-502"),
        (("--origins", "moon"), "CXR-501"),
        (("--origins", "imagenet"), "CXR-159"),
        (("--split", "other"), "CXR-501"),
        (("--train",), "CXR-502"),
        (("--freeze", "-3"), "CXR-502"),
    ],
)
def test_refused(
    planted: Planted,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
    code: str,
) -> None:
    monkeypatch.setattr("cxrtrain.models.weights.imagenet_file", _nowhere)
    with pytest.raises(CxrError) as caught:
        probed(planted, capsys, "--no-ablation", *(() if "--origins" in more else ("--origins", "random")), *more)
    assert caught.value.code == code


def _nowhere(*_: object) -> Path:
    raise CxrError("CXR-159", "there are no ImageNet weights here")


def test_imagenet_is_left_out_where_nobody_asked_for_it(
    planted: Planted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrtrain.models.weights.imagenet_file", _nowhere)
    rows = probed(planted, capsys, "--no-ablation")
    assert rows["origin"].to_list() == ["run", "random"]


def test_imagenet_weights_are_taken(
    planted: Planted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From a file of the backbone's weights, which here are the numbers of another seed."""
    config = ModelConfig("test_resnet")
    other = build_net(config, (), channels=1, side=SIDE, seed=99).eval()
    save_file(other.backbone.state_dict(), tmp_path / "test_resnet.safetensors")
    monkeypatch.setenv("CXRDATA_WEIGHTS", str(tmp_path))
    rows = probed(planted, capsys, "--no-ablation", "--origins", "imagenet", "--cache", str(tmp_path / "cache"))
    assert rows["origin"].to_list() == ["imagenet"]
    kept = np.load(next((tmp_path / "cache").glob("imagenet-*/features.npy")))
    with cxrdata.open(planted.catalog) as opened:
        data = probe_data(opened, planted.run, "sex", tmp_path / "bundle")
    index = pl.read_parquet(planted.store / "index.parquet")
    at = index.with_row_index().filter(image_id=data.bundle.image_id[0])["index"][0]
    image = torch.from_numpy(np.load(planted.store / "shard-0.npy")[at].astype(np.float32) / 255)
    with torch.inference_mode():
        np.testing.assert_allclose(kept[0], other.features(image[None, None])[0].numpy(), atol=1e-4)
