"""Race and ethnicity: raw statements through a scheme, one answer a patient, disagreement kept visible.

Two questions are kept apart (OMB 1997): a statement may answer race, ethnicity, both or
neither. Statements that are unknown or declined never vote.
"""

from __future__ import annotations

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.sources.account import Account
from cxrdata.vocabularies import Vocabularies

RULES = ("majority", "first", "unanimous")
DEFAULT_SCHEME = "omb1997"


def harmonise_race(
    records: pl.DataFrame | None,
    patients: pl.DataFrame,
    dataset: str,
    vocabularies: Vocabularies,
    account: Account,
    *,
    rule: str = "majority",
    scheme: str = DEFAULT_SCHEME,
) -> pl.DataFrame:
    """One row a patient of `patients` (`patient_id`): race, ethnicity, race_ethnicity, race_raw, ethnicity_raw
    (sorted distinct lists), race_missing_reason, race_conflict.

    records: `patient_id`, `field`, `raw_value` (null: asked, left empty), `precedence` (lower first: a field or source
    that is believed before the others), `record_order`, `about` (`race` or `ethnicity`: the question of the
    field), `_line`, `source_file`. None where the dataset records no race.

    rule: `majority` (ties null), `first` known statement, `unanimous` (any disagreement null). Within a
    patient only statements of the lowest precedence that answer the question vote.
    Raises CxrError CXR-501 for an unknown rule or scheme.
    """
    if rule not in RULES:
        raise CxrError("CXR-501", f"no rule is called {rule!r}", fix=f"rules: {', '.join(RULES)}")
    if records is None:
        return _without_records(patients)
    table = vocabularies.race.filter((pl.col("dataset") == dataset) & (pl.col("scheme") == scheme))
    if table.is_empty() and dataset in vocabularies.race["dataset"].unique().to_list():
        known = vocabularies.race["scheme"].unique().sort().to_list()
        raise CxrError("CXR-501", f"no race scheme is called {scheme!r}", fix=f"schemes: {', '.join(known)}")
    meanings = table.select("field", "raw_value", "race", "ethnicity", "missing_reason", _known=pl.lit(value=True))
    said = records.join(meanings, on=["field", "raw_value"], how="left", maintain_order="left")
    unknown = said.filter(pl.col("raw_value").is_not_null() & pl.col("_known").is_null())
    account.reject_values(
        pl.col("source_file"),
        unknown,
        "CXR-303",
        column="race",
        value="raw_value",
        message=pl.lit("unknown race or ethnicity; an overlay can add it to race.tsv"),
    )
    race = _decide(said, "race", rule)
    ethnicity = _decide(said, "ethnicity", rule)
    raws = said.group_by("patient_id").agg(
        race_raw=pl.col("raw_value").filter(pl.col("about") == "race").drop_nulls().unique().sort(),
        ethnicity_raw=pl.col("raw_value").filter(pl.col("about") == "ethnicity").drop_nulls().unique().sort(),
        _declined=((pl.col("missing_reason") == "declined") & (pl.col("about") == "race")).any(),
        _unknown=((pl.col("missing_reason") == "unknown") & (pl.col("about") == "race")).any(),
        _asked=pl.lit(value=True).first(),
    )
    joined = patients.join(raws, on="patient_id", how="left", maintain_order="left")
    joined = joined.join(race, on="patient_id", how="left", maintain_order="left")
    joined = joined.join(ethnicity, on="patient_id", how="left", maintain_order="left")
    return joined.select(
        "patient_id",
        "race",
        "ethnicity",
        _race_ethnicity(),
        pl.when(pl.col("race_raw").list.len() > 0).then("race_raw").alias("race_raw"),
        pl.when(pl.col("ethnicity_raw").list.len() > 0).then("ethnicity_raw").alias("ethnicity_raw"),
        race_missing_reason=pl.when(pl.col("race").is_not_null())
        .then(None)
        .when(pl.col("_asked").is_null())
        .then(pl.lit("no_record"))
        .when(pl.col("race_conflict"))
        .then(pl.lit("conflict"))
        .when(pl.col("_declined"))
        .then(pl.lit("declined"))
        .when(pl.col("_unknown"))
        .then(pl.lit("unknown"))
        .otherwise(pl.lit("not_recorded")),
        race_conflict=pl.col("race_conflict").fill_null(value=False),
    )


def _race_ethnicity() -> pl.Expr:
    return (
        pl.when(pl.col("ethnicity") == "Hispanic")
        .then(pl.lit("Hispanic"))
        .otherwise(pl.col("race"))
        .alias("race_ethnicity")
    )


def _decide(said: pl.DataFrame, question: str, rule: str) -> pl.DataFrame:
    """patient_id, the answer to `question`, and `<question>_conflict` (two different known answers)."""
    known = said.filter(pl.col(question).is_not_null())
    believed = known.filter(pl.col("precedence") == pl.col("precedence").min().over("patient_id"))
    votes = believed.group_by("patient_id", question).agg(n=pl.len(), first=pl.col("record_order").min())
    if rule == "first":
        chosen = votes.sort("patient_id", "first", question).group_by("patient_id", maintain_order=True).first()
    else:
        best = votes.filter(pl.col("n") == pl.col("n").max().over("patient_id")) if rule == "majority" else votes
        chosen = best.filter(pl.len().over("patient_id") == 1)
    conflict = known.group_by("patient_id").agg((pl.col(question).n_unique() > 1).alias(f"{question}_conflict"))
    return conflict.join(chosen.select("patient_id", question), on="patient_id", how="left")


def _without_records(patients: pl.DataFrame) -> pl.DataFrame:
    nothing = pl.lit(None, pl.String)
    return patients.select(
        "patient_id",
        race=nothing,
        ethnicity=nothing,
        race_ethnicity=nothing,
        race_raw=pl.lit(None, pl.List(pl.String)),
        ethnicity_raw=pl.lit(None, pl.List(pl.String)),
        race_missing_reason=pl.lit("not_recorded"),
        race_conflict=pl.lit(value=False),
    )
