"""The published figures beside those found here (Jin et al., MICCAI 2024, Pleural Effusion × sex on CheXpert; percent there)."""

from __future__ import annotations

import polars as pl

from cxrdata.audit.data import OVERALL
from cxrtrain.dne.config import DneExperiment
from cxrtrain.dne.fairness import ERM

# finding, attribute, dataset of what was published in numbers.
PUBLISHED_FOR = ("pleural_effusion", "sex", "chexpert")
PUBLISHED = {
    (ERM, "accuracy"): 0.69,
    (ERM, "equalised_odds_negative"): 0.485,
    (ERM, "equalised_odds_positive"): 0.575,
    (ERM, "disparate_impact_tpr"): 0.593,
    ("DNE", "accuracy"): 0.7425,
    ("DNE", "equalised_odds_negative"): 0.25,
    ("DNE", "equalised_odds_positive"): 0.23,
    ("DNE", "disparate_impact_tpr"): 0.267,
}
SCHEMA = {
    "model": pl.String, "metric": pl.String, "published": pl.Float64, "here": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64,
    "difference": pl.Float64, "reason": pl.String,
}  # fmt: skip


def comparison(rows: pl.DataFrame, experiment: DneExperiment, *, datasets: list[str], synthetic: bool) -> pl.DataFrame:
    """Each published figure with that of the same model here, and why they cannot be compared, or are not expected to agree.
    rows: of `fairness_rows`. Every DNE model has rows of its own."""
    models = [one for one in rows["model"].unique(maintain_order=True).to_list() if not one.startswith(f"{ERM} - ")]
    reason = _reason(experiment, datasets, synthetic=synthetic)
    found = []
    for model in models:
        for (which, metric), published in PUBLISHED.items():
            if (model == ERM) != (which == ERM):
                continue
            own = rows.filter(
                pl.col("model") == model,
                pl.col("metric") == metric,
                pl.col("group_value").is_null(),
                (pl.col("group_by") == OVERALL) | (metric != "accuracy"),
            ).row(0, named=True)
            here = own["estimate"]
            found.append(
                {
                    "model": model, "metric": metric, "published": published, "here": here, "ci_low": own["ci_low"],
                    "ci_high": own["ci_high"], "difference": None if here is None else here - published, "reason": reason,
                }
            )  # fmt: skip
    return pl.DataFrame(found, schema=SCHEMA, orient="row")


def _reason(experiment: DneExperiment, datasets: list[str], *, synthetic: bool) -> str:
    finding, attribute, dataset = PUBLISHED_FOR
    if synthetic:
        return "made-up data: nothing of them is comparable"
    if experiment.disease.finding != finding or experiment.attribute.name != attribute:
        return f"published for {finding} and {attribute} only"
    if datasets != [dataset]:
        return f"published for {dataset}, and these images are of {', '.join(datasets)}"
    return "other images: the published lists were chosen by a rule that is not told; ours follow from the split's seed"
