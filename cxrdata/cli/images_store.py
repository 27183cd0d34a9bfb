"""`cxrdata images build|export|show`: what is made of the pixels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from cxrdata.cli.images import chosen_options, given_roots, roots_option
from cxrdata.cli.options import (
    catalog_option,
    engine_options,
    example,
    limit_options,
    names,
    quiet_option,
    rows_options,
)
from cxrdata.cli.output import emit, progress, remark, tell_of
from cxrdata.errors import CxrError
from cxrdata.wording import counted

FITS = ("squash", "pad", "crop")
LAYOUTS = ("plain", "chexploration", "ped_vs_adults")


@contextmanager
def _rate(title: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A function that is told images done and images in all: on a terminal a bar, the rate and the time left."""
    with progress(title, quiet=quiet) as say:
        started = time.monotonic()

        def tell(done: int, total: int) -> None:
            seconds = time.monotonic() - started
            rate = done / seconds if seconds > 0 else 0.0
            left = f", {_duration((total - done) / rate)} left" if rate else ""
            say(f"{done:,} of {total:,} images, {rate:,.0f}/s{left}")

        yield tell


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _share(text: str | None) -> tuple[int, int]:
    """`--shard I/N`. Raises CxrError CXR-502."""
    if text is None:
        return 1, 1
    first, sign, last = text.partition("/")
    if not sign or not first.isdecimal() or not last.isdecimal():
        raise CxrError("CXR-502", f"--shard needs I/N, got {text!r}", fix="for example --shard 3/16, I counted from 1")
    return int(first), int(last)


@click.command(epilog=example("cxrdata images build --dataset nih --size 224 --out store"))
@click.option("--size", type=click.IntRange(min=1), default=224, show_default=True, help="Pixels a side.")
@click.option("--fit", type=click.Choice(FITS), default="squash", show_default=True, help="How images become square.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The store's folder.")
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Processes; default: the cores there are.")
@engine_options
@click.option("--shard", metavar="I/N", help="Only the I-th of N shares, for an array of jobs.")
@chosen_options
@roots_option
@quiet_option
@catalog_option
def build(
    size: int,
    fit: str,
    out: Path,
    workers: int | None,
    engine: str,
    address: str | None,
    shard: str | None,
    datasets: str | None,
    where: str | None,
    split: str | None,
    roots: tuple[str, ...],
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Decode the images to 8-bit grey of one size, into a store that training reads at the speed of memory.

    JPEG, PNG (8 and 16 bit) and DICOM are read where they lie, from folders, .zip, .tar and .tar.gz. squash fills the
    square, pad keeps the aspect with black beside, crop keeps the aspect and the centre. The same command again continues where it
    was interrupted and does changed files anew. Images that cannot be decoded are listed in refused.parquet with a
    reason. An array of jobs: each runs the same command with --shard $SLURM_ARRAY_TASK_ID/N (--array=1-N); the one that
    finishes last writes the index. The same from Python: cxrdata.images.build.build_store.
    """
    import os

    import cxrdata
    from cxrdata.engines import Engine
    from cxrdata.images.build import StoreRequest, build_store
    from cxrdata.images.choice import choose
    from cxrdata.images.resize import Frame
    from cxrdata.images.roots import ImageRoots
    from cxrdata.images.sources import locate

    who = Engine(engine, workers or os.cpu_count() or 1, address)
    frame, share = Frame(size, fit), _share(shard)
    with cxrdata.open(catalog) as opened:
        tell_of(opened, quiet=quiet)
        known = ImageRoots.load(given_roots(roots), datasets=opened.manifest["datasets"])
        asked = names(datasets) or tuple(name for name in opened.manifest["datasets"] if known.by_dataset.get(name))
        chosen = choose(opened, datasets=asked, where=where, split=split)
        for dataset in chosen["dataset"].unique().sort():
            known.require(dataset)
        with progress("looking for the files", quiet=quiet):
            located = locate(opened, chosen, known, remarks=lambda text: remark(text, quiet=quiet))
    request = StoreRequest(
        out.absolute(),
        located,
        frame,
        share=share,
        engine=who,
    )
    with _rate("building", quiet=quiet) as tell:
        report = build_store(request, tell=tell)
    rate = report.decoded / report.seconds if report.seconds else 0.0
    remark(
        f"{counted(report.images, 'image')}: {report.decoded:,} decoded ({rate:,.0f}/s), {report.reused:,} as they were; "
        f"{report.refused:,} of them refused",
        quiet=quiet,
    )
    if report.missing_shards:
        remark(
            f"{counted(report.missing_shards, 'shard')} left to other jobs; the last one writes the index", quiet=quiet
        )
    else:
        remark(f"store written to {out}; next: cxrdata.open().images({str(out)!r})", quiet=quiet)


@click.command(epilog=example("cxrdata images export store files --as png --layout chexploration"))
@click.argument("store", type=click.Path(path_type=Path, file_okay=False))
@click.argument("out", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--as", "kind", type=click.Choice(["png", "jpeg"]), default="png", show_default=True, help="Kind of files."
)
@click.option("--layout", type=click.Choice(LAYOUTS), default="plain", show_default=True, help="Whose folders.")
@click.option("--replace", is_flag=True, help="Write files anew that are there.")
@chosen_options
@quiet_option
@catalog_option
def export(
    store: Path,
    out: Path,
    kind: str,
    layout: str,
    replace: bool,
    datasets: str | None,
    where: str | None,
    split: str | None,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Write a store's images as plain files below DIR, in the folders that other code reads.

    plain: <dataset>/<image_id>. chexploration: preproc_224x224/, as its sample files name them (`cxrdata split export`).
    ped_vs_adults: its folders, and a table of them. Files that are there are kept.
    """
    import cxrdata
    from cxrdata.images.choice import choose
    from cxrdata.images.export import export_images
    from cxrdata.images.store import KEY, ImageStore

    opened_store = ImageStore(store)
    with cxrdata.open(catalog) as opened:
        tell_of(opened, quiet=quiet)
        rows = opened_store.index.select(KEY)
        if datasets or where or split:
            rows = rows.join(choose(opened, datasets=names(datasets), where=where, split=split), on=KEY, how="semi")
        with _rate("exporting", quiet=quiet) as tell:
            done = export_images(opened, opened_store, rows, out, layout=layout, kind=kind, replace=replace, tell=tell)
    remark(f"{counted(done.images, 'image')} written to {out}, {done.there:,} were there", quiet=quiet)
    for dataset, n in done.left_out.items():
        remark(f"{counted(n, 'image')} of {dataset} left out: the layout {layout} has no place for them", quiet=quiet)
    for table in done.tables:
        remark(f"{out / table}: where each image is", quiet=quiet)


@click.command(
    epilog=example('cxrdata images show "SELECT dataset, image_id, age_years FROM images LIMIT 24" --sheet sheet.png')
)
@click.argument("query", default="SELECT dataset, image_id FROM images ORDER BY hash(image_uid) LIMIT 24")
@click.option("--sheet", type=click.Path(path_type=Path, dir_okay=False), help="The contact sheet: .png or .html.")
@click.option("--store", type=click.Path(path_type=Path, file_okay=False), help="Read from this store, not from files.")
@click.option(
    "--size", type=click.IntRange(min=8, max=2048), default=None, help="Pixels a side; default the store's, else 192."
)
@click.option("--columns", type=click.IntRange(min=1), default=8, show_default=True, help="Images beside each other.")
@click.option("--mean", metavar="COLUMN", help="The mean image of each value of a column of the query; needs --store.")
@click.option("--histogram", metavar="COLUMN", help="Grey levels by a column of the query, as rows; needs --store.")
@roots_option
@limit_options("the query")
@rows_options
@quiet_option
@catalog_option
def show(
    query: str,
    sheet: Path | None,
    store: Path | None,
    size: int | None,
    columns: int,
    mean: str | None,
    histogram: str | None,
    roots: tuple[str, ...],
    timeout: float,
    memory: str,
    row_format: str,
    limit: int | None,
    out: Path | None,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Draw the images that a query names (columns dataset and image_id) as a contact sheet; what else it selects stands
    below each.

    --mean age_group draws the mean image of each age group instead; --histogram dataset prints how often each grey level
    is in each dataset.
    """
    if (mean or histogram) and store is None:
        raise CxrError("CXR-502", "--mean and --histogram read a store", fix="name it: --store PATH")
    if (sheet is None) == (histogram is None):
        raise CxrError(
            "CXR-502", "either a sheet or a histogram is asked for", fix="--sheet FILE.png, or --histogram dataset"
        )
    import cxrdata
    from cxrdata.images.pictures import MOST_SHOWN, captions_of, histograms, mean_images, pixels_of, write_sheet
    from cxrdata.images.roots import ImageRoots
    from cxrdata.images.store import KEY, ImageStore

    opened_store = ImageStore(store) if store is not None else None
    with cxrdata.open(catalog, memory=memory) as opened:
        tell_of(opened, quiet=quiet)
        frame = opened.sql(query, seconds=timeout or None)
        if lacking := [name for name in KEY if name not in frame.columns]:
            raise CxrError("CXR-504", f"the query gives no column {lacking[0]}", fix="select dataset and image_id")
        if (mean or histogram) and opened_store is not None:
            asked, frame = frame.height, opened_store.held(frame)
            if frame.height < asked:
                remark(f"{counted(asked - frame.height, 'image')} of {asked:,} left out: not in the store", quiet=quiet)
        if histogram is not None and opened_store is not None:
            emit(histograms(opened_store, frame, histogram), row_format=row_format, limit=limit, out=out, quiet=quiet)
            return
        assert sheet is not None
        if mean is not None and opened_store is not None:
            pixels, captions = mean_images(opened_store, frame, mean)
        else:
            if frame.height > MOST_SHOWN:
                raise CxrError(
                    "CXR-502",
                    f"{frame.height:,} images do not fit on a sheet of at most {MOST_SHOWN}",
                    fix=f"add LIMIT {MOST_SHOWN} to the query, or draw means: --mean COLUMN",
                )
            side = size or (opened_store.side if opened_store is not None else 192)
            known = ImageRoots.load(given_roots(roots), datasets=opened.manifest["datasets"])
            pixels, reasons = pixels_of(opened, frame, side=side, store=opened_store, roots=known)
            captions = captions_of(frame, reasons)
    write_sheet(pixels, captions, sheet, columns=columns)
    remark(f"{counted(len(pixels), 'picture')} drawn to {sheet}", quiet=quiet)
