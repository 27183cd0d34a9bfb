"""`python -m benchmarks.run [--only NAME,…] [--data DIR] [--runs N] [--scale F] [--write]`."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import audit, build, commands, images, report, splits
from benchmarks.data import SCALE, prepare, size_bytes
from benchmarks.measure import Figure, run

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
PARTS = ("build", "plus", "help", "queries", "looks", "splits", "audit", "images")


def main() -> None:
    """Measure what is asked for, print it, and write the page if wanted."""
    arguments = _arguments()
    parts = arguments.only.split(",")
    if unknown := sorted(set(parts) - set(PARTS)):
        raise SystemExit(f"no such part: {unknown[0]}; parts: {', '.join(PARTS)}")
    # The figures are for two cores, also on a machine that has more.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: build.CORES])
    with ExitStack() as stack:
        folder = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cxrdata-bench-")))
        text = _measure(parts, folder, scale=arguments.scale, runs=arguments.runs)
    if arguments.write:
        PAGE.write_text(text, encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure cxrdata beside the physical limit and a notebook's way.")
    parser.add_argument("--only", default=",".join(PARTS), metavar="NAME,…", help=f"parts: {', '.join(PARTS)}")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="keep synthetic data and catalogs here; default: a folder that is removed",
    )
    parser.add_argument("--scale", type=float, default=SCALE, help="size of the synthetic data; 1 is the official one")
    parser.add_argument("--runs", type=int, default=3, help="runs of each figure")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    return parser.parse_args()


def _measure(parts: list[str], folder: Path, *, scale: float, runs: int) -> str:
    """Measure, printing each section as it is done; returns the page."""
    data = prepare(folder, scale=scale, plus=False)
    catalog, plus_catalog = folder / f"catalog-{scale:g}", folder / f"catalog-{scale:g}-plus"
    texts = [
        report.HOW_TO,
        f"{report.machine()} Scale {scale:g}, {runs} runs; source files {size_bytes(data) / 1e6:,.0f} MB, DICOM files apart.",
    ]
    sections: dict[str, list[Figure]] = {}

    def section(title: str, figures: list[Figure], *, memory: bool = False) -> None:
        sections[title] = figures
        texts.append(report.figures_table(title, figures, memory=memory))
        print(texts[-1], end="\n\n", flush=True)

    print(texts[1], end="\n\n", flush=True)
    if "build" in parts:
        section("Building the catalog", build.all_six(data, catalog, runs=runs), memory=True)
        texts.append(report.phases_table(build.phases(data, catalog)))
        print(texts[-1], end="\n\n", flush=True)
        section("Nothing changed", [build.unchanged(data, catalog, runs=runs)], memory=True)
    elif not (catalog / "CURRENT").is_file():
        run(build.build_command(catalog, "--root", data))
    if "plus" in parts:
        section("With CheXpert Plus", build.with_plus(folder, data, plus_catalog, scale=scale, runs=runs), memory=True)
    others: dict[str, tuple[str, Callable[[], list[Figure]], bool]] = {
        "help": ("Help", lambda: commands.helps(runs=runs), False),
        "queries": ("Named queries", lambda: commands.queries(catalog, runs=runs), False),
        "looks": ("Other commands", lambda: commands.looks(catalog, runs=runs), True),
        "splits": ("Splitting a million images", lambda: splits.figures(runs=runs), True),
        "audit": ("Auditing a model", lambda: audit.figures(runs=runs), True),
        "images": ("Images", lambda: images.figures(runs=runs), True),
    }
    for part, (title, figures, memory) in others.items():
        if part in parts:
            section(title, figures(), memory=memory)
    texts.insert(2, report.summary(sections))
    print(texts[2], flush=True)
    return "\n\n".join(texts) + "\n"


if __name__ == "__main__":
    main()
