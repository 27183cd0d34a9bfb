"""The canonical tables: the one definition of their columns, types, rules and descriptions.

Pandera models check the frames of a build; the same definitions give the column order, the
comments in the DuckDB file and the data dictionary. Vocabulary rules that depend on
`metadata/` are checks in `sql/checks/`, not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandera.polars as pa
import polars as pl

from cxrdata.schemas.names import ROLLED_SUFFIX, label_codes_name, readings_name, states_name

SPLITS = ("train", "valid", "test", "train_valid")
VIEWS = ("PA", "AP", "LATERAL", "OBLIQUE", "DECUBITUS", "OTHER")
POSITIONS = ("erect", "supine", "decubitus")
AGE_PRECISIONS = ("day", "month", "year", "birth_year", "anchor_year")
AGE_FLAGS = ("ok", "top_coded", "placeholder", "implausible", "missing")
AGE_GROUPS = ("pediatric", "adult")
SEXES = ("F", "M", "O")
RACE_MISSING = ("declined", "unknown", "not_recorded", "no_record", "conflict")
REJECT_KINDS = ("row", "value")
STORED_CODES = (1, 0, -1, -2, -3)
PUBLISHED_CODES = (1, 0, -1)
LEVELS = ("image", "study")

_TEXT, _INT, _REAL, _BOOL, _DATE, _CODE = pl.String, pl.Int64, pl.Float64, pl.Boolean, pl.Date, pl.Int8
_TEXTS = pl.List(pl.String)


@dataclass(frozen=True)
class Table:
    """A table of the catalog. `per_dataset`: its Parquet is one file a dataset. `key`: columns that identify a row."""

    name: str
    description: str
    schema: pa.DataFrameSchema
    key: tuple[str, ...]
    per_dataset: bool = True

    @property
    def columns(self) -> list[str]:
        return list(self.schema.columns)

    def describe(self) -> dict[str, str]:
        """column -> description."""
        return {name: str(column.description) for name, column in self.schema.columns.items()}

    def empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.types())

    def types(self) -> dict[str, Any]:
        return {name: column.dtype.type for name, column in self.schema.columns.items()}


def column(
    dtype: type[pl.DataType] | pl.DataType,
    description: str,
    *,
    nullable: bool = True,
    values: Sequence[Any] | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> pa.Column:
    """One column of a table; a description is not optional."""
    checks = []
    if values is not None:
        checks.append(pa.Check.isin(list(values)))
    if at_least is not None:
        checks.append(pa.Check.ge(at_least))
    if at_most is not None:
        checks.append(pa.Check.le(at_most))
    return pa.Column(dtype, checks=checks, nullable=nullable, description=description)


def _table(
    name: str,
    description: str,
    key: Sequence[str],
    columns: dict[str, pa.Column],
    *,
    per_dataset: bool = True,
    checks: Sequence[pa.Check] = (),
) -> Table:
    schema = pa.DataFrameSchema(
        columns, checks=list(checks), name=name, description=description, strict=True, ordered=True
    )
    return Table(name, description, schema, tuple(key), per_dataset)


_DATASET = column(_TEXT, "Dataset, as in the table `datasets`.", nullable=False)
_IMAGE = column(_TEXT, "Image key within the dataset (see `docs`: identifiers).", nullable=False)
_SOURCE = column(_TEXT, "File that the row comes from, below the dataset's root.", nullable=False)

IMAGES = _table(
    "images",
    "One row an image: whose, how taken, how old the patient was, in harmonised terms beside the raw ones.",
    ("dataset", "image_id"),
    {
        "dataset": _DATASET,
        "image_id": _IMAGE,
        "patient_id": column(_TEXT, "Patient within the dataset; null where the dataset gives none (VinDr)."),
        "study_id": column(
            _TEXT,
            "Study (examination) within the dataset; null where the dataset gives none (VinDr); in NIH, which names no studies, the image_id.",
        ),
        "study_order": column(
            _INT, "Place of the study among the patient's, from 1, by date or the dataset's own order.", at_least=1
        ),
        "path": column(_TEXT, "File below the dataset's image root, POSIX."),
        "source_file": _SOURCE,
        "source_row": column(_INT, "0-based record of that file which started this image.", at_least=0),
        "source_split": column(_TEXT, "Official split, if there is one.", values=SPLITS),
        "view": column(
            _TEXT,
            "Projection: PA, AP, LATERAL, OBLIQUE, DECUBITUS, OTHER; null when unknown or contradictory.",
            values=VIEWS,
        ),
        "view_raw": column(_TEXT, "The view as the source has it."),
        "view_source": column(_TEXT, "The field that the view was taken from."),
        "frontal": column(_BOOL, "Whether the source calls or implies the image frontal."),
        "position": column(_TEXT, "Patient position: erect, supine, decubitus.", values=POSITIONS),
        "age_years": column(
            _REAL,
            "Age at the study in years; infants fractional; null for a placeholder, implausible or missing age.",
            at_least=0,
        ),
        "age_low_years": column(_REAL, "Youngest true age that the source's precision allows, inclusive.", at_least=0),
        "age_high_years": column(
            _REAL,
            "Upper bound of the true age, exclusive; null with a known lower bound means unbounded (top-coded).",
            at_least=0,
        ),
        "age_raw": column(_TEXT, "The age (or year of birth, or anchor age) as the source has it."),
        "age_precision": column(
            _TEXT, "What the age was given in: day, month, year, birth_year, anchor_year.", values=AGE_PRECISIONS
        ),
        "age_flag": column(
            _TEXT, "ok, top_coded, placeholder, implausible or missing.", nullable=False, values=AGE_FLAGS
        ),
        "age_group": column(
            _TEXT,
            "pediatric (under 18) or adult; null when unknown or when low to high straddles 18.",
            values=AGE_GROUPS,
        ),
        "age_group_reason": column(_TEXT, "Why age_group is null."),
        "sex": column(_TEXT, "F, M or O (other); null when unknown.", values=SEXES),
        "sex_raw": column(_TEXT, "Sex as the source has it."),
        "race": column(_TEXT, "The patient's race (OMB 1997), from `patients`."),
        "ethnicity": column(_TEXT, "The patient's ethnicity: Hispanic, Non-Hispanic; null when unknown."),
        "race_ethnicity": column(_TEXT, "Hispanic if Hispanic, else race."),
        "study_date": column(_DATE, "Date of the study as given; in MIMIC shifted into the future per patient."),
        "rows_px": column(_INT, "Height of the distributed file in pixels.", at_least=1),
        "columns_px": column(_INT, "Width of the distributed file in pixels.", at_least=1),
        "original_rows_px": column(
            _INT, "Height of the detector's image in pixels, as the source states it.", at_least=1
        ),
        "original_columns_px": column(
            _INT, "Width of the detector's image in pixels, as the source states it.", at_least=1
        ),
        "pixel_spacing_row_mm": column(_REAL, "Distance between rows of the original image in mm."),
        "pixel_spacing_column_mm": column(_REAL, "Distance between columns of the original image in mm."),
        "manufacturer": column(_TEXT, "Manufacturer of the device, as given."),
        "patient_size_m": column(_REAL, "Height of the patient in metres, from the DICOM header."),
        "patient_weight_kg": column(_REAL, "Weight of the patient in kilograms, from the DICOM header."),
    },
)

STUDIES = _table(
    "studies",
    "One row a study (examination) of the datasets that tell studies apart.",
    ("dataset", "study_id"),
    {
        "dataset": _DATASET,
        "study_id": column(
            _TEXT,
            "Study key within the dataset; in NIH, which names no studies, every image is a study of its own.",
            nullable=False,
        ),
        "patient_id": column(_TEXT, "Patient within the dataset."),
        "study_date": column(_DATE, "Date of the study as given; in MIMIC shifted."),
        "study_order": column(_INT, "Place of the study among the patient's, from 1.", at_least=1),
        "n_images": column(_INT, "Images of the study in the catalog.", nullable=False, at_least=1),
    },
)

PATIENTS = _table(
    "patients",
    "One row a patient of the datasets that tell patients apart.",
    ("dataset", "patient_id"),
    {
        "dataset": _DATASET,
        "patient_id": column(_TEXT, "Patient key within the dataset.", nullable=False),
        "sex": column(_TEXT, "F, M or O; null when unknown or different between images.", values=SEXES),
        "race": column(
            _TEXT, "Race (OMB 1997) by the build's rule; null when unknown, declined, conflicting or not recorded."
        ),
        "ethnicity": column(
            _TEXT, "Hispanic or Non-Hispanic; null when unknown. A one-question `White` does not imply Non-Hispanic."
        ),
        "race_ethnicity": column(_TEXT, "Hispanic if Hispanic, else race."),
        "race_raw": column(_TEXTS, "All race statements of the source, distinct and sorted."),
        "ethnicity_raw": column(_TEXTS, "All ethnicity statements of the source, distinct and sorted."),
        "race_missing_reason": column(
            _TEXT,
            "Why race is null: declined, unknown, not_recorded (no race was asked or given), no_record (patient not in the records), conflict.",
            values=RACE_MISSING,
        ),
        "race_conflict": column(_BOOL, "Whether the records name two different known races.", nullable=False),
        "n_studies": column(
            _INT, "Studies in the catalog; in NIH images, since it names no studies.", nullable=False, at_least=0
        ),
        "n_images": column(_INT, "Images in the catalog.", nullable=False, at_least=1),
        "age_min_years": column(_REAL, "Youngest known age at a study."),
        "age_max_years": column(_REAL, "Oldest known age at a study."),
    },
)

BOXES = _table(
    "boxes",
    "Boxes drawn around findings, in pixels of the distributed file.",
    ("dataset", "image_id", "reader_id", "native_label", "x_min", "y_min", "x_max", "y_max"),
    {
        "dataset": _DATASET,
        "image_id": _IMAGE,
        "reader_id": column(_TEXT, "Who drew it; null where the source names no one or a consensus."),
        "native_label": column(_TEXT, "Label as the dataset spells it.", nullable=False),
        "finding": column(_TEXT, "Its exact counterpart among the canonical findings, or null."),
        "x_min": column(_REAL, "Left edge in pixels.", nullable=False),
        "y_min": column(_REAL, "Upper edge in pixels.", nullable=False),
        "x_max": column(_REAL, "Right edge in pixels.", nullable=False),
        "y_max": column(_REAL, "Lower edge in pixels.", nullable=False),
    },
)

REJECTS = _table(
    "rejects",
    "What was refused: whole rows, or single values that were nulled in rows that stay.",
    ("dataset", "source_file", "line", "kind", "code", "column_name", "value"),
    {
        "dataset": _DATASET,
        "source_file": _SOURCE,
        "line": column(_INT, "Physical line of the file, from 1; worksheet row; null for a file of its own."),
        "kind": column(
            _TEXT, "row (refused) or value (row kept, this value nulled).", nullable=False, values=REJECT_KINDS
        ),
        "code": column(_TEXT, "CXR-nnn, as in docs/errors.md.", nullable=False),
        "column_name": column(_TEXT, "Column at fault."),
        "value": column(_TEXT, "The value, cut to 200 characters."),
        "message": column(_TEXT, "What is wrong with it.", nullable=False),
    },
)

LEDGER = _table(
    "ledger",
    "What became of every input row: rows_read = rows_kept + rows_merged + rows_unmatched + rows_rejected.",
    ("dataset", "source_file"),
    {
        "dataset": _DATASET,
        "source_file": _SOURCE,
        "rows_read": column(
            _INT, "Records, worksheet rows, JSON lines or DICOM files read.", nullable=False, at_least=0
        ),
        "rows_kept": column(_INT, "Became a row of a canonical table.", nullable=False, at_least=0),
        "rows_merged": column(_INT, "Added to a row that another input row started.", nullable=False, at_least=0),
        "rows_unmatched": column(
            _INT, "Valid, but patient or image is not in the image list.", nullable=False, at_least=0
        ),
        "rows_rejected": column(_INT, "Refused; each stands in `rejects`.", nullable=False, at_least=0),
    },
)

SOURCE_FILES = _table(
    "source_files",
    "The files that were read.",
    ("dataset", "source_file"),
    {
        "dataset": _DATASET,
        "source_file": column(
            _TEXT,
            "Path below the dataset's root; DICOM files of a folder stand together as `folder/*`.",
            nullable=False,
        ),
        "role": column(_TEXT, "What the file is, as in `catalog/`.", nullable=False),
        "variant": column(_TEXT, "Variant of the format, recognised by content."),
        "bytes": column(_INT, "Size in bytes.", nullable=False),
        "sha256": column(_TEXT, "SHA-256 of the file; for DICOM of the header values that were read.", nullable=False),
    },
)

BUILD_NOTES = _table(
    "build_notes",
    "Counted remarks of the build: disagreements between sources, missing parts, ambiguities, counts that differ from official ones.",
    ("dataset", "topic", "item", "message"),
    {
        "dataset": _DATASET,
        "topic": column(
            _TEXT,
            "missing_file, left_out, twin_file, extra_column, disagreement, ambiguity, coverage, count or rollup.",
            nullable=False,
        ),
        "item": column(_TEXT, "Column, file or finding that it is about.", nullable=False),
        "n": column(_INT, "How many rows, patients or images.", nullable=False),
        "message": column(_TEXT, "The remark.", nullable=False),
    },
)


def _codes_within(columns: Sequence[str], codes: Sequence[int]) -> pa.Check:
    """All code columns at once: column by column the 193 of PadChest would cost six times as much."""
    low, high = min(codes), max(codes)

    def within(data: pa.PolarsData) -> pl.LazyFrame:
        sound = ((pl.col(name).min() >= low) & (pl.col(name).max() <= high) for name in columns)
        return data.lazyframe.select(pl.all_horizontal(sound).fill_null(value=True))

    return pa.Check(within, error=f"codes from {low} to {high}")


def label_codes(dataset: str, present: Sequence[str], changed: Sequence[str]) -> Table:
    """`image_labels` of one dataset without what says nothing: only findings that someone assessed (`present`),
    and beside them only those that the roll-up changes (`changed`, with a suffix)."""
    columns = {"image_id": _IMAGE, "labeler": column(_TEXT, "The labeler of the whole row.")}
    for finding in present:
        columns[finding] = column(_CODE, f"{finding}: as in image_labels.")
    for finding in changed:
        columns[finding + ROLLED_SUFFIX] = column(_CODE, f"{finding}: as in image_labels_rolled.")
    name = label_codes_name(dataset)
    description = f"Labels of {dataset} stored compactly; image_labels and image_labels_rolled show them."
    codes = [*present, *(finding + ROLLED_SUFFIX for finding in changed)]
    return _table(
        name,
        description,
        ("image_id",),
        columns,
        per_dataset=False,
        checks=[_codes_within(codes, PUBLISHED_CODES)] if codes else [],
    )


def states(dataset: str, labeler: str, native_labels: Sequence[str]) -> Table:
    """Stored form of `labels` and `assessments` for one labeler: an Int8 column a native label."""
    columns = {
        "image_id": _IMAGE,
        "closed_world": column(_BOOL, "Whether this labeler's silence on this image means negative.", nullable=False),
    }
    for label in native_labels:
        columns[label] = column(
            _CODE,
            f"{label}: 1 positive, 0 negative, -1 uncertain, -2 unmentioned, -3 negative by silence, null not assessed.",
        )
    name = states_name(dataset, labeler)
    description = f"What {labeler} says of {dataset}, stored wide; `labels` shows it long."
    return _table(
        name,
        description,
        ("image_id",),
        columns,
        per_dataset=False,
        checks=[_codes_within(native_labels, STORED_CODES)],
    )


def readings(dataset: str, native_labels: Sequence[str]) -> Table:
    """Stored form of the view `readings` for one dataset."""
    columns = {"image_id": _IMAGE, "reader_id": column(_TEXT, "The reader, as the dataset names them.", nullable=False)}
    for label in native_labels:
        columns[label] = column(_CODE, f"{label}: state codes as in the states tables.")
    name = readings_name(dataset)
    description = f"What each reader of {dataset} said, stored wide; `readings` shows it long."
    return _table(
        name,
        description,
        ("image_id", "reader_id"),
        columns,
        per_dataset=False,
        checks=[_codes_within(native_labels, STORED_CODES)],
    )
