"""`cxrdata train`: an experiment, from a catalog or from a bundle, with the pixels of an image store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cxrdata.cli.options import catalog_option, example, quiet_option
from cxrdata.cli.output import progress, remark, tell_of
from cxrdata.errors import CxrError
from cxrdata.wording import counted
from cxrtrain.cli import require_torch

if TYPE_CHECKING:
    from cxrtrain.bundle import Bundle
    from cxrtrain.config import Experiment

STORE_VARIABLE = "CXRDATA_STORE"


def store_option(function: click.decorators.FC) -> click.decorators.FC:
    """`--store`, as `store`."""
    return click.option(
        "--store",
        type=click.Path(path_type=Path, file_okay=False),
        help=f"Image store (`cxrdata images build`); default ${STORE_VARIABLE}.",
    )(function)


def said_store(store: Path | None) -> Path:
    """The image store that was named. Raises CxrError CXR-502."""
    named = store or (Path(os.environ[STORE_VARIABLE]) if os.environ.get(STORE_VARIABLE) else None)
    if named is None:
        fix = f"--store STORE, or ${STORE_VARIABLE}; `cxrdata images build` makes one"
        raise CxrError("CXR-502", "nothing says where the pixels are", fix=fix)
    return named


def said_fold(text: str | None) -> tuple[int, int] | None:
    """`--fold K/N`, counted from 1, as (k, n) from 0. Raises CxrError CXR-502."""
    if text is None:
        return None
    first, _, last = text.partition("/")
    if not first.isdecimal() or not last.isdecimal() or not 1 <= int(first) <= int(last):
        raise CxrError("CXR-502", f"--fold needs K/N, got {text!r}", fix="for example --fold 1/5, K counted from 1")
    return int(first) - 1, int(last)


@click.command(
    short_help="Train a model: an experiment on a split.",
    epilog=example("cxrdata train quick --store store --out runs/quick --set loop.epochs=3"),
)
@click.argument("experiment", required=False)
@click.option("--list", "list_them", is_flag=True, help="List the experiments that ship.")
@click.option("--show", is_flag=True, help="Print the experiment, all defaults and --set included, and stop.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a value: optim.lr=1e-4; repeatable.")
@click.option("--split", metavar="NAME", help="The split to train on; default what the experiment names.")
@click.option(
    "--fold",
    metavar="K/N",
    help="Validate on the K-th of the split's N folds (1/N is its fold 0), train on the others.",
)
@click.option("--weights", metavar="WHAT", help="Start from imagenet, none, a FILE, or run:FOLDER.")
@store_option
@click.option("--bundle", type=click.Path(path_type=Path), help="Take a prepared bundle: no catalog is needed.")
@click.option("--prepare", type=click.Path(path_type=Path), help="Only write the bundle there, for another machine.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder; default runs/EXPERIMENT.")
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1; default a GPU where there is one.")
@click.option("--skip-missing", is_flag=True, help="Leave out images that the store lacks.")
@quiet_option
@catalog_option
def train(
    experiment: str | None,
    list_them: bool,
    show: bool,
    sets: tuple[str, ...],
    split: str | None,
    fold: str | None,
    weights: str | None,
    store: Path | None,
    bundle: Path | None,
    prepare: Path | None,
    out: Path | None,
    device: str | None,
    skip_missing: bool,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Train EXPERIMENT (one that ships, or a TOML file) on a split of the catalog.

    The same command again goes on from the last checkpoint. A GPU node without the catalog: write the bundle with
    --prepare, and train there with --bundle. Several GPUs: torchrun --nproc-per-node 4 -m cxrdata train … --bundle …
    """
    from cxrtrain.config_file import experiment_names, read_experiment, to_toml

    if list_them:
        for name in experiment_names():
            click.echo(f"{name:32s}{read_experiment(name).title}")
        return
    if experiment is None:
        raise CxrError("CXR-502", "no experiment is named", fix="`cxrdata train --list` shows those that ship")
    sets = (*sets, *((f"model.weights={weights}",) if weights else ()), *((f"data.split={split}",) if split else ()))
    wish = read_experiment(experiment, sets)
    if show:
        click.echo(to_toml(wish), nl=False)
        return
    if prepare is not None:
        made = _prepare(wish, prepare, catalog, quiet=quiet)
        remark(f"{counted(len(made), 'image')} in {prepare}: {_counts(made)}", quiet=quiet)
        return
    require_torch()
    from cxrtrain.start import start

    place = out or Path("runs") / wish.name
    with progress("training", quiet=quiet) as tell:
        run = start(
            wish,
            store=said_store(store),
            out=place,
            bundle=bundle,
            prepare=lambda folder: _prepare(wish, folder, catalog, quiet=quiet),
            fold=said_fold(fold),
            device=device,
            skip_missing=skip_missing,
            tell=tell,
            say=lambda text: remark(text, quiet=quiet),
        )
    if int(os.environ.get("RANK", "0")) == 0:
        click.echo(f"{run.run_id}  {run.about['state']}  {place}")


def _prepare(wish: Experiment, folder: Path, catalog: Path | None, *, quiet: bool) -> Bundle:
    """The bundle of an experiment from the catalog."""
    import cxrdata
    from cxrtrain.prepare import prepare

    with cxrdata.open(catalog) as opened:
        tell_of(opened, quiet=quiet)
        return prepare(opened, wish, folder)


def _counts(bundle: Bundle) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in bundle.parts().items())
