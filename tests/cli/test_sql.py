"""`cxrdata sql`: what is refused, what is answered, parameters, side files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from said import Said, is_one_block

HOSTILE = {
    "copy": "COPY images TO '{outside}/x.csv'",
    "copy_parquet": "COPY (SELECT 1) TO '{outside}/x.parquet' (FORMAT parquet)",
    "export": "EXPORT DATABASE '{outside}/x'",
    "attach": "ATTACH '{outside}/x.duckdb'",
    "import": "IMPORT DATABASE '{outside}'",
    "install": "INSTALL httpfs",
    "load": "LOAD httpfs",
    "read_csv": "SELECT * FROM read_csv('/etc/passwd')",
    "read_text": "SELECT * FROM read_text('/etc/passwd')",
    "read_blob": "SELECT * FROM read_blob('/etc/passwd')",
    "sniff": "SELECT * FROM sniff_csv('/etc/passwd')",
    "by_name": "SELECT * FROM '/etc/passwd'",
    "parquet": "SELECT * FROM '{outside}/secret.parquet'",
    "glob": "SELECT * FROM glob('/etc/*')",
    "network": "SELECT * FROM read_parquet('https://example.org/x.parquet')",
    "query_function": "SELECT * FROM query('COPY images TO ''{outside}/x.csv''')",
    "environment": "SELECT getenv('HOME')",
    "secret": "CREATE SECRET (TYPE s3)",
    "set": "SET memory_limit = '64GB'",
    "unlock": "SET lock_configuration = false",
    "open_up": "SET enable_external_access = true",
    "reset": "RESET memory_limit",
    "pragma": "PRAGMA threads = 64",
    "create": "CREATE TABLE t AS SELECT 1",
    "create_temporary": "CREATE TEMP TABLE images AS SELECT 1",
    "create_macro": "CREATE TEMP MACRO f(x) AS x",
    "delete": "DELETE FROM images",
    "update": "UPDATE images SET sex = 'F'",
    "insert": "INSERT INTO images (dataset) VALUES ('x')",
    "drop": "DROP TABLE images",
    "alter": "ALTER TABLE images ADD COLUMN x INTEGER",
    "use": "USE memory",
    "detach": "DETACH catalog",
    "checkpoint": "CHECKPOINT",
    "transaction": "BEGIN",
    "prepare": "PREPARE q AS SELECT 1",
    "call": "CALL pragma_version()",
    "several": "SELECT 1; DROP TABLE images",
    "nothing": "/* only a comment */",
    "nonsense": "SELEC 1",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_statements_are_refused(ask: Callable[..., Said], catalog: Path, tmp_path: Path, name: str) -> None:
    pl.DataFrame({"secret": [1]}).write_parquet(tmp_path / "secret.parquet")
    database = next(catalog.glob("builds/*/catalog.duckdb"))
    before = database.read_bytes()
    said = ask(HOSTILE[name].format(outside=tmp_path))
    is_one_block(said, "CXR-503")
    assert "root:" not in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["secret.parquet"]
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    "query",
    ["FROM images", "DESCRIBE images", "SHOW TABLES", "SUMMARIZE images", "EXPLAIN SELECT 1", "VALUES (1)", "WITH a AS (SELECT 1) FROM a", "SELECT 1;",
     "PIVOT images ON view USING count(*) GROUP BY sex"],
)  # fmt: skip
def test_questions_of_all_kinds_are_answered(ask: Callable[..., Said], query: str) -> None:
    said = ask(query, "--format", "csv")
    assert said.code == 0, said.err
    assert said.out


def test_an_unknown_table_is_hinted_at(ask: Callable[..., Said]) -> None:
    said = ask("SELECT * FROM imags")
    is_one_block(said, "CXR-503")
    assert "images" in said.err


def test_a_query_that_runs_too_long_is_stopped(ask: Callable[..., Said]) -> None:
    said = ask(
        "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3", "--timeout", "0.3"
    )
    is_one_block(said, "CXR-506")
    assert "--timeout" in said.err


def test_a_query_that_needs_too_much_memory_is_stopped(ask: Callable[..., Said]) -> None:
    said = ask("SELECT list(repeat('x', 100) || range) FROM range(5000000)", "--memory", "50MB")
    is_one_block(said, "CXR-506")
    assert "--memory" in said.err


def test_parameters_are_bound_not_pasted(ask: Callable[..., Said]) -> None:
    said = ask(
        "SELECT $text AS text, $n + 1 AS n, $yes AS yes",
        "--param",
        "text='; DROP TABLE images",
        "--param",
        "n=41",
        "--param",
        "yes=true",
        "--format",
        "json",
    )
    assert json.loads(said.out) == [{"text": "'; DROP TABLE images", "n": 42, "yes": True}]


@pytest.mark.parametrize(
    "arguments",
    [["SELECT $x"], ["SELECT 1", "--param", "x=1"], ["SELECT $x", "--param", "x"], ["SELECT $x", "--param", "1x=1"]],
)
def test_parameters_that_do_not_fit(ask: Callable[..., Said], arguments: list[str]) -> None:
    is_one_block(ask(*arguments), "CXR-502")


def test_side_files_join(ask: Callable[..., Said], tmp_path: Path) -> None:
    ask("SELECT image_id, 0.5 AS score FROM images LIMIT 7", "--out", str(tmp_path / "mine.csv"))
    ask("SELECT image_id, 'b' AS mark FROM images LIMIT 5", "--out", str(tmp_path / "mine.parquet"))
    query = "SELECT count(*) AS n, sum(score) AS score FROM images JOIN a USING (image_id) LEFT JOIN b USING (image_id)"
    said = ask(
        query, "--with", f"a={tmp_path / 'mine.csv'}", "--with", f"b={tmp_path / 'mine.parquet'}", "--format", "csv"
    )
    assert said.out == "n,score\n7,3.5\n"


@pytest.mark.parametrize(("side", "code"), [("a=nowhere.csv", "CXR-101"), ("nowhere.csv", "CXR-502")])
def test_side_files_that_are_not_there(
    ask: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str, code: str
) -> None:
    monkeypatch.chdir(tmp_path)
    is_one_block(ask("SELECT * FROM a", "--with", side), code)


def test_a_query_from_a_file(ask: Callable[..., Said], tmp_path: Path) -> None:
    path = tmp_path / "query.sql"
    path.write_text("-- how many\nSELECT count(*) AS n FROM images WHERE sex = $sex\n")
    said = ask("--file", str(path), "--param", "sex=F", "--format", "csv")
    assert said.code == 0
    assert int(said.out.splitlines()[1]) > 0
    is_one_block(ask("SELECT 1", "--file", str(path)), "CXR-502")


def test_named_queries_are_listed_and_run(ask: Callable[..., Said], say: Callable[..., Said]) -> None:
    listed = list(csv.reader(io.StringIO(say("sql", "--list", "--format", "csv").out)))
    assert len(listed) > 5
    for name, *_ in listed[1:]:
        said = ask("--named", name, "--format", "csv")
        assert said.code == 0, (name, said.err)
    is_one_block(ask("--named", "childen"), "CXR-501")


def test_parameters_of_named_queries_are_looked_up(ask: Callable[..., Said]) -> None:
    said = ask("--named", "label_prevalence", "--param", "finding=cardiomegalie")
    is_one_block(said, "CXR-501")
    assert "there is no finding 'cardiomegalie'; did you mean cardiomegaly?" in said.err
    by_alias = ask("--named", "label_prevalence", "--param", "dataset=nih", "--format", "csv")
    assert by_alias.out == ask("--named", "label_prevalence", "--param", "dataset=nih_cxr14", "--format", "csv").out
    assert by_alias.out.count("nih_cxr14") > 1
