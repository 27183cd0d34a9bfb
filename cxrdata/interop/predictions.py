"""Predictions as other code writes them: which columns hold scores, of which label, as probabilities or logits.

    prob_<label>, logit_<label>      reproduce-chexnet, and our own (dataset, image_id, prob_…, logit_…, run_id)
    class_i, logit_i, target_i       chexploration: by position, without any image key
    class_probs                      ped_vs_adults-cxr: the probabilities of all classes in one cell, as JSON
    <label>                          one column a label or class, named as it is

Nothing here knows a catalog: what a name means, the caller's `find` says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from cxrdata.errors import CxrError
from cxrdata.interop.label_orders import CHEXPLORATION_HEADS
from cxrdata.wording import counted

PROBABILITY, LOGIT = "probability", "logit"
PREFIXED, POSITIONAL, JSON_CELL, NAMED = "prob_<label>", "chexploration", "class_probs", "<label>"
RUN = "run_id"
_PREFIXED = re.compile(r"(?i)(prob|logit)_(.+)")
_NUMBERED = re.compile(r"(?:class|logit|target)_\d+|target")
_CLASS = "target"
_CELL = "class_probs"
# How far single precision may carry a softmax past 1.
_ROUNDING = 1e-6

Place = Callable[[int, str | None], str]
Find = Callable[[str], str | None]


@dataclass(frozen=True)
class Column:
    """One column of scores: what the file calls the label, where it stands, its values as they stand there.

    kind: PROBABILITY or LOGIT where the layout says so, else None. target: the file's own truth, where it has one.
    """

    said: str
    name: str
    values: pl.Series
    kind: str | None
    target: pl.Series | None = None


@dataclass(frozen=True)
class Found:
    """The scores of a file: its layout, its columns, and notes on what was passed over."""

    layout: str
    columns: list[Column]
    notes: list[str] = field(default_factory=list)


def find_scores(frame: pl.DataFrame, find: Find, place: Place) -> Found:
    """The columns of `frame` that hold scores. find: label of a name, or None; place: where a row and column stand.

    Raises CxrError: CXR-120 none, or an unknown number of positional outputs; CXR-121 a cell of `class_probs` that is no list.
    """
    if (positional := _positional(frame, place)) is not None:
        return positional
    if _CELL in frame.columns:
        return Found(JSON_CELL, _from_cells(frame[_CELL], lambda row: place(row, _CELL)))
    if prefixed := _prefixed(frame):
        return Found(PREFIXED, prefixed)
    named = [
        Column(name, name, frame[name], None)
        for name in frame.columns
        if find(name) is not None and _numeric(frame[name])
    ]
    if not named:
        raise CxrError(
            "CXR-120",
            "no column is called as a label or class is",
            where=place(0, None).split(":")[0].split(",")[0],
            fix=f"call the columns prob_<label> or logit_<label>, such as prob_cardiomegaly (columns: {', '.join(frame.columns)})",
        )
    return Found(NAMED, named)


def _numeric(values: pl.Series) -> bool:
    """Whether a column holds numbers in the main; a single odd cell is an error to be shown, not another kind of column."""
    if values.dtype.is_numeric():
        return True
    if values.dtype != pl.String:
        return False
    known = values.drop_nulls()
    return len(known) > 0 and int(known.cast(pl.Float64, strict=False).is_not_null().sum()) * 2 > len(known)


def _prefixed(frame: pl.DataFrame) -> list[Column]:
    """`prob_…` columns, and `logit_…` ones of labels that have no probability."""
    found: dict[str, Column] = {}
    for name in frame.columns:
        if matched := _PREFIXED.fullmatch(name):
            kind = PROBABILITY if matched[1].lower() == "prob" else LOGIT
            if matched[2] not in found or kind == PROBABILITY:
                found[matched[2]] = Column(matched[2], name, frame[name], kind)
    return list(found.values())


def is_positional(frame: pl.DataFrame) -> bool:
    """Whether the rows are scores and nothing else, in the columns of chexploration (an unnamed index aside)."""
    names = [name for name in frame.columns if name]
    return "class_0" in names and all(_NUMBERED.fullmatch(name) for name in names)


def _positional(frame: pl.DataFrame, place: Place) -> Found | None:
    """chexploration's output of one head, or None. `class_i` holds the probabilities that `logit_i` gave."""
    if not is_positional(frame):
        return None
    outputs = sorted(int(name.removeprefix("class_")) for name in frame.columns if name.startswith("class_"))
    names = CHEXPLORATION_HEADS.get(len(outputs))
    if names is None or outputs != list(range(len(outputs))):
        known = ", ".join(f"{len(heads)} ({heads[0]}, …)" for heads in CHEXPLORATION_HEADS.values())
        raise CxrError(
            "CXR-120",
            f"the file has the layout of {POSITIONAL}, but its {counted(len(outputs), 'output')} are none of its heads",
            where=place(0, None).split(":")[0].split(",")[0],
            fix=f"known numbers of outputs: {known}; for others call the columns prob_<label>",
        )
    targets = [_target(frame, at) for at in outputs]
    columns = [
        Column(said, f"class_{at}", frame[f"class_{at}"], PROBABILITY, target)
        for at, (said, target) in enumerate(zip(names, targets, strict=True))
    ]
    return Found(POSITIONAL, columns)


def _target(frame: pl.DataFrame, at: int) -> pl.Series | None:
    """The file's own truth of one output: a column of it, or the number of the class in a single one."""
    if f"{_CLASS}_{at}" in frame.columns:
        return frame[f"{_CLASS}_{at}"].cast(pl.Float64, strict=False)
    if _CLASS in frame.columns:
        return (frame[_CLASS].cast(pl.Float64, strict=False) == at).cast(pl.Float64)
    return None


def _from_cells(cells: pl.Series, place: Callable[[int], str]) -> list[Column]:
    """One column a class from cells such as `[0.9, 0.1]` or `{"No Finding": 0.9, "Cardiomegaly": 0.1}`.

    The classes of a list are called 0, 1, …; of two the second is the one that is looked for.
    """
    rows: list[dict[str, Any]] = []
    for at, cell in enumerate(cells.to_list()):
        try:
            said = json.loads(cell) if isinstance(cell, str) else cell
        except ValueError:
            said = None
        if isinstance(said, list):
            said = {str(place): value for place, value in enumerate(said)}
        if not isinstance(said, dict) or not said or (rows and said.keys() != rows[0].keys()):
            problem = (
                "the cell is no JSON list or object of probabilities"
                if not isinstance(said, dict) or not said
                else "the cell has other classes than the first"
            )
            raise CxrError("CXR-121", f"{problem}: {cell!r}", where=place(at), fix="predict this image again")
        rows.append(said)
    return [
        Column(name, _CELL, pl.Series(name, [row[name] for row in rows], strict=False), PROBABILITY) for name in rows[0]
    ]


def scores_of(column: Column, place: Place, notes: list[str]) -> tuple[pl.Series, str]:
    """The column's scores as probabilities (logits through the logistic function) and what they were.

    Without a name that says so, scores below 0 make a column of logits; scores above 1 alone make none of either.
    Raises CxrError: CXR-121 a score that is missing, not finite or no number; CXR-122 one outside [0, 1].
    """
    raw = column.values
    values = raw.cast(pl.Float64, strict=False) if raw.dtype != pl.Float64 else raw
    array = values.to_numpy()
    broken = np.flatnonzero(~np.isfinite(np.where(values.is_null().to_numpy(), np.nan, array)))
    if len(broken):
        at = int(broken[0])
        said = raw[at]
        what = "the score is missing" if said is None else f"the score is {str(said)!r}, which is no finite number"
        others = f" ({len(broken) - 1:,} more like it)" if len(broken) > 1 else ""
        fix = "predict this image again, or leave its row out and say so"
        raise CxrError("CXR-121", what + others, where=place(at, column.name), fix=fix)
    outside = np.flatnonzero((array < -_ROUNDING) | (array > 1 + _ROUNDING))
    kind = column.kind
    if kind is None:
        kind = LOGIT if len(array) and array.min() < -_ROUNDING else PROBABILITY
        if kind == LOGIT:
            notes.append(f"{column.name}: scores below 0 are read as logits")
    if len(array) and np.isin(array, (0.0, 1.0)).all():
        notes.append(f"{column.name} holds nothing but 0 and 1: decisions, or the truth itself, are no scores")
    if kind == PROBABILITY:
        if len(outside):
            raise _outside(column, array, outside, place)
        return pl.Series(column.said, np.clip(array, 0.0, 1.0)), kind
    # Written so that no large number overflows on either side.
    tail = np.exp(-np.abs(array))
    chances = np.where(array >= 0, 1.0, tail) / (1.0 + tail)
    merged = len(np.unique(array)) - len(np.unique(chances))
    if merged:
        notes.append(f"{column.name}: {merged:,} distinct logits are one probability in double precision, so they tie")
    return pl.Series(column.said, chances), kind


def _outside(column: Column, array: np.ndarray, outside: np.ndarray, place: Place) -> CxrError:
    at = int(outside[0])
    others = f" ({len(outside) - 1:,} more like it)" if len(outside) > 1 else ""
    if array.min() >= 0:
        fix = "divide percentages by 100; if they are logits, call the column logit_" + column.said
    else:
        fix = f"numbers below 0 are no probabilities: if they are logits, call the column logit_{column.said}"
    named = "is called a probability" if column.kind else "is neither a probability nor, without any below 0, a logit"
    return CxrError(
        "CXR-122", f"{array[at]:g} {named}{others}", where=place(at, column.name), fix=fix
    )  # fmt: skip
