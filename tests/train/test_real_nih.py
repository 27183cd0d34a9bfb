"""The real images on the whole road: `split`, `images build`, `train`, `predict`, `audit`, as commands."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from cxrdata.cli.main import run as command

FINDING = "Cardiomegaly"


@dataclass(frozen=True)
class Road:
    """A catalog of the real tables with a split of the images that are there, their store, and a run of two steps."""

    catalog: Path
    store: Path
    run: Path
    images: tuple[str, ...]


@pytest.fixture(scope="module")
def road(real_data: Path, nih_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Road:
    folder = tmp_path_factory.mktemp("road")
    # Linked, not shared: the split must not stand in the catalog of other tests.
    catalog = shutil.copytree(nih_catalog, folder / "cxr-catalog", copy_function=os.link)
    images = tuple(sorted(path.name for path in (real_data / "nih" / "images").glob("*.png")))
    there = f"image_id IN ({', '.join(map(repr, images))})"
    split = ["--where", there, "--exact", "--stratify", "cardiomegaly", "--ratios", "0.4,0.2,0.4", "--name", "real"]
    store, run = folder / "store", folder / "run"
    sets = ("loop.max_steps=2", "loop.batch=8", "augment.histogram_p=0", "augment.affine_p=0", "augment.flip_p=0")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for arguments in (
            ["split", "--dataset", "nih", *split],
            [
                "images",
                "build",
                "--root",
                f"nih={real_data / 'nih'}",
                "--split",
                "real",
                "--size",
                "32",
                "--out",
                store,
            ],
            ["train", "quick", "--split", "real", "--store", store, "--out", run, "--device", "cpu"],
        ):
            more = [word for one in sets for word in ("--set", one)] if arguments[0] == "train" else []
            assert command([*map(str, arguments), *more, "-c", str(catalog), "--quiet"]) == 0
    finally:
        torch.set_num_threads(threads)
    return Road(catalog, store, run, images)


def truth(real_data: Path) -> dict[str, bool]:
    """Image -> whether the published table names cardiomegaly, read by nothing of ours."""
    with gzip.open(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz", "rt", newline="") as file:
        return {row["Image Index"]: FINDING in row["Finding Labels"].split("|") for row in csv.DictReader(file)}


def test_all_images_are_in_the_store(road: Road) -> None:
    index = pq.read_table(road.store / "index.parquet")
    assert tuple(index["image_id"].to_pylist()) == road.images
    assert len(road.images) == 36
    assert min(index["sd"].to_pylist()) > 10  # pictures, not blanks


def test_two_steps_were_trained(road: Road) -> None:
    about = json.loads((road.run / "run.json").read_text())
    assert (about["state"], about["steps"], about["images"]) == ("finished", 2, {"train": 15, "valid": 7})
    with (road.run / "steps.csv").open(newline="") as file:
        assert [float(row["loss"]) > 0 for row in csv.DictReader(file)] == [True, True]


@pytest.mark.parametrize("layout", [None, "chexnet"])
def test_predicted_and_audited(
    road: Road, real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str | None
) -> None:
    file = tmp_path / ("preds.csv" if layout else "preds.parquet")
    asked = ["--split", "real:test", "--store", str(road.store), "--out", str(file), "--device", "cpu"]
    more = ["--layout", layout] if layout else []
    assert command(["predict", str(road.run), *asked, *more, "-c", str(road.catalog), "--quiet"]) == 0
    capsys.readouterr()
    wish = ["--labels", "cardiomegaly", "--metrics", "auroc", "--bootstrap", "0", "--min-cell", "0", "--format", "csv"]
    assert command(["audit", str(file), *wish, "-c", str(road.catalog), "--quiet"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    if layout:
        with file.open(newline="") as opened:
            said = {line["Image Index"]: float(line["prob_Cardiomegaly"]) for line in csv.DictReader(opened)}
    else:
        table = pq.read_table(file)
        said = dict(zip(table["image_id"].to_pylist(), table["prob_cardiomegaly"].to_pylist(), strict=True))
        assert {row["model"]} == set(table["run_id"].to_pylist())
    positive = truth(real_data)
    ill = [one for name, one in said.items() if positive[name]]
    well = [one for name, one in said.items() if not positive[name]]
    pairs = [(a > b) + 0.5 * (a == b) for a in ill for b in well]
    assert (int(row["n"]), int(row["n_positive"])) == (14, 4) == (len(said), len(ill))
    assert float(row["estimate"]) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


def test_the_runs_own_test_part_is_the_same(road: Road, tmp_path: Path) -> None:
    """The bundle that the run made holds the images whose truth is known: here all of the split's."""
    places = ["--store", str(road.store), "--device", "cpu", "--quiet"]
    assert command(["predict", str(road.run), *places, "--out", str(tmp_path / "own.parquet")]) == 0
    more = ["--split", "real:test", "-c", str(road.catalog), "--out", str(tmp_path / "split.parquet")]
    assert command(["predict", str(road.run), *places, *more]) == 0
    assert (tmp_path / "own.parquet").read_bytes() == (tmp_path / "split.parquet").read_bytes()
    chosen = ["--dataset", "nih", "--where", f"image_id = '{road.images[0]}'", "--out", str(tmp_path / "one.parquet")]
    assert command(["predict", str(road.run), *places, *chosen, "-c", str(road.catalog)]) == 0
    assert pq.read_table(tmp_path / "one.parquet")["image_id"].to_pylist() == [road.images[0]]
