"""The published AUCs (published.tsv), of the retrained model and of CheXNet, beside those found here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import polars as pl

from cxrtrain.studies.chexnet.analyse import Analysis
from cxrtrain.studies.chexnet.design import CHEXNET, RETRAINED
from cxrtrain.studies.comparison import PHANTOMS, compare

_ON = ("quantity", "system", "finding")


def published_figures() -> pl.DataFrame:
    """quantity (auroc, images, patients), system (retrained, chexnet), finding, published."""
    text = files("cxrtrain.studies.chexnet").joinpath("published.tsv").read_bytes()
    return pl.read_csv(text, separator="\t", schema_overrides={"published": pl.Float64})


def comparison(analysis: Analysis) -> pl.DataFrame:
    """Each published figure with that of each model here, their difference, and why there is none or why it tells little:
    model, quantity, system, finding, published, here, difference, reason."""
    published = published_figures()
    whole = []
    for model in analysis.models:

        def reason(row: Mapping[str, Any], model: str = model) -> str | None:
            return _reason(row, analysis, model)

        compared = compare(published, _here(analysis, model), _ON, reason)
        whole.append(compared.select(pl.lit(model).alias("model"), pl.all()))
    return pl.concat(whole)


def _here(analysis: Analysis, model: str) -> pl.DataFrame:
    """quantity, system, finding, here: an AUC of ours stands beside both systems'."""
    aucs = analysis.overall.filter(pl.col("model") == model, pl.col("estimate").is_not_null())
    rows = [
        ("auroc", system, finding, value)
        for system in (RETRAINED, CHEXNET)
        for finding, value in aucs.select("label", "estimate").iter_rows()
    ]
    _, images, patients = analysis.judged.row(by_predicate=pl.col("model") == model)
    rows += [(name, RETRAINED, None, float(n)) for name, n in (("images", images), ("patients", patients))]
    schema = dict.fromkeys(_ON, pl.String) | {"here": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _reason(row: Mapping[str, Any], analysis: Analysis, model: str) -> str | None:
    if analysis.synthetic:
        return PHANTOMS
    if row["here"] is None:
        own = analysis.overall.filter(model=model, label=row["finding"])
        return "this model does not predict it" if own.is_empty() else f"none here, {own['note'][0]}"
    if row["system"] == CHEXNET:
        return "its weights, predictions and test images are not public: other test images"
    if not is_published_test(analysis, model):
        sizes = published_test()
        return f"other test images: the published ones are {sizes['images']:,.0f} of {sizes['patients']:,.0f} patients"
    if analysis.old_labels and row["quantity"] == "auroc":
        return "labels of 2017; the published AUCs are against those of 2020"
    return analysis.trained or None


def is_published_test(analysis: Analysis, model: str) -> bool:
    """Whether as many images of as many patients are judged as were published."""
    sizes = published_test()
    _, images, patients = analysis.judged.row(by_predicate=pl.col("model") == model)
    return (images, patients) == (sizes["images"], sizes["patients"])


def published_test() -> dict[str, float]:
    """How many images and patients the published AUCs are of."""
    return dict(published_figures().filter(pl.col("quantity") != "auroc").select("quantity", "published").iter_rows())
