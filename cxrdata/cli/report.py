"""`cxrdata report`: what is in the catalog, as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from cxrdata.cli.options import catalog_option, example, quiet_option
from cxrdata.cli.output import check_places, progress, remark, tell_of, write_text
from cxrdata.errors import CxrError
from cxrdata.small_cells import MIN_CELL


@click.command(epilog=example("cxrdata report --out report.html --figures figures"))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The HTML file to write.",
)
@click.option(
    "--figures",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Write each figure here too, as SVG and PNG, and its table as CSV.",
)
@click.option(
    "--min-cell",
    type=click.IntRange(min=1),
    default=MIN_CELL,
    show_default=True,
    help="Mask counts of fewer persons, and what they would follow from; 1 masks none.",
)
@click.option("--split", "splits", multiple=True, metavar="NAME", help="Tell of this split only; can be repeated.")
@click.option("--no-splits", is_flag=True, help="Tell of no split.")
@click.option("--title", default=None, help="The title of the page.")
@quiet_option
@catalog_option
def report(
    out: Path,
    figures: Path | None,
    min_cell: int,
    splits: tuple[str, ...],
    no_splits: bool,
    title: str | None,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Write what is in the catalog as one HTML file that needs no network.

    Contents and terms, ages by dataset with the children made visible, sex, race and ethnicity, views, prevalence of the
    labels with 95 % intervals by group, what is missing, ledger and rejects, and the splits. Only aggregates: small counts
    are masked, and others with them, so that none follows from a total. Needs the extra cxrdata[report].
    """
    import cxrdata
    from cxrdata.report.catalog_report import html_report
    from cxrdata.report.figure import FORMATS, save_figures

    if splits and no_splits:
        raise CxrError("CXR-502", "--split and --no-splits contradict each other", fix="give one of them")
    check_places(out, (".html", ".htm"), figures)
    wanted = () if no_splits else (splits or None)
    with cxrdata.open(catalog) as opened, progress("counting", quiet=quiet):
        page, text = html_report(opened, min_cell=min_cell, splits=wanted, title=title)
        tell_of(opened, quiet=quiet)
    write_text(text, out)
    remark(f"report written to {out}", quiet=quiet)
    if figures is not None:
        with progress("drawing", quiet=quiet):
            written = save_figures(page.figures, figures, formats=FORMATS)
        remark(f"{len(written)} files written to {figures}", quiet=quiet)
