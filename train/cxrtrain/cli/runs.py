"""`cxrdata runs`: what was trained, on which split, how far; and runs made of checkpoints from elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from cxrdata.cli.options import example, quiet_option, rows_options
from cxrdata.cli.output import emit, remark
from cxrtrain.cli import require_torch


@click.group(short_help="What was trained, and how far.", epilog=example("cxrdata runs list runs"))
def runs() -> None:
    """Runs of `cxrdata train`: list those below a folder, show one, make one of a checkpoint from elsewhere."""


@runs.command("list", short_help="The runs below a folder.", epilog=example("cxrdata runs list runs --format csv"))
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("runs"))
@rows_options
@quiet_option
def list_command(folder: Path, row_format: str, limit: int | None, out: Path | None, quiet: bool) -> None:
    """List the runs in and below DIR (default ./runs): experiment, split, state, epochs, the best loss and its metrics."""
    import polars as pl

    from cxrtrain.runs import COLUMNS, list_runs

    schema = {name: getattr(pl, kind)() for name, kind in COLUMNS.items()}
    frame = pl.DataFrame(list_runs(folder), schema=schema, orient="row")
    emit(frame, row_format=row_format, limit=limit, out=out, quiet=quiet)


@runs.command("show", short_help="One run, at length.", epilog=example("cxrdata runs show runs/quick"))
@click.argument("run", type=click.Path(path_type=Path))
def show_command(run: Path) -> None:
    """Show RUN: what it was trained on, where it stands, its last epochs, and the whole of its experiment."""
    from cxrtrain.run_folder import open_run
    from cxrtrain.runs import told

    click.echo(told(open_run(run)), nl=False)


@runs.command(
    "import",
    short_help="Make a run of a checkpoint from elsewhere.",
    epilog=example("cxrdata runs import checkpoint.ckpt --out runs/theirs"),
)
@click.argument("checkpoint", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The run's folder.")
@quiet_option
def import_command(checkpoint: Path, out: Path, quiet: bool) -> None:
    """Make a run of a checkpoint from elsewhere, so that `cxrdata predict` and `embed` take it.

    Known by the names of their tensors: the hub weights of ped_vs_adults-cxr, chexploration's Lightning files, chexnet's
    pickled model. Only tensors and plain containers are read: no code of the file is ever run.
    """
    require_torch()
    from cxrtrain.importing import import_run

    run = import_run(checkpoint, out, say=lambda text: remark(text, quiet=quiet))
    click.echo(f"{run.run_id}  {run.about['state']}  {out}")
