"""The draws of one dataset's images: by the three steps of Glocker et al. 2023, or exactly.

Chance comes from a keyed generator, and every choice is made with whole numbers or one rounded product, so that the draws are
the same on any machine and in any version of NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.splits.keyed import DRAW, keyed_numbers
from cxrdata.splits.ratios import Ratios

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]

_FEW = 3


@dataclass(frozen=True)
class NumberedImages:
    """One dataset's images as numbers: `group` of each image; `prefix[j]`, its combination of the first j match attributes
    (prefix[0] is 0 throughout). The tables say which attributes' values a number stands for, in sorted order."""

    name: str
    rows: pl.DataFrame
    group: Numbers
    groups: pl.DataFrame
    prefix: list[Numbers]
    combinations: list[pl.DataFrame]

    @property
    def size(self) -> int:
        return self.rows.height

    def counts(self, depth: int) -> Numbers:
        """Images by group and combination of the first `depth` match attributes, shape (groups, combinations)."""
        import numpy as np

        width = max(self.combinations[depth].height, 1)
        flat = np.bincount(self.group * width + self.prefix[depth], minlength=self.groups.height * width)
        return flat.reshape(self.groups.height, width)


def numbered(rows: pl.DataFrame, balance: Sequence[str], match: Sequence[str]) -> NumberedImages:
    """The images of one dataset, sorted by key, all attributes known."""
    import numpy as np

    group, groups = _codes(rows, balance)
    coded = [_codes(rows, match[: depth + 1]) for depth in range(len(match))]
    nothing = np.zeros(rows.height, dtype=np.int64)
    return NumberedImages(
        rows["dataset"][0],
        rows,
        group,
        groups,
        [nothing, *(codes for codes, _ in coded)],
        [pl.DataFrame(), *(table for _, table in coded)],
    )


def _codes(rows: pl.DataFrame, names: Sequence[str]) -> tuple[Numbers, pl.DataFrame]:
    """The number of each row's combination of values, and the combinations, sorted."""
    table = rows.select(names).unique().sort(names)
    joined = rows.select(names).join(table.with_row_index("_code"), on=names, how="left", maintain_order="left")
    return joined["_code"].cast(pl.Int64).to_numpy(), table


# The three steps.


def drawn_in_steps(dataset: NumberedImages, factor: float, seed: int) -> Numbers:
    """How often each image is drawn by the steps of the paper."""
    import numpy as np

    total = _rounded(factor * dataset.size)
    if total < 1:
        raise CxrError(
            "CXR-502",
            f"a factor of {factor:g} draws nothing from {dataset.size:,} images",
            fix="name a larger --factor",
        )
    drawn = _draw_groups(dataset, total, seed)
    for depth in range(1, len(dataset.prefix)):
        drawn = _redraw(dataset, drawn, depth, seed)
    return np.bincount(drawn, minlength=dataset.size).astype(np.int64)


def _draw_groups(dataset: NumberedImages, total: int, seed: int) -> Numbers:
    """Step one: rows weighted by one over their group's share, that is any group, then any of its images."""
    import numpy as np

    order = np.argsort(dataset.group, kind="stable")
    sizes = np.bincount(dataset.group, minlength=dataset.groups.height)
    starts = np.cumsum(sizes) - sizes
    numbers = uniform(f"{DRAW}|{seed}|{dataset.name}|0", 2 * total)
    group = (numbers[:total] * dataset.groups.height).astype(np.int64)
    drawn: Numbers = order[starts[group] + (numbers[total:] * sizes[group]).astype(np.int64)]
    return drawn


def _redraw(dataset: NumberedImages, drawn: Numbers, depth: int, seed: int) -> Numbers:
    """A further step: within each group and combination of the match attributes before, draw as many rows again, so that the
    values of match attribute `depth` have the whole dataset's chances given those before.

    Weighting a row by p_all(value) / p_cell(value) is to choose a value by p_all among those drawn in the cell, and then any
    of its rows; so no weight is ever rounded.
    """
    import numpy as np

    reference = dataset.counts(depth).sum(axis=0)
    width = len(dataset.combinations[depth - 1]) or 1
    cell = dataset.group[drawn] * width + dataset.prefix[depth - 1][drawn]
    order = np.lexsort((drawn, dataset.prefix[depth][drawn], cell))
    drawn, cell = drawn[order], cell[order]
    again = np.empty_like(drawn)
    for start, end in _runs(cell):
        values = dataset.prefix[depth][drawn[start:end]]
        runs = np.array(_runs(values), dtype=np.int64)
        ends = np.cumsum(reference[values[runs[:, 0]]])
        first = drawn[start]
        of_cell = said(_named(dataset, int(dataset.group[first]), depth - 1, int(dataset.prefix[depth - 1][first])))
        numbers = uniform(f"{DRAW}|{seed}|{dataset.name}|{depth}|{of_cell}", 2 * (end - start))
        chosen = runs[np.searchsorted(ends, (numbers[: end - start] * ends[-1]).astype(np.int64), side="right")]
        again[start:end] = drawn[
            start + chosen[:, 0] + (numbers[end - start :] * (chosen[:, 1] - chosen[:, 0])).astype(np.int64)
        ]
    return again


def _runs(values: Numbers) -> list[tuple[int, int]]:
    """First and one past last place of each run of equal numbers."""
    import numpy as np

    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return list(pairwise(edges))


def uniform(text: str, n: int) -> NDArray[np.float64]:
    """`n` numbers in [0, 1) that depend on the text alone: the first 53 bits of each word of Philox4x64-10 (Salmon et al.,
    Parallel random numbers: as easy as 1, 2, 3, SC 2011), keyed by the first 128 bits of the text's SHA-256, counting blocks from 1.
    The generator is defined by its paper; nothing of NumPy's own choices (seeding, distributions) has a part in it."""
    import numpy as np

    key = int.from_bytes(sha256(text.encode()).digest()[:16])
    words: NDArray[np.uint64] = np.random.Philox(key=key).random_raw(n)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def empty_cells(dataset: NumberedImages) -> list[str]:
    """What to say of cells that no draw can reach."""
    depth = len(dataset.prefix) - 1
    empty = dataset.counts(depth) == 0
    return [f"{_without_image(dataset, empty)}; their draws went to other values"] if empty.any() else []


def _without_image(dataset: NumberedImages, empty: NDArray[np.bool_]) -> str:
    """empty: shape (groups, combinations)."""
    depth = len(dataset.prefix) - 1
    cells = [said(_named(dataset, int(group), depth, int(cell))) for group, cell in zip(*empty.nonzero(), strict=True)]
    more = f" and {len(cells) - _FEW:,} more" if len(cells) > _FEW else ""
    return f"{dataset.name}: {len(cells):,} of {empty.size:,} cells without any image: {'; '.join(cells[:_FEW])}{more}"


# The exact variant.


def drawn_exactly(dataset: NumberedImages, factor: float, seed: int) -> Numbers:
    """How often each image is drawn where every cell hits its target within one."""
    import numpy as np

    each = _rounded(factor * dataset.size / dataset.groups.height)
    if each < 1:
        raise CxrError(
            "CXR-502",
            f"a factor of {factor:g} gives no draw to each of {dataset.groups.height} groups",
            fix="name a larger --factor",
        )
    depth = len(dataset.prefix) - 1
    targets = _targets(dataset, depth, each)
    counts = dataset.counts(depth)
    if (lacking := _lacking(dataset, depth, each)).any():
        raise _refused(dataset, lacking, each)
    cell = dataset.group * counts.shape[1] + dataset.prefix[depth]
    numbers = keyed_numbers(DRAW, seed, dataset.rows["dataset"], dataset.rows["image_id"]).to_numpy()
    order = np.lexsort((np.arange(dataset.size), numbers, cell))
    sizes = counts.ravel()
    place = np.empty(dataset.size, dtype=np.int64)
    place[order] = np.arange(dataset.size) - (np.cumsum(sizes) - sizes)[cell[order]]
    wanted = np.tile(targets, dataset.groups.height)[cell]
    n_draws: Numbers = wanted // sizes[cell] + (place < wanted % sizes[cell])
    return n_draws


def _targets(dataset: NumberedImages, depth: int, each: int) -> Numbers:
    """The draws of each combination of the first `depth` match attributes in every group: whole numbers that sum to `each`
    and follow the whole dataset's shares."""
    import numpy as np

    shares = [int(n) for n in dataset.counts(depth).sum(axis=0)]
    return np.array(Ratios(tuple(map(str, range(len(shares)))), tuple(map(float, shares))).quotas(each), dtype=np.int64)


def _lacking(dataset: NumberedImages, depth: int, each: int) -> NDArray[np.bool_]:
    """Cells that need draws and have no image, shape (groups, combinations)."""
    lacking: NDArray[np.bool_] = (dataset.counts(depth) == 0) & (_targets(dataset, depth, each) > 0)
    return lacking


def _refused(dataset: NumberedImages, lacking: NDArray[np.bool_], each: int) -> CxrError:
    depth = len(dataset.prefix) - 1
    possible = next(one for one in range(depth - 1, -1, -1) if not _lacking(dataset, one, each).any())
    match = dataset.combinations[depth].columns[:possible]
    ways = [f"match {', '.join(match)} alone" if match else "match nothing"]
    whole = [" ".join(dataset.groups.row(at)) for at in range(dataset.groups.height) if not lacking[at].any()]
    if len(whole) > 1:
        ways.append(f"keep only the groups that have all cells ({', '.join(whole)})")
    ways.append("leave exact out, then their draws go to other values")
    return CxrError("CXR-410", _without_image(dataset, lacking), fix="; or ".join(ways))


def _named(dataset: NumberedImages, group: int, depth: int, cell: int) -> dict[str, str]:
    """The attributes' values of a cell."""
    of_group = dataset.groups.row(group, named=True)
    return of_group | (dataset.combinations[depth].row(cell, named=True) if depth else {})


def said(cell: dict[str, str]) -> str:
    """A cell in words."""
    return ", ".join(f"{name} {value}" for name, value in cell.items())


def _rounded(value: float) -> int:
    return math.floor(value + 0.5)
