"""Label columns of a file beside the catalog's `image_labels`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.annotate.compare import beside, cells, examples, normalised

if TYPE_CHECKING:
    from cxrdata.annotate.facts import Facts

_STATES = {"1": 1, "0": 0, "-1": -1, "true": 1, "false": 0}
_LISTS = frozenset({"findinglabels", "labels", "labelcuis"})


def label_columns(facts: Facts, columns: list[str]) -> dict[str, dict[str, str]]:
    """Column -> dataset -> the canonical finding that a column of this name means there.

    A name is a canonical finding, its title, or a native label with an exact counterpart: of the row's own dataset
    first, else of any other, if those that use it agree.
    """
    titles = facts.catalog.table("findings").select("finding", "title").collect()
    canonical = {normalised(name): finding for finding, title in titles.iter_rows() for name in (finding, title)}
    native: dict[str, dict[str, str]] = {}
    anywhere: dict[str, set[str]] = {}
    for dataset, label, finding in facts.exact.iter_rows():
        native.setdefault(dataset, {})[normalised(label)] = finding
        anywhere.setdefault(normalised(label), set()).add(finding)
    agreed = {name: next(iter(findings)) for name, findings in anywhere.items() if len(findings) == 1}
    meant = {dataset: agreed | canonical | native.get(dataset, {}) for dataset in facts.datasets}
    found = {
        column: {dataset: names[normalised(column)] for dataset, names in meant.items() if normalised(column) in names}
        for column in columns
    }
    return {column: by_dataset for column, by_dataset in found.items() if by_dataset}


def holds_states(given: pl.Series) -> bool:
    """Whether a column holds label states: 1, 0, -1, true, false or blank, and nothing else."""
    return set(cells(given).drop_nulls().unique()) <= set(_STATES)


def is_label_list(column: str) -> bool:
    """Whether a column of this name holds several labels a cell."""
    return normalised(column) in _LISTS


def compare_labels(facts: Facts, given: pl.Series, findings: dict[str, str]) -> dict[str, Any]:
    """What the file says of one label against the catalog. `findings`: dataset -> the finding meant.

    Only contradictions are `different`. What a file makes of an uncertain label (`uncertain_recoded`) or of one
    that the source does not mention or assess (`not_stated`) is a choice of its author, and counted apart.
    """
    known: pl.Expr = pl.lit(None, pl.Int8)
    for dataset, finding in findings.items():
        known = pl.when(pl.col("dataset") == dataset).then(pl.col(finding)).otherwise(known)
    catalog = facts.labels.select(known.alias("catalog")).to_series()
    state = cells(given).replace_strict(_STATES, default=None, return_dtype=pl.Int8)
    rows = beside(facts, given, state=state, catalog=catalog)
    stated = rows.filter(pl.col("catalog").is_not_null())
    unequal = stated.filter(pl.col("state") != pl.col("catalog"))
    different = unequal.filter(pl.col("catalog") != -1)
    return {
        "column": given.name,
        "findings": findings,
        "compared": stated.height,
        "different": different.height,
        "uncertain_recoded": unequal.height - different.height,
        "not_stated": rows.height - stated.height,
        "examples": examples(different),
    }
