"""Training speed beside what the device can do: `python -m benchmarks.train_gpu [--out DIR]`.

Needs numpy, pyarrow and torch, and timm or torchvision for their DenseNet-121; everything else it makes itself: a store of
random pictures, a bundle, and the same pictures as JPEG files. In one run, by batch size:

roof        the model on one batch that lies on the device: forward, backward, step; nothing else
resident    our trainer, all images in the device's memory; flip and affine on the device
prefetched  our trainer, images read ahead by a thread through pinned memory; the same augmentation
files       as published scripts do it: a file an image, torch's DataLoader with torchvision's transforms on the CPU, 32
            bits, not compiled
predict     our forward pass over a store in the device's memory

The roof has the trainer's own settings (bf16, channels_last, compiled, the same optimiser), taken from its code. Without a
GPU all of it runs on the CPU, where `resident` is read ahead too; `--smoke` is a tiny form for the tests.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from cxrtrain import assemble, pixels
from cxrtrain.bundle import Bundle
from cxrtrain.config import Experiment
from cxrtrain.config_file import experiment_of
from cxrtrain.distributed import Place, joined
from cxrtrain.forward import autocast, outputs_of
from cxrtrain.loop import Request, Trainer, train
from cxrtrain.models.net import build_net
from cxrtrain.optim import optimiser
from cxrtrain.records import EPOCHS
from torch import Tensor, nn

from benchmarks.train_data import Plan, file_of, make_data
from cxrdata.errors import CxrError

PARTS = ("roof", "resident", "prefetched", "files", "predict")
AIM, AIM_OF_ROOF = 4000, 0.95  # images a second on one H200, and the share of the roof


@dataclass(frozen=True)
class Result:
    """images_per_s: null where it could not be measured, `note` says why. of_roof: of the same batch size. waiting: share
    of its time that the trainer waited for images."""

    part: str
    batch: int
    images_per_s: float | None
    of_roof: float | None = None
    waiting: float | None = None
    note: str = ""


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table, and write train_gpu.json where asked."""
    said = _arguments(arguments)
    with tempfile.TemporaryDirectory(prefix="cxrdata-train-") as scratch:
        plan = _plan(said, Path(said.data or scratch))
        facts = machine(plan)
        print("\n".join(f"{name}: {value}" for name, value in facts.items()), flush=True)
        bundle = make_data(plan, files="files" in said.parts)
        results: list[Result] = []
        print(_row("part", "batch", "images/s", "of the roof", "waiting"), flush=True)
        for result in measure(plan, bundle, said.parts):
            results.append(result)
            print(_told(result), flush=True)
        print(aims(results), flush=True)
        text = _profile(plan, bundle) if said.profile else None
    if said.out:
        said.out.mkdir(parents=True, exist_ok=True)
        content = facts | {"plan": _plain(plan), "results": [asdict(result) for result in results]}
        (said.out / "train_gpu.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        if text:
            (said.out / "train_gpu_profile.txt").write_text(text, encoding="utf-8")
    elif text:
        print(text)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Training speed beside what the device can do.")
    parser.add_argument("--batches", type=_numbers, metavar="N,…", help="batch sizes; default 128,256,512")
    parser.add_argument("--parts", type=lambda text: tuple(text.split(",")), default=PARTS, metavar="NAME,…")
    parser.add_argument("--steps", type=int, help="steps of a timed round; default 60")
    parser.add_argument("--images", type=int, help="pictures in the store; default 16384")
    parser.add_argument("--workers", type=int, default=min(12, os.cpu_count() or 1), help="of the DataLoader")
    parser.add_argument("--backbone", help="as in an experiment; default DenseNet-121 of timm, else of torchvision")
    parser.add_argument("--device", help="default a GPU where there is one")
    parser.add_argument("--data", type=Path, metavar="DIR", help="make the store here, not in a temporary folder")
    out = os.environ.get("OUT")
    parser.add_argument("--out", type=Path, default=Path(out) if out else None, metavar="DIR", help="default $OUT")
    parser.add_argument("--profile", action="store_true", help="also what each step asks of the device, by operation")
    parser.add_argument("--smoke", action="store_true", help="tiny: only to see that it runs")
    said = parser.parse_args(arguments)
    if unknown := sorted(set(said.parts) - set(PARTS)):
        parser.error(f"no such part: {unknown[0]}; parts: {', '.join(PARTS)}")
    return said


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _plan(said: argparse.Namespace, folder: Path) -> Plan:
    wished = {name: getattr(said, name) for name in ("batches", "steps", "images") if getattr(said, name) is not None}
    if said.smoke:
        tiny: dict[str, Any] = {"batches": (4,), "images": 16, "side": 32, "steps": 2, "rounds": 1, "file_images": 8}
        return Plan(folder, said.backbone or "small", workers=0, device=said.device or "cpu", **(tiny | wished))
    backbone = said.backbone or usual_backbone()
    wished["file_images"] = min(Plan.file_images, wished.get("images", Plan.images))
    return Plan(folder, backbone, workers=said.workers, device=said.device, **wished)


def usual_backbone() -> str:
    """DenseNet-121 from what is installed. Raises SystemExit where neither library is."""
    for library, name in (("timm", "densenet121"), ("torchvision", "torchvision:densenet121")):
        if find_spec(library):
            return name
    raise SystemExit(
        "neither timm nor torchvision is here, whose DenseNet-121 is measured; or name one: --backbone small"
    )


def machine(plan: Plan) -> dict[str, str]:
    """Where, with what, and when."""
    with joined(plan.device) as place:
        cuda = place.device.type == "cuda"
        name = torch.cuda.get_device_name(place.device) if cuda else f"CPU, {torch.get_num_threads()} threads"
    facts = {"device": name, "date": datetime.now(tz=UTC).date().isoformat(), "python": platform.python_version()}
    for library in ("torch", "timm", "torchvision", "numpy", "pyarrow", "pillow"):
        try:
            facts[library] = version(library)
        except PackageNotFoundError:
            facts[library] = "not installed"
    if cuda:
        facts |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    facts |= {"cores": str(os.cpu_count()), "model": f"{plan.backbone}, {plan.side} by {plan.side}"}
    return facts


def _plain(plan: Plan) -> dict[str, Any]:
    """The plan without the folder, which says nothing of the measurement."""
    return {name: value for name, value in asdict(plan).items() if name != "folder"}


# What is measured.


def measure(plan: Plan, bundle: Bundle, parts: tuple[str, ...]) -> Iterator[Result]:
    """By batch size, each part in turn; one that does not fit or cannot be done is a result with a note."""
    runs: dict[str, Callable[[Plan, Bundle, int, Place], tuple[float, float | None]]] = {
        "roof": roof, "resident": resident, "prefetched": prefetched, "files": from_files, "predict": predict,
    }  # fmt: skip
    for batch in plan.batches:
        at_most: float | None = None
        for part in parts:
            with joined(plan.device) as place, _clean(place.device):
                try:
                    rate, waiting = runs[part](plan, bundle, batch, place)
                except (torch.OutOfMemoryError, CxrError, ImportError) as error:
                    yield Result(part, batch, None, note=str(error).splitlines()[0])
                    continue
            at_most = rate if part == "roof" else at_most
            # A forward pass alone has another roof.
            share = rate / at_most if at_most and part != "predict" else None
            yield Result(part, batch, rate, share, waiting)


@contextmanager
def _clean(device: torch.device) -> Iterator[None]:
    """Nothing that one part compiled or allocated is there for the next."""
    try:
        yield
    finally:
        torch.compiler.reset()
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def experiment(plan: Plan, batch: int) -> Experiment:
    """What is trained: a binary finding, Adam, the flip and affine of published scripts."""
    epochs = {"epochs": 1 + plan.rounds, "batch": batch, "seed": plan.seed}  # the first compiles and warms up
    return experiment_of(
        {
            "name": "benchmark",
            "heads": [{"name": "finding", "kind": "binary", "finding": "finding", "against": "all"}],
            # The last batch of an epoch is a smaller one, as always: what is compiled must not suffer from it.
            "data": {"side": plan.side, "images_per_epoch": batch * plan.steps + batch // 2},
            "input": {"normalise": "imagenet"},
            "model": {"backbone": plan.backbone},
            "augment": {
                "flip_p": 0.5, "affine_p": 0.5, "rotate_degrees": 15.0, "translate": 0.1, "zoom": [0.9, 1.1],
            },
            "loop": epochs,
        },
        where="benchmark",
    )  # fmt: skip


def _net(plan: Plan, bundle: Bundle, place: Place) -> nn.Module:
    wish = experiment(plan, 1)
    model: nn.Module = build_net(wish.model, bundle.heads, channels=wish.input.channels, side=plan.side)
    return model.to(place.device, memory_format=_layout(place.device))


def _layout(device: torch.device) -> torch.memory_format:
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def roof(plan: Plan, bundle: Bundle, batch: int, place: Place) -> tuple[float, float | None]:
    """The model on one batch, over and over."""
    wish, device = experiment(plan, batch), place.device
    assemble.numerics(wish, device)
    model = _net(plan, bundle, place)
    forward, _ = assemble.wrapped(model, wish, place)
    optim = optimiser(wish.optim, model.parameters(), device)
    images = torch.randn((batch, 3, plan.side, plan.side), device=device).contiguous(memory_format=_layout(device))
    asked = torch.randint(0, 2, (batch, 1), device=device).float()

    def step() -> None:
        with autocast(wish.loop.precision, device):
            made = forward(images)["finding"]
        nn.functional.binary_cross_entropy_with_logits(made.float(), asked).backward()
        optim.step()
        optim.zero_grad(set_to_none=True)

    model.train()
    return _rate(plan, batch, device, step), None


def _rate(plan: Plan, batch: int, device: torch.device, step: Callable[[], object]) -> float:
    """Images a second of a step, the median of the rounds, after one that compiles and warms up."""
    seconds = []
    for _ in range(1 + plan.rounds):
        _wait(device)
        started = time.perf_counter()
        for _ in range(plan.steps):
            step()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return batch * plan.steps / statistics.median(seconds[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def resident(plan: Plan, bundle: Bundle, batch: int, place: Place) -> tuple[float, float | None]:
    """Our trainer as it is; what its own epochs.csv says of all epochs but the first."""
    with tempfile.TemporaryDirectory(dir=plan.folder) as out:
        wish = experiment(plan, batch)
        train(Request(wish, bundle, plan.store, Path(out) / "run", device=str(place.device), tensorboard=False))
        with (Path(out) / "run" / EPOCHS).open(encoding="utf-8", newline="") as file:
            timed = list(csv.DictReader(file))[1:]
    rates = [float(row["images_per_s"]) for row in timed]
    return statistics.median(rates), statistics.median(float(row["waiting_share"]) for row in timed)


def prefetched(plan: Plan, bundle: Bundle, batch: int, place: Place) -> tuple[float, float | None]:
    """The same where the images are taken not to fit the device's memory."""
    with patch.object(pixels, "_SHARE", 0.0):
        return resident(plan, bundle, batch, place)


def predict(plan: Plan, bundle: Bundle, batch: int, place: Place) -> tuple[float, float | None]:
    """The forward pass over the whole store, as validation and prediction do it, results on the CPU."""
    model = _net(plan, bundle, place)
    with tempfile.TemporaryDirectory(dir=plan.folder) as out:
        request = Request(experiment(plan, batch), bundle, plan.store, Path(out) / "run", tensorboard=False)
        trainer = Trainer(request, place, lambda _: None, lambda _: None)
        rows = np.arange(len(bundle))
        there = pixels.Pixels(pixels.PixelStore(plan.store, bundle, side=plan.side), rows, place.device)
        seconds = []
        for _ in range(1 + plan.rounds):
            started = time.perf_counter()
            outputs_of(
                model, model, there, rows, inputs=trainer.inputs, batch=batch, precision="auto", place=place
            )  # fmt: skip
            seconds.append(time.perf_counter() - started)
    return len(rows) / statistics.median(seconds[1:]), None


class _Files(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """A file an image, opened and augmented when it is asked for."""

    def __init__(self, plan: Plan) -> None:
        from torchvision.transforms import v2

        self.paths = [file_of(plan, number) for number in range(plan.file_images)]
        self.change = v2.Compose(
            [
                v2.ToImage(),
                v2.RandomHorizontalFlip(0.5),
                v2.RandomApply([v2.RandomAffine(15, translate=(0.1, 0.1), scale=(0.9, 1.1))], 0.5),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        from PIL import Image

        with Image.open(self.paths[number]) as file:
            images: Tensor = self.change(file.convert("RGB"))
        return images, torch.tensor([float(number % 2)])


def from_files(plan: Plan, bundle: Bundle, batch: int, place: Place) -> tuple[float, float | None]:
    """As published scripts train; the waiting share is the time in which the loop waits for the loader."""
    device = place.device
    model = _net(plan, bundle, place).to(memory_format=torch.contiguous_format)
    optim = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(
        _Files(plan), batch, shuffle=True, drop_last=True, num_workers=plan.workers, pin_memory=device.type == "cuda"
    )
    model.train()
    done, waited, started = 0, 0.0, 0.0
    for epoch in range(1 + plan.rounds):
        if epoch == 1:  # the one before starts the workers and warms up
            done, waited, started = 0, 0.0, time.perf_counter()
        asked_at = time.perf_counter()
        for images, asked in loader:
            waited += time.perf_counter() - asked_at
            made = model(images.to(device))["finding"]
            loss = nn.functional.binary_cross_entropy_with_logits(made, asked.to(device))
            optim.zero_grad()
            loss.backward()
            optim.step()
            loss.item()  # as progress bars do
            done += batch
            asked_at = time.perf_counter()
    seconds = time.perf_counter() - started
    return done / seconds, waited / seconds


def aims(results: list[Result]) -> str:
    """The best of our trainer beside what is aimed at on one H200; empty where it was not measured."""
    ours = [one for one in results if one.part == "resident" and one.images_per_s is not None]
    if not ours:
        return ""
    best = max(ours, key=lambda one: one.images_per_s or 0.0)
    fast = (best.images_per_s or 0.0) >= AIM
    text = f"resident, at its best (batch {best.batch}): aim {AIM:,} images/s {'met' if fast else 'missed'}"
    if best.of_roof is not None:
        text += f"; {AIM_OF_ROOF:.0%} of the roof {'met' if best.of_roof >= AIM_OF_ROOF else 'missed'}"
    return text


def _profile(plan: Plan, bundle: Bundle) -> str:
    """What a few steps of our trainer ask of the device, by operation."""
    from torch.profiler import ProfilerActivity, profile

    with joined(plan.device) as place, tempfile.TemporaryDirectory(dir=plan.folder) as out:
        wish = experiment(plan, plan.batches[-1])
        request = Request(wish, bundle, plan.store, Path(out) / "run", tensorboard=False)
        trainer = Trainer(request, place, lambda _: None, lambda _: None)
        steps = trainer.feed.steps(0)
        images = trainer.pixels.batches([share.rows for step in steps for share in step])
        n = min(10, len(steps) // 2)
        for step in steps[:-n]:
            trainer._step(step, images)  # noqa: SLF001
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if place.device.type == "cuda" else [])]
        with profile(activities=kinds) as found:
            for step in steps[-n:]:
                trainer._step(step, images)  # noqa: SLF001
            _wait(place.device)
        images.close()
        order = "self_cuda_time_total" if place.device.type == "cuda" else "self_cpu_time_total"
        table = found.key_averages().table(sort_by=order, row_limit=60, max_name_column_width=70)
    return f"{n} steps of {plan.batches[-1]} images, {plan.backbone}\n{table}\n"


# What is told.


def _row(part: str, batch: object, rate: str, share: str, waiting: str) -> str:
    return f"{part:12s}{batch!s:>6s}{rate:>12s}{share:>14s}{waiting:>10s}"


def _told(result: Result) -> str:
    if result.images_per_s is None:
        return _row(result.part, result.batch, "-", "-", "-") + f"  {result.note}"
    share = "-" if result.of_roof is None else f"{result.of_roof:.1%}"
    waiting = "-" if result.waiting is None else f"{result.waiting:.1%}"
    return _row(result.part, result.batch, f"{result.images_per_s:,.0f}", share, waiting)


if __name__ == "__main__":
    main()
