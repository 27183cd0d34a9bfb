"""`cxrdata explain`: where in an image a run's score comes from, and which images it is wrong about."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from cxrdata.cli.options import NAMES, catalog_option, example, names, quiet_option
from cxrdata.cli.output import emit, progress, remark, tell_of
from cxrdata.errors import CxrError
from cxrdata.wording import counted
from cxrtrain.cli import require_torch
from cxrtrain.cli.train import said_store, store_option

METHODS = ("grad-cam", "cam", "ablation-cam", "chexnet")


@click.command(
    short_help="Maps over images, false positives by age, mean images.",
    epilog=example(
        "cxrdata explain runs/quick --store store --false-positives --by age_group:case_study --out explained"
    ),
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--split", metavar="NAME[:PART]", help="Images of a split; default the test part of the run's own.")
@click.option("--dataset", "datasets", metavar=NAMES, help="Only images of these datasets.")
@click.option("--where", metavar="SQL", help="Images that meet a condition over the columns of images.")
@click.option("--false-positives", is_flag=True, help="Only images without the finding that are called positive.")
@click.option(
    "--threshold", metavar="RULE", help="youden (default), f1, fpr=0.2, … on the run's validation images; or a number."
)
@click.option("--by", metavar="ATTRIBUTE", help="Pictures and mean images by group: age_group:SCHEME, sex, view, …")
@click.option("--per-group", type=click.IntRange(min=1), default=8, show_default=True, help="Pictures of each group.")
@click.option("--method", type=click.Choice(METHODS), default="grad-cam", show_default=True, help="How maps are made.")
@click.option("--top", type=click.IntRange(min=1), help="Of ablation-cam: only the N strongest maps of an image.")
@click.option(
    "--prevalence", type=click.FloatRange(0, 1), help="Of chexnet; default that of the run's training images."
)
@click.option("--head", metavar="NAME", help="The head that is asked, where there are several.")
@click.option("--output", metavar="NAME", help="The head's finding or class, where there are several.")
@store_option
@click.option("--out", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new folder.")
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1; default a GPU where there is one.")
@click.option("--skip-missing", is_flag=True, help="Leave out images that the store lacks.")
@quiet_option
@catalog_option
def explain(
    run: Path,
    split: str | None,
    datasets: str | None,
    where: str | None,
    false_positives: bool,
    threshold: str | None,
    by: str | None,
    per_group: int,
    method: str,
    top: int | None,
    prevalence: float | None,
    head: str | None,
    output: str | None,
    store: Path | None,
    folder: Path,
    device: str | None,
    skip_missing: bool,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Draw what the best model of RUN looks at: each image beside itself under a map (red speaks for the output, blue
    against it), with prediction, truth, age and view below; contact sheets; with --by the mean image of each group.

    Writes pictures/*.png, sheet.png, sheet.html, means.png, index.parquet and the terms of the data into the new folder
    --out, and prints how many images each group has. The images with the highest scores are drawn. A map says what the
    score follows from, not whether that is right.
    """
    if threshold is not None and not false_positives:
        raise CxrError("CXR-502", "--threshold says what a false positive is", fix="add --false-positives")
    if (prevalence is not None) > (method == "chexnet") or (top is not None) > (method == "ablation-cam"):
        raise CxrError("CXR-502", "--prevalence is of --method chexnet, --top of ablation-cam", fix="leave it out")
    require_torch()
    import cxrdata
    from cxrtrain.choice import images_of_catalog, own_images
    from cxrtrain.explain import run as work
    from cxrtrain.explain.operating_point import threshold_of
    from cxrtrain.explain.question import output_of
    from cxrtrain.run_folder import open_run

    opened_run = open_run(run)
    asked = output_of(opened_run, head, output)
    place = said_store(store)
    work.check_out(folder)
    with (
        cxrdata.open(catalog) as opened,
        tempfile.TemporaryDirectory(prefix="cxrdata-bundle-") as scratch,
        progress("explaining", quiet=quiet) as tell,
    ):
        tell_of(opened, quiet=quiet)
        chosen = names(datasets)
        if split is None and where is None and not chosen:
            images = own_images(opened_run)
        else:
            images = images_of_catalog(opened, Path(scratch), split=split, datasets=chosen, where=where)
        level = None
        if false_positives:
            level = threshold_of(opened_run, asked, threshold or "youden", place, device=device, tell=tell)
        request = work.Request(
            asked, method, place, folder, by, per_group, level, prevalence, top, device, skip_missing
        )
        done = work.explain(opened_run, opened, images, request, tell=tell, say=lambda text: remark(text, quiet=quiet))
    emit(done.counts, quiet=quiet)
    remark(f"{counted(done.index.height, 'picture')} in {folder}: see {folder / 'sheet.html'}", quiet=quiet)
