"""How often a finding is positive, by group, with intervals that know that images cluster in patients.

An image counts for a finding if its labeler (the first of the dataset's preference, as in `image_labels`) assesses that
finding; it is positive where the label is 1. Uncertain and unmentioned are not positive.

How many images of a group are assessed differs by few from how many there are, which other tables give. So `prevalence`
is not for publishing: `published` is, which tells the images roughly (`disclosure.about`), no positives, and percentages in
steps that are worth min_cell - 1 images (`disclosure.coarse_share`).
"""

from __future__ import annotations

from collections.abc import Hashable
from math import sqrt
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.report.contents import GROUPS, UNKNOWN, Contents
from cxrdata.report.disclosure import Count, Sum, about, coarse_share, masked, rounded_share, table_sums
from cxrdata.report.tallies import ALL, Tallies
from cxrdata.small_cells import MIN_CELL
from cxrdata.store.database import literal, quoted

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

Z = 1.959963984540054  # of a 95 % interval
ATTRIBUTES = (ALL, "sex", "race", "age")
SCHEMA = {
    "dataset": pl.String, "attribute": pl.String, "value": pl.String, "finding": pl.String, "images": pl.Int64, "persons": pl.Int64,
    "positive": pl.Int64, "percent": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64, "masked": pl.Boolean,
}  # fmt: skip


def interval(n: int, positive: int, persons: int, squares: float) -> tuple[float, float]:
    """The 95 % interval of a share as Wilson's, with as many observations as the images are worth.

    persons: the clusters. squares: sum over the persons of (positive - share * images) squared, from which comes the
    variance of the share as of a ratio of sums over persons; against the variance of as many independent images it gives
    the design effect (Kish 1965), never taken as below 1. Where none or all are positive, it cannot be told, and the
    persons are what is counted (Franco et al. 2019, doi:10.1093/jssam/smy019, survey such intervals).
    """
    share = positive / n
    worth = float(persons)
    if 0 < positive < n and persons > 1:
        variance = persons / (persons - 1) * squares / n**2
        worth = min(float(n), share * (1 - share) / variance) if variance > 0 else float(n)
    middle = (share + Z**2 / (2 * worth)) / (1 + Z**2 / worth)
    half = Z / (1 + Z**2 / worth) * sqrt(share * (1 - share) / worth + Z**2 / (4 * worth**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def prevalence(catalog: Catalog, tallies: Tallies) -> pl.DataFrame:
    """A row a dataset, attribute (`all`, sex, race, age), value and finding: images, persons, positive, percent, ci_low,
    ci_high (percent), null where masked."""
    findings = catalog.sql("SELECT finding FROM findings ORDER BY finding_order")["finding"].to_list()
    assessed = catalog.sql(
        "SELECT DISTINCT dataset, labeler, finding FROM label_counts WHERE finding IS NOT NULL ORDER BY ALL"
    )
    by_patient = catalog.sql("SELECT dataset, patient_ids FROM datasets WHERE in_build ORDER BY dataset")
    by_finding: dict[tuple[str, str], set[str]] = {}
    for dataset, labeler, finding in assessed.iter_rows():
        by_finding.setdefault((dataset, finding), set()).add(labeler)
    rows: list[tuple[object, ...]] = []
    for dataset, patient_ids in by_patient.iter_rows():
        labelers = {
            finding: frozenset(by_finding[dataset, finding]) for finding in findings if (dataset, finding) in by_finding
        }
        if labelers:
            sums = _sums(catalog, dataset, list(labelers))
            rows += _of_dataset(sums, dataset, labelers, tallies, by_patient=bool(patient_ids))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def published(found: pl.DataFrame, contents: Contents, *, min_cell: int = MIN_CELL) -> pl.DataFrame:
    """`prevalence` as a report may show it: dataset, attribute, value, finding, masked, images_about (null where masked),
    percent, ci_low, ci_high (null where they cannot be told). With a min_cell of 1, nothing is rounded."""
    wholes = {(dataset, ALL, ALL): n for dataset, n in contents.datasets.select("dataset", "images").iter_rows()}
    groups = contents.groups.select("dataset", "attribute", "value", "images")
    wholes |= {(dataset, attribute, value): n for dataset, attribute, value, n in groups.iter_rows()}
    rows: list[tuple[object, ...]] = []
    for row in found.iter_rows(named=True):
        place = (row["dataset"], row["attribute"], row["value"])
        n, shares = row["images"], (row["percent"], row["ci_low"], row["ci_high"])
        images = None if n is None else about(n, wholes[place], min_cell=min_cell)
        if images is not None and not row["masked"] and min_cell > 1:
            told = coarse_share(
                row["positive"], n, shares[1:], of_about=images, persons=row["persons"], min_cell=min_cell
            )
            shares = (None, None, None) if told is None else (told[0], told[1], told[2])
        rows.append((*place, row["finding"], row["masked"], images, *shares))
    schema = {name: SCHEMA[name] for name in ("dataset", "attribute", "value", "finding", "masked")}
    numbers = {"images_about": pl.Int64, **{name: SCHEMA[name] for name in ("percent", "ci_low", "ci_high")}}
    return pl.DataFrame(rows, schema={**schema, **numbers}, orient="row")


def _sums(catalog: Catalog, dataset: str, findings: list[str]) -> pl.DataFrame:
    """labeler, person, sex, race, age, n, and of each finding the positive images; a row a person and group."""
    positive = ", ".join(f"sum((l.{quoted(name)} = 1)::INT)::BIGINT AS {quoted(name)}" for name in findings)
    groups = ", ".join(f"coalesce({GROUPS[name]}, '{UNKNOWN}') AS {name}" for name in ATTRIBUTES[1:])
    return catalog.sql(f"""
        SELECT l.labeler, i.patient_id AS person, {groups}, count(*) AS n, {positive}
        FROM images AS i JOIN image_labels AS l USING (dataset, image_id)
        WHERE l.labeler IS NOT NULL AND i.dataset = {literal(dataset)} AND l.dataset = {literal(dataset)}
        GROUP BY ALL""")


def _of_dataset(
    sums: pl.DataFrame, dataset: str, labelers: dict[str, frozenset[str]], tallies: Tallies, *, by_patient: bool
) -> list[tuple[object, ...]]:
    # Findings that the same labelers assess have the same images below them.
    kinds = {names: f"n {number}" for number, names in enumerate(sorted(set(labelers.values()), key=sorted))}
    used = sums.with_columns(
        pl.when(pl.col("labeler").is_in(list(names))).then("n").otherwise(0).alias(kind)
        for names, kind in kinds.items()
    ).with_columns(pl.lit(ALL).alias(ALL))
    found: dict[str, dict[tuple[str, str], _Moments]] = {}
    for attribute in ATTRIBUTES:
        found[attribute] = _moments(
            used, attribute, {f: kinds[names] for f, names in labelers.items()}, by_patient=by_patient
        )
    no_group = {attribute: tallies.hidden(dataset, attribute) for attribute in ATTRIBUTES[1:]}
    rows: list[tuple[object, ...]] = []
    for finding in labelers:
        whole = {key: one for key, one in found[ALL].items() if key[1] == finding}
        if not whole:
            continue
        top = _masked_total(whole[ALL, finding], tallies.min_cell)
        for attribute in ATTRIBUTES:
            groups = {value: one for (value, name), one in found[attribute].items() if name == finding}
            hidden = (
                top
                if attribute == ALL
                else _masked_groups(groups, whole[ALL, finding], top, no_group[attribute], tallies.min_cell)
            )
            rows += [
                _row(dataset, attribute, value, finding, one, hidden, tallies.min_cell)
                for value, one in sorted(groups.items())
            ]
    return rows


class _Moments:
    """Of one finding in one group: images, persons, positives, persons with a positive image, with another, and the sums
    of squares over persons that the interval needs."""

    def __init__(self, numbers: dict[str, int]) -> None:
        self.n, self.y = numbers["n"], numbers["y"]
        self.persons, self.persons_positive, self.persons_other = numbers["m"], numbers["mp"], numbers["mo"]
        self._nn, self._ny, self._yy = numbers["nn"], numbers["ny"], numbers["yy"]

    @property
    def squares(self) -> float:
        share = self.y / self.n
        return max(0.0, self._yy - 2 * share * self._ny + share**2 * self._nn)

    def counts(self, value: str) -> dict[Hashable, Count]:
        return {
            (value, "positive"): Count(self.y, self.persons_positive),
            (value, "other"): Count(self.n - self.y, self.persons_other),
            (value, ALL): Count(self.n, self.persons),
        }


def _moments(
    used: pl.DataFrame, attribute: str, kinds: dict[str, str], *, by_patient: bool
) -> dict[tuple[str, str], _Moments]:
    """(value, finding) -> what its share and interval are made of; groups that no labeler of the finding assessed are left
    out."""
    numbers = [*dict.fromkeys(kinds.values()), *kinds]
    keys = [attribute, "person"] if by_patient else [attribute]
    people = used.group_by(keys).agg(pl.col(numbers).sum())
    parts: list[pl.Expr] = []
    for finding, kind in kinds.items():
        n, y = pl.col(kind), pl.col(finding)
        sums = {"n": n, "y": y, "m": n > 0, "mp": y > 0, "mo": n > y, "nn": n * n, "ny": n * y, "yy": y * y}
        if not by_patient:  # each image its own cluster: squares of 0 and 1
            sums = {"n": n, "y": y, "m": n, "mp": y, "mo": n - y, "nn": n, "ny": y, "yy": y}
        parts += [expression.cast(pl.Int64).sum().alias(f"{finding} {name}") for name, expression in sums.items()]
    table = people.group_by(attribute).agg(parts).sort(attribute)
    found = {}
    for row in table.iter_rows(named=True):
        for finding in kinds:
            one = _Moments({name: row[f"{finding} {name}"] for name in ("n", "y", "m", "mp", "mo", "nn", "ny", "yy")})
            if one.n:
                found[row[attribute], finding] = one
    return found


def _masked_total(whole: _Moments, min_cell: int) -> set[Hashable]:
    return masked(
        whole.counts(ALL), [Sum((ALL, ALL), [(ALL, "positive"), (ALL, "other")])], min_cell=min_cell, shown=[(ALL, ALL)]
    )


def _masked_groups(
    groups: dict[str, _Moments], whole: _Moments, top: set[Hashable], hidden: set[str], min_cell: int
) -> set[Hashable]:
    """(value, positive | other | all): the totals over the groups are masked as they were on their own; the images of a
    group where the group itself is."""
    counts = whole.counts(ALL)
    for value, one in groups.items():
        counts |= one.counts(value)
    sums = table_sums(list(groups), ["positive", "other"], ALL)
    known = [key for key in counts if key[0] == ALL or key[1] == ALL]  # type: ignore[index]
    return masked(counts, sums, min_cell=min_cell, hidden=[*top, *((value, ALL) for value in hidden)], shown=known)


def _row(
    dataset: str, attribute: str, value: str, finding: str, one: _Moments, hidden: set[Hashable], min_cell: int
) -> tuple[object, ...]:
    no_group = (value, ALL) in hidden
    n, persons = (None, None) if no_group else (one.n, one.persons)
    bad = no_group or (value, "positive") in hidden or (value, "other") in hidden

    def told(positive: int, images: int) -> tuple[float, ...]:
        ends = interval(images, positive, one.persons, one.squares)
        return 100 * positive / images, 100 * ends[0], 100 * ends[1]

    shares: tuple[float | None, ...] | None
    if bad:
        shares = rounded_share(told, one.y, one.n, min_cell=min_cell, whole_is_masked=no_group) or (None, None, None)
    else:
        shares = told(one.y, one.n)
    return (dataset, attribute, value, finding, n, persons, None if bad else one.y, *shares, bad)
