"""MIMIC-CXR-JPG: metadata, official split, labels of reports. MIMIC-IV is read in `hospital`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cxrdata.harmonise.labels import codes_from_numbers
from cxrdata.sources.base import UNMENTIONED, FoundFile, LabelerStates, RawDataset, ReadContext, SourceFiles
from cxrdata.sources.mimic_cxr.hospital import SUBJECT_FORM, SUBJECT_ID, race_statements, with_demographics
from cxrdata.sources.mimic_cxr.layout import named_labeler
from cxrdata.sources.rows import dates, numbers, settle_matches, with_sound_keys, without_repeats
from cxrdata.sources.textfile import read_csv

if TYPE_CHECKING:
    from cxrdata.sources.account import Account

IMAGE_ID = r"^[0-9a-f]{8}(?:-[0-9a-f]{8}){4}$"
STUDY_ID = r"^5\d{7}$"
LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
# The annotator's file calls one label otherwise (formats.md 1.2).
RADIOLOGIST_LABELS = tuple("Airspace Opacity" if label == "Lung Opacity" else label for label in LABELS)
SPLITS = {"train": "train", "validate": "valid", "test": "test"}
VIEW_FIELDS = ("ViewPosition", "ViewCodeSequence_CodeMeaning")
POSITION_FIELD = "PatientOrientationCodeSequence_CodeMeaning"
# Views that exclude each other; decubitus, oblique and axial films are also AP, PA or lateral.
_PLAIN_VIEWS = ("PA", "AP", "LATERAL")
_COLUMNS = (
    "dicom_id",
    "subject_id",
    "study_id",
    *VIEW_FIELDS,
    POSITION_FIELD,
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
)


def read(files: SourceFiles, context: ReadContext) -> RawDataset:
    """Read what was found; `files` has at least the metadata."""
    metadata = files.one("images")
    assert metadata is not None
    images = _metadata(metadata, context)
    if split := files.one("split"):
        images = _official_split(split, images, context.account)
    dataset = RawDataset(images)
    studies = images.select("study_id", "patient_id").unique("study_id", maintain_order=True)
    for labeler in context.source.labelers:
        if found := files.one(labeler.name):
            labels = RADIOLOGIST_LABELS if labeler.name == "radiologist" else LABELS
            dataset.labels.append(_labels(found, labeler.name, labels, images, studies, context.account))
    subjects = studies["patient_id"].unique(maintain_order=True)
    if patients := files.one("patients"):
        dataset.images = with_demographics(patients, images, subjects, context.account)
        dataset.age_form = "anchor_year"
    if admissions := files.one("admissions"):
        dataset.race = race_statements(admissions, subjects, context.account)
    return dataset


def _metadata(found: FoundFile, context: ReadContext) -> pl.DataFrame:
    """The images: one row a DICOM file."""
    account, name = context.account, found.name
    table = read_csv(found.path, name=name, account=account, required=found.spec.columns, columns=_COLUMNS)
    table = with_sound_keys(table, account, column="dicom_id", pattern=IMAGE_ID, form="five groups of eight hex digits")
    table = with_sound_keys(
        table, account, column="subject_id", pattern=SUBJECT_ID, form=SUBJECT_FORM, code_missing="CXR-209"
    )
    table = with_sound_keys(table, account, column="study_id", pattern=STUDY_ID, form="5 and seven digits")
    table = without_repeats(table, account, keys=["dicom_id"])
    account.settle(name, kept=table.frame.height)
    frame = numbers(table.frame, {"Rows": pl.Int32, "Columns": pl.Int32, "StudyTime": pl.Float64}, account, name)
    frame = dates(frame, "StudyDate", account, name)
    _count_contradicting_views(frame, context)
    first, second = VIEW_FIELDS
    return frame.select(
        image_id="dicom_id",
        patient_id="subject_id",
        study_id="study_id",
        path=pl.format(
            "files/p{}/p{}/s{}/{}.jpg", pl.col("subject_id").str.slice(0, 2), "subject_id", "study_id", "dicom_id"
        ),
        source_file=pl.lit(name),
        source_row="_record",
        view_raw=pl.coalesce(first, second),
        view_source=pl.when(pl.col(first).is_not_null())
        .then(pl.lit(first))
        .when(pl.col(second).is_not_null())
        .then(pl.lit(second)),
        position_raw=POSITION_FIELD,
        position_source=pl.lit(POSITION_FIELD),
        study_date="StudyDate",
        # hhmmss.fff without leading zeros: as a number it orders the studies of a day.
        study_time="StudyTime",
        # The JPGs keep the size of the DICOM files.
        rows_px="Rows",
        columns_px="Columns",
        original_rows_px="Rows",
        original_columns_px="Columns",
        _line="_line",
    )


def _count_contradicting_views(frame: pl.DataFrame, context: ReadContext) -> None:
    """Images whose two view fields name different plain views."""
    known = context.vocabularies.views.filter(
        (pl.col("dataset") == context.source.name) & pl.col("view").is_in(_PLAIN_VIEWS)
    )
    pairs = frame.drop_nulls(VIEW_FIELDS).group_by(VIEW_FIELDS).len()
    for field in VIEW_FIELDS:
        meaning = known.filter(pl.col("field") == field).select(
            pl.col("raw_value").alias(field), pl.col("view").alias(f"_{field}")
        )
        pairs = pairs.join(meaning, on=field, how="inner")
    first, second = VIEW_FIELDS
    contradicting = int(pairs.filter(pl.col(f"_{first}") != pl.col(f"_{second}"))["len"].sum())
    if contradicting:
        context.account.note(
            "disagreement",
            "view",
            contradicting,
            f"images whose {second} names another view than {first}, which is kept",
        )


def _official_split(found: FoundFile, images: pl.DataFrame, account: Account) -> pl.DataFrame:
    """`images` with `source_split`; the file's other keys are only compared."""
    name = found.name
    columns = ("dicom_id", "subject_id", "study_id", "split")
    table = read_csv(found.path, name=name, account=account, required=found.spec.columns, columns=columns)
    table = with_sound_keys(table, account, column="dicom_id", pattern=IMAGE_ID, form="five groups of eight hex digits")
    table = without_repeats(table, account, keys=["dicom_id"])
    split = pl.col("split").replace_strict(SPLITS, default=None, return_dtype=pl.String)
    listed = table.frame.with_columns(source_split=split)
    unknown = listed.filter(pl.col("source_split").is_null() & pl.col("split").is_not_null())
    account.reject_values(name, unknown, "CXR-303", column="split")
    asked = listed.select(
        "dicom_id", "subject_id", _study="study_id", source_split="source_split", _listed=pl.lit(value=True)
    )
    images = images.join(asked, left_on="image_id", right_on="dicom_id", how="left", maintain_order="left")
    merged = images.height - images["_listed"].null_count()
    account.settle(name, merged=merged, unmatched=listed.height - merged)
    differing = images.select(
        ((pl.col("subject_id") != pl.col("patient_id")) | (pl.col("_study") != pl.col("study_id"))).sum()
    ).item()
    if differing:
        account.note(
            "disagreement",
            "study_id",
            differing,
            f"images of another patient or study in {name}; the metadata's are kept",
        )
    if merged < images.height:
        account.note(
            "coverage", "source_split", images.height - merged, f"images that {name} does not list; their split is null"
        )
    return images.drop("subject_id", "_study", "_listed")


def _labels(
    found: FoundFile,
    labeler: str,
    labels: tuple[str, ...],
    images: pl.DataFrame,
    studies: pl.DataFrame,
    account: Account,
) -> LabelerStates:
    """Labels of reports, given to every image of the study.

    An empty cell is a label that the report does not mention; a study without a row is one that the labeler could
    not label. A row of empty cells was labelled: nothing in it is mentioned, and a finding beyond the labels
    withholds No Finding (MIMIC-CXR-JPG 2.1.0 on PhysioNet: 2,414 such studies of CheXpert's, none of NegBio's).
    """
    name = found.name
    if labeler != "radiologist" and named_labeler(name) is None:
        account.note(
            "ambiguity",
            "labeler",
            1,
            f"{name} names no labeler, and CheXpert's and NegBio's files look alike; taken for {labeler}'s",
        )
    table = read_csv(
        found.path, name=name, account=account, required=found.spec.columns, columns=("subject_id", "study_id", *labels)
    )
    table = with_sound_keys(table, account, column="study_id", pattern=STUDY_ID, form="5 and seven digits")
    table = without_repeats(table, account, keys=["study_id"])
    frame = settle_matches(table, account, studies["study_id"], column="study_id")
    _compare_patients(frame, name, studies, account)
    silent = frame.select(pl.all_horizontal(pl.col(labels).is_null()).sum()).item()
    if silent:
        account.note(
            "coverage", labeler, silent, "studies with a row in which no label is mentioned: assessed, all unmentioned"
        )
    codes = codes_from_numbers(frame, labels, blank=UNMENTIONED, account=account, source_file=name)
    states = images.select("image_id", "study_id").join(
        codes.select("study_id", *labels), on="study_id", how="inner", maintain_order="left"
    )
    unlabelled = images.height - states.height
    if unlabelled and labeler != "radiologist":
        account.note("coverage", labeler, unlabelled, f"images of studies without a row in {name}: not assessed")
    return LabelerStates(labeler, states.select("image_id", *labels, closed_world=pl.lit(value=False)))


def _compare_patients(frame: pl.DataFrame, name: str, studies: pl.DataFrame, account: Account) -> None:
    if "subject_id" not in frame.columns:
        return
    both = frame.select("study_id", "subject_id").join(studies, on="study_id", how="inner")
    differing = both.filter(pl.col("subject_id") != pl.col("patient_id")).height
    if differing:
        account.note(
            "disagreement",
            "patient_id",
            differing,
            f"studies of another patient in {name}; the metadata's patient is kept",
        )
