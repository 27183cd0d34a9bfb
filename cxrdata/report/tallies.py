"""Counts as a report publishes them: those under min_cell masked (null), and beside them what hides them.

What stands in two tables is masked in both: the groups first, then whatever is told of each group.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import polars as pl

from cxrdata.report.contents import BANDS, UNKNOWN, Contents
from cxrdata.report.disclosure import Count, Sum, masked, rounded_share, table_sums
from cxrdata.small_cells import MIN_CELL

ALL = "all"


@dataclass(frozen=True)
class Tallies:
    """The counts to publish: `images` and `persons` are null where masked, `masked` says so.

    groups: dataset, attribute, value. races: dataset, race, ethnicity. years: dataset, year, value (its band).
    missing: dataset, name. ledger, rejects: as counted. `percent` is of the dataset's images throughout; of a masked count it
    is null, or told so coarsely that the count does not follow (`disclosure.rounded_share`).
    """

    groups: pl.DataFrame
    races: pl.DataFrame
    years: pl.DataFrame
    flags: pl.DataFrame
    missing: pl.DataFrame
    ledger: pl.DataFrame
    rejects: pl.DataFrame
    min_cell: int = MIN_CELL

    def hidden(self, dataset: str, attribute: str) -> set[str]:
        """The values of an attribute whose count is masked."""
        rows = self.groups.filter(pl.col("masked"), dataset=dataset, attribute=attribute)
        return set(rows["value"].to_list())


def tally(contents: Contents, *, min_cell: int = MIN_CELL) -> Tallies:
    """Mask what was counted."""
    hidden: dict[str, set[tuple[Hashable, ...]]] = {
        name: set() for name in ("groups", "races", "years", "flags", "missing")
    }
    for dataset, images, persons in contents.datasets.select("dataset", "images", "persons").iter_rows():
        whole = Count(images, persons)
        for attribute in ("sex", "view"):
            rows = contents.groups.filter(dataset=dataset, attribute=attribute)
            found = _of_list(rows, ["value"], whole, min_cell)
            hidden["groups"] |= {(dataset, attribute, *key) for key in found}
        races = _of_races(contents.races.filter(dataset=dataset), whole, min_cell)
        hidden["races"] |= {(dataset, *key) for key in races if ALL not in key}
        hidden["groups"] |= {(dataset, "race", race) for race, ethnicity in races if ethnicity == ALL}
        ages = _of_ages(contents, dataset, whole, min_cell)
        for name in ("years", "flags"):
            hidden[name] |= {(dataset, key[1]) for key in ages if key[0] == name}
        hidden["groups"] |= {(dataset, "age", key[1]) for key in ages if key[0] == "bands"}
        # What the tables above say of the unknown is said again among what is missing.
        known = {"sex": "sex", "race": "race", "view": "view", "age_years": "age"}
        for name, missing, people in contents.missing.filter(dataset=dataset).drop("dataset").iter_rows():
            if name in known:
                bad = (dataset, known[name], UNKNOWN) in hidden["groups"]
            elif name == "ethnicity":
                bad = (ALL, UNKNOWN) in races
            else:
                pair: dict[Hashable, Count] = {
                    "missing": Count(missing, people),
                    "there": Count(images - missing, images - missing),
                    ALL: whole,
                }
                bad = "missing" in masked(pair, [Sum(ALL, ["missing", "there"])], min_cell=min_cell, shown=[ALL])
            if bad:
                hidden["missing"].add((dataset, name))
    ledger, rejects = _of_ledger(contents, min_cell)
    totals = dict(contents.datasets.select("dataset", "images").iter_rows())

    def published(frame: pl.DataFrame, name: str, keys: Sequence[str]) -> pl.DataFrame:
        shown = with_masks(frame, keys, hidden[name])
        rows = zip(frame["images"], frame["dataset"], shown["masked"], strict=True)
        percent = [share(n, totals[dataset], min_cell, is_masked=bad) for n, dataset, bad in rows]
        return shown.with_columns(pl.Series("percent", percent, dtype=pl.Float64))

    return Tallies(
        groups=published(contents.groups, "groups", ["dataset", "attribute", "value"]),
        races=published(contents.races, "races", ["dataset", "race", "ethnicity"]),
        years=published(contents.years, "years", ["dataset", "year"]),
        flags=published(contents.flags, "flags", ["dataset", "flag"]),
        missing=published(contents.missing, "missing", ["dataset", "name"]),
        ledger=ledger,
        rejects=rejects,
        min_cell=min_cell,
    )


def share(n: int, whole: int, min_cell: int, *, is_masked: bool) -> float | None:
    """Percent of a whole that is shown, by the rule of `Tallies.percent`."""
    if not is_masked:
        return 100 * n / whole if whole else None
    told = rounded_share(lambda part, of: (100 * part / of,), n, whole, min_cell=min_cell)
    return None if told is None else told[0]


def with_masks(
    frame: pl.DataFrame,
    keys: Sequence[str],
    hidden: set[tuple[Hashable, ...]],
    counts: Sequence[str] = ("images", "persons"),
) -> pl.DataFrame:
    """The frame with `masked`, and null where a row's count is masked."""
    marks = pl.Series("masked", [key in hidden for key in frame.select(keys).iter_rows()], dtype=pl.Boolean)
    frame = frame.with_columns(marks)
    return frame.with_columns(pl.when(~pl.col("masked")).then(pl.col(name)).alias(name) for name in counts)


def _counts(rows: pl.DataFrame, keys: Sequence[str]) -> dict[Hashable, Count]:
    return {
        tuple(row[: len(keys)]): Count(*row[len(keys) :]) for row in rows.select(*keys, "images", "persons").iter_rows()
    }


def _of_list(rows: pl.DataFrame, keys: Sequence[str], whole: Count, min_cell: int) -> set[tuple[Hashable, ...]]:
    """Of a plain list whose total is known."""
    counts = _counts(rows, keys)
    found = masked({**counts, ALL: whole}, [Sum(ALL, list(counts))], min_cell=min_cell, shown=[ALL])
    return {key for key in found if isinstance(key, tuple)}


def _of_races(rows: pl.DataFrame, whole: Count, min_cell: int) -> set[tuple[str, str]]:
    """Of race by ethnicity, (race, ethnicity), with the totals of both under ALL."""
    counts = _counts(rows, ["race", "ethnicity"])
    races, ethnicities = (rows[name].unique(maintain_order=True).to_list() for name in ("race", "ethnicity"))
    for name, at in (("race", 0), ("ethnicity", 1)):
        for value, images, persons in rows.group_by(name).agg(pl.col("images", "persons").sum()).iter_rows():
            counts[(value, ALL) if at == 0 else (ALL, value)] = Count(images, persons)
    counts[ALL, ALL] = whole
    found = masked(counts, table_sums(races, ethnicities, ALL), min_cell=min_cell, shown=[(ALL, ALL)])
    return {key for key in found if isinstance(key, tuple)}


def _of_ages(contents: Contents, dataset: str, whole: Count, min_cell: int) -> set[tuple[str, Hashable]]:
    """Of the tree years -> bands -> all, and flags -> unknown -> all: ("years", 3), ("bands", "under 18"), ("flags", …)."""
    years = contents.years.filter(dataset=dataset)
    bands = contents.groups.filter(dataset=dataset, attribute="age")
    flags = contents.flags.filter(dataset=dataset)
    counts: dict[Hashable, Count] = {ALL: whole}
    counts |= {("years", year): Count(n, p) for year, n, p in years.select("year", "images", "persons").iter_rows()}
    counts |= {("bands", value): Count(n, p) for value, n, p in bands.select("value", "images", "persons").iter_rows()}
    counts |= {("flags", flag): Count(n, p) for flag, n, p in flags.select("flag", "images", "persons").iter_rows()}
    sums = [Sum(ALL, [("bands", value) for value in bands["value"]])]
    for value in bands["value"]:
        inside = [("years", year) for year in years["year"] if band_of(year) == value]
        if value == UNKNOWN:
            inside = [("flags", flag) for flag in flags["flag"]]
        sums.append(Sum(("bands", value), inside))
    found = masked(counts, sums, min_cell=min_cell, shown=[ALL])
    return {key for key in found if isinstance(key, tuple)}


def band_of(year: int) -> str:
    """The band of BANDS that an age in completed years falls into."""
    return next(name for low, name in reversed(BANDS.items()) if year >= low)


def _of_ledger(contents: Contents, min_cell: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of files: read = kept + merged + unmatched + rejected, and rejected = those of each code."""
    columns = [name for name in contents.ledger.columns if name.startswith("rows_")]
    parts = [name for name in columns if name != "rows_read"]
    ledger_hidden: set[tuple[str, str, str]] = set()
    rejects_hidden: set[tuple[Hashable, ...]] = set()
    keys = ["dataset", "source_file", "kind", "code", "column_name"]
    for row in contents.ledger.iter_rows(named=True):
        place = (row["dataset"], row["source_file"])
        counts: dict[Hashable, Count] = {name: Count(row[name], row[name]) for name in columns}
        sums = [Sum("rows_read", parts)]
        codes = contents.rejects.filter(dataset=place[0], source_file=place[1])
        counts |= {
            key: Count(n, n) for *key_parts, n in codes.select(*keys, "n").iter_rows() for key in [tuple(key_parts)]
        }
        refused = [tuple(key) for key in codes.filter(kind="row").select(keys).iter_rows()]
        if sum(counts[key].images for key in refused) == row["rows_rejected"] and refused:
            sums.append(Sum("rows_rejected", refused))
        found = masked(counts, sums, min_cell=min_cell)
        ledger_hidden |= {(*place, key) for key in found if isinstance(key, str)}
        rejects_hidden |= {key for key in found if isinstance(key, tuple)}
    # A file without a line in the ledger: its codes stand alone.
    rejects_hidden |= {tuple(key) for *key, n in contents.rejects.select(*keys, "n").iter_rows() if 0 < n < min_cell}
    ledger = contents.ledger.with_columns(
        pl.Series(
            name,
            [
                None if (d, f, name) in ledger_hidden else n
                for d, f, n in contents.ledger.select("dataset", "source_file", name).iter_rows()
            ],
            dtype=pl.Int64,
        )
        for name in columns
    )
    return ledger, with_masks(contents.rejects, keys, rejects_hidden, ["n"])
