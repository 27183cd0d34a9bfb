"""One model judged on its test images: AUROC one against the rest, accuracy, confusion matrix, ROC curves; all by the audit.

`evaluation.json` has the shape that its source writes: `roc_auc_scores`, `roc_auc_curves`, `accuracy_score`,
`confusion_matrix`. Its confusion matrix stood on its side; here rows are the truth, and the file says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import cxrdata
from cxrdata.audit.curves import roc_curve
from cxrdata.audit.data import Scored
from cxrdata.report.audit_figures import thinned_curve
from cxrtrain.studies.case_study.rates import rates_by_patient
from cxrtrain.studies.implicit_attributes.design import ATTRIBUTE, RACES, Wish
from cxrtrain.studies.implicit_attributes.files import Predicted

EVALUATION = {
    "model": pl.String, "images_per_patient": pl.Int64, "origin": pl.String, "frozen": pl.String, "about": pl.String,
    "label": pl.String, "metric": pl.String, "n": pl.Int64, "n_positive": pl.Int64, "estimate": pl.Float64,
    "ci_low": pl.Float64, "ci_high": pl.Float64, "method": pl.String, "note": pl.String,
}  # fmt: skip
CONFUSION = {
    "model": pl.String, "truth": pl.String, "predicted": pl.String, "n": pl.Int64, "share_of_truth": pl.Float64,
    "note": pl.String,
}  # fmt: skip
ROC = {"model": pl.String, "label": pl.String, "threshold": pl.Float64, "fpr": pl.Float64, "tpr": pl.Float64}
AUROC, ACCURACY = "auroc", "accuracy"
FINDING = "finding"
PREDICTIONS, JSON = "predictions.csv", "evaluation.json"
ROWS = "confusion_matrix: rows are the truth, columns what was predicted; each row sums to 1"


@dataclass(frozen=True)
class Judged:
    """Frames of `EVALUATION`, `CONFUSION`, `ROC`, and what the audit remarked."""

    evaluation: pl.DataFrame
    confusion: pl.DataFrame
    roc: pl.DataFrame
    notes: list[str]


def judge(one: Predicted, folder: Path, wish: Wish) -> Judged:
    """Write predictions.csv and evaluation.json into a folder, which is made. Raises those of `cxrdata.audit`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / PREDICTIONS
    one.frame.write_csv(file)
    answer = cxrdata.audit(
        predictions=file, truth_from=file, key="image_id", labels=one.labels, metrics=("auroc",), bootstrap=wish.bootstrap,
        seed=wish.seed, min_cell=wish.min_cell, threads=wish.threads,
    )  # fmt: skip
    named = {
        "model": one.model.name, "images_per_patient": one.model.size, "origin": one.model.origin, "frozen": one.model.frozen,
    }  # fmt: skip
    rows = [
        row | named | {"about": ATTRIBUTE if row["label"] in RACES else FINDING}
        for row in answer.rows.filter(metric=AUROC, group_by="overall").iter_rows(named=True)
    ]
    tests = {scored.label: scored for scored in answer.scored}
    races = [tests[name] for name in RACES if name in tests]
    patients = {scored.label: len(np.unique(scored.patients[scored.positive])) for scored in races}
    few = {label for label, n in patients.items() if 0 < n < wish.min_cell}
    told = f"masked: fewer than {wish.min_cell} patients"
    hidden = dict.fromkeys(("n_positive", "estimate", "ci_low", "ci_high", "method")) | {"note": told}
    rows = [row | (hidden if row["label"] in few else {}) for row in rows]
    if len(races) > 1:
        accuracy = _accuracy(races, wish)
        if one.frame["patient_id"].null_count() == one.frame.height:  # the unit is then the image
            accuracy["method"] = accuracy["method"].replace("patient", "image")
        rows.append(named | accuracy)
    evaluation = _frame(rows, EVALUATION)
    confusion = _confusion(answer.confusion, one, patients, wish)
    curves = {
        label: roc_curve(scored)
        for label, scored in tests.items()
        if label not in few  # its steps count them
    }
    # With a point for each score it would say each image's score and truth: that lies with the predictions alone.
    thinned = {label: thinned_curve(curve) for label, curve in curves.items() if curve.height}
    _write_json(folder / JSON, evaluation, confusion, _roc(curves, one))
    return Judged(evaluation, confusion, _roc(thinned, one), answer.notes)


def _roc(curves: Mapping[str, pl.DataFrame], one: Predicted) -> pl.DataFrame:
    named = [curve.with_columns(model=pl.lit(one.model.name), label=pl.lit(label)) for label, curve in curves.items()]
    return pl.concat([pl.DataFrame(schema=ROC), *(curve.select(*ROC) for curve in named)])


def _accuracy(races: Sequence[Scored], wish: Wish) -> dict[str, Any]:
    """The share of images whose race has the highest score, the first of equals; interval by patient."""
    truth = np.argmax([one.positive for one in races], axis=0)
    right = np.column_stack([one.scores for one in races]).argmax(axis=1) == truth
    patients = races[0].patients
    k = int(patients.max()) + 1
    above = np.bincount(patients, right, k).astype(np.float64)[:, None]
    below = np.bincount(patients, minlength=k).astype(np.float64)[:, None]
    interval = rates_by_patient(above, below, wish.request)[0]
    low, high = (None if math.isnan(one) else one for one in (interval.low, interval.high))
    return {
        "about": ATTRIBUTE, "label": None, "metric": ACCURACY, "n": len(right), "n_positive": int(right.sum()),
        "estimate": float(right.mean()), "ci_low": low, "ci_high": high, "method": interval.method,
        "note": interval.note or None,
    }  # fmt: skip


def _confusion(matrix: pl.DataFrame, one: Predicted, patients: Mapping[str, int], wish: Wish) -> pl.DataFrame:
    """Rows of `CONFUSION` in the order of the outputs; of a race of too few `patients` masked. Were it the only one, how many of
    it are told right would follow from the accuracy: then the next smallest is masked with it."""
    known = sorted((label for label, n in patients.items() if n), key=lambda label: patients[label])
    few = [label for label in known if patients[label] < wish.min_cell]
    beside = known[1:2] if len(few) == 1 else []
    order = {name: at for at, name in enumerate(RACES)}
    rows = []
    for row in matrix.sort(pl.col("truth").replace_strict(order), pl.col("predicted").replace_strict(order)).iter_rows(
        named=True
    ):
        note = None
        if row["truth"] in few:
            note = f"masked: fewer than {wish.min_cell} patients"
        elif row["truth"] in beside:
            note = f"masked: {few[0]} would follow"
        masked = {} if note is None else {"n": None, "share_of_truth": None}
        rows.append(row | {"model": one.model.name, "note": note} | masked)
    return _frame(rows, CONFUSION)


def _frame(rows: Sequence[dict[str, Any]], schema: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema, orient="row")


def _write_json(path: Path, evaluation: pl.DataFrame, confusion: pl.DataFrame, roc: pl.DataFrame) -> None:
    areas = evaluation.filter(metric=AUROC)
    curves = {}
    for label in areas["label"]:
        own = roc.filter(label=label)
        # No threshold is so high that nobody is called positive; JSON has no infinity.
        thresholds = [None if math.isinf(value) else value for value in own["threshold"]]
        curves[label] = {"fpr": own["fpr"].to_list(), "tpr": own["tpr"].to_list(), "thresholds": thresholds}
    said: dict[str, Any] = {
        "labels": areas["label"].to_list(),
        "roc_auc_scores": dict(areas.select("label", "estimate").iter_rows()),
        "roc_auc_curves": curves,
    }
    accuracy = evaluation.filter(metric=ACCURACY)
    if accuracy.height:
        classes = confusion["truth"].unique(maintain_order=True).to_list()
        said |= {
            "accuracy_score": accuracy["estimate"][0],
            "classes": classes,
            "confusion_matrix": [confusion.filter(truth=name)["share_of_truth"].to_list() for name in classes],
            "note": ROWS,
        }
    path.write_text(json.dumps(said, allow_nan=False) + "\n", encoding="utf-8")
