"""One process or many: what torchrun says, and sums over all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cxrdata.errors import CxrError
from cxrdata.wording import counted


@dataclass(frozen=True)
class Place:
    """Which of how many processes this is, and the device it works on."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """The one that writes and talks."""
        return self.rank == 0


@contextmanager
def joined(device: str | None = None) -> Iterator[Place]:
    """Join the other processes where torchrun started several. device: `cpu`, `cuda`, `cuda:1`; None: a GPU if there is one.

    Raises CxrError CXR-502: no such device here.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = _device(device, local)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world == 1:
        yield Place(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Place(rank, world, chosen)
    finally:
        dist.destroy_process_group()


def _device(said: str | None, local: int) -> torch.device:
    """The device that was named, if it is there."""
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if said is None:
        said = "cuda" if there else "cpu"
    kind, _, number = said.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise CxrError("CXR-502", f"there is no device {said!r}", where="--device", fix="cpu, cuda, or cuda:1")
    if kind == "cpu":
        return torch.device("cpu")
    wanted = int(number or local)
    if wanted >= there:
        problem = f"torch sees {counted(there, 'GPU')} here, and cuda:{wanted} is asked for"
        fix = "--device cpu, or a torch that fits the machine's driver" if not there else f"cuda:0 to cuda:{there - 1}"
        raise CxrError("CXR-502", problem, where="--device", fix=fix)
    return torch.device("cuda", wanted)


def processes() -> int:
    """How many work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def summed(value: Tensor) -> Tensor:
    """The sum over all processes, without gradient."""
    total = value.detach()
    if processes() > 1:
        total = total.clone()
        dist.all_reduce(total)
    return total


@torch.no_grad()
def same_buffers(model: nn.Module) -> None:
    """Give all processes the first one's buffers: running statistics are of what each has seen, and one model is judged."""
    if processes() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def gathered(rows: Tensor) -> list[Tensor]:
    """The tensors of all processes, in their order; they may differ in their first dimension."""
    world = processes()
    if world == 1:
        return [rows]
    sizes = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(world)]
    dist.all_gather(sizes, torch.tensor([len(rows)], dtype=torch.int64, device=rows.device))
    most = max(int(size) for size in sizes)
    padded = torch.cat([rows, rows.new_zeros((most - len(rows), *rows.shape[1:]))])
    found = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(found, padded)
    return [one[: int(size)] for one, size in zip(found, sizes, strict=True)]


def agreed(word: bool, device: torch.device) -> bool:  # noqa: FBT001 - its one argument
    """Whether any process says so: all of them then do the same."""
    if processes() == 1:
        return word
    said = torch.tensor([int(word)], device=device)
    dist.all_reduce(said, op=dist.ReduceOp.MAX)
    return bool(said.item())
