"""The images that a split is about, before anything is placed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.schemas.registered import IMAGE_FILES, OK
from cxrdata.sources.base import Registry
from cxrdata.splits.cohorts import Cohort, check_repeatable, load_cohort, parse_cohort, run_cohort
from cxrdata.store.session import DEFAULT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrdata.splits.request import SplitRequest
    from cxrdata.store.catalog import Catalog

_COLUMNS = (
    "dataset", "image_id", "patient_id", "study_order", "study_date", "frontal", "source_split", "sex", "view",
    "age_years", "age_low_years", "age_high_years", "age_group",
)  # fmt: skip


@dataclass(frozen=True)
class Members:
    """The images in question.

    frame: sorted by (dataset, image_id), one row an image: dataset, image_id, patient_id, `unit` (the patient, or the
    image where the dataset has no patient ids), study_order, study_date, frontal, source_split, sex, view, the columns
    of the age, labelled. cohort: what chose them, or None. left_out: dataset, reason, images.
    """

    frame: pl.DataFrame
    cohort: Cohort | None
    left_out: list[dict[str, Any]]


def members_of(catalog: Catalog, request: SplitRequest, *, seconds: float | None = DEFAULT_SECONDS) -> Members:
    """The members of a request. seconds: most that a step of the cohort, or the condition, may take (None: no limit).

    Raises CxrError: CXR-501 unknown names, CXR-503 a `where` that is no SQL, CXR-507 no image left, and those of the cohort.
    """
    datasets = known_datasets(catalog, request.datasets)
    frame = catalog.table("images").select(_COLUMNS).sort("dataset", "image_id").collect()
    if datasets:
        frame = frame.filter(pl.col("dataset").is_in(datasets))
    cohort = _cohort(request)
    if cohort is not None:
        frame = _only(frame, run_cohort(catalog, cohort, seconds=seconds).keys)
    if request.where is not None:
        frame = _only(frame, keys_where(catalog, request.where, seconds))
    left_out: list[dict[str, Any]] = []
    if request.only_existing:
        kept = _only(frame, _existing(catalog))
        left_out = lost(frame, kept, "the file is missing or cannot be read")
        frame = kept
    if frame.is_empty():
        raise CxrError(
            "CXR-507",
            "no image is left to split",
            fix="`cxrdata cohort funnel NAME` or `cxrdata sql` shows what each condition leaves",
        )
    labelled = (
        catalog.table("image_labels").select("dataset", "image_id", labelled=pl.col("labeler").is_not_null()).collect()
    )
    frame = frame.with_columns(unit=pl.coalesce("patient_id", "image_id")).join(
        labelled, on=["dataset", "image_id"], how="left", maintain_order="left"
    )
    return Members(frame.with_columns(pl.col("labelled").fill_null(value=False)), cohort, left_out)


def known_datasets(catalog: Catalog, names: Sequence[str]) -> list[str]:
    """Datasets by name or alias, each of this build. Raises CxrError CXR-501."""
    built: list[str] = catalog.manifest["datasets"]
    aliases = Registry().by_alias
    chosen = [aliases.get(name, name) for name in names]
    for name in chosen:
        if name not in built:
            raise CxrError(
                "CXR-501",
                f"the catalog has no dataset {name!r}{nearest(name, built)}",
                fix=f"datasets of this build: {', '.join(built)}",
            )
    return sorted(set(chosen))


def lost(before: pl.DataFrame, after: pl.DataFrame, reason: str) -> list[dict[str, Any]]:
    """What a step left out: dataset, reason, images; datasets that lost nothing have no row."""
    counts = (
        before["dataset"]
        .value_counts(name="n")
        .join(after["dataset"].value_counts(name="m"), on="dataset", how="left")
        .sort("dataset")
    )
    counts = counts.with_columns(gone=pl.col("n").cast(pl.Int64) - pl.col("m").fill_null(0).cast(pl.Int64)).filter(
        pl.col("gone") > 0
    )
    return [
        {"dataset": name, "reason": reason, "images": gone}
        for name, gone in counts.select("dataset", "gone").iter_rows()
    ]


def _only(frame: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    return frame.join(keys.select("dataset", "image_id"), on=["dataset", "image_id"], how="semi", maintain_order="left")


def _cohort(request: SplitRequest) -> Cohort | None:
    if request.cohort_text is not None:
        return parse_cohort(request.cohort_text, name="cohort.sql")
    return load_cohort(request.cohort) if request.cohort is not None else None


def keys_where(catalog: Catalog, condition: str, seconds: float | None = DEFAULT_SECONDS) -> pl.DataFrame:
    """dataset, image_id of the images that meet a condition in SQL over the columns of `images`. Raises CxrError CXR-503."""
    check_repeatable(condition, "--where")
    try:
        return catalog.sql(f"SELECT dataset, image_id FROM images WHERE (\n{condition}\n)", seconds=seconds)
    except CxrError as error:
        if error.code != "CXR-503":
            raise
        raise CxrError(
            "CXR-503",
            error.problem,
            where="--where",
            fix="a condition over the columns of images, such as \"view = 'PA' AND age_group = 'adult'\"; for labels write a cohort, "
            "as `cxrdata cohort show age_bias_nih_careful` does",
        ) from error


def _existing(catalog: Catalog) -> pl.DataFrame:
    if IMAGE_FILES.name not in catalog.tables:
        raise CxrError(
            "CXR-502",
            "no image file of this catalog has been checked, so none is known to exist",
            fix="leave --only-existing out, or run `cxrdata images check` first",
        )
    return catalog.sql(f"SELECT dataset, image_id FROM {IMAGE_FILES.name} WHERE status = '{OK}'")
