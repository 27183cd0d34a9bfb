"""Stages of studies: found again, run anew where something changed, gone on with after an interruption."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrdata.errors import CxrError
from cxrtrain.studies import stages
from cxrtrain.studies.stages import Plan, Stage, Work, digest_of_code


class Road:
    """Four stages: a → b, a → c, b and c → d; `ran` says which have run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: list[str] = []
        self.inputs: dict[str, int] = dict.fromkeys("abcd", 0)
        self.breaks: str | None = None

    def plan(self) -> Plan:
        after = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
        stages = [Stage(name, self.work, after[name], {"x": self.inputs[name], "name": name}) for name in "abcd"]
        return Plan(self.folder, stages)

    def work(self, on: Work) -> None:
        name = on.folder.name.partition("-")[0]
        self.ran.append(name)
        epochs = on.scratch / "epochs"
        epochs.write_text((epochs.read_text() if epochs.exists() else "") + "1")
        if name == self.breaks:
            raise KeyboardInterrupt
        before = [(folder / "said").read_text() for folder in on.of.values()]
        (on.folder / "said").write_text(f"{name}({','.join(before)}){epochs.read_text()}")

    def run(self, only: str | None = None) -> list[str]:
        self.ran.clear()
        self.plan().run(only)
        return list(self.ran)


@pytest.fixture
def road(tmp_path: Path) -> Road:
    return Road(tmp_path / "stages")


def test_each_stage_gets_the_results_before_it(road: Road) -> None:
    assert road.run() == ["a", "b", "c", "d"]
    plan = road.plan()
    assert (plan.result("d") / "said").read_text() == "d(b(a()1)1,c(a()1)1)1"
    assert road.run() == []
    assert plan.table()["state"].to_list() == ["cached"] * 4


@pytest.mark.parametrize(("changed", "again"), [("a", "abcd"), ("b", "bd"), ("c", "cd"), ("d", "d")])
def test_a_changed_input_runs_just_what_depends_on_it(road: Road, changed: str, again: str) -> None:
    road.run()
    road.inputs[changed] = 1
    table = road.plan().table()
    assert [name for name, state, _ in table.iter_rows() if state == "to run"] == list(again)
    assert road.run() == list(again)
    road.inputs[changed] = 0  # what was made before is still there
    assert road.run() == []


@pytest.mark.parametrize("stage", list("abcd"))
def test_interrupted_anywhere_it_continues_and_keeps_what_was_half_done(road: Road, stage: str) -> None:
    road.breaks = stage
    with pytest.raises(KeyboardInterrupt):
        road.run()
    assert not road.plan().is_there(stage)
    road.breaks = None
    order = "abcd"
    assert road.run() == list(order[order.index(stage) :])
    assert (road.plan().result(stage) / "said").read_text().endswith("11")  # went on in its scratch folder
    assert not any((road.folder / "scratch").iterdir())


def test_only_runs_a_stage_and_what_it_lacks(road: Road) -> None:
    assert road.plan().table("c")["stage"].to_list() == ["a", "c"]
    assert road.run("c") == ["a", "c"]
    assert road.run("d") == ["b", "d"]
    assert road.run("b") == []


def test_a_dry_run_touches_nothing(road: Road) -> None:
    table = road.plan().table()
    assert table.rows() == [("a", "to run", None), ("b", "to run", "a"), ("c", "to run", "a"), ("d", "to run", "b, c")]
    assert not road.folder.exists()


def test_what_is_published_is_of_one_result(road: Road, tmp_path: Path) -> None:
    out, wanted = tmp_path / "out", {"b": ("said",), "d": ("said_d",), "z": ("said_z",)}
    out.mkdir()
    (out / "said_d").touch()  # somebody's own: no stage d ever made a file of that name
    road.run()
    said: list[str] = []
    assert road.plan().publish(out, wanted, said.append) == [out / "said"]
    road.inputs["b"] = 1
    assert road.plan().publish(out, wanted, said.append) == []
    assert said == ["said: of an earlier result of the stage b, removed"]
    assert [path.name for path in out.iterdir()] == ["said_d"]


def test_what_no_stage_of_a_later_plan_makes_goes_too(road: Road, tmp_path: Path) -> None:
    """Whether the later plan names it or not: as where features were explored, and then predictions alone are there."""
    out = tmp_path / "out"
    road.run()
    (out / "figures").mkdir(parents=True)  # somebody's own
    (tmp_path / "other").mkdir()
    road.plan().publish(out, {"b": ("said",)})
    said: list[str] = []
    fewer = Plan(road.folder, [road.plan().stages["a"]])
    assert fewer.publish(tmp_path / "other", {"a": ("said",)}, said.append) == [tmp_path / "other" / "said"]
    assert (out / "said").exists() and said == []  # another folder's answer is its own
    for wanted in ({"b": ("said",), "c": ("figures",)}, {}):
        road.plan().publish(out, {"b": ("said",)})
        assert (out / "said").read_text().startswith("b(")
        fewer.publish(out, wanted, said.append)
        assert [path.name for path in out.iterdir()] == ["figures"]
    assert said == ["said: of an earlier result of the stage b, removed"] * 2


def test_files_of_a_stage_apart_have_a_folder_of_its_name(road: Road, tmp_path: Path) -> None:
    out = tmp_path / "out"
    road.run()
    written = road.plan().publish(out, {"b": ("said",), "c": ("said",)}, apart=("b",))
    assert written == [out / "b" / "said", out / "said"]
    assert (out / "b" / "said").read_text() == "b(a()1)1"
    road.plan().publish(out, {"c": ("said",)})
    assert [path.name for path in out.iterdir()] == ["said"]  # and no empty folder is left


def test_an_unknown_stage_is_named_with_those_that_are(road: Road) -> None:
    with pytest.raises(CxrError, match="there is no stage 'e'") as caught:
        road.run("e")
    assert (caught.value.code, caught.value.fix) == ("CXR-501", "stages: a, b, c, d")


def test_the_digest_of_the_code_is_of_every_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies have files of the same names."""
    told: dict[str, dict[str, str]] = {}
    monkeypatch.setattr("cxrtrain.studies.stages.stage_key", lambda **inputs: told.update(inputs) or "key")
    assert digest_of_code.__wrapped__(Path(stages.__file__).parent) == "key"
    assert {"stages.py", "chexnet/report.py", "chexploration/report.py", "chexploration/published.tsv"} <= set(
        told["folder"]
    )
