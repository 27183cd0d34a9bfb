"""`verify`: is a build whole, to the byte, and does its DuckDB file hold the rows that its manifest names?"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from cxrdata.schemas.names import LABEL_VIEWS
from cxrdata.schemas.views import VIEWS
from cxrdata.stages import sha256_file
from cxrdata.store.database import Labelled, literal, quoted, view_branches
from cxrdata.store.layout import BUILD_ID_LENGTH, BuildFolder, CatalogFolder
from cxrdata.store.parquet import rows_digest
from cxrdata.version import __version__
from cxrdata.wording import counted

_BUILD_ID = re.compile(rf"[0-9a-f]{{{BUILD_ID_LENGTH}}}")
_SAME_ORDER = "FROM ({}) ORDER BY ALL"
FOREIGN = "does not belong to the build"
_GENERATED = {"images": ("image_uid",)}


@dataclass(frozen=True)
class Fault:
    """One thing that is not as it should be: a file (path below the catalog) or a relation of the DuckDB file."""

    where: str
    problem: str


def verify(folder: CatalogFolder, build: BuildFolder, *, rows: bool = True) -> list[Fault]:
    """All faults of a build, and of the catalog's own files around it; empty where it is whole.

    Found is every byte that differs, every file that is missing or added, and a DuckDB file whose rows are not those of
    the Parquet even though its own checksum was rewritten to fit. With `rows` false, only bytes and files are looked at.
    """
    faults = [*_current(folder)]
    manifest, problem = _manifest(build)
    if problem:
        faults.append(Fault(_name(folder, build.manifest), problem))
    if manifest is None:
        return faults
    files = {build.path / table["path"]: table["file_sha256"] for table in manifest["tables"]}
    files[build.terms] = manifest["terms_sha256"]
    expected = {*files, build.manifest, build.database, build.database_digest}
    recorded, problem = _recorded_digest(build)
    if problem:
        faults.append(Fault(_name(folder, build.database_digest), problem))
    if recorded:
        files[build.database] = recorded
    if _names_current(folder, build):
        files[folder.terms] = manifest["terms_sha256"]
    missing = sorted(path for path in {*files, *expected} if not path.is_file())
    faults += [Fault(_name(folder, path), "is missing") for path in missing]
    damaged = _damaged({path: digest for path, digest in files.items() if path not in missing})
    faults += [Fault(_name(folder, path), "its bytes have changed") for path in damaged]
    faults += [Fault(_name(folder, path), FOREIGN) for path in _foreign(build, expected)]
    if rows and build.database not in damaged and build.database not in missing:
        faults += _database(build, manifest)
    return faults


def _name(folder: CatalogFolder, path: Path) -> str:
    return path.relative_to(folder.path).as_posix()


def _current(folder: CatalogFolder) -> Iterator[Fault]:
    try:
        text = folder.current.read_bytes().decode("ascii", errors="replace")
    except OSError:
        yield Fault(folder.current.name, "is missing")
        return
    if not _BUILD_ID.fullmatch(text.removesuffix("\n")) or not text.endswith("\n"):
        yield Fault(folder.current.name, "does not hold a build's name")
    elif not folder.build(text.strip()).path.is_dir():
        yield Fault(folder.current.name, f"names the build {text.strip()}, which is not there")


def _names_current(folder: CatalogFolder, build: BuildFolder) -> bool:
    try:
        return folder.current.read_bytes() == f"{build.build_id}\n".encode()
    except OSError:
        return False


def _manifest(build: BuildFolder) -> tuple[dict[str, Any] | None, str | None]:
    """The manifest as far as it can be read, and what is wrong with it."""
    try:
        content = build.manifest.read_bytes()
    except OSError:
        return None, "is missing"
    problem = None
    if hashlib.sha256(content).hexdigest()[:BUILD_ID_LENGTH] != build.build_id:
        problem = "its hash is not the build's name: it has changed, or the folder was renamed"
    try:
        manifest = json.loads(content)
        # A damaged manifest may still be JSON; only one of the right form can be compared with.
        sound = all(
            isinstance(t[k], str)
            for t in manifest["tables"]
            for k in ("schema", "table", "path", "file_sha256", "rows_sha256")
        )
        return (manifest if sound and isinstance(manifest["terms_sha256"], str) else None), problem
    except (ValueError, KeyError, TypeError):
        return None, problem or "is no manifest"


def _recorded_digest(build: BuildFolder) -> tuple[str | None, str | None]:
    try:
        text = build.database_digest.read_bytes().decode("ascii", errors="replace")
    except OSError:
        return None, None  # told as a missing file
    match = re.fullmatch(rf"([0-9a-f]{{64}})  {re.escape(build.database.name)}\n", text)
    return (match[1], None) if match else (None, f"is not of the form `SHA-256  {build.database.name}`")


def _damaged(files: dict[Path, str]) -> list[Path]:
    """Files whose SHA-256 differs. Hashing leaves Python's lock, so threads help."""

    def differs(item: tuple[Path, str]) -> bool:
        try:
            return sha256_file(item[0]) != item[1]
        except OSError:
            return True

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        largest_first = sorted(files.items(), key=lambda item: (-item[0].stat().st_size, item[0]))
        return sorted(
            path for (path, _), bad in zip(largest_first, pool.map(differs, largest_first), strict=True) if bad
        )


def _foreign(build: BuildFolder, expected: set[Path]) -> list[Path]:
    folders = {parent for path in expected for parent in path.parents}
    return sorted(path for path in build.path.rglob("*") if path not in expected and path not in folders)


def _database(build: BuildFolder, manifest: dict[str, Any]) -> list[Fault]:
    """The DuckDB file's relations against the manifest, row by row in their order."""
    where = build.database.name
    # Attached, not opened: this process may have the file open already, under other settings.
    connection = duckdb.connect()
    try:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"ATTACH {literal(str(build.database))} AS catalog (READ_ONLY)")
        connection.execute("USE catalog")
        return [
            *_relations(connection, manifest),
            *_rows(connection, manifest),
            *_view_rows(connection, manifest),
            *_stored_views(connection, manifest),
        ]
    except (duckdb.Error, pl.exceptions.PolarsError) as error:
        return [Fault(where, f"cannot be read: {str(error).splitlines()[0]}")]
    finally:
        connection.close()


def _relations(connection: duckdb.DuckDBPyConnection, manifest: dict[str, Any]) -> Iterator[Fault]:
    expected = {(table["schema"], table["table"]) for table in manifest["tables"]} | {
        ("main", name) for name in (*LABEL_VIEWS, *(view.name for view in VIEWS))
    }
    rows = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal"
    ).fetchall()
    found = set(rows)
    for schema, name in sorted(expected - found):
        yield Fault(f"catalog.duckdb: {schema}.{name}", "is missing")
    for schema, name in sorted(found - expected):
        yield Fault(f"catalog.duckdb: {schema}.{name}", FOREIGN)


def _rows(connection: duckdb.DuckDBPyConnection, manifest: dict[str, Any]) -> Iterator[Fault]:
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for table in manifest["tables"]:
        grouped.setdefault((table["schema"], table["table"]), []).append(table)
    for (schema, name), parts in grouped.items():
        relation = f"{quoted(schema)}.{quoted(name)}"
        try:
            if _differs(connection, relation, _GENERATED.get(name, ()), parts):
                yield Fault(f"catalog.duckdb: {schema}.{name}", "its rows are not those of the Parquet")
        except duckdb.CatalogException:
            continue  # told as a missing relation


def _differs(
    connection: duckdb.DuckDBPyConnection, relation: str, generated: tuple[str, ...], parts: list[dict[str, Any]]
) -> bool:
    """Whether a relation's rows, part by part in their order, have other digests than the manifest says.

    A relation with several files has them one after the other: by `dataset` where it has that column, else by length.
    """
    columns = [row[0] for row in connection.execute(f"DESCRIBE {relation}").fetchall() if row[0] not in generated]
    select = f"SELECT {', '.join(quoted(column) for column in columns)} FROM {relation}"
    if len(parts) == 1:
        return rows_digest(connection.sql(select).pl()) != str(parts[0]["rows_sha256"])
    if "dataset" not in columns:
        whole, start = connection.sql(select).pl(), 0
        for part in parts:
            if rows_digest(whole.slice(start, part["rows"]).rechunk()) != part["rows_sha256"]:
                return True
            start += part["rows"]
        return bool(whole.height != start)
    total = connection.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0]
    if total != sum(part["rows"] for part in parts):
        return True
    return any(
        rows_digest(connection.sql(f"{select} WHERE dataset = ?", params=[part["dataset"]]).pl()) != part["rows_sha256"]
        for part in parts
    )


def _view_rows(connection: duckdb.DuckDBPyConnection, manifest: dict[str, Any]) -> Iterator[Fault]:
    """What the views over the wide tables show: as many rows as these have codes."""
    tables = {table["table"]: table["rows"] for table in manifest["tables"]}
    wide = {
        view: [name for name in tables if name.startswith(prefix)]
        for view, prefix in (("labels", "states_"), ("readings", "readings_"))
    }
    expected = {view: sum(_codes(connection, name) for name in names) for view, names in wide.items()}
    expected["assessments"] = sum(tables[name] for name in wide["labels"])
    images = sum(table["rows"] for table in manifest["tables"] if table["table"] == "images")
    expected |= dict.fromkeys((*LABEL_VIEWS, "healthy"), images)
    for view, count in expected.items():
        found = connection.execute(f"SELECT count(*) FROM {view}").fetchall()[0][0]
        if found != count:
            yield Fault(f"catalog.duckdb: {view}", f"shows {counted(found, 'row')}, not {count:,}")


def _stored_views(connection: duckdb.DuckDBPyConnection, manifest: dict[str, Any]) -> Iterator[Fault]:
    """Views whose rows are stored: the rows against those of their own statement, if it is this version that made them."""
    if manifest["cxrdata"] != __version__:
        return
    labelled = [
        Labelled(dataset, labeler, level)
        for dataset, labelers in manifest["labelers"].items()
        for labeler, level in labelers
    ]
    for view, branches in view_branches(connection, labelled, []).items():
        if not view.stored:
            continue
        stored = connection.sql(f"FROM {view.name} ORDER BY ALL").pl()
        if not stored.equals(connection.sql(_SAME_ORDER.format(view.select(branches))).pl()):
            yield Fault(f"catalog.duckdb: {view.name}", "its rows are not what its statement gives")


def _codes(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """Cells of a wide table that hold a code."""
    keys = [
        row[0]
        for row in connection.execute(f"DESCRIBE {quoted(table)}").fetchall()
        if row[0] in ("image_id", "closed_world", "reader_id")
    ]
    counts = connection.execute(
        f"SELECT count(COLUMNS(* EXCLUDE ({', '.join(keys)}))) FROM {quoted(table)}"
    ).fetchall()[0]
    return sum(counts)
