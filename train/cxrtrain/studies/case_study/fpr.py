"""False positive rates by age: of each model on each dataset's healthy people, by either set of rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cxrdata.audit.intervals import Interval
from cxrdata.audit.request import AuditRequest
from cxrdata.small_cells import MIN_CELL
from cxrdata.wording import counted
from cxrtrain.studies.case_study import design
from cxrtrain.studies.case_study.design import ADULT_TEST, CAREFUL, CHILD_TEST, PUBLISHED, Bin, bins_of
from cxrtrain.studies.case_study.masking import mask_rows
from cxrtrain.studies.case_study.rates import rates_by_image, rates_by_patient

# CONTRACT §7, to the letter. n: healthy images judged; n_positive: those of them that the model calls positive.
COLUMNS = {
    "trained_on": pl.String, "dataset": pl.String, "subset": pl.String, "rules": pl.String, "blend": pl.Float64,
    "age_low": pl.Float64, "age_high": pl.Float64, "n": pl.Int64, "n_positive": pl.Int64, "fpr": pl.Float64,
    "ci_low": pl.Float64, "ci_high": pl.Float64, "threshold": pl.Float64,
}  # fmt: skip
DETAILS = COLUMNS | {"patients": pl.Int64, "method": pl.String, "note": pl.String}
Chosen = dict[tuple[str, str, float], float]  # (trained_on, rules, blend) -> threshold


@dataclass(frozen=True)
class Wish:
    """What to compute. rules: of `design.RULES`. min_cell: a rate of fewer patients is masked; 1 masks none."""

    rules: tuple[str, ...] = design.RULES
    bootstrap: int = design.REPLICATES
    seed: int = design.SEED
    min_cell: int = MIN_CELL
    threads: int = 2

    @property
    def request(self) -> AuditRequest:
        return AuditRequest(
            metrics=("auroc",), threshold="youden", bootstrap=self.bootstrap, interval="bca", gaps=False,
            min_cell=self.min_cell, seed=self.seed, threads=self.threads,
        )  # fmt: skip


@dataclass(frozen=True)
class _Together:
    """Healthy images of one dataset and part, with what several models call of them. called: (images, models)."""

    images: pl.DataFrame
    models: list[tuple[str, float]]
    thresholds: list[float]
    called: NDArray[np.bool_]


def fpr_rows(healthy: pl.DataFrame, chosen: Chosen, wish: Wish, tell: Callable[[str], None]) -> pl.DataFrame:
    """Rows of `DETAILS`. healthy: predictions of healthy people in the two tests; chosen: the thresholds."""
    rows: list[dict[str, Any]] = []
    for rules in wish.rules:
        for (dataset, part), images in healthy.group_by("dataset", "part", maintain_order=True):
            tell(f"{design.NAMES[str(dataset)]}, {rules}")
            base = {"dataset": dataset, "rules": rules}
            for group in _together(images, chosen, rules):
                for subset, mask, whole, bare in subsets(group.images, str(dataset), str(part), rules):
                    own = [at for at, (_, blend) in enumerate(group.models) if bare or not blend]
                    one = _Together(
                        group.images.filter(mask), [group.models[at] for at in own], [group.thresholds[at] for at in own],
                        group.called[mask.to_numpy()][:, own],
                    )  # fmt: skip
                    make = _published if rules == PUBLISHED else _careful
                    rows += [
                        base | {"subset": subset} | row
                        for row in (make(one, str(part), wish, whole=whole) if own else [])
                    ]
    details = pl.DataFrame(mask_rows(rows, wish.min_cell), schema=DETAILS, orient="row")
    order = {name: at for at, name in enumerate(design.DATASETS)}
    ranked = [pl.col(name).replace_strict(order) for name in ("trained_on", "dataset")]
    return details.sort(*ranked, "subset", "rules", "blend", "age_low", nulls_last=False)


def _together(images: pl.DataFrame, chosen: Chosen, rules: str) -> Iterator[_Together]:
    """Models that predict the very same images: they share the draws, which is what takes the time."""
    alike: dict[tuple[str, ...], list[pl.DataFrame]] = {}
    for _, own in images.group_by("trained_on", "blend", maintain_order=True):
        alike.setdefault(tuple(own["image_id"]), []).append(own)
    for frames in alike.values():
        names = [(str(one["trained_on"][0]), float(one["blend"][0])) for one in frames]
        known = [at for at, (model, blend) in enumerate(names) if (model, rules, blend) in chosen]
        if known:
            thresholds = [chosen[names[at][0], rules, names[at][1]] for at in known]
            scores = np.stack([frames[at]["probability"].to_numpy() for at in known], axis=1)
            yield _Together(frames[0], [names[at] for at in known], thresholds, scores >= np.array(thresholds))


def subsets(images: pl.DataFrame, dataset: str, part: str, rules: str) -> Iterator[tuple[str, pl.Series, bool, bool]]:
    """Name, which images, whether over all ages alone, and whether at every blend. Beyond the paper, at blend 0: AP and PA,
    with and without devices, where the data know both."""
    name = design.ADULTS if part == ADULT_TEST else design.YOUNG
    low = pl.col("age_low_years").floor()
    bare = ~pl.col("devices").fill_null(value=False)
    pa = (pl.col("view") == "PA") | pl.col("view").is_null()
    known = pl.col("age_low_years").is_not_null()
    main = known & bare & pa
    if rules == PUBLISHED:
        main = known & (low < 11) if dataset == design.CHILDREN else known

    def masks(which: pl.Expr) -> pl.Series:
        return images.select(which.fill_null(value=False)).to_series()

    yield name, masks(main), False, True
    if part == CHILD_TEST:
        yield design.INFANTS, masks(main & (low < 2)), True, True
        yield design.OLDER, masks(main & (low >= 2) & (low < 11)), True, True
    if rules == PUBLISHED:
        return
    if {"PA", "AP"} <= set(images["view"].to_list()):
        for view in ("PA", "AP"):
            yield f"{name}:{view}", masks(known & bare & (pl.col("view") == view)), False, False
    if images["devices"].fill_null(value=False).any():
        yield f"{name}:with_devices", masks(known & pl.col("devices")), False, False
        yield f"{name}:without_devices", masks(known & (pl.col("devices") == False)), False, False  # noqa: E712 - of SQL's logic


def place(images: pl.DataFrame, bins: tuple[Bin, ...], rules: str) -> NDArray[np.intp]:
    """The bin of each image, -1 where it has none. Careful: the whole range of the age lies in it. Published: its years, cut."""
    low = images["age_low_years"].fill_null(math.nan).to_numpy()
    high = images["age_high_years"].fill_null(math.inf).to_numpy()
    if rules == PUBLISHED:
        low = high = np.floor(low)
    found = np.full(len(low), -1, np.intp)
    for at, one in enumerate(bins):
        found[(low >= one.low) & (low < one.high) & (high <= one.high)] = at
    return found


def _careful(group: _Together, part: str, wish: Wish, *, whole: bool) -> Iterator[dict[str, Any]]:
    bins = bins_of(part, CAREFUL)
    where = place(group.images, bins, CAREFUL)
    filled = int(where.max(initial=-1)) + 1 if part == CHILD_TEST else len(bins)
    ends = [None, *([] if whole else bins[:filled])]
    # A column of everybody, then one a bin.
    member = np.stack([np.ones(len(where), bool) if one is None else where == bins.index(one) for one in ends], axis=1)
    below, *above = by_patient(group.images["unit"], [member, *(member & called[:, None] for called in group.called.T)])
    found = rates_by_patient(np.concatenate(above, axis=1), np.tile(below, (1, len(above))), wish.request)
    for at, (trained_on, blend) in enumerate(group.models):
        base = {"trained_on": trained_on, "blend": blend, "threshold": group.thresholds[at]}
        for column, ages in enumerate(ends):
            own = below[:, column]
            interval = found[at * len(ends) + column]
            yield base | row_of(ages, above[at][:, column].sum(), own.sum(), int((own > 0).sum()), interval)


def by_patient(unit: pl.Series, members: list[NDArray[np.bool_]]) -> list[NDArray[np.float64]]:
    """(patients, columns) of each of (images, columns): how many of a patient's images are in it."""
    known, who = np.unique(unit.to_numpy(), return_inverse=True)
    sums = [np.zeros((len(known), one.shape[1])) for one in members]
    for total, one in zip(sums, members, strict=True):
        np.add.at(total, who, one)
    return sums


def _published(group: _Together, part: str, wish: Wish, *, whole: bool) -> Iterator[dict[str, Any]]:
    bins = bins_of(part, PUBLISHED)
    where = place(group.images, bins, PUBLISHED)
    n = np.bincount(where[where >= 0], minlength=len(bins))
    (of_patients,) = by_patient(group.images["unit"], [where[:, None] == np.arange(len(bins))])
    patients = (of_patients > 0).sum(axis=0)
    found = [] if whole else rates_by_image(group.called, where, len(bins), wish.request)
    for at, (trained_on, blend) in enumerate(group.models):
        base = {"trained_on": trained_on, "blend": blend, "threshold": group.thresholds[at]}
        positive = np.bincount(where[(where >= 0) & group.called[:, at]], minlength=len(bins))
        shown = positive > 0  # bins in which nobody is called positive vanish from the overall rate
        counted_in = int(of_patients[:, shown].any(axis=1).sum())
        rate = base | row_of(None, positive.sum(), n[shown].sum(), counted_in, Interval())
        if lost := int(n[~shown].sum()):
            rate["note"] = f"{counted(lost, 'image')} of bins without a false positive left out, as published"
        yield rate
        for one in [] if whole else np.flatnonzero(n):
            yield base | row_of(bins[one], positive[one], n[one], int(patients[one]), found[at][one])


def row_of(ages: Bin | None, above: float, below: float, patients: int, found: Interval) -> dict[str, Any]:
    low, high = (None, None) if ages is None else (ages.low, None if math.isinf(ages.high) else ages.high)
    return {
        "age_low": low, "age_high": high, "n": int(below), "n_positive": int(above), "patients": patients,
        "fpr": float(above / below) if below else None,
        "ci_low": None if math.isnan(found.low) else found.low, "ci_high": None if math.isnan(found.high) else found.high,
        "method": found.method or None, "note": (found.note or None) if below else "no images",
    }  # fmt: skip
