"""`cxrdata case-study`: adults' models on children, from anyone's predictions to one page."""

from __future__ import annotations

import click

from cxrdata.cli.options import NAMES, example, names
from cxrdata.errors import CxrError
from cxrtrain.cli.study_options import Asked, carry_out, study_options

_BOTH = "both"


@click.group("case-study", short_help="Adults' models on children: thresholds, errors by age.")
def case_study() -> None:
    """The published case study, each finding a command."""


@case_study.command(epilog=example("cxrdata case-study cardiomegaly --predictions inference --out case-study"))
@study_options(bootstrap=12_000, seed=42, road_only=("models", "blends"))
@click.option("--models", metavar=NAMES, help="Train on these datasets only.")
@click.option("--blends", default="0,0.25,0.5,0.75,1", show_default=True, help="Of histogram matching, to predict at.")
@click.option("--split", default="age-bias", show_default=True, help="The catalog's split; made where it is not there.")
@click.option(
    "--rules",
    type=click.Choice(["published", "careful", _BOTH]),
    default=_BOTH,
    show_default=True,
    help="As the publication counted, or with care.",
)
def cardiomegaly(asked: Asked, models: str | None, blends: str, split: str, rules: str) -> None:
    """How often does a model trained on adults call healthy children's hearts enlarged?

    With --predictions the analysis alone: thresholds on each model's calibration part, false positive rates of healthy adults and
    children by age, with intervals. Writes fpr_by_age.csv, report.html, figures and tables into --out. A catalog (-c) is
    read where the files do not say who the images are, and for the boxes of VinDr-PCXR. --data synthetic draws, trains, predicts
    and analyses phantoms; with -c and --store it does so on a catalog of your own. What was done before is found again.
    """
    from cxrtrain.studies.case_study.design import RULES, TRAINED_ON
    from cxrtrain.studies.case_study.fpr import Wish
    from cxrtrain.studies.case_study.plan import OUTPUTS, Given, plan_of_predictions
    from cxrtrain.studies.case_study.road import Road, models_of, phantoms, plan_of_road

    wish = Wish(
        rules=RULES if rules == _BOTH else (rules,),
        bootstrap=asked.bootstrap,
        min_cell=asked.min_cell,
        seed=asked.seed,
    )
    road = Road(
        phantoms=phantoms(asked.data_seed, asked.norms) if asked.synthetic else None,
        catalog=asked.catalog,
        store=asked.store,
        split=split,
        models=models_of(names(models)) or TRAINED_ON,
        blends=_blends(blends),
        sets=asked.sets,
    )
    carry_out(
        asked,
        from_predictions=lambda folder, catalog: plan_of_predictions(asked.out, Given(folder, catalog, split), wish),
        road=lambda: plan_of_road(asked.out, road, wish),
        data=road.data,
        outputs=OUTPUTS,
    )


def _blends(text: str) -> tuple[float, ...]:
    """Each once. Raises CxrError CXR-502 before anything is trained."""
    fix = "--blends 0,0.5,1"
    try:
        found = tuple(dict.fromkeys(float(one) for one in names(text)))
    except ValueError as error:
        raise CxrError("CXR-502", f"--blends are numbers from 0 to 1, not {text!r}", fix=fix) from error
    if not found or not all(0 <= one <= 1 for one in found):
        raise CxrError("CXR-502", f"--blends are numbers from 0 to 1, not {text!r}", fix=fix)
    return found
