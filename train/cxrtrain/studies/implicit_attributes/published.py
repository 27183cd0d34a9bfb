"""The published figures beside those found here. Of the models none is published: their rows say so."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING

import polars as pl

from cxrtrain.studies.comparison import PHANTOMS, compare
from cxrtrain.studies.implicit_attributes.sets import ALL

if TYPE_CHECKING:
    from cxrtrain.studies.implicit_attributes.analyse import Analysis

IMAGES = "images"
QUANTITIES = {IMAGES: "images of the set", "auroc": "AUROC", "accuracy": "accuracy"}
_WHERE = ("quantity", "images_per_patient", "model", "label")
NOT_PUBLISHED = "no figure is published"


def published_figures() -> pl.DataFrame:
    """quantity, images_per_patient, published."""
    text = files("cxrtrain.studies.implicit_attributes").joinpath("published.tsv").read_bytes()
    return pl.read_csv(text, separator="\t", schema_overrides={"published": pl.Float64})


def comparison(analysis: Analysis) -> pl.DataFrame:
    """quantity, images_per_patient, model, label, published, here, difference, reason: the three published counts, then
    what is found here and has no published counterpart."""
    nothing = pl.lit(None, pl.String)
    whole = analysis.sets.filter(part=ALL, race=ALL)
    counts = whole.select(
        pl.lit(IMAGES).alias("quantity"), "images_per_patient", nothing.alias("model"), nothing.alias("label"),
        here=pl.col("images").cast(pl.Float64),
    )  # fmt: skip
    measured = analysis.evaluation.select(
        pl.col("metric").alias("quantity"), "images_per_patient", "model", "label", here=pl.col("estimate")
    )
    published = pl.concat([
        published_figures().select("quantity", "images_per_patient", nothing.alias("model"), nothing.alias("label"), "published"),
        measured.select(*_WHERE, pl.lit(None, pl.Float64).alias("published")),
    ])  # fmt: skip
    return compare(published, pl.concat([counts, measured]), _WHERE, lambda row: _reason(row, analysis))


def _reason(row: Mapping[str, object], analysis: Analysis) -> str | None:
    if row["quantity"] != IMAGES:
        return NOT_PUBLISHED
    if row["here"] is None:
        return "no catalog with this set is here, and its images are not part of this project"
    if analysis.synthetic:
        return PHANTOMS
    return "equal over the races in each part here, in all alone there" if row["images_per_patient"] != 1 else None
