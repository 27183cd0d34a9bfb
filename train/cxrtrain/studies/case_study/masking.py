"""Rates of few patients are masked, and so many beside them that none follows from the rates over all ages.

A row's n stays, its n_positive and all that follows from it goes. The bins of a test, its rows over 0 to 1 and 2 to 10 years and
that over all ages are sums of one another: what else to mask is the house's own search (`cxrdata.report.disclosure`). Rows of
the same people under other rules or names are masked alike.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from cxrdata.report.disclosure import Count, Sum, masked
from cxrtrain.studies.case_study.design import INFANTS, OLDER, YOUNG

_HIDDEN = ("n_positive", "fpr", "ci_low", "ci_high", "method")
BESIDE = "masked: it would tell a masked one"
Row = dict[str, Any]
Ages = tuple[float | None, str]  # the lower end of the bin, if it is one; the subset


def few(min_cell: int) -> str:
    """The note of a masked row."""
    return f"masked: fewer than {min_cell} patients"


def mask_rows(rows: Sequence[Row], min_cell: int) -> list[Row]:
    """Rows of `fpr.DETAILS`, masked. The note says which have few patients: so many are shown beside them anyway."""
    tests: dict[Hashable, list[Row]] = {}
    for row in rows:
        tests.setdefault((row["trained_on"], row["dataset"], row["blend"], _adults(row)), []).append(row)
    hidden = {id(row) for own in tests.values() for row in _of_a_test(own, min_cell)}
    return [_without_rate(row, min_cell) if id(row) in hidden else row for row in rows]


def masked_groups(patients: dict[str, int], whole: str, parts: Sequence[str], min_cell: int) -> set[str]:
    """Of groups by name, of which `whole` holds the `parts`, those to mask."""
    known: dict[Hashable, Count] = {name: Count(n, n) for name, n in patients.items() if n}
    return {str(one) for one in masked(known, [Sum(whole, [one for one in parts if one in known])], min_cell=min_cell)}


def _adults(row: Row) -> bool:
    return not str(row["subset"]).startswith(YOUNG)


def _of_a_test(rows: list[Row], min_cell: int) -> list[Row]:
    """The rows to mask, of one model, test and blend."""
    families: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["patients"]:  # of nobody there is nothing to hide, and nobody hides anyone
            name = YOUNG if row["subset"] in (INFANTS, OLDER) else str(row["subset"])
            families.setdefault((name, row["rules"]), []).append(row)
    found: dict[int, Row] = {}
    while True:
        before = len(found)
        for own in families.values():
            found |= _of_a_family(own, min_cell, found)
        found |= _alike([row for own in families.values() for row in own], found)
        if len(found) == before:
            return list(found.values())


def _of_a_family(rows: list[Row], min_cell: int, hidden: Iterable[int]) -> dict[int, Row]:
    """Of one set of rules and one subset with what it is parted into."""
    by_ages: dict[Ages, Row] = {(row["age_low"], str(row["subset"])): row for row in rows}
    counts: dict[Hashable, Count] = {ages: Count(row["n"], row["patients"]) for ages, row in by_ages.items()}
    parted = [ages for ages in by_ages if ages[0] is not None]
    groups = {
        INFANTS: [ages for ages in parted if ages[0] is not None and ages[0] < 2],
        OLDER: [ages for ages in parted if ages[0] is not None and 2 <= ages[0] < 11],
    }
    sums = []
    for name, parts in groups.items():
        if (None, name) in by_ages and parts:
            sums.append(Sum((None, name), parts))
            parted = [*(one for one in parted if one not in parts), (None, name)]
    whole = next((ages for ages in by_ages if ages[0] is None and ages[1] not in groups), None)
    if whole is not None and parted:
        sums.append(Sum(whole, parted))
    gone = set(hidden)
    also = [ages for ages, row in by_ages.items() if id(row) in gone]
    chosen = masked(counts, sums, min_cell=min_cell, hidden=also)
    chosen |= {ages for ages, row in by_ages.items() if row["patients"] < min_cell}  # those in no sum too
    return {id(row): row for ages, row in by_ages.items() if ages in chosen}


def _alike(rows: list[Row], hidden: Iterable[int]) -> dict[int, Row]:
    """Rows of the same ages and as many images and patients as a masked one: they are of the same people, and would tell it."""
    gone = set(hidden)
    known = {_who(row) for row in rows if id(row) in gone}
    return {id(row): row for row in rows if _who(row) in known}


def _who(row: Row) -> tuple[object, ...]:
    several = row["subset"] if row["subset"] in (INFANTS, OLDER) else None
    return (row["age_low"], several, row["n"], row["patients"])


def _without_rate(row: Row, min_cell: int) -> Row:
    note = few(min_cell) if row["patients"] < min_cell else BESIDE
    return row | dict.fromkeys(_HIDDEN) | {"note": note}
