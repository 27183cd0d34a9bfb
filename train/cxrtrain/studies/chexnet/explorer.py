"""Test images under CheXNet's maps, each beside what is predicted and what is true: as the published explorer shows them.

Of every finding a few test images that have it, and as many without any, by a keyed choice. Each has the map of the finding that is
predicted highest, and that of the finding it is shown for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from cxrdata.interop.label_orders import CHEXNET_KEY
from cxrdata.report.page import Page
from cxrdata.report.section import Picture, Section
from cxrdata.splits.keyed import KEEP, keyed_numbers
from cxrdata.version import __version__
from cxrtrain.studies.chexnet.design import DATASET, findings
from cxrtrain.studies.chexnet.figures import in_words, said

NONE = "no_finding"
SHOWN = "explorer.csv"
SCHEMA = {
    "image_id": pl.String, "shown_for": pl.String, "finding": pl.String, "probability": pl.Float64, "truth": pl.Int8,
    "prevalence": pl.Float64, "mapped": pl.Boolean,
}  # fmt: skip
TITLE = "Test images, maps, predictions and truth"
_SAID = (
    (
        "Each picture is a test image, and beside it the same under a map: log(sigmoid(class activation) / prevalence), cut to \N{MINUS SIGN}5 "
        "to 5, the prevalence being that of the training images. Red speaks for the finding, blue against it. First the map of the finding "
        "that is predicted highest, then that of the finding which the section is about; one that no training image has cannot be mapped. "
        "Truth: text-mined labels, wrong for some images."
    ),
    "A map says what the score follows from, not whether that is right. Images were chosen by a key, not by how well they look.",
)
_TERMS = "These are images of patients: this page may go no further than DATA_TERMS.md beside it allows."
_SYNTHETIC = "SYNTHETIC DATA: drawn chests, no image here is of a patient."


def choose(predicted: pl.DataFrame, truth: pl.DataFrame, each: int, seed: int = 0) -> pl.DataFrame:
    """image_id, shown_for. Of each finding `each` predicted images that have it, the rarest finding first, so that it gets its own,
    and as many without any; no image twice.

    predicted: with the key of their layout; truth: image_id, and 0 or 1 a finding.
    """
    names = list(findings())
    rows = truth.join(predicted.select(image_id=CHEXNET_KEY), on="image_id", how="semi")
    keys = keyed_numbers(KEEP, seed, pl.repeat(DATASET, rows.height, eager=True), rows["image_id"])
    rows = rows.with_columns(_key=keys).sort("_key", "image_id")
    rows = rows.with_columns((pl.sum_horizontal(names) == 0).cast(pl.Int8).alias(NONE))
    rarest_first = sorted([*names, NONE], key=lambda name: int(rows[name].sum()))
    taken: dict[str, str] = {}
    for name in rarest_first:
        own = rows.filter(pl.col(name) == 1, ~pl.col("image_id").is_in(list(taken)))
        taken |= dict.fromkeys(own["image_id"].head(each).to_list(), name)
    chosen = pl.DataFrame(list(taken.items()), schema=["image_id", "shown_for"], orient="row", schema_overrides=dict.fromkeys(("image_id", "shown_for"), pl.String))  # fmt: skip
    order = {name: at for at, name in enumerate([*names, NONE])}
    return chosen.sort(pl.col("shown_for").replace_strict(order, return_dtype=pl.Int64), maintain_order=True)


def shown_rows(
    chosen: pl.DataFrame, predicted: pl.DataFrame, truth: pl.DataFrame, prevalence: Mapping[str, float]
) -> pl.DataFrame:
    """Rows of `SCHEMA`: one a chosen image and finding that is predicted. prevalence: of each finding in the training; where it
    is 0 there is no map, which is divided by it."""
    columns = {
        finding: f"prob_{label}" for finding, label in findings().items() if f"prob_{label}" in predicted.columns
    }
    told = predicted.select(
        pl.col(CHEXNET_KEY).alias("image_id"), *(pl.col(name).cast(pl.Float64).alias(one) for one, name in columns.items())
    )  # fmt: skip
    rows = chosen.join(told, on="image_id", maintain_order="left").unpivot(
        list(columns), index=["image_id", "shown_for"], variable_name="finding", value_name="probability"
    )
    known = truth.select("image_id", *columns).unpivot(
        list(columns), index="image_id", variable_name="finding", value_name="truth"
    )
    rows = rows.join(known, on=["image_id", "finding"], how="left", maintain_order="left").with_columns(
        prevalence=pl.col("finding").replace_strict(dict(prevalence), return_dtype=pl.Float64)
    )
    possible = pl.when(pl.col("prevalence") > 0).then("probability").otherwise(-1.0)
    highest = pl.int_range(pl.len()).over("image_id") == possible.arg_max().over("image_id")
    mapped = (pl.col("prevalence") > 0) & (highest | (pl.col("finding") == pl.col("shown_for")))
    place = {name: at for at, name in enumerate(chosen["image_id"].to_list())}
    return (
        rows.with_columns(mapped=mapped)
        .sort(pl.col("image_id").replace_strict(place, return_dtype=pl.Int64), maintain_order=True)
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


def explorer_page(
    shown: pl.DataFrame, pictures: Mapping[tuple[str, str], Path], told: Mapping[str, str], *, synthetic: bool
) -> Page:
    """The page. pictures: of each image and mapped finding the file; told: an image's age and view in words."""
    sections = []
    for name in [*findings(), NONE]:
        own = shown.filter(shown_for=name)
        if own.is_empty():
            continue
        shows = [
            _picture(image, own.filter(image_id=image), pictures, told[image])
            for image in own["image_id"].unique(maintain_order=True).to_list()
        ]
        sections.append(Section(name, "No finding" if name == NONE else said(name).capitalize(), [], shows))
    return Page(
        title=TITLE,
        said=list(_SAID),
        notices=[_SYNTHETIC if synthetic else _TERMS],
        sections=sections,
        foot=f"cxrdata {__version__}. The sections are by what is true; an image with several findings stands with the rarest.",
    )


def _picture(image: str, rows: pl.DataFrame, pictures: Mapping[tuple[str, str], Path], told: str) -> Picture:
    ranked = rows.sort("probability", descending=True, maintain_order=True)
    mapped = ranked.filter("mapped")["finding"].to_list()
    true = [said(name) for name in rows.filter(truth=1)["finding"].to_list()]
    table = ranked.select(
        in_words("finding"),
        *(pl.col(name).map_elements(lambda value: f"{value:.3f}", return_dtype=pl.String) for name in ("probability", "prevalence")),
        truth=pl.col("truth").replace_strict({0: "no", 1: "yes"}, default="unknown", return_dtype=pl.String),
    )  # fmt: skip
    words = f"{told}. Mapped: {', '.join(said(name) for name in mapped)}. True: {', '.join(true) or 'none of the 14'}."
    return Picture(
        image.removesuffix(".png"), image, words, [pictures[image, name].read_bytes() for name in mapped], table
    )
