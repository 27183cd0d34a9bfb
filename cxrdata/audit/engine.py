"""The audit's engine: from scores and truth to tidy rows, overall and by group."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from cxrdata.audit.adjust import adjusted
from cxrdata.audit.compare import comparison_rows
from cxrdata.audit.data import OVERALL, ROW_SCHEMA, Scored
from cxrdata.audit.fairness import gap_rows
from cxrdata.audit.intervals import Interval, interval_of
from cxrdata.audit.metrics import why_undefined
from cxrdata.audit.request import AuditRequest
from cxrdata.audit.rows import head, interval_columns, is_masked, masked, unstable
from cxrdata.audit.subject import Part, Subject, rows_at_once
from cxrdata.errors import CxrError
from cxrdata.interrupts import in_threads

THRESHOLD = "threshold"
_LARGEST_LEARNT = 31 * 2**20  # glibc learns up to 32 MiB


def evaluate(scored: Sequence[Scored], request: AuditRequest) -> pl.DataFrame:
    """Rows of `ROW_SCHEMA`: of each input in turn everybody, then each grouping's groups, then what compares them.

    With `compare` the differences between models stand at the end. Labels of one model on the same images share their replicates, for a replicate depends on the seed and the patients
    alone; so do two models. The answer is the same whatever `request.threads` is.

    Raises CxrError: CXR-502 for input that does not fit together, CXR-501 for a grouping that the images do not have.
    """
    for one in scored:
        _check(one)
    rows: list[dict[str, Any]] = []
    for together in _together(scored, request):
        subjects = []
        for at in together:
            subject = prepared(scored[at], request)
            rows += [row | {"at": at} for row in subject_rows(subject)]
            if request.gaps:
                rows += [row | {"at": at} for row in gap_rows(subject)]
            subjects.append(subject)
        rows += [row | {"at": len(scored)} for row in comparison_rows(subjects)] if request.compare else []
    rows.sort(key=operator.itemgetter("at"))
    frame = pl.DataFrame(rows, schema=ROW_SCHEMA, orient="row")
    # Differences between models are one family, whichever two they are of.
    family = pl.Series("family", ["models" if row["at"] == len(scored) else row["model"] for row in rows], pl.String)
    return frame if request.adjust == "none" else _with_adjusted(frame, family, request.adjust)


def _with_adjusted(frame: pl.DataFrame, family: pl.Series, method: str) -> pl.DataFrame:
    """P values adjusted within each family: the tests of one metric of one model, over all labels and groups; or between
    all models."""
    result = np.full(frame.height, math.nan)
    p_values = frame["p_value"].fill_null(math.nan).to_numpy()
    for rows in frame.with_columns(family).with_row_index("at").group_by("family", "metric").agg("at")["at"]:
        result[rows.to_numpy()] = adjusted(p_values[rows.to_numpy()], method)
    return frame.with_columns(p_adjusted=pl.Series(result).fill_nan(None))


def _together(scored: Sequence[Scored], request: AuditRequest) -> list[list[int]]:
    """Which inputs are needed at once: to compare models, all of a label; else one, for the sake of memory."""
    if not request.compare:
        return [[at] for at in range(len(scored))]
    by_label: dict[tuple[str, str, str], list[int]] = {}
    for at, one in enumerate(scored):
        by_label.setdefault((one.label, one.truth, one.policy), []).append(at)
    return list(by_label.values())


def prepared(scored: Scored, request: AuditRequest) -> Subject:
    """A label with all its replicates computed."""
    _keep_freed_memory()
    subject = Subject(scored, request)
    step = rows_at_once(len(scored.scores))
    blocks = [range(at, min(at + step, request.bootstrap)) for at in range(0, request.bootstrap, step)]
    in_threads(subject.fill, blocks, request.threads)
    return subject


def _keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next array of that size, for it learns from the largest block freed so far.

    It otherwise hands arrays of some MB back to the system at once, and fetching them again, page by page, takes twice as
    long as all the arithmetic. Untouched, the block itself costs nothing; other allocators do not mind.
    """
    np.empty(_LARGEST_LEARNT, np.uint8)


def subject_rows(subject: Subject) -> list[dict[str, Any]]:
    """The rows of a label's metrics, each grouping in turn."""
    rows = _threshold_rows(subject)
    for part in subject.parts:
        for group in range(len(part.values)):
            rows += [_row(subject, part, metric, group) for metric in subject.request.metrics]
    return rows


def _row(subject: Subject, part: Part, metric: str, group: int) -> dict[str, Any]:
    row = head(subject, part, group) | {"metric": metric}
    if is_masked(subject, part, group):
        return row | masked(subject)
    at = subject.request.metrics.index(metric)
    n_positive, n_negative = row["n_positive"], row["n"] - row["n_positive"]
    estimate = float(part.points[at, group])
    if math.isnan(estimate):
        has_threshold = subject.chooser is None or not np.isnan(subject.chooser.thresholds).any()
        probabilities = subject.scored.probabilities
        reason = why_undefined(metric, n_positive, n_negative, probabilities=probabilities, threshold=has_threshold)
        return row | {"note": f"undefined: {reason}"}
    found = interval_of(subject, part, metric, group)
    notes = [unstable(n_positive, n_negative), found.note]
    return row | {"estimate": estimate} | interval_columns(subject, found, notes)


def _threshold_rows(subject: Subject) -> list[dict[str, Any]]:
    """The operating points; n and n_positive are those of the images they were chosen on."""
    chooser, request = subject.chooser, subject.request
    if chooser is None:
        return []
    by = OVERALL if request.threshold_by is None else request.threshold_by
    part = next(part for part in subject.parts if part.by == by)
    rows = []
    for group in range(len(part.values)):
        row = head(subject, part, group) | {"metric": THRESHOLD}
        row |= {"n": int(chooser.n[group]), "n_positive": int(chooser.n_positive[group])}
        if is_masked(subject, part, group):
            rows.append(row | masked(subject))
            continue
        estimate = float(chooser.thresholds[0, group])
        rule = f"chosen by {chooser.rule}" if chooser.rule.kind != "fixed" else "fixed"
        where = "on the images that are judged" if chooser.own else "on the calibration set"
        notes = [rule if rule == "fixed" else f"{rule} {where}"]
        if math.isnan(estimate):
            rows.append(row | {"note": f"undefined: {notes[0]}, which lack positives or negatives"})
            continue
        found = Interval()
        if request.rederive and request.bootstrap and rule != "fixed":
            found = Interval.of_replicates(request, subject.threshold_replicates[:, group], rederived=True)
        rows.append(row | {"estimate": estimate} | interval_columns(subject, found, [*notes, found.note]))
    return rows


def _check(scored: Scored) -> None:
    """Raises CxrError CXR-502 where the parts of an input do not fit together."""
    n = len(scored.scores)
    lengths = [len(scored.positive), len(scored.patients), len(scored.weights)]
    lengths += [len(one.codes) for one in scored.groupings]
    at = f"{scored.model}, {scored.label}"
    if any(length != n for length in lengths):
        raise CxrError("CXR-502", "scores, truth, patients, weights and groups differ in length", where=at)
    if not np.isfinite(scored.scores).all():
        raise CxrError("CXR-502", "a score is NaN or infinite", where=at, fix="leave these images out")
    if not (np.isfinite(scored.weights).all() and (scored.weights >= 0).all()):
        raise CxrError("CXR-502", "a weight is negative, NaN or infinite", where=at)
    if scored.probabilities and not ((scored.scores >= 0) & (scored.scores <= 1)).all():
        raise CxrError("CXR-502", "a probability lies outside [0, 1]", where=at, fix="give logits as logits")
    for one in scored.groupings:
        if one.by == OVERALL or one.codes.max(initial=-1) >= len(one.values) or one.codes.min(initial=0) < -1:
            raise CxrError("CXR-502", f"the codes or the name of the grouping {one.by!r} make no sense", where=at)
