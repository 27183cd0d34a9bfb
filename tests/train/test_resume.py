"""A run that was killed, or stopped, goes on to the bits that it would have had."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "resuming.py"
POINTS = (
    "within an epoch",
    "right after a checkpoint",
    "between best and last",
    "while a checkpoint is written",
    "while validating",
)
STOPS = ("ctrl-c", "sigterm", "ctrl-c while validating")


def resumed(folder: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), *arguments], capture_output=True, text=True, check=False
    )
    log = folder / "log.txt"
    assert done.returncode == 0, done.stderr + (log.read_text() if log.is_file() else "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, Any]:
    return resumed(folder)


def test_the_unbroken_run_is_one_that_tests_something(said: dict[str, Any], folder: Path) -> None:
    """It ends, its rate falls on the plateau, and its best epoch is not its last."""
    assert said["unbroken"]["codes"] == [0]
    with (folder / "unbroken" / "steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert len({row["lr"] for row in rows}) > 1
    assert "missing" not in said["unbroken"]["files"].values()


@pytest.mark.parametrize("point", POINTS)
def test_killed_it_goes_on_to_the_same_bits(said: dict[str, Any], point: str) -> None:
    """Weights, optimiser and averages; the losses of all steps; the best model."""
    assert said[point]["codes"] == [-9, 0]
    assert said[point]["before"] != said[point]["files"]
    assert said[point]["files"] == said["unbroken"]["files"]
    assert said[point]["states"] == ["running", "finished"]
    assert said[point]["left"] == []


@pytest.mark.parametrize("stop", STOPS)
def test_stopped_it_goes_on_to_the_same_bits(said: dict[str, Any], stop: str) -> None:
    assert said[stop]["codes"] == [130, 0]
    assert said[stop]["states"] == ["stopped", "finished"]
    assert said[stop]["before"]["checkpoints/last.safetensors"] != "missing"
    assert said[stop]["files"] == said["unbroken"]["files"]


def test_a_stop_is_told(said: dict[str, Any], folder: Path) -> None:
    log = (folder / "log.txt").read_text()
    assert said["ctrl-c"]["codes"][0] == 130
    assert log.count("stopped; the checkpoint is written, and the same command goes on from it") == len(STOPS)
    assert log.count("interrupted\n") == len(STOPS)
    assert "going on after epoch 1, step 7" in log


@pytest.mark.soak
def test_killed_at_twenty_random_times_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    said = resumed(tmp_path, "0")
    unbroken = said.pop("unbroken")
    assert len(said) == 20
    for name, one in said.items():
        assert one["codes"][1] == 0, name
        assert one["files"] == unbroken["files"], name
