"""GeZO against objectives whose minimum, and whose every step, is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrdata.errors import CxrError
from cxrtrain.dne.black_box import BudgetSpent
from cxrtrain.dne.directions import Directions, bilinear
from cxrtrain.dne.gezo import BUDGET, STEPS, Batches, Result, Rows, Settings, State, Values, gezo
from cxrtrain.dne.gezo_state import load_state, save_state, write_trace

SIDE = 8
ROWS = np.arange(4, dtype=np.int64)


def one_batch(_: int) -> Rows:
    return ROWS


def zeros(side: int = SIDE) -> Values:
    return np.zeros((side, side), dtype=np.float32)


def distance(target: np.ndarray) -> Callable[[Values, Rows], float]:
    """Squared distance to a target: its minimum is the target, and 0."""
    return lambda values, _: float(((values.astype(np.float64) - target) ** 2).sum())


def somewhere(side: int = SIDE, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.1, 0.1, (side, side))


def by_batch(values: Values, rows: Rows) -> float:
    """Another valley for each batch, and a floor that is not smooth."""
    there = somewhere(seed=int(rows.sum()))
    return float(np.abs(values - there).sum() + np.sin(40 * values).sum() / 40)


def assert_same(found: Result | State, wanted: Result | State) -> None:
    one, other = (it.state if isinstance(it, Result) else it for it in (found, wanted))
    assert one.values.tobytes() == other.values.tobytes() and one.velocity.tobytes() == other.velocity.tobytes()
    assert replace(one, values=zeros(), velocity=zeros()).trace == other.trace
    assert (one.scale, one.random, one.step, one.queries) == (other.scale, other.random, other.step, other.queries)


@pytest.mark.parametrize("space", ["pixels", "grid"])
def test_the_minimum_of_a_quadratic_is_reached(space: str) -> None:
    target = somewhere()
    loss = distance(target)
    found = gezo(loss, zeros(), one_batch, Settings(800, scale=0.02, space=space, grid=SIDE))
    assert found.stopped == STEPS
    assert loss(found.values, ROWS) < 0.01 * loss(zeros(), ROWS)
    assert np.abs(found.values - target).max() < 0.04


@pytest.mark.parametrize("seed", range(4))
def test_no_step_makes_its_batch_worse(seed: int) -> None:
    fixed = gezo(by_batch, zeros(), one_batch, Settings(60, directions=2, scale=0.05, seed=seed)).trace
    losses = [fixed[0].before, *(step.loss for step in fixed)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
    assert [step.before for step in fixed] == losses[:-1]
    several = gezo(by_batch, zeros(), Batches(np.arange(20), 4, seed), Settings(60, directions=2, scale=0.05)).trace
    assert all(step.loss < step.before if step.accepted else step.loss == step.before for step in several)
    assert {step.accepted for step in several} == {True, False}


def test_a_trajectory_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """L = (ε - 1)² of one pixel, one direction a step, momentum 0.9.

    u 0.25: 0 → 0.25; no move before it, so no momentum. u -0.25: 0.25 - u = 0.5, and with momentum 0.725. u 0.5: 1.225; with
    momentum 1.6525, which is worse. u 2: neither way, so the scale shrinks, and the move 0.5 is remembered. u -0.25:
    0.975; with momentum 1.425, which is worse.
    """
    moves, scales = iter([0.25, -0.25, 0.5, 2.0, -0.25]), []

    def draw(_: Directions, __: np.random.Generator, scale: float) -> Values:
        scales.append(scale)
        return np.full((1, 1), next(moves), dtype=np.float32)

    monkeypatch.setattr(Directions, "draw", draw)
    reached: list[State] = []
    settings = Settings(5, directions=1, scale=0.1, decay=0.5, every=1)
    found = gezo(distance(np.ones((1, 1))), zeros(1), one_batch, settings, checkpoint=reached.append)
    assert [float(state.values[0, 0]) for state in reached] == pytest.approx(
        [0.25, 0.725, 1.225, 1.225, 0.975], abs=1e-6
    )
    assert [float(state.velocity[0, 0]) for state in reached] == pytest.approx([0.25, 0.475, 0.5, 0.5, -0.25], abs=1e-6)
    assert [(step.accepted, step.extrapolated) for step in found.trace] == [
        (True, False), (True, True), (True, False), (False, False), (True, False),
    ]  # fmt: skip
    assert scales == [0.1, 0.1, 0.1, 0.1, 0.05] == [step.scale for step in found.trace]
    # ε and both ways: three losses of four images; from the second step on that of momentum too, where one way was better.
    assert [step.queries for step in found.trace] == [12, 28, 44, 56, 72]


def test_without_momentum_the_same_directions_lead_elsewhere() -> None:
    loss = distance(somewhere())
    with_it, without = (gezo(loss, zeros(), one_batch, Settings(150, directions=3, momentum=m)) for m in (0.9, 0.0))
    assert any(step.extrapolated for step in with_it.trace) and not any(step.extrapolated for step in without.trace)
    assert with_it.trace[-1].loss < without.trace[-1].loss


def test_both_ways_of_each_direction_are_asked_on_the_same_batch() -> None:
    asked: list[tuple[Values, Rows]] = []

    def loss(values: Values, rows: Rows) -> float:
        asked.append((values.copy(), rows.copy()))
        return float(len(asked))  # always worse than what came before

    start = somewhere().astype(np.float32)
    gezo(loss, start, Batches(np.arange(20), 4), Settings(3, directions=5))
    assert len(asked) == 3 * 11
    for step in range(3):
        (own, rows), *tried = asked[step * 11 : (step + 1) * 11]
        assert np.array_equal(own, start) and all(np.array_equal(other, rows) for _, other in tried)
        moves = [values - start for values, _ in tried]
        for plus, minus in zip(moves[::2], moves[1::2], strict=True):
            assert np.abs(plus).max() > 1e-3
            assert np.allclose(plus, -minus, atol=1e-7)


class Killed(BaseException):
    """What no `except Exception` catches."""


def after(calls: int, error: BaseException) -> Callable[[Values, Rows], float]:
    count = iter(range(calls))

    def loss(values: Values, rows: Rows) -> float:
        if next(count, None) is None:
            raise error
        return by_batch(values, rows)

    return loss


@pytest.mark.parametrize("calls", [0, 1, 17, 40, 77])
def test_interrupted_and_gone_on_with_it_ends_with_the_same_bytes(tmp_path: Path, calls: int) -> None:
    settings, batches = Settings(20, directions=3, scale=0.05, every=4), Batches(np.arange(20), 4, 3)
    whole = gezo(by_batch, zeros(), batches, settings)
    file = tmp_path / "state.safetensors"
    with pytest.raises(Killed):
        gezo(after(calls, Killed()), zeros(), batches, settings, checkpoint=lambda now: save_state(file, now, settings))
    state = load_state(file, settings)
    assert state is not None and state.step >= (calls - 1) // 8  # at most the broken step is repeated
    again = gezo(
        by_batch, zeros(), batches, settings, state=state, checkpoint=lambda now: save_state(file, now, settings)
    )
    assert_same(again, whole)
    save_state(tmp_path / "whole.safetensors", whole.state, settings)
    assert file.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_from_each_state_that_was_saved_it_goes_on_the_same() -> None:
    settings, batches = Settings(12, directions=2, space="grid", grid=4, every=3), Batches(np.arange(20), 4)
    saved: list[State] = []
    whole = gezo(by_batch, zeros(), batches, settings, checkpoint=saved.append)
    assert [state.step for state in saved] == [3, 6, 9, 12]
    for state in saved:
        assert_same(gezo(by_batch, zeros(), batches, settings, state=state), whole)


def test_a_budget_is_not_exceeded_and_a_larger_one_goes_on() -> None:
    batches = Batches(np.arange(20), 4)
    settings = Settings(30, directions=3, scale=0.05)
    whole = gezo(by_batch, zeros(), batches, settings)
    count = [0]

    def counting(values: Values, rows: Rows) -> float:
        count[0] += len(rows)
        return by_batch(values, rows)

    small = replace(settings, budget=300)
    first = gezo(counting, zeros(), batches, small)
    assert first.stopped == BUDGET and first.state.queries == count[0] <= 300 < count[0] + 8 * 4
    again = gezo(counting, zeros(), batches, replace(small, budget=10_000), state=first.state)
    assert again.stopped == STEPS and again.state.queries == count[0]
    assert_same(again, whole)
    assert gezo(counting, zeros(), batches, small, state=first.state).state.step == first.state.step


def test_a_black_box_whose_budget_is_spent_ends_it_with_what_was_reached() -> None:
    batches, settings = Batches(np.arange(20), 4), Settings(20, directions=3, scale=0.05)
    found = gezo(after(43, BudgetSpent("CXR-168", "spent")), zeros(), batches, settings)
    assert found.stopped == BUDGET and found.state.step == len(found.trace) >= 5
    assert_same(
        gezo(by_batch, zeros(), batches, settings, state=found.state), gezo(by_batch, zeros(), batches, settings)
    )


def smooth(side: int) -> np.ndarray:
    """A hill as wide as a third of the image."""
    along = np.exp(-(((np.arange(side) - side / 2.5) / (side / 5)) ** 2))
    return 0.1 * np.outer(along, along)


def test_a_coarse_grid_gets_further_with_the_same_queries_where_the_objective_is_smooth() -> None:
    loss = distance(smooth(32))
    settings = Settings(10_000, budget=4 * 21 * 60, grid=8)
    reached = [
        gezo(loss, zeros(32), one_batch, replace(settings, space=space)).trace[-1].loss for space in ("pixels", "grid")
    ]
    assert reached[1] < 0.5 * reached[0]


def test_the_noise_stays_within_its_limit() -> None:
    found = gezo(distance(np.full((SIDE, SIDE), 0.5)), zeros(), one_batch, Settings(200, limit=0.03))
    assert np.abs(found.values).max() == np.float32(0.03)
    assert found.values.mean() > 0.025
    far = gezo(distance(zeros()), np.ones((SIDE, SIDE), np.float32), one_batch, Settings(1, limit=0.03, directions=1))
    assert np.abs(far.values).max() <= np.float32(0.03)


def test_what_is_not_finite_is_never_taken() -> None:
    def cliff(values: Values, _: Rows) -> float:
        return float("nan") if values.any() else 1.0

    assert not gezo(cliff, zeros(), one_batch, Settings(3)).values.any()
    with pytest.raises(CxrError, match=r"CXR-153.*loss of step 0 is nan"):
        gezo(lambda *_: float("nan"), zeros(), one_batch, Settings(3))


@pytest.mark.parametrize(("places", "side"), [(16, 224), (16, 32), (5, 12), (4, 4), (1, 6), (2, 3)])
def test_the_grid_is_drawn_up_as_torch_does(places: int, side: int) -> None:
    coarse = np.random.default_rng(0).standard_normal((places, places))
    weights = bilinear(places, side)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(coarse)[None, None], size=side, mode="bilinear")[0, 0]
    assert np.allclose(weights @ coarse @ weights.T, theirs.numpy(), atol=1e-12)


@pytest.mark.parametrize("side", [8, 32, 50])
def test_directions_of_both_spaces_are_as_long(side: int) -> None:
    random = np.random.default_rng(0)
    for space in ("pixels", "grid"):
        squares = [float((Directions(side, space).draw(random, 0.02) ** 2).sum()) for _ in range(300)]
        assert np.mean(squares) == pytest.approx((0.02 * side) ** 2, rel=0.03)


def test_batches_show_each_image_once_an_epoch() -> None:
    batches = Batches(np.arange(100, 122), 5, seed=1)
    epochs = [[batches(4 * epoch + at) for at in range(4)] for epoch in range(3)]
    for epoch in epochs:
        shown = np.concatenate(epoch)
        assert len(shown) == len(set(shown.tolist())) == 20 and set(shown.tolist()) <= set(range(100, 122))
    assert not np.array_equal(epochs[0], epochs[1])
    assert np.array_equal(batches(0), epochs[0][0])
    assert len(Batches(np.arange(3), 5)(7)) == 3


def test_a_state_of_other_settings_is_refused(tmp_path: Path) -> None:
    file, settings = tmp_path / "state.safetensors", Settings(2, directions=1)
    assert load_state(file, settings) is None
    gezo(by_batch, zeros(), one_batch, settings, checkpoint=lambda now: save_state(file, now, settings))
    assert load_state(file, replace(settings, steps=9, budget=10**6)) is not None
    with pytest.raises(CxrError, match=r"CXR-156.*directions 1, not 2, momentum 0\.9, not 0\.5"):
        load_state(file, replace(settings, directions=2, momentum=0.5))
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(CxrError, match="CXR-155"):
        load_state(file, settings)


UNUSABLE: list[dict[str, object]] = [
    {"steps": 0}, {"directions": 0}, {"scale": 0.0}, {"decay": 1.5}, {"momentum": 1.0}, {"limit": -1.0}, {"budget": 0},
    {"every": 0}, {"grid": 0},
]  # fmt: skip


@pytest.mark.parametrize("wrong", UNUSABLE)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(CxrError, match="CXR-502"):
        Settings(**({"steps": 1} | wrong))  # type: ignore[arg-type]


def test_an_unknown_space_is_refused() -> None:
    with pytest.raises(CxrError, match=r"CXR-501.*no space of directions 'wavelets'"):
        gezo(by_batch, zeros(), one_batch, Settings(1, space="wavelets"))


def test_the_trace_is_a_table(tmp_path: Path) -> None:
    found = gezo(by_batch, zeros(), one_batch, Settings(3, directions=1))
    write_trace(tmp_path / "trace.csv", found.trace)
    head, *rows = (tmp_path / "trace.csv").read_text().splitlines()
    assert head == "step,before,loss,accepted,extrapolated,scale,queries"
    assert [row.split(",")[0] for row in rows] == ["0", "1", "2"]
    first = found.trace[0]
    assert rows[0].split(",")[1:4] == [repr(first.before), repr(first.loss), str(first.accepted).lower()]
