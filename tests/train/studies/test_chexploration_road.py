"""The whole road as a plan: which commands each stage runs, found again, gone on with. The commands themselves stand in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stand_in_commands import Commands, stand_in

from cxrdata.errors import CxrError
from cxrtrain.studies.chexploration import plan as plan_module
from cxrtrain.studies.chexploration.design import MODELS, Wish
from cxrtrain.studies.chexploration.road import Road, check_tasks, phantoms, plan_of_road
from cxrtrain.studies.stages import Plan, Work

Command = Callable[..., tuple[int, str, str]]
ANALYSIS = ["cohort", "resample", "detection", "attributes", "explore-disease", "report"]
TASKS = ("disease", "race", "disease-white", "split-race")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """The analysis too notes that it ran: of its stages just what they come after and depend on is looked at."""
    there = stand_in(monkeypatch)

    def noted(stage: str) -> Callable[[Work], None]:
        return lambda _: there.said.append((stage,))

    monkeypatch.setattr(plan_module, "_cohort", lambda *_: noted("cohort"))
    monkeypatch.setattr(plan_module, "_resample", lambda *_: noted("resample"))
    monkeypatch.setattr(plan_module, "_errors", lambda _desk, _wish, stage, _models: noted(stage))
    monkeypatch.setattr(plan_module, "_explore", lambda _desk, _wish, model: noted(f"explore-{model}"))
    monkeypatch.setattr(plan_module, "_report", lambda *_: noted("report"))
    return there


ROAD = Road(phantoms=phantoms("chexpert"), tasks=TASKS)
QUICK = Wish(bootstrap=20, min_cell=1)


def plan_of(folder: Path, wish: Wish = QUICK, **changes: Any) -> Plan:
    return plan_of_road(folder, replace(ROAD, **changes), wish)


def value(words: tuple[str, ...], option: str) -> str:
    return words[words.index(option) + 1]


def test_the_stages_in_their_order(commands: Commands, tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert plan.table()["stage"].to_list() == [
        "data", "catalog", "splits", "store", "train-disease", "predict-disease", "embed-disease", "train-race", "predict-race",
        "embed-race", "train-disease-white", "predict-disease-white", "embed-disease-white", "train-split-race", "predict-split-race",
        *ANALYSIS[:-1], "explore-race", "report",
    ]  # fmt: skip
    plan.run()
    assert commands.names() == [
        "synth", "build-catalog", "split", "split", "images build",
        "train chexploration-disease", "predict", "predict", "embed", "embed",
        "train chexploration-race", "predict", "predict", "embed", "embed",
        "train chexploration-disease-white", "predict", "predict", "embed", "embed",
        "train chexploration-split-race", "predict", "predict",
        *ANALYSIS[:-1], "explore-race", "report",
    ]  # fmt: skip
    base, white = (words for words in commands.said if words[0] == "split")
    assert base[1:7] == ("--cohort", "chexploration_chexpert", "--ratios", "0.6,0.1,0.3", "--seed", "42")
    assert (value(base, "--name"), value(white, "--name")) == ("chexploration-chexpert", "chexploration-chexpert-white")
    assert value(white, "--subgroup") == "race=White" and "--subgroup" not in base
    trainings = {words[1].removeprefix("chexploration-"): words for words in commands.said if words[0] == "train"}
    assert "data.split=chexploration-chexpert-white" in trainings["disease-white"]
    assert "data.split=chexploration-chexpert" in trainings["split-race"]
    # The SPLIT test begins with the best weights of the disease model.
    (weights,) = [word for word in trainings["split-race"] if word.startswith("model.weights=run:")]
    assert weights == f"model.weights=run:{plan.result('train-disease') / 'run'}"
    # Everybody is predicted by every model, subgroups' too.
    asked = [value(words, "--split") for words in commands.said if words[0] in ("predict", "embed")]
    assert set(asked) == {"chexploration-chexpert:valid", "chexploration-chexpert:test"}
    assert (plan.result("predict-race") / "race" / "predictions.val.parquet").exists()
    assert (plan.result("embed-race") / "race" / "embeddings.test.parquet").exists()
    commands.said.clear()
    plan_of(tmp_path).run()
    assert commands.said == []


def test_mimic_has_splits_of_its_own(commands: Commands, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, dataset="mimic_cxr", phantoms=phantoms("mimic_cxr"), tasks=("disease-male",))
    plan.run()
    splits = [words for words in commands.said if words[0] == "split"]
    assert [value(words, "--name") for words in splits] == ["chexploration-mimic", "chexploration-mimic-male"]
    assert all("chexploration_mimic" in words for words in splits)
    (training,) = [words for words in commands.said if words[0] == "train"]
    assert training[1] == "chexploration-disease-male" and "data.split=chexploration-mimic-male" in training


SPLIT_TEST = ["train chexploration-split-race", "predict", "predict", "attributes", "report"]


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ({"wish": replace(QUICK, bootstrap=30)}, ["detection", "attributes", "report"]),
        ({"wish": replace(QUICK, plane=False)}, ["explore-disease", "explore-race", "report"]),
        ({"wish": replace(QUICK, min_cell=5)}, ["cohort", "resample", "detection", "attributes", "explore-disease", "explore-race", "report"]),
        ({"tasks": ("disease", "race", "disease-white")}, ["attributes", "report"]),
        ({"tasks": ("disease", "race", "split-race")}, ["split", "images build"]),
    ],
)  # fmt: skip
def test_a_change_runs_just_what_depends_on_it(
    commands: Commands, tmp_path: Path, changed: dict[str, Any], again: list[str]
) -> None:
    plan_of(tmp_path).run()
    commands.said.clear()
    plan_of(tmp_path, **changed).run()
    if again == ["split", "images build"]:  # without a subgroup there is one split less, of which everything comes
        assert commands.names()[:2] == again and "synth" not in commands.names()
    else:
        assert commands.names() == again


def test_an_interrupted_training_goes_on(commands: Commands, tmp_path: Path) -> None:
    ran = commands.goes_on(lambda: plan_of(tmp_path), "split-race", "chexploration-split-race")
    assert ran == [*SPLIT_TEST[:3], *ANALYSIS[:-1], "explore-race", "report"]


def test_what_cannot_be_done_is_said(tmp_path: Path, chexploration_command: Command) -> None:
    assert check_tasks(("sex", "disease")) == ("disease", "sex")
    with pytest.raises(CxrError, match="no model is called 'races'; did you mean race"):
        check_tasks(("races",))
    with pytest.raises(CxrError, match="reads race or sex off the backbone of the disease model, which is left out"):
        plan_of(tmp_path, tasks=("split-sex",))
    out = ("--out", tmp_path / "out")
    code, _, err = chexploration_command(*out)
    assert (code, err.splitlines()[0]) == (2, "error CXR-502: nothing says what to train on")
    code, _, err = chexploration_command("--store", tmp_path / "store", "-c", tmp_path / "cat", *out)
    assert (code, err.splitlines()[0]) == (1, "error CXR-148: there is no finished image store here")
    code, _, err = chexploration_command("--data", "synthetic", "--predictions", tmp_path, *out)
    assert (code, err.count("error CXR-502")) == (2, 1)
    code, _, err = chexploration_command("--data", "synthetic", "--order", tmp_path / "o.csv", *out)
    assert (code, err.splitlines()[0]) == (2, "error CXR-502: --order is of --predictions")
    code, _, err = chexploration_command("--predictions", tmp_path, "-c", tmp_path / "no", *out)
    assert (code, err.count("error CXR-")) == (3, 1)
    code, said, _ = chexploration_command("--data", "synthetic", *out, "--dry-run", "--format", "csv")
    assert (code, said.count("to run"), (tmp_path / "out").exists()) == (0, 4 + 3 * len(MODELS) - 2 + 8, False)
