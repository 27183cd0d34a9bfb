"""One place that runs tasks: their order, their progress, what is lost on the way. Ray is played by a module of ours here;
on a real cluster: tests/images/test_ray_engine.py."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from cxrdata.cli.main import run
from cxrdata.engines import Engine, run_tasks
from cxrdata.errors import CxrError, Exit
from cxrdata.sources import dicom
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.layout import CatalogFolder

SIZES = [3, 1, 2, 4]


def doubled(task: int, tell: Callable[[int], None]) -> int:
    tell(SIZES[task])
    return 2 * task


def refused(task: int, _tell: Callable[[int], None]) -> int:
    raise CxrError("CXR-602", f"task {task}")


def killed_once(mark: Path, _tell: Callable[[int], None]) -> str:
    """The worker of the first task dies when it is there for the first time."""
    if mark.name == "0" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return mark.name


def killed_always(_task: int, _tell: Callable[[int], None]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class LostError(Exception):
    """What stands for each of Ray's errors of lost workers."""


class FakeRay(ModuleType):
    """As much of Ray as is used, on a cluster of three processors; of the tasks that were begun the last is done first."""

    def __init__(self, *, loses: bool = False) -> None:
        super().__init__("ray")
        names = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "ObjectLostError")
        self.exceptions = SimpleNamespace(**dict.fromkeys(names, LostError))
        self.loses = loses
        self.wishes: dict[str, Any] = {}
        self.begun: list[tuple[Any, ...]] = []
        self.most_at_once = 0
        self.is_shut = False

    def init(self, **wishes: Any) -> None:
        if wishes["address"] == "nowhere:1":
            raise ConnectionError("nobody")
        self.wishes = wishes

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 3.0}

    def remote(self, **_wishes: object) -> Callable[[Callable[..., Any]], SimpleNamespace]:
        def begin(function: Callable[..., Any], *arguments: object) -> int:
            self.begun.append((function, *arguments))
            return len(self.begun) - 1

        return lambda function: SimpleNamespace(remote=lambda *arguments: begin(function, *arguments))

    def wait(self, running: list[int], *, num_returns: int) -> tuple[list[int], list[int]]:
        assert num_returns == 1
        self.most_at_once = max(self.most_at_once, len(running))
        return [running[-1]], running[:-1]

    def get(self, reference: int) -> Any:
        if self.loses:
            raise LostError
        function, *arguments = self.begun[reference]
        return function(*arguments)

    def shutdown(self) -> None:
        self.is_shut = True


def with_ray(monkeypatch: pytest.MonkeyPatch, *, loses: bool = False) -> FakeRay:
    ray = FakeRay(loses=loses)
    monkeypatch.setitem(sys.modules, "ray", ray)
    return ray


@pytest.mark.parametrize("engine", [Engine(), Engine(workers=2), Engine("ray", 2), Engine("ray", 1, "here:1")])
def test_results_are_in_the_order_of_the_tasks(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = with_ray(monkeypatch)
    told: list[tuple[int, int]] = []
    found = run_tasks(doubled, range(4), engine, sizes=SIZES, tell=lambda *counts: told.append(counts))
    assert found == [0, 2, 4, 6]
    assert (told[0], told[-1]) == ((0, 10), (10, 10))
    assert told == sorted(told)
    if engine.name == "ray":
        assert ray.is_shut
        assert ray.wishes["address"] == (engine.address or "local")
        assert ray.most_at_once == 4  # at most two a processor, of which there are two and three: all are begun


def test_no_more_tasks_wait_than_keep_a_cluster_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = with_ray(monkeypatch)
    assert run_tasks(doubled, [1] * 9, Engine("ray", 1), sizes=[1] * 9) == [2] * 9
    assert ray.most_at_once == 2


@pytest.mark.parametrize("engine", [Engine(), Engine(workers=2), Engine("ray")])
def test_what_a_task_raises_ends_it_all(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with_ray(monkeypatch)
    with pytest.raises(CxrError, match="task") as error:
        run_tasks(refused, range(4), engine, sizes=SIZES)
    assert error.value.code == "CXR-602"


def test_a_task_lost_with_its_process_is_redone(tmp_path: Path) -> None:
    marks = [tmp_path / str(number) for number in range(4)]
    assert run_tasks(killed_once, marks, Engine(workers=2), sizes=SIZES) == ["0", "1", "2", "3"]
    assert marks[0].exists()


def test_processes_that_are_killed_again_and_again() -> None:
    with pytest.raises(CxrError) as error:
        run_tasks(killed_always, range(2), Engine(workers=2), sizes=[1, 1])
    assert error.value.code == "CXR-606"


def test_workers_of_a_cluster_that_are_lost_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = with_ray(monkeypatch, loses=True)
    with pytest.raises(CxrError) as error:
        run_tasks(doubled, range(4), Engine("ray"), sizes=SIZES)
    assert error.value.code == "CXR-606"
    assert ray.is_shut


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CxrError) as error:
        run_tasks(doubled, [], Engine("ray"), sizes=[])
    assert error.value.code == "CXR-604"


def test_no_cluster_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with_ray(monkeypatch)
    with pytest.raises(CxrError) as error:
        run_tasks(doubled, range(4), Engine("ray", address="nowhere:1"), sizes=SIZES)
    assert error.value.code == "CXR-605"


@pytest.mark.parametrize(("name", "address"), [("dask", None), ("local", "here:1")])
def test_an_engine_that_is_none(name: str, address: str | None) -> None:
    with pytest.raises(CxrError) as error:
        Engine(name, 1, address)
    assert error.value.code == "CXR-502"


def test_headers_read_by_the_cluster_give_the_same_catalog(
    registry: Registry, synthetic: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a file that only this machine sees; and the stage then opens no file again."""
    folder = synthetic("vindr_pcxr", scale=0.01)
    named = [(registry.get("pcxr"), folder)]
    build_catalog(BuildRequest(tmp_path / "local", named=named, workers=1))
    ray = with_ray(monkeypatch)
    monkeypatch.setattr(dicom, "_CHUNK", 30)
    real = dicom._read_one
    unseen: set[str] = set()

    def read_one(path: str, tags: dict[str, int | None]) -> tuple[str | None, ...]:
        if not unseen:
            unseen.add(path)
            return (*(None for _ in tags), "cannot be read: No such file or directory")
        return real(path, tags)

    monkeypatch.setattr(dicom, "_read_one", read_one)
    monkeypatch.setattr(dicom, "_WORTH_A_PROCESS", 0)  # were the stage to read, it would divide by it
    told: list[str] = []
    build_catalog(BuildRequest(tmp_path / "ray", named=named, workers=1, engine="ray"), told.append)
    assert len(ray.begun) > 1
    n = len(list(folder.rglob("*.dicom")))
    assert f"vindr_pcxr: {n:,} of {n:,} DICOM headers" in told
    builds = [CatalogFolder(tmp_path / name).current_build() for name in ("ray", "local")]
    assert builds[0] is not None
    assert builds[1] is not None
    assert builds[0].build_id == builds[1].build_id


def test_from_the_command_line(
    synthetic: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ray = with_ray(monkeypatch)
    command = ["build-catalog", f"pcxr={synthetic('vindr_pcxr', scale=0.01)}", "-c", str(tmp_path / "cat"), "-q"]
    assert run([*command, "--address", "here:1"]) == Exit.USAGE
    assert "--engine ray" in capsys.readouterr().err
    assert run([*command, "--engine", "ray", "--address", "here:1"]) == Exit.DONE
    assert ray.wishes["address"] == "here:1"
