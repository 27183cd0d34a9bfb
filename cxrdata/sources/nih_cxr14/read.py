"""NIH ChestX-ray14: metadata (variants A to D), official lists, boxes, Google's relabels."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cxrdata.harmonise.labels import codes_from_lists
from cxrdata.sources.base import (
    NEGATIVE,
    POSITIVE,
    SILENT,
    FoundFile,
    LabelerStates,
    RawDataset,
    ReadContext,
    SourceFiles,
)
from cxrdata.sources.rows import boxes_within, numbers, settle_matches, with_sound_keys, without_repeats
from cxrdata.sources.textfile import read_csv, read_lines

IMAGE_ID = r"^\d{8}_\d{3}\.png$"
IMAGE_FORM = "00000001_000.png"
_GOOGLE_LABELS = ("Airspace opacity", "Fracture", "Nodule or mass", "Pneumothorax")
_BOX_FIELDS = ("Image Index", "Finding Label", "x", "y", "width", "height")


def read(files: SourceFiles, context: ReadContext) -> RawDataset:
    """Read what was found; `files` has at least the metadata."""
    metadata = files.one("images")
    assert metadata is not None
    images, labels = _metadata(metadata, context)
    dataset = RawDataset(images, age_form="dicom" if metadata.variant == "A" else "years", labels=[labels])
    dataset.images = _official_split(dataset.images, files, context)
    if google := files.one("google"):
        dataset.labels.append(_google(google.path, google.name, dataset.images["image_id"], context))
    if boxes := files.one("boxes"):
        _boxes(boxes.path, boxes.name, dataset, context)
    if metadata.variant == "B":
        young = images.select((pl.col("age_raw").cast(pl.Int32, strict=False) <= 24).sum()).item()
        context.account.note(
            "ambiguity",
            "age",
            young,
            "variant B lost the unit of the ages: an age of 13 may be 13 years, months or days; counted: images aged 24 or less."
            " Use the original file (A) or v2020 (C, D) for children",
        )
    return dataset


def _metadata(found: FoundFile, context: ReadContext) -> tuple[pl.DataFrame, LabelerStates]:
    account, name = context.account, found.name
    sex = "Patient Sex" if found.variant == "D" else "Patient Gender"
    required = [*found.spec.columns, sex]
    table = read_csv(found.path, name=name, account=account, required=required)
    table = with_sound_keys(table, account, column="Image Index", pattern=IMAGE_ID, form=IMAGE_FORM)
    table = with_sound_keys(
        table, account, column="Patient ID", pattern=r"^\d+$", form="digits", code_missing="CXR-209"
    )
    table = without_repeats(table, account, keys=["Image Index"])
    account.settle(name, kept=table.frame.height)
    numeric = {
        "Follow-up #": pl.Int32,
        "OriginalImage[Width": pl.Int32,
        "Height]": pl.Int32,
        "OriginalImagePixelSpacing[x": pl.Float64,
        "y]": pl.Float64,
    }
    frame = numbers(table.frame, numeric, account, name)
    images = frame.select(
        image_id="Image Index",
        patient_id=pl.col("Patient ID").str.strip_chars_start("0"),
        study_id="Image Index",
        study_order=pl.col("Follow-up #") + 1,
        path="Image Index",
        source_file=pl.lit(name),
        source_row="_record",
        view_raw="View Position",
        view_source=pl.lit("View Position"),
        sex_raw=sex,
        age_raw="Patient Age",
        original_columns_px="OriginalImage[Width",
        original_rows_px="Height]",
        pixel_spacing_column_mm="OriginalImagePixelSpacing[x",
        pixel_spacing_row_mm="y]",
        _line="_line",
    )
    listed = frame["Finding Labels"].str.split("|")
    silence = pl.repeat(SILENT, frame.height, dtype=pl.Int8, eager=True)
    codes = codes_from_lists(
        frame,
        listed,
        context.labels_of(found.spec),
        silence=silence,
        account=account,
        source_file=name,
        column="Finding Labels",
    )
    states = codes.with_columns(image_id=images["image_id"], closed_world=listed.is_not_null())
    return images, LabelerStates("text_mining", states.filter("closed_world"))


def _official_split(images: pl.DataFrame, files: SourceFiles, context: ReadContext) -> pl.DataFrame:
    lists = []
    for role, split in (("train_list", "train_valid"), ("test_list", "test")):
        if found := files.one(role):
            table = read_lines(found.path, name=found.name, account=context.account)
            table = with_sound_keys(table, context.account, column="value", pattern=IMAGE_ID, form=IMAGE_FORM)
            table = without_repeats(table, context.account, keys=["value"])
            matched = settle_matches(table, context.account, images["image_id"], column="value")
            lists.append(matched.select(image_id="value", source_split=pl.lit(split)))
    if not lists:
        return images.with_columns(source_split=pl.lit(None, pl.String))
    both = pl.concat(lists)
    twice = both.filter(pl.col("image_id").is_duplicated())["image_id"].n_unique()
    if twice:
        context.account.note(
            "disagreement", "source_split", twice, "images on both official lists; their split is null"
        )
        both = both.filter(~pl.col("image_id").is_duplicated())
    return images.join(both, on="image_id", how="left", maintain_order="left")


def _google(path: Path, name: str, known: pl.Series, context: ReadContext) -> LabelerStates:
    account = context.account
    spec = next(spec for spec in context.source.files if spec.role == "google")
    table = read_csv(path, name=name, account=account, required=spec.columns)
    table = with_sound_keys(table, account, column="Image Index", pattern=IMAGE_ID, form=IMAGE_FORM)
    table = without_repeats(table, account, keys=["Image Index"])
    frame = settle_matches(table, account, known, column="Image Index")
    for label in _GOOGLE_LABELS:
        code = (
            frame[label]
            .str.to_uppercase()
            .replace_strict({"YES": POSITIVE, "NO": NEGATIVE}, default=None, return_dtype=pl.Int8)
        )
        account.reject_values(name, frame.filter(code.is_null() & frame[label].is_not_null()), "CXR-305", column=label)
        frame = frame.with_columns(code.alias(label))
    return LabelerStates(
        "google",
        frame.select(pl.col("Image Index").alias("image_id"), *_GOOGLE_LABELS, closed_world=pl.lit(value=False)),
    )


def _boxes(path: Path, name: str, dataset: RawDataset, context: ReadContext) -> None:
    """984 boxes, x, y, width, height in the frame of the distributed 1024 x 1024 image. The header has
    more fields than the rows, so the columns go by position. A box says where a label that text mining had given lies; it
    is no second opinion, so boxes add nothing to `labels` (where they would spoil every naive prevalence)."""
    account = context.account
    table = read_csv(path, name=name, account=account, names=_BOX_FIELDS)
    table = with_sound_keys(table, account, column="Image Index", pattern=IMAGE_ID, form=IMAGE_FORM)
    sides = dict.fromkeys(_BOX_FIELDS[2:], pl.Float64)
    frame = numbers(table.frame, sides, account, name).with_columns(
        x_min="x", y_min="y", x_max=pl.col("x") + pl.col("width"), y_max=pl.col("y") + pl.col("height")
    )
    side = context.source.entry["images"]
    frame = boxes_within(frame, account, name, width=pl.lit(side["columns_px"]), height=pl.lit(side["rows_px"]))
    frame = settle_matches(
        type(table)(frame, name), account, dataset.images["image_id"], column="Image Index", kept=True
    )
    dataset.boxes = frame.select(
        image_id="Image Index",
        reader_id=pl.lit(None, pl.String),
        native_label="Finding Label",
        x_min="x_min",
        y_min="y_min",
        x_max="x_max",
        y_max="y_max",
    )
