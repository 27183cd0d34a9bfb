"""The recipes for a cluster, run with stand-ins of Slurm's commands: what would be started, in which order, with what."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from cxrtrain.resources import experiments_folder

from cxrdata.cli.main import cli

RECIPES = experiments_folder() / "slurm"
# sbatch runs the script there and then, as task 2 of its array; what a job starts is written down.
SBATCH = """#!/bin/bash
echo "sbatch $*" >> "$LOG"
arguments=()
while [[ $1 == --* ]]; do arguments+=("$1"); shift; done
for one in "${arguments[@]}"; do
  case $one in --array=*) export SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_MAX="${one##*-}" ;; esac
done
bash "$@" >&2
wc -l < "$LOG"
"""
STARTED = """#!/bin/bash
echo "$(basename "$0") $*" >> "$LOG"
"""
SRUN = """#!/bin/bash
"$@"
"""


@pytest.fixture
def started(tmp_path: Path) -> Path:
    """The folder with the stand-ins, and `log` beside them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "torchrun": STARTED, "cxrdata": STARTED}.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def runs(started: Path, script: str, *arguments: str, **variables: str) -> tuple[int, list[str], str]:
    """Exit code, what was started, stderr."""
    log = started.parent / "log"
    log.touch()
    bash = shutil.which("bash")
    assert bash is not None
    environment = {"PATH": f"{started}:{os.environ['PATH']}", "LOG": str(log), **variables}
    done = subprocess.run(
        [bash, str(RECIPES / script), *arguments],
        cwd=started.parent, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, log.read_text(encoding="utf-8").splitlines(), done.stderr


GIVEN = {"EXPERIMENT": "chexnet", "BUNDLE": "b", "STORE": "s"}


def test_one_node_starts_a_process_a_gpu(started: Path) -> None:
    code, log, _ = runs(started, "one_node.sh", "--set", "optim.lr=1e-4", SLURM_GPUS_ON_NODE="4", **GIVEN)
    assert code == 0
    assert log == [
        "torchrun --standalone --nproc-per-node 4 -m cxrdata train chexnet --bundle b --store s --out runs/chexnet --quiet --set optim.lr=1e-4"
    ]


def test_each_task_validates_a_fold(started: Path) -> None:
    task = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MAX": "5"}
    code, log, _ = runs(started, "folds.sh", **task, **GIVEN)
    assert code == 0
    assert log == ["cxrdata train chexnet --fold 3/5 --bundle b --store s --out runs/chexnet-fold3 --quiet"]


def test_the_chain_goes_from_images_to_an_audit(started: Path) -> None:
    code, log, errors = runs(
        started, "chain.sh", EXPERIMENT="chexnet", SPLIT="chexnet", FIT="crop", TASKS="8", SLURM_CPUS_PER_TASK="6"
    )
    assert (code, errors) == (0, "")
    here = str(RECIPES)
    assert log == [
        "cxrdata train chexnet --split chexnet --prepare bundles/chexnet --quiet",
        f"sbatch --parsable --array=1-8 {here}/images.sh --size 224 --fit crop",
        "cxrdata images build --split chexnet --out stores/chexnet --shard 2/8 --workers 6 --quiet --size 224 --fit crop",
        f"sbatch --parsable --dependency=afterok:3 {here}/one_node.sh --split chexnet",
        "torchrun --standalone --nproc-per-node 4 -m cxrdata train chexnet --bundle bundles/chexnet --store stores/chexnet --out runs/chexnet --quiet --split chexnet",
        f"sbatch --parsable --dependency=afterok:5 {here}/predict_audit.sh",
        "cxrdata predict runs/chexnet --bundle bundles/chexnet:test --store stores/chexnet --out runs/chexnet/predictions.test.parquet --quiet",
        "cxrdata audit runs/chexnet/predictions.test.parquet --by sex --out runs/chexnet/audit.test.csv --quiet",
    ]


@pytest.mark.parametrize("command", ["train", "images build", "audit", "predict"])
def test_the_options_are_those_of_the_commands(started: Path, command: str) -> None:
    if command == "predict":
        pytest.importorskip("cxrtrain.cli.predict")
    _, log, _ = runs(started, "chain.sh", EXPERIMENT="chexnet", SPLIT="chexnet")
    lines = [
        words
        for line in log
        if command in line
        for words in [line.partition(f"cxrdata {command} ")[2].split()]
        if words
    ]
    assert lines
    known = options_of(command.split())
    for words in lines:
        assert {word for word in words if word.startswith("--")} <= known


def options_of(words: list[str]) -> set[str]:
    """The options of `cxrdata WORDS`."""
    context = click.Context(cli)
    command = cli.get_command(context, words[0])
    if isinstance(command, click.Group):
        command = command.get_command(context, words[1])
    assert command is not None
    return {name for one in command.params for name in one.opts}


@pytest.mark.parametrize(
    ("script", "missing"),
    [("one_node.sh", "EXPERIMENT"), ("folds.sh", "BUNDLE"), ("images.sh", "SPLIT"), ("chain.sh", "SPLIT")],
)
def test_what_is_missing_is_named_and_nothing_starts(started: Path, script: str, missing: str) -> None:
    given = {name: value for name, value in (GIVEN | {"SPLIT": "x"}).items() if name != missing}
    code, log, errors = runs(started, script, **given)
    assert code != 0 and log == []
    assert f"{missing}: name " in errors


def test_an_array_is_asked_for(started: Path) -> None:
    for script in ("folds.sh", "images.sh"):
        code, log, errors = runs(started, script, SPLIT="x", **GIVEN)
        assert code != 0 and log == []
        assert "submit it as an array: sbatch --array=" in errors


def test_no_machine_is_named() -> None:
    """Accounts, partitions and nodes are the user's own."""
    for path in RECIPES.glob("*.sh"):
        directives = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#SBATCH")]
        for word in ("--account", "--partition", "--nodelist", "--qos", "--constraint", "--mail"):
            assert not any(word in line for line in directives)
