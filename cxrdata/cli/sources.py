"""`cxrdata sources` and `cxrdata synth`: what can be ingested, and stand-ins for it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cxrdata.cli.options import example, overlays_option, quiet_option, rows_options
from cxrdata.cli.output import emit, progress, remark
from cxrdata.errors import CxrError
from cxrdata.wording import counted

OFFICIAL = "official"
SHORTEST, LONGEST = 16, 4096


@click.command(epilog=example("cxrdata sources nih"))
@click.argument("name", required=False)
@overlays_option
@rows_options
def sources(name: str | None, overlays: Path | None, row_format: str, limit: int | None, out: Path | None) -> None:
    """List the datasets that can be ingested; with NAME, all about one: the files looked for, the variants that are
    told apart, where to get it, its licence, and official counts.
    """
    from cxrdata.sources.base import Registry
    from cxrdata.sources.listing import source_page, sources_frame

    registry = Registry(overlays)
    if name is None:
        emit(sources_frame(registry), row_format=row_format, limit=limit, out=out)
    else:
        sys.stdout.write(source_page(registry.get(name)))


def _long_side(text: str | None, *, images: bool) -> int | str | None:
    """`--long-side N|official`. Raises CxrError CXR-502."""
    if text is None or (text == OFFICIAL and images):
        return text
    if not images:
        raise CxrError("CXR-502", "--long-side says how large images are drawn", fix="add --images")
    if not text.isdecimal() or not SHORTEST <= int(text) <= LONGEST:
        raise CxrError(
            "CXR-502",
            f"--long-side needs pixels from {SHORTEST} to {LONGEST}, or {OFFICIAL}, got {text!r}",
            fix="for example --long-side 512",
        )
    return int(text)


@click.command(epilog=example("cxrdata synth data --scale 0.001"))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True),
    default=0.001,
    show_default=True,
    help="Size; 1 is the official one.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Other seeds, other numbers.")
@click.option("--only", metavar="NAMES", help="Only these datasets, separated by commas.")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="DATASET=NAMES",
    help="Variants of a dataset's format; -NAME leaves one out; repeatable.",
)
@click.option("--list-variants", is_flag=True, help="List the variants.")
@click.option("--images", is_flag=True, help="Draw every image: a chest with a heart of known width (phantoms.csv).")
@click.option(
    "--norms",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Of --images: a file in place of metadata/phantom_norms.toml, such as a control.",
)
@click.option(
    "--long-side",
    metavar="N|official",
    help="Of --images: pixels of the longer side; official: as the tables state. Default 320; DICOM a tenth of official.",
)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Of --images: processes.")
@overlays_option
@quiet_option
def synth(
    folder: Path,
    scale: float,
    seed: int,
    only: str | None,
    variants: tuple[str, ...],
    list_variants: bool,
    images: bool,
    norms: Path | None,
    long_side: str | None,
    workers: int,
    overlays: Path | None,
    quiet: bool,
) -> None:
    """Write the six datasets below DIR in their official layout, formats and quirks, from random numbers.

    A test instrument and first data to try with. Everything is labelled synthetic, in the folders and in the tables
    built from them. Variants named add to a dataset's usual ones and replace their alternatives.
    """
    from cxrdata.sources.write_synthetic import list_variants as variants_frame
    from cxrdata.sources.write_synthetic import write_datasets

    if norms is not None and not images:
        raise CxrError("CXR-502", "--norms says how images are drawn", fix="add --images")
    side = _long_side(long_side, images=images)
    if list_variants:
        emit(variants_frame(overlays))
        return
    with progress("writing synthetic data", quiet=quiet) as tell:
        written = write_datasets(
            folder,
            scale=scale,
            seed=seed,
            only=only,
            variants=variants,
            images=images,
            official_size=side == OFFICIAL,
            overlays=overlays,
            progress=tell,
        )
        if images:
            from cxrdata.images.phantom_files import write_phantoms

            drawn = write_phantoms(
                folder,
                written,
                seed=seed,
                norms=norms,
                long_side=side,
                overlays=overlays,
                workers=workers,
                progress=tell,
            )
    if images:
        remark(f"{counted(drawn, 'image')} drawn; the truth is in each dataset's phantoms.csv", quiet=quiet)
    remark(
        f"synthetic data written to {folder}: {', '.join(written)}; next: cxrdata build-catalog --root {folder}",
        quiet=quiet,
    )
