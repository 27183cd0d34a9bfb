"""How a run begins: whose bundle lies in its folder, by what its numbers are scaled, what takes the folder and what not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training import Ground, write_rows

from cxrdata.errors import CxrError
from cxrtrain.bundle import Bundle, HeadTargets, open_bundle
from cxrtrain.choice import own_images
from cxrtrain.config import HeadConfig
from cxrtrain.config_file import experiment_of
from cxrtrain.run_folder import BUNDLE, Run, held, open_run, state_of, write_about
from cxrtrain.start import start

Trained = Callable[..., Run]
AGE = HeadTargets("age", "regression", "mse", ("age_years",), ("target_age",))


def making(bright: list[int], part: list[str]) -> Callable[[Path], Bundle]:
    return lambda folder: write_rows(folder, {"target_heart": bright}, part)


def begun(tiny: Ground, out: Path, prepare: Callable[[Path], Bundle], **wishes: object) -> Run:
    wish = tiny.wish(loop={"max_steps": 1})
    return start(wish, store=tiny.store, out=out, bundle=None, prepare=prepare, device="cpu", **wishes)  # type: ignore[arg-type]


def test_the_bundle_of_a_failed_beginning_does_not_stay(tiny: Ground, tmp_path: Path) -> None:
    out = tmp_path / "run"
    bright = [0, 1] * 26
    first = making(bright, ["train"] * 30 + ["valid"] * 12 + ["test"] * 10)
    with pytest.raises(CxrError, match="folds"):
        begun(tiny, out, first, fold=(0, 5))
    second = making(bright, ["test"] * 10 + ["train"] * 30 + ["valid"] * 12)
    run = begun(tiny, out, second)
    bundle = open_bundle(out / BUNDLE)
    assert bundle.digest == run.about["bundle_sha256"]
    assert bundle.parts() == {"test": 10, "train": 30, "valid": 12}
    assert own_images(run).bundle.digest == bundle.digest


def test_another_bundle_in_a_runs_folder_is_not_taken_for_its_own(tiny: Ground, tmp_path: Path) -> None:
    bright, part = [0, 1] * 26, ["train"] * 30 + ["valid"] * 12 + ["test"] * 10
    run = begun(tiny, tmp_path / "run", making(bright, part))
    making(bright, part[::-1])(run.folder.path / BUNDLE)
    with pytest.raises(CxrError) as refused:
        own_images(run)
    assert refused.value.code == "CXR-155"


def test_another_bundle_does_not_replace_a_runs_own(tiny: Ground, tmp_path: Path) -> None:
    bright, part = [0, 1] * 26, ["train"] * 30 + ["valid"] * 12 + ["test"] * 10
    run = begun(tiny, tmp_path / "run", making(bright, part))
    with pytest.raises(CxrError) as refused:
        begun(tiny, tmp_path / "run", making(bright, part[::-1]))
    assert refused.value.code == "CXR-156"
    assert open_bundle(run.folder.path / BUNDLE).digest == run.about["bundle_sha256"]


def test_numbers_are_scaled_by_what_a_fold_leaves_to_learn_from(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    ages = np.arange(52, dtype=float)
    folds = [at % 2 for at in range(52)]
    rows = write_rows(tmp_path / "b", {"target_age": ages}, ["train"] * 40 + ["valid"] * 12, heads=[AGE], fold=folds)
    wish = replace(tiny.wish(loop={"max_steps": 1}), heads=(HeadConfig("age", "regression", attribute="age_years"),))
    for held_out in (0, 1):
        made = run(replace(tiny, bundle=rows), wish, fold=(held_out, 2))
        learnt = ages[np.asarray(folds) != held_out]
        assert (made.heads[0].mean, made.heads[0].sd) == (learnt.mean(), pytest.approx(learnt.std(), rel=1e-15))


def test_refused_weights_leave_the_folder_free(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    out = tmp_path / "run"
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(CxrError):
        run(tiny, tiny.wish(model={"weights": str(tmp_path / "broken.pth")}), out=out)
    assert run(tiny, tiny.wish(loop={"max_steps": 1}), out=out).about["state"] == "finished"


def test_averages_that_were_never_begun_leave_the_best_epoch(tiny: Ground, run: Trained) -> None:
    plain = run(tiny, tiny.wish(loop={"epochs": 6, "stop_after": 1}, optim={"lr": 0.5}))
    assert plain.about["epochs"] < 6
    averaged = run(tiny, tiny.wish(loop={"epochs": 6, "stop_after": 1}, optim={"lr": 0.5, "swa_from": 6}))
    assert averaged.about["best_epoch"] == plain.about["best_epoch"] < plain.about["epochs"]
    assert averaged.about["best_loss"] == plain.about["best_loss"]


def test_a_run_is_trained_by_one_process_at_a_time(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    out = tmp_path / "run"
    made = run(tiny, tiny.wish(loop={"max_steps": 1}), out=out)
    write_about(made.folder, made.about | {"state": "running"})
    assert state_of(open_run(out)) == "interrupted"
    with held(made.folder):
        assert state_of(open_run(out)) == "running"
        with pytest.raises(CxrError, match="another process is training this run") as refused:
            run(tiny, tiny.wish(loop={"max_steps": 1}), out=out)
    assert refused.value.code == "CXR-603"
    assert run(tiny, tiny.wish(loop={"max_steps": 1}), out=out).about["state"] == "finished"


@pytest.mark.parametrize(
    ("table", "value", "problem"),
    [
        ("loop", {"seed": -1}, "loop.seed cannot be -1"),
        ("optim", {"weight_decay": -0.1}, "optim.weight_decay cannot be -0.1"),
        ("optim", {"swa_from": 5}, "optim.swa_from is 5, and there are 1 epochs"),
    ],
)
def test_values_that_would_only_fail_later(table: str, value: dict[str, object], problem: str) -> None:
    content = {"name": "x", "heads": [{"name": "h", "kind": "binary", "finding": "edema"}], table: value}
    with pytest.raises(CxrError) as refused:
        experiment_of(content, where="x.toml")
    assert (refused.value.code, refused.value.problem) == ("CXR-505", problem)
