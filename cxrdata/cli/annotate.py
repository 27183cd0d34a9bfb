"""`cxrdata annotate`: what the catalog knows of a file's images."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from cxrdata.cli.options import catalog_option, example, quiet_option
from cxrdata.cli.output import progress, remark, tell_of, write
from cxrdata.errors import CxrError, Exit
from cxrdata.wording import counted

LEAK = "CXR-406"


@click.command(epilog=example("cxrdata annotate preds.csv --add age_years,sex,race --out preds_annotated.csv"))
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--add",
    metavar="COLUMNS",
    help="What to add, separated by commas: columns of images, labels, findings, age_group:SCHEME.",
)
@click.option(
    "--key", metavar="COLUMN", help="Column with the image key; default: the one that the catalog knows best."
)
@click.option(
    "--split",
    metavar="COLUMN",
    help="Column whose values must not share patients; default: found by its name (split, fold, is_train, …).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the rows with the added columns: .csv, .parquet, …",
)
@click.option(
    "--format",
    "page_format",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="How the findings are printed.",
)
@quiet_option
@catalog_option
def annotate(
    file: Path,
    add: str | None,
    key: str | None,
    split: str | None,
    out: Path | None,
    page_format: str,
    quiet: bool,
    catalog: Path | None,
) -> int:
    """Join age, sex, race, view, patient and labels to FILE, any CSV or Parquet file with an image key.

    Prints one page of findings: rows that match no image, patients on both sides of a split, ages, sexes and labels
    that differ from the source. Ends with 1 if patients leak. The same from Python: cxrdata.open().annotate(frame).
    """
    import cxrdata
    from cxrdata.annotate import annotate_file
    from cxrdata.annotate.tabular import with_numbers

    if not file.is_file():
        raise CxrError("CXR-101", "this file does not exist", where=str(file), fix="name a CSV or Parquet file")
    if out is not None and out.resolve() == file.resolve():
        raise CxrError(
            "CXR-502", "--out would overwrite the file that is annotated", where=str(out), fix="name another file"
        )
    with cxrdata.open(catalog) as opened, progress("annotating", quiet=quiet):
        annotation = annotate_file(opened, file, add=add, key=key, split=split)
    tell_of(opened, quiet=quiet)
    if out is not None:
        write(with_numbers(annotation.frame) if out.suffix.lower() == ".parquet" else annotation.frame, out)
        remark(f"{counted(annotation.frame.height, 'row')} written to {out}", quiet=quiet)
    sys.stdout.write(
        json.dumps(annotation.summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        if page_format == "json"
        else str(annotation)
    )
    if annotation.leaks.is_empty():
        return Exit.DONE
    n, column = annotation.leaks.height, annotation.summary["split"]["column"]
    remark(
        f"error {LEAK}: {counted(n, 'patient')} {'stands' if n == 1 else 'stand'} in more than one value of {column!r}; fix: split by patient_id (--out FILE adds it), not by image"
    )
    return Exit.DATA
