"""VinDr-PCXR: one reader's labels and boxes for each film of a child, DICOM headers."""

from __future__ import annotations

import polars as pl

from cxrdata.sources import vindr
from cxrdata.sources.base import LabelerStates, RawDataset, ReadContext, SourceFiles

READER = "rad_ID"
SPLITS = ("train", "test")
# Spelt as in the files.
LABELS = (
    "No finding", "Bronchitis", "Brocho-pneumonia", "Other disease", "Bronchiolitis", "Situs inversus", "Pneumonia", "Pleuro-pneumonia",
    "Diagphramatic hernia", "Tuberculosis", "Congenital emphysema", "CPAM", "Hyaline membrane disease", "Mediastinal tumor", "Lung tumor",
)  # fmt: skip


def read(files: SourceFiles, context: ReadContext) -> RawDataset:
    """Read what was found; `files` has the labels of at least one split."""
    account = context.account
    headers = vindr.read_headers(files, context)
    lists = _lists(files, context)
    images = vindr.start_images(lists, account)
    vindr.settle_lists(lists, images, account)
    images = vindr.add_headers(images, headers, account)
    readings = pl.concat([rows.select("image_id", pl.col(READER).alias("reader_id"), *LABELS) for _, _, rows in lists])
    readings = readings.unique(["image_id", "reader_id"], keep="first", maintain_order=True)
    radiologist = (
        readings.filter(pl.col("image_id").is_first_distinct())
        .drop("reader_id")
        .with_columns(closed_world=pl.lit(value=True))
    )
    dataset = RawDataset(
        images, age_form="dicom", labels=[LabelerStates("radiologist", radiologist)], readings=readings
    )
    _boxes(files, dataset, headers, context)
    return dataset


def _lists(files: SourceFiles, context: ReadContext) -> list[tuple[str, str, pl.DataFrame]]:
    columns = ["image_id", READER, *LABELS]
    lists = []
    for split in SPLITS:
        if found := files.one(f"image_labels_{split}"):
            table = vindr.label_table(
                found, context, reader=READER, required=columns, columns=columns, labels_by_image=True
            )
            frame = vindr.coded(table, LABELS, context)
            lists.append((found.name, split, frame))
    return lists


def _boxes(files: SourceFiles, dataset: RawDataset, headers: pl.DataFrame, context: ReadContext) -> None:
    """Boxes, and the labeler `box`: the reader drew a box for every finding seen, or stated "No finding"."""
    boxes, said = [], []
    for split in SPLITS:
        if found := files.one(f"annotations_{split}"):
            annotations = vindr.read_annotations(found, context, headers, reader=READER)
            boxes.append(vindr.settle_annotations(annotations, dataset.images, context.account))
            said.append(annotations)
    if not said:
        return
    dataset.boxes = pl.concat([part for part in boxes if part is not None])
    classes = tuple(sorted({label for part in said for label in part.classes}))
    together = vindr.Annotations(
        "", classes, pl.concat([part.rows for part in said]), pl.concat([part.refused for part in said])
    )
    states = vindr.statements(together, by=["image_id"]).with_columns(closed_world=pl.lit(value=True))
    dataset.labels.append(LabelerStates("box", states))
