"""`cxrdata fetch`: get what may be had without asking, and say how to get the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cxrdata.cli.options import catalog_option, example, overlays_option, quiet_option, rows_options
from cxrdata.cli.output import emit, progress, remark
from cxrdata.errors import CxrError
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.images.fetch import Plan
    from cxrdata.sources.base import Source


@click.command(epilog=example("cxrdata fetch nih --metadata"))
@click.argument("dataset")
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), help="Folder; default NAME below $CXRDATA_ROOT or ./data."
)
@click.option("--metadata", "metadata_only", is_flag=True, help="Only the tables, not the images.")
@click.option("--where", metavar="SQL", help="Only images that meet a condition over the columns of images.")
@click.option("--split", metavar="NAME[:PART]", help="Only images of a stored split, or of one of its parts.")
@click.option("--workers", type=click.IntRange(1, 12), default=3, show_default=True, help="Files at a time.")
@click.option("--keep-archives", is_flag=True, help="Keep the archives after their images are unpacked.")
@click.option("--list", "only_list", is_flag=True, help="Print what would be fetched, and fetch nothing.")
@rows_options
@overlays_option
@quiet_option
@catalog_option
def fetch(
    dataset: str,
    folder: Path | None,
    metadata_only: bool,
    where: str | None,
    split: str | None,
    workers: int,
    keep_archives: bool,
    only_list: bool,
    row_format: str,
    limit: int | None,
    out: Path | None,
    overlays: Path | None,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Get the files of DATASET from where it is published: only NIH ChestX-ray14 is openly licensed.

    Archives come several at a time, are gone on with after Ctrl-C or a broken connection, checked against the published
    checksums and unpacked. --where and --split need a catalog of its metadata (--metadata, then build-catalog) and get
    only the archives that hold such images. For any other dataset this prints the official way.
    """
    from cxrdata.sources.base import Registry
    from cxrdata.sources.listing import official_way

    source = Registry(overlays).get(dataset)
    if not source.entry.get("download"):
        click.echo(official_way(source), nl=False)
        remark(f"cxrdata fetches only what is openly licensed; {source.title} is got as said above", quiet=quiet)
        return
    if metadata_only and (where or split):
        raise CxrError("CXR-502", "--metadata gets no images", fix="leave --where and --split out")
    from cxrdata.config import default_roots
    from cxrdata.images.fetch import fetch as fetch_files
    from cxrdata.images.fetch import make_plan

    place = folder or default_roots()[0] / source.name
    images = _chosen(source, catalog, where, split) if where or split else None
    plan = make_plan(source, place, images=images, metadata_only=metadata_only)
    if only_list:
        emit(plan.frame(), row_format=row_format, limit=limit, out=out, quiet=quiet)
        return
    _tell_before(plan, quiet=quiet)
    with progress("fetching", quiet=quiet) as say:
        fetch_files(plan, workers=workers, keep_archives=keep_archives, progress=say)
    _tell_after(source, plan, quiet=quiet)


def _chosen(source: Source, catalog: Path | None, where: str | None, split: str | None) -> list[str]:
    import cxrdata
    from cxrdata.images.choice import choose

    with cxrdata.open(catalog) as opened:
        ids: list[str] = choose(opened, datasets=[source.name], where=where, split=split)["image_id"].to_list()
    return ids


def _tell_before(plan: Plan, *, quiet: bool) -> None:
    needed = plan.needed
    size = sum(item.wanted.bytes or 0 for item in needed)
    about = f", {size / 1e9:,.1f} GB" if size else ""
    remark(f"{counted(len(needed), 'file')} of {len(plan.items)} to fetch{about}, to {plan.folder}", quiet=quiet)


def _tell_after(source: Source, plan: Plan, *, quiet: bool) -> None:
    first_seen = [item.wanted.name for item in plan.needed if not item.wanted.has_checksum]
    if first_seen:
        remark(
            f"no checksum is published of {', '.join(first_seen)}: what came is recorded in fetched.json and trusted",
            quiet=quiet,
        )
    remark(f"all there; next: cxrdata build-catalog {source.name}={plan.folder}", quiet=quiet)
