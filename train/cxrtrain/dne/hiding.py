"""Hiding told apart from fooling: what the probe that was to be misled says, and what a fresh one finds.

A noise that fools drives the old probe's cross-entropy up and its AUROC to 0.5 or below, and a probe trained anew on the
edited images reads the attribute as before. A noise that hides leaves a fresh probe nothing to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from cxrdata.audit.data import Scored
from cxrdata.audit.engine import evaluate
from cxrdata.audit.request import AuditRequest
from cxrtrain.dne.heads import Labelled
from cxrtrain.probe.heads import LinearHead, fit_head

CLEAN, EDITED = "clean", "edited"
OLD, FRESH = "old", "fresh"
SCHEMA = {
    "noise": pl.String, "access": pl.String, "objective": pl.String, "images": pl.String, "probe": pl.String, "metric": pl.String,
    "n": pl.Int64, "estimate": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64, "method": pl.String, "note": pl.String,
}  # fmt: skip


def fresh_probe(train: Labelled, valid: Labelled, *, classes: int, seed: int) -> LinearHead:
    """The strongest reader that we have (`cxrtrain.probe.heads`): features standardised, the best validation epoch kept. The
    published recipe, of a small rate and few steps, would let a weak reader pass for a hidden attribute."""
    features = torch.cat([train.features, valid.features])
    truth = np.concatenate([train.truth, valid.truth])
    rows = np.arange(len(truth), dtype=np.int64)
    n = len(train.truth)
    return fit_head(lambda at: features[torch.from_numpy(at)], truth, rows[:n], rows[n:], classes=classes, seed=seed)


@dataclass(frozen=True)
class Reading:
    """What a probe says of test images. said: columns of `SCHEMA` that name it."""

    said: dict[str, Any]
    head: LinearHead
    data: Labelled


def hiding_rows(readings: list[Reading], patients: NDArray[np.int64], *, bootstrap: int, seed: int) -> pl.DataFrame:
    """Cross-entropy, accuracy and AUROC of each reading, the two latter with intervals by patient, the first by images drawn
    with their patients. patients: of the test images, in the readings' order. Of more than two classes the AUROC is that of the
    last against the others."""
    rows: list[dict[str, Any]] = []
    scored = []
    for at, one in enumerate(readings):
        logits = one.head.logits(one.data.features)
        losses = cross_entropy(logits, torch.from_numpy(one.data.truth), reduction="none").numpy().astype(np.float64)
        low, high = _interval(losses, patients, bootstrap=bootstrap, seed=seed)
        rows.append(
            one.said | {"metric": "cross_entropy", "n": len(losses), "estimate": float(losses.mean()), "ci_low": low, "ci_high": high, "method": "percentile bootstrap by patient" if bootstrap else None}
        )  # fmt: skip
        last = logits.shape[1] - 1
        scored.append(
            Scored(
                model=str(at), label="attribute", truth="", policy="", scores=logits.softmax(1)[:, last].numpy().astype(np.float64),
                positive=one.data.truth == last, patients=patients, weights=np.ones(len(patients)), groupings=(), probabilities=True,
            )
        )  # fmt: skip
    request = AuditRequest(metrics=("accuracy", "auroc"), threshold="0.5", bootstrap=bootstrap, gaps=False, seed=seed)
    found = evaluate(scored, request).filter(pl.col("metric") != "threshold")
    rows += [
        readings[int(row["model"])].said | {name: row[name] for name in SCHEMA if name in row}
        for row in found.iter_rows(named=True)
    ]
    order = {(*one.said.values(),): at for at, one in enumerate(readings)}
    rows.sort(key=lambda row: order[tuple(row[name] for name in readings[0].said)])
    return pl.DataFrame([{name: row.get(name) for name in SCHEMA} for row in rows], schema=SCHEMA, orient="row")


def _interval(
    values: NDArray[np.float64], patients: NDArray[np.int64], *, bootstrap: int, seed: int
) -> tuple[float | None, float | None]:
    """Of the mean, patients drawn with replacement."""
    if not bootstrap:
        return None, None
    _, codes = np.unique(patients, return_inverse=True)
    sums, counts = np.bincount(codes, weights=values), np.bincount(codes)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(bootstrap, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
