"""Split files by row number: `index,split`, as chexploration and its successors publish theirs.

`index` is the row of the named source file, the first being 0; the words are train, validate, test, as there. Such a file
holds no id, so that it can often be shared where keys cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cxrdata.interop.layout_facts import KEY, Tables

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

ABOUT = "index,split: row numbers of a source file, from 0 (chexploration's and others' published split files)"
_WORDS = {"valid": "validate"}


def tables(catalog: Catalog, frame: pl.DataFrame) -> Tables:
    """One file a source file: `DATASET.SOURCE.index.csv`."""
    images = catalog.table("images").select(*KEY, "source_file", "source_row").collect()
    rows = frame.select(*KEY, "split").join(images, on=KEY, how="left", maintain_order="left")
    rows = rows.with_columns(pl.col("split").replace(_WORDS)).sort("dataset", "source_file", "source_row")
    made = Tables()
    for (dataset, source), part in rows.group_by("dataset", "source_file", maintain_order=True):
        stem = str(source).removesuffix(".gz").rsplit("/", 1)[-1].rsplit(".", 1)[0]
        name = f"{dataset}.{stem}.index.csv"
        if name in made.tables:
            name = f"{dataset}.{str(source).replace('/', '_')}.index.csv"
        made.tables[name] = part.select(index="source_row", split="split")
        made.notes.append(f"{name} counts the rows of {dataset}:{source}; read it with --rows-of {dataset}:{source}")
    return made
