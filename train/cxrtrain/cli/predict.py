"""`cxrdata predict` and `cxrdata embed`: what a run says of images, and what its heads see of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cxrdata.cli.options import NAMES, Command, catalog_option, example, names, quiet_option
from cxrdata.cli.output import check_places, progress, remark, tell_of
from cxrdata.errors import CxrError
from cxrdata.wording import counted
from cxrtrain.cli import require_torch
from cxrtrain.cli.train import said_store, store_option

if TYPE_CHECKING:
    from cxrtrain.choice import Choice
    from cxrtrain.predict import Said
    from cxrtrain.run_folder import Run

LAYOUTS = ("chexploration", "chexnet")


def _options(layouts: tuple[str, ...], default: str) -> Callable[[Command], Command]:
    """Which images, of which store; and where what is said of them goes, and how: one of `layouts`."""

    def add(function: Command) -> Command:
        for option in (
            catalog_option,
            quiet_option,
            click.option(
                "--histogram-blend",
                type=click.FloatRange(0, 1),
                default=0.0,
                show_default=True,
                help="Share of histogram matching to the run's training images.",
            ),
            click.option("--skip-missing", is_flag=True, help="Leave out images that the store lacks."),
            click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1; default a GPU where there is one."),
            click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help=f"Default {default}."),
            click.option("--head", metavar="NAME", help="Of --layout chexploration, which has room for one."),
            click.option("--layout", type=click.Choice(layouts), help="Write as this code does; default our own."),
            store_option,
            click.option("--where", metavar="SQL", help="Images that meet a condition over the columns of images."),
            click.option("--dataset", "datasets", metavar=NAMES, help="Only images of these datasets."),
            click.option("--bundle", metavar="DIR[:PART]", help="Images of a bundle: no catalog is needed."),
            click.option("--split", metavar="NAME[:PART]", help="Images of a split of the catalog."),
            click.argument("run", type=click.Path(path_type=Path)),
        ):
            function = option(function)
        return function

    return add


@click.command(
    short_help="What a run says of images, by key.",
    epilog=example("cxrdata predict runs/quick --split quick:test --store store --out preds.parquet"),
)
@_options(LAYOUTS, "RUN/predictions.WHICH.parquet")
def predict(run: Path, layout: str | None, out: Path | None, **asked: Any) -> None:  # noqa: ANN401 - click's options
    """Predict with the best model of RUN (a folder of `cxrdata train` or `cxrdata runs import`).

    Without --split, --bundle, --dataset or --where: the test part of the bundle that the run made. Writes dataset,
    image_id, prob_LABEL, logit_LABEL (of a number pred_NAME) and run_id, sorted by key: what `cxrdata audit` reads. --layout
    chexploration writes its class_i, logit_i, target_i and, beside it, the keys of the rows; chexnet its Image Index and
    prob_Label. A bundle needs no catalog, DuckDB or Polars.
    """
    _say_of(run, "predictions", layout, out, **asked)


@click.command(
    short_help="Features that a run's heads see, by key.",
    epilog=example("cxrdata embed runs/quick --split quick:test --store store --out features.parquet"),
)
@_options(LAYOUTS[:1], "RUN/embeddings.WHICH.parquet")
def embed(run: Path, layout: str | None, out: Path | None, **asked: Any) -> None:  # noqa: ANN401 - click's options
    """Write what the backbone of RUN makes of each image, before its heads: dataset, image_id, embedding (a list of
    float32), run_id.

    Which images: as for `cxrdata predict`. --layout chexploration writes columns 0, 1, … and the targets as CSV, and beside it
    the keys of the rows.
    """
    _say_of(run, "embeddings", layout, out, **asked)


def _say_of(
    folder: Path,
    what: str,
    layout: str | None,
    out: Path | None,
    *,
    split: str | None,
    bundle: str | None,
    datasets: str | None,
    where: str | None,
    store: Path | None,
    head: str | None,
    device: str | None,
    skip_missing: bool,
    histogram_blend: float,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Open the run, find the images, look at them, write."""
    from cxrtrain.run_folder import open_run

    require_torch()
    run = open_run(folder)
    suffixes = [".csv"] if layout else [".parquet", ".csv"] if what == "predictions" else [".parquet"]
    chosen = _images(run, split, bundle, names(datasets), where, catalog, quiet=quiet)
    out = out or folder / f"{what}.{chosen.word}{suffixes[0]}"
    check_places(out, suffixes)
    from cxrtrain import prediction_files
    from cxrtrain.predict import Asked, predict

    features = what == "embeddings"
    prediction_files.check_layout(run, chosen.bundle, layout, head, features=features)
    asked = Asked(chosen.bundle, said_store(store), chosen.part, device, skip_missing, histogram_blend)
    with progress("predicting", quiet=quiet) as tell:
        said: Said = predict(
            run,
            asked,
            features=features,
            tell=tell,
            say=lambda text: remark(text, quiet=quiet),
        )
    if not said.first:
        return
    write = prediction_files.write_embeddings if features else prediction_files.write_predictions
    write(said, out, layout=layout, head=head, say=lambda text: remark(text, quiet=quiet))
    remark(f"{counted(len(said.bundle), 'image')} by the run {run.run_id}", quiet=quiet)
    click.echo(str(out))


def _images(
    run: Run,
    split: str | None,
    bundle: str | None,
    datasets: tuple[str, ...],
    where: str | None,
    catalog: Path | None,
    *,
    quiet: bool,
) -> Choice:
    """The images that are asked for. Raises CxrError CXR-502 where a bundle and something of the catalog are."""
    from cxrtrain.choice import images_of_bundle, images_of_catalog, own_images

    asked = split is not None or bool(datasets) or where is not None
    if bundle is not None and asked:
        fix = "leave --split, --dataset and --where out, or --bundle"
        raise CxrError("CXR-502", "--bundle says which images are meant", fix=fix)
    if bundle is not None:
        return images_of_bundle(bundle)
    if not asked:
        return own_images(run)
    import cxrdata

    with cxrdata.open(catalog) as opened, tempfile.TemporaryDirectory(prefix="cxrdata-bundle-") as scratch:
        tell_of(opened, quiet=quiet)
        return images_of_catalog(opened, Path(scratch), split=split, datasets=datasets, where=where)
