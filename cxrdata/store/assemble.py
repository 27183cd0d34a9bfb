"""From finished dataset stages to a complete build folder, not yet published."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from cxrdata.errors import CxrError
from cxrdata.interrupts import in_threads
from cxrdata.keys import declared_keys
from cxrdata.resources import data_folder
from cxrdata.schemas.validate import conform
from cxrdata.schemas.vocabulary_tables import EXPECTED_COUNTS, vocabulary_frames
from cxrdata.sources.base import Registry
from cxrdata.stages import make_private, sha256_file, sync_folder
from cxrdata.store.database import LOADERS, Labelled, StoredTable, create_database
from cxrdata.store.dataset_stage import DatasetStage
from cxrdata.store.layout import BuildFolder
from cxrdata.store.manifest import FORMAT, build_id, manifest_bytes, write_digest_file
from cxrdata.store.parquet import rows_digest, table_path, write_parquet
from cxrdata.store.publish import crash_point, place_file
from cxrdata.store.terms import terms_text
from cxrdata.version import __version__
from cxrdata.vocabularies import Vocabularies
from cxrdata.wording import counted

# An official count is a check under --strict only if it was seen on a file or in documentation.
_CHECKED_CONFIDENCE = ("V", "R")


def assemble(
    aside: Path,
    stages: list[DatasetStage],
    registry: Registry,
    vocabularies: Vocabularies,
    *,
    strict: bool,
    progress: Callable[[str], None],
) -> str:
    """Fill `aside` with a whole build and return its id.

    Raises CxrError: CXR-402 a data check failed, CXR-403 (strict) counts differ.
    """
    build = BuildFolder(aside)
    make_private(aside)
    described = {stage.dataset: stage.describe() for stage in stages}
    progress("storing tables")
    entries = _place_tables(build, stages, described, registry, vocabularies)
    crash_point(5)
    _create(build, entries, described)
    crash_point(7)
    progress("checking")
    counts = _check(build, described, registry, strict=strict)
    entries.append(_store_counts(build, counts))
    crash_point(8)
    build.terms.write_text(terms_text([registry.get(name) for name in described]), encoding="utf-8")
    write_digest_file(build.database, build.database_digest)
    manifest = _manifest(build, entries, described, registry, vocabularies)
    build.manifest.write_bytes(manifest_bytes(manifest))
    crash_point(9)
    sync_folder(aside)
    return build_id(manifest)


def _place_tables(
    build: BuildFolder,
    stages: list[DatasetStage],
    described: dict[str, dict[str, Any]],
    registry: Registry,
    vocabularies: Vocabularies,
) -> list[dict[str, Any]]:
    """Link or write every Parquet file; one entry a file for the manifest."""
    entries = []
    for stage in stages:
        for table in described[stage.dataset]["tables"]:
            place_file(stage.folder / table["path"], build.tables / table["path"])
            entries.append({**table, "dataset": stage.dataset, "schema": "main", "path": f"tables/{table['path']}"})
        for table in described[stage.dataset]["raw"]:
            place_file(stage.folder / table["path"], build.tables / table["path"])
            entries.append({**table, "dataset": stage.dataset, "schema": "raw", "path": f"tables/{table['path']}"})
    built = {name: bool(stage["synthetic"]) for name, stage in described.items()}
    for table, frame in vocabulary_frames(vocabularies, registry, built):
        entries.append(_store(build, table.name, table.description, table.describe(), conform(frame, table)))
    return entries


def _store(
    build: BuildFolder, name: str, description: str, columns: dict[str, str], frame: pl.DataFrame
) -> dict[str, Any]:
    path = table_path(name, None)
    write_parquet(frame, build.tables / path, description=description)
    return {
        "name": name, "path": f"tables/{path}", "rows": frame.height, "digest": rows_digest(frame), "file_sha256": sha256_file(build.tables / path),
        "description": description, "columns": columns, "dataset": None, "schema": "main",
    }  # fmt: skip


def _stored_tables(build: BuildFolder, entries: list[dict[str, Any]]) -> Iterator[StoredTable]:
    """Tables for the database: the files of a per-dataset table in the datasets' order."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in entries:
        grouped.setdefault((entry["schema"], entry["name"]), []).append(entry)
    for (schema, name), parts in grouped.items():
        files = tuple(build.path / part["path"] for part in parts)
        yield StoredTable(name, parts[0]["description"], parts[0]["columns"], files, schema)


def _create(build: BuildFolder, entries: list[dict[str, Any]], described: dict[str, dict[str, Any]]) -> None:
    labelled = [
        Labelled(name, labeler, level) for name, stage in described.items() for labeler, level in stage["labelers"]
    ]
    readers = [name for name, stage in described.items() if stage["readers"]]
    create_database(build.database, _stored_tables(build, entries), labelled, readers)


def _check(
    build: BuildFolder, described: dict[str, dict[str, Any]], registry: Registry, *, strict: bool
) -> pl.DataFrame:
    connection = duckdb.connect(str(build.database), read_only=True)
    try:
        _run_checks(connection)
        rows = _count_expected(connection, described, registry)
        counts = pl.DataFrame(rows, schema=EXPECTED_COUNTS.types(), orient="row")
    finally:
        connection.close()
    differing = counts.filter((pl.col("expected") != pl.col("found")) & pl.col("confidence").is_in(_CHECKED_CONFIDENCE))
    if strict and not differing.is_empty():
        first = differing.row(0, named=True)
        raise CxrError(
            "CXR-403",
            f"{counted(differing.height, 'count')} {'differs' if differing.height == 1 else 'differ'} from what is official; {first['dataset']}: {first['what']} {first['found']:,}, official {first['expected']:,}",
            fix="build without --strict if you hold a subset or another version",
        )
    return counts


def _count_expected(
    connection: duckdb.DuckDBPyConnection, described: dict[str, dict[str, Any]], registry: Registry
) -> list[tuple[Any, ...]]:
    """Every official count that the files at hand allow, and what is there: the rows of `expected_counts`."""
    wanted = []
    for name in described:
        files = connection.execute("SELECT variant, role FROM source_files WHERE dataset = ?", [name]).fetchall()
        variants, roles = {variant for variant, _ in files}, {role for _, role in files}
        wanted += [
            (name, expected)
            for expected in registry.get(name).expectations
            if (not expected.variant or expected.variant in variants)
            and (not expected.needs or expected.needs in roles)
        ]

    def count(sql: str) -> Any:  # noqa: ANN401
        with connection.cursor() as cursor:
            return cursor.execute(sql).fetchall()[0][0]

    found = in_threads(lambda one: count(one[1].sql), wanted, LOADERS)
    return [
        (name, expected.what, expected.count, n, expected.confidence)
        for (name, expected), n in zip(wanted, found, strict=True)
    ]


def _run_checks(connection: duckdb.DuckDBPyConnection) -> None:
    """Every data check, a few at a time; the first in the order of their names that fails is told (CXR-402)."""
    paths = sorted((data_folder("sql") / "checks").glob("*.sql"))

    def failing(path: Path) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            return cursor.execute(path.read_text(encoding="utf-8")).fetchmany(3)

    for path, rows in zip(paths, in_threads(failing, paths, LOADERS), strict=True):
        if rows:
            raise CxrError(
                "CXR-402",
                f"the data check {path.stem} found rows that must not exist: {'; '.join(str(row) for row in rows)}",
                where=f"sql/checks/{path.name}",
                fix="if the files are official and unchanged, this is a defect of cxrdata; please report it",
            )


def _store_counts(build: BuildFolder, counts: pl.DataFrame) -> dict[str, Any]:
    """`expected_counts` can only be known once the tables stand, so it joins the database last."""
    entry = _store(
        build,
        EXPECTED_COUNTS.name,
        EXPECTED_COUNTS.description,
        EXPECTED_COUNTS.describe(),
        conform(counts, EXPECTED_COUNTS),
    )
    table = StoredTable(entry["name"], entry["description"], entry["columns"], (build.path / entry["path"],))
    create_database(build.database, [table], [], [], views=False)
    return entry


def _manifest(
    build: BuildFolder,
    entries: list[dict[str, Any]],
    described: dict[str, dict[str, Any]],
    registry: Registry,
    vocabularies: Vocabularies,
) -> dict[str, Any]:
    sources = pl.concat([pl.read_parquet(build.path / e["path"]) for e in entries if e["name"] == "source_files"])
    ledger = pl.concat([pl.read_parquet(build.path / e["path"]) for e in entries if e["name"] == "ledger"])
    return {
        "format": FORMAT,
        "cxrdata": __version__,
        "datasets": sorted(described),
        "synthetic": sorted(name for name, stage in described.items() if stage["synthetic"]),
        "sources": sources.sort("dataset", "source_file").to_dicts(),
        "ledger": ledger.sort("dataset", "source_file").to_dicts(),
        "vocabularies": vocabularies.digests,
        "tables": sorted(
            (
                {
                    "schema": e["schema"], "table": e["name"], "dataset": e["dataset"], "path": e["path"], "rows": e["rows"],
                    "rows_sha256": e["digest"], "file_sha256": e["file_sha256"],
                }
                for e in entries
            ),
            key=lambda e: (e["schema"], e["table"], e["dataset"] or ""),
        ),
        "keys": {name: keys for name, keys in declared_keys(registry).items() if name in described},
        "labelers": {name: stage["labelers"] for name, stage in described.items()},
        "terms_sha256": sha256_file(build.terms),
    }  # fmt: skip
