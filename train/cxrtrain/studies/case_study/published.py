"""The published figures (published.tsv; shares, not percent) beside those found here.

From the preprint medRxiv 2025.06.06.25328913 and the outputs saved in its repository. `correlation` is Pearson's r of age
and FPR over the years 0 to 10, each model's rates brought to mean 0 and SD 1 first.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import numpy as np
import polars as pl

from cxrtrain.studies.case_study.analyse import Analysis
from cxrtrain.studies.case_study.design import CHILDREN, NAMES, PUBLISHED, TRAINED_ON, YOUNG
from cxrtrain.studies.comparison import PHANTOMS, compare

QUANTITIES = {
    "fpr": "false positive rate",
    "n": "healthy images",
    "threshold": "threshold",
    "auroc": "AUROC, calibration",
    "correlation": "correlation of age and FPR",
}
_WHERE = ["trained_on", "dataset", "subset", "blend", "age_low", "age_high"]
_FEWEST_YEARS = 3


def published_figures() -> pl.DataFrame:
    """quantity, trained_on, dataset, subset, blend, age_low, age_high, published."""
    text = files("cxrtrain.studies.case_study").joinpath("published.tsv").read_bytes()
    numbers = ("blend", "age_low", "age_high", "published")
    return pl.read_csv(text, separator="\t", schema_overrides=dict.fromkeys(numbers, pl.Float64))


def comparison(analysis: Analysis) -> pl.DataFrame:
    """Each published figure with that found here by the published rules (else by those that were asked for), their
    difference, and why there is none, or why they are not expected to agree."""
    rules = PUBLISHED if PUBLISHED in analysis.details["rules"] else analysis.details["rules"][0]
    rows = analysis.details.filter(rules=rules)
    chosen = analysis.thresholds.filter(rules=rules)
    own = {
        "dataset": pl.col("trained_on"),
        "subset": pl.lit("calibration"),
        **dict.fromkeys(("age_low", "age_high"), pl.lit(None, pl.Float64)),
    }
    found = [
        rows.select(pl.lit("fpr").alias("quantity"), *_WHERE, here=pl.col("fpr")),
        rows.select(pl.lit("n").alias("quantity"), *_WHERE, here=pl.col("n").cast(pl.Float64)),
        *(chosen.with_columns(**own).select(pl.lit(name).alias("quantity"), *_WHERE, here=pl.col(name)) for name in ("threshold", "auroc")),
    ]  # fmt: skip
    published = published_figures()
    # Of all models together: wherever the publication says it, with what else that row says.
    correlation = published.filter(quantity="correlation").select(
        "quantity", *_WHERE, here=pl.lit(_correlation(rows), pl.Float64)
    )
    return compare(
        published, pl.concat([*found, correlation]), ("quantity", *_WHERE), lambda row: _reason(row, analysis, rules)
    )


def _reason(row: Mapping[str, object], analysis: Analysis, rules: str) -> str | None:
    model, dataset = row["trained_on"], str(row["dataset"])
    own = analysis.details if model is None else analysis.details.filter(trained_on=model)
    if analysis.synthetic:
        return PHANTOMS
    if own.is_empty():
        return f"no model trained on {NAMES[str(model)]} is here; its published weights and images are not part of this project"
    if row["here"] is None and own.filter(dataset=dataset).is_empty():
        return f"not predicted on {NAMES[dataset]}"
    if row["here"] is None:
        return (
            f"not predicted at blend {row['blend']:g}"
            if row["blend"]
            else "no images of these ages, or fewer than may be shown"
        )
    return None if rules == PUBLISHED else "counted by careful rules"


def _correlation(rows: pl.DataFrame) -> float | None:
    """The published correlation, of all models here."""
    years = rows.filter(
        pl.col("dataset") == CHILDREN, pl.col("subset") == YOUNG, pl.col("blend") == 0.0, pl.col("age_low").is_not_null(),
        pl.col("fpr").is_not_null(),
    )  # fmt: skip
    parts = []
    for model in TRAINED_ON:
        own = years.filter(trained_on=model)
        spread = float(own["fpr"].to_numpy().std()) if own.height else 0.0
        if own.height >= _FEWEST_YEARS and spread:
            parts.append(own.select("age_low", rate=(pl.col("fpr") - pl.col("fpr").mean()) / spread))
    if not parts:
        return None
    both = pl.concat(parts)
    return float(np.corrcoef(both["age_low"].to_numpy(), both["rate"].to_numpy())[0, 1])
