"""Options that several commands share, and how they are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cxrdata.errors import CxrError

FORMATS = ("table", "csv", "json", "ndjson", "markdown")
NAMES = "A,B"  # how an option that takes names separated by commas is shown
POLICIES = ("raw", "zeros", "ones", "ignore")
Command = Callable[..., Any]


def catalog_option(function: Command) -> Command:
    """`-c/--catalog PATH`, as the parameter `catalog` (None: the default place)."""
    return click.option(
        "-c",
        "--catalog",
        type=click.Path(path_type=Path),
        default=None,
        help="Catalog folder; default $CXRDATA_CATALOG, else ./cxr-catalog.",
    )(function)


def rows_options(function: Command) -> Command:
    """`--format`, `--limit`, `--out` of commands that print rows, as `row_format`, `limit`, `out`."""
    for option in (
        click.option(
            "--out",
            type=click.Path(path_type=Path, dir_okay=False),
            default=None,
            help="Write all rows to a file; format by suffix, also .parquet.",
        ),
        click.option(
            "--limit",
            type=click.IntRange(min=0),
            default=None,
            help="Print at most so many rows (table: 50 unless said).",
        ),
        click.option(
            "--format",
            "row_format",
            type=click.Choice(FORMATS),
            default="table",
            show_default=True,
            help="How rows are printed.",
        ),
    ):
        function = option(function)
    return function


def timeout_option(what: str) -> Callable[[Command], Command]:
    """`--timeout` of commands that run SQL; `what` it stops, in words."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        default=60.0,
        show_default=True,
        help=f"Stop {what} after so many seconds; 0 never.",
    )


def limit_options(what: str) -> Callable[[Command], Command]:
    """`--timeout` and `--memory` of commands that run SQL; `what` they limit, in words."""
    memory = click.option("--memory", default="4GB", show_default=True, help=f"Most memory {what} may use.")
    return lambda function: timeout_option(what)(memory(function))


def policy_option(function: Command) -> Command:
    """`--policy` of commands whose attributes may be findings."""
    return click.option(
        "--policy",
        type=click.Choice(POLICIES),
        default="ignore",
        show_default=True,
        help="How labels are read where they are attributes.",
    )(function)


def overlays_option(function: Command) -> Command:
    """`--overlays`: a folder of vocabulary files and, in its `catalog/`, further datasets."""
    return click.option(
        "--overlays",
        type=click.Path(path_type=Path),
        help="Folder of vocabulary files that add to ours or win over them.",
    )(function)


def engine_options(function: Command) -> Command:
    """`--engine` and `--address` of commands whose work can be done on several machines."""
    address = click.option("--address", help="Of --engine ray: join this cluster (auto: the one running here).")
    engine = click.option(
        "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Who works."
    )
    return engine(address(function))


def quiet_option(function: Command) -> Command:
    """`--quiet`: no progress, no remarks; errors only."""
    return click.option("-q", "--quiet", is_flag=True, help="No progress and no remarks, only errors.")(function)


def example(text: str) -> str:
    """The end of a command's help: something to run."""
    return f"\b\nExample:\n  {text}"


def names(text: str | None) -> tuple[str, ...]:
    """Names separated by commas, as options take them.

    Raises CxrError CXR-502 where an option was given and names nothing, as with an empty variable of a shell."""
    found = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    if text is not None and not found:
        raise CxrError("CXR-502", "an option that takes names was given none", fix="name something, or leave it out")
    return found
