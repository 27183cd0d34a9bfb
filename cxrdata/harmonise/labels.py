"""Label cells as states: stored codes, canonical findings, the roll-up.

Codes are those of `metadata/label_states.tsv`: 1 positive, 0 negative, -1 uncertain, -2 unmentioned,
-3 negative by the silence of a closed-world labeler; null where the labeler did not assess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from cxrdata.sources.account import Account
from cxrdata.sources.base import NEGATIVE, POSITIVE, SILENT, UNCERTAIN, UNMENTIONED
from cxrdata.vocabularies import Vocabularies

# CheXpert coding of image_labels (CONTRACT §5); unmentioned and not assessed are null there.
_PUBLISHED = {POSITIVE: 1, NEGATIVE: 0, SILENT: 0, UNCERTAIN: -1, UNMENTIONED: None}


def codes_from_numbers(
    frame: pl.DataFrame,
    columns: Sequence[str],
    *,
    blank: int | None,
    account: Account,
    source_file: str,
    allowed: Sequence[int] = (POSITIVE, NEGATIVE, UNCERTAIN),
) -> pl.DataFrame:
    """Replace text cells such as `1.0`, `0`, `-1.0` and blanks by Int8 codes.

    `blank` is the code of an empty cell (None: not assessed). A cell that holds anything
    else is reported (CXR-305) and becomes null. `frame` needs `_line`.
    """
    number = pl.col(columns).str.strip_chars().cast(pl.Float32, strict=False)
    parsed = frame.select(number)
    codes = parsed.select(
        pl.when(pl.col(c).is_in([float(a) for a in allowed])).then(pl.col(c)).cast(pl.Int8).alias(c) for c in columns
    )
    lost = codes.null_count().row(0)
    blanks = frame.select(pl.col(columns).is_null().sum()).row(0)
    for column, n_lost, n_blank in zip(columns, lost, blanks, strict=True):
        if n_lost > n_blank:
            wrong = frame.filter(codes[column].is_null() & pl.col(column).is_not_null())
            account.reject_values(source_file, wrong, "CXR-305", column=column)
            if blank is not None:
                # An unreadable cell is not a blank one: it stays null.
                codes = codes.with_columns(
                    pl.when(codes[column].is_null() & frame[column].is_null())
                    .then(pl.lit(blank, pl.Int8))
                    .otherwise(pl.col(column))
                    .alias(column)
                )
    if blank is not None:
        clean = [c for c, n_lost, n_blank in zip(columns, lost, blanks, strict=True) if n_lost == n_blank]
        codes = codes.with_columns(pl.col(clean).fill_null(blank))
    return frame.with_columns(codes.get_columns())


def codes_from_lists(
    frame: pl.DataFrame,
    listed: pl.Series,
    vocabulary: Sequence[str],
    *,
    silence: pl.Series,
    account: Account,
    source_file: str,
    column: str,
) -> pl.DataFrame:
    """A matrix of codes, one Int8 column a label of `vocabulary`, from lists of the positive ones.

    listed: List(String), one an image; null where the labeler did not assess (all cells null).
    silence: Int8, the code of a label that is not listed, per image.
    A label outside the vocabulary is reported (CXR-304, value `label`). `frame` needs `_line`.
    """
    rows = (
        pl.DataFrame({"_row": np.arange(len(listed), dtype=np.uint32), "_label": listed, "_line": frame["_line"]})
        .explode("_label")
        .drop_nulls("_label")
    )
    places = pl.DataFrame({"_label": list(vocabulary), "_place": np.arange(len(vocabulary), dtype=np.uint32)})
    rows = rows.join(places, on="_label", how="left", maintain_order="left")
    unknown = rows.filter(pl.col("_place").is_null())
    account.reject_values(source_file, unknown.rename({"_label": column}), "CXR-304", column=column)
    known = rows.filter(pl.col("_place").is_not_null())
    matrix = np.repeat(silence.fill_null(0).to_numpy().astype(np.int8)[None, :], len(vocabulary), axis=0)
    matrix[known["_place"].to_numpy(), known["_row"].to_numpy()] = POSITIVE
    assessed = listed.is_not_null()
    result = pl.DataFrame(
        {label: matrix[at] for at, label in enumerate(vocabulary)}, schema=dict.fromkeys(vocabulary, pl.Int8)
    )
    if not assessed.all():
        result = result.select(pl.when(assessed).then(pl.col(label)).alias(label) for label in vocabulary)
    return result


def published(states: pl.DataFrame, exact: Mapping[str, str], findings: Sequence[str]) -> pl.DataFrame:
    """One Int8 column a canonical finding, CheXpert coding, through exact matches alone."""
    native = {finding: label for label, finding in exact.items() if label in states.columns}
    return states.select(
        pl.col(native[f]).replace_strict(_PUBLISHED, return_dtype=pl.Int8).alias(f)
        if f in native
        else pl.lit(None, pl.Int8).alias(f)
        for f in findings
    )


def rolled_up(
    states: pl.DataFrame, base: pl.DataFrame, vocabularies: Vocabularies, dataset: str
) -> tuple[pl.DataFrame, dict[str, int]]:
    """`base` (of `published`) with the finding tree applied, and how many explicit negatives of
    each finding a positive below it overrode.

    A positive goes up along exact and broad matches and the tree; narrow and close matches
    never (CONTRACT §5).
    """
    upward = vocabularies.upward(dataset)
    below: dict[str, list[str]] = {}
    for label in states.columns:
        for finding in upward.get(label, []):
            for ancestor in vocabularies.ancestors[finding]:
                below.setdefault(ancestor, []).append(label)
    columns, overridden = [], {}
    for finding in base.columns:
        labels = below.get(finding, [])
        if not labels:
            columns.append(base[finding])
            continue
        positive = states.select(pl.any_horizontal(pl.col(label).eq_missing(POSITIVE) for label in labels)).to_series()
        overridden[finding] = int((positive & (base[finding].eq_missing(pl.Series([0], dtype=pl.Int8)))).sum())
        columns.append(
            pl.select(pl.when(positive).then(pl.lit(1, pl.Int8)).otherwise(base[finding]).alias(finding)).to_series()
        )
    return pl.DataFrame(columns), {finding: n for finding, n in overridden.items() if n}


def majority(readings: pl.DataFrame, labels: Sequence[str]) -> pl.DataFrame:
    """One row an image: the state that most readers gave; a tie between positive and negative is uncertain."""
    votes = readings.group_by("image_id").agg(
        [(pl.col(label) == POSITIVE).sum().alias(f"+{label}") for label in labels]
        + [pl.col(label).is_in([NEGATIVE, SILENT]).sum().alias(f"-{label}") for label in labels]
        + [(pl.col(label) == SILENT).any().alias(f"?{label}") for label in labels]
    )
    return votes.select(
        "image_id",
        *(
            pl.when(pl.col(f"+{label}") > pl.col(f"-{label}"))
            .then(POSITIVE)
            .when(pl.col(f"-{label}") > pl.col(f"+{label}"))
            .then(pl.when(pl.col(f"?{label}")).then(SILENT).otherwise(NEGATIVE))
            .when(pl.col(f"+{label}") > 0)
            .then(UNCERTAIN)
            .cast(pl.Int8)
            .alias(label)
            for label in labels
        ),
    ).sort("image_id")
