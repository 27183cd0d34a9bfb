"""The commands that answer at once: help, named queries, describe, verify, annotate."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import cxrdata
from benchmarks.measure import CommandFailedError, Figure, Run, call, python, run
from cxrdata.cli.main import COMMANDS
from cxrdata.store.queries import load_named, named_queries

HELP_SECONDS = 0.3
ENGINE_SECONDS = 0.3
COMMAND_SECONDS = 1.0
ANNOTATED_ROWS = 100_000


def helps(*, runs: int) -> list[Figure]:
    """`--help` of the tool and of every command, and of the tool when nothing is compiled yet."""
    figures = []
    with tempfile.TemporaryDirectory() as empty:
        env = os.environ | {"PYTHONPYCACHEPREFIX": empty, "PYTHONDONTWRITEBYTECODE": "1"}
        figures.append(
            Figure(
                "cxrdata --help, no bytecode cached", [run(python("cxrdata", "--help"), env=env) for _ in range(runs)]
            )
        )
    figures += _commands(
        {"cxrdata --help": ["--help"]} | {f"cxrdata {name} --help": [name, "--help"] for name in COMMANDS},
        runs=runs,
        limit=HELP_SECONDS,
    )
    figures.append(Figure("an empty Python", [run([sys.executable, "-c", ""]) for _ in range(runs)]))
    return figures


def queries(catalog: Path, *, runs: int) -> list[Figure]:
    """Every named query with its default parameters: in an open session, and as a command."""
    figures = []
    with cxrdata.open(catalog) as opened:
        for name in named_queries():
            text, parameters = load_named(name)
            timed = [call(partial(opened.sql, text, parameters)) for _ in range(runs)]
            figures.append(Figure(f"{name}, in the engine", timed, limit=ENGINE_SECONDS))
    commands = {f"sql --named {name}": ["sql", "--named", name, "-c", str(catalog)] for name in named_queries()}
    return figures + _commands(commands, runs=runs, limit=COMMAND_SECONDS)


def looks(catalog: Path, *, runs: int) -> list[Figure]:
    """`describe`, `verify`, and `annotate` of a file of 100,000 rows."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "predictions.csv"
        with cxrdata.open(catalog) as opened:
            # Ordered by a hash, so that the rows are of all datasets and of no order.
            sample = f"SELECT dataset, image_id, 0.5 AS prob_edema FROM images ORDER BY md5(image_uid) LIMIT {ANNOTATED_ROWS}"
            opened.sql(sample).write_csv(file)
        annotated = ["annotate", str(file), "--out", str(Path(folder) / "annotated.csv"), "-c", str(catalog)]
        commands = {
            "describe": ["describe", "-c", str(catalog)],
            "describe images": ["describe", "images", "-c", str(catalog)],
            "verify": ["verify", "-c", str(catalog)],
            f"annotate, {ANNOTATED_ROWS:,} rows": annotated,
        }
        return _commands(commands, runs=runs, limit=None)


def _commands(commands: Mapping[str, Sequence[str]], *, runs: int, limit: float | None) -> list[Figure]:
    """Each command's figure; one that fails has none but a note."""
    figures = []
    for name, arguments in commands.items():
        done: list[Run] = []
        note = ""
        try:
            done = [run(python("cxrdata", *arguments)) for _ in range(runs)]
        except CommandFailedError as error:
            note = f"failed: {str(error).splitlines()[0]}"
        figures.append(Figure(name, done, limit=limit, note=note))
    return figures
