"""Splits whose cells are equal: as many images (or patients) of each group in every split, without parting a patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.splits.balance_report import effect_of, optimum_of, said_of, thin
from cxrdata.splits.feasible import Packed, Packing, pack
from cxrdata.splits.groups import Compared, compared
from cxrdata.splits.keyed import DRAW, KEEP, keyed_numbers
from cxrdata.splits.members import lost
from cxrdata.splits.placement import UNIT, units_of
from cxrdata.splits.ratios import Ratios

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]

_KEYS = ("dataset", "image_id")
_GIVEN_UP = "given up, so that the cells are equal"
_SEVERAL = "the patient has images in several cells"
_NOT_DRAWN = "drawn 0 times"
_FEW = 3
_LEFT_OUT = {"dataset": pl.String, "reason": pl.String, "images": pl.Int64}


@dataclass(frozen=True)
class Balanced:
    """A balanced split.

    rows: dataset, image_id, patient_id, split, and `weight` (Float64) or `n_draws` (Int64) by the mode; sorted by key.
    cells: dataset (null where pooled), one column an attribute, split, available (what the placement brings there), kept,
    target, given_up (available - kept); in images, or in patients with unit="patient". The target is what is kept; with
    weights, the sum of weights (Float64); with resample, the number of draws.
    optimum, of downsample, one row what is balanced together: dataset, unit, cells (how many), smallest_cell (in words),
    bound (what that cell has, and so the most that any cell can keep), kept_per_cell (over all splits), gap (bound minus
    kept), method: `exact`, no placement keeps more; `bound`, it is not known whether one does.
    optimum, of the other modes, one row a dataset and split: dataset, split, cells, images, effective_images (as many
    equally weighted ones are worth as much, (sum w)^2 / sum w^2; Kish, Survey Sampling, 1965), largest (weight or draws).
    left_out: dataset, reason, images; with the images in `rows` they are all members. moved: units that are not where
    the hash alone places them, of all that take part. notes: what a reader must know.
    """

    rows: pl.DataFrame
    cells: pl.DataFrame
    optimum: pl.DataFrame
    left_out: pl.DataFrame
    moved: tuple[int, int]
    notes: list[str] = field(default_factory=list)

    def explained(self) -> list[str]:
        """What was reached, in sentences."""
        return [*said_of(self.optimum), *self.notes]


def balance(
    members: pl.DataFrame,
    attributes: Sequence[str],
    ratios: Ratios,
    *,
    seed: int,
    mode: str = "downsample",
    unit: str = "image",
    groups: Sequence[str] = (),
    pool: bool = False,
) -> Balanced:
    """A split with equal cells. A cell is a combination of the attributes' groups (`groups.compared`) within a dataset, or with
    `pool` over all datasets.

    members: dataset, image_id, patient_id, unit, and one text column an attribute.

    mode="downsample": every cell of split s has exactly `Ratios.quotas(T)[s]` images, T as great as patients that are not
    parted allow (`feasible.pack`). Units stay where the hash places them, but for those that must fill a cell; of an
    over-full cell the images with the smallest keyed numbers stay. unit="patient": the same with patients, all of whose
    images stay; a patient with images in several cells leaves.
    mode="weights": all images stay where the hash places them; within a dataset and split each cell's weights have the same
    sum and all weights the mean 1. mode="resample": the same with whole numbers of draws; a dataset and split has as many
    draws as images, its cells differ by one at most, the images of a cell by one at most (those with the smallest keyed
    numbers are drawn once more). Images that are not drawn leave.

    The order of rows, other datasets (without `pool`) and the number of threads have no part in the result.
    Raises CxrError: those of `compared`; CXR-410 for cells that no patient fills, or a split that would be empty;
    CXR-502 for a `mode` or `unit` that is none, and for patients in another mode than downsample; CXR-507 for no members.
    """
    if mode not in _MODES or unit not in ("image", "patient"):
        raise CxrError(
            "CXR-502",
            f"there is no balance by {mode} of {unit}",
            fix=f"modes: {', '.join(_MODES)}; units: image, patient",
        )
    if unit == "patient" and mode != "downsample":
        raise CxrError(
            "CXR-502",
            f"patients are balanced by leaving some out, not by {mode}",
            fix="leave --unit patient or --mode out",
        )
    if members.is_empty():
        raise CxrError("CXR-507", "there is no image to balance", fix="ask for a wider cohort or other datasets")
    parts, left_out = compared(_sorted(members), attributes, groups, pool=pool)
    made = []
    for part in parts:
        placed = _Placed(part, units_of(part.rows, seed), ratios, seed)
        made.append(_by_patient(placed) if unit == "patient" else _MODES[mode](placed))
    balanced = _together(made, left_out)
    _check_splits(balanced, ratios)
    return balanced


def _sorted(members: pl.DataFrame) -> pl.DataFrame:
    """Members by key. They usually are, and to see that is quicker than to sort them."""
    dataset, image = members["dataset"], members["image_id"]
    before, after = (
        (dataset.slice(0, len(dataset) - 1), image.slice(0, len(image) - 1)),
        (dataset.slice(1), image.slice(1)),
    )
    in_order = (before[0] < after[0]) | ((before[0] == after[0]) & (before[1] < after[1]))
    return members if in_order.all() else members.sort(_KEYS)


class _Placed:
    """One part's images as numbers: unit and cell of each image, and the packing of units into cells."""

    def __init__(self, part: Compared, units: pl.DataFrame, ratios: Ratios, seed: int) -> None:
        self.part = part
        self.units = units
        self.ratios = ratios
        self.seed = seed
        numbered = units.select(*UNIT).with_row_index("number")
        self.unit: Numbers = (
            part.rows.select(*UNIT)
            .join(numbered, on=UNIT, how="left", maintain_order="left")["number"]
            .cast(pl.Int64)
            .to_numpy()
        )
        self.cell: Numbers = part.rows["cell"].to_numpy()
        self.n_cells = len(part.cells)

    def packing(self) -> Packing:
        """What each unit brings to each cell."""
        import numpy as np

        keys, images = np.unique(self.unit * self.n_cells + self.cell, return_counts=True)
        return Packing(
            keys // self.n_cells,
            keys % self.n_cells,
            images.astype(np.int64),
            self.units["fraction"].to_numpy(),
            self.n_cells,
        )

    def slots(self, place: Numbers) -> Numbers:
        """Of each image, the number of its cell in its split: split * n_cells + cell."""
        return place[self.unit] * self.n_cells + self.cell

    def counts(self, slots: Numbers) -> Numbers:
        """How often each slot occurs."""
        import numpy as np

        return np.bincount(slots, minlength=len(self.ratios.names) * self.n_cells)

    def frame(self, place: Numbers, **columns: pl.Series) -> pl.DataFrame:
        """All images of the part as rows of a split."""
        split = pl.Series("split", self.ratios.names, dtype=pl.String).gather(place[self.unit])
        return self.part.rows.select(*_KEYS, "patient_id").with_columns(split, **columns)

    def table(self, available: Numbers, kept: Numbers, target: Numbers | NDArray[np.float64]) -> pl.DataFrame:
        """The cells of all splits; the numbers by slot."""
        cells = pl.concat([self.part.table().with_columns(split=pl.lit(name)) for name in self.ratios.names])
        numbers = {"available": available, "kept": kept, "target": target, "given_up": available - kept}
        return cells.with_columns(pl.Series(name, values) for name, values in numbers.items())


@dataclass(frozen=True)
class _Made:
    """One part's share of a balanced split."""

    rows: pl.DataFrame
    cells: pl.DataFrame
    optimum: pl.DataFrame
    left_out: list[dict[str, Any]]
    moved: tuple[int, int]
    notes: list[str] = field(default_factory=list)


def _downsampled(placed: _Placed) -> _Made:
    import numpy as np

    packing = placed.packing()
    packed = pack(packing, placed.ratios)
    slots = placed.slots(packed.place)
    available = placed.counts(slots)
    target = np.repeat(placed.ratios.quotas(packed.kept), placed.n_cells).astype(np.int64)
    kept = _first(slots, available, target, placed.part.rows, "image_id", placed.seed)
    before = placed.frame(packed.place)
    rows = before.filter(pl.Series(kept))
    return _Made(
        rows,
        placed.table(available, target, target),
        optimum_of(placed.part, packing, packed, "image"),
        lost(before, rows, _GIVEN_UP),
        _moved(packing, packed, placed.ratios),
        thin(placed.part, packed, placed.ratios),
    )


def _by_patient(placed: _Placed) -> _Made:
    """Balanced like images, but what is counted, chosen and kept is a patient with all images."""
    import numpy as np

    cells_of_unit = np.bincount(placed.packing().unit, minlength=placed.units.height)
    rows = placed.part.rows.filter(pl.Series(cells_of_unit[placed.unit] == 1))
    left_out = lost(placed.part.rows, rows, _SEVERAL)
    part = Compared(placed.part.dataset, rows, placed.part.attributes, placed.part.cells)
    whole = _Placed(part, placed.units.filter(pl.Series(cells_of_unit == 1)), placed.ratios, placed.seed)
    images = whole.packing()
    packing = Packing(images.unit, images.cell, np.ones_like(images.unit), images.fraction, images.n_cells)
    if not packing.supply.all():
        empty = [part.said(int(cell)) for cell in np.flatnonzero(packing.supply == 0)]
        raise _refused(
            f"{part.name}: no patient has images of {'; or of '.join(empty[:_FEW])}, and of no other cell",
            "leave --unit patient out, or balance by fewer attributes",
        )
    packed = pack(packing, placed.ratios)
    slots = packed.place * whole.n_cells + packing.cell
    available = whole.counts(slots)
    target = np.repeat(placed.ratios.quotas(packed.kept), whole.n_cells).astype(np.int64)
    kept = _first(slots, available, target, whole.units, "unit", placed.seed)
    before = whole.frame(packed.place)
    final = before.filter(pl.Series(kept[whole.unit]))
    return _Made(
        final,
        whole.table(available, target, target),
        optimum_of(part, packing, packed, "patient"),
        left_out + lost(before, final, _GIVEN_UP),
        _moved(packing, packed, placed.ratios),
        thin(part, packed, placed.ratios),
    )


def _first(
    slots: Numbers, available: Numbers, target: Numbers, rows: pl.DataFrame, key: str, seed: int
) -> NDArray[np.bool_]:
    """Which rows are among the `target` ones of their slot with the smallest keyed numbers; none is hashed in vain."""
    import numpy as np

    kept: NDArray[np.bool_] = (available <= target)[slots]
    at = np.flatnonzero(~kept & (target > 0)[slots])
    kept[at] = _ranks(KEEP, seed, rows[at], key, slots[at]) < target[slots[at]]
    return kept


def _ranks(purpose: str, seed: int, rows: pl.DataFrame, key: str, slots: Numbers) -> Numbers:
    """The place of each row among those of its slot, by keyed number."""
    import numpy as np

    numbers = keyed_numbers(purpose, seed, rows["dataset"], rows[key]).to_numpy()
    order = np.lexsort((numbers, slots))
    sizes = np.bincount(slots)
    ranks = np.empty_like(slots)
    ranks[order] = np.arange(slots.size) - (np.cumsum(sizes) - sizes)[slots[order]]
    return ranks


def _weighted(placed: _Placed) -> _Made:
    import numpy as np

    place, available = _plain(placed)
    totals = available.reshape(-1, placed.n_cells).sum(axis=1)
    target = np.repeat(totals / placed.n_cells, placed.n_cells)
    slots = placed.slots(place)
    weight = pl.Series(np.repeat(totals, placed.n_cells)[slots] / (placed.n_cells * available[slots]))
    rows = placed.frame(place, weight=weight)
    return _Made(
        rows,
        placed.table(available, available, target),
        effect_of(placed.part, rows, placed.ratios, "weight"),
        [],
        (0, placed.units.height),
    )


def _resampled(placed: _Placed) -> _Made:
    import numpy as np

    place, available = _plain(placed)
    totals = available.reshape(-1, placed.n_cells).sum(axis=1)
    target = np.concatenate(
        [total // placed.n_cells + (np.arange(placed.n_cells) < total % placed.n_cells) for total in totals]
    ).astype(np.int64)
    slots = placed.slots(place)
    n_draws = (target // np.maximum(available, 1))[slots]
    uneven = np.flatnonzero((target % np.maximum(available, 1))[slots] > 0)
    ranks = _ranks(DRAW, placed.seed, placed.part.rows[uneven], "image_id", slots[uneven])
    n_draws[uneven] += ranks < (target % np.maximum(available, 1))[slots[uneven]]
    before = placed.frame(place, n_draws=pl.Series(n_draws, dtype=pl.Int64))
    rows = before.filter(pl.col("n_draws") > 0)
    table = placed.table(available, np.minimum(available, target), target)
    return _Made(
        rows,
        table,
        effect_of(placed.part, rows, placed.ratios, "n_draws"),
        lost(before, rows, _NOT_DRAWN),
        (0, placed.units.height),
    )


_MODES = {"downsample": _downsampled, "weights": _weighted, "resample": _resampled}


def _plain(placed: _Placed) -> tuple[Numbers, Numbers]:
    """Where the hash puts each unit, and the images of each slot. Raises CxrError CXR-410 for an empty one, as neither
    weights nor draws can fill it."""
    import numpy as np

    packing = placed.packing()
    place = packing.plain(placed.ratios)
    available = placed.counts(placed.slots(place))
    empty = np.flatnonzero(available == 0)
    if empty.size:
        cells = [
            f"{placed.ratios.names[slot // placed.n_cells]}: {placed.part.said(slot % placed.n_cells)}"
            for slot in empty.tolist()
        ]
        more = f"; and {len(cells) - _FEW:,} more" if len(cells) > _FEW else ""
        kept = pack(packing, placed.ratios).kept
        raise _refused(
            f"{placed.part.name}: where the hash places the patients, {len(cells):,} of {available.size:,} cells have no image: {'; '.join(cells[:_FEW])}{more}",
            f"--mode downsample moves patients and keeps {kept:,} images of each cell over all splits; or name fewer groups with --groups, or larger --ratios",
        )
    return place, available


def _moved(packing: Packing, packed: Packed, ratios: Ratios) -> tuple[int, int]:
    return int((packed.place != packing.plain(ratios)).sum()), packed.place.size


def _together(made: Sequence[_Made], left_out: list[dict[str, Any]]) -> Balanced:
    return Balanced(
        pl.concat([one.rows for one in made]).sort(_KEYS),
        pl.concat([one.cells for one in made]),
        pl.concat([one.optimum for one in made]),
        pl.DataFrame([*left_out, *(entry for one in made for entry in one.left_out)], schema=_LEFT_OUT).sort(
            "dataset", "reason"
        ),
        (sum(one.moved[0] for one in made), sum(one.moved[1] for one in made)),
        [note for one in made for note in one.notes],
    )


def _check_splits(balanced: Balanced, ratios: Ratios) -> None:
    """Raise CxrError CXR-410 for a split without any image."""
    filled = balanced.rows["split"].unique().to_list()
    for name, share in zip(ratios.names, ratios.shares, strict=True):
        if name not in filled:
            raise _refused(
                f"{name} would be empty: {said_of(balanced.optimum)[0]}; that is too few for a share of {share:g}",
                "balance by fewer attributes, name fewer groups with --groups, or give that split a larger share with --ratios",
            )


def _refused(problem: str, fix: str) -> CxrError:
    return CxrError("CXR-410", problem, fix=fix)
