"""`cxrdata cohort`: who is in a study, step by step, and what each step leaves."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cxrdata.cli.options import catalog_option, example, quiet_option, rows_options
from cxrdata.cli.output import emit, progress, remark

DRAWN = (".svg", ".png")


@click.group(epilog=example("cxrdata cohort funnel chexnet_nih"))
def cohort() -> None:
    """Cohorts as named SQL steps: those of published studies, by name, and your own files, by path."""


@cohort.command("list", epilog=example("cxrdata cohort list"))
@rows_options
def list_command(row_format: str, limit: int | None, out: Path | None) -> None:
    """List the cohorts that ship, with the images that were published."""
    from cxrdata.splits.cohorts import list_cohorts

    emit(list_cohorts(), row_format=row_format, limit=limit, out=out)


@cohort.command(epilog=example("cxrdata cohort show chexploration_chexpert"))
@click.argument("name")
def show(name: str) -> None:
    """Print a cohort's file: what it is, its caveats, its steps. Copy it to begin your own."""
    from cxrdata.splits.cohorts import load_cohort

    sys.stdout.write(load_cohort(name).text)


@cohort.command(epilog=example("cxrdata cohort funnel chexploration_chexpert --out funnel.svg"))
@click.argument("name")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Stop a step after so many seconds; 0 never.",
)
@click.option("--memory", default="4GB", show_default=True, help="Most memory a step may use.")
@quiet_option
@rows_options
@catalog_option
def funnel(
    name: str,
    timeout: float,
    memory: str,
    quiet: bool,
    row_format: str,
    limit: int | None,
    out: Path | None,
    catalog: Path | None,
) -> None:
    """Show what each step of a cohort leaves against what was published: images and patients, then images by race and sex.

    NAME is a cohort that ships or the path of a file. --out FILE.svg or FILE.png draws the flow diagram that papers print
    (it needs the extra cxrdata[report]). The same from Python: cxrdata.open().funnel(name).
    """
    import cxrdata
    from cxrdata.splits.cohorts import load_cohort
    from cxrdata.splits.funnel import funnel as count

    wanted = load_cohort(name)
    with cxrdata.open(catalog, memory=memory) as opened, progress("running the cohort", quiet=quiet):
        found = count(opened, wanted, seconds=timeout or None)
    for text in found.remarks:
        remark(text, quiet=quiet)
    if out is not None and out.suffix.lower() in DRAWN:
        from cxrdata.report.flow_diagram import draw_flow_diagram

        draw_flow_diagram(found, out)
        remark(f"flow diagram written to {out}", quiet=quiet)
        return
    frame = found.frame
    if out is None and row_format == "table":  # for people: a group of whom there is nobody says nothing
        frame = frame.drop(
            name for name in frame.columns if name.startswith(("race_", "sex_")) and not frame[name].sum()
        )
    emit(frame, row_format=row_format, limit=limit, out=out)
