"""What reading VinDr-CXR and VinDr-PCXR has in common: image lists, labels, headers, box files.

Both key images by 32 hex digits, name no patient and no study, and keep age and sex in the DICOM headers alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.harmonise.labels import codes_from_numbers
from cxrdata.sources.base import NEGATIVE, POSITIVE, SILENT, FoundFile, ReadContext, SourceFiles
from cxrdata.sources.dicom import sound_headers
from cxrdata.sources.rows import boxes_within, numbers, with_sound_keys, without_repeats
from cxrdata.sources.textfile import TextTable, read_csv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrdata.sources.account import Account

IMAGE_ID = r"^[0-9a-f]{32}$"
IMAGE_FORM = "32 hex digits, without suffix"
NO_FINDING = "No finding"
CORNERS = ("x_min", "y_min", "x_max", "y_max")
BOX_KEY = ("image_id", "reader_id", "native_label", *CORNERS)
# How pandas, which wrote the official files, spells an empty number where it does not leave it blank.
_NO_NUMBER = ("nan", "NaN")
_NOT_ASSESSED = -99  # stands for null where a matrix of Int8 has none


@dataclass(frozen=True)
class Annotations:
    """A box file after its rows were checked, each a statement that the image shows a class.

    rows: `image_id`, `reader_id` (null without a reader column), `native_label`, corners in pixels (null in "No finding"
    rows), `_record`, `_line`. refused: keys and label of rows refused for their box (CXR-212), whose label is then unknown.
    classes: what a box may show, sorted, without "No finding".
    """

    source_file: str
    classes: tuple[str, ...]
    rows: pl.DataFrame
    refused: pl.DataFrame


def read_headers(files: SourceFiles, context: ReadContext) -> pl.DataFrame:
    """The headers of the DICOM files (`dicom.sound_headers`); those whose name is no image id are refused."""
    return sound_headers(files.dicom, context, pattern=IMAGE_ID)


def start_images(lists: Sequence[tuple[str, str, pl.DataFrame]], account: Account) -> pl.DataFrame:
    """One row an image from label files `(source_file, split, rows)`, earlier files first.

    The first row of an image starts it; later ones (other readers, the other split) stay unsettled. An image on both lists
    has no split, and is counted. Columns: those of `RawDataset.images` that a list can give.
    """
    parts = [
        rows.filter(pl.col("image_id").is_first_distinct()).select(
            "image_id", source_file=pl.lit(name), source_split=pl.lit(split), source_row="_record", _line="_line"
        )
        for name, split, rows in lists
    ]
    listed = pl.concat(parts)
    images = listed.filter(pl.col("image_id").is_first_distinct())
    images = images.with_columns(path=pl.format("{}/{}.dicom", "source_split", "image_id"))
    both = listed.height - images.height
    if both:
        account.note("disagreement", "source_split", both, "images in the files of both splits; their split is null")
        twice = listed.filter(pl.col("image_id").is_duplicated())["image_id"].implode()
        images = images.with_columns(source_split=pl.when(~pl.col("image_id").is_in(twice)).then("source_split"))
    return images


def settle_lists(lists: Sequence[tuple[str, str, pl.DataFrame]], images: pl.DataFrame, account: Account) -> None:
    """Rows that started an image are kept, the others merged into it."""
    for name, _, rows in lists:
        kept = images.filter(pl.col("source_file") == name).height
        account.settle(name, kept=kept, merged=rows.height - kept)


def add_headers(images: pl.DataFrame, headers: pl.DataFrame, account: Account) -> pl.DataFrame:
    """Add what the DICOM headers say, and images that have a DICOM file but stand in no label file."""
    folder = pl.col("group").str.extract(r"(?:^|/)(train|test)/[^/]*$", 1)
    headers = headers.with_columns(_folder=folder)
    images = images.join(headers, on="image_id", how="left", maintain_order="left")
    moved = images.filter(pl.col("_folder") != pl.col("source_split")).height
    if moved:
        account.note(
            "disagreement",
            "source_split",
            moved,
            "images whose DICOM file lies in the other split's folder; the label files' split is used",
        )
    alone = headers.join(images, on="image_id", how="anti", maintain_order="left").with_columns(
        source_file="group",
        source_split="_folder",
        source_row=pl.int_range(pl.len(), dtype=pl.UInt32).over("group"),
        path=pl.when(pl.col("_folder").is_null())
        .then("name")
        .otherwise(pl.format("{}/{}.dicom", "_folder", "image_id")),
    )
    if alone.height:
        account.note(
            "coverage",
            "labels",
            alone.height,
            "images with a DICOM file that stand in no label file; they have no labels",
        )
    for group, merged, kept in (
        headers.group_by("group", maintain_order=True)
        .agg(pl.len(), kept=pl.col("image_id").is_in(alone["image_id"].implode()).sum())
        .iter_rows()
    ):
        account.settle(group, kept=kept, merged=merged - kept)
    without = images.filter(pl.col("group").is_null()).height
    if without and headers.height:
        account.note("coverage", "dicom", without, "images without a DICOM file; age, sex and size are null")
    images = pl.concat([images, alone], how="diagonal_relaxed")
    return (
        images.with_columns(original_rows_px="rows_px", original_columns_px="columns_px")
        .rename({"name": "attributes_file"})
        .drop("group", "_folder", "photometric")
    )


def read_annotations(
    found: FoundFile, context: ReadContext, headers: pl.DataFrame, *, reader: str | None
) -> Annotations:
    """Read a box file. `reader` is its column of readers. Refused: rows without key or reader (CXR-206, CXR-207), of a class
    that the file may not name (CXR-304), and boxes without area or outside the frame of the header, if there is one (CXR-212).
    """
    account, name = context.account, found.name
    wanted = ["image_id", "class_name", *CORNERS, *([reader] if reader else [])]
    table = read_csv(found.path, name=name, account=account, required=wanted, columns=wanted)
    table = with_sound_keys(table, account, column="image_id", pattern=IMAGE_ID, form=IMAGE_FORM)
    for column in ("class_name", *([reader] if reader else [])):
        table = with_sound_keys(table, account, column=column)
    frame = table.frame
    classes = tuple(label for label in context.labels_of(found.spec) if label != NO_FINDING)
    unknown = ~pl.col("class_name").is_in([*classes, NO_FINDING])
    account.reject_rows(name, frame.filter(unknown), "CXR-304", column="class_name")
    frame = frame.filter(~unknown).with_columns(
        reader_id=pl.col(reader) if reader else pl.lit(None, pl.String), native_label="class_name"
    )
    without = frame.filter(pl.col("class_name") == NO_FINDING).with_columns(
        pl.lit(None, pl.Float64).alias(corner) for corner in CORNERS
    )
    boxes = frame.filter(pl.col("class_name") != NO_FINDING)
    boxes = numbers(boxes, dict.fromkeys(CORNERS, pl.Float64), account, name, nulls=_NO_NUMBER)
    boxes = boxes.join(
        headers.select("image_id", "rows_px", "columns_px"), on="image_id", how="left", maintain_order="left"
    )
    sound = boxes_within(boxes, account, name, width=pl.col("columns_px"), height=pl.col("rows_px"))
    columns = [*BOX_KEY, "_record", "_line"]
    rows = pl.concat([sound.select(columns), without.select(columns)]).sort("_record")
    refused = boxes.join(sound, on="_record", how="anti").select("image_id", "reader_id", "native_label")
    return Annotations(name, classes, rows, refused)


def settle_annotations(
    annotations: Annotations, images: pl.DataFrame, account: Account, *, boxes_wanted: bool = True
) -> pl.DataFrame | None:
    """Settle the rows of a box file and return its boxes, or None if they are not wanted.

    A row is kept if it gives a box or started an image, merged if it repeats a box or only states "No finding",
    unmatched if its image is unknown.
    """
    rows = annotations.rows
    known = rows.filter(pl.col("image_id").is_in(images["image_id"].implode()))
    gives_box = (pl.col("native_label") != NO_FINDING) & pl.struct(BOX_KEY).is_first_distinct() & pl.lit(boxes_wanted)
    started = images.filter(pl.col("source_file") == annotations.source_file)["image_id"].implode()
    gives_image = pl.col("image_id").is_first_distinct() & pl.col("image_id").is_in(started)
    known = known.with_columns(_box=gives_box, _kept=gives_box | gives_image)
    kept = int(known["_kept"].sum())
    account.settle(annotations.source_file, kept=kept, merged=known.height - kept, unmatched=rows.height - known.height)
    return known.filter("_box").select(BOX_KEY) if boxes_wanted else None


def statements(annotations: Annotations, *, by: Sequence[str]) -> pl.DataFrame:
    """Codes from a box file in which every reading has at least one row: `by`, an Int8 column a class, and "No finding".

    A class with a row is positive, one without is negative by silence; where the only rows of a class were refused it is null.
    Sorted by `by`.
    """
    classes = [*annotations.classes, NO_FINDING]
    places = pl.DataFrame({"native_label": classes, "_place": np.arange(len(classes), dtype=np.uint32)})
    said = [
        annotations.refused.with_columns(_code=pl.lit(_NOT_ASSESSED)),
        annotations.rows.with_columns(_code=pl.lit(POSITIVE)),
    ]
    rows = pl.concat([part.select(*by, "native_label", "_code") for part in said]).join(
        places, on="native_label", maintain_order="left"
    )
    readings = rows.select(by).unique().sort(by)
    rows = rows.join(readings.with_row_index("_row"), on=list(by), maintain_order="left")
    matrix = np.full((len(classes), readings.height), SILENT, dtype=np.int8)
    # Positives come last and win over refused rows of the same class.
    for code in (_NOT_ASSESSED, POSITIVE):
        part = rows.filter(pl.col("_code") == code)
        matrix[part["_place"].to_numpy(), part["_row"].to_numpy()] = code
    codes = pl.DataFrame(
        {label: matrix[at] for at, label in enumerate(classes)}, schema=dict.fromkeys(classes, pl.Int8)
    )
    return readings.hstack(codes.select(pl.when(pl.all() != _NOT_ASSESSED).then(pl.all())))


def label_table(
    found: FoundFile,
    context: ReadContext,
    *,
    reader: str | None,
    required: Sequence[str],
    columns: Sequence[str],
    labels_by_image: bool = False,
) -> TextTable:
    """Read a label file and refuse rows without a sound key; a second row of the same image and reader
    (`labels_by_image`: of the same image) is refused (CXR-208).
    """
    account = context.account
    table = read_csv(found.path, name=found.name, account=account, required=required, columns=columns)
    table = with_sound_keys(table, account, column="image_id", pattern=IMAGE_ID, form=IMAGE_FORM)
    if reader is not None:
        table = with_sound_keys(table, account, column=reader)
    keys = ["image_id"] if reader is None or labels_by_image else ["image_id", reader]
    return without_repeats(table, account, keys=keys)


def coded(table: TextTable, labels: Sequence[str], context: ReadContext) -> pl.DataFrame:
    """A label file with the text of `labels` replaced by codes: 0 or 1, all stated. Other cells are reported (CXR-305)."""
    return codes_from_numbers(
        table.frame,
        labels,
        blank=None,
        account=context.account,
        source_file=table.source_file,
        allowed=(POSITIVE, NEGATIVE),
    )
