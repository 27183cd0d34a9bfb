"""Ctrl-C and SIGTERM while a run goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from cxrdata.interrupts import Interrupts, held_back

__all__ = ["Interrupts", "stoppable"]


@contextmanager
def stoppable() -> Iterator[Interrupts]:
    """Ctrl-C, and SIGTERM as schedulers send it, are noted, to be answered between two steps; a second one is not held back."""
    with held_back() as interrupts:
        try:
            before = signal.signal(signal.SIGTERM, interrupts.note)
        except ValueError:  # not the main thread
            yield interrupts
            return
        try:
            yield interrupts
        finally:
            signal.signal(signal.SIGTERM, before)
