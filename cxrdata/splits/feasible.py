"""How many images every cell of every split can have alike while no patient is parted, and a placement that has them.

A unit (patient) brings a whole number of images to each of some cells. To be found is a split for each unit such that split
s has at least q_s(T) images in every cell, where q(T) are the whole numbers that follow the ratios (`Ratios.quotas`), and
the greatest T for which that can be done. It is bin covering with vectors, so there is no quick way that is always right.

The bound. No cell can keep more than it has, so T is at most the smallest cell's images. The linear relaxation, in which a
patient's images may be divided among the splits, reaches exactly that: give split s the part q_s(T)/T of every unit; then
it has q_s(T)/T of the images of each cell, and that is q_s(T) or more, as the cell has T or more. So no linear bound is
sharper, and where the bound is reached the result is proven to be the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cxrdata.splits.cover import Spent, Vector, cover
from cxrdata.splits.ratios import Ratios

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]

_SEARCHED_UNITS = 200  # more are not searched exactly
_BUDGET = 60_000  # steps of the exact search, over all T
_SWAPPED_UNITS = 5_000  # a cell with more units has enough small ones to need no exchange
_KINDS = 150  # of units of a cell and split, tried in exchanges


@dataclass(frozen=True)
class Packing:
    """Units and what they bring. unit, cell, images: one entry a unit and cell that it has images in, sorted by (unit, cell),
    numbered from 0. fraction: of each unit, in [0, 1), what places it by the hash alone."""

    unit: Numbers
    cell: Numbers
    images: Numbers
    fraction: NDArray[np.float64]
    n_cells: int

    @cached_property
    def supply(self) -> Numbers:
        """Images of each cell."""
        import numpy as np

        return np.bincount(self.cell, weights=self.images, minlength=self.n_cells).astype(np.int64)

    @cached_property
    def of_cell(self) -> list[Numbers]:
        """The units of each cell, ascending."""
        import numpy as np

        order = np.argsort(self.cell, kind="stable")
        ends = np.cumsum(np.bincount(self.cell, minlength=self.n_cells))
        return np.split(self.unit[order], ends[:-1])

    @cached_property
    def vectors(self) -> _Vectors:
        return _Vectors(self)

    @cached_property
    def linked(self) -> list[list[int]]:
        """Groups of cells that share units, directly or through others: what happens in one has no effect on another."""
        import numpy as np

        same = self.unit[1:] == self.unit[:-1]
        pairs = np.unique(np.stack([self.cell[:-1][same], self.cell[1:][same]], axis=1), axis=0)
        group = list(range(self.n_cells))
        for first, second in pairs.tolist():
            old, new = sorted((group[first], group[second]))
            group = [old if one == new else one for one in group]
        return [[cell for cell in range(self.n_cells) if group[cell] == one] for one in sorted(set(group))]

    def plain(self, ratios: Ratios) -> Numbers:
        """The split of each unit by the hash alone."""
        import numpy as np

        return np.searchsorted(np.array(ratios.bounds[:-1]), self.fraction, side="right").astype(np.int64)


class _Vectors:
    """The images of a unit by cell, as Python numbers."""

    def __init__(self, packing: Packing) -> None:
        import numpy as np

        self._ends = [0, *np.cumsum(np.bincount(packing.unit, minlength=packing.fraction.size)).tolist()]
        self._cell: list[int] = packing.cell.tolist()
        self._images: list[int] = packing.images.tolist()

    def __getitem__(self, unit: int) -> Vector:
        start, end = self._ends[unit], self._ends[unit + 1]
        return tuple(zip(self._cell[start:end], self._images[start:end], strict=True))


@dataclass(frozen=True)
class Packed:
    """place: the split of each unit, numbered as in the ratios. kept: T, the images that every cell keeps over all splits.
    bound: what T cannot exceed. proven: no placement has a greater T, because the bound is reached or all were searched."""

    place: Numbers
    kept: int
    bound: int
    proven: bool


def pack(packing: Packing, ratios: Ratios) -> Packed:
    """The greatest T that is found, and a placement for it that moves few units away from the hash's, those nearest to the
    border of the split they go to. There must be at least one cell.

    Above what repairing the hash's placement reaches, every T is searched exactly while the number of steps allows it, so
    on small inputs T is the greatest there is. All choices follow the numbers of units: same input, same result.
    """
    bound = int(packing.supply.min())
    kept, place = _climb(packing, ratios, bound)
    proven = True
    budget = [_BUDGET]
    refused: list[tuple[int, ...]] = []
    for images in range(kept + 1, bound + 1):
        quotas = ratios.quotas(images)
        # More images in all can mean fewer for one split, so a larger T is refused only where no split asks for less.
        if any(all(more >= less for more, less in zip(quotas, one, strict=True)) for one in refused):
            continue
        try:
            found = _searched(packing, ratios, quotas, budget)
        except Spent:
            proven = False
            break
        if found is None:
            refused.append(quotas)
        else:
            kept, place = images, found.place
    return Packed(place, kept, bound, proven)


def _climb(packing: Packing, ratios: Ratios, bound: int) -> tuple[int, Numbers]:
    """A T that repairing reaches, close to the greatest such: downwards from the bound in doubling steps, then between."""
    low, place = 0, packing.plain(ratios)
    high, step = bound, 1
    while high > low:
        if (found := repaired(packing, ratios, ratios.quotas(high))) is not None:
            low, place = high, found.place
            break
        high, step = max(high - step, 0), 2 * step
    upper = min(bound + 1, high + max(step // 2, 1))
    while upper - low > 1:
        middle = (low + upper) // 2
        if (found := repaired(packing, ratios, ratios.quotas(middle))) is not None:
            low, place = middle, found.place
        else:
            upper = middle
    return low, place


def repaired(packing: Packing, ratios: Ratios, quotas: Sequence[int]) -> Placement | None:
    """The hash's placement, changed until every cell of every split has its quota; None where that is not reached."""
    placement = Placement(packing, ratios, quotas)
    return placement if placement.repair() else None


def _searched(packing: Packing, ratios: Ratios, quotas: Sequence[int], budget: list[int]) -> Placement | None:
    """A placement with these quotas, or None if there is none. Raises Spent where the budget does not suffice to tell.

    What is still lacking after repairing is searched alone first: often that shows already that there is no placement, or
    leaves little to repair in the other cells. Then all cells are searched that share units with one that lacks.
    """
    placement = Placement(packing, ratios, quotas)
    if placement.repair():
        return placement
    for whole in (False, True):
        for cells in packing.linked:
            lacking = [cell for cell in cells if any(placement.lacks(split, cell) for split in range(len(quotas)))]
            if lacking and not _settle(placement, cells if whole else lacking, budget):
                return None
        if placement.repair():
            return placement
    raise AssertionError("a search of all linked cells leaves nothing lacking")


def _settle(placement: Placement, cells: Sequence[int], budget: list[int]) -> bool:
    """Place the units of some cells so that nothing lacks in these; False if that cannot be done. Raises Spent."""
    packing = placement.packing
    units = sorted({unit for cell in cells for unit in packing.of_cell[cell].tolist()})
    if len(units) > _SEARCHED_UNITS:
        raise Spent
    vectors = [packing.vectors[unit] for unit in units]
    found = cover(vectors, placement.plain[units].tolist(), cells, placement.quotas, budget)
    if found is None:
        return False
    for unit, split in zip(units, found, strict=True):
        placement.move(unit, split)
    return True


class Placement:
    """Units in splits, starting where the hash puts them, and what each split lacks of its quotas."""

    def __init__(self, packing: Packing, ratios: Ratios, quotas: Sequence[int]) -> None:
        import numpy as np

        self.packing = packing
        self.ratios = ratios
        self.quotas = list(quotas)
        self.plain = packing.plain(ratios)
        self.place = self.plain.copy()
        slots = self.place[packing.unit] * packing.n_cells + packing.cell
        have = np.bincount(slots, weights=packing.images, minlength=len(quotas) * packing.n_cells)
        self.have: list[list[int]] = have.astype(np.int64).reshape(len(quotas), packing.n_cells).tolist()

    def lacks(self, split: int, cell: int) -> int:
        """Images that a cell of a split is short of."""
        return max(0, self.quotas[split] - self.have[split][cell])

    def repair(self) -> bool:
        """Move units until nothing lacks. Every move lessens what lacks in all, so it ends. Whether it was reached."""
        cells = sorted(range(self.packing.n_cells), key=lambda cell: (int(self.packing.supply[cell]), cell))
        slots = [(split, cell) for cell in cells for split in range(len(self.quotas))]
        if any(sum(self.quotas) > supply for supply in self.packing.supply.tolist()):
            return False
        while lacking := [slot for slot in slots if self.lacks(*slot)]:
            changed = [self._fill(*slot) for slot in lacking]
            if not any(changed) and not any(self._exchange(*slot) for slot in lacking if self.lacks(*slot)):
                return False
        self.undo()
        return True

    def _fill(self, split: int, cell: int) -> bool:
        """Take units from splits that have more of the cell than they need, the nearest to the border first."""
        import numpy as np

        changed = False
        units = self.packing.of_cell[cell]
        donors = self._donors(split, cell)
        units = units[np.isin(self.place[units], donors)]
        for unit in units[np.lexsort((units, self._distance(units, split)))].tolist():
            if not self.lacks(split, cell) or not donors:
                break
            if self.place[unit] in donors and self._gain(((unit, split),)) > 0:
                self.move(unit, split)
                changed = True
                donors = self._donors(split, cell)
        return changed

    def _donors(self, split: int, cell: int) -> list[int]:
        return [one for one, quota in enumerate(self.quotas) if one != split and self.have[one][cell] > quota]

    def _distance(self, units: Numbers, split: int) -> NDArray[np.float64]:
        """How far the fractions of units lie outside a split's part of [0, 1)."""
        import numpy as np

        ends = (0.0, *self.ratios.bounds)
        fraction = self.packing.fraction[units]
        return np.maximum(np.maximum(ends[split] - fraction, fraction - ends[split + 1]), 0.0)

    def _exchange(self, split: int, cell: int) -> bool:
        """Exchange a unit of the cell for a smaller one of another split, the pair by which the least lacks afterwards."""
        if len(self.packing.of_cell[cell]) > _SWAPPED_UNITS or not self.lacks(split, cell):
            return False
        kinds: list[dict[Vector, int]] = [{} for _ in self.quotas]
        for unit in self.packing.of_cell[cell].tolist():
            of_split = kinds[self.place[unit]]
            if len(of_split) < _KINDS:
                of_split.setdefault(self.packing.vectors[unit], unit)
        pairs = [
            (self._gain(((given, split), (back, other))), -given, -back, other)
            for other in range(len(self.quotas))
            if other != split
            for given in kinds[other].values()
            for back in kinds[split].values()
        ]
        best = max(pairs, default=(0, 0, 0, 0))
        if best[0] <= 0:
            return False
        self.move(-best[1], split)
        self.move(-best[2], best[3])
        return True

    def _gain(self, moves: Sequence[tuple[int, int]]) -> int:
        """By how many images less would lack after the moves (unit, split)."""
        change: dict[tuple[int, int], int] = {}
        for unit, split in moves:
            here = int(self.place[unit])
            for cell, n in self.packing.vectors[unit]:
                change[here, cell] = change.get((here, cell), 0) - n
                change[split, cell] = change.get((split, cell), 0) + n
        gain = 0
        for (split, cell), n in change.items():
            left = self.quotas[split] - self.have[split][cell]
            gain += max(0, left) - max(0, left - n)
        return gain

    def move(self, unit: int, split: int) -> None:
        """Put a unit into a split."""
        here = int(self.place[unit])
        for cell, n in self.packing.vectors[unit]:
            self.have[here][cell] -= n
            self.have[split][cell] += n
        self.place[unit] = split

    def undo(self) -> None:
        """Put units back where the hash has them wherever nothing lacks afterwards, the furthest first."""
        away = (self.place != self.plain).nonzero()[0]
        far = {
            unit: float(self._distance(away[at : at + 1], int(self.place[unit]))[0])
            for at, unit in enumerate(away.tolist())
        }
        for unit in sorted(far, key=lambda one: (-far[one], one)):
            if self._gain(((unit, int(self.plain[unit])),)) >= 0:
                self.move(unit, int(self.plain[unit]))
