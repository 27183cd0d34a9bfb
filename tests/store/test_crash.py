"""Builds that are killed, interrupted or refused: the catalog is the old one or the new one, never a mixture."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from builds import Ended, Started, build_arguments, current_build, debris, sound_build

from cxrdata.store.publish import CRASH_POINTS, CRASH_VARIABLE

PREVIOUS = ("no_catalog", "old_catalog")
MOMENTS = 20


@dataclass(frozen=True)
class Scene:
    """Two states of one dataset, the catalog of each, and how long a build takes in seconds."""

    old_files: Path
    new_files: Path
    old: Path
    old_id: str
    new_id: str
    seconds: float

    def new_build(self, catalog: Path, *, workers: int = 1) -> list[str]:
        return build_arguments(catalog, f"nih={self.new_files}", workers=workers)

    def prepare(self, folder: Path, previous: str) -> Path:
        """A catalog folder of its own for one case."""
        catalog = folder / "cxr-catalog"
        if previous == "old_catalog":
            shutil.copytree(self.old, catalog)
        return catalog


@pytest.fixture(scope="module")
def scene(synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    files = [synthetic("nih_cxr14", scale=0.0002, seed=seed) for seed in (0, 1)]
    ids, seconds = [], 0.0
    for name, path in zip(("old", "new"), files, strict=True):
        catalog = folder / name
        started = time.monotonic()
        ended = Started(build_arguments(catalog, f"nih={path}"), folder / f"{name}.log").wait()
        seconds = time.monotonic() - started
        assert ended.code == 0, ended.stderr
        ids.append(sound_build(catalog))
    assert ids[0] != ids[1]
    return Scene(files[0], files[1], folder / "old", ids[0], ids[1], seconds)


def complaints(scene: Scene, catalog: Path, previous: str, *, reached_new: bool | None = None) -> list[str]:
    """What is wrong with the catalog after a killed build and after the next one; empty if nothing."""
    found = []
    try:
        state = sound_build(catalog, rows=previous == "no_catalog") if (catalog / "CURRENT").exists() else None
        allowed = {scene.new_id, scene.old_id if previous == "old_catalog" else None}
        if state not in allowed:
            found.append(f"after the kill the catalog is {state}")
        if reached_new is not None and (state == scene.new_id) != reached_new:
            found.append(
                f"the kill should {'' if reached_new else 'not '}have come after publishing, but the catalog is {state}"
            )
        ended = Started(scene.new_build(catalog), catalog.parent / "next.log").wait()
        if ended.code != 0:
            found.append(f"the next build ended with {ended.code}: {ended.stderr}")
        elif sound_build(catalog, rows=False) != scene.new_id:
            found.append("the next build is another one")
        found += [f"left behind: {name}" for name in debris(catalog)]
        stages = sorted(path.name for path in (catalog / "cache" / "stages").iterdir())
        if len(stages) != 1:
            found.append(f"stages kept: {stages}")
    except AssertionError as error:
        found.append(str(error))
    return found


def at_once(cases: list[Callable[[], list[str]]]) -> list[str]:
    """Complaints of all cases, two at a time: each waits for processes of its own."""
    with ThreadPoolExecutor(2) as pool:
        return [text for texts in pool.map(lambda case: case(), cases) for text in texts]


@pytest.mark.parametrize("previous", PREVIOUS)
def test_killed_at_every_crash_point(scene: Scene, tmp_path: Path, previous: str) -> None:
    def case(point: int) -> list[str]:
        folder = tmp_path / str(point)
        folder.mkdir()
        catalog = scene.prepare(folder, previous)
        ended = Started(scene.new_build(catalog), folder / "killed.log", env={CRASH_VARIABLE: str(point)}).wait()
        found = [] if ended.code == -signal.SIGKILL else [f"was not killed but ended with {ended.code}: {ended.stderr}"]
        found += complaints(scene, catalog, previous, reached_new=point == max(CRASH_POINTS))
        return [f"point {point}, {CRASH_POINTS[point]}: {text}" for text in found]

    assert at_once([lambda point=point: case(point) for point in CRASH_POINTS]) == []  # type: ignore[misc]


def killed_at_random_moments(
    scene: Scene, folder: Path, *, rounds: int, previous: Callable[[int], str], seed: int
) -> list[str]:
    """Complaints after kills spread over a whole build: one at random in each twentieth of its duration, `rounds` times."""
    rng = random.Random(seed)

    def case(number: int, delay: float) -> list[str]:
        here = folder / str(number)
        here.mkdir()
        catalog = scene.prepare(here, previous(number))
        started = Started(scene.new_build(catalog), here / "killed.log")
        time.sleep(delay)
        started.kill_group()
        ended = started.wait()
        found = (
            complaints(scene, catalog, previous(number))
            if ended.code in (-signal.SIGKILL, 0)
            else [f"ended with {ended.code}: {ended.stderr}"]
        )
        return [f"killed after {delay:.3f} s with {previous(number)}: {text}" for text in found]

    # Two builds run at a time, so a build takes longer than it does alone.
    delays = [(slot + rng.random()) / MOMENTS * scene.seconds * 1.3 for _ in range(rounds) for slot in range(MOMENTS)]
    return at_once([lambda n=n, delay=delay: case(n, delay) for n, delay in enumerate(delays)])  # type: ignore[misc]


def test_killed_at_random_moments(scene: Scene, tmp_path: Path) -> None:
    assert (
        killed_at_random_moments(scene, tmp_path, rounds=1, previous=lambda number: PREVIOUS[number % 2], seed=0) == []
    )


@pytest.mark.soak
@pytest.mark.parametrize("previous", PREVIOUS)
def test_killed_at_many_random_moments(scene: Scene, tmp_path: Path, previous: str) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    assert killed_at_random_moments(scene, tmp_path, rounds=5, previous=lambda _: previous, seed=seed) == [], (
        f"seed {seed}"
    )


def test_workers_end_with_a_killed_build(synthetic: Callable[..., Path], tmp_path: Path) -> None:
    """Killing only the parent leaves worker processes without anyone to tell them to stop."""
    sources = [f"{name}={synthetic(name, scale=0.0002)}" for name in ("nih_cxr14", "padchest")]
    catalog = tmp_path / "cxr-catalog"
    ended = Started(build_arguments(catalog, *sources, workers=2), tmp_path / "log", env={CRASH_VARIABLE: "3"}).wait()
    assert ended.code == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while (left := _processes_naming(catalog)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    ended = Started(build_arguments(catalog, *sources, workers=2), tmp_path / "log").wait()
    assert ended.code == 0, ended.stderr
    sound_build(catalog)
    assert debris(catalog) == []


def _processes_naming(catalog: Path) -> list[int]:
    """Processes that have a file of the catalog open or hold its path on their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            targets = [str(link.readlink()) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(target.startswith(str(catalog.parent)) for target in targets):
            found.append(int(process.name))
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c(synthetic: Callable[..., Path], tmp_path: Path, scene: Scene, workers: int) -> None:
    """SIGINT to the group, as a terminal sends it, at several moments: exit 130, one line, nothing left behind."""
    sources = [f"nih={scene.new_files}"]
    if workers == 2:
        sources.append(f"padchest={synthetic('padchest', scale=0.0002)}")
    for number, share in enumerate((0.3, 0.5, 0.75)):
        catalog = tmp_path / str(number) / "cxr-catalog"
        catalog.parent.mkdir()
        started = Started(build_arguments(catalog, *sources, workers=workers), catalog.parent / "log")
        while started.running and not (catalog / "cache" / "files.json").exists():
            time.sleep(0.005)
        time.sleep(share * scene.seconds)
        started.kill_group(signal.SIGINT)
        ended = started.wait()
        if ended.code == 0:
            continue  # it was faster than the signal
        *before, last = ended.stderr.strip().splitlines()
        assert (ended.code, last) == (130, "interrupted"), ended
        if (catalog / "CURRENT").exists():
            sound_build(catalog)  # interrupted between publishing and the end, which may have begun to tell
        else:
            assert before == []
        assert debris(catalog) == []


def test_two_builds_at_once(scene: Scene, tmp_path: Path) -> None:
    catalog = scene.prepare(tmp_path, "old_catalog")
    import fcntl

    with (catalog / "cache" / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = Started(scene.new_build(catalog), tmp_path / "log").wait()
    assert ended.code == 3
    assert ended.stderr == (
        "error CXR-603: another build is writing this catalog\n  at:  cxr-catalog\n  fix: wait until it has finished\n"
    )
    assert sound_build(catalog) == scene.old_id
    both = [Started(scene.new_build(catalog), tmp_path / f"{number}.log") for number in range(2)]
    codes = [started.wait().code for started in both]
    assert sorted(codes) in ([0, 3], [0, 0])
    assert sound_build(catalog) == scene.new_id


def refused_to_write(ended: Ended) -> None:
    assert ended.code == 3, ended.stderr
    assert ended.stderr.startswith("error CXR-602: cannot write"), ended.stderr
    assert "  fix: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_no_room_for_the_database(scene: Scene, tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for a disk that fills while the largest file is written."""
    catalog = scene.prepare(tmp_path, "old_catalog")
    refused_to_write(Started(scene.new_build(catalog), tmp_path / "log", before="no_large_files").wait())
    assert sound_build(catalog) == scene.old_id
    assert debris(catalog) == []


@pytest.mark.parametrize("kib", [16, 128, 512, 1024])
def test_full_disk(scene: Scene, tmp_path: Path, kib: int) -> None:
    """A disk with so much room beside the old catalog."""
    with disk(tmp_path / "disk", kib=kib + _kib(scene.old)) as folder:
        catalog = scene.prepare(folder, "old_catalog")
        refused_to_write(Started(scene.new_build(catalog), tmp_path / "log").wait())
        assert sound_build(catalog) == scene.old_id
        assert debris(catalog) == []


def _kib(folder: Path) -> int:
    """What a folder takes on a disk with pages of 4 KiB; copies of linked files count each."""
    return sum(-(-path.stat().st_size // 4096) * 4 if path.is_file() else 4 for path in folder.rglob("*")) + 64


@contextmanager
def disk(folder: Path, *, kib: int) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk is not permitted here; test_no_room_for_the_database stands in")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_unwritable_folder(scene: Scene, tmp_path: Path) -> None:
    for folder in (
        tmp_path,
        *(parent for parent in tmp_path.parents if parent.name.startswith(("pytest-", "popen-"))),
        scene.new_files,
        scene.new_files.parent,
    ):
        folder.chmod(0o755)  # pytest's folders are closed to others
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    log = tmp_path / "log"
    log.touch()
    log.chmod(0o666)
    refused_to_write(Started(scene.new_build(closed / "cxr-catalog"), log, before="nobody").wait())
    assert list(closed.iterdir()) == []


def test_a_file_in_the_catalogs_place(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "cxr-catalog").write_text("mine")
    refused_to_write(Started(scene.new_build(tmp_path / "cxr-catalog"), tmp_path / "log").wait())
    assert (tmp_path / "cxr-catalog").read_text() == "mine"


@pytest.mark.parametrize(
    "damaged", ["catalog.duckdb", "manifest.json", "tables/images/dataset=nih_cxr14/part-0.parquet"]
)
def test_a_damaged_build_is_built_again(scene: Scene, tmp_path: Path, damaged: str) -> None:
    """The fix that a damaged build asks for is to build again; that must mend it, its stage included."""
    catalog = scene.prepare(tmp_path, "no_catalog")
    assert Started(scene.new_build(catalog), tmp_path / "log").wait().code == 0
    path = current_build(catalog) / damaged
    os.truncate(path, path.stat().st_size // 2)
    ended = Started(scene.new_build(catalog), tmp_path / "log").wait()
    assert ended.code == 0, ended.stderr
    assert sound_build(catalog) == scene.new_id
    assert debris(catalog) == []
