"""`cxrdata audit`: how a model treats each group, with intervals by patient."""

from __future__ import annotations

from pathlib import Path

import click

from cxrdata.cli.options import NAMES, catalog_option, example, names, quiet_option, rows_options
from cxrdata.cli.output import emit, progress, remark, tell_of, write_text
from cxrdata.small_cells import MIN_CELL


@click.command(epilog=example("cxrdata audit preds.csv --by sex,age_group:pediatric_adult,view --metrics auroc"))
@click.argument("predictions", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--dataset", metavar=NAMES, help="Only images of these datasets.")
@click.option(
    "--split", metavar="NAME[:PART]", help="Only images of a part of a split (test unless said); draws are weights."
)
@click.option(
    "--labels", metavar=NAMES, help="Only these labels, by any dataset's name; default: all that are predicted."
)
@click.option("--by", metavar=NAMES, help="Groups: race, sex, age_group:SCHEME, view, dataset, a finding, ….")
@click.option("--cross", metavar=NAMES, multiple=True, help="Combinations of attributes as groups; may be given again.")
@click.option(
    "--truth", metavar="LABELER", help="Whose labels are true; default: the labeler that each dataset prefers."
)
@click.option(
    "--policy",
    metavar="NAME|FILE",
    default="ignore",
    show_default=True,
    help="What uncertain and unmentioned labels become: raw, zeros, ones, ignore; by label dne, or a TOML file.",
)
@click.option(
    "--truth-from",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Truth and groups in a CSV or Parquet file; no catalog is needed.",
)
@click.option("--among", type=click.Choice(["healthy"]), help="Judge the healthy alone: false positives among them.")
@click.option(
    "--threshold",
    metavar="RULE",
    help="The operating point: youden, f1, fpr=0.2, tpr=0.9, or a number; without it, only metrics that need none.",
)
@click.option("--threshold-by", metavar="ATTRIBUTE", help="A threshold for each of its groups; default: one for all.")
@click.option(
    "--calibrate-on",
    metavar="FILE|SPLIT",
    help="Choose the threshold on these predictions, or on a part of a split (NAME:PART).",
)
@click.option("--allow-shared-patients", is_flag=True, help="Choose the threshold on patients that are judged too.")
@click.option("--rederive", is_flag=True, help="Choose the threshold anew in every replicate.")
@click.option("--metrics", metavar=NAMES, help="Only these, such as auroc,tpr,fpr; default: all.")
@click.option(
    "--bootstrap",
    type=click.IntRange(min=0),
    default=2000,
    show_default=True,
    help="Replicates, by patient; 0 for none.",
)
@click.option(
    "--interval",
    type=click.Choice(["percentile", "bca"]),
    default="percentile",
    show_default=True,
    help="Interval of the bootstrap.",
)
@click.option(
    "--stratify", metavar="label|ATTRIBUTE", help="Redraw patients within classes of the label, or within groups."
)
@click.option(
    "--rates",
    type=click.Choice(["bootstrap", "wilson", "clopper_pearson"]),
    default="bootstrap",
    show_default=True,
    help="Interval of rates.",
)
@click.option(
    "--auroc",
    type=click.Choice(["bootstrap", "delong"]),
    default="bootstrap",
    show_default=True,
    help="Interval of the AUROC.",
)
@click.option(
    "--permutations",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the tests of gaps; 0 for no test.",
)
@click.option(
    "--adjust",
    type=click.Choice(["none", "holm", "bh", "by"]),
    default="none",
    show_default=True,
    help="Adjust p values for their number.",
)
@click.option(
    "--min-cell", type=click.IntRange(min=0), default=MIN_CELL, show_default=True, help="Mask groups of fewer patients."
)
@click.option(
    "--compare", is_flag=True, help="Also the differences between the models, on the images that all predict."
)
@click.option(
    "--trend", is_flag=True, help="Also how false positives go with age: correlation, and odds by decade (GEE)."
)
@click.option(
    "--order",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The keyed file whose rows positional predictions follow.",
)
@click.option(
    "--key", metavar="COLUMN", help="Column with the image key; default: the one that the catalog knows best."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed, other replicates."
)
@click.option(
    "--save",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write rows, tables for a paper and figures into a folder.",
)
@click.option(
    "--figures",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the figures into a folder.",
)
@click.option("--tables", is_flag=True, help="Print label x group tables in Markdown instead of rows.")
@rows_options
@quiet_option
@catalog_option
def audit(
    predictions: tuple[Path, ...],
    dataset: str | None,
    split: str | None,
    labels: str | None,
    by: str | None,
    cross: tuple[str, ...],
    truth: str | None,
    policy: str,
    truth_from: Path | None,
    among: str | None,
    threshold: str | None,
    threshold_by: str | None,
    calibrate_on: str | None,
    allow_shared_patients: bool,
    rederive: bool,
    metrics: str | None,
    bootstrap: int,
    interval: str,
    stratify: str | None,
    rates: str,
    auroc: str,
    permutations: int,
    adjust: str,
    min_cell: int,
    compare: bool,
    trend: bool,
    order: Path | None,
    key: str | None,
    seed: int,
    save: Path | None,
    figures: Path | None,
    tables: bool,
    row_format: str,
    limit: int | None,
    out: Path | None,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Metrics of PREDICTIONS overall and by group, each with N and an interval by patient.

    PREDICTIONS are CSV or Parquet files with an image key and one column of scores a label (prob_LABEL, logit_LABEL, or the
    layouts of chexploration, ped_vs_adults-cxr, reproduce-chexnet). Truth and groups come from the catalog, or with
    --truth-from from a file. Prints one row a model, label, group and metric. The same from Python:
    cxrdata.audit(predictions=..., by=[...]).
    """
    import cxrdata
    from cxrdata.audit.run import audit as run
    from cxrdata.report.audit_tables import markdown_page
    from cxrdata.report.figure import save_figures

    opened = None if truth_from is not None else cxrdata.open(catalog)
    with progress("auditing", quiet=quiet):
        answer = run(
            predictions=predictions,
            catalog=opened,
            truth_from=truth_from,
            dataset=names(dataset),
            split=split,
            labels=names(labels),
            by=names(by),
            cross=[names(one) for one in cross],
            truth=truth,
            policy=policy,
            among=among,
            calibrate_on=calibrate_on,
            threshold=threshold,
            threshold_by=threshold_by,
            rederive=rederive,
            allow_shared_patients=allow_shared_patients,
            metrics=names(metrics),
            bootstrap=bootstrap,
            interval=interval,
            stratify=stratify,
            rates=rates,
            auroc=auroc,
            permutations=permutations,
            adjust=adjust,
            min_cell=min_cell,
            compare=compare,
            trend=trend,
            order=order,
            key=key,
            seed=seed,
        )
    if opened is not None:
        tell_of(opened, quiet=quiet)
        opened.close()
    for text in answer.warnings:
        remark(f"warning: {text}", quiet=quiet)
    for text in answer.notes:
        remark(text, quiet=quiet)
    if save is not None:
        remark(f"{len(answer.save(save))} files written to {save}", quiet=quiet)
    if figures is not None:
        written = save_figures(answer.figures, figures)
        remark(f"{len(written)} files written to {figures}", quiet=quiet)
    if tables:
        write_text(markdown_page(answer), out)
    else:
        emit(answer.rows, row_format=row_format, limit=limit, out=out, quiet=quiet)
