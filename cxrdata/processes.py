"""Worker processes that end when they should: with the build, on Ctrl-C, and when the build is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker

_POLARS_THREADS = "POLARS_MAX_THREADS"


def start_fork_server(workers: int, preload: Sequence[str]) -> None:
    """Start the process that the workers of `process_pool(…, preload=…)` will be forked from.

    It imports the modules once for all of them, meanwhile and on another core; it has no thread of Polars, whose
    locks a fork would copy, held or not. Where the system has no such server, nothing happens.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return
    with _shared_cores(workers), _without_interrupts():
        multiprocessing.set_forkserver_preload(list(preload))
        forkserver.ensure_running()


@contextmanager
def process_pool(workers: int, preload: Sequence[str] = ()) -> Iterator[ProcessPoolExecutor]:
    """A pool of so many processes. An error lets running tasks finish; an interrupt ends them at once.

    preload: modules that every task needs, when they take long to import.
    """
    others = set(multiprocessing.active_children())
    forked = bool(preload) and "forkserver" in multiprocessing.get_all_start_methods()
    if forked:
        start_fork_server(workers, preload)
    context = multiprocessing.get_context("forkserver" if forked else "spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    with _shared_cores(workers), _without_interrupts():
        for _ in range(workers):  # a task starts a process where none is idle, so these start all of them
            pool.submit(os.getpid)
    try:
        yield pool
    except Exception:
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


@contextmanager
def _shared_cores(workers: int) -> Iterator[None]:
    """Processes started now share the cores: each gets as many threads of Polars as there are cores for it."""
    threads = os.environ.get(_POLARS_THREADS)
    os.environ[_POLARS_THREADS] = threads or str(max(1, (os.cpu_count() or 1) // workers))
    try:
        yield
    finally:
        if threads is None:
            del os.environ[_POLARS_THREADS]


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started now are deaf to Ctrl-C, which reaches the whole group: only the parent is to answer it."""
    resource_tracker.ensure_running()  # when started later, it would unblock the signal
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _begin() -> None:
    """A worker waits for tasks for ever; if its parent is killed, nobody will tell it to stop."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
