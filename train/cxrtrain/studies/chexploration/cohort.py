"""Who is in the study: the funnel of its cohort, its parts by race and sex, and the test set drawn anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cxrdata.audit.predictions import KEY
from cxrdata.errors import CxrError
from cxrdata.splits.attributes import with_attributes
from cxrdata.splits.resample_split import ResampleRequest, resample_frame
from cxrdata.splits.stored import read_split, split_names
from cxrdata.wording import counted
from cxrtrain.studies.chexploration import design

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

PARTS = {
    "part": pl.String, "group_by": pl.String, "group_value": pl.String, "images": pl.Int64, "patients": pl.Int64,
    "note": pl.String,
}  # fmt: skip
RESAMPLED = {
    "race": pl.String, "disease": pl.String, "images": pl.Int64, "patients": pl.Int64, "prevalence_before": pl.Float64,
    "draws": pl.Int64, "prevalence_after": pl.Float64, "note": pl.String,
}  # fmt: skip
# As `cxrdata resample SPLIT --balance race --match disease,age_group:chexploration --seed 42` draws.
RESAMPLE = ResampleRequest(
    split="test", balance=("race",), match=("disease", design.AGES), factor=design.FACTOR, seed=design.SEED
)
_OVERALL = "overall"


def funnel_of(catalog: Catalog, dataset: str) -> tuple[pl.DataFrame, list[str]]:
    """The steps of the published cohort in this catalog, as `cxrdata cohort funnel` counts them, and what it remarks."""
    found = catalog.funnel(design.COHORTS[dataset])
    return found.frame, [f"cohort: {text}" for text in found.remarks]


def images_of(catalog: Catalog, keys: pl.DataFrame) -> pl.DataFrame:
    """dataset, image_id, patient_id of these images, sorted by key."""
    known = catalog.table("images").select(*KEY, "patient_id").collect()
    return keys.select(KEY).join(known, on=KEY, how="left", maintain_order="left").sort(KEY)


def parts_of(
    catalog: Catalog, split: str, predicted: dict[str, pl.DataFrame], min_cell: int
) -> tuple[pl.DataFrame, list[str]]:
    """Images and patients of each part, by race and sex: of the catalog's split, else of what is predicted."""
    if split in split_names(catalog):
        rows = read_split(catalog, split)
        found = {part: rows.filter(split=named).select(*KEY, "patient_id") for part, named in design.PARTS.items()}
        notes = [
            f"{lacking:,} of {counted(keys.height, 'image')} predicted as of the part {part} are not in that of the split {split}, "
            "whose parts are counted here: --split names another"
            for part, keys in predicted.items()
            if (lacking := keys.join(found[part], on=KEY, how="anti").height)
        ]
    else:
        found = {part: images_of(catalog, keys) for part, keys in predicted.items()}
        notes = [f"the catalog has no split {split}: parts are counted by what is predicted of them"]
    tables = [_counts(catalog, part, images, min_cell) for part, images in found.items() if images.height]
    return pl.concat([pl.DataFrame(schema=PARTS), *tables]), notes


def _counts(catalog: Catalog, part: str, images: pl.DataFrame, min_cell: int) -> pl.DataFrame:
    known = with_attributes(catalog, images, design.GROUPS).with_columns(
        who=pl.coalesce("patient_id", "image_id"), overall=pl.lit(None, pl.String)
    )
    counts = []
    for by in (_OVERALL, *design.GROUPS):
        groups = known.group_by(pl.col(by).alias("group_value")).agg(
            images=pl.len().cast(pl.Int64), patients=pl.col("who").n_unique().cast(pl.Int64)
        )
        told = groups.with_columns(part=pl.lit(part), group_by=pl.lit(by)).sort(-pl.col("images"), "group_value")
        counts.append(told if by == _OVERALL else told.with_columns(pl.col("group_value").fill_null("unknown")))
    return masked(pl.concat(counts), min_cell, ("images", "patients"), within="group_by", but=_OVERALL).select(*PARTS)


def masked(
    frame: pl.DataFrame, min_cell: int, columns: tuple[str, ...], *, within: str, but: str | None = None
) -> pl.DataFrame:
    """Rows of fewer `patients` without their counts, and with a note that says so. One that is alone so among those that share
    `within` would follow from their sum: then the next smallest is masked with it. but: these are shown."""
    few = pl.col("patients").is_between(1, min_cell - 1)  # nobody has nothing to hide
    rest = pl.when(~few & (pl.col("patients") > 0)).then("patients").rank("ordinal").over(within)
    beside = ~few & (few.sum().over(within) == 1) & (rest == 1)
    if but is not None:
        few, beside = (one & (pl.col(within) != but) for one in (few, beside))
    beside = beside.fill_null(value=False)
    said = (
        pl.when(few).then(pl.lit(f"masked: fewer than {min_cell} patients"))
        .when(beside).then(pl.lit("masked: another group would follow")).alias("note")
    )  # fmt: skip
    return frame.with_columns(said, *(pl.when(~few & ~beside).then(pl.col(name)).alias(name) for name in columns))


def drawn_anew(
    catalog: Catalog, test: pl.DataFrame, min_cell: int
) -> tuple[pl.DataFrame | None, pl.DataFrame, list[str]]:
    """The test set by the published rules of resampling: the draws (dataset, image_id, n_draws); by race and disease, what
    they change; notes. None and an empty table where there are no two races to balance. test: dataset, image_id. Raises other
    CxrError as `resample` does."""
    images = images_of(catalog, test).with_columns(split=pl.lit(RESAMPLE.split))
    try:
        made, resampled = resample_frame(catalog, images, {"arguments": {}}, RESAMPLE)
    except CxrError as error:
        if error.code != "CXR-410":
            raise
        return None, pl.DataFrame(schema=RESAMPLED), [f"resampled: left out, {error.problem}"]
    draws = made.frame.select(*KEY, "n_draws")
    known = with_attributes(catalog, images, ["race", "disease"])
    counts = (
        known.join(draws, on=KEY, how="left", maintain_order="left")
        .group_by("race", "disease")
        .agg(
            images=pl.len().cast(pl.Int64),
            patients=pl.coalesce("patient_id", "image_id").n_unique().cast(pl.Int64),
            draws=pl.col("n_draws").fill_null(0).sum().cast(pl.Int64),
        )
    )
    races = pl.DataFrame({"race": resampled.groups["race"].to_list()})
    every = races.join(pl.DataFrame({"disease": design.DISEASES}), how="cross")
    cells = every.join(counts, on=["race", "disease"], how="left").with_columns(
        pl.col("images", "patients", "draws").fill_null(0)
    )
    cells = cells.with_columns(
        prevalence_before=pl.col("images") / pl.col("images").sum().over("race"),
        prevalence_after=pl.col("draws") / pl.col("draws").sum().over("race"),
    )
    order = {name: at for at, name in enumerate(design.DISEASES)}
    table = masked(
        cells,
        min_cell,
        ("images", "patients", "draws", "prevalence_before", "prevalence_after"),
        within="race",
    ).sort("race", pl.col("disease").replace_strict(order))
    notes = [f"resampled: {text}" for text in resampled.notes]
    total, rows = int(draws["n_draws"].sum()), images.height
    notes.append(f"resampled: {counted(total, 'draw')} of {counted(draws.height, 'image')} of {rows:,}")
    return draws, table.select(*RESAMPLED), notes
