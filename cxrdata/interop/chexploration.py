"""The sample files that chexploration reads (Glocker et al. 2023, doi:10.1016/j.ebiom.2023.104467).

Its training code reads path_preproc, the fourteen labels, race_label and sex_label; its notebooks read race, sex, age and
disease too. Rows without a race of its three or a sex cannot be coded there, so they are left out and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cxrdata.interop.label_orders import CHEXPERT_LABELS
from cxrdata.interop.layout_facts import (
    ASSESSED,
    SEXES,
    Tables,
    by_split,
    datasets_of,
    of_dataset,
    with_labels,
    writable,
)

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

ABOUT = "chexpert.sample.train.csv, .val, .test (and mimic.sample.…) of chexploration"
DATASETS = ("chexpert", "mimic_cxr")
RACES = {"White": 0, "Asian": 1, "Black": 2}
_SEX_LABELS = {"Male": 0, "Female": 1}
_DISEASES = {"No Finding": 0, "Pleural Effusion": 1, "Other": 2}
_FOLDER = "preproc_224x224/"
_LABELER = "chexpert"


def tables(catalog: Catalog, frame: pl.DataFrame) -> Tables:
    """One file a dataset and split."""
    made = Tables()
    for dataset in datasets_of(frame):
        columns = ("patient_id", "study_id", "path", "race", "sex", "age_years")
        rows = with_labels(catalog, of_dataset(catalog, frame, dataset, columns), dataset, _LABELER, CHEXPERT_LABELS)
        rows = rows.with_columns(pl.col("sex").replace_strict(SEXES, default=None, return_dtype=pl.String))
        needs = {
            f"no label of the labeler {_LABELER}, which would read as negative": pl.col(ASSESSED),
            "a race that is unknown or none of White, Asian, Black": pl.col("race").is_in(list(RACES)),
            "the sex is unknown or neither male nor female": pl.col("sex").is_not_null(),
        }
        rows = writable(rows, dataset, needs, made.notes)
        disease = (
            pl.when(pl.col("Pleural Effusion") == 1)
            .then(pl.lit("Pleural Effusion"))
            .when(pl.col("No Finding") == 1)
            .then(pl.lit("No Finding"))
        )
        rows = rows.with_columns(disease=disease.otherwise(pl.lit("Other")))
        table = rows.select(
            "split",
            *_names(dataset),
            "race",
            "sex",
            *CHEXPERT_LABELS,
            "disease",
            age="age_years",
            race_label=pl.col("race").replace_strict(RACES, return_dtype=pl.Int64),
            sex_label=pl.col("sex").replace_strict(_SEX_LABELS, return_dtype=pl.Int64),
            disease_label=pl.col("disease").replace_strict(_DISEASES, return_dtype=pl.Int64),
            path_preproc=preprocessed_path(dataset),
        )
        short = dataset.removesuffix("_cxr")
        made.tables |= {f"{short}.sample.{split}.csv": part for split, part in by_split(table)}
        made.notes.append(
            f"{dataset}: its code looks for the images as {_FOLDER}…, 224 x 224 pixels, which its notebook makes"
        )
    return made


def _names(dataset: str) -> list[pl.Expr]:
    if dataset == "chexpert":
        return [pl.col("patient_id"), (pl.lit("CheXpert-v1.0/") + pl.col("path")).alias("Path")]
    return [
        pl.col("patient_id").alias("subject_id"),
        pl.col("study_id"),
        pl.col("image_id").alias("dicom_id"),
        pl.col("path"),
    ]


def preprocessed_path(dataset: str) -> pl.Expr:
    """The file below the folder of resized images: the parts of the path from the patient on (MIMIC: the study), joined by `_`."""
    parts = pl.col("path").str.split("/")
    return pl.lit(_FOLDER) + parts.list.tail(3 if dataset == "chexpert" else 2).list.join("_")
