"""Patients on both sides of a split.

The unit is the patient: images of one patient share anatomy, devices and often the finding, so a patient in both
training and test data makes the test too easy. Where a dataset gives no patient, the image stands for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

EXAMPLES = 5


@dataclass(frozen=True)
class Leaks:
    """What `find_leaks` found.

    patients: dataset, patient_id (null: an image of a dataset without patient ids), image_id (of such an image),
    splits (List of the values that it stands in, sorted), n_rows; one row a leaking patient, sorted by key.
    pairs: first, second (split values), n_patients, examples (List of up to five `dataset:patient`); one row a pair of
    splits that share patients. n_checked: patients that were looked at.
    """

    patients: pl.DataFrame
    pairs: pl.DataFrame
    n_checked: int

    @property
    def n_patients(self) -> int:
        return self.patients.height


def find_leaks(frame: pl.DataFrame, split: str = "split") -> Leaks:
    """Patients of `frame` in more than one value of its column `split`.

    frame: `dataset`, `image_id`, `patient_id` (null: the image stands for the patient) and `split`, one row an image
    or a draw of it. Rows without an image or without a split value are in no split and do not count.
    """
    rows = frame.select(
        "dataset",
        "patient_id",
        image_id=pl.when(pl.col("patient_id").is_null()).then("image_id"),
        _image="image_id",
        split=pl.col(split).cast(pl.String),
    )
    rows = rows.filter(pl.col("_image").is_not_null() & pl.col("split").is_not_null())
    unit = ["dataset", "patient_id", "image_id"]
    spread = rows.group_by(unit).agg(splits=pl.col("split").unique().sort(), n_rows=pl.len())
    patients = spread.filter(pl.col("splits").list.len() > 1).sort(unit)
    return Leaks(patients, _pairs(patients), spread.height)


def _pairs(patients: pl.DataFrame) -> pl.DataFrame:
    named = patients.select(
        who=pl.format("{}:{}", "dataset", pl.coalesce("patient_id", "image_id")), splits="splits"
    ).with_row_index("_at")
    long = named.explode("splits", empty_as_null=False)
    pairs = (
        long.rename({"splits": "first"})
        .join(long.select("_at", second="splits"), on="_at")
        .filter(pl.col("first") < pl.col("second"))
    )
    return (
        pairs.sort("first", "second", "_at")
        .group_by("first", "second", maintain_order=True)
        .agg(n_patients=pl.len(), examples=pl.col("who").head(EXAMPLES))
        .select("first", "second", pl.col("n_patients").cast(pl.Int64), "examples")
    )
