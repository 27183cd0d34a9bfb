"""The metadata files that MEDFAIR reads (Zong et al., ICLR 2023, arXiv:2210.01725).

It reads No Finding as the label and Sex, Race, Age_binary (from 60), Age_multi (bins of 20 years) as attributes; images come
from pickles in the order of the rows. Its code has two codes for sex and race and none for unknown, so rows without
sex, race or age are left out and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cxrdata.interop.layout_facts import ASSESSED, Tables, by_split, datasets_of, of_dataset, with_labels, writable

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

ABOUT = "train, val and test metadata of MEDFAIR's CXP and MIMIC_CXR"
DATASETS = ("chexpert", "mimic_cxr")
_NAMES = {"chexpert": "CXP", "mimic_cxr": "MIMIC_CXR"}
_LABELER = "chexpert"
_OLD = 60
_BIN, _LAST_BIN = 20, 4


def tables(catalog: Catalog, frame: pl.DataFrame) -> Tables:
    """One file a dataset and split."""
    made = Tables()
    for dataset in datasets_of(frame):
        rows = of_dataset(catalog, frame, dataset, ("patient_id", "path", "race", "sex", "age_years"))
        rows = with_labels(catalog, rows, dataset, _LABELER, ["No Finding"])
        needs = {
            f"no label of the labeler {_LABELER}, which would read as negative": pl.col(ASSESSED),
            "the sex is unknown or neither male nor female": pl.col("sex").is_in(["M", "F"]),
            "the race is unknown": pl.col("race").is_not_null(),
            "the age is unknown": pl.col("age_years").is_not_null(),
        }
        rows = writable(rows, dataset, needs, made.notes)
        table = rows.select(
            "split",
            Path="path",
            subject_id="patient_id",
            Sex="sex",
            Race=pl.when(race="White").then(pl.lit("White")).otherwise(pl.lit("non-White")),
            Age="age_years",
            Age_binary=(pl.col("age_years") >= _OLD).cast(pl.Int64),
            Age_multi=(pl.col("age_years") // _BIN).clip(0, _LAST_BIN).cast(pl.Int64),
        ).with_columns(rows["No Finding"])
        made.tables |= {f"{_NAMES[dataset]}_{split}.csv": part for split, part in by_split(table)}
        made.notes.append(
            f"{dataset}: name the files in MEDFAIR's configs/datasets.json, and make its pickles of images in the order of their rows"
        )
    return made
