"""`cxrdata case-study`: adults' models on children, from anyone's predictions to one page."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from cxrdata.cli.options import FORMATS, catalog_option, example, quiet_option
from cxrdata.cli.output import emit, progress, remark, tell_of
from cxrdata.errors import CxrError
from cxrdata.small_cells import MIN_CELL

_BOTH = "both"


@click.group("case-study", short_help="Adults' models on children: thresholds, errors by age.")
def case_study() -> None:
    """The published case study, each finding a command."""


@case_study.command(epilog=example("cxrdata case-study cardiomegaly --predictions inference --out case-study"))
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Folder of predictions: ours, or ped_vs_adults-cxr's; the path names the dataset that each model was trained on.",
)
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
    default=MIN_CELL,
    show_default=True,
    help="Mask ages of fewer patients; 1 masks none.",
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
    out: Path,
    split: str,
    rules: str,
    bootstrap: int,
    min_cell: int,
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
    read where the files do not say who the images are, and for the boxes of VinDr-PCXR. What was done before is found again.
    """
    import cxrdata
    from cxrtrain.studies.case_study.design import RULES
    from cxrtrain.studies.case_study.fpr import Wish
    from cxrtrain.studies.case_study.plan import Given, plan_of_predictions, publish

    if predictions is None:
        raise CxrError("CXR-502", "nothing says what to analyse", fix="--predictions DIR")
    wish = Wish(rules=RULES if rules == _BOTH else (rules,), bootstrap=bootstrap, min_cell=min_cell, seed=seed)
    with (
        cxrdata.open(catalog) if catalog is not None else nullcontext() as opened,
        progress("case study", quiet=quiet) as tell,
    ):
        if opened is not None:
            tell_of(opened, quiet=quiet)
        plan = plan_of_predictions(out, Given(predictions, opened, split), wish)
        if dry_run:
            emit(plan.table(only), row_format=row_format, quiet=quiet)
            return
        plan.run(only, tell=tell, say=lambda text: remark(text, quiet=quiet))
    for path in publish(plan, out):
        click.echo(str(path))
