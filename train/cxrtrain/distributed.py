"""One process or many: what torchrun says, and sums over all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


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
    """Join the other processes where torchrun started several. device: `cpu`, `cuda`, `cuda:1`; None: a GPU if there is one."""
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    said = device or ("cuda" if torch.cuda.is_available() else "cpu")
    chosen = torch.device(f"cuda:{local}") if said == "cuda" else torch.device(said)
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


def summed(value: Tensor) -> tuple[Tensor, int]:
    """The sum over all processes, without gradient where there are several, and how many they are."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return value.detach(), 1
    total = value.detach().clone()
    dist.all_reduce(total)
    return total, dist.get_world_size()


def gathered(rows: Tensor) -> list[Tensor]:
    """The tensors of all processes, in their order; they may differ in their first dimension."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [rows]
    world = dist.get_world_size()
    sizes = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(world)]
    dist.all_gather(sizes, torch.tensor([len(rows)], dtype=torch.int64, device=rows.device))
    most = max(int(size) for size in sizes)
    padded = torch.cat([rows, rows.new_zeros((most - len(rows), *rows.shape[1:]))])
    found = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(found, padded)
    return [one[: int(size)] for one, size in zip(found, sizes, strict=True)]


def agreed(word: bool, device: torch.device) -> bool:  # noqa: FBT001 - its one argument
    """Whether any process says so: all of them then do the same."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return word
    said = torch.tensor([int(word)], device=device)
    dist.all_reduce(said, op=dist.ReduceOp.MAX)
    return bool(said.item())
