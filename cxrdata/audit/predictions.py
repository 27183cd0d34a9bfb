"""Files of predictions as scores by image and label, whoever wrote them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.annotate.tabular import as_frame, read_table
from cxrdata.errors import CxrError
from cxrdata.interop.predictions import (
    JSON_CELL,
    RUN,
    Column,
    Find,
    Found,
    Place,
    find_scores,
    is_positional,
    scores_of,
)
from cxrdata.keys import NOT_IN_CATALOG
from cxrdata.splits.from_file import FileRows
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.audit.truth import TruthSource

KEY = ["dataset", "image_id"]
_EXAMPLES = 3


@dataclass(frozen=True)
class Predictions:
    """The scores of one model.

    name: its run_id, else the name of the file. frame: dataset, image_id, one Float64 column a label (probabilities), sorted
    by key, one row an image. said: label -> what the file calls it. targets: the file's own truth by label, where it has
    one. notes: what a reader must know; unmatched: rows that name no image.
    """

    name: str
    layout: str
    frame: pl.DataFrame
    said: dict[str, str]
    targets: pl.DataFrame
    unmatched: int
    notes: list[str] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        return list(self.said)


@dataclass(frozen=True)
class Table:
    """Rows of a file, or of a frame that a program hands over. place: where a row (from 0) and a column stand."""

    name: str
    frame: pl.DataFrame
    place: Place
    notes: list[str]

    @classmethod
    def of(cls, given: Any, name: str = "predictions") -> Table:  # noqa: ANN401 - of any library
        """A path, or a polars, pandas or Arrow table. Raises CxrError: CXR-101 and those of `read_table`; CXR-502 neither."""
        if not isinstance(given, str | os.PathLike):
            return cls(name, as_frame(given), lambda row, column: f"{name}, row {row + 1} {column or ''}".rstrip(), [])
        path = Path(given)
        if not path.is_file():
            raise CxrError("CXR-101", "this file does not exist", where=path.name, fix="name a CSV or Parquet file")
        frame, notes = read_table(path)
        return cls(path.name, frame, FileRows(path, frame).place, notes)

    @property
    def stem(self) -> str:
        name = self.name.removesuffix(".gz")
        return name.rpartition(".")[0] or name


def read_predictions(
    table: Table,
    source: TruthSource,
    *,
    labels: Sequence[str] = (),
    order: Table | None = None,
    key: str | None = None,
) -> list[Predictions]:
    """The models of a table: one, or one a `run_id`.

    source: whose images the keys are to name. labels: those asked for; none: all. order: a keyed table whose rows are those
    of one by position. key: the column with the image key, of `order` where that is given.

    Raises CxrError: CXR-108 two columns for a label; CXR-112, CXR-504 images of another dataset; CXR-120 to CXR-123, CXR-126
    what it holds; CXR-517 positions without an order.
    """
    frame = table.frame
    if order is None and is_positional(frame):
        raise CxrError(
            "CXR-517",
            "the rows name no image: the file is listed by position, as chexploration writes it",
            where=table.name,
            fix="name the file whose rows it predicts, in their order, with --order FILE, such as chexpert.sample.test.csv",
        )
    keyed = table if order is None else order
    if keyed.frame.height != frame.height:
        raise CxrError(
            "CXR-126",
            f"{table.name} has {counted(frame.height, 'row')}, and the file with their order {keyed.frame.height:,}",
            where=keyed.name,
            fix="name the very file that was predicted; a filtered or resampled one is another order",
        )
    found = source.keyed(keyed.frame, keyed.name, key)
    resolved = found.resolved.with_columns(said=keyed.frame[found.column].cast(pl.String))
    notes = [*table.notes]
    notes += [
        f"the image key is {found.column!r}; {rival.column!r} names other images in {counted(rival.differing, 'row')}"
        for rival in found.rivals
        if rival.differing
    ]
    scored = frame.drop(found.column) if order is None else frame
    names = source.names(resolved["dataset"].drop_nulls().unique().sort().to_list())
    scores = find_scores(scored, names.find, table.place)
    if scores.layout == JSON_CELL:
        scores = _named_classes(scores, labels, table.name)
    columns = _by_label(scores, names.find, notes, table.name)
    _check_once(resolved, scored, keyed.place)
    return [
        _model(name or table.stem, scores.layout, columns, resolved, mask, table.place, list(notes))
        for name, mask in _runs(scored).items()
    ]


def _named_classes(scores: Found, labels: Sequence[str], where: str) -> Found:
    """Classes that only have numbers, called by the one label that is asked for: of two, the second is it."""
    numbers = [column for column in scores.columns if column.said.isdigit()]
    if len(numbers) != len(scores.columns):
        return scores
    if len(labels) != 1 or len(numbers) != 2:
        raise CxrError(
            "CXR-120",
            f"class_probs holds {counted(len(numbers), 'class')} without names",
            where=where,
            fix="say which label the second of two classes is, with --labels cardiomegaly; of more, write {class: probability}",
        )
    second = numbers[1]
    named = Column(labels[0], second.name, second.values, second.kind)
    return Found(scores.layout, [named], [*scores.notes, f"the second of class_probs is read as {labels[0]}"])


def _by_label(scores: Found, find: Find, notes: list[str], where: str) -> dict[str, Column]:
    """The columns by the label that they mean; names that mean none are noted."""
    notes.extend(scores.notes)
    columns: dict[str, Column] = {}
    strange = []
    for column in scores.columns:
        label = find(column.said)
        if label is None:
            strange.append(column.said)
        elif label in columns:
            raise CxrError(
                "CXR-108",
                f"{columns[label].name!r} and {column.name!r} both hold scores of {label}",
                where=where,
                fix="leave one of them out",
            )
        else:
            columns[label] = column
    if strange:
        notes.append(f"no label is called {', '.join(strange)}: passed over")
    if not columns:
        raise CxrError(
            "CXR-120",
            f"no label or class is called {' or '.join(map(repr, strange))}",
            where=where,
            fix="call the columns as a dataset or `cxrdata describe findings` calls the labels, such as prob_cardiomegaly",
        )
    return columns


def _runs(frame: pl.DataFrame) -> dict[str | None, pl.Series]:
    """The rows of each run, in the order of their first rows; all of them where the file names no run."""
    if RUN not in frame.columns:
        return {None: pl.Series([True] * frame.height, dtype=pl.Boolean)}
    runs = frame[RUN].cast(pl.String).fill_null("")
    return {run or None: runs == run for run in runs.unique(maintain_order=True).to_list()}


def _check_once(resolved: pl.DataFrame, frame: pl.DataFrame, place: Place) -> None:
    """Raise CxrError CXR-123 where a run predicts an image twice."""
    run = frame[RUN].cast(pl.String) if RUN in frame.columns else pl.Series([None] * frame.height, dtype=pl.String)
    keys = resolved.with_columns(run=run.fill_null("")).with_row_index("at").drop_nulls("image_id")
    twice = keys.filter(~pl.struct(*KEY, "run").is_first_distinct())
    if twice.is_empty():
        return
    one = twice.row(0, named=True)
    first = keys.filter(dataset=one["dataset"], image_id=one["image_id"], run=one["run"])["at"][0]
    more = f" ({twice.height - 1:,} more like it)" if twice.height > 1 else ""
    raise CxrError(
        "CXR-123",
        f"{one['dataset']}:{one['image_id']} is predicted a second time; first at {place(first, None)}{more}",
        where=place(one["at"], None),
        fix="leave one row an image; images drawn several times are named by a split (--split), not by repeated rows",
    )


def _model(
    name: str,
    layout: str,
    columns: dict[str, Column],
    resolved: pl.DataFrame,
    mask: pl.Series,
    file_place: Place,
    notes: list[str],
) -> Predictions:
    """One model's rows, checked and keyed."""
    at = mask.arg_true()

    def place(row: int, column: str | None) -> str:
        return file_place(int(at[row]), column)

    scores, targets = {}, {}
    for label, column in columns.items():
        part = Column(column.said, column.name, column.values.gather(at), column.kind)
        scores[label] = scores_of(part, place, notes)[0].alias(label)
        if column.target is not None:
            targets[label] = column.target.gather(at).alias(label)
    keys = resolved[at]
    missing = keys.with_columns(at=at).filter(pl.col("image_id").is_null())
    if not missing.is_empty():
        examples = "; ".join(
            f"{file_place(row, None)} {said!r} ({reason or NOT_IN_CATALOG})"
            for row, said, reason in missing.head(_EXAMPLES).select("at", "said", "reason").iter_rows()
        )
        notes.append(
            f"{missing.height:,} of {counted(keys.height, 'prediction')} name no known image and are not judged, such as {examples}"
        )
    known = keys.select(KEY).hstack(list(scores.values()))
    whole = known.filter(pl.col("image_id").is_not_null())
    own = keys.select(KEY).hstack(list(targets.values())).filter(pl.col("image_id").is_not_null())
    return Predictions(
        name,
        layout,
        whole.sort(KEY),
        {label: column.said for label, column in columns.items()},
        own.sort(KEY),
        missing.height,
        notes,
    )
