"""The sets that are balanced over race: how many images each part has of each race, and whether the promises hold."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.report.disclosure import Count, masked, table_sums
from cxrdata.splits.attributes import with_attributes
from cxrdata.splits.leaks import find_leaks
from cxrdata.splits.stored import open_split, split_names
from cxrdata.wording import counted
from cxrtrain.studies.implicit_attributes.design import ATTRIBUTE, PARTS, RACES

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

ALL = "all"
COUNTS = {
    "images_per_patient": pl.Int64, "split": pl.String, "part": pl.String, "race": pl.String, "images": pl.Int64,
    "patients": pl.Int64, "note": pl.String,
}  # fmt: skip
CHECKS = {
    "images_per_patient": pl.Int64, "split": pl.String, "check": pl.String, "result": pl.String, "published": pl.String,
    "detail": pl.String,
}  # fmt: skip
OK, FAILED, NOT_CHECKED = "ok", "failed", "not checked"
NO_LEAK = "no patient is in two parts"
FEW = "no patient has more images than that"
IN_ALL = "equally many images of each race in all"
IN_PARTS = "equally many images of each race in each part"
_HELD, _IN_ALL_ALONE = "holds", "does not hold: equal in all alone"


def count_sets(catalog: Catalog, splits: Mapping[int, str], *, min_cell: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of `COUNTS` and `CHECKS`. splits: by images a patient, the split's name; one that the catalog lacks is said.

    published: whether the published set of that size keeps the promise.
    """
    there = set(split_names(catalog))
    counts, checks = [], []
    for size, name in splits.items():
        named = {"images_per_patient": size, "split": name}
        if name not in there:
            checks += [
                named
                | {"check": one, "result": NOT_CHECKED, "published": said, "detail": "the catalog has no such split"}
                for one, said in _promises(size)
            ]
            continue
        rows = pl.DataFrame(open_split(catalog, name))
        frame = with_attributes(catalog, rows.select("dataset", "image_id", "patient_id", "split"), [ATTRIBUTE])
        told = _counts(frame)
        hidden = _hidden(told, min_cell)
        counts += [named | _masked(row, hidden, min_cell) for row in told.iter_rows(named=True)]
        found = _checked(frame, told, size)
        checks += [named | {"check": one, "published": said} | found[one] for one, said in _promises(size)]
    return pl.DataFrame(counts, schema=COUNTS, orient="row"), pl.DataFrame(checks, schema=CHECKS, orient="row")


def _promises(size: int) -> list[tuple[str, str]]:
    """The checks, and what is so of the published set."""
    return [(NO_LEAK, _HELD), (FEW, _HELD), (IN_ALL, _HELD), (IN_PARTS, _HELD if size == 1 else _IN_ALL_ALONE)]


def _counts(frame: pl.DataFrame) -> pl.DataFrame:
    """part, race, images, patients; of all parts and all races too."""
    both = pl.concat([frame, frame.with_columns(split=pl.lit(ALL))])
    both = pl.concat([both, both.with_columns(race=pl.lit(ALL))])
    # The image stands for a patient who has no id.
    who = pl.coalesce("patient_id", "image_id").n_unique()
    parts = [*PARTS, *sorted(set(frame["split"]) - set(PARTS)), ALL]
    known = set(frame[ATTRIBUTE].drop_nulls())
    races = [*(one for one in RACES if one in known), *sorted(known - set(RACES)), None, ALL]
    order = [
        pl.col(name).replace_strict(values, list(range(len(values))), default=-1)
        for name, values in (("split", parts), (ATTRIBUTE, races))
    ]
    return both.group_by("split", ATTRIBUTE).agg(images=pl.len(), patients=who).sort(order).rename({"split": "part"})


def _hidden(counts: pl.DataFrame, min_cell: int) -> set[Hashable]:
    """(part, race) of too few patients, and what else they would follow from: the table has its totals."""
    known: dict[Hashable, Count] = {(part, race): Count(images, n) for part, race, images, n in counts.iter_rows()}
    parts, races = (
        [one for one in counts[name].unique(maintain_order=True) if one != ALL] for name in ("part", ATTRIBUTE)
    )
    return masked(known, table_sums(parts, races, ALL), min_cell=min_cell)


def _masked(row: dict[str, object], hidden: set[Hashable], min_cell: int) -> dict[str, object]:
    if (row["part"], row[ATTRIBUTE]) not in hidden:
        return row
    return row | {
        "images": None,
        "patients": None,
        "note": f"masked: fewer than {min_cell} patients, or they would follow",
    }


def _checked(frame: pl.DataFrame, counts: pl.DataFrame, size: int) -> dict[str, dict[str, str]]:
    """By check: result and detail."""
    leaks = find_leaks(frame)
    most = int(frame.group_by("dataset", pl.coalesce("patient_id", "image_id")).len()["len"].to_numpy().max(initial=0))
    told = counts.filter(pl.col(ATTRIBUTE) != ALL)
    parts = told.filter(pl.col("part") != ALL)
    unequal = [str(part[0]) for part, own in parts.group_by("part", maintain_order=True) if not _equal(own)]
    in_all = told.filter(part=ALL)
    spread = ", ".join(f"{race} {n:,}" for race, n in in_all.select(ATTRIBUTE, "images").iter_rows())
    return {
        NO_LEAK: _said(
            not leaks.n_patients,
            f"none of {counted(leaks.n_checked, 'patient')}",
            f"{leaks.n_patients:,} of {counted(leaks.n_checked, 'patient')} in several parts",
        ),
        FEW: _said(most <= size, f"{most} at most", f"up to {most}"),
        IN_ALL: _said(_equal(in_all), "each as many as any other", spread),
        IN_PARTS: _said(not unequal, ", ".join(PARTS), f"not in {', '.join(unequal)}"),
    }


def _equal(rows: pl.DataFrame) -> bool:
    return rows["images"].n_unique() == 1


def _said(holds: bool, so: str, otherwise: str) -> dict[str, str]:  # noqa: FBT001
    return {"result": OK if holds else FAILED, "detail": so if holds else otherwise}
