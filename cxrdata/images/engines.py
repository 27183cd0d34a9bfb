"""Where the shards of a store are made: in this process, in processes of this machine, on a Ray cluster.

All run the same `make_shard`, so all write the same bytes. On a cluster the store and the images must lie on a file system
that every node has under the same path.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np

from cxrdata.errors import CxrError
from cxrdata.images.shards import ShardDone, ShardTask, make_shard
from cxrdata.processes import process_pool

ENGINES = ("local", "ray")
Tell = Callable[[int, int], None]
_PRELOAD = ("cxrdata.images.shards", "PIL.PngImagePlugin", "PIL.JpegImagePlugin")
_TELL_SECONDS = 0.25
# How often a shard is begun again whose worker or node was lost.
_RETRIES = 5


def run_shards(
    tasks: list[ShardTask],
    *,
    engine: str = "local",
    workers: int = 1,
    address: str | None = None,
    tell: Tell = lambda _done, _total: None,
) -> list[ShardDone]:
    """Make the shards, so many at a time; in their order. Ctrl-C ends the workers; shards that were finished stay.

    Raises CxrError: CXR-502 no such engine, CXR-604 Ray is not installed, CXR-606 a worker was killed (Ray: too often),
    and those of `make_shard`.
    """
    total = sum(task.images.height for task in tasks)
    tell(0, total)
    if engine == "ray":
        done = _run_ray(tasks, workers, address, total, tell)
    elif engine != "local" or address is not None:
        raise CxrError("CXR-502", f"the engine {engine!r} cannot do that", fix="--engine local, or ray with --address")
    elif workers <= 1 or len(tasks) <= 1:
        done = _run_here(tasks, total, tell)
    else:
        done = _run_processes(tasks, workers, total, tell)
    return sorted(done, key=lambda shard: shard.number)


def _run_here(tasks: list[ShardTask], total: int, tell: Tell) -> list[ShardDone]:
    done: list[ShardDone] = []
    before = 0
    for task in tasks:

        def tell_shard(n: int, before: int = before) -> None:
            tell(before + n, total)

        done.append(make_shard(task, tell_shard))
        before += task.images.height
    return done


def _run_processes(tasks: list[ShardTask], workers: int, total: int, tell: Tell) -> list[ShardDone]:
    with tempfile.TemporaryDirectory(prefix="cxrdata-images-") as scratch:
        # Each worker counts its images in a place of its own of a file that all have mapped.
        counts_file = Path(scratch) / "counts"
        counts = np.memmap(counts_file, dtype=np.uint32, mode="w+", shape=(len(tasks),))
        done: list[ShardDone] = []
        waiting: set[Future[ShardDone]] = set()
        queue = enumerate(tasks)
        try:
            with process_pool(min(workers, len(tasks)), _PRELOAD) as pool:
                while len(done) < len(tasks):
                    while len(waiting) < 2 * workers and (task := next(queue, None)) is not None:
                        waiting.add(pool.submit(_make_counted, task[1], counts_file, len(tasks), task[0]))
                    finished, waiting = wait(waiting, timeout=_TELL_SECONDS, return_when=FIRST_COMPLETED)
                    done += [future.result() for future in finished]
                    tell(int(counts.sum()), total)
        except BrokenProcessPool as error:
            raise CxrError(
                "CXR-606",
                "a worker process was killed, often for lack of memory",
                fix="run the same again with fewer --workers: finished shards are kept",
            ) from error
    return done


def _make_counted(task: ShardTask, counts_file: Path, n: int, place: int) -> ShardDone:
    """In a worker: a shard, counting its images in the file of counts."""
    counts = np.memmap(counts_file, dtype=np.uint32, mode="r+", shape=(n,))

    def tell(done: int) -> None:
        counts[place] = done

    return make_shard(task, tell)


def _run_ray(tasks: list[ShardTask], workers: int, address: str | None, total: int, tell: Tell) -> list[ShardDone]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    try:
        import ray  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise CxrError("CXR-604", "Ray is not installed", fix="pip install 'cxrdata[ray]'") from error
    wishes: dict[str, Any] = {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(log_to_driver=False, **wishes)
    except ConnectionError as error:
        raise CxrError(
            "CXR-605", f"no Ray cluster answers: {error}", where=address, fix="start one with `ray start --head`"
        ) from error
    done: list[ShardDone] = []
    try:
        remote = ray.remote(num_cpus=1, max_retries=_RETRIES)(_make_told)
        most = max(1, int(ray.cluster_resources().get("CPU", 1)) if address else workers)
        queue = iter(tasks)
        waiting: list[Any] = []
        images = 0
        while len(done) < len(tasks):
            while len(waiting) < 2 * most and (task := next(queue, None)) is not None:
                waiting.append(remote.remote(task))
            finished, waiting = ray.wait(waiting, num_returns=1)
            for found in ray.get(finished):
                if isinstance(found, CxrError):
                    raise found
                done.append(found)
                images += found.images
            tell(images, total)
    except ray.exceptions.WorkerCrashedError as error:
        raise CxrError(
            "CXR-606",
            "a shard's worker was lost again and again",
            fix="run the same again: finished shards are kept; a node may lack memory",
        ) from error
    finally:
        ray.shutdown()
    return done


def _make_told(task: ShardTask) -> ShardDone | CxrError:
    """On a node: what ends the build is handed back, since Ray would wrap it into an error of its own."""
    try:
        return make_shard(task)
    except CxrError as error:
        return error
