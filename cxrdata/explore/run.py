"""An exploration: from a file of features to modes, a plane, marginals by group and tests, with keys throughout.

As Glocker et al. 2023 did it: components that hold 99 % of the variance of all images; as many images of each race, drawn
at random; their t-SNE; Kolmogorov-Smirnov tests on the first four modes and the logits, adjusted by Benjamini-Yekutieli.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.audit.predictions import Table, read_predictions
from cxrdata.audit.truth import CatalogTruth
from cxrdata.errors import CxrError
from cxrdata.explore.contrasts import KS_SCHEMA, compared, contrasts_of
from cxrdata.explore.embeddings import KEY, read_embeddings
from cxrdata.explore.projection import embedded_plane, principal_components
from cxrdata.splits.attributes import with_attributes
from cxrdata.splits.keyed import keyed_numbers
from cxrdata.splits.stored import open_split
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

ATTRIBUTES = ("disease", "race", "sex", "age_group:chexploration")
MODES = 4
_SAMPLE = "explore"


@dataclass(frozen=True)
class ExploreRequest:
    """What is asked. by: attributes; the first of `sample_by` and `by` that... see `sample_by`: as many images of each of its
    values are drawn, `per_group` at most. resampled: a split whose draws are looked at beside. predictions: whose logits are
    marginals too, of `labels`."""

    embeddings: Path
    by: tuple[str, ...] = ATTRIBUTES
    sample_by: str = "race"
    per_group: int = 1000
    predictions: Path | None = None
    labels: tuple[str, ...] = ("no_finding", "pleural_effusion")
    split: str | None = None
    resampled: str | None = None
    order: Path | None = None
    key: str | None = None
    share: float = 0.99
    plane: bool = True
    perplexity: float = 30.0
    seed: int = 0


@dataclass(frozen=True)
class Exploration:
    """sample: the images that were drawn: dataset, image_id, patient, draw, resampled, the attributes, pca_1…, tsne_1, tsne_2,
    logits. explained: mode, share of the variance. tests: `KS_SCHEMA`."""

    sample: pl.DataFrame
    explained: pl.DataFrame
    tests: pl.DataFrame
    marginals: tuple[str, ...]
    by: tuple[str, ...]
    notes: list[str] = field(default_factory=list)


def explore(catalog: Catalog, request: ExploreRequest) -> Exploration:
    """Raises CxrError as `read_embeddings`, `with_attributes` and `read_predictions` do; CXR-125 where no image is left."""
    found = read_embeddings(request.embeddings, catalog, order=request.order, key=request.key)
    rows = found.keys.with_row_index("_at")
    notes = list(found.notes)
    if request.split is not None:
        rows = rows.join(_part(catalog, request.split), on=KEY, how="semi", maintain_order="left")
        notes.append(f"{counted(rows.height, 'image')} of {found.keys.height:,} are in {request.split}")
    if rows.is_empty():
        raise CxrError("CXR-125", "no image with features is left", fix="name another split, or other features")
    components = principal_components(found.features[rows["_at"].to_numpy()], share=request.share)
    patients = (
        catalog.table("images")
        .select(*KEY, patient=pl.concat_str("dataset", pl.coalesce("patient_id", "image_id"), separator=":"))
        .collect()
    )
    rows = rows.join(patients, on=KEY, how="left", maintain_order="left")
    rows = with_attributes(catalog, rows, [*dict.fromkeys([request.sample_by, *request.by])])
    logits: list[str] = []
    if request.predictions is not None:
        rows, logits = _with_logits(rows, catalog, request)
    draws = [rows.with_columns(draw=pl.lit(0), resampled=pl.lit(False))]  # noqa: FBT003 - polars' form
    if request.resampled is not None:
        draws.append(_drawn(rows, catalog, request.resampled))
    sample = pl.concat([_sampled(one, request) for one in draws])
    if sample.is_empty():
        raise CxrError("CXR-125", f"no image has a known {request.sample_by}", fix="choose another --sample-by")
    scores = components.scores(found.features[sample["_at"].to_numpy()])
    modes = [f"pca_{at + 1}" for at in range(min(MODES, scores.shape[1]))]
    sample = sample.with_columns(pl.Series(name, scores[:, at]) for at, name in enumerate(modes))
    if request.plane:
        sample = _with_plane(sample, scores, request)
    marginals = (*modes, *logits)
    tests = pl.concat(
        [_tests(part, request, marginals) for part in sample.partition_by("resampled", maintain_order=True)]
    )
    explained = pl.DataFrame(
        {"mode": [f"pca_{at + 1}" for at in range(len(components.explained))], "share": components.explained}
    )
    return Exploration(sample.drop("_at"), explained, tests, marginals, request.by, notes)


def _part(catalog: Catalog, text: str) -> pl.DataFrame:
    return CatalogTruth(catalog).subset(text, ("test", "valid", "train")).select(KEY)


def _drawn(rows: pl.DataFrame, catalog: Catalog, name: str) -> pl.DataFrame:
    """The rows as often as a resampled split drew them. Raises CxrError CXR-502 for a split without draws."""
    split = open_split(catalog, name)
    if "n_draws" not in split.columns:
        raise CxrError(
            "CXR-502",
            f"the split {name} has no draws",
            fix="make one with `cxrdata resample`, or split --mode resample",
        )
    draws = pl.DataFrame(split).select(*KEY, "n_draws").filter(pl.col("n_draws") > 0)
    repeated = rows.join(draws, on=KEY, how="inner", maintain_order="left")
    repeated = repeated.with_columns(draw=pl.int_ranges(pl.col("n_draws"))).explode("draw").drop("n_draws")
    return repeated.with_columns(pl.col("draw").cast(pl.Int32), resampled=pl.lit(True))  # noqa: FBT003


def _sampled(rows: pl.DataFrame, request: ExploreRequest) -> pl.DataFrame:
    """At most so many rows of each value, those with the smallest keyed numbers; sorted by key."""
    known = rows.with_columns(pl.col("draw").cast(pl.Int32)).filter(pl.col(request.sample_by).is_not_null())
    named = pl.concat_str("image_id", pl.lit("|"), "draw")
    numbers = keyed_numbers(_SAMPLE, request.seed, known["dataset"], known.select(named).to_series())
    kept = known.with_columns(numbers).filter(
        pl.col("number").rank("ordinal").over(request.sample_by) <= request.per_group
    )
    return kept.drop("number").sort(*KEY, "draw")


def _with_logits(rows: pl.DataFrame, catalog: Catalog, request: ExploreRequest) -> tuple[pl.DataFrame, list[str]]:
    """Log-odds of the predictions of `labels`, as columns logit_<label>."""
    assert request.predictions is not None
    order = Table.of(request.order) if request.order is not None else None
    table = Table.of(request.predictions)
    models = read_predictions(table, CatalogTruth(catalog), labels=request.labels, order=order)
    scores = models[0].frame
    labels = [name for name in request.labels if name in scores.columns]
    tiny = np.finfo(np.float64).tiny
    clipped = {name: pl.col(name).clip(tiny, 1 - 1e-16) for name in labels}
    columns = [(clipped[name] / (1 - clipped[name])).log().alias(f"logit_{name}") for name in labels]
    joined = rows.join(scores.select(*KEY, *columns), on=KEY, how="left", maintain_order="left")
    return joined, [f"logit_{name}" for name in labels]


def _with_plane(sample: pl.DataFrame, scores: np.ndarray, request: ExploreRequest) -> pl.DataFrame:
    """t-SNE of each sample by itself: its axes have no meaning that two could share."""
    planes = np.full((sample.height, 2), np.nan)
    for value in sample["resampled"].unique(maintain_order=True):
        inside = (sample["resampled"] == value).to_numpy()
        planes[inside] = embedded_plane(scores[inside], seed=request.seed, perplexity=request.perplexity)
    return sample.with_columns(tsne_1=pl.Series(planes[:, 0]), tsne_2=pl.Series(planes[:, 1]))


def _tests(sample: pl.DataFrame, request: ExploreRequest, marginals: Sequence[str]) -> pl.DataFrame:
    values = {name: sample[name].drop_nulls().unique().sort().to_list() for name in request.by}
    contrasts = contrasts_of(values)
    if not contrasts:
        return pl.DataFrame(schema=KS_SCHEMA)
    return compared(sample, marginals, contrasts, resampled=bool(sample["resampled"][0]))
