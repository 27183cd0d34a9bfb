"""Features of images as a matrix with keys, whoever wrote them.

dataset, image_id, embedding         ours (`cxrdata embed`): a list of numbers a row
any key column, and number columns   one column a feature
number columns alone                 by position, as chexploration writes embeddings.test.csv: needs a keyed file in that order
.npy                                 shape (images, features), by position too
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.annotate.tabular import read_table
from cxrdata.audit.truth import CatalogTruth
from cxrdata.errors import CxrError
from cxrdata.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrdata.store.catalog import Catalog

KEY = ["dataset", "image_id"]
_EMBEDDING = "embedding"


@dataclass(frozen=True)
class Embeddings:
    """keys: dataset, image_id, sorted, one row an image. features: float64, shape (images, features), in that order."""

    keys: pl.DataFrame
    features: NDArray[np.float64]
    notes: list[str] = field(default_factory=list)


def read_embeddings(path: Path, catalog: Catalog, *, order: Path | None = None, key: str | None = None) -> Embeddings:
    """Raises CxrError: CXR-101 to CXR-111 for a broken file, CXR-120 no features, CXR-121 one that is no finite number,
    CXR-123 an image twice, CXR-126 an order of another length, CXR-504 no key, CXR-517 positions without an order."""
    if not path.is_file():
        raise CxrError("CXR-101", "this file does not exist", where=path.name, fix="name a Parquet, CSV or .npy file")
    notes: list[str] = []
    if path.suffix == ".npy":
        frame, features = pl.DataFrame(), _matrix(path)
    else:
        frame, notes = read_table(path)
        features = None
    names, keyed = _keys(frame, features, catalog, path, order=order, key=key)
    if features is None:
        features = _features(frame, names, path.name)
    found = keyed.with_row_index("_row").filter(pl.col("image_id").is_not_null())
    if lost := keyed.height - found.height:
        notes.append(f"{counted(lost, 'row')} of {path.name} name no image of the catalog")
    _check_once(found, path.name)
    found = found.sort(KEY)
    return Embeddings(found.select(KEY), features[found["_row"].to_numpy()], notes)


def _matrix(path: Path) -> NDArray[np.float64]:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CxrError(
            "CXR-103", "this is no array of numbers", where=path.name, fix="save it with numpy.save"
        ) from error
    if found.ndim != 2 or found.dtype.kind not in "fiu":
        raise CxrError(
            "CXR-120",
            f"the array has shape {found.shape} of {found.dtype}",
            where=path.name,
            fix="give numbers of shape (images, features)",
        )
    return _finite(found.astype(np.float64), path.name)


def _keys(
    frame: pl.DataFrame,
    features: NDArray[np.float64] | None,
    catalog: Catalog,
    path: Path,
    *,
    order: Path | None,
    key: str | None,
) -> tuple[list[str], pl.DataFrame]:
    """Columns that are no features, and dataset, image_id of each row (null where no image is named)."""
    source = CatalogTruth(catalog)
    n = frame.height if features is None else len(features)
    if order is None:
        if features is not None or (_EMBEDDING not in frame.columns and key is None and _only_numbers(frame)):
            raise CxrError(
                "CXR-517",
                "the rows name no image: the file is listed by position",
                where=path.name,
                fix="name the keyed file whose rows these are, in their order, with --order FILE",
            )
        found = source.keyed(frame, path.name, key)
        return [found.column], found.resolved.select(KEY)
    listed, _ = read_table(order)
    if listed.height != n:
        fix = "name the very file that was embedded; a filtered or resampled one is another order"
        raise CxrError(
            "CXR-126",
            f"{path.name} has {counted(n, 'row')}, and the file with their order {listed.height:,}",
            where=order.name,
            fix=fix,
        )
    return [], source.keyed(listed, order.name, key).resolved.select(KEY)


def _only_numbers(frame: pl.DataFrame) -> bool:
    return all(_numbers(frame[name]) is not None for name in frame.columns)


def _numbers(values: pl.Series) -> pl.Series | None:
    """The column as numbers, or None where it holds something else."""
    if values.dtype.is_numeric():
        return values.cast(pl.Float64)
    if values.dtype != pl.String:
        return None
    cast = values.cast(pl.Float64, strict=False)
    return cast if cast.null_count() == values.null_count() else None


def _features(frame: pl.DataFrame, keys: list[str], where: str) -> NDArray[np.float64]:
    if _EMBEDDING in frame.columns and frame[_EMBEDDING].dtype.is_nested():
        lists = frame[_EMBEDDING].cast(pl.List(pl.Float64))
        widths = lists.list.len().unique().to_list()
        if len(widths) != 1 or not widths[0]:
            raise CxrError(
                "CXR-120",
                "the embeddings differ in length, or have none",
                where=where,
                fix="embed all images with one model",
            )
        return _finite(np.asarray(lists.explode().to_numpy(), dtype=np.float64).reshape(frame.height, widths[0]), where)
    names = [*keys, "dataset", "image_id", "run_id", ""]
    # chexploration writes the target beside the features; an unnamed first column is pandas' row number.
    left_out = {name for name in frame.columns if name in names or name.startswith(("target", "column_0", "Unnamed"))}
    columns = [
        values for name in frame.columns if name not in left_out and (values := _numbers(frame[name])) is not None
    ]
    if len(columns) < 2:
        raise CxrError(
            "CXR-120",
            "there are no columns of features",
            where=where,
            fix="give one number column a feature, or a column `embedding` of lists",
        )
    return _finite(np.column_stack([values.to_numpy() for values in columns]), where)


def _finite(features: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    broken = np.argwhere(~np.isfinite(features))
    if len(broken):
        row, column = (int(value) + 1 for value in broken[0])
        raise CxrError(
            "CXR-121",
            "a feature is missing or no finite number",
            where=f"{where}, row {row}, feature {column}",
            fix="embed this image again",
        )
    return features


def _check_once(found: pl.DataFrame, where: str) -> None:
    twice = found.filter(pl.struct(KEY).is_duplicated())
    if not twice.is_empty():
        named = ":".join(twice.row(0, named=True)[name] for name in KEY)
        raise CxrError("CXR-123", f"the image {named} has two rows", where=where, fix="keep one row an image")
