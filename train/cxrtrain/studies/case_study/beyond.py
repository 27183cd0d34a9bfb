"""Beyond the publication: sensitivity in children, and trends of errors with age that respect patients."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from cxrdata.audit.data import Scored
from cxrdata.errors import CxrError
from cxrtrain.studies.case_study import design
from cxrtrain.studies.case_study.design import CAREFUL, CHILD_TEST, PUBLISHED, bins_of
from cxrtrain.studies.case_study.fpr import Chosen, Wish, by_patient, row_of, subsets
from cxrtrain.studies.case_study.masking import BESIDE, few, masked_groups
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
_OF_AGE = 18
_REST = "of other ages, or of none"  # shown nowhere, but what is left of all


def scored(images: pl.DataFrame, model: str) -> Scored:
    _, who = np.unique(images["unit"].to_numpy(), return_inverse=True)
    return Scored(
        model, design.FINDING, "study", "ignore", images["probability"].to_numpy(),
        images["positive"].fill_null(value=False).to_numpy(), who.astype(np.int64), np.ones(images.height), (), probabilities=True,
    )  # fmt: skip


def sensitivity(frame: pl.DataFrame, chosen: Chosen, wish: Wish, notes: list[str]) -> pl.DataFrame:
    """Share of children with a cardiomegaly box that the model calls positive, at the careful threshold (else the published)."""
    low = pl.col("age_low_years").floor()
    young = (pl.col("dataset") == design.CHILDREN) | (low < _OF_AGE)
    boxed = frame.filter(pl.col("boxed").fill_null(value=False), pl.col("blend") == 0.0, young)
    if boxed.is_empty():
        notes.append(
            "sensitivity in children is not measured: no predicted image is known to have a box that names cardiomegaly"
        )
    rows = []
    for (trained_on, dataset), own in boxed.group_by("trained_on", "dataset", maintain_order=True):
        threshold = chosen[str(trained_on), CAREFUL if CAREFUL in wish.rules else PUBLISHED, 0.0]
        groups = {"all": own, "0-1": own.filter(low < 2), "2-10": own.filter((low >= 2) & (low < 11))}
        groups[_REST] = own.filter((low < 11).fill_null(value=False).not_())
        patients = {ages: images["unit"].n_unique() for ages, images in groups.items()}
        masked = masked_groups(patients, "all", ("0-1", "2-10", _REST), wish.min_cell)
        for ages, images in groups.items():
            if images.is_empty() or ages == _REST:
                continue
            called = images["probability"].to_numpy()[:, None] >= threshold
            below, above = by_patient(images["unit"], [np.ones_like(called), called])
            row = row_of(None, above.sum(), below.sum(), len(below), rates_by_patient(above, below, wish.request)[0])
            hidden = ages in masked
            note = few(wish.min_cell) if len(below) < wish.min_cell else BESIDE
            rows.append(
                {
                    "trained_on": trained_on, "dataset": dataset, "ages": ages, "n": row["n"],
                    "n_called": None if hidden else row["n_positive"], "sensitivity": None if hidden else row["fpr"],
                    "ci_low": None if hidden else row["ci_low"], "ci_high": None if hidden else row["ci_high"],
                    "method": note if hidden else row["method"],
                }
            )  # fmt: skip
    return pl.DataFrame(rows, schema=SENSITIVITY, orient="row")


def trends(healthy: pl.DataFrame, chosen: Chosen, wish: Wish, notes: list[str]) -> pl.DataFrame:
    """Correlation of age and FPR over the bins, and the odds ratio of ten years by GEE with patients as clusters; in children of
    a year: ten of theirs are from birth to the oldest."""
    from cxrdata.audit.trend import MEASURES, age_trend

    rules = CAREFUL if CAREFUL in wish.rules else PUBLISHED
    rows = []
    for (trained_on, dataset, part), images in healthy.filter(pl.col("blend") == 0.0).group_by(
        "trained_on", "dataset", "part", maintain_order=True
    ):
        subset, mask, *_ = next(subsets(images, str(dataset), str(part), rules))
        own = images.filter(mask).with_columns(positive=pl.lit(value=False))
        if own.is_empty():
            continue
        base = {"trained_on": trained_on, "dataset": dataset, "subset": subset}
        if own["unit"].n_unique() < wish.min_cell:
            rows += [base | {"measure": name, "n": own.height, "note": few(wish.min_cell)} for name in MEASURES]
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
            base
            | {"measure": row["metric"]}
            | {name: row[name] for name in ("n", "estimate", "ci_low", "ci_high", "p_value", "method", "note")}
            | (
                _of_a_year(row)
                if part == CHILD_TEST and row["metric"] == MEASURES[1] and row["estimate"] is not None
                else {}
            )
            for row in answer.iter_rows(named=True)
        ]
    return pl.DataFrame(rows, schema=TRENDS, orient="row")


def _of_a_year(row: dict[str, Any]) -> dict[str, Any]:
    """The odds ratio of ten years as that of one."""
    from cxrdata.audit.trend import DECADE

    ends = ("estimate", "ci_low", "ci_high")
    return {name: row[name] ** (1 / DECADE) for name in ends} | {"note": "odds ratio of a year"}
