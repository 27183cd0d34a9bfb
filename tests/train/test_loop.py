"""The trainer as a whole: what it writes, when it ends, and that it learns."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cxrtrain.bundle import HeadTargets
from cxrtrain.config import AugmentConfig, DataConfig, HeadConfig, LoopConfig, ObjectiveConfig, OptimConfig
from cxrtrain.run_folder import Run
from safetensors.torch import load_file
from training import SIDE, Ground, experiment, ground, pictures, write_rows, write_store

Trained = Callable[..., Run]


def losses(run: Run) -> list[float]:
    with (run.folder.path / "steps.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def epochs(run: Run) -> list[dict[str, float]]:
    with (run.folder.path / "epochs.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def last(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.folder.last)


# --- what is written


def test_a_run_is_written_whole(tiny: Ground, run: Trained) -> None:
    made = run(tiny)
    assert made.about["state"] == "finished"
    assert (made.about["epochs"], made.about["steps"]) == (2, 10)
    assert len(losses(made)) == 10
    assert [row["epoch"] for row in epochs(made)] == [1, 2]
    assert made.experiment == tiny.experiment
    assert made.about["best_loss"] == pytest.approx(min(row["valid_loss"] for row in epochs(made)), rel=1e-6)
    assert {path.name for path in made.folder.path.iterdir()} == {
        "checkpoints", "config.toml", "epochs.csv", "run.json", "steps.csv",
    }  # fmt: skip


def test_a_finished_run_is_left_alone(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    run(tiny, out=tmp_path / "a")
    before = {path: path.read_bytes() for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()}
    run(tiny, out=tmp_path / "a")
    assert {path: path.read_bytes() for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()} == before


def test_the_same_in_gives_the_same_out(tiny: Ground, run: Trained) -> None:
    wish = tiny.wish(augment={"flip_p": 0.5}, model={"dropout": 0.2})
    first = run(tiny, wish)
    torch.rand(7)  # what others drew changes nothing
    second = run(tiny, wish)
    for name in ("steps.csv", "checkpoints/last.safetensors", "checkpoints/best.safetensors"):
        assert (first.folder.path / name).read_bytes() == (second.folder.path / name).read_bytes(), name


def test_another_seed_gives_another_run(tiny: Ground, run: Trained) -> None:
    assert losses(run(tiny)) != losses(run(tiny, tiny.wish(loop={"seed": 1})))


def test_deterministic_mode_on_the_cpu_is_what_it_is_anyway(tiny: Ground, run: Trained) -> None:
    assert losses(run(tiny, tiny.wish(loop={"deterministic": True}))) == losses(run(tiny))


def test_bf16_is_near_fp32(tiny: Ground, run: Trained) -> None:
    exact, rough = losses(run(tiny)), losses(run(tiny, tiny.wish(loop={"precision": "bf16"})))
    assert exact != rough
    assert rough[0] == pytest.approx(exact[0], rel=0.02)


# --- when it ends


def test_it_stops_after_so_many_steps_within_an_epoch(tiny: Ground, run: Trained) -> None:
    made = run(tiny, tiny.wish(loop={"epochs": 9, "max_steps": 7}))
    assert (made.about["steps"], made.about["epochs"]) == (7, 2)
    assert made.folder.best.is_file()


def test_it_stops_early_when_nothing_improves(tiny: Ground, run: Trained) -> None:
    made = run(tiny, tiny.wish(loop={"epochs": 9, "stop_after": 2}, optim={"lr": 1e-12}, model={"freeze": "none"}))
    found = [row["valid_loss"] for row in epochs(made)]
    best = int(np.argmin(found))
    assert len(found) == min(9, best + 3)


def test_the_monitor_picks_the_best_epoch(tiny: Ground, run: Trained) -> None:
    wish = tiny.wish(loop={"epochs": 4, "monitor": "heart"}, optim={"lr": 0.02})
    made = run(tiny, wish)
    found = [row["valid_heart"] for row in epochs(made)]
    assert made.about["best_epoch"] == int(np.argmin(found)) + 1


def test_plateau_lowers_the_rate(tiny: Ground, run: Trained) -> None:
    made = run(tiny, tiny.wish(loop={"epochs": 4}, optim={"lr": 0.5, "schedule": "plateau"}))
    with (made.folder.path / "steps.csv").open() as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file)]
    judged = [row["valid_loss"] for row in epochs(made)]
    worse = [now >= min(judged[:at]) for at, now in enumerate(judged) if at]
    assert [rates[5 * (at + 2)] < rates[5 * (at + 1)] for at in range(2)] == worse[:2]


# --- accumulation, turns, averages


def test_accumulated_batches_are_the_large_batch(tmp_path: Path, run: Trained) -> None:
    """Also where the last batch is short and targets are not known: 20 images as 16 + 4, or as 8, 8 and 4."""
    on = ground(tmp_path, n=20)
    known = on.bundle.targets(on.bundle.heads[0])[:, 0]
    known[[0, 3, 4, 5, 9, 17]] = np.nan
    rows = write_rows(tmp_path / "masked", {"target_heart": known}, ["train"] * 20 + ["valid"] * 12)
    on = replace(on, bundle=rows)
    whole = run(on, on.wish(loop={"batch": 16}, optim={"name": "sgd", "lr": 0.05}))
    parts = run(on, on.wish(loop={"batch": 8}, optim={"name": "sgd", "lr": 0.05, "accumulate": 2}))
    np.testing.assert_allclose(losses(parts), losses(whole), rtol=1e-4)


AGE = HeadTargets("age", "regression", "mse", ("age",), ("target_age",), mean=50.0, sd=10.0)
TWO_HEADS = (
    HeadConfig("heart", "binary", finding="cardiomegaly"),
    HeadConfig("age", "regression", attribute="age_years"),
)


def two_heads(folder: Path) -> Ground:
    on = ground(folder, n=16)
    heart = on.bundle.targets(on.bundle.heads[0])[:, 0]
    ages = 50 + 10 * heart + np.arange(len(heart)) % 3
    rows = write_rows(
        folder / "two",
        {"target_heart": heart, "target_age": ages},
        ["train"] * 16 + ["valid"] * 12,
        heads=[*on.bundle.heads, AGE],
    )
    return Ground(on.store, rows, experiment(heads=TWO_HEADS))


def test_heads_in_turn_keep_their_gradients_apart(tmp_path: Path, run: Trained) -> None:
    """Two batches a step, in turn, against the same by hand: backbone and one head, then backbone and the other."""
    on = two_heads(tmp_path)
    sgd = {"name": "sgd", "lr": 0.05, "turns": "in_turn"}
    whole = run(on, on.wish(loop={"batch": 16, "epochs": 3}, optim=sgd))
    parts = run(on, on.wish(loop={"batch": 8, "epochs": 3}, optim=sgd | {"accumulate": 2}))
    together = run(on, on.wish(loop={"batch": 16, "epochs": 3}, optim=sgd | {"turns": "together"}))
    np.testing.assert_allclose(losses(parts), losses(whole), rtol=1e-4)
    assert abs(losses(together)[2] - losses(whole)[2]) > 1e-4 * losses(whole)[2]


def test_a_second_head_trains_in_turn_only_by_its_own_loss(tmp_path: Path, run: Trained) -> None:
    on = two_heads(tmp_path)
    unweighted = replace(on.experiment, heads=(TWO_HEADS[0], replace(TWO_HEADS[1], weight=0.0)))
    made = run(on, replace(unweighted, optim=OptimConfig(turns="in_turn")))
    alone = run(on, replace(unweighted, optim=OptimConfig()))
    start = last(run(on, replace(unweighted, optim=OptimConfig(lr=1e-30), loop=LoopConfig(epochs=1, batch=8))))
    for found in (made, alone):
        torch.testing.assert_close(last(found)["model.heads.age.weight"], start["model.heads.age.weight"])
        assert not torch.equal(last(found)["model.heads.heart.weight"], start["model.heads.heart.weight"])


def test_the_average_is_what_is_validated_and_kept(tiny: Ground, run: Trained) -> None:
    made = run(tiny, tiny.wish(optim={"ema": 0.5}))
    best, tensors = load_file(made.folder.best), last(made)
    if made.about["best_epoch"] == 2:
        for name, value in best.items():
            assert torch.equal(value, tensors[f"ema.{name}"]), name
    assert any(not torch.equal(tensors[f"ema.{name}"], tensors[f"model.{name}"]) for name in best)


def test_swa_is_the_mean_of_the_epochs(tiny: Ground, run: Trained, tmp_path: Path) -> None:
    wish = tiny.wish(loop={"epochs": 3}, optim={"swa_from": 2})
    ends = [last(run(tiny, tiny.wish(loop={"epochs": n}))) for n in (2, 3)]
    best = load_file(run(tiny, wish).folder.best)
    for name, value in best.items():
        expected = (ends[0][f"model.{name}"] + ends[1][f"model.{name}"]) / 2
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)


# --- it learns


def test_one_batch_is_overfitted(tmp_path: Path, run: Trained) -> None:
    """On noise, with labels that mean nothing."""
    labels = np.arange(12) % 2
    store = write_store(tmp_path / "store", pictures([0] * 12, seed=5))
    rows = write_rows(tmp_path / "bundle", {"target_heart": labels}, ["train"] * 8 + ["valid"] * 4)
    on = Ground(store, rows, experiment(loop=LoopConfig(epochs=60, batch=8), optim=OptimConfig(lr=3e-3)))
    assert losses(run(on))[-1] < 0.01


def test_on_shuffled_labels_validation_is_chance(tmp_path: Path, run: Trained) -> None:
    """Bright pictures, labels that do not follow them: the AUROC of 200 is .5 within 3 standard errors."""
    n_valid, n = 200, 64
    bright = np.arange(n + n_valid) % 2
    labels = np.random.default_rng(3).permutation(bright)
    store = write_store(tmp_path / "store", pictures(bright))
    rows = write_rows(tmp_path / "bundle", {"target_heart": labels}, ["train"] * n + ["valid"] * n_valid)
    wish = experiment(loop=LoopConfig(epochs=3, batch=16))
    found = epochs(run(Ground(store, rows, wish)))[-1]["heart_auroc"]
    error = np.sqrt((n_valid + 1) / (12 * (n_valid / 2) ** 2))  # of the rank sum under chance
    assert abs(found - 0.5) < 3 * error
    true = write_rows(tmp_path / "true", {"target_heart": bright}, ["train"] * n + ["valid"] * n_valid)
    assert epochs(run(Ground(store, true, wish)))[-1]["heart_auroc"] > 0.9


def test_group_dro_attends_to_the_group_that_does_badly(tmp_path: Path, run: Trained) -> None:
    """Labels of the second group are thrown by dice: its loss stays high, and its weight grows, step by step."""
    bright = np.arange(52) % 2
    group = np.arange(52) // 2 % 2
    labels = np.where(group == 1, np.random.default_rng(1).permutation(bright), bright)
    store = write_store(tmp_path / "store", pictures(bright))
    part = ["train"] * 40 + ["valid"] * 12
    rows = write_rows(
        tmp_path / "bundle", {"target_heart": labels}, part, group=group.tolist(), groups=["clear", "dice"]
    )
    wish = experiment(
        data=DataConfig(side=SIDE, groups=("g",)),
        objective=ObjectiveConfig("group_dro", step_size=1.0),
        loop=LoopConfig(epochs=4, batch=20),
        optim=OptimConfig(lr=3e-3),
    )
    weights = last(run(Ground(store, rows, wish)))["objective"]
    assert weights.shape == (1, 2)
    assert float(weights.sum()) == pytest.approx(1)
    assert float(weights[0, 1]) > 0.55


# --- the loss that a change of form must leave alone

GOLDEN = Path(__file__).parent / "golden" / "first_losses.csv"


def golden_run(tmp_path: Path, run: Trained) -> list[float]:
    """Whatever is drawn has a part in it: order, flip, MixUp, dropout, a second head, an average."""
    on = two_heads(tmp_path)
    wish = replace(
        on.experiment,
        augment=AugmentConfig(flip_p=0.5, affine_p=0.5, rotate_degrees=10.0, mixup_alpha=0.4),
        optim=OptimConfig("sgd", lr=0.02, momentum=0.5, clip=1.0, schedule="cosine", warmup_epochs=1),
        model=replace(on.experiment.model, dropout=0.1),
        loop=LoopConfig(epochs=10, batch=8, seed=3),
    )
    return losses(run(on, wish))


def test_the_first_twenty_losses_are_the_golden_ones(tmp_path: Path, run: Trained) -> None:
    """Within what another build of torch may add up differently; within one process to the bit."""
    found = golden_run(tmp_path / "a", run)
    assert len(found) == 20
    assert golden_run(tmp_path / "b", run) == found
    with GOLDEN.open() as file:
        expected = [float(row["loss"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
