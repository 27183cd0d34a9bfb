"""What the tables of the review share, by whichever rules: shares, points of a modality, tasks, papers."""

from __future__ import annotations

from typing import Any

import polars as pl

from cxrdata.schemas.open_datasets import AGE_DOCUMENTED_HOW

PERCENT_DIGITS = 2
MODALITIES = ("X-ray", "US", "CT", "MRI", "Fundus")
BY_SEQUENCE = frozenset({"CT", "MRI", "US"})
# Name of a column of the published breakdown -> what the task category holds.
TASKS = {
    "all": "",
    "condition_classification": "Condition/Disease Classification",
    "anatomy_segmentation": "Anatomy/Organ Segmentation/Detection",
    "lesion_segmentation": "Lesion/Tumor Segmentation/Detection",
    "image_enhancement": "Image Reconstruction/Generation",
}
NOT_DOCUMENTED = "Not Documented"
HOW_ORDER = (NOT_DOCUMENTED, *reversed(AGE_DOCUMENTED_HOW))
SOURCE_ORDER = ("papers", "collections", "challenges", "benchmarks", "highly_cited")
PATIENT_LEVEL = "Patient-Level"
# Children among the people of the United States; the share that the publication wants to be reached.
CHILDREN_WANTED = 0.22
_PAPER_MODALITIES = ("CT", "MRI", "X-ray", "Ultrasound", "Fundus")


def percent(count: float, of: float, digits: int = PERCENT_DIGITS) -> float | None:
    """100 · count / of, rounded; null of nothing."""
    return round(100 * count / of, digits) if of else None


def how_many(frame: pl.DataFrame, condition: pl.Expr) -> int:
    return frame.filter(condition).height


def real(value: Any) -> float | None:  # noqa: ANN401 - what polars gives for the least of a column
    return None if value is None else float(value)


def summed(numbers: pl.Series) -> Any:  # noqa: ANN401 - whole for whole numbers
    """The sum; nulls are left out."""
    return numbers.sum()


def slug(words: str) -> str:
    return words.lower().replace("/", "_").replace("-", "_").replace(" ", "_")


def modality_points(datasets: pl.DataFrame, modality: str, *, every_statement: bool) -> pl.DataFrame:
    """The datasets of a modality with `points`: their sequences (CT, MRI, US) or images of it, null where unknown.

    every_statement: take each stated share of modalities, scaled to sum to one; else, as the publication did, those
    under the key `Modalities` as they stand, and equal shares elsewhere.
    """
    of_it = datasets.filter(pl.col("modalities").list.contains(modality))
    listed = pl.col("modalities").list.len()
    # The share at the modality's place in the list.
    place = pl.col("modalities").list.eval(pl.element() == modality).list.arg_max()
    stated = pl.col("modality_shares").list.get(place)
    if every_statement:
        share = stated / pl.col("modality_shares").list.sum()
    else:
        share = pl.when(pl.col("modality_shares_from") == "Modalities").then(stated).otherwise(1 / listed)
    size = "sequences" if modality in BY_SEQUENCE else "images_stated"
    return of_it.with_columns(points=pl.col(size) * share)


def unit(modality: str) -> str:
    """What is counted of a modality."""
    return "sequences" if modality in BY_SEQUENCE else "images"


def datasets_needed(datasets: int, share: float) -> float:
    """Datasets of children alone, each of the size of the others, that bring a share of children to 22 %."""
    return datasets * (CHILDREN_WANTED - share) / (1 - CHILDREN_WANTED)


def has_task(words: str) -> pl.Expr:
    """Whether one of the task categories holds the words; true for none."""
    if not words:
        return pl.lit(value=True)
    holds = pl.col("task_categories").list.eval(pl.element().str.contains(words, literal=True)).list.any()
    return holds.fill_null(value=False)


def reviewed_papers(papers: pl.DataFrame) -> pl.DataFrame:
    """The papers that meet the review's criteria: patients' images of its modalities, not simulated alone.

    `Retinal OCT` holds the letters `CT` and counts, as in the publication.
    """
    imaging = pl.col("modalities").list.join(", ").str.contains("|".join(_PAPER_MODALITIES))
    simulated = pl.col("data_kinds").list.len().eq(1) & pl.col("data_kinds").list.first().eq("simulated")
    return papers.filter(
        ~pl.col("excluded") & pl.col("age_class").is_not_null() & imaging & ~simulated.fill_null(value=False)
    )
