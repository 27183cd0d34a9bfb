"""The published figures (published.tsv) beside those found here.

From the paper, doi:10.1016/j.ebiom.2023.104467, and the outputs saved in its repository: the cohort's funnel and parts, the
resampled test set and its prevalences, how well race and sex are read, and the table of No Finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import polars as pl

from cxrdata.wording import slug
from cxrtrain.studies.chexploration import design
from cxrtrain.studies.chexploration.design import NAMES, RACES, SAID, TEST, TRAIN, VAL
from cxrtrain.studies.chexploration.result import Result
from cxrtrain.studies.comparison import PHANTOMS, RANDOM_ROWS, compare

QUANTITIES = {
    "images": "images",
    "patients": "patients",
    "prevalence": "prevalence",
    "auroc": "AUROC",
    "tpr": "true positive rate",
    "fpr": "false positive rate",
}
_ON = ("quantity", "dataset", "model", "part", "label", "group")
_FOUND = {**dict.fromkeys(_ON, pl.String), "here": pl.Float64}
_RATES = ("auroc", "tpr", "fpr")


def published_figures() -> pl.DataFrame:
    """quantity, dataset, model, part (of the split, or a step of the cohort), label, group, published."""
    text = files("cxrtrain.studies.chexploration").joinpath("published.tsv").read_bytes()
    return pl.read_csv(text, separator="\t", schema={**dict.fromkeys(_ON, pl.String), "published": pl.Float64})


def comparison(result: Result) -> pl.DataFrame:
    """Each published figure with that found here by the published rules, their difference, and why there is none, or why
    they are not expected to agree."""
    here = pl.concat([_steps(result), _parts(result), _resampled(result), _rates(result)]).with_columns(
        dataset=pl.lit(result.dataset)
    )
    return compare(published_figures(), here.select(*_FOUND), _ON, lambda row: _reason(row, result))


def _row(
    quantity: str, part: str, here: object, *, label: str | None = None, group: str | None = None
) -> dict[str, object]:
    return dict.fromkeys(_FOUND) | {"quantity": quantity, "part": part, "label": label, "group": group, "here": here}


def _steps(result: Result) -> pl.DataFrame:
    rows = []
    for step in result.funnel.iter_rows(named=True):
        rows.append(_row("images", step["step"], step["images"]))
        rows.append(_row("patients", step["step"], step["patients"]))
    last = result.funnel.row(-1, named=True)
    rows += [_row("images", last["step"], last.get(f"race_{slug(race)}"), group=race) for race in RACES]
    return pl.DataFrame(rows, schema=_FOUND, strict=False)


def _parts(result: Result) -> pl.DataFrame:
    wanted = result.parts.filter(pl.col("group_by").is_in(["overall", "race"]))
    rows = [
        _row(quantity, row["part"], row[quantity], group=row["group_value"])
        for row in wanted.iter_rows(named=True)
        for quantity in ("images", "patients")
    ]
    return pl.DataFrame(rows, schema=_FOUND, strict=False)


def _resampled(result: Result) -> pl.DataFrame:
    table = result.resampled
    whole = None if table.is_empty() or table["draws"].null_count() else int(table["draws"].sum())
    rows = [_row("images", design.RESAMPLED, whole)]
    rows += [
        _row("prevalence", design.RESAMPLED, row["prevalence_after"], label=row["disease"], group=row["race"])
        for row in table.iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=_FOUND, strict=False)


def _rates(result: Result) -> pl.DataFrame:
    rows = pl.concat([result.detection, result.attributes]).filter(
        pl.col("metric").is_in(_RATES),
        pl.col("group_by").is_in(["overall", "race"]),
        rules=design.PUBLISHED,
        test_set=TEST,
    )
    return rows.select(
        pl.col("metric").alias("quantity"), pl.lit(None, pl.String).alias("dataset"), "model", pl.col("test_set").alias("part"),
        "label", pl.col("group_value").alias("group"), pl.col("estimate").alias("here"),
    )  # fmt: skip


def _reason(row: Mapping[str, object], result: Result) -> str | None:
    if row["dataset"] != result.dataset:
        return f"this is the study of {NAMES[result.dataset]}; --dataset {row['dataset']} is that of {NAMES[str(row['dataset'])]}"
    if result.synthetic:
        return PHANTOMS if result.trained else RANDOM_ROWS
    return _lacking(row, result) if row["here"] is None else _apart(row, result)


def _lacking(row: Mapping[str, object], result: Result) -> str:
    """Why there is no figure here."""
    model, part = row["model"], row["part"]
    if model is not None and model not in result.models:
        return f"no predictions of the {SAID[str(model)]} are here; its published weights and images are not part of this project"
    if part in (TRAIN, VAL, TEST):
        return f"neither the catalog's split nor the predictions hold the part {part}, or this group of it"
    if part == design.RESAMPLED and result.resampled.is_empty():
        return "this test set has no two races to draw equally often"
    return "no images of it here, or fewer patients than may be shown"


def _apart(row: Mapping[str, object], result: Result) -> str | None:
    """Why a figure is not expected to agree."""
    model, part = row["model"], row["part"]
    if part in (TRAIN, VAL, TEST) and model is None:
        return "the published split shuffles patients by another random order: shares agree, counts nearly"
    if part == design.RESAMPLED:
        return "other draws, of this test set"
    if model is not None and result.trained:
        return "trained anew: another split of the patients, other random numbers and libraries"
    return None
