"""The noise without gradients: GeZO asks a black box for embeddings, and validation images say which of its noises is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cxrtrain.dne.black_box import BudgetSpent
from cxrtrain.dne.config import BlackConfig, NoiseConfig
from cxrtrain.dne.gezo import BUDGET, Batches, Loss, Rows, Settings, State, Values, gezo
from cxrtrain.dne.gezo_state import load_state, save_state, write_trace
from cxrtrain.dne.noise import edited
from cxrtrain.dne.objectives import OF, penalised
from cxrtrain.dne.white_box import Epoch, FittedNoise, Problem

_BEST = "best.npy"
_JUDGED = "judged.json"


def fit_black(
    eye: Asked,
    problem: Problem,
    noise: NoiseConfig,
    wish: BlackConfig,
    objective: str,
    *,
    space: str,
    penalty: float,
    seed: int,
    scratch: Path,
    tell: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> FittedNoise:
    """Minimise the same as `fit_white` does, from embeddings alone. scratch: a folder in which it goes on where it was
    interrupted. An epoch of the trace is a look at the validation images; trace.csv of all steps lies in scratch."""
    settings = Settings(
        steps=wish.steps, directions=wish.directions, scale=wish.scale, decay=wish.decay, momentum=wish.momentum, space=space,
        grid=wish.grid, limit=noise.limit, budget=wish.budget, seed=seed, every=wish.judge_every,
    )  # fmt: skip
    valid = _some(problem.valid, wish.judge_images, seed)
    judged = _Judged.read(scratch, problem.images.side)
    state = load_state(scratch / "state.safetensors", settings)

    def judge(values: Values, step: int, on_batch: float) -> None:
        plane = torch.from_numpy(values).to(problem.images.device)
        now = problem.judged(eye.embed, plane, objective, valid)
        judged.add(Epoch(step, on_batch, now, float(plane.norm()), float(plane.abs().max())), values)
        tell(f"step {step} of {wish.steps}: {objective} {now:.4f} on validation images")

    def save(now: State) -> None:
        save_state(scratch / "state.safetensors", now, settings)
        eye.forget()

    zero = np.zeros((problem.images.side, problem.images.side), dtype=np.float32)
    try:
        if not judged.trace:
            judge(zero, 0, float("nan"))
        while True:
            done = judged.trace[-1].epoch
            if done >= wish.steps:
                break
            result = gezo(
                _loss_of(eye, problem, noise, objective, penalty), zero, Batches(problem.train, wish.batch, seed), replace(settings, steps=min(done + wish.judge_every, wish.steps)),
                state=state, checkpoint=save,
            )  # fmt: skip
            state = result.state
            write_trace(scratch / "trace.csv", state.trace)
            if state.step > done:
                judge(state.values, state.step, state.trace[-1].loss)
            if result.stopped == BUDGET:
                say(f"the budget is spent after {state.step} of {wish.steps} steps and {state.queries:,} queries")
                break
    except BudgetSpent as error:
        if not judged.trace:
            raise
        say(f"{error.problem}; the best noise so far is taken")
    return judged.result()


def _loss_of(eye: Asked, problem: Problem, wish: NoiseConfig, objective: str, penalty: float) -> Loss:
    """What `fit_white` minimises, of a noise on some rows."""

    @torch.no_grad()
    def loss(values: Values, rows: Rows) -> float:
        plane = torch.from_numpy(values)
        images = next(iter(problem.images.batches([rows])))
        logits = problem.probe.logits(eye.embed(edited(images, plane.to(images.device))).cpu())
        found = OF[objective](logits, torch.from_numpy(problem.attribute[rows]))
        return float(penalised(found, plane, weight=wish.weight, penalty=penalty))

    return loss


def _some(rows: Rows, n: int, seed: int) -> Rows:
    """At most n of the rows, the same ones for a seed."""
    return rows if len(rows) <= n else np.sort(np.random.default_rng(seed).choice(rows, n, replace=False))


class _Judged:
    """What validation images said of noises on the way, and the best of these, kept in a folder."""

    def __init__(self, folder: Path, trace: list[Epoch], best: Values) -> None:
        self._folder, self.trace, self._best = folder, trace, best

    @classmethod
    def read(cls, folder: Path, side: int) -> _Judged:
        if not (folder / _JUDGED).is_file():
            return cls(folder, [], np.zeros((side, side), dtype=np.float32))
        said = json.loads((folder / _JUDGED).read_text(encoding="utf-8"))
        return cls(folder, [Epoch(**one) for one in said], np.load(folder / _BEST))

    def add(self, epoch: Epoch, values: Values) -> None:
        if not self.trace or epoch.valid_objective < min(one.valid_objective for one in self.trace):
            self._best = values.copy()
            np.save(self._folder / _BEST, self._best)
        self.trace.append(epoch)
        aside = self._folder / f"{_JUDGED}.new"
        aside.write_text(json.dumps([vars(one) for one in self.trace]), encoding="utf-8")
        aside.replace(self._folder / _JUDGED)

    def result(self) -> FittedNoise:
        best = min(self.trace, key=lambda one: one.valid_objective)
        return FittedNoise(self._best, best.epoch, best.valid_objective, tuple(self.trace))


class Asked:
    """A black box as an eye. forget: what is done once a search's state is safe: answers from before it are no longer needed."""

    def __init__(self, box: Callable[[Values], Values], name: str, forget: Callable[[], None] = lambda: None) -> None:
        self._box, self._name, self.forget = box, name, forget

    @property
    def digest(self) -> str:
        return f"black box {self._name}"

    def embed(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self._box(images[:, 0].cpu().numpy()))
