"""`cxrdata study implicit-attributes`: race in what models of disease have learnt."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cxrdata.cli.options import NAMES, example, names
from cxrdata.cli.output import remark
from cxrdata.errors import CxrError
from cxrtrain.cli.probe import checked_criteria
from cxrtrain.cli.study_options import Asked, carry_out, study_options

if TYPE_CHECKING:
    from cxrtrain.studies.implicit_attributes.road import Road


@click.command(
    "implicit-attributes",
    short_help="Race in what models of disease have learnt.",
    epilog=example("cxrdata study implicit-attributes --data synthetic --out implicit-attributes"),
)
@study_options(bootstrap=2000, seed=0, road_only=("images_per_patient", "origins", "freeze", "criterion", "draws"))
@click.option(
    "--order",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Of --predictions: the keyed file whose rows files without keys follow.",
)
@click.option(
    "--images-per-patient",
    default="1",
    show_default=True,
    metavar="A,B",
    help="The sets to train on: 1, 2, 3; all three are counted.",
)
@click.option("--origins", metavar=NAMES, help="Backbones: run, imagenet, random; default those that can be had.")
@click.option(
    "--freeze",
    default="backbone",
    show_default=True,
    metavar="A,B",
    help="What of the backbone learns no more: all of it, or its first 0, 1, … blocks.",
)
@click.option(
    "--criterion",
    default="difference",
    show_default=True,
    metavar="A,B",
    help="How units are ranked: difference, weight, auroc.",
)
@click.option("--draws", type=click.IntRange(min=1), default=20, show_default=True, help="Draws of random units.")
def implicit_attributes(
    asked: Asked,
    order: Path | None,
    images_per_patient: str,
    origins: str | None,
    freeze: str,
    criterion: str,
    draws: int,
) -> None:
    """How much of race can be read off a model of disease, and does disease detection need what carries it?

    With --predictions the evaluation alone, of test predictions with truth, a file a model: AUROC of each race and finding,
    accuracy, confusion matrix, ROC curves. --data synthetic draws phantoms and does it all on them; with -c and --store it is done
    on a catalog of your own: three sets of CheXpert balanced over race; race read off a frozen backbone that learnt disease,
    ImageNet, nothing; units that carry race switched off. What was done before is found again.
    """
    from cxrtrain.studies.implicit_attributes.design import Wish
    from cxrtrain.studies.implicit_attributes.plan import OUTPUTS, Given, plan_of_predictions
    from cxrtrain.studies.implicit_attributes.road import (
        Road,
        checked_depths,
        checked_origins,
        checked_sizes,
        phantoms,
        plan_of_road,
    )

    if order is not None and asked.predictions is None:
        raise CxrError(
            "CXR-502", "--order says whose the rows of --predictions are", fix="add --predictions, or leave it out"
        )
    wish = Wish(bootstrap=asked.bootstrap, seed=asked.seed, min_cell=asked.min_cell)
    road = Road(
        phantoms=phantoms(asked.data_seed, asked.norms) if asked.synthetic else None,
        catalog=asked.catalog,
        store=asked.store,
        sizes=checked_sizes(names(images_per_patient)),
        frozen=checked_depths(names(freeze)),
        criteria=checked_criteria(criterion),
        draws=draws,
        sets=asked.sets,
    )
    chosen = checked_origins(names(origins))
    carry_out(
        asked,
        from_predictions=lambda place, catalog: plan_of_predictions(asked.out, Given(place, order, catalog), wish),
        road=lambda: plan_of_road(asked.out, _with_origins(road, chosen, asked), wish),
        data=road.data,
        outputs=OUTPUTS,
    )


def _with_origins(road: Road, chosen: tuple[str, ...], asked: Asked) -> Road:
    """With the backbones that were asked for, else with those that can be had; a dry run fetches nothing to find out."""
    from cxrtrain.studies.implicit_attributes.road import to_be_had

    if chosen:
        return replace(road, origins=chosen)
    if asked.dry_run and (not asked.synthetic or find_spec("torch") is None):
        return road
    origins, notes = to_be_had(road, lambda text: remark(text, quiet=asked.quiet))
    for note in notes:
        remark(note, quiet=asked.quiet)
    return replace(road, origins=origins, notes=notes)
