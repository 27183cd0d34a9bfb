"""The whole road as a plan: which commands each stage runs, found again, gone on with. The commands themselves stand in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from implicit_predictions import keyed
from stand_in_commands import Commands, stand_in

from cxrdata.errors import CxrError
from cxrtrain.probe.rows import SCHEMA
from cxrtrain.studies.implicit_attributes import road as road_module
from cxrtrain.studies.implicit_attributes.design import Wish
from cxrtrain.studies.implicit_attributes.road import Road, phantoms, plan_of_road, to_be_had

QUICK = Wish(bootstrap=20, min_cell=1)
FEW = ("run", "random")
TRAININGS = ["train implicit-disease", "train implicit-race", "train implicit-race", "train implicit-twohead"]


def predict(_: tuple[str, ...], out: Path) -> None:
    """With truth of its own, which the catalog that is not there would give."""
    keyed(1.0).write_parquet(out)


def probe(words: tuple[str, ...], out: Path) -> None:
    """One target at one share."""
    common = {"attribute": "race", "about": "attribute", "target": "Black", "read_by": "probe", "origin": "run", "n": 9}
    rows = [
        {"units": "none", "share": 0.0, "estimate": 0.9},
        {
            "units": "ranked",
            "criterion": words[words.index("--criterion") + 1],
            "share": 0.2,
            "estimate": 0.6,
            "ci_low": 0.5,
            "ci_high": 0.7,
        },
        {"units": "random", "share": 0.2, "estimate": 0.9, "ci_low": 0.88, "ci_high": 0.92, "draws": 4},
    ]
    pl.DataFrame([dict.fromkeys(SCHEMA) | common | row for row in rows], schema=SCHEMA).write_csv(out)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    return stand_in(monkeypatch, {"predict": predict, "probe": probe}, also=(road_module.__name__,))


def plan_of(folder: Path, **wishes: Any) -> Any:
    return plan_of_road(folder, Road(**({"phantoms": phantoms(), "origins": FEW} | wishes)), QUICK)


def said_of(commands: Commands, name: str, word: str) -> list[str]:
    """What each command of that name was given for an option."""
    return [words[words.index(word) + 1] for words in commands.said if words[0] == name]


def test_the_stages_in_their_order(commands: Commands, tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    models = ["disease-k1", "race-run-backbone-k1", "race-random-backbone-k1", "twohead-k1"]
    assert plan.table()["stage"].to_list() == [
        "data", "catalog", "splits", "store", *(f"train-{one}" for one in models), *(f"predict-{one}" for one in models),
        "probe-disease-k1", "probe-twohead-k1", "analyse", "report",
    ]  # fmt: skip
    plan.run()
    assert commands.names() == [
        "synth", "build-catalog", "split", "split", "split", "images build", *TRAININGS, *["predict"] * 4, "probe", "probe",
    ]  # fmt: skip
    # All three sets are made, whichever are trained on.
    assert said_of(commands, "split", "--max-images-per-patient") == ["1", "2", "3"]
    assert said_of(commands, "split", "--name") == ["implicit-chexpert", "implicit-chexpert-2", "implicit-chexpert-3"]
    assert set(said_of(commands, "predict", "--split")) == {"implicit-chexpert:test"}
    assert set(said_of(commands, "probe", "--classes")) == {"White,Asian,Black"}
    page = (plan.result("report") / "report.html").read_text(encoding="utf-8")
    assert '<p class="notice">SYNTHETIC DATA' in page
    assert "patients whose race is Black" in page
    assert re.search(r">0\.600 \(0\.500 to 0\.700\)</td>.*>yes</td></tr>", page)  # below what random units leave
    commands.said.clear()
    plan_of(tmp_path).run()
    assert commands.said == []


def test_each_backbone_begins_where_it_should(commands: Commands, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, origins=("run", "imagenet", "random"), frozen=("backbone", "first:2"))
    for name in ("race-run-first-2-k1", "race-imagenet-backbone-k1", "race-random-first-2-k1"):
        plan.run(f"train-{name}")
    sets = [
        [one for one in words if one.startswith("model.")] for words in commands.said if words[1] == "implicit-race"
    ]
    disease = f"model.weights=run:{plan.result('train-disease-k1') / 'run'}#backbone"
    common = ["model.backbone=small", "model.weights=none"]
    assert sets == [
        [*common, "model.freeze=first:2", disease],
        [*common, "model.freeze=backbone", "model.weights=imagenet"],
        [*common, "model.freeze=first:2", "model.weights=none"],
    ]


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ({"draws": 3}, ["probe", "probe"]),
        ({"frozen": ("backbone", "first:2")}, ["train implicit-race", "train implicit-race", "predict", "predict"]),
        ({"sizes": (1, 3)}, [*TRAININGS, *["predict"] * 4, "probe", "probe"]),
        ({"origins": ("run",)}, []),
        ({"sets": ("loop.epochs=2",)}, [*TRAININGS, *["predict"] * 4, "probe", "probe"]),
    ],
)
def test_a_change_runs_just_what_depends_on_it(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], again: list[str]
) -> None:
    monkeypatch.setattr(road_module, "run_analysis", lambda *_: None)
    plan_of(tmp_path).run("analyse")
    commands.said.clear()
    plan = plan_of(tmp_path, **changed)
    assert not plan.is_there("analyse")
    plan.run("analyse")
    assert commands.names() == again


def test_an_interrupted_training_goes_on(commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(road_module, "run_analysis", lambda *_: None)
    (stage,) = (name for name in plan_of(tmp_path).stages if name.startswith("train-twohead"))
    ran = commands.goes_on(lambda: plan_of(tmp_path), stage.removeprefix("train-"), "implicit-twohead", "analyse")
    assert ran == ["train implicit-twohead", *["predict"] * 4, "probe", "probe"]


def test_imagenet_is_left_out_where_it_is_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And is taken where its weights are."""
    monkeypatch.setenv("CXRDATA_WEIGHTS", str(tmp_path))
    origins, (note,) = to_be_had(Road(phantoms=phantoms()))
    assert origins == ("run", "random")
    assert note == "imagenet is left out: there are no ImageNet weights of small"
    (tmp_path / "torchvision-densenet121.pth").touch()
    assert to_be_had(Road()) == (("run", "imagenet", "random"), ())


def test_one_of_ones_own_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CxrError, match="nothing says what to train on"):
        plan_of(tmp_path, phantoms=None)
    with pytest.raises(CxrError, match="no finished image store"):
        plan_of(tmp_path, phantoms=None, store=tmp_path)
