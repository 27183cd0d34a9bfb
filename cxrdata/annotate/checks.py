"""Which checks a file can be given, and their results; what could not be checked is said, with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.annotate.compare import (
    AGE_NAMES,
    SEX_NAMES,
    VIEW_NAMES,
    compare_ages,
    compare_sexes,
    compare_views,
    normalised,
)
from cxrdata.annotate.compare_labels import compare_labels, holds_states, is_label_list, label_columns
from cxrdata.annotate.split_columns import find_split_columns, split_column
from cxrdata.errors import CxrError, nearest
from cxrdata.splits.leaks import find_leaks
from cxrdata.vocabularies import Vocabularies

if TYPE_CHECKING:
    from cxrdata.annotate.facts import Facts

_PREDICTIONS = ("prob_", "logit_", "pred_", "score_")
_MOST_NAMED = 3


def splits(facts: Facts, frame: pl.DataFrame, column: str | None) -> tuple[dict[str, Any], pl.DataFrame]:
    """Patients across the values of the split column, and the table of those that leak.

    Raises CxrError CXR-501 if there is no column of the name given.
    """
    if column is not None and column not in frame.columns:
        raise CxrError(
            "CXR-501",
            f"there is no column {column!r}{nearest(column, frame.columns)}",
            fix=f"columns: {', '.join(frame.columns)}",
        )
    candidates, one_valued = ([split_column(frame[column])], []) if column is not None else find_split_columns(frame)
    chosen = candidates[0] if candidates else None
    rows = facts.images.select("dataset", "image_id", "patient_id").with_columns(
        split=chosen.values if chosen else pl.lit(None, pl.String)
    )
    leaks = find_leaks(rows)
    images = rows.filter(pl.col("image_id").is_not_null())
    counts = (
        images.drop_nulls("split")
        .group_by("split")
        .agg(rows=pl.len(), patients=pl.struct("dataset", pl.coalesce("patient_id", "image_id")).n_unique())
        .sort("split")
    )
    summary = {
        "column": chosen.name if chosen else None,
        "other_columns": [other.name for other in candidates[1:]],
        "one_valued": [
            {"column": one.name, "value": one.distinct[0]}
            for one in [*candidates[:1], *one_valued]
            if len(one.distinct) == 1
        ],
        "values": counts.rename({"split": "value"}).to_dicts(),
        "patients_checked": leaks.n_checked,
        "patients_leaking": leaks.n_patients,
        "rows_leaking": int(leaks.patients["n_rows"].sum()),
        "rows_unchecked": rows.height - int(counts["rows"].sum()) if chosen else rows.height,
        "pairs": leaks.pairs.to_dicts(),
        "without_patient_ids": images.filter(pl.col("patient_id").is_null())["dataset"].unique().sort().to_list(),
    }
    return summary, leaks.patients


def contents(facts: Facts, frame: pl.DataFrame) -> dict[str, Any]:
    """Ages, sexes, views and labels of the file beside the catalog's, and what was not checked."""
    vocabularies = Vocabularies.load()
    ages = [compare_ages(facts, frame[name]) for name in _named(frame, AGE_NAMES)]
    sexes = [compare_sexes(facts, frame[name], vocabularies) for name in _named(frame, SEX_NAMES)]
    views = [compare_views(facts, frame[name], vocabularies) for name in _named(frame, VIEW_NAMES)]
    not_checked = [
        {"what": report["column"], "why": report["not_checked"]} for report in sexes if "not_checked" in report
    ]
    meant = label_columns(facts, [name for name, dtype in frame.schema.items() if not dtype.is_nested()])
    labels = []
    for name, findings in meant.items():
        if holds_states(frame[name]):
            labels.append(compare_labels(facts, frame[name], findings))
        else:
            not_checked.append({"what": name, "why": "holds other values than 1, 0, -1 and blank"})
    lists = [name for name in frame.columns if is_label_list(name) and name not in meant]
    not_checked += [{"what": name, "why": "lists of labels in a cell are not compared"} for name in lists]
    predictions = [name for name in frame.columns if name.lower().startswith(_PREDICTIONS)]
    if predictions:
        shown = ", ".join(predictions[:_MOST_NAMED]) + (", …" if len(predictions) > _MOST_NAMED else "")
        not_checked.append({"what": shown, "why": "predictions, not labels"})
    for what, reports in (("ages", ages), ("sexes", sexes), ("views", views), ("labels", [*labels, *lists])):
        if not reports and not (what == "labels" and meant):
            not_checked.append({"what": what, "why": "no column of such a name"})
    return {
        "ages": ages,
        "sexes": [report for report in sexes if "not_checked" not in report],
        "views": views,
        "labels": labels,
        "not_checked": not_checked,
    }


def _named(frame: pl.DataFrame, names: frozenset[str]) -> list[str]:
    return [name for name, dtype in frame.schema.items() if normalised(name) in names and not dtype.is_nested()]
