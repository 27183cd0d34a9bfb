"""Where tasks that need nothing of each other are run: in this process, in processes of this machine, on a Ray cluster.

The shards of an image store and the scan of DICOM headers are such tasks. The same function does a task everywhere, so
the results are the same; what is lost with its worker is begun again. On a cluster all that tasks read and write must lie
on a file system that every node has under the same path.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cxrdata.errors import CxrError
from cxrdata.processes import process_pool

ENGINES = ("local", "ray")
Task = TypeVar("Task")
Result = TypeVar("Result")
# Is told units done and units in all.
Tell = Callable[[int, int], None]
# What does a task; it is handed the task and a function that it tells how many of the task's units are done, the last of them
# included.
Work = Callable[[Task, Callable[[int], None]], Result]
_TELL_SECONDS = 0.25
# How often a task is begun again whose worker or node on the cluster was lost.
_RETRIES = 5


@dataclass(frozen=True)
class Engine:
    """Who works. `name`: `local`, so many processes (`workers`), or `ray`: at most so many tasks at a time on a cluster of
    this machine, or as many as the cluster at `address` has processors."""

    name: str = "local"
    workers: int = 1
    address: str | None = None

    def __post_init__(self) -> None:
        """Raises CxrError CXR-502 for an engine that there is not, or an address that it has no use for."""
        if self.name not in ENGINES:
            raise CxrError("CXR-502", f"there is no engine {self.name!r}", fix=f"one of {', '.join(ENGINES)}")
        if self.address is not None and self.name != "ray":
            raise CxrError("CXR-502", "--address names a Ray cluster", fix="add --engine ray")


def run_tasks(
    work: Work[Task, Result],
    tasks: Sequence[Task],
    engine: Engine,
    *,
    sizes: Sequence[int],
    tell: Tell = lambda _done, _total: None,
    preload: Sequence[str] = (),
) -> list[Result]:
    """The results of the tasks, in their order. Ctrl-C ends the workers.

    work: a function of a module, so that other processes find it. sizes: units of each task, for progress. preload: modules
    that local processes are to import once for all, where they take long.
    Raises CxrError: CXR-604 Ray is not installed, CXR-605 no cluster, CXR-606 workers were lost again and again; and what
    `work` raises, of several errors any.
    """
    total = sum(sizes)
    tell(0, total)
    if engine.name == "ray":
        return _run_ray(work, tasks, engine, sizes, tell)
    if engine.workers <= 1 or len(tasks) <= 1:
        return _run_here(work, tasks, sizes, tell)
    return _run_processes(work, tasks, engine.workers, total, tell, preload)


def _run_here(work: Work[Task, Result], tasks: Sequence[Task], sizes: Sequence[int], tell: Tell) -> list[Result]:
    results: list[Result] = []
    total, before = sum(sizes), 0
    for task, size in zip(tasks, sizes, strict=True):

        def tell_task(n: int, before: int = before) -> None:
            tell(before + n, total)

        results.append(work(task, tell_task))
        before += size
    return results


def _run_processes(
    work: Work[Task, Result], tasks: Sequence[Task], workers: int, total: int, tell: Tell, preload: Sequence[str]
) -> list[Result]:
    """A pool of which a process was killed is no pool any more: what is left is begun in a new one with half the
    processes, since the usual reason is memory."""
    results: dict[int, Result] = {}
    workers = min(workers, len(tasks))
    with tempfile.TemporaryDirectory(prefix="cxrdata-") as scratch:
        # Each task counts its units in a place of its own of a file that all processes have mapped.
        counts_file = Path(scratch) / "counts"
        counts = np.memmap(counts_file, dtype=np.uint32, mode="w+", shape=(len(tasks),))

        def told() -> None:
            tell(int(counts.sum()), total)

        while True:
            try:
                _in_one_pool(work, tasks, results, workers, counts_file, told, preload)
                break
            except BrokenProcessPool as error:
                if workers == 1:
                    raise CxrError(
                        "CXR-606",
                        "a worker process was killed again and again, often for lack of memory",
                        fix="run the same again on a machine with more memory: what was finished is kept",
                    ) from error
                workers //= 2
    return [results[at] for at in range(len(tasks))]


def _in_one_pool(
    work: Work[Task, Result],
    tasks: Sequence[Task],
    results: dict[int, Result],
    workers: int,
    counts_file: Path,
    told: Callable[[], None],
    preload: Sequence[str],
) -> None:
    """Fill in the results that lack."""
    queue = iter([at for at in range(len(tasks)) if at not in results])
    running: dict[Future[Result], int] = {}
    with process_pool(workers, preload) as pool:
        while len(results) < len(tasks):
            while len(running) < 2 * workers and (at := next(queue, None)) is not None:
                running[pool.submit(_do_counted, work, tasks[at], counts_file, len(tasks), at)] = at
            finished, _ = wait(running, timeout=_TELL_SECONDS, return_when=FIRST_COMPLETED)
            for future in finished:
                results[running.pop(future)] = future.result()
            told()


def _do_counted(work: Work[Task, Result], task: Task, counts_file: Path, n: int, place: int) -> Result:
    """In a worker: a task, its units counted in the file of counts."""
    counts = np.memmap(counts_file, dtype=np.uint32, mode="r+", shape=(n,))

    def tell(done: int) -> None:
        counts[place] = done

    return work(task, tell)


def _run_ray(
    work: Work[Task, Result], tasks: Sequence[Task], engine: Engine, sizes: Sequence[int], tell: Tell
) -> list[Result]:
    ray = _joined(engine)
    results: dict[int, Result] = {}
    total, units = sum(sizes), 0
    try:
        remote = ray.remote(num_cpus=1, max_retries=_RETRIES)(_do_returning)
        most = max(1, int(ray.cluster_resources().get("CPU", 1)) if engine.address else engine.workers)
        queue = iter(enumerate(tasks))
        running: dict[Any, int] = {}
        while len(results) < len(tasks):
            while len(running) < 2 * most and (following := next(queue, None)) is not None:
                at, task = following
                running[remote.remote(work, task)] = at
            finished, _ = ray.wait(list(running), num_returns=1)
            for reference in finished:
                found = ray.get(reference)
                if isinstance(found, CxrError):
                    raise found
                at = running.pop(reference)
                results[at] = found
                units += sizes[at]
            tell(units, total)
    except (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.ObjectLostError,
    ) as error:
        raise CxrError(
            "CXR-606",
            "a task's worker was lost again and again",
            fix="run the same again: what was finished is kept; a node may lack memory",
        ) from error
    finally:
        ray.shutdown()
    return [results[at] for at in range(len(tasks))]


def _joined(engine: Engine) -> Any:  # noqa: ANN401 - a module that need not be installed
    """Ray, this process being part of the cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    try:
        import ray  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise CxrError("CXR-604", "Ray is not installed", fix="pip install 'cxrdata[ray]'") from error
    # Without `local` Ray would join whatever cluster ran last on this machine, and refuse the number of processors.
    wishes: dict[str, Any] = (
        {"address": engine.address}
        if engine.address
        else {"address": "local", "num_cpus": engine.workers, "include_dashboard": False}
    )
    try:
        ray.init(log_to_driver=False, **wishes)
    except ConnectionError as error:
        raise CxrError(
            "CXR-605", f"no Ray cluster answers: {error}", where=engine.address, fix="start one with `ray start --head`"
        ) from error
    return ray


def _do_returning(work: Work[Task, Result], task: Task) -> Result | CxrError:
    """On a node: what ends the whole is handed back, since Ray would wrap it into an error of its own."""
    try:
        return work(task, lambda _: None)
    except CxrError as error:
        return error
