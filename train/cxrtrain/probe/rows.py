"""AUROCs as rows, with intervals by patient from the audit's machinery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cxrdata.audit.data import Scored
from cxrdata.audit.engine import evaluate
from cxrdata.audit.request import AuditRequest
from cxrtrain.bundle import HeadTargets

SCHEMA = {
    "origin": pl.String, "frozen": pl.String, "attribute": pl.String, "criterion": pl.String, "share": pl.Float64,
    "units": pl.String, "n_units": pl.Int64, "switched_to": pl.String, "about": pl.String, "target": pl.String,
    "read_by": pl.String, "metric": pl.String, "estimate": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64,
    "n": pl.Int64, "n_positive": pl.Int64, "draws": pl.Int64, "method": pl.String, "note": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One AUROC that is asked for. about: `attribute` or `finding`. head: which head says it, and `at` which of its outputs.
    rows: of the bundle, test images whose truth is known, and positive, (rows,), their truth."""

    about: str
    name: str
    head: str
    at: int
    rows: NDArray[np.int64]
    positive: NDArray[np.bool_]


def targets_of_head(
    about: str, head: HeadTargets, targets: NDArray[np.float32], test: NDArray[np.int64]
) -> list[Target]:
    """Each class against all others (of two the first), or each finding. targets: (all rows, columns)."""
    if head.kind == "classes":
        rows = test[~np.isnan(targets[test, 0])]
        several = head.outputs if len(head.outputs) > 2 else head.outputs[:1]
        return [Target(about, name, head.name, at, rows, targets[rows, 0] == at) for at, name in enumerate(several)]
    found = []
    for at, name in enumerate(head.outputs):
        rows = test[~np.isnan(targets[test, at])]
        found.append(Target(about, name, head.name, at, rows, targets[rows, at] > 0.5))
    return found


def rows_with_intervals(
    asked: Sequence[tuple[Target, NDArray[np.float64], dict[str, Any]]],
    patients: NDArray[np.int64],
    *,
    bootstrap: int,
    seed: int,
) -> list[dict[str, Any]]:
    """A row for each target, scores of its rows, and what else the row says. patients: (all rows,)."""
    scored = [
        Scored(
            model=str(at), label=target.name, truth="", policy="", scores=np.asarray(scores, dtype=np.float64),
            positive=target.positive, patients=patients[target.rows], weights=np.ones(len(target.rows)), groupings=(),
            probabilities=False,
        )
        for at, (target, scores, _) in enumerate(asked)
    ]  # fmt: skip
    request = AuditRequest(metrics=("auroc",), threshold=None, bootstrap=bootstrap, gaps=False, seed=seed)
    found = evaluate(scored, request).select(
        "model", "estimate", "ci_low", "ci_high", "n", "n_positive", "method", "note"
    )
    answers = {row.pop("model"): row for row in found.iter_rows(named=True)}
    return [_named(target, said) | answers[str(at)] for at, (target, _, said) in enumerate(asked)]


def row_of_draws(target: Target, draws: Sequence[NDArray[np.float64]], said: dict[str, Any]) -> dict[str, Any]:
    """A row for scores that were made several times: the mean AUROC, and where 95 % of the draws lie."""
    from cxrtrain.evaluate import auroc  # of torch, which whoever reads rows of a file does without

    truth = target.positive.astype(np.float64)
    areas = [area for scores in draws if (area := auroc(np.asarray(scores), truth)) is not None]
    row = _named(target, said) | {"n": len(truth), "n_positive": int(truth.sum()), "draws": len(draws)}
    if not areas:
        return row | {"note": "undefined: one class alone"}
    low, high = np.quantile(areas, [0.025, 0.975])
    method = "mean and 95 % of the draws"
    return row | {"estimate": float(np.mean(areas)), "ci_low": float(low), "ci_high": float(high), "method": method}


def frame_of(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in SCHEMA} for row in rows], schema=SCHEMA, orient="row")


def _named(target: Target, said: dict[str, Any]) -> dict[str, Any]:
    return said | {"about": target.about, "target": target.name, "metric": "auroc"}
