"""The experiments of noise editing against systems.md, section D, written down here from there."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from cxrdata.cli.split import split
from cxrdata.errors import CxrError
from cxrtrain import config_file
from cxrtrain.dne.config import WHITE, DneExperiment
from cxrtrain.dne.experiments import experiment_names, experiment_of, read_experiment, to_toml
from cxrtrain.resources import experiments_folder

FINDINGS = {
    "pleural-effusion": "pleural_effusion",
    "pneumonia": "pneumonia",
    "edema": "edema",
    "lung-lesion": "lung_lesion",
}
ATTRIBUTES = {
    "sex": ("sex", ("F", "M")),
    "age": ("age_years>60", (">60", "<=60")),
    "race": ("race=White", ("White", "other")),
}
PUBLISHED = {
    "probe": {"lr": 1e-4, "epochs": 50, "batch": 64},
    "noise": {"lr": 5e-5, "batch": 128, "epochs": 25, "weight": 1.0, "penalty": (0.001, 0.01), "limit": None, "access": (WHITE,)},
    "black": {"directions": 10, "scale": 0.02, "decay": 0.95, "momentum": 0.9, "grid": 16},
    "finetune": {"base_lr": 2.5e-4, "weight_decay": 0.05, "epochs": 50},
    "data": {"side": 224, "datasets": ("chexpert",)},
    "input": {"channels": 3, "scale": "0-1"},
    "backbone": {"name": "vit_base_patch16_224", "pooling": "avg"},
}  # fmt: skip
MINIMAL: dict[str, Any] = {
    "name": "a", "disease": {"finding": "edema"}, "attribute": {"name": "sex", "classes": ["F", "M"]},
}  # fmt: skip


def read(name: str) -> DneExperiment:
    return read_experiment(name)[0]


def test_names() -> None:
    twelve = {f"dne-{finding}-{attribute}" for finding in FINDINGS for attribute in ATTRIBUTES}
    assert set(experiment_names()) == {*twelve, "dne-quick"}


@pytest.mark.parametrize("finding", FINDINGS)
@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_published_values(finding: str, attribute: str) -> None:
    name = f"dne-{finding}-{attribute}"
    wish = read(name)
    assert wish.disease.finding == FINDINGS[finding]
    # Uncertain counts as positive for edema and atelectasis, else as negative.
    assert wish.disease.policy == ("ones" if finding == "edema" else "zeros")
    assert (wish.attribute.name, wish.attribute.classes) == ATTRIBUTES[attribute]
    for table, values in PUBLISHED.items():
        for key, value in values.items():
            assert getattr(getattr(wish, table), key) == value, f"{table}.{key}"
    assert wish.phantoms is None
    assert wish.noise.objectives[0] == "uniform"
    assert "arXiv:2403.06104" in wish.source


@pytest.mark.parametrize("name", [one for one in experiment_names() if one != "dne-quick"])
def test_the_split_is_one_that_the_command_makes(name: str) -> None:
    """Its options are parsed as the command does, with the quotes of a shell."""
    import shlex

    wish = read(name)
    program, command, *arguments = shlex.split(wish.data.made_by or "")
    assert (program, command) == ("cxrdata", "split")
    said = split.make_context("split", arguments).params
    assert (said["spurious"], said["attribute"]) == (wish.disease.finding, wish.attribute.name)
    assert said["name"] == wish.data.split == name
    assert said["per_cell"] == 200


@pytest.mark.parametrize("name", experiment_names())
def test_written_whole_and_read_again(name: str) -> None:
    wish = read(name)
    assert experiment_of(tomllib.loads(to_toml(wish)), where=name) == wish


def test_trainings_are_not_taken_for_them() -> None:
    assert not [name for name in config_file.experiment_names() if name.startswith("dne")]
    with pytest.raises(CxrError, match="CXR-501") as told:
        config_file.read_experiment("dne-quick")
    assert told.value.fix == "cxrdata dne run dne-quick"
    with pytest.raises(CxrError, match="CXR-501"):
        read_experiment("quick")


def test_quick_brings_its_norms() -> None:
    wish, folder = read_experiment("dne-quick")
    assert wish.phantoms is not None
    assert (folder / wish.phantoms.norms).is_file()
    assert folder == experiments_folder()
    assert wish.phantoms.pretrain in config_file.experiment_names()


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        '[disease]\nfinding = "edema"\n[attribute]\nname = "sex"\nclasses = ["F", "M"]\n'
    )
    wish, folder = read_experiment(str(tmp_path / "mine.toml"), ["noise.limit=0.1", "input.channels=1", "seed=3"])
    assert folder == tmp_path
    assert (wish.name, wish.noise.limit, wish.seed) == ("mine", 0.1, 3)
    # What a table leaves out stays as published, whatever else is said in it.
    assert (wish.input.channels, wish.input.normalise) == (1, "imagenet")


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        ("noise", {"access": ["grey"]}, "noise.access cannot be 'grey'"),
        ("noise", {"objectives": []}, "noise.objectives cannot be []"),
        ("noise", {"objectives": ["uniform", "uniform"]}, "noise.objectives cannot be"),
        ("noise", {"limit": 0.0}, "noise.limit cannot be 0.0"),
        ("noise", {"penalty": [-1.0]}, "noise.penalty names numbers of 0 or above"),
        ("black", {"spaces": ["cube"]}, "black.spaces cannot be 'cube'"),
        ("black", {"decay": 1.5}, "black.decay is in (0, 1]"),
        ("probe", {"epochs": 0}, "probe.epochs cannot be 0"),
        ("probe", {"lr": "much"}, "probe.lr cannot be 'much'"),
        ("attribute", {"name": "sex", "classes": ["F"]}, "attribute.classes are two, not 1"),
        ("disease", {"finding": "edema", "policy": "maybe"}, "disease.policy cannot be 'maybe'"),
        ("judge", {"threshold": "half"}, "no rule for a threshold: 'half'"),
        ("noise", {"lr": float("inf")}, "noise.lr cannot be inf"),
        ("noise", {"limit": float("nan")}, "noise.limit cannot be nan"),
        ("noise", {"penalty": [float("nan")]}, "noise.penalty names numbers of 0 or above"),
        ("finetune", {"weight_decay": -1.0}, "finetune.weight_decay cannot be -1.0"),
        ("judge", {"bootstrap": -1}, "judge.bootstrap cannot be -1"),
        ("judge", {"test": "valid"}, "judge.test cannot be 'valid'"),
        ("input", {"normalise": "much"}, "input.normalise cannot be 'much'"),
        ("backbone", {"precision": "much"}, "backbone.precision cannot be 'much'"),
        ("noise", {"limits": 0.1}, "there is no key 'noise.limits'"),
        ("noise", 3, "noise is no table"),
    ],
)  # fmt: skip
def test_values_that_make_no_sense(at: str, value: object, said: str) -> None:
    with pytest.raises(CxrError) as told:
        experiment_of(MINIMAL | {at: value}, where="a.toml")
    assert said in told.value.problem
    assert told.value.fix


def test_of_several_settings_the_one_that_does_not_fit_is_told() -> None:
    with pytest.raises(CxrError) as caught:
        read_experiment("dne-quick", ["noise.limit=0.2", "seed=-1", "judge.bootstrap=10"])
    assert caught.value.where == "--set seed=-1"
