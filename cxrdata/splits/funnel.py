"""What each step of a cohort leaves: images, patients, the published count beside them, by race and sex."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.schemas.tables import SEXES
from cxrdata.splits.cohorts import KEYS, Cohort, CohortResult, run_cohort
from cxrdata.store.session import DEFAULT_SECONDS
from cxrdata.wording import slug

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

COUNTS = ("step", "images", "patients", "expected_images", "delta")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Funnel:
    """The funnel of a cohort.

    frame: one row a step: step, images, patients (null where no image has a patient id), expected_images (as published,
    or null), delta (images less expected_images), then images by harmonised race and sex: `race_<slug>`, `sex_<slug>`,
    `unknown` the last of each. remarks: what a reader of the counts must know.
    """

    cohort: Cohort
    frame: pl.DataFrame
    remarks: tuple[str, ...]

    @property
    def shown(self) -> pl.DataFrame:
        """The rows for people: a race or sex of which there is nobody says nothing."""
        nobody = [
            name for name in self.frame.columns if name.startswith(("race_", "sex_")) and not self.frame[name].sum()
        ]
        return self.frame.drop(nobody)

    def to_frame(self) -> pl.DataFrame:
        """The rows as a frame."""
        return self.frame

    def __repr__(self) -> str:
        left = ", ".join(f"{step} {images:,}" for step, images in self.frame.select("step", "images").iter_rows())
        return f"<Funnel {self.cohort.name}: {left}>"

    def _repr_html_(self) -> str:
        right = "style='text-align:right'"
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.shown.columns)
        rows = "".join(
            f"<tr>{''.join(f'<td {right}>{_cell(value)}</td>' if at else f'<td>{_cell(value)}</td>' for at, value in enumerate(row))}</tr>"
            for row in self.shown.iter_rows()
        )
        remarks = "".join(f"<p>{html.escape(remark)}</p>" for remark in self.remarks)
        table = f"<table><caption>{html.escape(self.cohort.about)}</caption><tr>{head}</tr>{rows}</table>"
        return f"<div style='overflow-x:auto'>{table}</div>{remarks}"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else html.escape(str(value)) if value is not None else ""


def funnel(catalog: Catalog, cohort: Cohort, *, seconds: float | None = DEFAULT_SECONDS) -> Funnel:
    """Run a cohort and count what each step leaves.

    Race and sex are the harmonised ones of `images`, whatever the cohort itself goes by. Raises the errors of `run_cohort`.
    """
    result = run_cohort(catalog, cohort, seconds=seconds)
    known = catalog.table("images").select(*KEYS, "patient_id", "race", "sex").collect()
    rows = result.reach.join(known, on=KEYS, how="left", maintain_order="left")
    groups = _groups(catalog)
    counted = pl.DataFrame(
        [_counts(rows.filter(pl.col("n_steps") >= number), groups) for number in range(1, len(cohort.steps) + 1)]
    )
    expected = pl.Series("expected_images", [step.expected for step in cohort.steps], dtype=pl.Int64)
    frame = counted.with_columns(pl.Series("step", [step.name for step in cohort.steps]), expected).with_columns(
        delta=pl.col("images") - pl.col("expected_images")
    )
    frame = frame.select(*COUNTS, pl.exclude(COUNTS)).cast({pl.Null: pl.Int64})
    return Funnel(cohort, frame, _remarks(catalog, result))


def _groups(catalog: Catalog) -> list[tuple[str, str | None]]:
    """Column of `images` and value, in the order of the vocabularies; null the last of each."""
    races: list[str | None] = list(
        catalog.table("race_map").select("race").collect()["race"].drop_nulls().unique(maintain_order=True)
    )
    return [*(("race", race) for race in [*races, None]), *(("sex", sex) for sex in [*SEXES, None])]


def _counts(rows: pl.DataFrame, groups: list[tuple[str, str | None]]) -> dict[str, int | None]:
    identified = rows.filter(pl.col("patient_id").is_not_null())
    counts: dict[str, int | None] = {
        "images": rows.height,
        "patients": identified.select("dataset", "patient_id").n_unique(),
    }
    if identified.is_empty() and rows.height:
        counts["patients"] = None
    found = {name: dict(rows[name].value_counts().iter_rows()) for name in ("race", "sex")}
    return counts | {f"{name}_{slug(value or UNKNOWN)}": found[name].get(value, 0) for name, value in groups}


def _remarks(catalog: Catalog, result: CohortResult) -> tuple[str, ...]:
    remarks = []
    datasets = result.reach["dataset"].unique().sort().to_list()
    built = catalog.manifest["datasets"]
    if not datasets:
        remarks.append(f"the first step chose no image; datasets of this catalog: {', '.join(built)}")
    synthetic = [name for name in datasets if name in catalog.manifest["synthetic"]]
    if synthetic:
        beside = (
            "; the published counts are those of the real data"
            if any(step.expected is not None for step in result.cohort.steps)
            else ""
        )
        remarks.append(f"SYNTHETIC: {', '.join(synthetic)}{beside}")
    anonymous = (
        catalog.table("images")
        .filter(pl.col("dataset").is_in(datasets))
        .group_by("dataset")
        .agg(pl.col("patient_id").is_null().all())
        .filter("patient_id")
        .collect()
    )
    if anonymous.height:
        remarks.append(
            f"{', '.join(sorted(anonymous['dataset']))}: no patient ids, so the images count towards no patient"
        )
    return tuple(remarks)
