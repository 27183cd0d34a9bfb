"""`cxrdata demo`: the whole road on synthetic data."""

from __future__ import annotations

from pathlib import Path

import click

from cxrdata.cli.options import example


@click.command(epilog=example("cxrdata demo"))
@click.argument(
    "folder",
    metavar="[DIR]",
    required=False,
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("cxrdata-demo"),
)
@click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True, max=1),
    default=0.01,
    show_default=True,
    help="Size of the synthetic data.",
)
@click.option(
    "--train", is_flag=True, help="Go on to a model: drawn chests, training, predictions, audit (needs cxrdata[train])."
)
def demo(folder: Path, scale: float, train: bool) -> None:
    """Walk the whole road in DIR (default ./cxrdata-demo): synthetic data, a catalog, three questions, and a file
    with a planted leak. Every step is a command that you can run yourself; no network, under a minute.
    With --train it goes on to a small net, trained on drawn chests, and what an audit says of it: two minutes more.
    """
    from cxrdata.demo import run_demo

    run_demo(folder, scale=scale, train=train)
