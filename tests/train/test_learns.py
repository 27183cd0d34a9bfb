"""It learns: the whole road on drawn chests, from `cxrdata synth --images` to what the best model says of the test images.

Drawn hearts are as wide as their labels say, ages show a little, sex not at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from cxrtrain import checkpoint
from cxrtrain.bundle import Bundle, HeadTargets, open_bundle, write_bundle
from cxrtrain.config_file import read_experiment
from cxrtrain.distributed import Place
from cxrtrain.evaluate import auroc, judge
from cxrtrain.forward import outputs_of
from cxrtrain.inputs import Inputs
from cxrtrain.loop import Request, train
from cxrtrain.models.net import build_net
from cxrtrain.objectives import probabilities
from cxrtrain.pixels import Pixels, PixelStore
from cxrtrain.run_folder import open_run

from cxrdata.cli.main import run

QUIET = ("--quiet",)
WIDE = 3.0  # standard deviations: a chance of 1 in 370 that what is at chance is told to be more


@dataclass(frozen=True)
class Drawn:
    """A catalog of drawn chests, split, and their pixels."""

    catalog: Path
    store: Path


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tests run side by side: more threads than cores would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw(folder: Path, *, nih: float, vindr: float, seed: int) -> Drawn:
    """Scales: of the official datasets. The commands of the quick start, in this process."""
    sources, drawn = folder / "sources", Drawn(folder / "catalog", folder / "store")
    side = read_experiment("quick").data.side
    for name, scale in (("nih", nih), ("vindr_cxr", vindr)):
        synth = ("synth", str(sources), "--scale", str(scale), "--only", name, "--images", "--seed", str(seed))
        assert run([*synth, *QUIET]) == 0
    catalog = ("--catalog", str(drawn.catalog), *QUIET)
    split = ("--dataset", "nih,vindr", "--ratios", "0.7,0.1,0.2", "--name", "quick")  # quick.toml's made_by
    assert run(["build-catalog", "--root", str(sources), *catalog]) == 0
    assert run(["split", *split, *catalog]) == 0
    roots = [f"--root={name}={sources / name}" for name in ("nih_cxr14", "vindr_cxr")]
    assert run(["images", "build", "--size", str(side), "--out", str(drawn.store), *roots, *catalog]) == 0
    return drawn


def trained(drawn: Drawn, out: Path, *sets: str) -> Path:
    """`cxrdata train quick`. A few of the drawn DICOM files have no pixels, as a few of the real ones."""
    said = [f"--set={one}" for one in sets]
    place = ("--store", str(drawn.store), "--out", str(out), "--device", "cpu", "--skip-missing")
    assert run(["train", "quick", *said, *place, "--catalog", str(drawn.catalog), *QUIET]) == 0
    return out


@dataclass(frozen=True)
class Test:
    """What the best model of a run says of the test images, and the truth."""

    __test__ = False

    bundle: Bundle
    rows: np.ndarray
    outputs: dict[str, torch.Tensor]

    @property
    def metrics(self) -> dict[str, float]:
        return judge(self.bundle, self.rows, self.outputs).metrics

    def chance(self, head: HeadTargets) -> tuple[float, float]:
        """AUROC of the last output of a head, and the standard deviation that it has where scores say nothing (Mann and
        Whitney 1947)."""
        true = self.bundle.targets(head)[self.rows, 0].astype(np.float64)
        area = auroc(probabilities(head, self.outputs[head.name])[:, -1].double().numpy(), true)
        ones, zeros = int((true == 1).sum()), int((true == 0).sum())
        assert area is not None
        return area, math.sqrt((ones + zeros + 1) / (12 * ones * zeros))


def answers_of(folder: Path, store: Path, bundle: Bundle) -> Test:
    found = open_run(folder)
    experiment = found.experiment
    model = build_net(experiment.model, bundle.heads, channels=experiment.input.channels, side=experiment.data.side)
    model.load_state_dict(checkpoint.load(folder / "checkpoints" / "best.safetensors").tensors)
    rows = bundle.rows("test")
    place = Place(0, 1, torch.device("cpu"))
    pixels = Pixels(PixelStore(store, bundle, side=experiment.data.side), rows, place.device)
    inputs = Inputs.again(experiment.input, found.about["input"])
    outputs = outputs_of(model, model, pixels, rows, inputs=inputs, batch=128, precision="fp32", place=place)
    return Test(bundle, rows, outputs)


def kept_bundle(folder: Path, store: Path) -> Bundle:
    """The run's bundle, less the images without pixels."""
    from cxrtrain.pixels import stored

    bundle = open_bundle(folder / "bundle")
    return bundle.only(stored(store, bundle))


def head_of(bundle: Bundle, name: str) -> HeadTargets:
    return next(head for head in bundle.heads if head.name == name)


def shuffled(bundle: Bundle, folder: Path) -> Bundle:
    """The same images with each other's cardiomegaly."""
    head = head_of(bundle, "cardiomegaly")
    column = bundle.table[head.columns[0]].combine_chunks()
    mixed = column.take(pa.array(np.random.default_rng(0).permutation(len(column))))
    table = bundle.table.set_column(bundle.table.schema.get_field_index(head.columns[0]), head.columns[0], mixed)
    return write_bundle(
        folder, table.select([*table.column_names]), heads=bundle.heads, groups=[], train="train", valid="valid"
    )


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return draw(tmp_path_factory.mktemp("learns"), nih=0.003, vindr=0.03, seed=1)


@pytest.fixture(scope="module")
def quick(drawn: Drawn, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Test]:
    """`train quick` as it ships, and its best model on the test images."""
    out = trained(drawn, tmp_path_factory.mktemp("runs") / "quick")
    return out, answers_of(out, drawn.store, kept_bundle(out, drawn.store))


def test_an_enlarged_heart_is_found_in_patients_never_seen(quick: tuple[Path, Test]) -> None:
    assert quick[1].metrics["cardiomegaly_auroc"] >= 0.95


def test_the_error_of_ages_is_told_in_years(quick: tuple[Path, Test]) -> None:
    """Little of an adult's age shows in a drawn chest: less wrong than the mean of the training ages, at least."""
    test = quick[1]
    head = head_of(test.bundle, "age")
    true = test.bundle.targets(head)[test.rows, 0]
    of_the_mean = float(np.nanmean(np.abs(true - head.mean)))
    assert 0 < test.metrics["age_mae"] < of_the_mean
    assert "age_mae" in (quick[0] / "epochs.csv").read_text(encoding="utf-8").splitlines()[0]


def test_sex_which_is_not_drawn_is_not_found(quick: tuple[Path, Test]) -> None:
    area, deviation = quick[1].chance(head_of(quick[1].bundle, "sex"))
    assert abs(area - 0.5) < WIDE * deviation


@pytest.mark.usefixtures("one_thread")
def test_labels_of_other_images_are_not_learned(drawn: Drawn, quick: tuple[Path, Test], tmp_path: Path) -> None:
    bundle = shuffled(quick[1].bundle, tmp_path / "bundle")
    sets = ("loop.epochs=3", "data.images_per_epoch=1024")
    request = Request(
        read_experiment("quick", sets), bundle, drawn.store, tmp_path / "run", device="cpu", tensorboard=False
    )
    train(request)
    test = answers_of(tmp_path / "run", drawn.store, bundle)
    area, deviation = test.chance(head_of(bundle, "cardiomegaly"))
    assert abs(area - 0.5) < WIDE * deviation


@pytest.mark.soak
@pytest.mark.usefixtures("one_thread")
def test_it_learns_from_any_seed(tmp_path: Path) -> None:
    drawn = draw(tmp_path, nih=0.02, vindr=0.12, seed=2)
    for seed in range(3):
        out = trained(drawn, tmp_path / f"run-{seed}", f"loop.seed={seed}")
        test = answers_of(out, drawn.store, kept_bundle(out, drawn.store))
        assert test.metrics["cardiomegaly_auroc"] >= 0.95, seed
        area, deviation = test.chance(head_of(test.bundle, "sex"))
        assert abs(area - 0.5) < WIDE * deviation, seed
