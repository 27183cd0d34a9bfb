"""`cxrdata explore`: what a model's features know of patients."""

from __future__ import annotations

from pathlib import Path

import click

from cxrdata.cli.options import NAMES, catalog_option, example, names, print_options, quiet_option
from cxrdata.cli.output import check_folder_place, emit, progress, remark, tell_of
from cxrdata.small_cells import MIN_CELL


@click.command(epilog=example("cxrdata explore features.parquet --split plain:test --out explored"))
@click.argument("embeddings", type=click.Path(path_type=Path))
@click.option(
    "--predictions",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Predictions of the same model: the logits of --labels are tested too.",
)
@click.option(
    "--labels", metavar=NAMES, default="no_finding,pleural_effusion", show_default=True, help="Of the predictions."
)
@click.option(
    "--order",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The keyed file whose rows positional features and predictions follow.",
)
@click.option(
    "--key", metavar="COLUMN", help="Column with the image key; default: the one that the catalog knows best."
)
@click.option("--split", metavar="NAME[:PART]", help="Only images of a part of a split (test unless said).")
@click.option(
    "--resampled",
    metavar="NAME[:PART]",
    help="Beside them, a part of a split as `cxrdata resample` drew it, on the same components.",
)
@click.option(
    "--by",
    metavar=NAMES,
    default="race,sex,age_group:chexploration,disease",
    show_default=True,
    help="Attributes that the figures colour by.",
)
@click.option(
    "--sample-by",
    metavar="ATTRIBUTE",
    default="race",
    show_default=True,
    help="Take as many images of each of its groups.",
)
@click.option(
    "--groups", metavar=NAMES, help="The groups; default: all but Other and Multiple with at least 2 % of the images."
)
@click.option(
    "--per-group", type=click.IntRange(min=1), default=1000, show_default=True, help="Images of each group, at most."
)
@click.option(
    "--one-a-patient", is_flag=True, help="Take one image a patient, so that the tests' images are independent."
)
@click.option(
    "--contrast",
    "contrasts",
    metavar="ATTRIBUTE:FIRST:SECOND",
    multiple=True,
    help="Test two more groups, or with ATTRIBUTE:* all pairs; may be given again.",
)
@click.option("--no-tsne", is_flag=True, help="Leave t-SNE out, which takes longest.")
@click.option("--perplexity", type=click.FloatRange(min=1), default=30.0, show_default=True, help="Of t-SNE.")
@click.option(
    "--min-cell",
    type=click.IntRange(min=1),
    default=MIN_CELL,
    show_default=True,
    help="Leave groups of fewer patients out of tests and figures; 1 leaves none out.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=2**32 - 1),
    default=0,
    show_default=True,
    help="Another seed, other images.",
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the sample, the components, the tests and figures into a folder.",
)
@print_options
@quiet_option
@catalog_option
def explore(
    embeddings: Path,
    predictions: Path | None,
    labels: str,
    order: Path | None,
    key: str | None,
    split: str | None,
    resampled: str | None,
    by: str,
    sample_by: str,
    groups: str | None,
    per_group: int,
    one_a_patient: bool,
    contrasts: tuple[str, ...],
    no_tsne: bool,
    perplexity: float,
    min_cell: int,
    seed: int,
    out: Path | None,
    row_format: str,
    limit: int | None,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Principal components, t-SNE and tests of the features in EMBEDDINGS, by race, sex, age and disease.

    EMBEDDINGS is what `cxrdata embed` writes, any CSV or Parquet file with an image key and a number column a feature, or
    numbers alone (CSV, .npy) with --order. As in Glocker et al. 2023: components that hold 99 % of the variance, equally many images of
    each race, and two-sample Kolmogorov-Smirnov tests of five contrasts on the first four components and the logits, with
    p values adjusted over all of them (Benjamini-Yekutieli). Prints the tests. The same from Python:
    cxrdata.explore.run.explore(catalog, ExploreRequest(...)).
    """
    import cxrdata
    from cxrdata.explore.contrasts import Wish
    from cxrdata.explore.run import ExploreRequest
    from cxrdata.explore.run import explore as run
    from cxrdata.explore.sampling import Sampling
    from cxrdata.report.figure import require_altair

    if out is not None:
        require_altair()
        check_folder_place(out)
    request = ExploreRequest(
        embeddings=embeddings,
        by=names(by),
        sampling=Sampling(
            by=sample_by, groups=names(groups), per_group=per_group, one_a_patient=one_a_patient, seed=seed
        ),
        contrasts=tuple(Wish.of(text) for text in contrasts),
        predictions=predictions,
        labels=names(labels),
        split=split,
        resampled=resampled,
        order=order,
        key=key,
        plane=not no_tsne,
        perplexity=perplexity,
        min_cell=min_cell,
    )
    with cxrdata.open(catalog) as opened:
        with progress("exploring", quiet=quiet):
            found = run(opened, request)
        tell_of(opened, quiet=quiet)
    for text in found.notes:
        remark(text, quiet=quiet)
    emit(found.tests, row_format=row_format, limit=limit, quiet=quiet)
    if out is not None:
        remark(f"{len(found.save(out))} files written to {out}", quiet=quiet)
