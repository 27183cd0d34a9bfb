"""`cxrdata review`: the public imaging datasets, and how old their patients are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxrdata.cli.options import FORMATS, example, quiet_option, rows_options
from cxrdata.cli.output import emit, progress, remark
from cxrdata.review.tables import RULES, TABLES, ReviewTable, make_table

_SOURCES = (
    "Of the facts that ship, or of FACTS: the published workbook (.xlsx), or a file of facts (.tsv) that `review import` "
    "or `review add` wrote."
)


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
    help="File (.tsv) for the facts, or a folder for open_datasets.tsv; papers and lists are written beside it.",
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

    Sheets are found by name, columns by title, and every header is checked. Each cell that does not parse is printed
    with its sheet and place; its fact is null or kept as stated, and the rest of the row stays.
    """
    from cxrdata.review.facts import import_workbook, write_facts

    with progress("reading the workbook", quiet=quiet):
        made = import_workbook(workbook)
    written = write_facts(made, place)
    emit(made.problems, row_format=row_format, limit=None, quiet=quiet)
    remark(made.sentence(), quiet=quiet)
    remark(f"facts written to {written}", quiet=quiet)


@review.command(epilog=example("cxrdata review add my_datasets.toml --to facts.tsv"))
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--facts",
    type=click.Path(path_type=Path),
    default=None,
    help="Add to these facts (.tsv or .xlsx) rather than to those that ship.",
)
@click.option("--to", "place", type=click.Path(path_type=Path), required=True, help="File (.tsv) for all facts.")
@quiet_option
def add(file: Path, facts: Path | None, place: Path, quiet: bool) -> None:
    """Add the datasets of FILE to the facts.

    FILE is TOML with a [[dataset]] for each, its keys the columns of the table open_datasets (see
    docs/tables.md), or a .tsv of such columns. What follows from other facts may be left out. A dataset that is listed
    under this name or another is refused; `again = true` adds it as a further entry of that dataset.

    \b
    [[dataset]]
    dataset_name = "Chest of Lima"
    source = "collections"        # or challenges, benchmarks, highly_cited
    modalities = ["X-ray"]
    patients_stated = 1200
    age_class = "both"            # or adult, children, adult_prenatal
    adult_share_low = 0.9         # more than 90 % are adults
    """
    from cxrdata.review.additions import add_datasets
    from cxrdata.wording import counted

    added = add_datasets(file, place, facts=facts)
    for text in added.remarks:
        remark(text, quiet=quiet)
    remark(f"{counted(added.datasets.height, 'dataset')} added, facts written to {place}", quiet=quiet)


def _table_command(table: ReviewTable) -> click.Command:
    """The command of one table: all of them take the same arguments."""

    def run(
        source: Path | None,
        rules: str,
        figures: Path | None,
        quiet: bool,
        row_format: str,
        limit: int | None,
        out: Path | None,
    ) -> None:
        from cxrdata.review.facts import load_facts

        facts, remarks = load_facts(source, lists=table.lists)
        for text in remarks:
            remark(text, quiet=quiet)
        emit(make_table(table.name, facts, rules), row_format=row_format, limit=limit, out=out, quiet=quiet)
        if figures is not None:
            from cxrdata.report.figure import save_figures
            from cxrdata.report.review_figures import review_figures

            drawn = review_figures(facts, rules, only=table.name)
            for path in save_figures(drawn, figures):
                remark(f"figure written to {path}", quiet=quiet)

    run.__doc__ = f"{table.title}\n\n{table.about} {_SOURCES}"
    command: Any = run
    for option in (
        click.option(
            "--figures", type=click.Path(path_type=Path), default=None, help="Draw it into this folder, as SVG and PNG."
        ),
        click.option(
            "--rules",
            type=click.Choice(RULES),
            default="published",
            show_default=True,
            help="published: as counted in the publication; careful: bounds, what is unknown, near-duplicates once.",
        ),
        click.argument("source", metavar="[FACTS]", required=False, type=click.Path(path_type=Path)),
    ):
        command = option(command)
    ending = example(f"cxrdata review {table.name} --rules careful --format csv")
    made: click.Command = click.command(table.name, epilog=ending)(quiet_option(rows_options(command)))
    return made


for _table in TABLES.values():
    review.add_command(_table_command(_table))
