"""A catalog as Parquet in Hive layout, for Spark, pandas, polars, DuckDB and whatever else reads such folders.

`TABLE/dataset=NAME/part-0.parquet`; the column `dataset` is in the path alone, since Spark refuses it in both places.
Vocabularies are one file, `TABLE/part-0.parquet`. Types are those that every reader has: text (UTF-8), 8- to 64-bit
signed integers, doubles, booleans, dates, and lists of text or doubles; compression is Snappy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.export.place import Exported, new_folder
from cxrdata.export.relations import LONG, batches, known_datasets, relations, split_keys, terms_notes
from cxrdata.store.layout import CatalogFolder
from cxrdata.store.parquet import ROW_GROUP_ROWS
from cxrdata.version import __version__

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

KIND = "parquet"
PARTITION = "dataset"
TERMS = "DATA_TERMS.md"
_PLAIN = (pl.String, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.Boolean, pl.Date)
# Spark has no unsigned integers and no text by dictionary; the wider or plainer type holds every value.
_WIDENED = {pl.UInt8: pl.Int16, pl.UInt16: pl.Int32, pl.UInt32: pl.Int64, pl.Categorical: pl.String, pl.Enum: pl.String, pl.Int128: pl.Int64}  # fmt: skip


def export_parquet(
    catalog: Catalog,
    out: Path,
    *,
    tables: Sequence[str] | None = None,
    datasets: Sequence[str] = (),
    split: str | None = None,
    force: bool = False,
) -> Exported:
    """Write relations to the new folder `out`.

    tables: which, also views; default all but the long ones (`labels`, `readings`, `assessments`) and the wide tables
    that those are views of. datasets: only rows of these. split: only its images, with the columns `split`, and `fold`,
    `n_draws`, `weight` where it has them.

    Raises CxrError: CXR-501 unknown name, CXR-511 something is there, CXR-512 a type that Spark cannot read, CXR-602.
    """
    chosen = relations(catalog, tables)
    names = known_datasets(catalog, datasets)
    keys = split_keys(catalog, split) if split is not None else None
    made = Exported()
    with new_folder(out, KIND, force=force) as folder:
        for relation in chosen:
            parts: list[str | None] = list(names) if relation.partitioned else [None]
            for dataset in parts:
                path = hive_path(relation.name, dataset)
                frames = (
                    frame.drop(PARTITION) if dataset is not None else _of_datasets(frame, names, every=not datasets)
                    for frame in batches(catalog, relation, dataset, keys)
                )
                made.files[out / path] = write_plain(frames, folder / path, relation.description)
        copy_terms(catalog, folder)
    if tables is None:
        made.notes.append(f"not written unless named with --tables: {', '.join(LONG)} (one row a label, long)")
    if keys is not None:
        made.notes.append(
            f"n_images and n_studies in patients and studies count the catalog's images, not those of {split}"
        )
    made.notes += terms_notes(catalog, names)
    return made


def hive_path(table: str, dataset: str | None) -> str:
    """Where the rows lie below the folder. Names are escaped as in a URL, which readers of Hive layouts undo."""
    folder = quote(table, safe="")
    return f"{folder}/{PARTITION}={quote(dataset, safe='')}/part-0.parquet" if dataset else f"{folder}/part-0.parquet"


def write_plain(frames: Iterable[pl.DataFrame], path: Path, description: str) -> int:
    """One Parquet file of plain types from one frame or several of the same columns; the number of rows. The same rows
    give the same bytes. Raises CxrError CXR-512 for a type that Spark cannot read."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    said = {"cxrdata.version": __version__, "cxrdata.description": description}
    writer, n = None, 0
    try:
        for frame in frames:
            table = _plain(frame).to_arrow()
            if writer is None:
                # Without Arrow's own schema beside Parquet's every reader sees the same types.
                writer = pq.ParquetWriter(path, table.schema, compression="snappy", store_schema=False)
                writer.add_key_value_metadata(said)
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
            n += frame.height
    finally:
        if writer is not None:
            writer.close()
    return n


def copy_terms(catalog: Catalog, folder: Path) -> None:
    """DATA_TERMS.md goes where the rows go."""
    terms = CatalogFolder(catalog.folder.path).terms
    if terms.is_file():
        (folder / TERMS).write_bytes(terms.read_bytes())


def _of_datasets(frame: pl.DataFrame, names: list[str], *, every: bool) -> pl.DataFrame:
    """Of a list of datasets, or a vocabulary by dataset, only what is about those asked for."""
    return frame if every or PARTITION not in frame.columns else frame.filter(pl.col(PARTITION).is_in(names))


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    casts = []
    for name, dtype in frame.schema.items():
        inner = dtype.inner if isinstance(dtype, pl.List) else dtype
        if (wider := _WIDENED.get(inner.base_type())) is not None:
            casts.append(pl.col(name).cast(pl.List(wider) if isinstance(dtype, pl.List) else wider))
        elif inner not in _PLAIN:
            raise CxrError(
                "CXR-512",
                f"the column {name} is of a type that Spark cannot read: {dtype}",
                fix="leave its table out with --tables",
            )
    return frame.with_columns(casts)
