"""An exact search for a placement of few units that gives every cell of every split its quota."""

from __future__ import annotations

from collections.abc import Sequence

Vector = tuple[tuple[int, int], ...]  # (cell, images) of one unit, sorted by cell


class Spent(Exception):  # noqa: N818 - no error: the search's budget is used up, and nothing is known
    """The search ended before it could tell."""


def cover(
    vectors: Sequence[Vector], plain: Sequence[int], cells: Sequence[int], quotas: Sequence[int], budget: list[int]
) -> list[int] | None:
    """The split of each unit such that split s has at least quotas[s] images in each of `cells`; None if there is none.

    vectors: what each unit brings, to other cells too. plain: the split that a unit goes to where either will do. budget: one number, the steps
    that are left; it is used up here. Raises Spent at its end.

    Depth first, large units before small ones. What is still needed is all that matters of the units placed so far, so a
    state that failed is not entered twice; one that needs more of a cell than the units ahead bring is left at once.
    """
    at = {cell: place for place, cell in enumerate(cells)}
    order = sorted(range(len(vectors)), key=lambda unit: (-sum(n for cell, n in vectors[unit] if cell in at), unit))
    local = [[(at[cell], n) for cell, n in vectors[unit] if cell in at] for unit in order]
    ahead = [[0] * len(cells)]
    for vector in reversed(local):
        left = list(ahead[-1])
        for cell, n in vector:
            left[cell] += n
        ahead.append(left)
    ahead.reverse()
    search = _Search(local, [plain[unit] for unit in order], ahead, len(quotas), budget)
    chosen = search.descend(0, tuple(quota for quota in quotas for _ in cells))
    if chosen is None:
        return None
    placed = list(plain)
    for unit, split in zip(order, reversed(chosen), strict=False):
        placed[unit] = split
    return placed


class _Search:
    def __init__(
        self,
        vectors: list[list[tuple[int, int]]],
        plain: list[int],
        ahead: list[list[int]],
        n_splits: int,
        budget: list[int],
    ) -> None:
        self.vectors = vectors
        self.plain = plain
        self.ahead = ahead
        self.n_splits = n_splits
        self.budget = budget
        self.failed: set[tuple[int, tuple[int, ...]]] = set()

    def descend(self, unit: int, needs: tuple[int, ...]) -> list[int] | None:
        """The splits of the units from `unit` on, last one first, as far as they are needed. needs: images by split and cell."""
        if not any(needs):
            return []
        n_cells = len(self.ahead[0])
        if (
            any(sum(needs[cell::n_cells]) > left for cell, left in enumerate(self.ahead[unit]))
            or (unit, needs) in self.failed
        ):
            return None
        self.budget[0] -= 1
        if self.budget[0] < 0:
            raise Spent
        tried = set()
        for split in (self.plain[unit], *(one for one in range(self.n_splits) if one != self.plain[unit])):
            after = list(needs)
            for cell, n in self.vectors[unit]:
                slot = split * n_cells + cell
                after[slot] = max(0, after[slot] - n)
            if (state := tuple(after)) in tried:
                continue
            tried.add(state)
            if (chosen := self.descend(unit + 1, state)) is not None:
                chosen.append(split)
                return chosen
        self.failed.add((unit, needs))
        return None
