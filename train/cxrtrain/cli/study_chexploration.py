"""`cxrdata study chexploration`: race and sex in models that find disease, from anyone's predictions, or from a catalog."""

from __future__ import annotations

from pathlib import Path

import click

from cxrdata.cli.options import NAMES, example, names
from cxrtrain.cli.study_options import Asked, carry_out, study_options


@click.command(
    epilog=example("cxrdata study chexploration --predictions output --order chexpert.sample.test.csv --out study")
)
@study_options(bootstrap=2_000, seed=42)
@click.option(
    "--order",
    "orders",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="The keyed file whose rows positional files follow; again for validation (`val` in its name).",
)
@click.option(
    "--dataset",
    type=click.Choice(["chexpert", "mimic_cxr"]),
    default="chexpert",
    show_default=True,
    help="Whose cohort.",
)
@click.option("--tasks", metavar=NAMES, help="Only these models, such as disease,race,split-race; default: all.")
@click.option(
    "--split", metavar="NAME", help="The catalog's split; made where it is not there. [default: chexploration-…]"
)
@click.option(
    "--per-group",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Images of each race that are explored.",
)
@click.option("--no-tsne", is_flag=True, help="Leave t-SNE out, which takes longest of the analysis.")
def chexploration(
    asked: Asked,
    orders: tuple[Path, ...],
    dataset: str,
    tasks: str | None,
    split: str | None,
    per_group: int,
    no_tsne: bool,
) -> None:
    """How much of race and sex is in a model that was trained to find disease, and how do its errors differ?

    With --predictions the analysis alone: the cohort's funnel, the resampled test set, errors by race and sex at one threshold, how
    well race and sex are read, and what features know of them, beside the published figures. The folder holds chexploration's output
    (--order names the file whose rows it follows), or files of `cxrdata predict` and `cxrdata embed`, a folder a model; a catalog says who the
    images are. --data synthetic draws, trains, predicts and analyses phantoms; with -c and --store it does so on a
    catalog of your own. What was done before is found again.
    """
    from cxrdata.errors import CxrError
    from cxrtrain.studies.chexploration.design import MODELS, Wish
    from cxrtrain.studies.chexploration.given import find_given
    from cxrtrain.studies.chexploration.plan import OUTPUTS, plan_of_predictions
    from cxrtrain.studies.chexploration.road import Road, check_tasks, phantoms, plan_of_road

    if orders and asked.predictions is None:
        raise CxrError("CXR-502", "--order is of --predictions", fix="leave it out: what is predicted here is keyed")
    wanted = check_tasks(names(tasks) or MODELS)
    wish = Wish(asked.bootstrap, asked.seed, asked.min_cell, per_group, plane=not no_tsne)
    road = Road(
        dataset,
        phantoms(dataset, asked.data_seed, asked.norms) if asked.synthetic else None,
        asked.catalog,
        asked.store,
        split,
        wanted,
        asked.sets,
    )
    carry_out(
        asked,
        from_predictions=lambda place, catalog: plan_of_predictions(
            asked.out,
            find_given(place, orders, wanted),
            catalog,
            wish,
            dataset=dataset,
            split=road.base,
            named=split is not None,
        ),
        road=lambda: plan_of_road(asked.out, road, wish),
        data=road.data,
        outputs=OUTPUTS,
        needs_catalog=True,
    )
