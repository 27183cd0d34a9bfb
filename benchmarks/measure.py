"""Measuring processes: wall clock, CPU seconds, and the memory of the whole process tree."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

RSS_INTERVAL_SECONDS = 0.02
# The kernel walks the page tables for each answer, so the proportional share is asked for less often.
PSS_EVERY = 10
# prctl's option by which orphans below this process become its children, so that their CPU time can be asked for: a build's
# workers are children of a fork server, which ends after the build and is waited for by nobody.
_PR_SET_CHILD_SUBREAPER = 36
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")


class CommandFailedError(Exception):
    """A measured command ended with an exit code other than expected; the text is the end of its stderr."""


@dataclass(frozen=True)
class Sample:
    """Memory of a process tree at one moment (`at`: `time.monotonic()` in seconds).

    `rss`: resident bytes of all processes added up, so that shared pages count several times; `pss`: the same with
    shared pages counted once (None where not asked); `largest`: resident bytes of the largest process.
    """

    at: float
    rss: int
    pss: int | None
    largest: int


@dataclass(frozen=True)
class Run:
    """One run of a command. `others`: cores that other processes kept busy meanwhile, on average."""

    seconds: float
    cpu_seconds: float
    others: float
    samples: list[Sample] = field(default_factory=list, repr=False)
    stdout: str = field(default="", repr=False)

    @property
    def peak_rss(self) -> int:
        return max((sample.rss for sample in self.samples), default=0)

    @property
    def peak_pss(self) -> int:
        return max((sample.pss for sample in self.samples if sample.pss is not None), default=0)

    @property
    def peak_process(self) -> int:
        return max((sample.largest for sample in self.samples), default=0)


@dataclass(frozen=True)
class Figure:
    """A measured thing: its runs, and what was asked of it (`limit`, `aim`: seconds; `limit_bytes`)."""

    name: str
    runs: list[Run]
    aim: float | None = None
    limit: float | None = None
    limit_bytes: int | None = None
    note: str = ""

    @property
    def seconds(self) -> float:
        """Median wall clock."""
        return median(run.seconds for run in self.runs)

    @property
    def cpu_seconds(self) -> float:
        return median(run.cpu_seconds for run in self.runs)

    @property
    def others(self) -> float:
        return median(run.others for run in self.runs)

    @property
    def peak_bytes(self) -> int:
        """The highest memory of the process tree in any run, shared pages counted once."""
        return max(run.peak_pss for run in self.runs)


def python(module: str, *arguments: object) -> list[str]:
    """The command line of a module under this very interpreter."""
    return [sys.executable, "-m", module, *(str(argument) for argument in arguments)]


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    expect: Sequence[int] = (0,),
    memory: bool = True,
) -> Run:
    """Run a command to its end and measure it, its children included. memory: look at it all the while, which costs a
    short command a tenth of its time.

    Raises CommandFailedError for an exit code that is not in `expect`.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    busy, start = _busy_seconds(), time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    sampler = _Sampler(process.pid)
    if memory:
        sampler.start()
    outputs: dict[str, bytes] = {}
    readers = [threading.Thread(target=_drain, args=(process, name, outputs)) for name in ("stdout", "stderr")]
    for reader in readers:
        reader.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if memory:
        sampler.stop()
    for reader in readers:
        reader.join()
    cpu = usage.ru_utime + usage.ru_stime + _orphans_cpu_seconds()
    others = max(0.0, _busy_seconds() - busy - cpu) / seconds
    if process.returncode not in expect:
        raise CommandFailedError(
            f"exit code {process.returncode}: {outputs['stderr'].decode(errors='replace')[-400:].strip()}"
        )
    return Run(seconds, cpu, others, sampler.samples, outputs["stdout"].decode(errors="replace"))


def call(function: Callable[[], object]) -> Run:
    """The same of a call in this process, without memory."""
    busy, start, cpu = _busy_seconds(), time.monotonic(), time.process_time()
    function()
    seconds, own = time.monotonic() - start, time.process_time() - cpu
    return Run(seconds, own, max(0.0, _busy_seconds() - busy - own) / max(seconds, 1 / _TICK))


def _drain(process: subprocess.Popen[bytes], name: str, outputs: dict[str, bytes]) -> None:
    stream = getattr(process, name)
    outputs[name] = stream.read()
    stream.close()


def _orphans_cpu_seconds() -> float:
    """Wait for processes that the measured one left behind, and say what they worked."""
    total = 0.0
    while True:
        try:
            _, _, usage = os.wait3(0)
        except ChildProcessError:
            return total
        total += usage.ru_utime + usage.ru_stime


def _busy_seconds() -> float:
    """CPU seconds that the machine has worked since it started."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = (int(word) for word in file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICK


class _Sampler(threading.Thread):
    """Looks at a process tree until told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.samples: list[Sample] = []
        self._pid = pid
        self._done = threading.Event()

    def run(self) -> None:
        turn = 0
        while not self._done.wait(RSS_INTERVAL_SECONDS):
            tree = _tree(self._pid)
            sizes = [size for pid in tree if (size := _rss(pid))]
            share = sum(_pss(pid) for pid in tree) if turn % PSS_EVERY == 0 else None
            self.samples.append(Sample(time.monotonic(), sum(sizes), share, max(sizes, default=0)))
            turn += 1

    def stop(self) -> None:
        self._done.set()
        self.join()


def _tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for parent in found:
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(word) for word in (task / "children").read_text(encoding="ascii").split()]
        except OSError:
            continue
    return found


def _rss(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
