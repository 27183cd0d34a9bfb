"""Random draws that meet published counts exactly, for the synthetic writers.

Counts published for a dataset are totals over images while several columns are
constant over a patient, so independent draws never meet them. These helpers do, and
give the same answer on every machine: all sorts are stable, all draws come from the
generator passed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]


def apportion(total: int, weights: Sequence[float] | Floats, *, at_least: int = 1) -> Ints:
    """Split `total` into whole parts in proportion to `weights` (largest remainder).

    Every part is `at_least` or more. Raises ValueError when `total` cannot give that.
    """
    shares = np.asarray(weights, dtype=np.float64)
    if total < at_least * len(shares):
        message = f"{total} cannot be split into {len(shares)} parts of at least {at_least}"
        raise ValueError(message)
    exact = total * shares / shares.sum()
    parts: Ints = np.floor(exact).astype(np.int64)
    order = np.argsort(parts - exact, kind="stable")
    parts[order[: total - parts.sum()]] += 1
    short = np.maximum(at_least - parts, 0)
    parts += short
    for _ in range(int(short.sum())):
        parts[int(np.argmax(parts))] -= 1
    return parts


def long_tail(groups: int, total: int, quantiles: Mapping[float, float], rng: np.random.Generator) -> Ints:
    """Sizes of `groups` groups that sum to `total`, each at least 1, in random order.

    `quantiles` gives the size at each cumulative share of groups; between them the
    logarithm of the size is interpolated.
    """
    at = (np.arange(groups) + 0.5) / groups
    logs = np.log(np.array(list(quantiles.values())))
    sizes = np.maximum(1, np.rint(np.exp(np.interp(at, list(quantiles), logs)))).astype(np.int64)
    while (gap := total - int(sizes.sum())) != 0:
        # The middle of the tail takes the difference: the many ones and the maximum are what is published.
        pool = np.flatnonzero(sizes >= 2)[:-1] if gap > 0 else np.flatnonzero(sizes >= 3)
        pool = pool if len(pool) else np.arange(groups)
        chosen = rng.permutation(pool)[: abs(gap)]
        sizes[chosen] += np.sign(gap)
    return rng.permutation(sizes)


def groups_totalling(sizes: Ints, target: int, rng: np.random.Generator, *, power: float = 0.0) -> Bools:
    """Choose whole groups whose `sizes` sum to `target`; True where a group is chosen.

    `power` prefers large groups (0 has no preference). Exact whenever enough groups of
    size 1 are left to fill the gap; otherwise the largest sum below `target` found.
    """
    key = rng.exponential(size=len(sizes)) / np.power(sizes, power)
    order = np.argsort(key, kind="stable")
    taken = np.zeros(len(sizes), dtype=np.bool_)
    taken[order[np.cumsum(sizes[order]) <= target]] = True
    gap = target - int(sizes[taken].sum())
    for group in order[~taken[order]]:
        if gap == 0:
            break
        if sizes[group] <= gap:
            taken[group] = True
            gap -= int(sizes[group])
    return taken


def top_scores(scores: Floats, count: int) -> Bools:
    """True at the `count` highest scores."""
    chosen = np.zeros(len(scores), dtype=np.bool_)
    chosen[np.argsort(-scores, kind="stable")[:count]] = True
    return chosen


def pick(candidates: Bools, count: int, rng: np.random.Generator) -> Ints:
    """Positions of up to `count` random candidates, in random order."""
    return rng.permutation(np.flatnonzero(candidates))[:count]


def order_within(groups: Ints) -> Ints:
    """0, 1, 2 … inside each run of equal values in `groups`."""
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    lengths = np.diff(np.r_[starts, len(groups)])
    return np.arange(len(groups)) - np.repeat(starts, lengths)


def distinct_label_sets(set_sizes: Ints, label_counts: Ints, rng: np.random.Generator) -> Bools:
    """Fill sets of the given sizes with labels so that each label is used exactly
    `label_counts` times and never twice in one set. Shape (sets, labels)."""
    owners = np.repeat(np.arange(len(set_sizes)), set_sizes)
    labels = rng.permutation(np.repeat(np.arange(len(label_counts)), label_counts))
    held = np.zeros((len(set_sizes), len(label_counts)), dtype=np.int64)
    np.add.at(held, (owners, labels), 1)
    _, first = np.unique(owners * len(label_counts) + labels, return_index=True)
    repeated = np.setdiff1d(np.arange(len(owners)), first)
    for slot in repeated:
        owner, label = owners[slot], labels[slot]
        while held[owner, label] > 1:
            other = int(rng.integers(len(owners)))
            owner2, label2 = owners[other], labels[other]
            if held[owner, label2] or held[owner2, label]:
                continue
            labels[slot], labels[other] = label2, label
            held[owner, label] -= 1
            held[owner, label2] += 1
            held[owner2, label2] -= 1
            held[owner2, label] += 1
    return held > 0
