"""Features of images as a matrix with keys, whoever wrote them.

dataset, image_id, embedding         ours (`cxrdata embed`): a list of numbers a row
any key column, and number columns   one column a feature
number columns alone                 by position, as chexploration writes them: needs the keyed file in that order
.npy                                 shape (images, features), by position too
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.audit.predictions import Table
from cxrdata.errors import CxrError
from cxrdata.explore.order import check_features
from cxrdata.keys import NOT_IN_CATALOG
from cxrdata.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrdata.audit.truth import TruthSource
    from cxrdata.interop.predictions import Place

KEY = ["dataset", "image_id"]
_EMBEDDING = "embedding"
# Keys, our run's name, the truth that chexploration writes beside the features (of its multi-task model also target_sex and
# target_race, which would give away what is looked for), and row numbers as pandas writes them.
_NO_FEATURE = re.compile(r"dataset|image_id|run_id|target(_\w+)?|index|__index_level_\d+__|Unnamed: \d+|")
_NAMED = 4  # columns that a note names


@dataclass(frozen=True)
class Embeddings:
    """keys: dataset, image_id, sorted, one row an image. features: float64, shape (images, features), in that order."""

    keys: pl.DataFrame
    features: NDArray[np.float64]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Rows:
    """What a file says by row: the features, the columns that are none, and where a row and column stand."""

    name: str
    features: NDArray[np.float64]
    rest: pl.DataFrame
    place: Place
    notes: list[str]

    @property
    def is_positional(self) -> bool:
        return not any(_is_text(self.rest[name]) for name in self.rest.columns)


def read_embeddings(
    path: Path, source: TruthSource, *, order: Path | None = None, key: str | None = None
) -> Embeddings:
    """source: whose images the keys are to name. order: the keyed file whose rows those of a positional one are; others name their images themselves. key: the column
    with the image key, of `order` where that is used.

    Raises CxrError: CXR-101 to CXR-111 a broken file; CXR-120 no features; CXR-121 one that is no finite number; CXR-123 an
    image twice; CXR-126 an order of another length, or one that the file's own truth contradicts; CXR-501, CXR-504 no key; CXR-517 positions without an order.
    """
    rows = _from_array(path) if path.suffix == ".npy" else _from_table(Table.of(path), key)
    keyed, said, place = _keys(rows, source, order, key)
    keyed = keyed.with_columns(said=said).with_row_index("at")
    known = keyed.filter(pl.col("image_id").is_not_null())
    notes = list(rows.notes)
    if place is not rows.place:
        notes += check_features(rows.name, rows.rest, keyed, source, rows.place)
    if lost := keyed.height - known.height:
        at, first, reason = keyed.filter(pl.col("image_id").is_null()).select("at", "said", "reason").row(0)
        notes.append(
            f"{lost:,} of {counted(keyed.height, 'row')} name no known image and are left out, such as {place(at, None)} {first!r} ({reason or NOT_IN_CATALOG})"
        )
    _check_once(known, place)
    known = known.sort(KEY)
    return Embeddings(known.select(KEY), rows.features[known["at"].to_numpy()], notes)


def _from_array(path: Path) -> _Rows:
    if not path.is_file():
        raise CxrError("CXR-101", "this file does not exist", where=path.name, fix="name a Parquet, CSV or .npy file")
    try:
        found = np.load(path, allow_pickle=False)
    except (EOFError, OSError, ValueError) as error:
        fix = "save it with numpy.save"
        raise CxrError("CXR-103", "this is no array of numbers", where=path.name, fix=fix) from error
    if found.ndim != 2 or found.dtype.kind not in "fiu" or not found.size:
        raise CxrError(
            "CXR-120",
            f"the array has shape {found.shape} of {found.dtype}",
            where=path.name,
            fix="give numbers of shape (images, features)",
        )

    def place(row: int, column: str | None) -> str:
        return f"{path.name}, row {row + 1}" + (f" {column}" if column else "")

    names = [f"feature {at + 1}" for at in range(found.shape[1])]
    return _Rows(path.name, _finite(found.astype(np.float64), names, place), pl.DataFrame(), place, [])


def _from_table(table: Table, key: str | None) -> _Rows:
    frame = table.frame
    if _EMBEDDING in frame.columns and frame[_EMBEDDING].dtype.is_nested():
        features, taken = _lists(table), [_EMBEDDING]
        notes = list(table.notes)
    else:
        taken = [name for name in frame.columns if name != key and _is_feature(frame[name])]
        if len(taken) < 2:
            raise CxrError(
                "CXR-120",
                "there are no columns of features",
                where=table.name,
                fix="give one number column a feature, or a column `embedding` of lists",
            )
        columns = [frame[name].cast(pl.Float64, strict=False).to_numpy() for name in taken]
        features = _finite(np.column_stack(columns), taken, table.place)
        shown = ", ".join(taken if len(taken) <= _NAMED else [*taken[: _NAMED - 2], "…", taken[-1]])
        notes = [*table.notes, f"{counted(len(taken), 'column')} are features: {shown}"]
    return _Rows(table.name, features, frame.drop(taken), table.place, notes)


def _is_feature(values: pl.Series) -> bool:
    """Whether a column holds numbers in the main: a single odd cell is an error to be shown, not another kind of column."""
    if _NO_FEATURE.fullmatch(values.name):
        return False
    return values.dtype.is_numeric() or (values.dtype == pl.String and not _is_text(values))


def _is_text(values: pl.Series) -> bool:
    if values.dtype != pl.String:
        return isinstance(values.dtype, pl.Categorical | pl.Enum)
    known = values.drop_nulls()
    return int(known.cast(pl.Float64, strict=False).is_not_null().sum()) * 2 <= len(known)


def _lists(table: Table) -> NDArray[np.float64]:
    lists = table.frame[_EMBEDDING].cast(pl.List(pl.Float64))
    widths = lists.list.len().unique().to_list()
    if len(widths) != 1 or not widths[0]:
        raise CxrError(
            "CXR-120",
            "the embeddings differ in length, or have none",
            where=table.name,
            fix="embed all images with one model",
        )
    numbers = lists.explode().to_numpy().reshape(table.frame.height, widths[0])
    names = [f"{_EMBEDDING}, feature {at + 1}" for at in range(widths[0])]
    return _finite(np.asarray(numbers, dtype=np.float64), names, table.place)


def _finite(features: NDArray[np.float64], names: list[str], place: Place) -> NDArray[np.float64]:
    broken = ~np.isfinite(features)
    if broken.any():
        row, column = (int(value) for value in np.argwhere(broken)[0])
        raise CxrError(
            "CXR-121",
            "a feature is missing or no finite number",
            where=place(row, names[column]),
            fix="embed this image again",
        )
    return features


def _keys(
    rows: _Rows, source: TruthSource, order: Path | None, key: str | None
) -> tuple[pl.DataFrame, pl.Series, Place]:
    """The image of each row (of `keys.resolve`; null where none is named), what the file calls it, and where that stands."""
    if not rows.is_positional or key in rows.rest.columns:
        found = source.keyed(rows.rest, rows.name, key)
        return found.resolved, rows.rest[found.column].cast(pl.String), rows.place
    if order is None:
        raise CxrError(
            "CXR-517",
            "the rows name no image: the file is listed by position",
            where=rows.name,
            fix="name the keyed file whose rows these are, in their order, with --order FILE",
        )
    listed = Table.of(order)
    if listed.frame.height != len(rows.features):
        raise CxrError(
            "CXR-126",
            f"{rows.name} has {counted(len(rows.features), 'row')}, and the file with their order {listed.frame.height:,}",
            where=listed.name,
            fix="name the very file that was embedded; a filtered or resampled one is another order",
        )
    found = source.keyed(listed.frame, listed.name, key)
    return found.resolved, listed.frame[found.column].cast(pl.String), listed.place


def _check_once(known: pl.DataFrame, place: Place) -> None:
    twice = known.filter(~pl.struct(KEY).is_first_distinct())
    if twice.is_empty():
        return
    one = twice.row(0, named=True)
    first = known.filter(dataset=one["dataset"], image_id=one["image_id"])["at"][0]
    raise CxrError(
        "CXR-123",
        f"{one['dataset']}:{one['image_id']} has a second row; first at {place(first, None)}",
        where=place(one["at"], None),
        fix="keep one row an image; images drawn several times are named by a split (--resampled), not by repeated rows",
    )
