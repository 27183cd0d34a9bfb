"""`cxrdata probe`: what can be read of sex, race or age from what a run has learnt, and which units carry it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from cxrdata.cli.options import catalog_option, example, names, quiet_option, rows_options
from cxrdata.cli.output import emit, progress, remark, tell_of
from cxrdata.errors import CxrError
from cxrdata.wording import slug
from cxrtrain.cli import require_torch
from cxrtrain.cli.train import said_store, store_option

CRITERIA = ("difference", "weight", "auroc")


@click.command(
    short_help="What a model has learnt of sex, race, age, and in which units.",
    epilog=example("cxrdata probe runs/quick --attribute sex --store store --out probe.csv --figures figures"),
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--attribute", metavar="NAME", required=True, help="race, sex, age_group:SCHEME, view, …")
@click.option("--classes", metavar="A,B", help="Its values in question; default all that training images have.")
@click.option("--origins", metavar="A,B", help="Backbones: run, imagenet, random; default those that can be had.")
@click.option(
    "--criterion",
    metavar="A,B",
    default="difference",
    show_default=True,
    help="How units are ranked: difference, weight, auroc.",
)
@click.option(
    "--shares", metavar="A,B", default="1,2,5,10,20", show_default=True, help="Percent of units to switch off."
)
@click.option(
    "--to",
    "level",
    type=click.Choice(["mean", "zero"]),
    default="mean",
    show_default=True,
    help="What a unit that is off puts out: its training mean, or 0.",
)
@click.option("--draws", type=click.IntRange(min=1), default=20, show_default=True, help="Draws of random units.")
@click.option("--no-ablation", is_flag=True, help="Only the new heads on frozen backbones.")
@click.option(
    "--freeze",
    "counts",
    metavar="A,B",
    help="Also print trainings with the first 0, 1, … blocks frozen; backbone: all.",
)
@click.option("--train", "do_train", is_flag=True, help="Run the trainings of --freeze, below --runs, and judge them.")
@click.option(
    "--runs", type=click.Path(path_type=Path, file_okay=False), help="Folder of the trainings; default RUN/probe."
)
@click.option("--split", metavar="NAME", help="The split; default the run's. It needs a part `test`.")
@click.option(
    "--bootstrap", type=click.IntRange(min=0), default=2000, show_default=True, help="Replicates of intervals."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of heads, draws, intervals.")
@click.option("--figures", type=click.Path(path_type=Path, file_okay=False), help="Write figures into this folder.")
@click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False), help="Where features are kept; default RUN/features."
)
@store_option
@click.option("--skip-missing", is_flag=True, help="Leave out images that the store lacks.")
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1; default a GPU where there is one.")
@rows_options
@quiet_option
@catalog_option
def probe(
    run: Path,
    attribute: str,
    classes: str | None,
    origins: str | None,
    criterion: str,
    shares: str,
    level: str,
    draws: int,
    no_ablation: bool,
    counts: str | None,
    do_train: bool,
    runs: Path | None,
    split: str | None,
    bootstrap: int,
    seed: int,
    figures: Path | None,
    cache: Path | None,
    store: Path | None,
    skip_missing: bool,
    device: str | None,
    row_format: str,
    limit: int | None,
    out: Path | None,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Probe the best model of RUN for an attribute, on the split that it was trained on.

    A new linear head on the frozen backbone says how much of the attribute can be read off its features, beside the same
    backbone trained on ImageNet and not trained at all. Then units of the run's last layer, ranked on training images by
    how much of the attribute they carry, are switched off: rows give the attribute's and the findings' AUROC on test
    images with intervals by patient, against as many random units.
    """
    if do_train and counts is None:
        raise CxrError("CXR-502", "--train runs the trainings of --freeze", fix="for example --freeze 0,1,2,backbone")
    wished = checked_criteria(criterion)
    percents = _percents(names(shares))
    require_torch()
    import cxrdata
    from cxrtrain.probe.ablation import AblationRequest
    from cxrtrain.probe.data import probe_data
    from cxrtrain.probe.run import Request
    from cxrtrain.probe.run import probe as work
    from cxrtrain.run_folder import open_run

    opened_run = open_run(run)
    place = said_store(store)
    tell_me = lambda text: remark(text, quiet=quiet)  # noqa: E731
    with (
        cxrdata.open(catalog) as opened,
        tempfile.TemporaryDirectory(prefix="cxrdata-probe-") as scratch,
        progress("probing", quiet=quiet) as tell,
    ):
        tell_of(opened, quiet=quiet)
        data = probe_data(
            opened,
            opened_run,
            attribute,
            Path(scratch) / "bundle",
            split=split,
            classes=names(classes),
            store=place if skip_missing else None,
        )
        ablation = None if no_ablation else AblationRequest(wished, percents, level, draws, bootstrap, seed)
        request = Request(
            attribute, place, cache or run / "features", names(origins) or None, ablation, bootstrap, seed, device
        )
        rows = work(opened_run, data, request, tell=tell, say=tell_me)
        if counts is not None:
            import polars as pl

            from cxrtrain.prepare import prepare
            from cxrtrain.probe import freezing

            folder = runs or run / "probe" / slug(attribute)
            planned = freezing.plan(opened_run, data, names(origins) or ("run",), names(counts), folder)
            file = freezing.write_experiment(planned, folder)
            for one in planned:
                click.echo(one.command(file, place), err=True)
            if do_train:
                bundle = prepare(opened, planned[0].experiment, folder / "bundle")
                trained = freezing.run_plan(
                    planned, bundle, data, place, attribute=attribute, device=device, bootstrap=bootstrap, seed=seed,
                    tell=tell, say=tell_me,
                )  # fmt: skip
                rows = pl.concat([rows, trained])
    if figures is not None:
        from cxrdata.report.figure import save_figures
        from cxrtrain.probe.figures import probe_figures

        for path in save_figures(probe_figures(rows), figures):
            remark(str(path), quiet=quiet)
    emit(rows, row_format=row_format, limit=limit, out=out, quiet=quiet)


def checked_criteria(said: str) -> tuple[str, ...]:
    """Names of criteria. Raises CxrError CXR-501."""
    found = names(said)
    if strange := [one for one in found if one not in CRITERIA]:
        raise CxrError("CXR-501", f"there is no criterion {strange[0]!r}", fix=f"--criterion {' or '.join(CRITERIA)}")
    return found


def _percents(said: tuple[str, ...]) -> tuple[float, ...]:
    """Shares of units from percents. Raises CxrError CXR-502."""
    try:
        found = tuple(float(one) / 100 for one in said)
    except ValueError:
        found = ()
    if not found or not all(0 < one <= 1 for one in found):
        raise CxrError("CXR-502", f"--shares cannot be {','.join(said)!r}", fix="percents, such as --shares 1,2,5")
    return found
