"""`cxrdata sql`: questions in SQL, read-only."""

from __future__ import annotations

from pathlib import Path

import click

from cxrdata.cli.options import catalog_option, example, limit_options, quiet_option, rows_options
from cxrdata.cli.output import emit, tell_of
from cxrdata.errors import CxrError


@click.command(epilog=example('cxrdata sql "SELECT dataset, count(*) AS images FROM images GROUP BY ALL"'))
@click.argument("query", required=False)
@click.option("--file", "query_file", type=click.Path(path_type=Path), help="Read the query from a file.")
@click.option("--named", metavar="NAME", help="Run a query that ships with cxrdata; --list shows them.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="Value for $K in the query; repeatable.")
@click.option(
    "--with",
    "sides",
    multiple=True,
    metavar="NAME=FILE",
    help="Rows of a CSV or Parquet file as table NAME; repeatable.",
)
@click.option("--list", "list_queries", is_flag=True, help="List the named queries.")
@limit_options("the query")
@rows_options
@quiet_option
@catalog_option
def sql(
    query: str | None,
    query_file: Path | None,
    named: str | None,
    params: tuple[str, ...],
    sides: tuple[str, ...],
    list_queries: bool,
    timeout: float,
    memory: str,
    row_format: str,
    limit: int | None,
    out: Path | None,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Ask the catalog in SQL (DuckDB's dialect). The session is read-only and closed to files.

    Relations are listed by `cxrdata describe`; splits and side files (--with) are relations too. The same from
    Python: cxrdata.open().sql(query, params, name=frame).
    """
    from cxrdata.store.queries import list_named, load_named, typed

    if list_queries:
        emit(list_named(), row_format=row_format, limit=limit, out=out)
        return
    if sum(given is not None for given in (query, query_file, named)) != 1:
        raise CxrError(
            "CXR-502", "give one of QUERY, --file FILE or --named NAME", fix="`cxrdata sql --list` shows named queries"
        )
    values = dict(_pair(text, "--param") for text in params)
    parameters = {name: typed(value) for name, value in values.items()}
    if query_file is not None:
        query = _read_query(query_file)
    elif named is not None:
        query, _ = load_named(named, parameters)  # an unknown name is told without a catalog
    assert query is not None
    import cxrdata

    frames = {name: _side(Path(path)) for name, path in (_pair(text, "--with") for text in sides)}
    with cxrdata.open(catalog, memory=memory) as opened:
        if named is not None:
            query, parameters = load_named(named, parameters, opened)
        rows = opened.sql(query, parameters, seconds=timeout or None, **frames)
        tell_of(opened, quiet=quiet)
        emit(rows, row_format=row_format, limit=limit, out=out, quiet=quiet)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        raise CxrError(
            "CXR-502", f"{option} needs NAME=VALUE, got {text!r}", fix=f"for example {option} dataset=nih_cxr14"
        )
    return name, value


def _read_query(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CxrError(
            "CXR-101",
            "the query file cannot be read",
            where=str(path),
            fix="name a UTF-8 text file that holds one query",
        ) from error


def _side(path: Path) -> object:
    from cxrdata.sidefile import read_side_file

    return read_side_file(path)
