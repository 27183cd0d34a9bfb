"""How fair each model is: the audit's rows of accuracy, AUROC and the fairness criteria, and ERM less each other model, paired.

Rows are those of `cxrdata audit` (CONTRACT §7). Of a pair `ERM - X` a row `M_difference` takes both values from the same draws of
patients; of a criterion it is that of ERM less that of X, above 0 where X is fairer (below 0 for the selection ratio, where 1
is fair). Each model's own highest and lowest group stand for its criterion in every replicate, as in the audit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cxrdata.audit.compare import comparison_rows, two_sided
from cxrdata.audit.data import OVERALL, ROW_SCHEMA, Grouping, Scored
from cxrdata.audit.engine import prepared, subject_rows
from cxrdata.audit.fairness import CRITERIA, FORMS, Compared, gap_rows
from cxrdata.audit.intervals import Interval
from cxrdata.audit.request import AuditRequest
from cxrdata.audit.rows import head, interval_columns, is_masked
from cxrdata.audit.subject import Part, Subject
from cxrtrain.bundle import HeadTargets

ERM = "ERM"
METRICS = ("auroc", "accuracy", "tpr", "tnr", "selection_rate")
EQUALISED = ("equalised_odds_positive", "equalised_odds_negative")
# The table that is read first: metric as the audit calls it, and whether a row of groups or of everybody holds it.
SHOWN = {
    "accuracy": "accuracy",
    "auroc": "AUROC",
    "equalised_odds_negative": "equalised odds, negative class",
    "equalised_odds_positive": "equalised odds, positive class",
    "equalised_odds": "equalised odds, the larger",
    "demographic_parity_difference": "demographic parity",
    "disparate_impact_tpr": "disparate impact, 1 - ratio of TPR",
    "disparate_impact_selection_ratio": "disparate impact, ratio of shares called positive",
}


@dataclass(frozen=True)
class Scores:
    """What a model says: probability of the disease of some images, and who they are."""

    scores: NDArray[np.float64]
    disease: NDArray[np.int64]
    attribute: NDArray[np.int64]
    patients: NDArray[np.int64]

    def scored(self, model: str, finding: str, attribute: HeadTargets, by: str) -> Scored:
        return Scored(
            model=model, label=finding, truth="", policy="", scores=self.scores, positive=self.disease == 1,
            patients=self.patients, weights=np.ones(len(self.scores)), probabilities=True,
            groupings=(Grouping(by, attribute.outputs, self.attribute.astype(np.int32)),),
        )  # fmt: skip


def fairness_rows(
    test: Mapping[str, Scores],
    valid: Mapping[str, Scores],
    attribute: HeadTargets,
    *,
    finding: str,
    by: str,
    threshold: str,
    bootstrap: int,
    min_cell: int,
    seed: int,
) -> pl.DataFrame:
    """Rows of `ROW_SCHEMA`. test, valid: by model, the first is ERM; where the threshold is a rule, it chooses on valid."""
    scored = {name: one.scored(name, finding, attribute, by) for name, one in test.items()}
    chosen_on = {(name, finding): one.scored(name, finding, attribute, by) for name, one in valid.items()}
    request = AuditRequest(
        metrics=METRICS, threshold=threshold, calibration=chosen_on, bootstrap=bootstrap, min_cell=min_cell, seed=seed
    )
    subjects = [prepared(one, request) for one in scored.values()]
    rows = [row for subject in subjects for row in (*subject_rows(subject), *gap_rows(subject))]
    rows += [row for row in comparison_rows(subjects) if str(row["model"]).startswith(f"{ERM} - ")]
    for subject in subjects[1:]:
        rows += criteria_difference(subjects[0], subject)
    return pl.DataFrame(rows, schema=ROW_SCHEMA, orient="row")


def criteria_difference(first: Subject, second: Subject) -> list[dict[str, Any]]:
    """The criteria of one model less those of another on the same images."""
    rows: list[dict[str, Any]] = []
    for one, other in zip(first.parts, second.parts, strict=True):
        if one.by == OVERALL:
            continue
        values = {
            name: (_criterion(first, one, metric, form), _criterion(second, other, metric, form))
            for name, metric, form in CRITERIA
        }
        by_class = [values[name] for name in EQUALISED]
        values["equalised_odds"] = (_larger([pair[0] for pair in by_class]), _larger([pair[1] for pair in by_class]))
        for name, (ours, theirs) in values.items():
            rows.append(_row(first, second, one, name, ours, theirs))
    return rows


@dataclass(frozen=True)
class _Value:
    """A criterion, nan where it has none; replicates: (replicates,)."""

    point: float
    replicates: NDArray[np.float64]


def _criterion(subject: Subject, part: Part, metric: str, form: str) -> _Value:
    shown = [g for g in range(len(part.values)) if part.n[g] and not is_masked(subject, part, g)]
    compared = Compared(subject, part, metric, shown)
    if compared.few:
        return _Value(math.nan, np.full(len(part.replicates), np.nan))
    combine = FORMS[form]
    points = part.points[compared.at]
    point = float(combine(points[[compared.high]], points[[compared.low]])[0])
    drawn = part.replicates[:, compared.at]
    return _Value(point, np.asarray(combine(drawn[:, compared.high], drawn[:, compared.low])))


def _larger(values: Sequence[_Value]) -> _Value:
    if any(math.isnan(one.point) for one in values):
        return _Value(math.nan, np.full(len(values[0].replicates), np.nan))
    return _Value(max(one.point for one in values), np.max([one.replicates for one in values], axis=0))


def _row(first: Subject, second: Subject, part: Part, name: str, ours: _Value, theirs: _Value) -> dict[str, Any]:
    row = head(first, part, None) | {
        "model": f"{first.scored.model} - {second.scored.model}",
        "metric": f"{name}_difference",
    }
    estimate = ours.point - theirs.point
    if math.isnan(estimate):
        return row | {"note": "undefined: one of the models has no value"}
    found, p_value = Interval(), math.nan
    differences = ours.replicates - theirs.replicates
    if len(differences) and not np.isnan(differences).all():
        found = Interval.of_replicates(first.request, differences, estimate)
        p_value = two_sided(differences) if not math.isnan(found.low) else math.nan
    return (
        row
        | {"estimate": estimate}
        | interval_columns(first, found, [found.note])
        | {
            "p_value": None if math.isnan(p_value) else p_value,
            "method": "; ".join(one for one in (found.method, "" if math.isnan(p_value) else "p by bootstrap") if one)
            or None,
        }
    )


def short_table(rows: pl.DataFrame) -> pl.DataFrame:
    """The table that is read first: a row a model and metric of `SHOWN`, with its interval, and ERM's less it, paired."""
    overall = pl.col("group_by") == OVERALL
    of_all = pl.col("group_value").is_null()
    wanted = ["model", "metric", "n", "estimate", "ci_low", "ci_high", "note"]
    own = rows.filter(
        ~pl.col("model").str.starts_with(f"{ERM} - "),
        pl.col("metric").is_in(list(SHOWN)),
        of_all,
        overall | ~pl.col("metric").is_in(["accuracy", "auroc"]),
    ).select(wanted)
    paired = (
        rows.filter(pl.col("model").str.starts_with(f"{ERM} - "), of_all)
        .select(
            pl.col("model").str.strip_prefix(f"{ERM} - "),
            pl.col("metric").str.strip_suffix("_difference"),
            difference_from_erm=-pl.col("estimate"),
            difference_low=-pl.col("ci_high"),
            difference_high=-pl.col("ci_low"),
            p_value="p_value",
        )
        .filter(pl.col("metric").is_in(list(SHOWN)))
    )
    joined = own.join(paired, on=["model", "metric"], how="left", maintain_order="left")
    order = {name: at for at, name in enumerate(SHOWN)}
    models = {name: at for at, name in enumerate(own["model"].unique(maintain_order=True))}
    return joined.sort(
        pl.col("model").replace_strict(models, return_dtype=pl.Int64),
        pl.col("metric").replace_strict(order, return_dtype=pl.Int64),
    )
