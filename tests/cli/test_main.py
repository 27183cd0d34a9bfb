"""The command line as a whole: exit codes, errors, help, where the catalog is."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from said import SYNTHETIC, Said, is_one_block

from cxrdata.cli.main import COMMANDS, cli

ENGINES = ("polars", "duckdb", "pandera", "pyarrow", "pydicom", "numpy", "rich")


# --- exit codes and errors


def test_done_is_0(ask: Callable[..., Said]) -> None:
    said = ask("SELECT 56 AS n", "--format", "csv")
    assert (said.code, said.out, said.err) == (0, "n\n56\n", SYNTHETIC)


def test_failed_data_is_1(say: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "Data_Entry_2017.csv").write_text("<html>log in</html>")
    is_one_block(say("build-catalog", f"nih={tmp_path}", "-c", str(tmp_path / "c")), "CXR-103")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["sqll"], "CXR-501"),
        (["sql"], "CXR-502"),
        (["sql", "SELECT 1", "--format", "xml"], "CXR-502"),
        (["sql", "--nonsense"], "CXR-502"),
        (["synth"], "CXR-502"),
        (["sources", "chexprt"], "CXR-501"),
        (["build-catalog", "some/folder"], "CXR-502"),
        (["build-catalog", "nhi=some/folder"], "CXR-501"),
    ],
)
def test_wrong_usage_is_2(
    say: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: str
) -> None:
    monkeypatch.chdir(tmp_path)
    is_one_block(say(*arguments), code)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["sql", "SELECT 1"], "CXR-601"),
        (["build-catalog"], "CXR-101"),
        (["build-catalog", "nih=nowhere"], "CXR-101"),
        (["sql", "--file", "nowhere.sql"], "CXR-101"),
    ],
)
def test_environment_is_3(
    say: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: str
) -> None:
    monkeypatch.chdir(tmp_path)
    is_one_block(say(*arguments), code)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_is_130(say: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    def main(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", main)
    said = say("sources")
    assert (said.code, said.err) == (130, "interrupted\n")


def test_a_file_that_ends_too_early_is_no_interruption(
    say: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What numpy raises for an empty file, Click takes for the end of what is typed."""

    def main(*_: object) -> None:
        raise EOFError("No data left in file")

    monkeypatch.setattr(click.Command, "invoke", main)
    said = say("sources")
    assert said.code == 3 and said.out == ""
    assert said.err.strip().startswith(
        "error CXR-605: a file ends too early: No data left in file\n  fix: make the file again"
    )


def test_an_error_while_cleaning_up_after_ctrl_c_is_130(
    say: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def main(**_: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise OSError("the connection is busy")

    monkeypatch.setattr(cli, "main", main)
    said = say("sources")
    assert (said.code, said.err) == (130, "interrupted\n")


def test_interrupted_in_a_query_is_130(ask: Callable[..., Said]) -> None:
    """And at once: DuckDB by itself looks for Ctrl-C only between tasks, and this query is one of hours."""
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    began = time.monotonic()
    said = ask(
        "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3", "--timeout", "120"
    )
    timer.join()
    assert time.monotonic() - began < 60  # not the time limit's doing
    assert (said.code, said.out, said.err.strip()) == (130, "", "interrupted")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionError(13, "Permission denied", "x.csv"), "CXR-605"),
        (MemoryError(), "CXR-606"),
        (ValueError("odd\nmore"), "CXR-699"),
    ],
)
def test_whatever_goes_wrong_is_one_block(
    say: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: str
) -> None:
    def main(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "main", main)
    is_one_block(say("sources"), code)


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback(say: Callable[..., Said], place: str) -> None:
    arguments = ["--debug", "sources", "nothing"] if place == "before" else ["sources", "nothing", "--debug"]
    said = say(*arguments)
    assert said.code == 2
    assert "Traceback" in said.err
    assert "error CXR-501" in said.err


@pytest.mark.parametrize(
    ("arguments", "option", "meant"),
    [
        (["-c", "mine", "describe"], "-c", "cxrdata describe -c mine"),
        (["--format", "csv", "sql", "FROM x"], "--format", "cxrdata sql --format csv"),
    ],
)
def test_options_before_the_command_are_put_in_their_place(
    say: Callable[..., Said], arguments: list[str], option: str, meant: str
) -> None:
    said = say(*arguments)
    assert said.code == 2
    assert said.err == f"error CXR-502: No such option '{option}'.\n  fix: options come after the command: `{meant}`\n"


def test_debug_by_environment(say: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRDATA_DEBUG", "1")
    assert "Traceback" in say("sources", "nothing").err


@pytest.mark.parametrize(
    ("typed", "meant"), [("buildcatalog", "build-catalog"), ("sourcs", "sources"), ("descibe", "describe")]
)
def test_a_misspelt_command_is_hinted_at(say: Callable[..., Said], typed: str, meant: str) -> None:
    said = say(typed)
    is_one_block(said, "CXR-501")
    assert f"did you mean {meant}" in said.err


def test_without_a_command_there_is_help(say: Callable[..., Said]) -> None:
    said = say()
    assert "Usage:" in said.out + said.err
    assert "Traceback" not in said.err


def test_version(say: Callable[..., Said]) -> None:
    assert re.fullmatch(r"cxrdata, version \S+\n", say("--version").out)


# --- help


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_ends_with_an_example_that_parses(say: Callable[..., Said], command: str) -> None:
    said = say(*([command] if command else []), "--help")
    assert said.code == 0
    head, _, example = said.out.rstrip().rpartition("Example:\n")
    assert head.startswith("Usage: cxrdata")
    lines = [line.strip() for line in example.splitlines()]
    assert lines
    assert all(line.startswith(f"cxrdata {command}".strip()) for line in lines), lines
    for line in lines:
        name, *rest = shlex.split(line)[1:]
        found = cli.get_command(cli.make_context("cxrdata", ["--help"], resilient_parsing=True), name)
        assert found is not None
        found.make_context(name, rest)


def test_help_imports_no_engine() -> None:
    """One process asks every command for its help and looks at what was imported (CONTRACT §1: under 0.3 s)."""
    code = (
        "import sys\nfrom cxrdata.cli.main import COMMANDS, run\n"
        "for name in COMMANDS: assert run([name, '--help']) == 0, name\n"
        "assert run(['--help']) == 0\nassert run(['--version']) == 0\n"
        f"sys.exit(' '.join(name for name in {ENGINES!r} if name in sys.modules) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_every_command_is_in_the_help(say: Callable[..., Said]) -> None:
    text = say("--help").out
    assert [name for name in COMMANDS if not re.search(rf"^  {name} ", text, re.MULTILINE)] == []


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cxrdata", "sources", "nih"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith("NIH ChestX-ray14 (nih_cxr14)\n")


# --- where the catalog is


def test_the_catalog_by_environment_and_by_default(
    say: Callable[..., Said], catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(catalog.parent)
    assert say("sql", "SELECT 1 AS one", "--format", "csv").out == "one\n1\n"
    monkeypatch.chdir(catalog)
    monkeypatch.setenv("CXRDATA_CATALOG", str(catalog))
    assert say("sql", "SELECT 1 AS one", "--format", "csv").out == "one\n1\n"
