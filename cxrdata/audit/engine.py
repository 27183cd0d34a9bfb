"""The audit's engine: from scores and truth to tidy rows, overall and by group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from cxrdata.audit.data import OVERALL, ROW_SCHEMA, Scored
from cxrdata.audit.intervals import Interval, interval_of
from cxrdata.audit.metrics import why_undefined
from cxrdata.audit.request import AuditRequest
from cxrdata.audit.subject import Part, Subject, rows_at_once
from cxrdata.errors import CxrError
from cxrdata.interrupts import in_threads
from cxrdata.wording import counted

UNSTABLE = 10  # positives, or negatives, under which a row says that it is unstable
THRESHOLD = "threshold"
_LARGEST_LEARNT = 31 * 2**20  # glibc learns up to 32 MiB


def evaluate(scored: Sequence[Scored], request: AuditRequest) -> pl.DataFrame:
    """Rows of `ROW_SCHEMA`: of each input in turn everybody, then each grouping's groups, then what compares them.

    Labels of one model on the same images share their replicates, for a replicate depends on the seed and the patients
    alone; so do two models. The answer is the same whatever `request.threads` is.

    Raises CxrError: CXR-502 for input that does not fit together, CXR-501 for a grouping that the images do not have.
    """
    for one in scored:
        _check(one)
    rows: list[dict[str, Any]] = []
    for one in scored:
        subject = prepared(one, request)
        rows += subject_rows(subject)
    return pl.DataFrame(rows, schema=ROW_SCHEMA, orient="row")


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


def head(subject: Subject, part: Part, group: int | None) -> dict[str, Any]:
    """What every row begins with. group: null for a row about all groups of a part."""
    scored = subject.scored
    return {
        "model": scored.model,
        "label": scored.label,
        "truth": scored.truth,
        "policy": scored.policy,
        "group_by": part.by,
        "group_value": None if group is None else part.values[group],
        "n": int(part.n.sum() if group is None else part.n[group]),
        "n_positive": int(part.n_positive.sum() if group is None else part.n_positive[group]),
    }


def is_masked(subject: Subject, part: Part, group: int) -> bool:
    """Too few patients to be shown; a group of nobody has nothing to hide, and everybody is no cell."""
    return part.by != OVERALL and 0 < part.n_patients[group] < subject.request.min_cell


def _row(subject: Subject, part: Part, metric: str, group: int) -> dict[str, Any]:
    row = head(subject, part, group) | {"metric": metric}
    if is_masked(subject, part, group):
        return row | {"note": f"masked: fewer than {subject.request.min_cell} patients"}
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


def interval_columns(subject: Subject, found: Interval, notes: Sequence[str]) -> dict[str, Any]:
    """The columns of a row that say how sure it is."""
    return {
        "ci_low": None if math.isnan(found.low) else found.low,
        "ci_high": None if math.isnan(found.high) else found.high,
        "method": found.method or None,
        "seed": subject.request.seed if "bootstrap" in found.method else None,
        "note": "; ".join(note for note in notes if note) or None,
    }


def unstable(n_positive: int, n_negative: int) -> str:
    """A warning where a class is too small for its figures to mean much."""
    if n_positive < UNSTABLE:
        return f"unstable: {counted(n_positive, 'positive')}"
    return f"unstable: {counted(n_negative, 'negative')}" if n_negative < UNSTABLE else ""


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
            rows.append(row | {"note": f"masked: fewer than {request.min_cell} patients"})
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
