"""Figures as Markdown: the same text for the terminal and for the page in `docs/`."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.build import Phase
from benchmarks.measure import Figure

_VERSIONS = ("polars", "duckdb", "pyarrow", "pandera", "pandas", "numpy", "cxrdata")
_BUSY = 0.5  # cores; above it a figure says more of the neighbours than of us
HOW_TO = """# Benchmarks

`make bench` measures; `python -m benchmarks.run --write` also writes this page. `--only build,plus,help,queries,looks,splits,audit,images`
chooses, `--data DIR` keeps the synthetic data (about 2 GB with CheXpert Plus) for the next time.

The data are `cxrdata synth --scale 1`: six datasets at official size. A build is a whole process on two cores, with
the DICOM headers cached and nothing else. Seconds are the median of the runs, wall clock. Memory is the highest sum
over the process tree, shared pages counted once. *Others* says how many cores other processes kept busy meanwhile: a
figure with more than half a core beside it is too high. The ratio is the time over that of the first line of its table."""


def _megabytes(amount: int) -> str:
    """Blank where it was not looked at."""
    return f"{amount / 1e6:,.0f}" if amount else ""


def machine() -> str:
    """What it was measured on, without a host's or user's name."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    kilobytes = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    versions = ", ".join(f"{name} {version(name)}" for name in _VERSIONS)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}. {model}, {os.cpu_count()} cores of which {len(os.sched_getaffinity(0))} used, {kilobytes / 2**20:.0f} GiB memory, "
        f"{platform.system()} {platform.machine()}. Python {platform.python_version()}, {versions}."
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def figures_table(title: str, figures: Sequence[Figure], *, memory: bool) -> str:
    """One section: a table of figures, each with its ratio to the first."""
    measured = [figure for figure in figures if figure.runs]
    first = measured[0].seconds if measured else 1.0
    header = [
        "",
        "seconds",
        "fastest, slowest",
        "CPU seconds",
        *(["memory, MB", "largest process, MB"] if memory else []),
        "ratio",
        "others",
        "wanted",
    ]
    rows = []
    for figure in figures:
        if not figure.runs:
            rows.append([figure.name, *[""] * (len(header) - 2), figure.note])
            continue
        spread = f"{min(run.seconds for run in figure.runs):.2f}, {max(run.seconds for run in figure.runs):.2f}"
        sizes = (
            [_megabytes(figure.peak_bytes), _megabytes(max(run.peak_process for run in figure.runs))] if memory else []
        )
        others = f"{figure.others:.1f}" + (" (busy)" if figure.others > _BUSY else "")
        rows.append(
            [
                figure.name,
                f"{figure.seconds:.2f}",
                spread,
                f"{figure.cpu_seconds:.2f}",
                *sizes,
                f"{figure.seconds / first:.2f}",
                others,
                wanted(figure),
            ]
        )
    return f"## {title}\n\n{_table(header, rows)}"


def wanted(figure: Figure) -> str:
    """What was asked for, and whether it is met."""
    if figure.limit is None:
        return figure.note
    parts = [f"≤ {figure.limit:g} s: {'met' if figure.seconds <= figure.limit else 'missed'}"]
    if figure.aim is not None:
        parts.append(f"aim {figure.aim:g} s: {'met' if figure.seconds <= figure.aim else 'missed'}")
    if figure.limit_bytes is not None:
        parts.append(
            f"≤ {figure.limit_bytes / 1e9:g} GB: {'met' if figure.peak_bytes <= figure.limit_bytes else 'missed'}"
        )
    return ", ".join(parts)


def phases_table(phases: Sequence[Phase]) -> str:
    """Where a build's time goes, and the memory in each phase."""
    rows = [[phase.message, f"{phase.seconds:.2f}", f"{phase.peak_bytes / 1e6:,.0f}"] for phase in phases]
    note = "From each message to the next; datasets are read by two processes at once, and told when finished."
    return (
        f"## Where a build spends its time\n\n{note}\n\n{_table(['after the message', 'seconds', 'memory, MB'], rows)}"
    )


def summary(sections: dict[str, list[Figure]]) -> str:
    """Which wishes are met and which are not, in a list."""
    lines = [
        f"- {figure.name}: {figure.seconds:.2f} s; {wanted(figure)}"
        for figures in sections.values()
        for figure in figures
        if figure.runs and figure.limit
    ]
    missed = sum("missed" in line for line in lines)
    return f"## What was wanted\n\n{len(lines) - missed} of {len(lines)} are met in full.\n\n" + "\n".join(lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in (header, *rows)) for at in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (header, *rows)
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
