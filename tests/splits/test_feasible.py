"""How many images every cell can keep: against all placements there are, on small tables."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrdata.splits import feasible
from cxrdata.splits.cover import Spent, Vector, cover
from cxrdata.splits.feasible import Packed, Packing, Placement, pack
from cxrdata.splits.ratios import Ratios

ratios_of = st.sampled_from(["0.7,0.1,0.2", "0.6,0.1,0.3", "0.34,0.33,0.33", "0.5,0.5", "0.8,0.2"]).map(Ratios.parse)


@st.composite
def tables(draw: st.DrawFn, most_units: int = 6) -> tuple[list[Vector], list[float]]:
    """What each unit brings to up to three cells, each cell at least one image; and where the hash puts the units."""
    n_cells = draw(st.integers(1, 3))
    brought = st.lists(st.integers(0, 9), min_size=n_cells, max_size=n_cells)
    units = draw(st.lists(brought, min_size=1, max_size=most_units))
    units[0] = [max(1, n) for n in units[0]] if n_cells > 1 else units[0]
    vectors = [tuple((cell, n) for cell, n in enumerate(unit) if n) for unit in units]
    vectors = [vector for vector in vectors if vector] or [((0, 1),)]
    fractions = draw(st.lists(st.floats(0, 0.999), min_size=len(vectors), max_size=len(vectors)))
    return vectors, fractions


def _packing(vectors: list[Vector], fractions: list[float]) -> Packing:
    entries = np.array([(unit, cell, n) for unit, vector in enumerate(vectors) for cell, n in vector], dtype=np.int64)
    return Packing(entries[:, 0], entries[:, 1], entries[:, 2], np.array(fractions), int(entries[:, 1].max()) + 1)


def _images(vectors: list[Vector], place: list[int], n_splits: int, n_cells: int) -> list[list[int]]:
    have = [[0] * n_cells for _ in range(n_splits)]
    for vector, split in zip(vectors, place, strict=True):
        for cell, n in vector:
            have[split][cell] += n
    return have


def _best(vectors: list[Vector], ratios: Ratios, n_cells: int) -> int:
    """The greatest T of all placements, each of which is tried."""
    bound = min(sum(dict(vector).get(cell, 0) for vector in vectors) for cell in range(n_cells))
    quotas = [ratios.quotas(total) for total in range(bound + 1)]
    best = 0
    for place in itertools.product(range(len(ratios.names)), repeat=len(vectors)):
        least = [min(cells) for cells in _images(vectors, list(place), len(ratios.names), n_cells)]
        while any(all(have >= need for have, need in zip(least, quota, strict=True)) for quota in quotas[best + 1 :]):
            best += 1
    return best


def _check_sound(vectors: list[Vector], fractions: list[float], ratios: Ratios) -> Packed:
    packing = _packing(vectors, fractions)
    packed = pack(packing, ratios)
    have = _images(vectors, packed.place.tolist(), len(ratios.names), packing.n_cells)
    for cells, quota in zip(have, ratios.quotas(packed.kept), strict=True):
        assert min(cells) >= quota
    assert packed.kept <= packed.bound == packing.supply.min()
    return packed


def _check_best(table: tuple[list[Vector], list[float]], ratios: Ratios) -> None:
    vectors, fractions = table
    packed = _check_sound(vectors, fractions, ratios)
    assert packed.proven
    assert packed.kept == _best(vectors, ratios, _packing(vectors, fractions).n_cells)


@given(tables(most_units=5), ratios_of)
@settings(deadline=None)
def test_no_placement_keeps_more(table: tuple[list[Vector], list[float]], ratios: Ratios) -> None:
    _check_best(table, ratios)


@pytest.mark.soak
@given(tables(most_units=6), ratios_of)
@settings(max_examples=10_000, deadline=None)
def test_no_placement_keeps_more_at_length(table: tuple[list[Vector], list[float]], ratios: Ratios) -> None:
    _check_best(table, ratios)


@given(tables(most_units=40), ratios_of)
@settings(deadline=None, max_examples=50)
def test_what_is_kept_is_there(table: tuple[list[Vector], list[float]], ratios: Ratios) -> None:
    _check_sound(*table, ratios)


def test_units_of_one_image_reach_the_bound() -> None:
    chance = np.random.default_rng(0)
    vectors: list[Vector] = [((int(cell), 1),) for cell in chance.choice(4, 3000, p=[0.6, 0.3, 0.08, 0.02])]
    packed = _check_sound(vectors, chance.random(3000).tolist(), Ratios.parse("0.7,0.1,0.2"))
    assert (packed.kept, packed.proven) == (packed.bound, True)


def test_moves_are_few_and_near_the_border() -> None:
    """Ten units of one image, seven of them wanted in training and eight there: the one nearest to the border goes."""
    ratios = Ratios.parse("0.7,0.3")
    packed = pack(_packing([((0, 1),)] * 10, [0.1, 0.2, 0.3, 0.4, 0.5, 0.66, 0.68, 0.55, 0.8, 0.9]), ratios)
    assert packed.kept == 10
    assert packed.place.tolist() == [0, 0, 0, 0, 0, 0, 1, 0, 1, 1]


def test_nothing_moves_without_need() -> None:
    """Where the hash's placement has what is needed, it stays."""
    ratios = Ratios.parse("0.5,0.5")
    fractions = [0.1, 0.2, 0.3, 0.4, 0.6, 0.9]
    packed = pack(_packing([((0, 2),)] * 2 + [((1, 3),)] * 2 + [((0, 2), (1, 3))] * 2, fractions), ratios)
    assert (packed.kept, packed.place.tolist()) == (8, [0, 0, 0, 0, 1, 1])


def test_a_patient_with_most_images_limits_the_cell() -> None:
    """A cell of 12 images, 9 of one patient: with halves, 6 is what the other split can have at most of three images."""
    packed = pack(_packing([((0, 9),), *([((0, 1),)] * 3)], [0.1, 0.2, 0.3, 0.4]), Ratios.parse("0.5,0.5"))
    # T = 7 has quotas (4, 3): the three single images make one split, the patient of nine the other.
    assert (packed.bound, packed.kept, packed.proven) == (12, 7, True)


def test_out_of_steps_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasible, "_BUDGET", 0)
    packed = pack(_packing([((0, 9),), *([((0, 1),)] * 3)], [0.1, 0.2, 0.3, 0.4]), Ratios.parse("0.5,0.5"))
    assert not packed.proven
    assert packed.kept == 7


def test_too_many_units_to_search_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasible, "_SEARCHED_UNITS", 3)
    packed = pack(_packing([((0, 9),), *([((0, 1),)] * 3)], [0.1, 0.2, 0.3, 0.4]), Ratios.parse("0.5,0.5"))
    assert not packed.proven


def test_search_finds_what_repairing_does_not() -> None:
    """A cell of 6 + 5 + 5 + 4 + 4 + 4 = 28 images in halves of 14: only 6 + 4 + 4 and 5 + 5 + 4 do."""
    vectors: list[Vector] = [((0, n),) for n in (6, 5, 5, 4, 4, 4)]
    packed = pack(_packing(vectors, [0.1, 0.1, 0.1, 0.6, 0.6, 0.6]), Ratios.parse("0.5,0.5"))
    assert packed.kept == 28
    assert sorted(sum(vectors[at][0][1] for at in range(6) if packed.place[at] == split) for split in (0, 1)) == [
        14,
        14,
    ]


def test_cover() -> None:
    vectors: list[Vector] = [((2, 3),), ((2, 1), (5, 2)), ((2, 2), (5, 2))]
    assert cover(vectors, [0, 0, 0], [2, 5], [3, 1], [100]) is None
    assert cover(vectors, [0, 0, 0], [2], [3, 3], [100]) == [0, 1, 1]
    assert cover(vectors, [1, 1, 1], [2], [0, 0], [100]) == [1, 1, 1]
    with pytest.raises(Spent):
        cover(vectors, [0, 0, 0], [2], [3, 3], [1])


def test_linked_cells() -> None:
    """Cells are linked by patients that have images in both, also through a third."""
    packing = _packing([((0, 1), (3, 1)), ((3, 1), (4, 1)), ((1, 1),), ((2, 1),), ((2, 1), (5, 1))], [0.5] * 5)
    assert packing.linked == [[0, 3, 4], [1], [2, 5]]


def test_gain_counts_what_lacks_in_both_splits() -> None:
    ratios = Ratios.parse("0.5,0.5")
    placement = Placement(_packing([((0, 2),), ((0, 3),)], [0.1, 0.2]), ratios, (3, 2))
    assert placement.lacks(1, 0) == 2
    assert placement._gain(((0, 1),)) == 2
    assert placement._gain(((1, 1),)) == 2 - 1
    assert placement._gain(((0, 1), (1, 1))) == 2 - 3
    placement.move(0, 1)
    assert placement.have == [[3], [2]]
