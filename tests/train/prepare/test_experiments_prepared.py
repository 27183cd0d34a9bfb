"""Every experiment that ships, from the command that makes its split to its bundle, on the synthetic catalog."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from cxrtrain.config import Experiment
from cxrtrain.config_file import experiment_names, read_experiment
from cxrtrain.prepare import prepare
from cxrtrain.resources import experiments_folder

import cxrdata
from cxrdata.cli.main import run

NAMES = experiment_names()
COMMAND = re.compile(r"^#\s+(cxrdata split --(?!.*--from-file).*)$", re.MULTILINE)


def commands_in(name: str) -> list[str]:
    """The commands for splits that an experiment's file tells beside its own."""
    return COMMAND.findall((experiments_folder() / f"{name}.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def make_split(catalog_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Run a command that makes a split, each once, in a catalog of this module; returns its folder."""
    folder = tmp_path_factory.mktemp("experiments") / "cxr-catalog"
    folder.mkdir()
    (folder / "CURRENT").write_bytes((catalog_folder / "CURRENT").read_bytes())
    (folder / "builds").symlink_to(catalog_folder / "builds", target_is_directory=True)
    done: set[str] = set()

    def make(command: str) -> Path:
        if command not in done:
            program, *arguments = shlex.split(command)
            assert program == "cxrdata"
            assert run([*arguments, "--quiet", "-c", str(folder)]) == 0, command
            done.add(command)
        return folder

    return make


def counts_of(experiment: Experiment, folder: Path, out: Path) -> tuple[dict[str, int], int]:
    """Rows of a prepared experiment by part, and how many of the split's images were left out."""
    with cxrdata.open(folder) as catalog:
        bundle = prepare(catalog, experiment, out)
        assert [head.name for head in bundle.heads] == [head.name for head in experiment.heads]
        return bundle.parts(), bundle.about["images_of_split"] - len(bundle)


@pytest.mark.parametrize("name", NAMES)
def test_its_command_makes_the_split_and_its_bundle_is_whole(
    name: str, make_split: Callable[[str], Path], tmp_path: Path
) -> None:
    experiment = read_experiment(name)
    assert experiment.data.made_by is not None
    parts, left_out = counts_of(experiment, make_split(experiment.data.made_by), tmp_path / "b")
    assert parts[experiment.data.train] > parts[experiment.data.valid] > 0
    if "disease" in name or name in {"chexnet", "quick"}:
        assert left_out == 0  # blanks are zeros there, and NIH assesses every image


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("chexploration", "age-bias"))])
def test_what_its_comments_tell_works_too(name: str, make_split: Callable[[str], Path], tmp_path: Path) -> None:
    (command,) = commands_in(name)
    split = shlex.split(command)[-1]
    experiment = read_experiment(name, [f"data.split={split}"])
    folder = make_split(command)
    parts, _ = counts_of(experiment, folder, tmp_path / "b")
    assert parts["train"] > 0 and parts["valid"] > 0
