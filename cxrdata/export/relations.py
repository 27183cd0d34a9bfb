"""The relations of a catalog as an export takes them: their descriptions and keys, and their rows by dataset and split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.schemas import tables, vocabulary_tables
from cxrdata.schemas.names import LABEL_VIEWS, STORAGE_PREFIXES, label_codes_name, readings_name, states_name
from cxrdata.schemas.tables import Table
from cxrdata.sources.base import Registry
from cxrdata.splits.stored import OPTIONAL
from cxrdata.store.database import quoted

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

KEY = ("dataset", "image_id")
_IMAGES_AT_ONCE = 4096
# One row a label or a reading of an image: tens of millions of rows, which the wide tables hold in a twentieth of the space.
LONG = ("labels", "readings", "assessments")
_KEYS: dict[str, tuple[str, ...]] = {
    **{
        table.name: table.key
        for module in (tables, vocabulary_tables)
        for table in vars(module).values()
        if isinstance(table, Table)
    },
    **dict.fromkeys(LABEL_VIEWS, KEY),
    "labels": (*KEY, "labeler", "native_label"),
    "assessments": (*KEY, "labeler"),
    "readings": (*KEY, "reader_id", "native_label"),
    "healthy": KEY,
    "label_counts": ("dataset", "labeler", "native_label"),
    "labeler_pairs": ("dataset", "labeler", "other_labeler", "finding"),
}
_COLUMNS = """
SELECT table_name, column_name, comment FROM duckdb_columns()
WHERE NOT internal AND schema_name = 'main' AND table_name <> 'splits' ORDER BY table_name, column_index
"""
_COMMENTS = """
SELECT table_name AS name, comment FROM duckdb_tables() WHERE schema_name = 'main'
UNION ALL SELECT view_name, comment FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'
"""


@dataclass(frozen=True)
class Relation:
    """A relation: its columns with their descriptions, and the columns that identify a row.

    `dataset`: the one dataset that a table of stored label states belongs to. `partitioned`: it holds rows of the
    datasets themselves, not a vocabulary or a list of them.
    """

    name: str
    description: str
    columns: dict[str, str]
    key: tuple[str, ...]
    dataset: str | None = None
    partitioned: bool = False


def relations(catalog: Catalog, names: Sequence[str] | None = None, *, storage: bool = False) -> list[Relation]:
    """The relations named, else all but the long ones; with `storage` the wide tables of label states too.

    Raises CxrError CXR-501 for an unknown name.
    """
    columns: dict[str, dict[str, str]] = {}
    for table, column, comment in catalog.sql(_COLUMNS).iter_rows():
        columns.setdefault(table, {})[column] = comment or ""
    comments = {name: comment or "" for name, comment in catalog.sql(_COMMENTS).iter_rows()}
    owners = _owners(catalog)
    by_dataset = {entry["table"] for entry in catalog.manifest["tables"] if entry["dataset"] is not None}
    views = {"healthy", "label_counts", "labeler_pairs", *LABEL_VIEWS, *LONG}
    known = {
        name: Relation(
            name,
            comments.get(name, ""),
            columns[name],
            _KEYS.get(name) or tuple(c for c in ("image_id", "reader_id") if c in columns[name]),
            dataset=owners.get(name),
            partitioned=name in by_dataset or name in views,
        )
        for name in sorted(columns)
    }
    if names is not None:
        for name in names:
            if name not in known:
                raise CxrError(
                    "CXR-501",
                    f"there is no relation {name!r}{nearest(name, list(known))}",
                    fix=f"relations: {', '.join(known)}",
                )
        return [known[name] for name in dict.fromkeys(names)]
    # label_codes_… is how image_labels and image_labels_rolled are stored: they are exported themselves.
    hidden = (label_codes_name(""),) if storage else STORAGE_PREFIXES
    return [one for one in known.values() if one.name not in LONG and not one.name.startswith(hidden)]


def known_datasets(catalog: Catalog, names: Sequence[str]) -> list[str]:
    """The datasets named (by name or alias), else all of the build, in the build's order. Raises CxrError CXR-501."""
    built: list[str] = catalog.manifest["datasets"]
    aliases = {alias: source.name for source in Registry() for alias in source.aliases}
    chosen = [name if name in built else aliases.get(name, name) for name in names]
    for name, said in zip(chosen, names, strict=True):
        if name not in built:
            raise CxrError(
                "CXR-501",
                f"this catalog has no dataset {said!r}{nearest(said, built)}",
                fix=f"its datasets: {', '.join(built)}",
            )
    return [name for name in built if not chosen or name in chosen]


def terms_notes(catalog: Catalog, datasets: Sequence[str]) -> list[str]:
    """What is to be said of rows that leave the catalog: of which datasets they may not be passed on. Made-up rows may."""
    made_up = catalog.manifest["synthetic"]
    kept = [
        source.name
        for source in Registry()
        if source.name in datasets
        and source.name not in made_up
        and not source.entry["licence"].get("share_rows", False)
    ]
    return [f"rows of {', '.join(kept)} may not be passed on: their terms are in DATA_TERMS.md"] if kept else []


def split_keys(catalog: Catalog, name: str) -> pl.DataFrame:
    """dataset, image_id, split of a stored split, with fold, n_draws and weight where it has them. Raises CxrError CXR-501."""
    frame = catalog.split(name)
    used = [column for column in OPTIONAL if column in frame.columns]
    return frame.select(*KEY, "split", *used)


def batches(
    catalog: Catalog, relation: Relation, dataset: str | None = None, keys: pl.DataFrame | None = None
) -> Iterator[pl.DataFrame]:
    """`rows`, of a long relation some thousands of images at a time: PadChest alone has thirty million labels."""
    if relation.name not in LONG or dataset is None:
        yield rows(catalog, relation, dataset, keys)
        return
    images = catalog.table("images").filter(dataset=dataset).select("image_id").collect()["image_id"].sort()
    order = ", ".join(quoted(column) for column in relation.key)
    query = f"SELECT * FROM {quoted(relation.name)} WHERE dataset = $dataset AND image_id BETWEEN $first AND $last ORDER BY {order}"
    for start in range(0, max(images.len(), 1), _IMAGES_AT_ONCE):
        part = images.slice(start, _IMAGES_AT_ONCE)
        bounds = {"first": part.first() or "", "last": part.last() or ""}
        frame = catalog.sql(query, {"dataset": dataset, **bounds}, seconds=None)
        yield frame if keys is None else frame.join(keys, on=list(KEY), how="inner", maintain_order="left")


def rows(
    catalog: Catalog, relation: Relation, dataset: str | None = None, keys: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The rows of a relation in their order: all, or those of one dataset.

    keys (`split_keys`): only images of the split, with its columns beside them; of patients and studies those that
    have such an image.
    """
    frame = _frame(catalog, relation, dataset)
    if keys is None:
        return frame.collect()
    columns = frame.collect_schema().names()
    if set(KEY).issubset(columns):
        return frame.join(keys.lazy(), on=list(KEY), how="inner", maintain_order="left").collect()
    unit = {"patients": "patient_id", "studies": "study_id"}.get(relation.name)
    if unit is not None:
        images = catalog.table("images").select(*KEY, unit).join(keys.lazy(), on=list(KEY), how="semi")
        return frame.join(images, on=["dataset", unit], how="semi", maintain_order="left").collect()
    return frame.collect()


def _frame(catalog: Catalog, relation: Relation, dataset: str | None) -> pl.LazyFrame:
    name = relation.name
    if name in LABEL_VIEWS or any(entry["table"] == name for entry in catalog.manifest["tables"]):
        frame = catalog.table(name)
        return frame if dataset is None or "dataset" not in relation.columns else frame.filter(dataset=dataset)
    where = "" if dataset is None or "dataset" not in relation.columns else "WHERE dataset = $dataset"
    order = ", ".join(quoted(column) for column in relation.key)
    query = f"SELECT * FROM {quoted(name)} {where} ORDER BY {order}"
    return catalog.sql(query, {"dataset": dataset} if where else {}, seconds=None).lazy()


def _owners(catalog: Catalog) -> dict[str, str]:
    """Wide table -> the dataset that it is of."""
    return {
        name: dataset
        for dataset, labelers in catalog.manifest["labelers"].items()
        for name in (
            readings_name(dataset),
            label_codes_name(dataset),
            *(states_name(dataset, one) for one, _ in labelers),
        )
    }
