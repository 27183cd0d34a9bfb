"""What is in a catalog: its relations, or the columns of one with what they hold."""

from __future__ import annotations

from typing import Any

import duckdb
import polars as pl

from cxrdata.errors import PROBLEMS, CxrError, nearest
from cxrdata.schemas.names import STORAGE_PREFIXES
from cxrdata.schemas.registered import REGISTERED
from cxrdata.store.catalog import Catalog
from cxrdata.store.database import quoted

# A column with at most so many values is told by its most frequent ones, any other by its least and greatest.
FEW_VALUES = 60
FREQUENT = 3
EXACT_ROWS = 200_000  # beyond, distinct values are estimated (to about 3 %): an exact count would take seconds
_SHAPE = {
    "column_name": pl.String, "type": pl.String, "nulls_percent": pl.Float64, "distinct_values": pl.Int64, "least": pl.String, "greatest": pl.String,
    "frequent": pl.String, "description": pl.String,
}  # fmt: skip

_RELATIONS = f"""
SELECT schema_name, table_name AS name, 'table' AS kind, comment FROM duckdb_tables()
UNION ALL
SELECT schema_name, view_name, 'view', comment FROM duckdb_views() WHERE NOT internal AND view_name NOT IN ({", ".join(f"'{name}'" for name in REGISTERED)})
ORDER BY ALL
"""


def describe(catalog: Catalog, table: str | None = None, *, storage: bool = False) -> pl.DataFrame:
    """Without `table`: relation, kind (table or view), row_count, description; the wide tables that others are views of
    only with `storage`. With it, a row a column: column_name, type,
    nulls_percent, distinct_values (estimated in relations of more than 200,000 rows), least and greatest or, where there are few, the most frequent
    values with their counts, description.

    Raises CxrError CXR-501 for an unknown relation.
    """
    if table is not None:
        return _columns(catalog, table)
    relations = _relations(catalog)
    return (
        relations
        if storage
        else relations.filter(~pl.any_horizontal(pl.col("relation").str.starts_with(p) for p in STORAGE_PREFIXES))
    )


def rejects(
    catalog: Catalog, *, dataset: str | None = None, code: str | None = None, kind: str | None = None
) -> pl.DataFrame:
    """Rows of `rejects`, all or those of a dataset, a code (CXR-nnn), a kind (row, value), in the order of the files.

    Raises CxrError CXR-501 for an unknown dataset or code.
    """
    if dataset is not None:
        from cxrdata.sources.base import Registry

        dataset = dataset if dataset in catalog.manifest["datasets"] else Registry().get(dataset).name
    if code is not None and code.upper() not in PROBLEMS:
        raise CxrError(
            "CXR-501",
            f"there is no code {code!r}{nearest(code.upper(), list(PROBLEMS))}",
            fix="the codes are listed in docs/errors.md",
        )
    query = """
        SELECT * FROM rejects
        WHERE ($dataset IS NULL OR dataset = $dataset) AND ($code IS NULL OR code = $code) AND ($kind IS NULL OR kind = $kind)
        ORDER BY dataset, source_file, line NULLS FIRST, kind, code, column_name NULLS FIRST, value NULLS FIRST
    """
    return catalog.sql(query, {"dataset": dataset, "code": code.upper() if code else None, "kind": kind})


def _relations(catalog: Catalog) -> pl.DataFrame:
    stored: dict[tuple[str, str], int] = {}
    for entry in catalog.manifest["tables"]:
        key = (entry["schema"], entry["table"])
        stored[key] = stored.get(key, 0) + entry["rows"]
    rows = []
    for schema, name, kind, comment in catalog.sql(_RELATIONS).iter_rows():
        relation = name if schema == "main" else f"{schema}.{name}"
        count = stored.get((schema, name))
        rows.append((relation, kind, count if count is not None else _view_rows(catalog, name), comment))
    present = set(catalog.tables)
    rows += [
        (relation.name, "view", _view_rows(catalog, relation.name), relation.description)
        for relation in REGISTERED.values()
        if relation.name in present
    ]
    return pl.DataFrame(
        rows,
        schema={"relation": pl.String, "kind": pl.String, "row_count": pl.Int64, "description": pl.String},
        orient="row",
    ).sort("relation")


def _view_rows(catalog: Catalog, name: str) -> int:
    # `labels` has tens of millions of rows, and what it shows is counted in `label_counts`.
    query = (
        f"SELECT coalesce(sum(n), 0)::BIGINT AS n FROM ({_COUNTED})"
        if name == "labels"
        else f"SELECT count(*) AS n FROM {quoted(name)}"
    )
    return int(catalog.sql(query).item())


def _columns(catalog: Catalog, table: str) -> pl.DataFrame:
    schema, _, name = table.rpartition(".")
    columns = catalog.sql(
        "SELECT column_name, data_type AS type, comment AS description FROM duckdb_columns()"
        " WHERE table_name = $name AND schema_name = $schema AND NOT internal ORDER BY column_index",
        {"name": name, "schema": schema or "main"},
    )
    if table in REGISTERED and table in catalog.tables:
        texts = pl.DataFrame(list(REGISTERED[table].describe().items()), ["column_name", "description"], orient="row")
        columns = catalog.sql(f"SELECT column_name, column_type AS type FROM (DESCRIBE {quoted(table)})")
        columns = columns.join(texts, on="column_name", how="left", maintain_order="left")
    if columns.is_empty():
        known = _relations(catalog)["relation"].to_list()
        raise CxrError(
            "CXR-501", f"there is no relation {table!r}{nearest(table, known)}", fix=f"relations: {', '.join(known)}"
        )
    if table == "labels":
        held = _held_by_labels(catalog)
    else:
        held = _held(catalog.connect(), ".".join(quoted(part) for part in table.split(".", 1)), columns)
    return columns.join(held, on="column_name", how="left", maintain_order="left").select(
        pl.col(name).cast(dtype) for name, dtype in _SHAPE.items()
    )


def _held(connection: duckdb.DuckDBPyConnection, relation: str, columns: pl.DataFrame) -> pl.DataFrame:
    """What the columns of a relation hold: a first pass counts, a second looks at the values."""
    names = columns["column_name"].to_list()
    rows = connection.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0]
    how = "count(DISTINCT {0})" if rows <= EXACT_ROWS else "least(count({0}), approx_count_distinct({0}))"
    counts = ", ".join(f"count({quoted(name)}), {how.format(quoted(name))}" for name in names)
    total, *found = connection.execute(f"SELECT count(*), {counts} FROM {relation}").fetchall()[0]
    known, distinct = dict(zip(names, found[::2], strict=True)), dict(zip(names, found[1::2], strict=True))
    types = dict(columns.select("column_name", "type").iter_rows())
    few = {name for name in names if 0 < distinct[name] <= FEW_VALUES}
    looks = ", ".join(
        f"histogram({quoted(name)}{'' if types[name] == 'TINYINT' else '::VARCHAR'})"
        if name in few
        else f"[min({quoted(name)})::VARCHAR, max({quoted(name)})::VARCHAR]"
        for name in names
    )
    looked = connection.execute(f"SELECT {looks} FROM {relation}").fetchall()[0]
    rows = [_told(name, total, known[name], distinct[name], value) for name, value in zip(names, looked, strict=True)]
    return pl.DataFrame(rows, schema=_HELD, orient="row")


_HELD = {
    name: _SHAPE[name] for name in ("column_name", "nulls_percent", "distinct_values", "least", "greatest", "frequent")
}


def _told(name: str, total: int, known: int, distinct: int, value: Any) -> tuple[Any, ...]:  # noqa: ANN401 - a map or a pair
    """One column as it is told; `value` is a map of value to count, or [least, greatest]."""
    nulls = round(100 * (1 - known / total), 2) if total else None
    if not isinstance(value, dict):
        least, greatest = value or (None, None)
        return name, nulls, distinct, least, greatest, None
    ranked = sorted(value.items(), key=lambda item: (-item[1], str(item[0])))
    frequent = ", ".join(f"{text} ({count:,})" for text, count in ranked[:FREQUENT])
    return name, nulls, len(value), None, None, frequent + (", ..." if len(ranked) > FREQUENT else "")


# Rows of `labels` by everything but the image: it has tens of millions of rows, and their counts are stored.
_COUNTED = """
SELECT dataset, labeler, native_label, finding, unnest(['positive', 'negative', 'negative', 'uncertain', 'unmentioned']) AS state,
  unnest([true, true, false, true, true]) AS stated, level,
  unnest([n_positive, n_negative, n_negative_by_silence, n_uncertain, n_unmentioned]) AS n
FROM label_counts
"""


def _held_by_labels(catalog: Catalog) -> pl.DataFrame:
    counted = catalog.sql(f"FROM ({_COUNTED}) WHERE n > 0")
    total = int(counted["n"].sum())
    images = catalog.sql(
        "SELECT approx_count_distinct(dataset || ':' || image_id), [min(image_id), max(image_id)] FROM assessments"
    ).row(0)
    rows = [_told("image_id", total, total, *images)]
    for name in (column for column in counted.columns if column != "n"):
        values = counted.drop_nulls(name).group_by(pl.col(name).cast(pl.String)).agg(pl.col("n").sum()).sort(name)
        known = int(values["n"].sum())
        pair = [values[name].min(), values[name].max()]
        rows.append(
            _told(name, total, known, values.height, dict(values.iter_rows()) if values.height <= FEW_VALUES else pair)
        )
    return pl.DataFrame(rows, schema=_HELD, orient="row")
