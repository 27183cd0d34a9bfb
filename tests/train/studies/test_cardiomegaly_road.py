"""The whole road as a plan: which commands each stage runs, found again, gone on with. The commands themselves stand in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stand_in_commands import Commands, stand_in
from study_predictions import calibration_rows, healthy_rows, write

from cxrdata.errors import CxrError
from cxrtrain.studies.case_study.fpr import Wish
from cxrtrain.studies.case_study.road import JUDGED, Road, phantoms, plan_of_road

QUICK = Wish(bootstrap=20, min_cell=1)
MODELS = ("vindr_cxr", "padchest")


def _predict(words: tuple[str, ...], out: Path) -> None:
    """What their files hold stands in for ours, which would need a catalog."""
    model = out.stem
    rows = [calibration_rows(model), healthy_rows("vindr_pcxr", "test", {"000D": (12, 9), "005Y": (12, 1)})]
    rows.append(healthy_rows(model, "test_healthy_adult", {"30": (20, 2)}))
    for one in rows:
        write(out.parent, model, one)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    from cxrtrain.studies.case_study import plan

    monkeypatch.setattr(plan, "_made_up", lambda _: False)
    return stand_in(monkeypatch, {"predict": _predict})


def plan_of(folder: Path, **wishes: Any) -> Any:
    return plan_of_road(
        folder, Road(**({"phantoms": phantoms(), "models": MODELS, "blends": (0.0, 0.5)} | wishes)), QUICK
    )


def test_the_stages_in_their_order(commands: Commands, tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert plan.table()["stage"].to_list() == [
        "data", "catalog", "splits", "store", "train-vindr_cxr", "predict-vindr_cxr", "predict-vindr_cxr-hm-0.5", "train-padchest",
        "predict-padchest", "predict-padchest-hm-0.5", "analyse", "report",
    ]  # fmt: skip
    plan.run()
    assert commands.names() == [
        *["synth"] * 5, "build-catalog", "split", "images build", "train age-bias-vindr", "predict", "predict",
        "train age-bias-padchest", "predict", "predict",
    ]  # fmt: skip
    split = next(words for words in commands.said if words[0] == "split")
    assert "--pediatric-vs-adult" in split and split[split.index("--seed") + 1] == "42"
    predicts = [words for words in commands.said if words[0] == "predict"]
    assert [words[words.index("--histogram-blend") + 1] for words in predicts] == ["0", "0.5"] * 2
    assert all(JUDGED.format(split="age-bias") in words for words in predicts)
    page = (plan.result("report") / "report.html").read_text(encoding="utf-8")
    assert '<p class="notice">SYNTHETIC DATA' in page and "nothing about medicine" in page
    commands.said.clear()
    plan_of(tmp_path).run()
    assert commands.said == []


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ({"blends": (0.0,)}, []),
        ({"blends": (0.0, 0.5, 1.0)}, ["predict", "predict"]),
        ({"models": (*MODELS, "nih_cxr14")}, ["train age-bias-nih", "predict", "predict"]),
        ({"sets": ("loop.epochs=2",)}, ["train age-bias-vindr", "predict", "predict", "train age-bias-padchest", "predict", "predict"]),
        ({"models": ("vindr_cxr",)}, []),
    ],
)  # fmt: skip
def test_a_change_runs_just_what_depends_on_it(
    commands: Commands, tmp_path: Path, changed: dict[str, Any], again: list[str]
) -> None:
    plan_of(tmp_path).run()
    commands.said.clear()
    plan = plan_of(tmp_path, **changed)
    plan.run()
    assert commands.names() == again
    assert plan.is_there("report")


def test_other_norms_draw_anew(commands: Commands, tmp_path: Path) -> None:
    norms = tmp_path / "norms.toml"
    norms.write_text("a = 1\n")
    first = plan_of(tmp_path, phantoms=phantoms(norms=norms))
    norms.write_text("a = 2\n")
    second = plan_of(tmp_path, phantoms=phantoms(norms=norms))
    assert all(first.keys[name] != second.keys[name] for name in first.keys)
    second.run("data")
    assert all("--norms" in words for words in commands.said)


def test_an_interrupted_training_goes_on(commands: Commands, tmp_path: Path) -> None:
    ran = commands.goes_on(lambda: plan_of(tmp_path), "padchest", "age-bias-padchest")
    assert ran == ["train age-bias-padchest", "predict", "predict"]


def test_what_is_missing_is_said(tmp_path: Path, command: Callable[..., tuple[int, str, str]]) -> None:
    with pytest.raises(CxrError, match="no model is trained on 'mimic_cxr'"):
        plan_of(tmp_path, models=("mimic_cxr",))
    code, _, err = command("--out", tmp_path)
    assert (code, err.splitlines()[0]) == (2, "error CXR-502: nothing says what to train on")
    code, _, err = command("--store", tmp_path / "store", "-c", tmp_path / "cat", "--out", tmp_path)
    assert (code, err.splitlines()[0]) == (1, "error CXR-148: there is no finished image store here")
    code, _, err = command("--data", "synthetic", "--predictions", tmp_path, "--out", tmp_path)
    assert code == 2
    for change, problem in (("loop.nope=3", "CXR-501"), ("loop.epochs=many", "CXR-505")):
        code, _, err = command("--data", "synthetic", "--set", change, "--out", tmp_path, "--dry-run")
        assert (code, problem in err, f"  at:  --set {change}\n" in err) == (2, True, True), err  # not the study's own
    for blends in ("none", "0,2", "nan"):
        code, _, err = command("--data", "synthetic", "--blends", blends, "--out", tmp_path)
        assert (code, f"--blends are numbers from 0 to 1, not {blends!r}" in err) == (2, True)
    code, out, err = command("--data", "synthetic", "--out", tmp_path / "x", "--dry-run", "--format", "csv")
    assert (code, out.count("to run"), (tmp_path / "x").exists()) == (0, 30, False)
