"""Beyond the publication: sensitivity in children, and trends of errors with age that respect patients."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl

from cxrdata.audit.data import Scored
from cxrdata.errors import CxrError
from cxrtrain.studies.case_study import design
from cxrtrain.studies.case_study.design import CAREFUL, PUBLISHED, bins_of
from cxrtrain.studies.case_study.fpr import Chosen, Wish, by_patient, row_of, subsets
from cxrtrain.studies.case_study.rates import rates_by_patient

SENSITIVITY = {
    "trained_on": pl.String, "dataset": pl.String, "ages": pl.String, "n": pl.Int64, "n_called": pl.Int64,
    "sensitivity": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64, "method": pl.String,
}  # fmt: skip
TRENDS = {
    "trained_on": pl.String, "dataset": pl.String, "subset": pl.String, "measure": pl.String, "n": pl.Int64,
    "estimate": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64, "p_value": pl.Float64, "method": pl.String,
    "note": pl.String,
}  # fmt: skip
TREND_REPLICATES = 2000


def scored(images: pl.DataFrame, model: str) -> Scored:
    _, who = np.unique(images["unit"].to_numpy(), return_inverse=True)
    return Scored(
        model, design.FINDING, "study", "ignore", images["probability"].to_numpy(),
        images["positive"].fill_null(value=False).to_numpy(), who.astype(np.int64), np.ones(images.height), (), probabilities=True,
    )  # fmt: skip


def sensitivity(frame: pl.DataFrame, chosen: Chosen, wish: Wish, notes: list[str]) -> pl.DataFrame:
    """Share of children with a cardiomegaly box that the model calls positive, at the careful threshold (else the published)."""
    boxed = frame.filter(pl.col("boxed").fill_null(value=False), pl.col("blend") == 0.0)
    if boxed.is_empty():
        notes.append(
            "sensitivity in children is not measured: no predicted image is known to have a box that names cardiomegaly"
        )
    rows = []
    low = pl.col("age_low_years").floor()
    for (trained_on, dataset), own in boxed.group_by("trained_on", "dataset", maintain_order=True):
        threshold = chosen[str(trained_on), CAREFUL if CAREFUL in wish.rules else PUBLISHED, 0.0]
        for ages, images in (("all", own), ("0-1", own.filter(low < 2)), ("2-10", own.filter(low >= 2))):
            if images.is_empty():
                continue
            called = images["probability"].to_numpy()[:, None] >= threshold
            below, above = by_patient(images["unit"], [np.ones_like(called), called])
            row = row_of(None, above.sum(), below.sum(), len(below), rates_by_patient(above, below, wish.request)[0])
            hidden = 0 < len(below) < wish.min_cell
            rows.append(
                {
                    "trained_on": trained_on, "dataset": dataset, "ages": ages, "n": row["n"],
                    "n_called": None if hidden else row["n_positive"], "sensitivity": None if hidden else row["fpr"],
                    "ci_low": None if hidden else row["ci_low"], "ci_high": None if hidden else row["ci_high"],
                    "method": f"masked: fewer than {wish.min_cell} patients" if hidden else row["method"],
                }
            )  # fmt: skip
    return pl.DataFrame(rows, schema=SENSITIVITY, orient="row")


def trends(healthy: pl.DataFrame, chosen: Chosen, wish: Wish, notes: list[str]) -> pl.DataFrame:
    """Correlation of age and FPR over the bins, and the odds ratio of ten years by GEE with patients as clusters."""
    from cxrdata.audit.trend import age_trend

    rules = CAREFUL if CAREFUL in wish.rules else PUBLISHED
    rows = []
    for (trained_on, dataset, part), images in healthy.filter(pl.col("blend") == 0.0).group_by(
        "trained_on", "dataset", "part", maintain_order=True
    ):
        subset, mask, *_ = next(subsets(images, str(dataset), str(part), rules))
        own = images.filter(mask).with_columns(positive=pl.lit(value=False))
        if own.is_empty():
            continue
        request = replace(
            wish.request, metrics=("fpr",), threshold=repr(chosen[str(trained_on), rules, 0.0]),
            bootstrap=min(wish.bootstrap, TREND_REPLICATES),
        )  # fmt: skip
        ages = own["age_low_years"].fill_null(math.nan).to_numpy()
        edges = [bins_of(str(part), CAREFUL)[0].low, *(one.high for one in bins_of(str(part), CAREFUL))]
        try:
            answer = age_trend(scored(own, str(trained_on)), ages, request, edges=edges)
        except CxrError as error:
            if error.code != "CXR-604":
                raise
            notes.append(f"no trend of errors with age: {error.problem}; {error.fix}")
            break
        rows += [
            {"trained_on": trained_on, "dataset": dataset, "subset": subset, "measure": row["metric"]}
            | {name: row[name] for name in ("n", "estimate", "ci_low", "ci_high", "p_value", "method", "note")}
            for row in answer.iter_rows(named=True)
        ]
    return pl.DataFrame(rows, schema=TRENDS, orient="row")
