"""A program of its own: trains in processes that are killed, and lets others go on. `python resuming.py FOLDER [SEED]`.

Torch is imported once, and each process is a fork of it, so that many cost little. Prints, as JSON, how each process ended and
the digests of what lies in its run. With a seed, processes are killed from outside, after 20 random times.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch._dynamo
import torch.utils.tensorboard
from cxrtrain import checkpoint, keeping, loop, start
from cxrtrain.cli import train as train_command
from cxrtrain.config import AugmentConfig, DataConfig, LoopConfig, ModelConfig, ObjectiveConfig, OptimConfig
from cxrtrain.config_file import to_toml
from training import SIDE, Ground, experiment, ground

from cxrdata.cli.main import run as run_command

# What a process would import is imported once.
_IMPORTED = (start, train_command, torch.utils.tensorboard, torch._dynamo)
COMPARED = ("steps.csv", "checkpoints/last.safetensors", "checkpoints/best.safetensors", "checkpoints/best.json")
STEPS_AN_EPOCH = 5


def place(folder: Path) -> Ground:
    n = 52
    on = ground(folder, group=[at % 3 for at in range(n)], groups=["a", "b", "c"])
    wish = experiment(
        data=DataConfig(side=SIDE, groups=("g",)),
        augment=AugmentConfig(flip_p=0.5, affine_p=0.5, rotate_degrees=15.0, mixup_alpha=0.4),
        model=ModelConfig(dropout=0.2),
        optim=OptimConfig(lr=0.02, schedule="plateau", factor=0.5, ema=0.8, clip=1.0),
        objective=ObjectiveConfig("group_dro"),
        loop=LoopConfig(epochs=4, batch=8, checkpoint_steps=3),
    )
    (folder / "tiny.toml").write_text(to_toml(wish))
    return replace(on, experiment=wish)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(owner: object, name: str, number: int, act: Callable[[], None], *, before: bool = False) -> None:
    """Let the so-and-so-manieth call of a function end in `act`, or begin with it."""
    function, count = getattr(owner, name), iter(range(1, 10**6))

    def instead(*arguments: object, **named: object) -> object:
        now = next(count) == number
        if now and before:
            act()
        result = function(*arguments, **named)
        if now and not before:
            act()
        return result

    setattr(owner, name, instead)


def half_a_file(number: int) -> None:
    """The so-and-so-manieth checkpoint is killed with half of its bytes written."""
    whole, count = checkpoint.save_file, iter(range(1, 10**6))

    def instead(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        whole(tensors, path, metadata=metadata)
        if next(count) == number:
            os.truncate(path, path.stat().st_size // 2)
            kill()

    checkpoint.save_file = instead  # type: ignore[assignment]


# Where a process is killed: within the second epoch, two steps after a checkpoint; and so on.
POINTS: dict[str, Callable[[], None]] = {
    "within an epoch": lambda: at_call(loop.Trainer, "_step", 8, kill),
    "right after a checkpoint": lambda: at_call(keeping.Keeper, "save_last", 4, kill),
    "between best and last": lambda: at_call(keeping.Keeper, "save_best", 2, kill),
    "while a checkpoint is written": lambda: half_a_file(5),
    "while validating": lambda: at_call(loop, "judge", 2, kill, before=True),
}
STOPS: dict[str, Callable[[], None]] = {
    "ctrl-c": lambda: at_call(loop.Trainer, "_step", 7, lambda: os.kill(os.getpid(), signal.SIGINT)),
    "sigterm": lambda: at_call(loop.Trainer, "_step", 9, lambda: os.kill(os.getpid(), signal.SIGTERM)),
    "ctrl-c while validating": lambda: at_call(loop, "judge", 1, lambda: os.kill(os.getpid(), signal.SIGINT)),
}


def child(folder: Path, out: Path, prepare: Callable[[], None], log: Path) -> int:
    """Begin `cxrdata train` in a process of its own; its id."""
    if process := os.fork():
        return process
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    code = 99
    try:
        prepare()
        code = run_command(
            ["train", str(folder / "tiny.toml"), "--bundle", str(folder / "bundle"), "--store", str(folder / "store"),
             "--out", str(out), "--device", "cpu", "--debug"]
        )  # fmt: skip
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def digests(out: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256((out / name).read_bytes()).hexdigest() if (out / name).is_file() else "missing"
        for name in COMPARED
    }


def state(out: Path) -> str:
    return str(json.loads((out / "run.json").read_text())["state"])


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    place(folder)
    log = folder / "log.txt"
    began = time.monotonic()
    said: dict[str, object] = {"unbroken": {"codes": [ended(child(folder, folder / "unbroken", lambda: None, log))]}}
    took = time.monotonic() - began
    said["unbroken"]["files"] = digests(folder / "unbroken")  # type: ignore[index]
    if len(sys.argv) > 2:
        draw = random.Random(int(sys.argv[2]))
        for number in range(20):
            out, codes = folder / f"random-{number}", []
            process = child(folder, out, lambda: None, log)
            time.sleep(draw.random() * took)
            os.kill(process, signal.SIGKILL)
            codes.append(ended(process))
            codes.append(ended(child(folder, out, lambda: None, log)))
            said[f"random {number}"] = {"codes": codes, "files": digests(out), "states": [state(out)]}
    else:
        for name, prepare in (POINTS | STOPS).items():
            out = folder / name.replace(" ", "-")
            first = ended(child(folder, out, prepare, log))
            states, there = [state(out)], digests(out)
            second = ended(child(folder, out, lambda: None, log))
            left = sorted(path.name for path in out.rglob("*.unfinished"))
            said[name] = {
                "codes": [first, second], "files": digests(out), "before": there, "states": [*states, state(out)],
                "left": left,
            }  # fmt: skip
    print(json.dumps(said))


if __name__ == "__main__":
    main()
