"""Rows on the command line: formats, tables, pipes, terminals, files."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from said import SYNTHETIC, Said, is_one_block

ROWS = "SELECT image_id, age_years, ['a', 'b'] AS marks, NULL AS nothing, 'x|y' AS bar FROM images ORDER BY image_id LIMIT 56"


def test_csv_json_ndjson_markdown(ask: Callable[..., Said]) -> None:
    from_csv = list(csv.DictReader(io.StringIO(ask(ROWS, "--format", "csv").out)))
    from_json = json.loads(ask(ROWS, "--format", "json").out)
    from_lines = [json.loads(line) for line in ask(ROWS, "--format", "ndjson").out.splitlines()]
    markdown = ask(ROWS, "--format", "markdown").out.splitlines()
    assert len(from_csv) == len(from_json) == len(from_lines) == len(markdown) - 2 == 56
    assert from_json == from_lines
    assert from_csv[0] == {
        "image_id": from_json[0]["image_id"],
        "age_years": str(from_json[0]["age_years"]),
        "marks": "a|b",
        "nothing": "",
        "bar": "x|y",
    }
    assert from_json[0]["marks"] == ["a", "b"]
    assert from_json[0]["nothing"] is None
    assert markdown[0] == "| image_id | age_years | marks | nothing | bar |"
    assert markdown[2].endswith(" | a\\|b |  | x\\|y |")


def test_a_table_shows_50_rows_and_says_how_many_are_left(ask: Callable[..., Said]) -> None:
    said = ask(ROWS)
    assert len(said.out.splitlines()) == 51
    assert said.err.startswith(SYNTHETIC + "6 more rows; --limit 56 shows all")
    assert len(ask(ROWS, "--limit", "56").out.splitlines()) == 57
    short = ask(ROWS, "--limit", "3", "--format", "csv")
    assert len(short.out.splitlines()) == 4
    assert short.err.startswith(SYNTHETIC + "53 more rows; ")
    assert ask(ROWS, "--limit", "0", "--format", "csv").out.count("\n") == 1


def test_synthetic_rows_are_called_so_unless_quiet(
    ask: Callable[..., Said], say: Callable[..., Said], catalog: Path
) -> None:
    assert ask("SELECT 1 AS n", "--quiet").err == ""
    for command in ("describe", "rejects"):
        assert say(command, "-c", str(catalog)).err.startswith(SYNTHETIC)
        assert say(command, "-c", str(catalog), "--quiet").err == ""


def test_no_rows_are_said_where_only_a_header_would_stand(ask: Callable[..., Said]) -> None:
    said = ask("SELECT image_id FROM images WHERE false")
    assert (said.out, said.err) == ("image_id\n", SYNTHETIC + "0 rows\n")
    assert ask("SELECT image_id FROM images WHERE false", "--format", "csv").err == SYNTHETIC


def test_a_pipe_gets_plain_whole_cells(ask: Callable[..., Said]) -> None:
    said = ask("SELECT repeat('long ', 100) AS text, 'é' AS letter")
    assert "long " * 100 in said.out
    assert not re.search("[\x1b\u2500-\u257f…]", said.out)


@pytest.mark.parametrize("suffix", ["csv", "json", "ndjson", "jsonl", "md", "txt", "parquet"])
def test_out_writes_all_rows(ask: Callable[..., Said], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    said = ask(ROWS, "--out", str(path), "--limit", "1")
    assert (said.code, said.out) == (0, "")
    assert said.err == f"{SYNTHETIC}56 rows written to {path}\n"
    if suffix == "parquet":
        assert pl.read_parquet(path).height == 56
    elif suffix == "json":
        assert len(json.loads(path.read_text())) == 56
    else:
        assert len(path.read_text().splitlines()) == {"csv": 57, "md": 58, "txt": 57}.get(suffix, 56)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("rows.xls", "CXR-502"),
        ("rows", "CXR-502"),
        ("nowhere/rows.csv", "CXR-602"),
        ("nowhere/rows.parquet", "CXR-602"),
    ],
)
def test_out_that_cannot_be_written(ask: Callable[..., Said], tmp_path: Path, name: str, code: str) -> None:
    said = ask(ROWS, "--out", str(tmp_path / name))
    is_one_block(said, code)
    assert "None" not in said.err


TERMINAL = """
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
text = b""
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    if not piece:
        break
    text += piece
os.waitpid(child, 0)
sys.stdout.buffer.write(text)
"""


def on_a_terminal(arguments: list[str], **env: str) -> str:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NO_COLOR", "FORCE_COLOR", "PYTEST_CURRENT_TEST")
    }
    command = [sys.executable, "-c", TERMINAL, sys.executable, "-m", "cxrdata", *arguments]
    return subprocess.run(
        command, env=kept | {"TERM": "xterm-256color"} | env, capture_output=True, check=True, timeout=60
    ).stdout.decode()


def test_a_terminal_gets_a_ruled_table_and_no_color_is_honoured(catalog: Path) -> None:
    arguments = ["sql", "SELECT dataset, count(*) AS n FROM images GROUP BY ALL", "-c", str(catalog)]
    coloured, plain = on_a_terminal(arguments), on_a_terminal(arguments, NO_COLOR="1")
    assert "─" in coloured
    assert "nih_cxr14" in plain
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", plain)


def test_a_reader_that_goes_away_is_no_error(catalog: Path) -> None:
    """`cxrdata sql … | head -1`."""
    query = "SELECT repeat('x', 1000) AS x FROM range(100000)"
    command = [sys.executable, "-m", "cxrdata", "sql", query, "-c", str(catalog), "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "x\n"
        process.stdout.close()
        assert process.stderr.read() == SYNTHETIC
        assert process.wait() == 0
