"""The whole road of `cxrdata study chexnet`: as a plan, with commands that stand in; then as it is, on phantoms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from chexnet_catalog import probabilities
from stand_in_commands import Commands, stand_in

from cxrdata.interop.label_orders import CHEXNET_KEY
from cxrtrain.studies.chexnet import road as road_module
from cxrtrain.studies.chexnet.analyse import Analysis, Wish
from cxrtrain.studies.chexnet.design import findings
from cxrtrain.studies.chexnet.explorer import choose, shown_rows
from cxrtrain.studies.chexnet.road import Road, outputs, phantoms, plan_of_road

QUICK = Wish(bootstrap=20, min_cell=1)
STAGES = [
    "data",
    "catalog",
    "splits",
    "store",
    "train-chexnet",
    "predict-chexnet",
    "analyse",
    "maps",
    "explorer",
    "report",
]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Commands, and what the study computes of their files, stand in."""
    made = stand_in(monkeypatch, {"predict": lambda _, out: out.touch()}, also=("cxrtrain.studies.chexnet.road",))
    empty = Analysis(pl.DataFrame(), pl.DataFrame())
    monkeypatch.setattr(road_module, "analyse", lambda *_, **__: empty)
    monkeypatch.setattr(Analysis, "save", lambda _, folder: (folder / "audit.csv").touch())
    shown = pl.DataFrame(
        {"image_id": ["a", "a", "b'"], "shown_for": "mass", "finding": ["mass", "edema", "mass"], "probability": 0.5,
         "truth": 1, "prevalence": 0.1, "mapped": True}
    )  # fmt: skip
    monkeypatch.setattr(road_module, "_shown", lambda *_: shown)
    for name in ("_explorer", "report_stage"):
        monkeypatch.setattr(road_module, name, _plain(name))
    return made


def _plain(name: str) -> Any:
    """A stage of that name that computes nothing."""
    from cxrtrain.studies.stages import Stage

    after = {"_explorer": ("explorer", ("maps",)), "report_stage": ("report", ("analyse",))}[name]
    return lambda *_: Stage(after[0], lambda _: None, after[1])


def plan_of(folder: Path, wish: Wish = QUICK, **wishes: Any) -> Any:
    return plan_of_road(folder, Road(**({"phantoms": phantoms()} | wishes)), wish)


def test_the_stages_in_their_order(commands: Commands, tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert plan.table()["stage"].to_list() == STAGES
    plan.run()
    assert commands.names() == ["synth", "build-catalog", "split", "images build", "train chexnet", "predict", "explain", "explain"]  # fmt: skip
    split = next(words for words in commands.said if words[0] == "split")
    assert split[1:5] == ("--cohort", "chexnet_nih", "--ratios", "0.7,0.1,0.2")
    predict = next(words for words in commands.said if words[0] == "predict")
    assert predict[2:6] == ("--split", "chexnet:test", "--layout", "chexnet")
    explained = [words for words in commands.said if words[0] == "explain"]
    assert [words[words.index("--output") + 1] for words in explained] == ["mass", "edema"]
    assert [words[words.index("--where") + 1] for words in explained] == [
        "image_id IN ('a', 'b''')",
        "image_id IN ('a')",
    ]
    assert all(words[words.index("--method") + 1] == "chexnet" for words in explained)
    commands.said.clear()
    plan_of(tmp_path).run()
    assert commands.said == []


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ({"sets": ("loop.epochs=2",)}, ["train-chexnet", "predict-chexnet", "analyse", "maps", "explorer", "report"]),
        ({"pictures": 2}, ["maps", "explorer"]),
        ({"pictures": 0}, []),
        ({"wish": Wish(bootstrap=21, min_cell=1)}, ["analyse", "report"]),
        ({"split": "other"}, ["splits", "store", "train-chexnet", "predict-chexnet", "analyse", "maps", "explorer", "report"]),
    ],
)  # fmt: skip
def test_a_change_runs_just_what_depends_on_it(
    commands: Commands, tmp_path: Path, changed: dict[str, Any], again: list[str]
) -> None:
    plan_of(tmp_path).run()
    table = plan_of(tmp_path, **changed).table()
    assert table.filter(state="to run")["stage"].to_list() == again
    assert commands.epochs == {"chexnet": 1}


def test_an_interrupted_training_goes_on(commands: Commands, tmp_path: Path) -> None:
    ran = commands.goes_on(lambda: plan_of(tmp_path), "chexnet", "chexnet")
    assert ran == ["train chexnet", "predict", "explain", "explain"]


def test_ones_own_catalog_and_store(commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn, no image is left out unsaid, and the published experiment is not changed."""
    own = Road(catalog=tmp_path / "cat", store=tmp_path / "store", sets=("loop.epochs=1",))
    monkeypatch.setattr(type(own.data), "inputs", lambda _: {"catalog": "x"})
    plan = plan_of_road(tmp_path / "out", own, QUICK)
    assert plan.table()["stage"].to_list() == STAGES[4:]
    plan.run()
    (train,) = (words for words in commands.said if words[0] == "train")
    sets = [train[at + 1] for at, word in enumerate(train) if word == "--set"]
    assert sets == ["data.split=chexnet", "loop.epochs=1"]
    assert not any("--skip-missing" in words for words in commands.said)


def test_which_images_are_shown() -> None:
    """Of each finding the wished number, none twice, the rarest first; the map of the highest and of what it is shown for."""
    ids = [f"{patient:08d}_{at:03d}.png" for patient in range(40) for at in range(2)]
    names = list(findings())
    truth = pl.DataFrame({"image_id": ids} | {name: [int(row % 20 == at) for row in range(80)] for at, name in enumerate(names)})  # fmt: skip
    truth = truth.with_columns(
        hernia=pl.Series([1, *[0] * 79], dtype=pl.Int64)
    )  # one alone, which has another finding too
    said = probabilities(truth)
    predicted = said.rename({"image_id": CHEXNET_KEY} | {name: f"prob_{label}" for name, label in findings().items()})
    chosen = choose(predicted, truth, 2)
    assert chosen["image_id"].is_unique().all()
    assert chosen.group_by("shown_for").len().sort("shown_for")["len"].to_list() == [2] * 6 + [1] + [2] * 8
    assert chosen.filter(shown_for="hernia")["image_id"].to_list() == [ids[0]]
    assert choose(predicted, truth.reverse(), 2).equals(chosen)  # whatever the order of the rows
    assert not choose(predicted, truth, 2, seed=1).equals(chosen)
    assert choose(predicted.head(10), truth, 2)["image_id"].is_in(ids[:10]).all()

    prevalence = dict.fromkeys(names, 0.1) | {"mass": 0.0}
    rows = shown_rows(chosen, predicted, truth, prevalence)
    assert rows.height == 14 * chosen.height
    scores = {row["image_id"]: row for row in said.iter_rows(named=True)}
    for (image, shown_for), own in rows.group_by("image_id", "shown_for", maintain_order=True):
        told = {name: value for name, value in scores[str(image)].items() if name not in ("image_id", "mass")}
        expected = {max(told, key=lambda name: told[name]), str(shown_for)} - {"mass", "no_finding"}
        assert set(own.filter("mapped")["finding"]) == expected
        assert own["probability"].to_list() == [scores[str(image)][name] for name in own["finding"]]


def run_whole(folder: Path, road: Road) -> dict[str, Path]:
    plan = plan_of_road(folder, road, QUICK)
    plan.run()
    return {path.name: path for path in plan.publish(folder, outputs(road))}


def check_whole(folder: Path, road: Road, shown: int) -> None:
    """Every output that was published is there, and says that it is of phantoms."""
    written = run_whole(folder, road)
    assert list(written) == [
        "preds.csv", "aucs.csv", "audit.csv", "auroc_by_group.csv", "report.html", "published.csv", "figures", "explorer.html",
        "explorer.csv", "DATA_TERMS.md",
    ]  # fmt: skip
    predicted = pl.read_csv(written["preds.csv"])
    assert predicted.columns == [CHEXNET_KEY, *(f"prob_{label}" for label in findings().values())]
    assert pl.read_csv(written["aucs.csv"])["label"].to_list() == list(findings().values())
    (notes,) = (folder / "stages").glob("analyse-*/notes.json")
    assert json.loads(notes.read_text())["trained"].startswith("trained here")
    compared = pl.read_csv(written["published.csv"])
    assert (compared.height, compared["reason"].null_count()) == (30, 0)
    rows = pl.read_csv(written["explorer.csv"])
    assert rows.group_by("image_id").len()["len"].unique().to_list() == [14]
    page = written["explorer.html"].read_text(encoding="utf-8")
    assert page.count("<img ") == rows["mapped"].sum() >= shown
    assert page.count('class="picture"') == rows["image_id"].n_unique()
    for name in ("explorer.html", "report.html"):
        assert '<p class="notice">SYNTHETIC DATA' in written[name].read_text(encoding="utf-8")


def test_the_whole_road_at_its_smallest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures as their tables alone: drawing them is tested with the analysis."""
    monkeypatch.setattr("cxrdata.report.figure.FORMATS", ("csv",))
    drawn = replace(phantoms(scale=0.001), workers=1)
    small = Road(phantoms=drawn, sets=("loop.max_steps=1", "loop.batch=16"), pictures=1)
    check_whole(tmp_path, small, shown=5)


@pytest.mark.soak
def test_the_whole_road(tmp_path: Path) -> None:
    check_whole(tmp_path, Road(phantoms=phantoms()), shown=40)
    aucs = pl.read_csv(tmp_path / "aucs.csv")
    assert aucs.filter(label="Cardiomegaly")["auc"].item() > 0.6  # the one finding that phantoms show
