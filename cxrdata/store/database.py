"""The self-contained DuckDB file of a build: every table from its Parquet, every view, every comment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import duckdb

from cxrdata.errors import CxrError
from cxrdata.interrupts import in_threads
from cxrdata.schemas.label_views import describe_label_view
from cxrdata.schemas.names import LABEL_VIEWS, label_codes_name, label_view_columns, readings_name, states_name
from cxrdata.schemas.views import ASSESSMENTS, HEALTHY, LABEL_COUNTS, LABELER_PAIRS, LABELS, READINGS, VIEWS, View
from cxrdata.store.publish import crash_point

# Files of this storage version open in clients from DuckDB 1.5 on; newer ones only in 2.x.
STORAGE_VERSION = "v1.5.0"
LOADERS = 3
# A thread writes a row group when it is full; what is left of a table is written by one thread, at the checkpoint. With
# DuckDB's own 122,880 that is half of the tables here.
ROW_GROUP_ROWS = 30_720
IMAGE_UID = "dataset || ':' || image_id"
IMAGE_UID_TEXT = "Image key across datasets: dataset:image_id."


@dataclass(frozen=True)
class StoredTable:
    """A table as stored: its Parquet files in order and its descriptions."""

    name: str
    description: str
    columns: Mapping[str, str]
    files: tuple[Path, ...]
    schema: str = "main"


@dataclass(frozen=True)
class Labelled:
    """A wide label table: whose it is and at which level it was given."""

    dataset: str
    labeler: str
    level: str


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL string."""
    return "'" + text.replace("'", "''") + "'"


def create_database(
    path: Path,
    tables: Iterable[StoredTable],
    labelled: Iterable[Labelled],
    readers: Iterable[str],
    *,
    views: bool = True,
) -> None:
    """Write the file, or add to it: tables, the views over the wide ones, comments on everything.

    Raises CxrError CXR-407 where a relation or column is left without a description.
    """
    connection = duckdb.connect()
    try:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(
            f"ATTACH {literal(str(path))} AS catalog (STORAGE_VERSION '{STORAGE_VERSION}', ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
        )
        connection.execute("USE catalog")
        connection.execute("SET checkpoint_threshold = '1TB'")  # one at the end: each stops the loading
        _create_tables(connection, list(tables))
        crash_point(6)
        labelled, readers = list(labelled), list(readers)
        if views:
            store_views(connection, labelled, readers)
        connection.execute("BEGIN")  # one transaction: hundreds of comments would else be flushed one by one
        if views:
            create_label_views(connection)
            create_views(connection, labelled, readers)
        _check_described(connection)
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")
        connection.execute("USE memory")
        connection.execute("DETACH catalog")
    finally:
        connection.close()


def _create_tables(connection: duckdb.DuckDBPyConnection, tables: list[StoredTable]) -> None:
    """Load the tables a few at a time, the largest first: DuckDB loads a table of one row group, and commits any, on one
    thread alone. Each is a transaction of its own."""
    for schema in sorted({table.schema for table in tables} - {"main"}):
        connection.execute(f"CREATE SCHEMA {quoted(schema)}")

    def load(table: StoredTable) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET enable_progress_bar = false")
            cursor.execute("USE catalog")
            cursor.execute("BEGIN")
            _create_table(cursor, table)
            cursor.execute("COMMIT")

    in_threads(load, sorted(tables, key=lambda table: -sum(file.stat().st_size for file in table.files)), LOADERS)


def _create_table(connection: duckdb.DuckDBPyConnection, table: StoredTable) -> None:
    files = "[" + ", ".join(literal(str(file)) for file in table.files) + "]"
    name = f"{quoted(table.schema)}.{quoted(table.name)}"
    rows = f"SELECT * FROM read_parquet({files}, hive_partitioning = false)"
    if table.name == "images":
        declared = connection.execute(f"DESCRIBE {rows}").fetchall()
        columns = ", ".join(f"{quoted(column)} {data_type}" for column, data_type, *_ in declared)
        connection.execute(
            f"CREATE TABLE {name} ({columns}, image_uid VARCHAR GENERATED ALWAYS AS ({IMAGE_UID}) VIRTUAL)"
        )
        connection.execute(f"INSERT INTO {name} {rows}")
        connection.execute(f"COMMENT ON COLUMN {name}.image_uid IS '{IMAGE_UID_TEXT}'")
    else:
        connection.execute(f"CREATE TABLE {name} AS {rows}")
    connection.execute(f"COMMENT ON TABLE {name} IS {literal(table.description)}")
    for column, text in table.columns.items():
        connection.execute(f"COMMENT ON COLUMN {name}.{quoted(column)} IS {literal(text)}")


def create_label_views(connection: duckdb.DuckDBPyConnection) -> None:
    """`image_labels` and `image_labels_rolled` as views of the compact tables: their 36 columns are mostly null for
    any one dataset, and storing them twice would cost a third of the whole load. `findings` must stand."""
    findings = dict(connection.execute("SELECT finding, title FROM findings ORDER BY finding_order").fetchall())
    prefix = label_codes_name("")
    stored = connection.execute(
        "SELECT table_name, list(column_name) FROM duckdb_columns() WHERE starts_with(table_name, ?) GROUP BY ALL ORDER BY ALL",
        [prefix],
    ).fetchall()
    for view in LABEL_VIEWS:
        branches = []
        for name, columns in stored:
            codes = (
                f"{quoted(source) if source else 'NULL::TINYINT'} AS {quoted(finding)}"
                for finding, source in label_view_columns(view, findings, columns)
            )
            branches.append(
                f"SELECT {literal(name.removeprefix(prefix))} AS dataset, image_id, labeler, {', '.join(codes)} FROM {quoted(name)}"
            )
        connection.execute(f"CREATE VIEW {view} AS {' UNION ALL '.join(branches)}")
        description, comments = describe_label_view(view, findings)
        connection.execute(f"COMMENT ON VIEW {view} IS {literal(description)}")
        for column, text in comments.items():
            connection.execute(f"COMMENT ON COLUMN {view}.{quoted(column)} IS {literal(text)}")


def store_views(connection: duckdb.DuckDBPyConnection, labelled: list[Labelled], readers: list[str]) -> None:
    """The views whose rows are stored, side by side: one of them keeps hardly more than a core busy."""
    statements = [
        view.statement(branches)
        for view, branches in view_branches(connection, labelled, readers).items()
        if view.stored
    ]
    database = connection.execute("SELECT current_database()").fetchall()[0][0]

    def run(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET enable_progress_bar = false")
            cursor.execute(f"USE {quoted(database)}")
            cursor.execute(statement)

    in_threads(run, statements, LOADERS)


def create_views(connection: duckdb.DuckDBPyConnection, labelled: list[Labelled], readers: list[str]) -> None:
    """The other views over the wide label tables, and the comments of all. The tables `datasets` and `label_map` must
    stand, and what `store_views` makes.

    Raises CxrError CXR-505 where a dataset's rule of what is healthy (an overlay's) is no valid SQL.
    """
    for view, branches in view_branches(connection, labelled, readers).items():
        if not view.stored:
            connection.execute(view.statement(branches))
    try:
        connection.execute(HEALTHY.statement(_healthy_branches(connection)))
    except duckdb.Error as error:
        raise CxrError(
            "CXR-505",
            f"a rule of what is healthy is no valid SQL: {str(error).splitlines()[0]}",
            where="healthy.toml",
            fix="use columns of image_labels",
        ) from error
    for view in VIEWS:
        connection.execute(f"COMMENT ON {view.kind} {view.name} IS {literal(view.description)}")
        for column, text in view.describe().items():
            connection.execute(f"COMMENT ON COLUMN {view.name}.{column} IS {literal(text)}")


def view_branches(
    connection: duckdb.DuckDBPyConnection, labelled: list[Labelled], readers: list[str]
) -> dict[View, list[dict[str, str]]]:
    """For every view over the wide tables, what fills the placeholders of each of its branches."""
    by_labeler = [
        {
            "dataset": one.dataset,
            "labeler": one.labeler,
            "level": one.level,
            "table": quoted(states_name(one.dataset, one.labeler)),
        }
        for one in labelled
    ]
    by_dataset = [{"dataset": dataset, "table": quoted(readings_name(dataset))} for dataset in readers]
    pairs = _pair_branches(connection, labelled)
    return {
        LABELS: by_labeler,
        ASSESSMENTS: by_labeler,
        READINGS: by_dataset,
        LABEL_COUNTS: by_labeler,
        LABELER_PAIRS: pairs,
    }


def _healthy_branches(connection: duckdb.DuckDBPyConnection) -> list[dict[str, str]]:
    """The rules as the build has stored them: an overlay's rule is there, wherever the views are made."""
    rules = connection.execute("SELECT dataset, healthy_rule FROM datasets WHERE in_build ORDER BY dataset").fetchall()
    return [
        {"dataset": dataset, "rule": f"coalesce(({rule}), false)" if rule else "NULL::BOOLEAN"}
        for dataset, rule in rules
    ]


def _pair_branches(connection: duckdb.DuckDBPyConnection, labelled: list[Labelled]) -> list[dict[str, str]]:
    """Every two labelers of one dataset that have a finding in common."""
    branches = []
    findings = {one: _exact_columns(connection, one) for one in labelled}
    for first, second in combinations(labelled, 2):
        common = (
            [finding for finding in findings[first] if finding in findings[second]]
            if first.dataset == second.dataset
            else []
        )
        if not common:
            continue
        columns = [
            (f"a.{quoted(findings[first][finding])}", f"b.{quoted(findings[second][finding])}") for finding in common
        ]
        branches.append(
            {
                "dataset": first.dataset,
                "labeler": first.labeler,
                "other_labeler": second.labeler,
                "table": quoted(states_name(first.dataset, first.labeler)),
                "other_table": quoted(states_name(second.dataset, second.labeler)),
                "findings": ", ".join(literal(finding) for finding in common),
                "both_positive": ", ".join(f"count(*) FILTER ({a} = 1 AND {b} = 1)" for a, b in columns),
                "both_negative": ", ".join(f"count(*) FILTER ({a} IN (0, -3) AND {b} IN (0, -3))" for a, b in columns),
                "positive_negative": ", ".join(f"count(*) FILTER ({a} = 1 AND {b} IN (0, -3))" for a, b in columns),
                "negative_positive": ", ".join(f"count(*) FILTER ({a} IN (0, -3) AND {b} = 1)" for a, b in columns),
            }
        )
    return branches


def _exact_columns(connection: duckdb.DuckDBPyConnection, one: Labelled) -> dict[str, str]:
    """finding -> the column of the labeler's wide table that is its exact counterpart, in the order of `findings`."""
    columns = connection.execute(f"DESCRIBE {quoted(states_name(one.dataset, one.labeler))}").fetchall()
    native = [row[0] for row in columns]
    rows = connection.execute(
        "SELECT finding, native_label FROM label_map JOIN findings USING (finding) WHERE dataset = ? AND predicate = 'exactMatch' ORDER BY finding_order",
        [one.dataset],
    ).fetchall()
    return {finding: label for finding, label in rows if label in native}


def _check_described(connection: duckdb.DuckDBPyConnection) -> None:
    missing = connection.execute(
        "SELECT table_name || '.' || column_name FROM duckdb_columns() WHERE database_name = 'catalog' AND NOT internal AND comment IS NULL"
        " UNION ALL SELECT table_name FROM duckdb_tables() WHERE database_name = 'catalog' AND comment IS NULL"
        " UNION ALL SELECT view_name FROM duckdb_views() WHERE database_name = 'catalog' AND NOT internal AND comment IS NULL"
    ).fetchall()
    if missing:
        raise CxrError(
            "CXR-407",
            f"relations or columns without a description: {len(missing)}, {missing[0][0]} first",
            fix="this is a defect of cxrdata; please report it",
        )
