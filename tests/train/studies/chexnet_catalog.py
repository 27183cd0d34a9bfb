"""A catalog of synthetic NIH tables, and predictions of the fourteen findings that are known to the last digit."""

from __future__ import annotations

from pathlib import Path

import polars as pl

import cxrdata
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog
from cxrtrain.studies.chexnet.design import DATASET, LABELER, findings


def make_catalog(folder: Path, nih: Path) -> Path:
    """nih: the synthetic dataset's folder."""
    build_catalog(BuildRequest(folder, named=[(Registry().get("nih"), nih)], workers=1))
    return folder


def truth_of(catalog: Path) -> pl.DataFrame:
    """image_id, and 0 or 1 a finding."""
    with cxrdata.open(catalog) as opened:
        labels = opened.labels(dataset=DATASET, labeler=LABELER, findings=list(findings()), policy="zeros")
    return labels.select("image_id", *findings()).sort("image_id")


def probabilities(truth: pl.DataFrame) -> pl.DataFrame:
    """image_id and a number a finding: by chance of the id alone, and higher by 0.2 where it is true."""
    chance = pl.col("image_id").str.extract(r"^(\d+)").cast(pl.Int64) * 7 + pl.col("image_id").str.slice(9, 3).cast(pl.Int64) * 13  # fmt: skip
    return truth.select(
        "image_id",
        *(((chance * (at + 3) % 101) / 101 * 0.7 + pl.col(name) * 0.2 + 0.05).alias(name) for at, name in enumerate(findings())),
    )  # fmt: skip


def write_theirs(file: Path, catalog: Path, *, drop: tuple[str, ...] = ()) -> Path:
    """In the layout of reproduce-chexnet, `preds.csv`."""
    named = {name: f"prob_{label}" for name, label in findings().items() if name not in drop}
    said = probabilities(truth_of(catalog)).rename({"image_id": "Image Index", **named}).drop(*drop)
    file.parent.mkdir(parents=True, exist_ok=True)
    said.write_csv(file)
    return file


def write_ours(file: Path, catalog: Path) -> Path:
    """As `cxrdata predict` writes them."""
    said = probabilities(truth_of(catalog)).rename({name: f"prob_{name}" for name in findings()})
    said.select(pl.lit(DATASET).alias("dataset"), pl.all(), pl.lit("run").alias("run_id")).write_parquet(file)
    return file
