"""The engine of restartable stages."""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from pathlib import Path

import pytest

from cxrdata.stages import make_private, remove_unfinished, run_stage, stage_key, unfinished

KEY = stage_key(version="1")


def write_result(folder: Path) -> None:
    (folder / "part").mkdir()
    (folder / "part" / "result.txt").write_text("done")


def kill_in_the_middle(folder: Path) -> None:
    write_result(folder)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_stage_appears_whole(tmp_path: Path) -> None:
    seen = []

    def work(aside: Path) -> None:
        write_result(aside)
        seen.extend(path.name for path in tmp_path.iterdir())
        assert not (tmp_path / f"stage-{KEY}").exists()

    folder, reused = run_stage(tmp_path, "stage", KEY, work)
    assert (folder, reused) == (tmp_path / f"stage-{KEY}", False)
    assert (folder / "part" / "result.txt").read_text() == "done"
    assert seen == [f"stage-{KEY}.{os.getpid()}.unfinished"]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_finished_stage_is_not_run_again(tmp_path: Path) -> None:
    first = run_stage(tmp_path, "stage", KEY, write_result)
    again = run_stage(tmp_path, "stage", KEY, lambda _: pytest.fail("run again"))
    assert again == (first[0], True)


def test_another_key_or_name_is_another_stage(tmp_path: Path) -> None:
    run_stage(tmp_path, "stage", KEY, write_result)
    assert run_stage(tmp_path, "stage", stage_key(version="2"), write_result)[1] is False
    assert run_stage(tmp_path, "other", KEY, write_result)[1] is False
    assert len(list(tmp_path.iterdir())) == 3


def test_a_damaged_stage_is_made_again(tmp_path: Path) -> None:
    folder, _ = run_stage(tmp_path, "stage", KEY, write_result)
    (folder / "part" / "result.txt").unlink()
    folder, reused = run_stage(
        tmp_path, "stage", KEY, write_result, whole=lambda path: (path / "part" / "result.txt").is_file()
    )
    assert not reused
    assert (folder / "part" / "result.txt").read_text() == "done"


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
def test_a_failed_stage_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def work(aside: Path) -> None:
        write_result(aside)
        raise error

    with pytest.raises(error):
        run_stage(tmp_path, "stage", KEY, work)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_stage_is_cleared_away_and_run_again(tmp_path: Path) -> None:
    process = get_context("fork").Process(target=run_stage, args=(tmp_path, "stage", KEY, kill_in_the_middle))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [f"stage-{KEY}.{process.pid}.unfinished"]
    (tmp_path / f"file.{process.pid}.unfinished").touch()
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert run_stage(tmp_path, "stage", KEY, write_result)[1] is False


def test_clearing_away_keeps_what_is_finished(tmp_path: Path) -> None:
    run_stage(tmp_path, "stage", KEY, write_result)
    remove_unfinished(tmp_path)
    remove_unfinished(tmp_path / "not there")
    assert [path.name for path in tmp_path.iterdir()] == [f"stage-{KEY}"]


def test_two_processes_may_finish_the_same_stage(tmp_path: Path) -> None:
    def work(aside: Path) -> None:
        write_result(aside)
        write_done = tmp_path / f"stage-{KEY}"
        write_done.mkdir()
        write_result(write_done)  # the other one was faster

    folder, _ = run_stage(tmp_path, "stage", KEY, work)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert (folder / "part" / "result.txt").read_text() == "done"


def test_the_key_depends_on_every_part() -> None:
    base = {"files": [("a.csv", "c0ffee")], "version": "1", "rule": None, "deep": {"x": [1, 2], "y": True}}
    others = [
        {**base, "files": [("a.csv", "c0ffef")]},
        {**base, "files": [("b.csv", "c0ffee")]},
        {**base, "files": [("a.csv", "c0ffee")] * 2},
        {**base, "version": "2"},
        {**base, "version": 1},
        {**base, "rule": "majority"},
        {**base, "rule": False},
        {**base, "deep": {"x": [2, 1], "y": True}},
        {**base, "deep": {"x": [1, 2], "y": False}},
        {**base, "more": ""},
        {key: value for key, value in base.items() if key != "rule"},
    ]
    keys = [stage_key(**parts) for parts in (base, *others)]
    assert len(set(keys)) == len(keys)


def test_the_key_does_not_depend_on_the_order_of_names() -> None:
    assert stage_key(a=1, b={"x": 1, "y": 2}) == stage_key(b={"y": 2, "x": 1}, a=1)


def test_unfinished_names_are_beside_and_known(tmp_path: Path) -> None:
    aside = unfinished(tmp_path / "CURRENT")
    assert aside.parent == tmp_path
    aside.touch()
    remove_unfinished(tmp_path)
    assert not aside.exists()


def test_private_folders_all_the_way(tmp_path: Path) -> None:
    make_private(tmp_path / "a" / "b" / "c")
    assert [path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")] == [0o700] * 3
    make_private(tmp_path / "a")
