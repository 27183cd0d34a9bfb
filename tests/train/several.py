"""A program of its own, started by torchrun's variables: `python several.py FOLDER NAME…`, each NAME a case of CASES.

With WORLD_SIZE 2 the runs lie in FOLDER/NAME-2, else in FOLDER/NAME-1.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from cxrtrain.bundle import HeadTargets
from cxrtrain.config import AugmentConfig, DataConfig, HeadConfig, LoopConfig, ModelConfig, ObjectiveConfig, OptimConfig
from cxrtrain.loop import Request, train
from training import SIDE, Ground, experiment, ground, write_rows

from cxrdata.errors import CxrError

N, N_VALID = 29, 11  # neither is a multiple of the batch, nor of two
AGE = HeadTargets("age", "regression", "mse", ("age",), ("target_age",), mean=50.0, sd=10.0)
HEADS = (
    HeadConfig("heart", "binary", finding="cardiomegaly"),
    HeadConfig("age", "regression", attribute="age_years"),
)
_PLAIN = experiment(
    heads=HEADS,
    data=DataConfig(side=SIDE, groups=("g",)),
    augment=AugmentConfig(flip_p=0.5, affine_p=0.5, rotate_degrees=15.0),
    loop=LoopConfig(epochs=3, batch=8),
    optim=OptimConfig("sgd", lr=0.05, momentum=0.9, clip=1.0),
)
CASES = {
    "masked": _PLAIN,
    "group_dro": replace(_PLAIN, objective=ObjectiveConfig("group_dro", step_size=0.1)),
    "reweight": replace(_PLAIN, objective=ObjectiveConfig("reweight")),
    "in_turn": replace(_PLAIN, optim=replace(_PLAIN.optim, turns="in_turn")),
    "accumulated": replace(
        _PLAIN, optim=replace(_PLAIN.optim, accumulate=2, ema=0.5), loop=replace(_PLAIN.loop, batch=6)
    ),
    "frozen": replace(_PLAIN, model=ModelConfig(freeze="first:2")),
    # Running statistics are of what each process has seen: no curve to compare, but one model in the end.
    "batch_norm": replace(_PLAIN, model=ModelConfig("resnet10t"), data=replace(_PLAIN.data, side=SIDE)),
}


def place(folder: Path) -> Ground:
    """Two thirds of the targets are not known, so that a process may see none; groups with few images."""
    on = ground(folder, n=N, n_valid=N_VALID)
    heart = on.bundle.targets(on.bundle.heads[0])[:, 0]
    at = np.arange(len(heart))
    age = 50 + 10 * heart + at % 5
    heart[(at < N) & (at % 3 != 0)] = np.nan
    age[(at < N) & (at % 4 == 1)] = np.nan
    group = [None if one % 7 == 3 else one % 3 for one in at.tolist()]
    part = ["train"] * N + ["valid"] * N_VALID
    rows = write_rows(
        folder / "rows", {"target_heart": heart, "target_age": age}, part, heads=[*on.bundle.heads, AGE], group=group,
        groups=["a", "b", "c"],
    )  # fmt: skip
    return Ground(on.store, rows, _PLAIN)


def main() -> None:
    from cxrtrain.bundle import open_bundle

    folder, names = Path(sys.argv[1]), sys.argv[2:]
    torch.set_num_threads(1)
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), os.environ.get("RANK", "0")
    rows = open_bundle(folder / "rows")
    for name in names:
        poisoned = name == "not_finite"
        wish = CASES["masked"] if poisoned else CASES[name]
        wish = replace(wish, optim=replace(wish.optim, lr=1e30, clip=None)) if poisoned else wish
        out = folder / f"{name}-{world}"
        try:
            train(Request(wish, rows, folder / "store", out, device="cpu", tensorboard=False))
        except CxrError as error:
            (folder / f"{name}-{world}-{rank}.txt").write_text(error.code)


if __name__ == "__main__":
    main()
