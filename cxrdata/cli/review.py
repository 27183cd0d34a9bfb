"""`cxrdata review`: the public imaging datasets, and how old their patients are."""

from __future__ import annotations

from pathlib import Path

import click

from cxrdata.cli.options import FORMATS, example, quiet_option, rows_options
from cxrdata.cli.output import emit, progress, remark

RULES = ("published",)


@click.group(epilog=example("cxrdata review summary"))
def review() -> None:
    """Which public medical imaging datasets exist, and how old their patients are.

    The facts ship with cxrdata; the catalog has them as the table open_datasets. After Hua et al., medRxiv
    2025.06.06.25328913.
    """


@review.command("import", epilog=example("cxrdata review import public_datasets_metadata.xlsx --out facts.tsv"))
@click.argument("workbook", type=click.Path(path_type=Path))
@click.option(
    "--out",
    "place",
    type=click.Path(path_type=Path),
    required=True,
    help="File (.tsv) for the facts, or a folder for open_datasets.tsv.",
)
@click.option(
    "--format",
    "row_format",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How the cells that do not parse are printed.",
)
@quiet_option
def import_command(workbook: Path, place: Path, row_format: str, quiet: bool) -> None:
    """Make the typed facts from the published WORKBOOK.

    Sheets are found by name, columns by title. Each cell that does not parse is printed with its sheet and place; its
    fact is null or kept as stated, and the rest of the row stays.
    """
    from cxrdata.review.facts import import_workbook, write_facts

    with progress("reading the workbook", quiet=quiet):
        made = import_workbook(workbook)
    written = write_facts(made, place)
    emit(made.problems, row_format=row_format, limit=None, quiet=quiet)
    remark(made.sentence(), quiet=quiet)
    remark(f"facts written to {written}", quiet=quiet)


@review.command(epilog=example("cxrdata review summary --rules published --format csv"))
@click.argument("workbook", required=False, type=click.Path(path_type=Path))
@click.option(
    "--rules",
    type=click.Choice(RULES),
    default="published",
    show_default=True,
    help="By which rules the facts are counted.",
)
@quiet_option
@rows_options
def summary(
    workbook: Path | None,
    rules: str,  # noqa: ARG001 - only the published rules exist so far
    quiet: bool,
    row_format: str,
    limit: int | None,
    out: Path | None,
) -> None:
    """Count countries, institutions, datasets, patients and children by source.

    Of the facts that ship, or of a WORKBOOK (.xlsx) or of a file of facts (.tsv) that `review import` made.
    """
    from cxrdata.review.facts import load_facts
    from cxrdata.review.published import summary as published

    facts, remarks = load_facts(workbook)
    for text in remarks:
        remark(text, quiet=quiet)
    emit(published(facts), row_format=row_format, limit=limit, out=out, quiet=quiet)
