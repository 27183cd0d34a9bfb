"""Ctrl-C at moments of our choosing.

Python raises KeyboardInterrupt wherever the main thread happens to be: inside an engine's callback, which may swallow it
and go on with half a result; while a thread is being started, which then nobody waits for. So work that must be whole or
not at all holds Ctrl-C back and answers it where it is safe. A second Ctrl-C is not held back.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Handler = Callable[[int, FrameType | None], object]


class Interrupts:
    """Notes Ctrl-C while it is held back. `before`: what answers it otherwise; None where this program, or this thread,
    does not answer it."""

    def __init__(self, before: Handler | None) -> None:
        self._before = before
        self.noted = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C came."""
        if self.noted:
            raise KeyboardInterrupt

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Ctrl-C as usual meanwhile: for waiting, which may last."""
        self.check()
        if self._before is None:
            yield
            return
        signal.signal(signal.SIGINT, self._before)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, self.note)

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler: the first time a note, the second time what it was before."""
        if self.noted and self._before is not None:
            self._before(number, frame)
        self.noted = True


@contextmanager
def held_back() -> Iterator[Interrupts]:
    """Hold Ctrl-C back; where nothing checked, it is answered at the end. Does nothing outside the main thread."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield Interrupts(None)
        return
    interrupts = Interrupts(handler)
    signal.signal(signal.SIGINT, interrupts.note)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, handler)
    interrupts.check()


@contextmanager
def on_ctrl_c(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` on another thread as soon as Ctrl-C comes: Python itself answers only when the engine that the main
    thread is in returns or looks, which DuckDB does between tasks that may last. Does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    woken, waker = socket.socketpair()
    waker.setblocking(False)  # noqa: FBT003 - its only form
    before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        while numbers := woken.recv(64):
            if signal.SIGINT in numbers:
                stop()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        waker.close()
        watcher.join()
        woken.close()


def in_threads(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> list[Result]:
    """`work` on every item, so many at a time; the results in the items' order, or the first error in that order.

    After an error, or Ctrl-C, no further item is begun and those begun are finished: a thread left behind would go on
    writing into a folder that its build has cleared away, on a connection that cannot be closed.
    """
    failed = threading.Event()

    def one(item: Item) -> list[Result]:
        if interrupts.noted or failed.is_set():
            return []
        try:
            return [work(item)]
        except BaseException:
            failed.set()
            raise

    with held_back() as interrupts, ThreadPoolExecutor(threads) as pool:
        begun = [pool.submit(one, item) for item in items]
        results = [result for future in begun for result in future.result()]
        interrupts.check()
    return results
