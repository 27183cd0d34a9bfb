"""GeZO, greedy zeroth-order optimisation of a noise: from losses alone, nothing is differentiated (Jin et al., MICCAI 2024).

A step draws K Gaussian directions u of scale s and asks for the loss of ε + u and of ε − u, all on one batch and beside the
loss of ε itself. The best of the 2K is taken if it beats ε; then the same with momentum is tried: the last accepted move,
times `momentum`, on top, taken if it is better still. When none beats ε, the scale shrinks.

The published code draws −u and throws it away, always moves, and its momentum and decay never act; here each does what the
paper says of it. What it says nothing of: the point that momentum leads to is asked about too, so that no step makes the
batch's loss worse; a move is what was left of it after clipping; after a refused extrapolation momentum begins anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrdata.errors import CxrError
from cxrtrain.dne.black_box import BudgetSpent
from cxrtrain.dne.directions import Directions
from cxrtrain.sampling import epoch_order, stream

Values = NDArray[np.float32]
Rows = NDArray[np.int64]
Loss = Callable[[Values, Rows], float]

BUDGET, STEPS = "budget", "steps"
_DIRECTIONS = 4  # the stream of random numbers that directions are drawn from


@dataclass(frozen=True)
class Settings:
    """directions: K, of which each is tried both ways. scale: s, of values 0 to 1; decay: what a failed step multiplies it by.
    space: `pixels`, or `grid`: so many places a side, drawn up bilinearly. limit: greatest change of a pixel (ℓ∞), by
    clipping; None: none. budget: queries (a query is one image embedded); a step that it does not suffice for is not begun.
    every: steps between states handed to `checkpoint`. steps and budget may grow when it is gone on with; nothing else.
    """

    steps: int
    directions: int = 10
    scale: float = 0.02
    decay: float = 0.95
    momentum: float = 0.9
    space: str = "pixels"
    grid: int = 16
    limit: float | None = None
    budget: int | None = None
    seed: int = 0
    every: int = 10

    def __post_init__(self) -> None:
        whole = min(self.steps, self.directions, self.grid, self.every) >= 1
        limits = [one for one in (self.limit, self.budget) if one is not None]
        if not (
            whole and self.scale > 0 and 0 < self.decay <= 1 and 0 <= self.momentum < 1 and min(limits, default=1) > 0
        ):
            raise CxrError(
                "CXR-502",
                "GeZO cannot work with these settings",
                where=", ".join(f"{name}={value}" for name, value in asdict(self).items()),
                fix="counts of 1 or more, a positive scale, decay in (0, 1], momentum in [0, 1)",
            )


@dataclass(frozen=True)
class Step:
    """What a step did. before, loss: of the batch, with the noise it began and ended with; accepted: whether it moved;
    extrapolated: whether momentum took it further; scale: of its directions; queries: since the beginning."""

    step: int
    before: float
    loss: float
    accepted: bool
    extrapolated: bool
    scale: float
    queries: int


@dataclass(frozen=True)
class State:
    """All that the next step depends on besides the settings and the batches: from here it goes on as if never stopped.
    velocity: the last accepted move. random: of numpy's bit generator."""

    values: Values
    velocity: Values
    scale: float
    random: dict[str, Any]
    step: int = 0
    queries: int = 0
    trace: tuple[Step, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Result:
    """values: the noise. stopped: `steps` were done, or the `budget` was spent before."""

    values: Values
    trace: tuple[Step, ...]
    state: State
    stopped: str


@dataclass(frozen=True)
class Batches:
    """The rows of each step: epoch after epoch shuffled anew, all batches of one size (what is left over of an epoch is not
    shown in it), so that losses of steps compare."""

    rows: Rows
    size: int
    seed: int = 0

    def __call__(self, step: int) -> Rows:
        """Rows of a step, counted from 0."""
        size = min(self.size, len(self.rows))
        epoch, at = divmod(step, len(self.rows) // size)
        return self._order(epoch)[at * size : (at + 1) * size]

    def _order(self, epoch: int) -> Rows:
        return _order(self.rows.tobytes(), self.seed, epoch)


@lru_cache(maxsize=2)
def _order(rows: bytes, seed: int, epoch: int) -> Rows:
    return epoch_order(np.frombuffer(rows, dtype=np.int64), None, seed=seed, epoch=epoch)


def gezo(
    loss: Loss,
    start: Values,
    batches: Callable[[int], Rows],
    settings: Settings,
    *,
    state: State | None = None,
    checkpoint: Callable[[State], None] = lambda _: None,
    tell: Callable[[Step], None] = lambda _: None,
) -> Result:
    """The noise that GeZO arrives at from `start` (side, side), or from where `state` was.

    loss: of a noise on the images of some rows; each call costs as many queries as there are rows. When it raises
    `BudgetSpent`, the step is given up and what was reached before is the result. Whatever else ends it, the state of the
    last whole step is handed to `checkpoint` first: going on from there repeats the broken step with the same directions.
    Raises CxrError CXR-153 where the loss of the noise itself is not finite.
    """
    now = state or _begin(start, settings)
    saved = now.step if state else -1
    space = Directions(len(now.values), settings.space, settings.grid)
    stopped = STEPS
    try:
        while now.step < settings.steps:
            rows = batches(now.step)
            if settings.budget is not None and now.queries + _most(now, settings) * len(rows) > settings.budget:
                stopped = BUDGET
                break
            try:
                now = _step(loss, now, rows, space, settings)
            except BudgetSpent:
                stopped = BUDGET
                break
            tell(now.trace[-1])
            if now.step % settings.every == 0:
                checkpoint(now)
                saved = now.step
    finally:
        if now.step != saved:
            checkpoint(now)
    return Result(now.values, now.trace, now, stopped)


def _begin(start: Values, settings: Settings) -> State:
    values = _clipped(np.asarray(start, dtype=np.float32), settings)
    random = stream(settings.seed, _DIRECTIONS).bit_generator.state
    return State(values, np.zeros_like(values), settings.scale, dict(random))


def _most(now: State, settings: Settings) -> int:
    """Losses that the next step asks for at most: of ε, of both ways of each direction, and with momentum."""
    return 1 + 2 * settings.directions + bool(settings.momentum and now.velocity.any())


def _step(loss: Loss, now: State, rows: Rows, space: Directions, settings: Settings) -> State:
    """The state after one step."""
    random = np.random.default_rng()
    random.bit_generator.state = now.random
    asked = 1
    before = float(loss(now.values, rows))
    if not math.isfinite(before):
        fix = "start from a smaller noise, or look at what the black box says of these images"
        raise CxrError("CXR-153", f"the loss of step {now.step} is {before}, before anything was tried", fix=fix)
    best, reached = now.values, before
    for tried in _both_ways(now, space, random, settings):
        said, asked = float(loss(tried, rows)), asked + 1
        if said < reached:  # so nothing that is NaN is ever taken
            best, reached = tried, said
    velocity, scale, extrapolated = now.velocity, now.scale, False
    accepted = reached < before
    if not accepted:
        scale *= settings.decay
    else:
        if settings.momentum and velocity.any():
            further = _clipped(best + np.float32(settings.momentum) * velocity, settings)
            said, asked = float(loss(further, rows)), asked + 1
            if said < reached:
                best, reached, extrapolated = further, said, True
        velocity = best - now.values
    queries = now.queries + asked * len(rows)
    done = Step(now.step, before, reached, accepted, extrapolated, now.scale, queries)
    return State(best, velocity, scale, dict(random.bit_generator.state), now.step + 1, queries, (*now.trace, done))


def _both_ways(now: State, space: Directions, random: np.random.Generator, settings: Settings) -> Iterator[Values]:
    """ε + u and ε − u of each direction u."""
    for _ in range(settings.directions):
        move = space.draw(random, now.scale)
        yield _clipped(now.values + move, settings)
        yield _clipped(now.values - move, settings)


def _clipped(values: Values, settings: Settings) -> Values:
    return values if settings.limit is None else np.clip(values, -settings.limit, settings.limit)
