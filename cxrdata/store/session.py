"""A read-only DuckDB session on a build: closed to files and network, bounded in time and memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import duckdb
import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.interrupts import on_ctrl_c
from cxrdata.schemas.registered import IMAGE_FILES, SPLITS
from cxrdata.schemas.views import VIEWS
from cxrdata.store.damage import damage, mend
from cxrdata.store.database import Labelled, create_label_views, create_views, literal, quoted, store_views
from cxrdata.store.layout import BuildFolder, CatalogFolder
from cxrdata.store.manifest import read_manifest

DEFAULT_MEMORY = "4GB"
DEFAULT_SECONDS = 60.0
# Others would be refused by the read-only file or change nothing but the session: DESCRIBE and the like count as
# SELECT, a PIVOT as MULTI.
_LOCK = "lock on file"
_ANSWERED = ("SELECT", "EXPLAIN", "MULTI")
_CLOSED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


def open_session(
    build: BuildFolder, folder: CatalogFolder, *, memory: str = DEFAULT_MEMORY
) -> tuple[duckdb.DuckDBPyConnection, str | None]:
    """A connection to the build with `splits` and, once checked, `image_files` registered, and a remark if the Parquet had to be opened instead.

    A network share may refuse the read lock of the DuckDB file; the same relations are then made in memory from
    the Parquet. Raises CxrError CXR-405 if neither can be read.
    """
    remark = None
    try:
        connection = duckdb.connect(str(build.database), read_only=True, config={**_CLOSED, "memory_limit": memory})
    except duckdb.ConnectionException as error:
        raise CxrError(
            "CXR-502",
            "this process has the catalog open with another memory limit",
            fix="close that one first, or open with the same limit",
        ) from error
    except duckdb.IOException as error:
        # A refused lock says so; anything else may be damage, which the Parquet must not hide.
        if _LOCK not in str(error) and (found := damage(folder, build)) is not None:
            raise found from error
        connection = _from_parquet(build, memory)
        remark = "the DuckDB file could not be opened (a share without locks?); reading the Parquet instead"
    except duckdb.Error as error:
        raise CxrError(
            "CXR-405",
            f"the catalog's DuckDB file is damaged: {str(error).splitlines()[0]}",
            where=build.database.name,
            fix=mend(build),
        ) from error
    with suppress(duckdb.InvalidInputException):  # locked already: this process has the catalog open once more
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET lock_configuration = true")
    connection.register(SPLITS.name, _splits(folder))
    if (files := image_files(folder)) is not None:
        connection.register(IMAGE_FILES.name, files)
    return connection, remark


def _from_parquet(build: BuildFolder, memory: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"memory_limit": memory})
    manifest = read_manifest(build.manifest)
    grouped: dict[tuple[str, str], list[str]] = {}
    for table in manifest["tables"]:
        grouped.setdefault((table["schema"], table["table"]), []).append(str(build.path / table["path"]))
    try:
        for (schema, name), paths in grouped.items():
            files = "[" + ", ".join(literal(path) for path in paths) + "]"
            uid = ", dataset || ':' || image_id AS image_uid" if name == "images" else ""
            if schema != "main":
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
            connection.execute(
                f"CREATE TABLE {quoted(schema)}.{quoted(name)} AS SELECT *{uid} FROM read_parquet({files}, hive_partitioning = false)"
            )
        labelled = [
            Labelled(dataset, labeler, level)
            for dataset, labelers in manifest["labelers"].items()
            for labeler, level in labelers
        ]
        readers = [name.removeprefix("readings_") for _, name in grouped if name.startswith("readings_")]
        create_label_views(connection)
        store_views(connection, labelled, readers)
        create_views(connection, labelled, readers)
    except duckdb.Error as error:
        raise CxrError(
            "CXR-405",
            f"the catalog's Parquet cannot be read: {str(error).splitlines()[0]}",
            where=build.build_id,
            fix=mend(build),
        ) from error
    connection.execute("SET enable_external_access = false")
    return connection


def _splits(folder: CatalogFolder) -> pl.DataFrame:
    """All splits of the catalog, one row an image and split. Raises CxrError CXR-405 for one that cannot be read."""
    frames = []
    for path in sorted(folder.splits.glob("*/split.parquet")):
        try:
            frame = pl.read_parquet(path)
        except pl.exceptions.PolarsError as error:
            name = path.relative_to(folder.path).as_posix()
            raise CxrError(
                "CXR-405",
                "the split's Parquet cannot be read",
                where=name,
                fix=f"make the split again, or remove {name.rpartition('/')[0]}",
            ) from error
        frames.append(SPLITS.shaped(frame.with_columns(split_name=pl.lit(path.parent.name))))
    return pl.concat(frames) if frames else pl.DataFrame(schema=SPLITS.schema)


def image_files(folder: CatalogFolder) -> pl.DataFrame | None:
    """What was found of the image files, sorted by key; None where none was checked. Raises CxrError CXR-405."""
    if not folder.image_files.is_file():
        return None
    try:
        return IMAGE_FILES.shaped(pl.read_parquet(folder.image_files))
    except pl.exceptions.PolarsError as error:
        raise CxrError(
            "CXR-405",
            "what was found of the image files cannot be read",
            where=folder.image_files.name,
            fix="remove the file and run `cxrdata images check` again",
        ) from error


@contextmanager
def time_limit(connection: duckdb.DuckDBPyConnection, seconds: float | None) -> Iterator[None]:
    """Interrupt what runs on the connection after so many seconds; raises CxrError CXR-506."""
    expired = threading.Event()

    def stop() -> None:
        expired.set()
        connection.interrupt()

    timer = threading.Timer(seconds, stop) if seconds else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        with on_ctrl_c(connection.interrupt):
            yield
    except duckdb.InterruptException as error:
        if expired.is_set():
            raise CxrError(
                "CXR-506",
                f"the query ran longer than {seconds:g} s and was stopped",
                fix="narrow it, or allow more: --timeout SECONDS, sql(..., seconds=...)",
            ) from error
        raise KeyboardInterrupt from error
    except duckdb.OutOfMemoryException as error:
        raise CxrError(
            "CXR-506",
            "the query needs more memory than it is allowed",
            fix="narrow it, or allow more: --memory 8GB, cxrdata.open(..., memory='8GB')",
        ) from error
    finally:
        if timer:
            timer.cancel()


def run_query(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    parameters: Mapping[str, Any],
    *,
    seconds: float | None = DEFAULT_SECONDS,
) -> pl.DataFrame:
    """The rows of one SELECT (or DESCRIBE, SHOW, EXPLAIN, …).

    Raises CxrError: CXR-503 invalid or refused, CXR-506 too long or too large.
    """
    with time_limit(connection, seconds):
        try:
            statements = connection.extract_statements(query)
            if len(statements) != 1:
                raise CxrError("CXR-503", f"one query is expected, found {len(statements)}", fix="run them one by one")
            if (kind := statements[0].type.name) not in _ANSWERED:
                raise CxrError(
                    "CXR-503",
                    f"{kind} statements are refused: a catalog is read-only",
                    fix="ask with SELECT, FROM, SUMMARIZE, DESCRIBE, SHOW or EXPLAIN",
                )
            wanted = {name: value for name, value in parameters.items() if name in statements[0].named_parameters}
            unused = sorted(set(parameters) - set(wanted))
            if unused:
                raise CxrError(
                    "CXR-502",
                    f"the query has no parameter ${unused[0]}",
                    fix=f"parameters of the query: {', '.join(sorted(statements[0].named_parameters)) or 'none'}",
                )
            missing = sorted(set(statements[0].named_parameters) - set(wanted))
            if missing:
                raise CxrError(
                    "CXR-502",
                    f"the query needs a value for ${missing[0]}",
                    fix=f"give it: --param {missing[0]}=VALUE, sql(query, {{'{missing[0]}': VALUE}})",
                )
            rows: pl.DataFrame = connection.sql(query, params=wanted or None).pl()
            return rows
        except duckdb.InterruptException:
            raise
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            raise _refused(connection, error) from error


def _refused(connection: duckdb.DuckDBPyConnection, error: duckdb.Error) -> CxrError:
    text = str(error).strip()
    fix = "relations: `cxrdata describe`; queries that ship: `cxrdata sql --list`"
    if isinstance(error, duckdb.PermissionException) or "read-only" in text or "disabled" in text:
        fix = "the catalog is read-only and closed to files; give side files: --with NAME=FILE, sql(query, NAME=frame)"
    elif isinstance(error, duckdb.CatalogException) and "does not exist" in text and "Table" in text:
        known = [
            row[0]
            for row in connection.execute(
                "SELECT table_name FROM duckdb_tables() UNION SELECT view_name FROM duckdb_views() WHERE NOT internal"
            ).fetchall()
        ]
        name = text.split("Table with name ")[-1].split(" ")[0]
        hint = nearest(name, known)
        fix = hint.lstrip("; ").rstrip("?").capitalize() + "? " + fix if hint else fix
    return CxrError("CXR-503", text, fix=fix)


VIEW_NAMES = tuple(view.name for view in VIEWS)
