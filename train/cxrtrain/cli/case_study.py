"""`cxrdata case-study`: adults' models on children, from anyone's predictions to one page."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cxrdata.cli.options import FORMATS, NAMES, catalog_option, example, names, quiet_option
from cxrdata.cli.output import emit, progress, remark, tell_of
from cxrdata.errors import CxrError
from cxrdata.small_cells import MIN_CELL
from cxrtrain.cli import require_torch

if TYPE_CHECKING:
    from cxrtrain.studies.case_study.fpr import Wish
    from cxrtrain.studies.stages import Plan

_BOTH = "both"
SYNTHETIC = "SYNTHETIC: phantoms, and the effect is planted in them: that it is found proves the pipeline, not medicine"


@click.group("case-study", short_help="Adults' models on children: thresholds, errors by age.")
def case_study() -> None:
    """The published case study, each finding a command."""


@case_study.command(epilog=example("cxrdata case-study cardiomegaly --predictions inference --out case-study"))
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Folder of predictions: ours, or ped_vs_adults-cxr's; the path names the dataset that each model was trained on.",
)
@click.option("--data", type=click.Choice(["synthetic"]), help="The whole road, on drawn phantoms.")
@click.option(
    "--store", type=click.Path(path_type=Path), help="The whole road, on a catalog (-c) and this image store."
)
@click.option("--models", metavar=NAMES, help="Train on these datasets only.")
@click.option("--blends", default="0,0.25,0.5,0.75,1", show_default=True, help="Of histogram matching, to predict at.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a value of every training; repeatable.")
@click.option("--norms", type=click.Path(path_type=Path), help="Of --data: how phantoms are drawn, such as a control.")
@click.option("--data-seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of --data synthetic.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for what comes out."
)
@click.option(
    "--split", default="age-bias", show_default=True, help="The split of the catalog, where files do not tell parts."
)
@click.option(
    "--rules",
    type=click.Choice(["published", "careful", _BOTH]),
    default=_BOTH,
    show_default=True,
    help="As the publication counted, or with care.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(min=0),
    default=12_000,
    show_default=True,
    help="Replicates; 0 for no bootstrap interval.",
)
@click.option(
    "--min-cell",
    type=click.IntRange(min=1),
    help=f"Mask ages of fewer patients; 1 masks none. [default: {MIN_CELL}; phantoms: 1]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=42, show_default=True, help="Seed of the bootstrap; 42 as published."
)
@click.option("--only", metavar="STAGE", help="Run one stage, and what it needs that is not there.")
@click.option("--dry-run", is_flag=True, help="Print the stages, and which of them are there.")
@click.option(
    "--format",
    "row_format",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How the plan is printed.",
)
@quiet_option
@catalog_option
def cardiomegaly(
    predictions: Path | None,
    data: str | None,
    store: Path | None,
    models: str | None,
    blends: str,
    sets: tuple[str, ...],
    norms: Path | None,
    data_seed: int,
    out: Path,
    split: str,
    rules: str,
    bootstrap: int,
    min_cell: int | None,
    seed: int,
    only: str | None,
    dry_run: bool,
    row_format: str,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """How often does a model trained on adults call healthy children's hearts enlarged?

    With --predictions the analysis alone: thresholds on each model's calibration part, false positive rates of healthy adults and
    children by age, with intervals. Writes fpr_by_age.csv, report.html, figures and tables into --out. A catalog (-c) is
    read where the files do not say who the images are, and for the boxes of VinDr-PCXR. --data synthetic draws, trains, predicts
    and analyses phantoms; with -c and --store it does so on a catalog of your own. What was done before is found again.
    """
    import cxrdata
    from cxrtrain.studies.case_study.design import RULES
    from cxrtrain.studies.case_study.fpr import Wish
    from cxrtrain.studies.case_study.plan import Given, plan_of_predictions, publish

    cells = min_cell or (1 if data else MIN_CELL)
    wish = Wish(rules=RULES if rules == _BOTH else (rules,), bootstrap=bootstrap, min_cell=cells, seed=seed)
    if predictions is not None and (data or store):
        raise CxrError(
            "CXR-502", "--predictions are there already: nothing is trained", fix="leave --data and --store out"
        )
    with ExitStack() as stack, progress("case study", quiet=quiet) as tell:
        if predictions is not None:
            opened = stack.enter_context(cxrdata.open(catalog)) if catalog is not None else None
            if opened is not None:
                tell_of(opened, quiet=quiet)
            plan = plan_of_predictions(out, Given(predictions, opened, split), wish)
        else:
            if not dry_run:
                require_torch()
            plan = _whole(out, wish, data, catalog, store, split, models, blends, sets, norms, data_seed)
        if dry_run:
            emit(plan.table(only), row_format=row_format, quiet=quiet)
            return
        if data:
            remark(SYNTHETIC, quiet=quiet)
        plan.run(only, tell=tell, say=lambda text: remark(text, quiet=quiet))
    for path in publish(plan, out):
        click.echo(str(path))


def _whole(
    out: Path,
    wish: Wish,
    data: str | None,
    catalog: Path | None,
    store: Path | None,
    split: str,
    models: str | None,
    blends: str,
    sets: tuple[str, ...],
    norms: Path | None,
    data_seed: int,
) -> Plan:
    """The plan of the whole road."""
    from cxrtrain.studies.case_study.design import TRAINED_ON
    from cxrtrain.studies.case_study.road import Phantoms, Road, plan_of_road

    try:
        at = tuple(float(one) for one in names(blends))
    except ValueError as error:
        raise CxrError(
            "CXR-502", f"--blends are numbers from 0 to 1, not {blends!r}", fix="--blends 0,0.5,1"
        ) from error
    road = Road(
        phantoms=Phantoms(seed=data_seed, norms=norms) if data else None,
        catalog=catalog,
        store=store,
        split=split,
        models=names(models) or TRAINED_ON,
        blends=at,
        sets=sets,
    )
    return plan_of_road(out, road, wish)
