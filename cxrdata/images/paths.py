"""`cat.paths(frame)`: the files of the images that a frame names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.annotate.key_column import find_key_column
from cxrdata.annotate.tabular import as_frame
from cxrdata.images.roots import Given, ImageRoots
from cxrdata.images.sources import KEY, locate
from cxrdata.keys import KeyIndex, key_forms

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

PATHS = ("path", "member")


def with_paths(
    catalog: Catalog,
    frame: Any,  # noqa: ANN401 - of any library
    *,
    roots: ImageRoots | Mapping[str, Given] | None = None,
    key: str | None = None,
    remarks: Callable[[str], None] = lambda _: None,
) -> pl.DataFrame:
    """The frame, its rows and columns as they are, with `path` and `member`: null where no file was found.

    frame: a polars, pandas or Arrow table with `dataset` and `image_id`, or with one column of image keys in any
    spelling (`key` names it; None: the one that the catalog knows best). roots: see `ImageRoots.load`. Columns of the
    frame that are called path or member are replaced, so the answer can be asked again.
    Raises CxrError: CXR-501 no column `key`, CXR-504 no image key, CXR-130 a root is not there.
    """
    rows = as_frame(frame)
    if key is None and set(KEY) <= set(rows.columns):
        keys = rows.select(KEY)
    else:
        index = KeyIndex.of(catalog.table("images"), key_forms(catalog.manifest))
        stated = rows["dataset"] if "dataset" in rows.columns else None
        keys = find_key_column(rows, index, key=key, datasets=stated).resolved.select(KEY)
    known = roots if isinstance(roots, ImageRoots) else ImageRoots.load(roots, datasets=catalog.manifest["datasets"])
    located = locate(catalog, keys, known, remarks=remarks)
    return rows.drop(PATHS, strict=False).with_columns(located.select(PATHS))
