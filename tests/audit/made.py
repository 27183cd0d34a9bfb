"""Made-up predictions for audits on synthetic catalogs, and what must come of them, computed plainly."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest

from cxrdata.audit.result import Audit
from cxrdata.store.catalog import Catalog

KEY = ["dataset", "image_id"]


def score(*parts: str) -> float:
    """A number in [0, 1) that depends on nothing but the words; to three digits, so that there are ties."""
    return int(hashlib.sha256("|".join(parts).encode()).hexdigest()[:8], 16) % 1000 / 1000


def made_predictions(
    catalog: Catalog, *datasets: str, labels: tuple[str, ...] = ("cardiomegaly",), model: str = "m"
) -> pl.DataFrame:
    """dataset, image_id and a score a label for every image."""
    images = catalog.table("images").select(KEY).sort(KEY).collect().filter(pl.col("dataset").is_in(datasets))
    scores = {f"prob_{label}": [score(model, label, key) for key in images["image_id"]] for label in labels}
    return images.with_columns(**{name: pl.Series(values) for name, values in scores.items()})


def auroc_of(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> float:
    """By its definition: the share of pairs in which the positive one scores higher, ties by half."""
    weights = np.ones(len(scores)) if weights is None else weights
    above, below = scores[positive], scores[~positive]
    pairs = np.outer(weights[positive], weights[~positive])
    wins = (above[:, None] > below[None, :]) + 0.5 * (above[:, None] == below[None, :])
    return float((pairs * wins).sum() / pairs.sum())


def one_row(answer: Audit, metric: str, **where: str | None) -> dict[str, object]:
    rows = answer.rows.filter(pl.col("metric") == metric)
    for name, value in where.items():
        rows = rows.filter(pl.col(name).eq_missing(pl.lit(value)))
    return rows.row(0, named=True) if rows.height == 1 else pytest.fail(str(rows))


def states_of(catalog: Catalog, dataset: str, label: str) -> pl.DataFrame:
    """image_id and state of the preferred labeler, as the long view has it."""
    return catalog.sql(
        "SELECT l.image_id, l.state FROM labels l JOIN image_labels i ON l.dataset = i.dataset AND l.image_id = i.image_id"
        " AND l.labeler = i.labeler WHERE l.dataset = $dataset AND l.finding = $label",
        {"dataset": dataset, "label": label},
    )
