"""Ctrl-C held back and answered where it is safe; threads that all end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cxrdata.interrupts import Interrupts, held_back, in_threads, on_ctrl_c


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.001)  # the handler runs between two steps of the interpreter


def steps_until_interrupted(work: Callable[[Interrupts], Iterator[str]]) -> list[str]:
    """The steps that `work` takes, with Ctrl-C held back, until KeyboardInterrupt; AssertionError without one."""
    steps = []
    try:
        with held_back() as interrupts:
            for step in work(interrupts):
                steps.append(step)  # noqa: PERF402 - kept when it is interrupted
    except KeyboardInterrupt:
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        return steps
    raise AssertionError(steps)


def test_held_back_until_the_check() -> None:
    def work(interrupts: Interrupts) -> Iterator[str]:
        ctrl_c()
        yield "went on"
        interrupts.check()
        yield "not reached"

    assert steps_until_interrupted(work) == ["went on"]


def test_held_back_until_the_end() -> None:
    def work(_: Interrupts) -> Iterator[str]:
        ctrl_c()
        yield "to the end"

    assert steps_until_interrupted(work) == ["to the end"]


def test_a_second_one_is_not_held_back() -> None:
    def work(_: Interrupts) -> Iterator[str]:
        ctrl_c()
        yield "one"
        ctrl_c()
        yield "two"

    assert steps_until_interrupted(work) == ["one"]


def test_let_through_while_waiting() -> None:
    def work(interrupts: Interrupts) -> Iterator[str]:
        with interrupts.let_through():
            ctrl_c()
            yield "not reached"

    assert steps_until_interrupted(work) == []


def test_held_back_again_after_waiting() -> None:
    def work(interrupts: Interrupts) -> Iterator[str]:
        with interrupts.let_through():
            yield "waited"
        ctrl_c()
        yield "went on"

    assert steps_until_interrupted(work) == ["waited", "went on"]


def test_what_was_noted_is_answered_before_waiting() -> None:
    def work(interrupts: Interrupts) -> Iterator[str]:
        ctrl_c()
        with interrupts.let_through():
            yield "not reached"

    assert steps_until_interrupted(work) == []


def test_an_engine_is_stopped_that_does_not_look() -> None:
    stopped = threading.Event()
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), on_ctrl_c(stopped.set):
        ctrl_c()
    assert stopped.wait(5)
    assert threading.active_count() == before
    assert signal.set_wakeup_fd(-1) == -1


def test_results_are_in_the_items_order() -> None:
    def work(number: int) -> int:
        time.sleep(0.002 * (5 - number))
        return number * number

    assert in_threads(work, range(5), 3) == [0, 1, 4, 9, 16]


def test_the_first_error_in_the_items_order_is_raised_and_nothing_more_begun() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            time.sleep(0.05)
        if number:
            raise ValueError(number)

    with pytest.raises(ValueError, match="1"):
        in_threads(work, range(100), 3)
    assert len(begun) < 10


@pytest.mark.parametrize("outer", [False, True])
def test_ctrl_c_waits_for_what_is_begun_and_begins_nothing_more(*, outer: bool) -> None:
    begun, ended = [], []

    def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            ctrl_c()
        time.sleep(0.05)
        ended.append(number)

    def at_once(_: Interrupts) -> Iterator[str]:
        in_threads(work, range(100), 2)
        yield "results are missing, but nothing was raised"

    before = threading.active_count()
    if outer:
        assert steps_until_interrupted(at_once) == []
    else:
        with pytest.raises(KeyboardInterrupt):
            in_threads(work, range(100), 2)
    assert sorted(begun) == sorted(ended)
    assert len(begun) < 10
    assert threading.active_count() == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_outside_the_main_thread_there_is_no_handler_to_replace() -> None:
    found: list[list[int]] = []
    thread = threading.Thread(target=lambda: found.append(in_threads(lambda number: number + 1, range(3), 2)))
    thread.start()
    thread.join()
    assert found == [[1, 2, 3]]
