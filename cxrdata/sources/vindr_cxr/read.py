"""VinDr-CXR: three readers an image in training, a consensus in the test part, boxes, DICOM headers; PhysioNet or Kaggle."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.harmonise.labels import majority
from cxrdata.sources import vindr
from cxrdata.sources.base import POSITIVE, FoundFile, LabelerStates, RawDataset, ReadContext, SourceFiles
from cxrdata.sources.textfile import AGAIN

LOCAL_LABELS = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation", "Edema", "Emphysema",
    "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst", "Mediastinal shift", "Nodule/Mass",
    "Pleural effusion", "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis", "Rib fracture", "Other lesion",
)  # fmt: skip
DISEASES = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis")
# Plural in the training file, singular in the test file.
OTHER_DISEASES = ("Other diseases", "Other disease")


@dataclass
class _Lists:
    """Files that list images, in order of precedence, and what they say."""

    rows: list[tuple[str, str, pl.DataFrame]] = field(default_factory=list)
    labels: list[LabelerStates] = field(default_factory=list)
    readings: pl.DataFrame | None = None


def read(files: SourceFiles, context: ReadContext) -> RawDataset:
    """Read what was found; `files` has at least one file that lists images."""
    account = context.account
    headers = vindr.read_headers(files, context)
    lists = _Lists()
    if train := files.one("image_labels_train"):
        _readers(train, lists, context)
    if test := files.one("image_labels_test"):
        _consensus(test, lists, context)
    kaggle = files.one("kaggle")
    competition = vindr.read_annotations(kaggle, context, headers, reader="rad_id") if kaggle else None
    official = list(lists.rows)
    if competition and train is None:
        lists.rows.append((competition.source_file, "train", competition.rows))
    images = vindr.start_images(lists.rows, account)
    vindr.settle_lists(official, images, account)
    if competition:
        _kaggle_readings(competition, lists, context, wins=train is None)
    images = vindr.add_headers(images, headers, account)
    boxes = _boxes(files, competition, images, headers, context)
    return RawDataset(images, age_form="dicom", labels=lists.labels, readings=lists.readings, boxes=boxes)


def _readers(found: FoundFile, lists: _Lists, context: ReadContext) -> None:
    labels = [*LOCAL_LABELS, *DISEASES, OTHER_DISEASES[0], vindr.NO_FINDING]
    columns = ["image_id", "rad_id", *labels]
    table = vindr.label_table(found, context, reader="rad_id", required=columns, columns=columns)
    frame = vindr.coded(table, labels, context)
    lists.rows.append((found.name, "train", frame))
    lists.readings = frame.select("image_id", pl.col("rad_id").alias("reader_id"), *labels)
    lists.labels.append(_majority_of(lists.readings, labels))


def _consensus(found: FoundFile, lists: _Lists, context: ReadContext) -> None:
    required = ["image_id", *LOCAL_LABELS, *DISEASES, vindr.NO_FINDING]
    table = vindr.label_table(found, context, reader=None, required=required, columns=[*required, *OTHER_DISEASES])
    other = [column for column in OTHER_DISEASES if column in table.frame.columns]
    if not other:
        raise CxrError("CXR-107", f"the header lacks {OTHER_DISEASES[1]!r}", where=f"{found.name}:1", fix=AGAIN)
    labels = [*LOCAL_LABELS, *DISEASES, other[0], vindr.NO_FINDING]
    frame = vindr.coded(table, labels, context)
    lists.rows.append((found.name, "test", frame))
    lists.labels.append(LabelerStates("consensus", frame.select("image_id", *labels, closed_world=pl.lit(value=True))))


def _majority_of(readings: pl.DataFrame, labels: list[str]) -> LabelerStates:
    return LabelerStates("reader_majority", majority(readings, labels).with_columns(closed_world=pl.lit(value=True)))


def _kaggle_readings(competition: vindr.Annotations, lists: _Lists, context: ReadContext, *, wins: bool) -> None:
    """Kaggle's readings where PhysioNet's are absent; else a count of images on which the two editions differ."""
    labels = [*competition.classes, vindr.NO_FINDING]
    readings = vindr.statements(competition, by=["image_id", "reader_id"])
    majority_of = _majority_of(readings, labels)
    if wins:
        # A reading whose rows were all refused started no image.
        listed = competition.rows["image_id"].unique().implode()
        lists.readings = readings.filter(pl.col("image_id").is_in(listed))
        lists.labels.append(majority_of)
        return
    physionet = next(states for states in lists.labels if states.labeler == "reader_majority").frame
    # "Other lesion" means more at Kaggle, so it says nothing about a disagreement.
    shared = [label for label in labels if label in physionet.columns and label != "Other lesion"]
    both = majority_of.frame.join(physionet, on="image_id", suffix="_physionet")
    differs = pl.any_horizontal(
        (pl.col(label) == POSITIVE).ne_missing(pl.col(f"{label}_physionet") == POSITIVE) for label in shared
    )
    n = both.select(differs.sum()).item()
    if n:
        message = "images on which the majority differs between Kaggle and PhysioNet in a label that both name; PhysioNet's is used"
        context.account.note("disagreement", "labels", n, message)


def _boxes(
    files: SourceFiles,
    competition: vindr.Annotations | None,
    images: pl.DataFrame,
    headers: pl.DataFrame,
    context: ReadContext,
) -> pl.DataFrame | None:
    """Boxes of the readers (annotations_train, else Kaggle) and of the consensus (annotations_test)."""
    parts = []
    train = files.one("annotations_train")
    for found, reader in ((train, "rad_id"), (files.one("annotations_test"), None)):
        if found:
            annotations = vindr.read_annotations(found, context, headers, reader=reader)
            parts.append(vindr.settle_annotations(annotations, images, context.account))
    if competition:
        parts.append(vindr.settle_annotations(competition, images, context.account, boxes_wanted=train is None))
    found_boxes = [part for part in parts if part is not None]
    return pl.concat(found_boxes) if found_boxes else None
