"""Which images a command is about: all, or those of datasets, of a condition in SQL, of a stored split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.splits.members import keys_where, known_datasets
from cxrdata.splits.stored import open_split

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

KEY = ["dataset", "image_id"]


def choose(
    catalog: Catalog, *, datasets: Sequence[str] = (), where: str | None = None, split: str | None = None
) -> pl.DataFrame:
    """dataset, image_id of the images that meet all that is asked, sorted.

    where: a condition over the columns of `images`. split: the name of a stored split, or NAME:PART for one of its parts
    (`race-balanced:test`); images that it draws never are left out.
    Raises CxrError: CXR-501 unknown names, CXR-503 `where` is no SQL, CXR-507 no image is left.
    """
    frame = catalog.table("images").select(KEY).collect()
    if names := known_datasets(catalog, datasets):
        frame = frame.filter(pl.col("dataset").is_in(names))
    if where is not None:
        frame = frame.join(keys_where(catalog, where), on=KEY, how="semi")
    if split is not None:
        frame = frame.join(_of_split(catalog, split), on=KEY, how="semi")
    if frame.is_empty():
        raise CxrError(
            "CXR-507", "no image is left by what was asked for", fix="`cxrdata sql` shows what each condition leaves"
        )
    return frame.sort(KEY)


def _of_split(catalog: Catalog, text: str) -> pl.DataFrame:
    name, _, part = text.partition(":")
    rows: pl.DataFrame = open_split(catalog, name)
    if "n_draws" in rows.columns:
        rows = rows.filter(pl.col("n_draws") > 0)
    if part:
        parts = rows["split"].unique().sort().to_list()
        if part not in parts:
            raise CxrError(
                "CXR-501",
                f"the split {name} has no part {part!r}{nearest(part, parts)}",
                fix=f"parts: {', '.join(parts)}",
            )
        rows = rows.filter(pl.col("split") == part)
    return rows.select(KEY)
