"""`cxrdata dne`: one noise for all images that hides an attribute from a frozen backbone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cxrdata.cli.options import FORMATS, catalog_option, example, names, quiet_option
from cxrdata.cli.output import emit, progress, remark
from cxrdata.errors import CxrError
from cxrtrain.cli import require_torch
from cxrtrain.cli.train import STORE_VARIABLE, store_option

if TYPE_CHECKING:
    import polars as pl

    from cxrtrain.dne.config import DneExperiment
    from cxrtrain.dne.ground import Box

_SHOWN = ("fairness.csv", "hiding.csv")
_STEP_OF = {"run": None, "probe": "probe", "fit": "fit", "finetune": "finetune", "evaluate": "evaluate"}


@click.group("dne", short_help="Hide an attribute from a frozen model by one noise.")
def dne() -> None:
    """Debiased noise editing: one noise for all images, after which a frozen backbone no longer shows an attribute."""


def dne_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that all commands of `dne` share, so that a step by hand is the same step as in `run`."""
    options: list[Callable[..., Any]] = [
        click.argument("experiment", required=False),
        click.option("--list", "list_them", is_flag=True, help="List the experiments that ship."),
        click.option("--show", is_flag=True, help="Print the experiment, all defaults and --set included, and stop."),
        click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a value: noise.limit=0.1; repeatable."),
        click.option("--access", metavar="A,B", help="How the noise is fitted: white (gradients), black (none); both may be named."),
        click.option("--objective", metavar="A,B", help="What it is fitted to: uniform, negative_ce; both may be named."),
        click.option("--noise", type=click.Path(path_type=Path), help="Take a published noise (.npy, .pt, .pth, .safetensors); nothing is fitted."),
        click.option("--resample", is_flag=True, help="Of --noise: bring one for images of another side to this one."),
        click.option("--api", metavar="URL", help="A black box behind an HTTP address, in place of the backbone."),
        click.option("--function", metavar="MODULE:FUNCTION", help="A black box in Python, in place of the backbone."),
        click.option("--budget", type=click.IntRange(min=1), metavar="N", help="Queries that the black box may be asked in all."),
        click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Of --api: images a request; default 64."),
        click.option("--per-second", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Of --api: requests a second at most."),
        click.option("--weights", metavar="WHAT", help="The backbone's: imagenet, none, a FILE, or run:FOLDER."),
        click.option("--seed", type=click.IntRange(min=0), help="Of heads, noise, intervals, drawn data; default the experiment's."),
        store_option,
        click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for stages and results; default runs/EXPERIMENT."),
        click.option("--only", metavar="STAGE", help="Run one stage, and what it needs that is not there."),
        click.option("--dry-run", is_flag=True, help="Print the stages, and which of them are there."),
        click.option("--skip-missing", is_flag=True, help="Leave out images that the store lacks."),
        click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1; default a GPU where there is one."),
        click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Processes that draw and decode images."),
        click.option("--format", "row_format", type=click.Choice(FORMATS), default="table", show_default=True, help="How rows are printed."),
        quiet_option,
        catalog_option,
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@dne.command(epilog=example("cxrdata dne run dne-quick --out dne-quick"))
@dne_options
def run(**wishes: Any) -> None:  # noqa: ANN401
    """All of EXPERIMENT (one that ships, or a TOML file): attribute probe, noise, fine-tuning with it and without, evaluation.

    Prints how fair and how good the models are on the balanced test, and what probes still read of the attribute. Writes
    fairness.csv, hiding.csv, pictures.csv, published.csv, audit.csv, the noises and figures into --out. What was done before is
    found again. dne-quick draws its own data; else a split of the catalog (-c) and an image store (--store) are needed.
    """
    _do("run", wishes)


@dne.command(epilog=example("cxrdata dne probe dne-quick --out dne-quick"))
@dne_options
def probe(**wishes: Any) -> None:  # noqa: ANN401
    """Step 1 of EXPERIMENT: a linear head that reads the attribute off the clean embeddings."""
    _do("probe", wishes)


@dne.command(epilog=example("cxrdata dne fit dne-quick --access white,black --out dne-quick"))
@dne_options
def fit(**wishes: Any) -> None:  # noqa: ANN401
    """Step 2 of EXPERIMENT: the noises, one for each access and objective, and what they need that is not there."""
    _do("fit", wishes)


@dne.command(epilog=example("cxrdata dne finetune dne-quick --out dne-quick"))
@dne_options
def finetune(**wishes: Any) -> None:  # noqa: ANN401
    """Step 3 of EXPERIMENT: the disease's linear heads, on clean images (ERM) and on edited ones.

    validation.csv is what settings are chosen by; the test is not looked at.
    """
    _do("finetune", wishes)


@dne.command(epilog=example("cxrdata dne evaluate dne-quick --out dne-quick"))
@dne_options
def evaluate(**wishes: Any) -> None:  # noqa: ANN401
    """Step 4 of EXPERIMENT: accuracy and fairness of all models on the test, with intervals and against ERM."""
    _do("evaluate", wishes)


def _do(command: str, wishes: dict[str, Any]) -> None:
    """What the five commands do."""
    from cxrtrain.dne.experiments import experiment_names, read_experiment, to_toml

    if wishes["list_them"]:
        for name in experiment_names():
            click.echo(f"{name:32s}{read_experiment(name)[0].title}")
        return
    if wishes["experiment"] is None:
        raise CxrError("CXR-502", "no experiment is named", fix="`cxrdata dne run --list` shows those that ship")
    experiment, folder = read_experiment(wishes["experiment"], _sets(wishes))
    if wishes["show"]:
        click.echo(to_toml(experiment), nl=False)
        return
    if not wishes["dry_run"]:
        require_torch()
    _run(command, experiment, folder, wishes)


def _sets(wishes: dict[str, Any]) -> tuple[str, ...]:
    """What options say of the experiment, as `--set` does."""
    said = [*wishes["sets"]]
    if wishes["api"] or wishes["function"]:
        said.append('noise.access=["black"]')
    for key, option in (("noise.access", "access"), ("noise.objectives", "objective")):
        if wishes[option]:
            said.append(f"{key}=[{', '.join(repr(one) for one in names(wishes[option]))}]")
    for key, option in (("backbone.weights", "weights"), ("seed", "seed")):
        if wishes[option] is not None:
            said.append(f"{key}={wishes[option]}")
    return tuple(said)


def _run(command: str, experiment: DneExperiment, folder: Path, wishes: dict[str, Any]) -> None:
    import os

    from cxrtrain.dne.run import Wish, of_step, plan_of, publish

    quiet = wishes["quiet"]
    store = wishes["store"] or (Path(os.environ[STORE_VARIABLE]) if os.environ.get(STORE_VARIABLE) else None)
    out = wishes["out"] or Path("runs") / experiment.name
    if wishes["resample"] and wishes["noise"] is None:
        raise CxrError("CXR-502", "--resample is of a published noise, and none is named", fix="name it: --noise FILE")
    wish = Wish(
        folder, wishes["catalog"], store, _box(wishes), wishes["noise"], wishes["resample"], wishes["skip_missing"],
        wishes["device"], wishes["workers"],
    )  # fmt: skip
    say = lambda text: remark(text, quiet=quiet)  # noqa: E731
    plan = plan_of(out, experiment, wish, say=say)
    only = wishes["only"] or (None if command == "run" else of_step(plan, command))
    if wishes["dry_run"]:
        emit(plan.table(only), row_format=wishes["row_format"], quiet=quiet)
        return
    with progress("noise editing", quiet=quiet) as tell:
        plan.run(only, tell=tell, say=say)
    written = publish(plan, out, say)
    for path in written:
        remark(str(path), quiet=quiet)
    for name in _SHOWN if command in ("run", "evaluate") else ("validation.csv",) if command == "finetune" else ():
        if (path := out / name) in written:
            rows = _rows(path)
            emit(rows, row_format=wishes["row_format"], limit=rows.height, quiet=quiet)


def _box(wishes: dict[str, Any]) -> Box | None:
    """The black box that was named. Raises CxrError CXR-502 for two, or for what belongs to none."""
    api, function = wishes["api"], wishes["function"]
    if api and function:
        raise CxrError("CXR-502", "two black boxes are named", fix="leave out --api or --function")
    if not api and (wishes["batch"] or wishes["per_second"]):
        raise CxrError("CXR-502", "--batch and --per-second are of a service", fix="name it: --api URL")
    if not api and not function:
        if wishes["budget"]:
            fix = "--set black.budget=N limits each fit by GeZO on a backbone of ours"
            raise CxrError("CXR-502", "--budget is of a black box, and none is named", fix=fix)
        return None
    from cxrtrain.dne.api import Manners
    from cxrtrain.dne.ground import Box

    given = {"batch": wishes["batch"], "per_second": wishes["per_second"]}
    return Box(api, function, wishes["budget"], Manners(**{key: one for key, one in given.items() if one is not None}))


def _rows(path: Path) -> pl.DataFrame:
    import polars as pl

    return pl.read_csv(path, infer_schema_length=None)
