"""`cxrdata describe` and `cxrdata rejects`: what is in a catalog, and what was refused."""

from __future__ import annotations

from pathlib import Path

import click

from cxrdata.cli.options import catalog_option, example, quiet_option, rows_options
from cxrdata.cli.output import emit, tell_of


@click.command(epilog=example("cxrdata describe images"))
@click.argument("table", required=False)
@click.option("--all", "storage", is_flag=True, help="Also the wide tables that other relations are views of.")
@rows_options
@quiet_option
@catalog_option
def describe(
    table: str | None,
    storage: bool,
    row_format: str,
    limit: int | None,
    out: Path | None,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """List the relations of the catalog; with TABLE, its columns: types, what they mean, how much is missing, least and
    greatest or most frequent values. Distinct values are estimated in relations of more than 200,000 rows. The same from Python: cxrdata.describe.describe(catalog, table).
    """
    import cxrdata
    from cxrdata.describe import describe as described

    with cxrdata.open(catalog) as opened:
        rows = described(opened, table, storage=storage)
        tell_of(opened, quiet=quiet)
    emit(rows, row_format=row_format, limit=limit, out=out, quiet=quiet)


@click.command(epilog=example("cxrdata rejects --dataset nih --kind row"))
@click.option("--dataset", metavar="NAME", help="Only of this dataset.")
@click.option("--code", metavar="CXR-NNN", help="Only this code.")
@click.option("--kind", type=click.Choice(["row", "value"]), help="Rows that were refused, or values that were nulled.")
@rows_options
@quiet_option
@catalog_option
def rejects(
    dataset: str | None,
    code: str | None,
    kind: str | None,
    row_format: str,
    limit: int | None,
    out: Path | None,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """List what the build refused, with file, line, value and reason. Counted: cxrdata sql --named rejects_summary."""
    import cxrdata
    from cxrdata.describe import rejects as rejected

    with cxrdata.open(catalog) as opened:
        rows = rejected(opened, dataset=dataset, code=code, kind=kind)
        tell_of(opened, quiet=quiet)
    emit(rows, row_format=row_format, limit=limit, out=out, quiet=quiet)
