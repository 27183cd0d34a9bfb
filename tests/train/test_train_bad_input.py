"""What goes wrong while training is told as one error, with its code, and nothing is lost."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training import DATASET, Ground, keys, pictures, write_rows, write_store

from cxrdata.errors import CxrError
from cxrtrain.config import DataConfig, HeadConfig
from cxrtrain.config_file import read_experiment
from cxrtrain.models.small import Small
from cxrtrain.pixels import PixelStore
from cxrtrain.run_folder import Run

Trained = Callable[..., Run]
SPLIT = ["train"] * 40 + ["valid"] * 12


def refused(run: Trained, *arguments: object, **named: object) -> CxrError:
    with pytest.raises(CxrError) as caught:
        run(*arguments, **named)
    return caught.value


def test_a_split_with_one_class(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "b", {"target_heart": [1] * 40 + [0, 1] * 6}, SPLIT)
    error = refused(run, replace(tiny, bundle=rows))
    assert (error.code, error.problem) == (
        "CXR-152",
        "head 'heart' has one value only in the part 'train', in 40 images",
    )


def test_a_part_in_which_nothing_is_known(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "b", {"target_heart": [0, 1] * 20 + [None] * 12}, SPLIT)
    error = refused(run, replace(tiny, bundle=rows))
    assert error.problem == "no image of the part 'valid' has a known target of head 'heart'"


def test_a_bundle_of_another_experiment(tiny: Ground, run: Trained) -> None:
    wish = replace(tiny.experiment, heads=(HeadConfig("age", "regression", attribute="age_years"),))
    error = refused(run, tiny, wish)
    assert (error.code, error.problem) == (
        "CXR-150",
        "the bundle was made for another experiment: its heads are heart binary bce; this one has age regression mse",
    )


def test_a_store_of_another_size(tiny: Ground, run: Trained) -> None:
    error = refused(run, tiny, tiny.wish(data={"side": 32}))
    assert (error.code, error.problem) == (
        "CXR-151",
        "the store holds images of 16 pixels a side, and the experiment takes 32",
    )


def test_a_store_made_square_otherwise(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", pictures([0, 1] * 26))
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps(manifest | {"fit": "pad"}))
    error = refused(run, replace(tiny, store=store))
    assert (error.code, error.problem) == (
        "CXR-151",
        "the store's images were made square by pad, and the experiment takes squash",
    )


def test_a_store_that_grows_is_the_same_to_a_run(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "b", {"target_heart": [0, 1] * 26}, SPLIT)
    images = pictures([0, 1] * 28)
    changed = images[:52].copy()
    changed[7, 0, 0] += 1
    stores = {"now": images[:52], "grown": images, "changed": changed}
    digests = {
        name: PixelStore(write_store(tmp_path / name, held, ids=keys(len(held))), rows, side=16).digest
        for name, held in stores.items()
    }
    assert digests["now"] == digests["grown"] != digests["changed"]


def test_a_store_that_lacks_images(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", pictures([0, 1] * 25), ids=keys(50))
    error = refused(run, replace(tiny, store=store))
    assert (error.code, error.problem) == (
        "CXR-151",
        f"the store lacks 2 images of 52, such as {DATASET}:00000050_000.png",
    )


def test_an_unknown_part_and_a_wrong_fold(tiny: Ground, run: Trained) -> None:
    error = refused(run, tiny, tiny.wish(data={"valid": "vaild"}))
    assert error.code == "CXR-501"
    assert error.problem.startswith("the split has no part 'vaild'")
    error = refused(run, tiny, fold=(0, 5))
    assert (error.code, error.problem) == ("CXR-502", "the split has 0 folds, not 5")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("gpu", "there is no device 'gpu'"),
        ("cuda:x", "there is no device 'cuda:x'"),
        ("cuda:99", "torch sees 0 GPUs here, and cuda:99 is asked for"),
    ],
)
def test_a_device_that_is_not_there(said: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from cxrtrain.distributed import joined

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CxrError) as caught, joined(said):
        pass
    assert (caught.value.code, caught.value.problem) == ("CXR-502", problem)


def test_a_loss_that_is_not_finite(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    """The images of the batch are listed; the checkpoint is from before."""
    wish = tiny.wish(optim={"lr": 1e30}, loop={"checkpoint_steps": 1})
    error = refused(run, tiny, wish, out=tmp_path / "run")
    assert error.code == "CXR-153"
    named = (tmp_path / "run" / "not_finite.txt").read_text().split()
    assert len(named) == 8
    assert set(named) <= set(tiny.bundle.keys_of(range(40)))
    assert named[0] in error.problem
    from safetensors.torch import load_file

    last = tmp_path / "run" / "checkpoints" / "last.safetensors"
    assert not last.is_file() or all(torch.isfinite(one).all() for one in load_file(last).values())


def test_out_of_memory_says_what_would_fit(
    tiny: Ground, run: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Small.forward

    def narrow(self: Small, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, x)

    monkeypatch.setattr(Small, "forward", narrow)
    error = refused(run, tiny, out=tmp_path / "run")
    assert (error.code, error.problem) == (
        "CXR-154",
        "a batch of 8 does not fit: CUDA out of memory. Tried to allocate 2.00 GiB.",
    )
    assert error.fix == "2 would fit: --set loop.batch=2 --set optim.accumulate=4"
    monkeypatch.setattr(Small, "forward", forward)
    wish = tiny.wish(loop={"batch": 2, "epochs": 1}, optim={"accumulate": 4})
    assert run(tiny, wish, out=tmp_path / "run").about["state"] == "finished"  # in the same folder: it held nothing


def test_a_folder_with_another_run(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    first = run(tiny, out=tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    error = refused(run, tiny, tiny.wish(optim={"lr": 0.5}), out=tmp_path / "run")
    assert error.code == "CXR-156"
    assert error.problem.startswith(f"the folder holds the run {first.run_id} of tiny, not this one (")
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_a_folder_with_other_files(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    error = refused(run, tiny, out=tmp_path / "notes")
    assert (error.code, error.problem) == ("CXR-156", "the folder holds files that are no run's")


def test_a_folder_that_cannot_be_made(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = refused(run, tiny, out=tmp_path / "file" / "run")
    assert (error.code, error.problem) == ("CXR-602", "cannot write: File exists")


def test_a_damaged_checkpoint(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    made = run(tiny, out=tmp_path / "run")
    made.folder.last.write_bytes(made.folder.last.read_bytes()[:1000])
    error = refused(run, tiny, out=tmp_path / "run")
    assert (error.code, error.problem) == ("CXR-155", "there is no whole checkpoint here")


def test_a_disk_that_is_full_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    from cxrtrain import checkpoint

    path = tmp_path / "last.safetensors"
    checkpoint.save(path, {"x": torch.ones(10)}, {"n": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(CxrError) as caught:
            checkpoint.save(path, {"x": torch.ones(1 << 18)}, {"n": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.code == "CXR-602"
    assert caught.value.problem.startswith("cannot write: ")
    assert checkpoint.load(path).facts["n"] == 1
    assert sorted(one.name for one in tmp_path.iterdir()) == ["last.json", "last.safetensors"]


def test_a_checkpoint_of_another_task(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    from cxrtrain.bundle import HeadTargets

    made = run(tiny, tiny.wish(loop={"epochs": 1}), out=tmp_path / "run")
    sex = HeadTargets("sex", "classes", "ce", ("F", "M"), ("target_sex",))
    rows = write_rows(tmp_path / "sex", {"target_sex": np.arange(52) % 2}, SPLIT, heads=[sex])
    head = HeadConfig("sex", "classes", attribute="sex", classes=("F", "M"))
    wish = replace(tiny.wish(model={"weights": f"run:{made.folder.path}"}), heads=(head,), data=DataConfig(side=16))
    assert refused(run, replace(tiny, bundle=rows), wish).code == "CXR-157"


def test_images_that_the_store_lacks_are_left_out_when_asked(tiny: Ground, tmp_path: Path) -> None:
    from cxrtrain.start import start

    store = write_store(tmp_path / "store", pictures([0, 1] * 25), ids=keys(50))
    said: list[str] = []
    made = start(
        tiny.wish(loop={"max_steps": 1}),
        store=store,
        out=tmp_path / "run",
        bundle=tiny.bundle.folder,
        prepare=lambda _: tiny.bundle,
        device="cpu",
        skip_missing=True,
        say=said.append,
    )
    assert said[0] == "2 images of the bundle left out: the store lacks them"
    assert made.about["images"] == {"train": 40, "valid": 10}


def test_a_mistake_is_told_where_it_was_made(tmp_path: Path) -> None:
    with pytest.raises(CxrError) as caught:
        read_experiment("quick", ["optim.lr=-1", "loop.epochs=2"])
    assert (caught.value.code, caught.value.where) == ("CXR-505", "--set optim.lr=-1")
    (tmp_path / "mine.toml").write_text('title = "without a head"\n')
    with pytest.raises(CxrError) as caught:
        read_experiment(str(tmp_path / "mine.toml"), ["loop.epochs=2"])
    assert caught.value.where == "mine.toml"
