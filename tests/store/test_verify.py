from __future__ import annotations

import hashlib
import random
from pathlib import Path

import duckdb
import pytest

from cxrdata.store.catalog import Catalog
from cxrdata.store.layout import BuildFolder, CatalogFolder
from cxrdata.store.verify import Fault, verify

POSITIONS = 8


def faults(catalog: Path, build_id: str | None = None, *, rows: bool = True) -> list[Fault]:
    folder = CatalogFolder(catalog)
    build = next(path for path in folder.builds.iterdir() if not path.name.startswith("."))
    return verify(folder, BuildFolder(folder.builds / (build_id or build.name)), rows=rows)


def kept_files(catalog: Path) -> list[Path]:
    return sorted(path for path in catalog.rglob("*") if path.is_file())


def test_whole_catalog_has_no_fault(tiny_copy: Path) -> None:
    assert faults(tiny_copy) == []


def test_catalog_that_is_open_can_be_verified(tiny_copy: Path) -> None:
    with Catalog(tiny_copy) as catalog:
        catalog.connect()
        assert faults(tiny_copy) == []


def test_every_flipped_bit_is_found(tiny_copy: Path) -> None:
    chance = random.Random(0)
    for path in kept_files(tiny_copy):
        sound = path.read_bytes()
        places = {0, len(sound) - 1, *(chance.randrange(len(sound)) for _ in range(POSITIONS))}
        for place in sorted(places):
            damaged = bytearray(sound)
            damaged[place] ^= 1 << chance.randrange(8)
            path.write_bytes(damaged)
            assert faults(tiny_copy, rows=False), f"{path.name}: byte {place}"
        path.write_bytes(sound)
    assert faults(tiny_copy) == []


@pytest.mark.parametrize("damage", ["truncate", "append", "delete"])
def test_truncated_grown_and_deleted_files_are_found(tiny_copy: Path, damage: str) -> None:
    for path in kept_files(tiny_copy):
        sound = path.read_bytes()
        if damage == "delete":
            path.unlink()
        else:
            path.write_bytes(sound[:-1] if damage == "truncate" else sound + b"\0")
        found = faults(tiny_copy, rows=False)
        assert any(path.name in fault.where for fault in found), path.name
        path.write_bytes(sound)


def test_foreign_files_and_folders_are_found(tiny_copy: Path) -> None:
    build = CatalogFolder(tiny_copy).require_build().path
    (build / "tables" / "images" / "notes.txt").write_text("mine")
    (build / ".hidden").write_text("")
    (build / "empty").mkdir()
    assert {fault.where.rpartition("/")[2] for fault in faults(tiny_copy)} == {"notes.txt", ".hidden", "empty"}


def test_renamed_build_is_found(tiny_copy: Path) -> None:
    build = CatalogFolder(tiny_copy).require_build().path
    build.rename(build.with_name("0" * 16))
    found = faults(tiny_copy, "0" * 16)
    assert {fault.where for fault in found} == {"CURRENT", f"builds/{'0' * 16}/manifest.json"}


def rewrite(catalog: Path, statement: str) -> None:
    """Change the DuckDB file and make its checksum fit."""
    build = CatalogFolder(catalog).require_build()
    connection = duckdb.connect(str(build.database))
    connection.execute(statement)
    connection.close()
    digest = hashlib.sha256(build.database.read_bytes()).hexdigest()
    build.database_digest.write_text(f"{digest}  catalog.duckdb\n")


@pytest.mark.parametrize(
    ("statement", "relation"),
    [
        ("UPDATE images SET sex = 'M' WHERE image_id = '00000002_000.png'", "main.images"),
        (
            "UPDATE states_nih_cxr14_text_mining SET \"Hernia\" = 0 WHERE image_id = '00000001_000.png'",
            "main.states_nih_cxr14_text_mining",
        ),
        ("DELETE FROM boxes", "main.boxes"),
        ("INSERT INTO patients SELECT * FROM patients LIMIT 1", "main.patients"),
        ("CREATE TABLE mine (a INTEGER)", "main.mine"),
        ("DROP TABLE rejects", "main.rejects"),
        (
            "CREATE OR REPLACE VIEW assessments AS SELECT 'x' AS dataset, 'y' AS image_id, 'z' AS labeler, true AS closed_world",
            "assessments",
        ),
        ("UPDATE label_counts SET n_positive = n_positive + 1 WHERE native_label = 'Hernia'", "label_counts"),
    ],
)
def test_rows_that_differ_are_found_under_a_fitting_checksum(tiny_copy: Path, statement: str, relation: str) -> None:
    rewrite(tiny_copy, statement)
    assert f"catalog.duckdb: {relation}" in [fault.where for fault in faults(tiny_copy)]


def test_several_datasets_in_one_table_are_told_apart(synthetic_folder: Path) -> None:
    assert faults(synthetic_folder) == []
