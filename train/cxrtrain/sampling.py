"""Which images an epoch shows, and in which order. Everything follows from (seed, epoch), so nothing of it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrdata.errors import CxrError
from cxrtrain.bundle import Bundle, HeadTargets
from cxrtrain.config import Experiment

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ORDER, _STEP = 1, 2  # what a stream of random numbers is for


def stream(seed: int, *at: int) -> np.random.Generator:
    """Random numbers of one place of a run; those of other places say nothing of them."""
    return np.random.default_rng([seed, *at])


def step_seed(seed: int, epoch: int, step: int) -> int:
    """For a batch's augmentation, MixUp and dropout."""
    return int(stream(seed, _STEP, epoch, step).integers(2**62))


def epoch_order(
    rows: NDArray[np.int64], weights: NDArray[np.float64] | None, *, seed: int, epoch: int, n: int | None = None
) -> NDArray[np.int64]:
    """The rows of an epoch: all of them shuffled, or, with weights, n (as many as there are) drawn with replacement."""
    random = stream(seed, _ORDER, epoch)
    if weights is not None:
        chance = np.cumsum(weights / weights.sum())
        drawn = np.searchsorted(chance, random.random(n or len(rows)) * chance[-1], side="right")
        chosen: NDArray[np.int64] = rows[np.minimum(drawn, len(rows) - 1)]
        return chosen
    order: NDArray[np.int64] = random.permutation(rows)
    if n is None:
        return order
    return np.concatenate([order, *(random.permutation(rows) for _ in range(n // len(rows)))])[:n]


def sampling_weights(experiment: Experiment, bundle: Bundle, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """The chance of each row relative to the others, or None where all come once.

    `class_balanced`: 1 / images of the row's class, of the first head. `group_balanced`: 1 / images of its group; images of
    no known class or group never come. The split's own weights count in both, and alone with `shuffle`. Raises CxrError: CXR-152 no known group, CXR-505 a head
    without classes.
    """
    own = bundle.weight[rows]
    weighted = bool((own != 1).any())
    how = experiment.data.sampling
    if how == "shuffle":
        return own if weighted else None
    if how == "class_balanced":
        return own * _inverse(_classes(bundle, bundle.heads[0])[rows])
    found = own * _inverse(bundle.group[rows])
    if not found.any():
        raise CxrError("CXR-152", "no training image is of a known group", where="data.groups", fix="name other groups")
    return found


def _classes(bundle: Bundle, head: HeadTargets) -> NDArray[np.int64]:
    if head.kind not in ("binary", "classes"):
        fix = "use sampling = group_balanced, or weights of the split"
        raise CxrError("CXR-505", f"head {head.name!r} is {head.kind}: it has no classes to balance", fix=fix)
    said = bundle.targets(head)[:, 0]
    return np.where(np.isnan(said), -1, said).astype(np.int64)


def _inverse(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 / how many have the same number; 0 for -1."""
    counts = np.bincount(numbers[numbers >= 0], minlength=1)
    return np.where(numbers >= 0, 1.0 / np.maximum(counts, 1)[np.maximum(numbers, 0)], 0.0)


@dataclass(frozen=True)
class Share:
    """A process's share of a batch: its rows, where they begin in the batch, and the rows of the whole batch."""

    rows: NDArray[np.int64]
    start: int
    batch: NDArray[np.int64]

    @property
    def total(self) -> int:
        """Images of the whole batch."""
        return len(self.batch)


def batches(order: NDArray[np.int64], size: int, *, rank: int = 0, world: int = 1) -> list[Share]:
    """The order cut into batches of `size` over all processes; of each, the share of one process.

    The last batch is what is left; one with fewer rows than processes is left out, since a process would stand still.
    """
    shares = []
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        if len(batch) >= world:
            parts = np.array_split(batch, world)
            shares.append(Share(parts[rank], sum(len(part) for part in parts[:rank]), batch))
    return shares
