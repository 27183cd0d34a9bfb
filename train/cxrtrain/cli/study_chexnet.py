"""`cxrdata study chexnet`: fourteen findings, their AUROCs published and here, and whom they hold for."""

from __future__ import annotations

from pathlib import Path

import click

from cxrdata.cli.options import example
from cxrdata.errors import CxrError
from cxrtrain.cli.study_options import Asked, carry_out, study_options


@click.command(
    "chexnet",
    short_help="Fourteen findings of NIH ChestX-ray14, by sex, age and view.",
    epilog=example("cxrdata study chexnet --predictions preds.csv -c cxr-catalog --out chexnet"),
)
@study_options(bootstrap=2000, seed=0, road_only=("pictures",))
@click.option(
    "--order", type=click.Path(path_type=Path, dir_okay=False), help="Keyed file whose rows positional --predictions follow."
)  # fmt: skip
@click.option(
    "--split", metavar="NAME", help="Judge its test part; of the whole road default chexnet, made if need be."
)
@click.option(
    "--pictures",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    help="Test images of each finding in the explorer; 0 for none.",
)
def chexnet(asked: Asked, order: Path | None, split: str | None, pictures: int) -> None:
    """CheXNet as reproduced by Zech: 14 findings of NIH ChestX-ray14, DenseNet-121.

    With --predictions (a file or a folder: their preds.csv, ours, any layout that `cxrdata audit` reads) the analysis alone, against the
    text-mined labels of the catalog: AUROC of every finding, overall and by sex, children and adults, decade and view, with intervals
    by patient, beside the published ones. Writes aucs.csv, audit.csv, auroc_by_group.csv, published.csv, report.html and figures into
    --out. --data synthetic draws, trains, predicts and analyses phantoms; with -c and --store it trains on NIH's own images; both also
    write preds.csv and explorer.html: test images under CheXNet's maps beside what is predicted and what is true. What was done before
    is found again.
    """
    from cxrtrain.studies.chexnet.analyse import Wish
    from cxrtrain.studies.chexnet.design import SPLIT
    from cxrtrain.studies.chexnet.plan import OUTPUTS, plan_of_predictions
    from cxrtrain.studies.chexnet.road import Road, outputs, phantoms, plan_of_road

    if order is not None and asked.predictions is None:
        raise CxrError("CXR-502", "--order is of --predictions", fix="leave it out: what is predicted here is keyed")
    wish = Wish(bootstrap=asked.bootstrap, min_cell=asked.min_cell, seed=asked.seed)
    road = Road(
        phantoms=phantoms(asked.data_seed, asked.norms) if asked.synthetic else None,
        catalog=asked.catalog,
        store=asked.store,
        split=split or SPLIT,
        sets=asked.sets,
        pictures=pictures,
    )
    carry_out(
        asked,
        from_predictions=lambda place, catalog: plan_of_predictions(
            asked.out, place, catalog, wish, order=order, split=split
        ),
        road=lambda: plan_of_road(asked.out, road, wish),
        data=road.data,
        outputs=OUTPUTS if asked.predictions is not None else outputs(road),
        needs_catalog=True,
    )
