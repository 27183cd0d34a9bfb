"""What all studies can be asked, and the course that all take: plan, dry run, stages, what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cxrdata.cli.options import FORMATS, catalog_option, quiet_option
from cxrdata.cli.output import emit, progress, remark, tell_of
from cxrdata.errors import CxrError
from cxrdata.small_cells import MIN_CELL
from cxrtrain.cli import require_torch

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog
    from cxrtrain.studies.data import StudyData
    from cxrtrain.studies.stages import Plan


@dataclass(frozen=True)
class Asked:
    """predictions: analyse these files, train nothing; else the whole road: on phantoms (`synthetic`), or on `catalog` and
    `store`. sets: `--set` of every training. seed: of intervals."""

    predictions: Path | None
    synthetic: bool
    store: Path | None
    sets: tuple[str, ...]
    norms: Path | None
    data_seed: int
    out: Path
    bootstrap: int
    min_cell: int
    seed: int
    only: str | None
    dry_run: bool
    row_format: str
    quiet: bool
    catalog: Path | None

    @property
    def stages(self) -> Path:
        return self.out / "stages"


def study_options(
    *, bootstrap: int, seed: int, road_only: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the common options; it gets `asked` and its own. bootstrap, seed: the study's defaults. road_only:
    parameters of its own that mean nothing to --predictions."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def call(*, data: str | None, min_cell: int | None, **values: Any) -> None:  # noqa: ANN401 - click's
            own = {name: values.pop(name) for name in list(values) if name not in Asked.__dataclass_fields__}
            _check_meaning(road_only)
            cells = min_cell or (1 if data else MIN_CELL)
            command(asked=Asked(synthetic=data is not None, min_cell=cells, **values), **own)

        for option in reversed(_options(bootstrap, seed)):
            option(call)
        return call

    return decorate


def _check_meaning(road_only: Sequence[str]) -> None:
    """Raises CxrError CXR-502 where an option was given that would change nothing."""
    context = click.get_current_context()
    given = {
        one.name: one.opts[-1]
        for one in context.command.params
        if one.name and context.get_parameter_source(one.name) is not ParameterSource.DEFAULT
    }

    def refuse(names: Sequence[str], problem: str) -> None:
        if said := [given[one] for one in names if one in given]:
            raise CxrError("CXR-502", problem, fix=f"leave out {', '.join(said)}")

    if "predictions" in given:
        trains = ("data", "store", "sets", "norms", "data_seed", *road_only)
        refuse(trains, "--predictions are there already: nothing is trained")
    elif "data" in given:
        refuse(("store", "catalog"), "--data synthetic makes a catalog and a store of its own")
    else:
        refuse(("norms", "data_seed"), "this is of --data synthetic, and no phantoms are drawn")


def _options(bootstrap: int, seed: int) -> list[Callable[[Any], Any]]:
    whole = click.IntRange(min=0)
    return [
        click.option(
            "--predictions",
            type=click.Path(path_type=Path),
            help="A folder of predictions, or a file: only the analysis.",
        ),
        click.option("--data", type=click.Choice(["synthetic"]), help="The whole road, on drawn phantoms."),
        click.option(
            "--store", type=click.Path(path_type=Path), help="The whole road, on a catalog (-c) and this image store."
        ),
        click.option(
            "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a value of every training; repeatable."
        ),
        click.option("--norms", type=click.Path(path_type=Path), help="Of --data: how phantoms are drawn."),
        click.option("--data-seed", type=whole, default=0, show_default=True, help="Of --data synthetic."),
        click.option(
            "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for what comes out."
        ),
        click.option(
            "--bootstrap", type=whole, default=bootstrap, show_default=True, help="Replicates of intervals; 0 for none."
        ),
        click.option(
            "--min-cell",
            type=click.IntRange(min=1),
            help=f"Mask groups of fewer patients; 1 masks none. [default: {MIN_CELL}; phantoms: 1]",
        ),
        click.option("--seed", type=whole, default=seed, show_default=True, help="Seed of the bootstrap."),
        click.option("--only", metavar="STAGE", help="Run one stage, and what it needs that is not there."),
        click.option("--dry-run", is_flag=True, help="Print the stages, and which of them are there."),
        click.option(
            "--format",
            "row_format",
            type=click.Choice(FORMATS),
            default="table",
            show_default=True,
            help="How the plan is printed.",
        ),
        quiet_option,
        catalog_option,
    ]


def carry_out(
    asked: Asked,
    *,
    from_predictions: Callable[[Path, Catalog | None], Plan],
    road: Callable[[], Plan],
    data: StudyData,
    outputs: Mapping[str, Sequence[str]],
    needs_catalog: bool = False,
) -> None:
    """Plan, and print the plan or run it. from_predictions: the plan of the analysis alone, of --predictions and the
    catalog, if one is named. data, road: whence the images come, and the plan of all. outputs: by stage, what is copied to where it was asked for.
    needs_catalog: predictions alone say too little, so that the default catalog is taken where none is named."""
    import cxrdata
    from cxrtrain.studies.data import SYNTHETIC

    with ExitStack() as stack, progress("study", quiet=asked.quiet) as tell:
        if asked.predictions is not None:
            named = needs_catalog or asked.catalog is not None
            opened = stack.enter_context(cxrdata.open(asked.catalog)) if named else None
            if opened is not None:
                tell_of(opened, quiet=asked.quiet)
            plan = from_predictions(asked.predictions, opened)
        else:
            if not asked.dry_run:
                require_torch()
                data.inputs()  # raises what is missing before anything is made, as the next line does a misspelt stage
                road().wanted(asked.only)
                data.make_splits(lambda text: remark(text, quiet=asked.quiet))
            plan = road()
        if asked.dry_run:
            emit(plan.table(asked.only), row_format=asked.row_format, quiet=asked.quiet)
            return
        if asked.synthetic:
            remark(SYNTHETIC, quiet=asked.quiet)
        plan.run(asked.only, tell=tell, say=lambda text: remark(text, quiet=asked.quiet))
    for path in plan.publish(asked.out, outputs, lambda text: remark(text, quiet=asked.quiet)):
        click.echo(str(path))
