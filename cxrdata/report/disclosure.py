"""Small counts are masked, and so much beside them that none follows from a total.

A count of 1 to min_cell - 1 persons is masked, whether it is given in persons or in images; nobody (0) is shown, since it
says something of no one. In a dataset without patient ids the image stands for the person. A masked count that is the only
one in its row would follow from the row's total, so others are masked with it (secondary suppression), the smallest that
serve. All masked counts look alike: which were small, and which only hide them, is not told.

The counts of a table and their totals are a network: each count is an edge between the sums in which it takes part. A count
can be another one, all that is shown being equal, exactly when its edge lies on a cycle of masked edges along which every
count can move by the same amount, none below 1. So the search for what to mask beside is a search for the cheapest cycle
(Cox 1980, doi:10.1080/01621459.1980.10477481; Kelly et al. 1992, doi:10.1002/net.3230220407), exact for tables of one or
two dimensions with totals, and for trees of subtotals.

A large count that had to be masked to hide a small one would take with it what readers need most, so its share may still be
told, rounded so coarsely that the count can move as far as the masking needs (`rounded_share`).

A number whose whole differs a little from one that another table gives would tell the difference, which may be small. Such
tables are secondary: their wholes are told roughly (`about`), their percentages in steps (`coarse_share`), so that no
difference of fewer than min_cell follows.

What it does not do: two splits that differ by few patients are masked each for itself, not against their difference.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cxrdata.small_cells import MIN_CELL

MASKED = "masked"
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of percentages that are told coarsely
_GROUND = -1  # what a count is joined to where it takes part in fewer than two sums


class Count(NamedTuple):
    """How many images, and of how many persons they are."""

    images: int
    persons: int


class Sum(NamedTuple):
    """`total` is the sum of `parts`; all are keys of counts."""

    total: Hashable
    parts: Sequence[Hashable]


class _Edge(NamedTuple):
    tail: int
    head: int


@dataclass(frozen=True)
class _Effort:
    """How far a search goes: by how much a masked count must be able to move, how low it may, and what more may be masked."""

    move: int
    floor: int = 1
    more: bool = True
    zeros: bool = False
    totals: bool = False


def table_sums(rows: Sequence[Hashable], columns: Sequence[Hashable], total: Hashable = "all") -> list[Sum]:
    """The sums of a table whose counts have the keys (row, column), its totals (row, total), (total, column)."""
    by_row = [Sum((row, total), [(row, column) for column in columns]) for row in rows]
    by_column = [Sum((total, column), [(row, column) for row in rows]) for column in columns]
    margin = [
        Sum((total, total), [(row, total) for row in rows]),
        Sum((total, total), [(total, column) for column in columns]),
    ]
    return [*by_row, *by_column, *margin]


def masked(
    counts: Mapping[Hashable, Count],
    sums: Sequence[Sum],
    *,
    min_cell: int = MIN_CELL,
    hidden: Iterable[Hashable] = (),
    shown: Iterable[Hashable] = (),
) -> set[Hashable]:
    """The keys of the counts to mask.

    hidden: counts masked in another table, to be masked here too. shown: counts that stand in another table and so are no
    use to hide others. A key that a sum names and `counts` lacks is nobody.
    """
    whole = {key: Count(0, 0) for one in sums for key in (one.total, *one.parts)} | dict(counts)
    found = {key for key, count in whole.items() if 0 < count.persons < min_cell}
    found |= {key for key in hidden if key in whole and whole[key].persons}
    if not found:
        return set()
    network = _Network(whole, _edges(whole, sums), found, set(shown) - found)
    # Small counts side by side hide one another; one alone is hidden behind counts that can move as far as it could.
    efforts = (
        _Effort(1, more=False),
        _Effort(max(1, min_cell - 1)),
        _Effort(1),
        _Effort(1, floor=0, zeros=True),
        _Effort(1, totals=True),
    )
    for key in sorted(found, key=lambda key: (whole[key].persons, str(key))):
        for effort in efforts:
            if network.protect(key, effort):
                break
    return network.found


def rounded_share(
    told: Callable[[int, int], tuple[float, ...]],
    n: int,
    whole: int,
    *,
    min_cell: int = MIN_CELL,
    whole_is_masked: bool = False,
) -> tuple[float, ...] | None:
    """What is told of a masked count (its percentage, the ends of an interval), all in one of STEPS from 0.1 on: the first at
    which every count within min_cell - 1 gives the same. None where none does, where the count might then seem a small
    one, and where rounding would make of some nobody, of most all, or set a percentage on the end of its interval.

    told: the percentages for a count and its whole, which may move too where it is masked itself.
    """
    slack = max(1, min_cell - 1)
    if n - slack < min_cell or n + slack > whole - slack:
        return None
    wholes = (whole - slack, whole, whole + slack) if whole_is_masked else (whole,)
    corners = [told(n + by, of) for by in (-slack, 0, slack) for of in wholes]
    for step in STEPS[STEPS.index(0.1) :]:
        seen = {tuple(_in_steps(value, step) for value in corner) for corner in corners}
        if len(seen) == 1 and _is_sound(found := seen.pop()):
            return found
    return None


def coarse_share(
    n: int, whole: int, ends: Sequence[float] = (), *, of_about: int = 0, persons: int = 0, min_cell: int = MIN_CELL
) -> tuple[float, ...] | None:
    """The percentage of a count in a whole that another table gives nearly, and the ends of its interval, all in the finest of
    STEPS that is worth min_cell - 1 of the whole: so of any whole there is a count that gives the same. None where no step
    is coarse enough, or where rounding would set the percentage on the end of its interval. 0 and 100 stay what they are.

    of_about: the whole as it is told, from which the step comes, as otherwise the step would tell more of the whole.
    """
    share = 100 * n / whole
    # The interval of none or all depends on the persons alone, and would tell how many they are.
    least = 100 * (min_cell - 1) / (persons if persons and n in (0, whole) else of_about or whole)
    step = next((step for step in STEPS if step >= least), None)
    if step is None:
        return None
    found = tuple(_in_steps(value, step) for value in (share, *ends))
    if n in (0, whole):
        return found if not ends or found[1] < found[2] else None
    return found if _is_sound(found) else None


def about(n: int, whole: int, *, min_cell: int = MIN_CELL) -> int:
    """A whole of fewer images than `whole`, which another table gives exactly, told roughly: that one where they differ by no
    more than 5 (min_cell - 1), otherwise to a multiple of that. Rounding alone would not do: beside a multiple the exact
    whole would say on which side of it the number lies."""
    grid = 5 * (min_cell - 1)
    if grid == 0:
        return n
    known = whole if whole - n <= grid else n
    return max(grid, round(known / grid) * grid)


def _in_steps(value: float, step: float) -> float:
    return round(round(value / step) * step, 2)


def _is_sound(found: Sequence[float]) -> bool:
    """Whether a share of some, not of all, and its interval still read as that."""
    share, *ends = found
    return 0 < share < 100 and (not ends or ends[0] < share < ends[1])


def _edges(counts: Mapping[Hashable, Count], sums: Sequence[Sum]) -> dict[Hashable, _Edge]:
    """Each count as an edge from the sum that it leaves to the one that it enters. In a sum, parts enter and the total leaves,
    or the other way round: so that a count of two sums enters one and leaves the other."""
    places: dict[Hashable, list[tuple[int, int]]] = {key: [] for key in counts}
    for at, one in enumerate(sums):
        places[one.total].append((at, -1))
        for part in one.parts:
            places[part].append((at, 1))
    turned = _turned(len(sums), [place for place in places.values() if len(place) == 2])
    edges = {}
    for key, place in places.items():
        if len(place) > 2:
            raise ValueError(f"{key!r} takes part in more than two sums; these tables are not masked together")
        signs = {sign * turned[at]: at for at, sign in place}
        edges[key] = _Edge(signs.get(-1, _GROUND), signs.get(1, _GROUND))
    return edges


def _turned(n: int, pairs: Sequence[Sequence[tuple[int, int]]]) -> list[int]:
    """1 or -1 for each sum, so that each count of two sums has opposite signs in them."""
    beside: dict[int, list[tuple[int, int]]] = {at: [] for at in range(n)}
    for (one, sign), (other, other_sign) in pairs:
        beside[one].append((other, -sign * other_sign))
        beside[other].append((one, -sign * other_sign))
    turned: dict[int, int] = {}
    for start in range(n):
        turned.setdefault(start, 1)
        waiting = [start]
        while waiting:
            at = waiting.pop()
            for other, sign in beside[at]:
                if other not in turned:
                    turned[other] = turned[at] * sign
                    waiting.append(other)
                elif turned[other] != turned[at] * sign:
                    raise ValueError("these sums make no network; the tables are not masked together")
    return [turned[at] for at in range(n)]


@dataclass
class _Network:
    counts: Mapping[Hashable, Count]
    edges: Mapping[Hashable, _Edge]
    found: set[Hashable]
    shown: set[Hashable]

    def protect(self, key: Hashable, effort: _Effort) -> bool:
        """Mask what lets a count move, the cheapest way; False if at this effort nothing does."""
        tail, head = self.edges[key]
        ways = [self._path(head, tail, key, effort)]
        if self._can_fall(key, effort):
            ways.append(self._path(tail, head, key, effort))
        open_ways = [way for way in ways if way is not None]
        if not open_ways:
            return False
        way = min(open_ways, key=lambda way: (sum(map(self._cost, way)), sorted(map(str, way))))
        if effort.zeros and not self._a_zero_is_masked(way, effort):
            return False
        self.found |= way
        return True

    def _a_zero_is_masked(self, way: set[Hashable], effort: _Effort) -> bool:
        """Whether a masked count may be 0, so that a reader cannot take each for 1 or more; one that can rise is masked."""
        if any(self.counts[key].persons == 0 for key in self.found | way):
            return True
        for key, count in self.counts.items():
            if count.persons == 0 and key not in self.shown:
                tail, head = self.edges[key]
                if (beside := self._path(head, tail, key, effort)) is not None:
                    self.found |= {key, *beside}
                    return True
        return False

    def _can_fall(self, key: Hashable, effort: _Effort) -> bool:
        return self.counts[key].persons - effort.move >= effort.floor

    def _usable(self, key: Hashable, effort: _Effort) -> bool:
        if key in self.found:
            return True
        return (
            effort.more and (effort.totals or key not in self.shown) and (effort.zeros or self.counts[key].persons > 0)
        )

    def _cost(self, key: Hashable) -> int:
        """What is lost by masking a count: little more for one that is ten times as large."""
        return 0 if key in self.found else 8 + self.counts[key].persons.bit_length()

    def _path(self, start: int, goal: int, but: Hashable, effort: _Effort) -> set[Hashable] | None:
        """The counts on the cheapest way between two sums: forward along a count that rises, back along one that falls."""
        steps: dict[int, list[tuple[int, Hashable]]] = {}
        for key, (tail, head) in self.edges.items():
            if key == but or not self._usable(key, effort):
                continue
            steps.setdefault(tail, []).append((head, key))
            if self._can_fall(key, effort):
                steps.setdefault(head, []).append((tail, key))
        # Ties go by the number of counts, then by the order in which they were given.
        waiting: list[tuple[int, int, int]] = [(0, 0, start)]
        best: dict[int, int] = {start: 0}
        came: dict[int, tuple[int, Hashable]] = {}
        order = 0
        while waiting:
            cost, _, at = heapq.heappop(waiting)
            if at == goal:
                way = set()
                while at != start:
                    at, key = came[at]
                    way.add(key)
                return way
            if cost > best[at]:
                continue
            for other, key in steps.get(at, ()):
                further = cost + self._cost(key)
                if further < best.get(other, further + 1):
                    order += 1
                    best[other], came[other] = further, (at, key)
                    heapq.heappush(waiting, (further, order, other))
        return None
