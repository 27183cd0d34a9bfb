"""`cxrdata export`: the catalog in the forms that others read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cxrdata.cli.options import NAMES, catalog_option, example, names, quiet_option
from cxrdata.cli.output import progress, remark, tell_of
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.cli.options import Command
    from cxrdata.export.place import Exported

_MANY_FILES = 6


def _out(*, folder: bool, help_text: str) -> Command:
    kind = click.Path(path_type=Path, file_okay=not folder, dir_okay=folder)
    return click.option("--out", required=True, type=kind, help=help_text)


_force = click.option("--force", is_flag=True, help="Replace what an earlier export of this kind wrote.")
_datasets = click.option("--dataset", "datasets", metavar=NAMES, help="Only these datasets.")
_split = click.option("--split", metavar="NAME", help="Only the images of a stored split, with its columns.")
_no_escape = click.option(
    "--no-escape",
    is_flag=True,
    help="Keep text cells that a spreadsheet would run as a formula; else they get a leading '.",
)


@click.group(epilog=example("cxrdata export labels --out labels.csv --policy ignore"))
def export() -> None:
    """Write the catalog in the forms that others read.

    What is written holds rows of the datasets: their terms apply (DATA_TERMS.md). Nothing that exists is replaced
    without --force.
    """


@export.command("croissant", epilog=example("cxrdata export croissant --dataset nih --out nih-croissant"))
@_out(folder=True, help_text="Folder to write: croissant.json and the Parquet files that it describes.")
@_datasets
@click.option("--url", help="Where you publish the export; default the dataset's homepage if there is one dataset.")
@click.option(
    "--date-published",
    metavar="DATE",
    help="When you published it (YYYY-MM-DD); default the year in which the newest dataset was.",
)
@_force
@quiet_option
@catalog_option
def croissant_command(
    out: Path,
    datasets: str | None,
    url: str | None,
    date_published: str | None,
    force: bool,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Write Croissant 1.1 metadata with RAI properties, beside the Parquet that it describes.

    Records load through mlcroissant without a network: Dataset("DIR/croissant.json").records("images").
    """
    import cxrdata
    from cxrdata.export.croissant import export_croissant

    with cxrdata.open(catalog) as opened, progress("exporting", quiet=quiet):
        made = export_croissant(
            opened, out, datasets=names(datasets), url=url, date_published=date_published, force=force
        )
        tell_of(opened, quiet=quiet)
    _tell(made, out, quiet=quiet)


@export.command("dictionary", epilog=example("cxrdata export dictionary --out dictionary.html"))
@_out(folder=False, help_text="File to write, .md or .html.")
@_force
@quiet_option
@catalog_option
def dictionary_command(out: Path, force: bool, quiet: bool, catalog: Path | None) -> None:
    """Write the data dictionary: tables, columns, types, units, allowed values, and every vocabulary.

    With a catalog its own vocabularies and datasets are described, overlays included; without one those that ship.
    """
    import cxrdata
    from cxrdata.export.dictionary import export_dictionary
    from cxrdata.store.catalog import default_folder

    if catalog is None and not default_folder().exists():
        made = export_dictionary(None, out, force=force)
        remark("no catalog here: the vocabularies and datasets that ship are described", quiet=quiet)
    else:
        with cxrdata.open(catalog) as opened:
            made = export_dictionary(opened, out, force=force)
    _tell(made, out, quiet=quiet)


@export.command("parquet", epilog=example("cxrdata export parquet --tables images,image_labels --out parquet"))
@_out(folder=True, help_text="Folder to write: TABLE/dataset=NAME/part-0.parquet.")
@click.option("--tables", metavar=NAMES, help="Only these tables or views; default all but the long ones.")
@_datasets
@_split
@_force
@quiet_option
@catalog_option
def parquet_command(
    out: Path,
    tables: str | None,
    datasets: str | None,
    split: str | None,
    force: bool,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Write Hive-partitioned Parquet that Spark, pandas, polars and DuckDB read."""
    import cxrdata
    from cxrdata.export.parquet import export_parquet

    with cxrdata.open(catalog) as opened, progress("exporting", quiet=quiet):
        made = export_parquet(
            opened,
            out,
            tables=names(tables) if tables is not None else None,
            datasets=names(datasets),
            split=split,
            force=force,
        )
        tell_of(opened, quiet=quiet)
    _tell(made, out, quiet=quiet)


@export.command("labels", epilog=example("cxrdata export labels --out labels.csv --policy ignore --dataset nih"))
@_out(folder=False, help_text="File to write, .csv, .csv.gz or .parquet.")
@click.option(
    "--policy",
    required=True,
    metavar="raw|zeros|ones|ignore|FILE",
    help="What uncertain and unmentioned labels become; FILE: TOML, finding = policy.",
)
@_datasets
@click.option("--labeler", metavar="NAME", help="Only this labeler; default the one that each dataset prefers.")
@click.option("--findings", metavar=NAMES, help="Only these findings.")
@click.option("--rollup", is_flag=True, help="Carry positives up the finding tree.")
@_split
@click.option("--with-columns", metavar=NAMES, help="Columns of `images` beside the labels, and `labeler`.")
@_no_escape
@_force
@quiet_option
@catalog_option
def labels_command(
    out: Path,
    policy: str,
    datasets: str | None,
    labeler: str | None,
    findings: str | None,
    rollup: bool,
    split: str | None,
    with_columns: str | None,
    no_escape: bool,
    force: bool,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Write labels wide, one row an image, one column a finding: 1 positive, 0 negative, -1 uncertain, else empty.

    raw keeps -1 and empty; zeros and ones turn uncertain into 0 or 1 and unmentioned into 0; ignore empties both. The
    same from Python as a frame: Catalog.labels(policy=...).
    """
    import cxrdata
    from cxrdata.export.labels import export_labels, policy_of_findings

    with cxrdata.open(catalog) as opened:
        made = export_labels(
            opened,
            out,
            policy=policy_of_findings(opened, policy),
            datasets=names(datasets),
            labeler=labeler,
            findings=names(findings) if findings is not None else None,
            rollup=rollup,
            split=split,
            columns=names(with_columns),
            escape=not no_escape,
            force=force,
        )
        tell_of(opened, quiet=quiet)
    _tell(made, out, quiet=quiet)


@export.command("torchxrayvision", epilog=example("cxrdata export torchxrayvision --dataset nih --out nih.csv"))
@click.option("--dataset", required=True, metavar="NAME", help="Which dataset.")
@_out(folder=False, help_text="File to write, .csv or .csv.gz.")
@click.option("--split", metavar="NAME", help="Only the images of a stored split.")
@_no_escape
@_force
@quiet_option
@catalog_option
def torchxrayvision_command(
    dataset: str,
    out: Path,
    split: str | None,
    no_escape: bool,
    force: bool,
    quiet: bool,
    catalog: Path | None,
) -> None:
    """Write a dataset as the CSV that its class in TorchXRayVision reads in place of the official one.

    One file a split: `cxrdata split export NAME --layout torchxrayvision`.
    """
    import cxrdata
    from cxrdata.export.torchxrayvision import export_torchxrayvision

    with cxrdata.open(catalog) as opened:
        made = export_torchxrayvision(opened, dataset, out, split=split, escape=not no_escape, force=force)
        tell_of(opened, quiet=quiet)
    _tell(made, out, quiet=quiet)


def _tell(made: Exported, out: Path, *, quiet: bool) -> None:
    """What was written, on stderr: file by file, or in sum where there are many."""
    if len(made.files) > _MANY_FILES:
        rows = sum(n for n in made.files.values() if n is not None)
        remark(f"written: {out}, {counted(len(made.files), 'file')}, {counted(rows, 'row')}", quiet=quiet)
    else:
        for path, n in made.files.items():
            remark(f"written: {path}" + (f", {counted(n, 'row')}" if n is not None else ""), quiet=quiet)
    for note in made.notes:
        remark(note, quiet=quiet)
