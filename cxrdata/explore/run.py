"""An exploration: from a file of features to modes, a plane, marginals by group and tests, with keys throughout.

As Glocker et al. 2023 did it: components that hold 99 % of the variance of all images; as many images of each race, drawn
at random; their t-SNE; Kolmogorov-Smirnov tests on the first four modes and the logits, adjusted by Benjamini-Yekutieli.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.audit.predictions import Table, read_predictions
from cxrdata.audit.truth import CatalogTruth
from cxrdata.errors import CxrError
from cxrdata.explore.contrasts import KS_SCHEMA, PUBLISHED, Contrast, Wish, compared, contrasts_of
from cxrdata.explore.embeddings import KEY, Embeddings, read_embeddings
from cxrdata.explore.extra import KOLMOGOROV_SMIRNOV, T_SNE, require_stats
from cxrdata.explore.order import check_order
from cxrdata.explore.projection import embedded_plane, principal_components
from cxrdata.explore.result import Exploration
from cxrdata.explore.sampling import Sampling, sampled
from cxrdata.explore.small_groups import of_few
from cxrdata.interop.predictions import is_positional
from cxrdata.small_cells import MIN_CELL
from cxrdata.splits.attributes import check_attributes, with_attributes
from cxrdata.splits.stored import open_split
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.explore.projection import Floats
    from cxrdata.store.catalog import Catalog

ATTRIBUTES = ("race", "sex", "age_group:chexploration", "disease")
LABELS = ("no_finding", "pleural_effusion")
MODES = 4
_PARTS = ("test",)
_DRAW = pl.Int32


@dataclass(frozen=True)
class ExploreRequest:
    """What is asked.

    embeddings: a file that `read_embeddings` reads; order, key: as it takes them. by: attributes that figures colour by.
    sampling: which images of them are looked at. contrasts: beside the published ones. predictions: whose logits of `labels` are marginals too.
    split: `NAME[:PART]`, the images to look at. resampled: `NAME[:PART]` of a split with draws, or a frame of them (dataset,
    image_id, n_draws), looked at beside on the same components. share: of the variance that the components hold. plane: whether t-SNE is computed.
    min_cell: groups of fewer patients are in no test and no figure; 1 leaves none out.
    """

    embeddings: Path
    by: tuple[str, ...] = ATTRIBUTES
    sampling: Sampling = field(default_factory=Sampling)
    contrasts: tuple[Wish, ...] = ()
    predictions: Path | None = None
    labels: tuple[str, ...] = LABELS
    split: str | None = None
    resampled: str | pl.DataFrame | None = None
    order: Path | None = None
    key: str | None = None
    share: float = 0.99
    plane: bool = True
    perplexity: float = 30.0
    min_cell: int = MIN_CELL

    @property
    def attributes(self) -> list[str]:
        """Every attribute that is needed, each once: what is tested does not depend on what figures colour by."""
        published = (one.attribute for one in PUBLISHED)
        wished = (one.attribute for one in self.contrasts)
        return list(dict.fromkeys([self.sampling.by, *self.by, *published, *wished]))


def explore(catalog: Catalog, request: ExploreRequest) -> Exploration:
    """Raises CxrError as `read_embeddings`, `with_attributes`, `read_predictions`, `sampled` and `embedded_plane` do; CXR-125
    where no image is left, CXR-502 for a resampled split without draws, an order that no file follows, a perplexity that is none."""
    if not (math.isfinite(request.perplexity) and request.perplexity >= 1):
        raise CxrError("CXR-502", f"a perplexity cannot be {request.perplexity}", fix="for example --perplexity 30")
    check_attributes(catalog, request.attributes)
    require_stats(KOLMOGOROV_SMIRNOV, *([T_SNE] if request.plane else []))  # before the long work
    source = CatalogTruth(catalog)
    found = read_embeddings(request.embeddings, source, order=request.order, key=request.key)
    _check_order_is_used(request, found)
    notes = list(found.notes)
    rows, features = _chosen(source, found, request.split, notes)
    components = principal_components(features, share=request.share)
    n = len(components.explained)
    notes.append(f"{counted(n, 'component')} of {features.shape[1]:,} hold {request.share:.0%} of the variance")
    rows = with_attributes(catalog, rows, request.attributes)
    logits: list[str] = []
    if request.predictions is not None:
        rows, logits = _with_logits(rows, source, request, notes)
    draws = [rows.with_columns(pl.lit(0, _DRAW).alias("draw"), pl.lit(False).alias("resampled"))]  # noqa: FBT003 - polars' form
    if request.resampled is not None:
        draws.append(_drawn(rows, source, request.resampled, notes))
    taken = sampled(draws, request.sampling)
    notes += taken.notes
    sample = pl.concat(taken.frames)
    scores = components.scores(features[sample["at"].to_numpy()])
    modes = [f"pca_{at + 1}" for at in range(min(MODES, n))]
    sample = sample.drop("at").with_columns(pl.Series(name, scores[:, at]) for at, name in enumerate(modes))
    if request.plane:
        sample = _with_plane(sample, scores, request)
    marginals = (*modes, *logits)
    contrasts, lacking = contrasts_of(_values(source, rows, request.attributes), request.contrasts)
    explained = pl.DataFrame(
        {
            "mode": [f"pca_{at + 1}" for at in range(n)],
            "share": components.explained,
            "cumulative": np.cumsum(components.explained),
        }
    )
    notes += lacking
    for name in request.by:
        if few := of_few(sample, name, marginals, request.min_cell):
            said = ", ".join("unknown" if value is None else value for value in few)
            notes.append(f"{name} {said}: of fewer than {request.min_cell} patients, no group of the figures")
    return Exploration(
        sample=sample,
        explained=explained,
        tests=_tests(sample, marginals, contrasts, request.min_cell),
        marginals=marginals,
        values=_values(source, sample, request.by),
        min_cell=request.min_cell,
        notes=notes,
    )


def _check_order_is_used(request: ExploreRequest, found: Embeddings) -> None:
    """Raises CxrError CXR-502 for an order that no file of this request follows."""
    if request.order is None or found.ordered:
        return
    if request.predictions is not None and is_positional(Table.of(request.predictions).frame):
        return
    raise CxrError(
        "CXR-502",
        f"{request.embeddings.name} names its images itself, so there is nothing for the order file to say",
        where=request.order.name,
        fix="leave --order away; it is for files that are listed by position",
    )


def _chosen(
    source: CatalogTruth, found: Embeddings, split: str | None, notes: list[str]
) -> tuple[pl.DataFrame, Floats]:
    """The images in question: dataset, image_id, patient, and `at`, their place among the features."""
    patient = pl.concat_str("dataset", pl.coalesce("patient_id", "image_id"), separator=":")
    patients = source.catalog.table("images").select(*KEY, patient=patient).collect()
    rows = found.keys.join(patients, on=KEY, how="left", maintain_order="left")
    features = found.features
    if split is not None:
        wanted = source.subset(split, _PARTS)
        inside = rows.select(KEY).with_row_index("at").join(wanted, on=KEY, how="semi", maintain_order="left")["at"]
        n, n_wanted = len(inside), wanted.height
        notes.append(f"{n:,} of {counted(rows.height, 'image')} with features are in {split}, which has {n_wanted:,}")
        rows, features = rows[inside], features[inside.to_numpy()]
    if rows.is_empty():
        raise CxrError(
            "CXR-125", "no image with features is left", fix="name the split, and the part of it, that was embedded"
        )
    return rows.with_row_index("at"), features


def _drawn(rows: pl.DataFrame, source: CatalogTruth, wish: str | pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """The rows as often as they were drawn. Raises CxrError: CXR-501 no such split; CXR-502 one without draws."""
    if isinstance(wish, pl.DataFrame):
        draws, text = wish.select(*KEY, "n_draws"), "the resampling"
    else:
        draws, text = _draws_of_split(source, wish), wish
    repeated = rows.join(draws, on=KEY, how="inner", maintain_order="left")
    n, n_wanted = int(repeated["n_draws"].sum()), int(draws["n_draws"].sum())
    notes.append(f"resampled: {counted(n, 'draw')} of {counted(repeated.height, 'image')} with features")
    if n < n_wanted:
        notes.append(f"{n_wanted - n:,} of the {n_wanted:,} draws of {text} are of images without features")
    return (
        repeated.with_columns(draw=pl.int_ranges(pl.col("n_draws").cast(pl.Int64)))
        .explode("draw")
        .drop("n_draws")
        .with_columns(pl.col("draw").cast(_DRAW), pl.lit(True).alias("resampled"))  # noqa: FBT003 - polars' form
    )


def _draws_of_split(source: CatalogTruth, text: str) -> pl.DataFrame:
    name = text.partition(":")[0]
    if "n_draws" not in open_split(source.catalog, name).columns:
        raise CxrError(
            "CXR-502",
            f"the split {name} has no draws",
            fix="make one that has them with `cxrdata resample`",
        )
    return source.subset(text, _PARTS).rename({"weight": "n_draws"})


def _with_logits(
    rows: pl.DataFrame, source: CatalogTruth, request: ExploreRequest, notes: list[str]
) -> tuple[pl.DataFrame, list[str]]:
    """Log-odds of the predictions of `labels`, as columns logit_<label>; null where an image is not predicted.

    Raises CxrError: those of `read_predictions`; CXR-120 none of the labels; CXR-502 several models.
    """
    assert request.predictions is not None
    table = Table.of(request.predictions)
    # A keyed file has an order of its own, even beside features that have none.
    positional = request.order is not None and is_positional(table.frame)
    order = Table.of(request.order) if positional else None
    models = read_predictions(
        table, source, labels=request.labels, order=order, key=request.key if positional else None
    )
    if len(models) > 1:
        raise CxrError(
            "CXR-502",
            f"the predictions are of {counted(len(models), 'model')}: {', '.join(one.name for one in models)}",
            where=table.name,
            fix="keep the rows of the one whose features these are",
        )
    if positional:
        check_order(table.name, models[0].targets, source)
    scores = models[0].frame
    labels = [name for name in request.labels if name in scores.columns]
    if not labels:
        raise CxrError(
            "CXR-120",
            f"there are no predictions of {' or '.join(request.labels)}",
            where=table.name,
            fix=f"name labels that there are: --labels {','.join(models[0].labels)}",
        )
    notes += models[0].notes
    notes += [f"{table.name} has no predictions of {name}" for name in request.labels if name not in labels]
    # Of a probability that was rounded to 0 or 1, the nearest number that has a logit.
    tiny, one = np.finfo(np.float64).tiny, np.nextafter(1.0, 0.0)
    clipped = {name: pl.col(name).clip(tiny, one) for name in labels}
    columns = [(clipped[name] / (1 - clipped[name])).log().alias(f"logit_{name}") for name in labels]
    joined = rows.join(scores.select(*KEY, *columns), on=KEY, how="left", maintain_order="left")
    found = [f"logit_{name}" for name in labels]
    if without := joined[found[0]].null_count():
        notes.append(f"{without:,} of {counted(rows.height, 'image')} with features have no prediction")
    return joined, found


def _with_plane(sample: pl.DataFrame, scores: Floats, request: ExploreRequest) -> pl.DataFrame:
    """t-SNE of the distinct images of all samples: planes of their own could not be compared, and an image that is drawn
    several times would crowd out its neighbours."""
    images = sample.select(KEY).with_row_index("row")
    first = images.unique(KEY, keep="first", maintain_order=True)
    plane = embedded_plane(scores[first["row"].to_numpy()], seed=request.sampling.seed, perplexity=request.perplexity)
    found = first.select(*KEY, tsne_1=pl.Series(plane[:, 0]), tsne_2=pl.Series(plane[:, 1]))
    return sample.join(found, on=KEY, how="left", maintain_order="left")


def _values(source: CatalogTruth, rows: pl.DataFrame, attributes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The values of each attribute, in its order."""
    return {name: source.order_of(name, rows[name]) for name in attributes}


def _tests(
    sample: pl.DataFrame, marginals: Sequence[str], contrasts: Sequence[Contrast], min_cell: int
) -> pl.DataFrame:
    parts = sample.partition_by("resampled", maintain_order=True)
    if not contrasts:
        return pl.DataFrame(schema=KS_SCHEMA)
    return pl.concat(
        compared(one, marginals, contrasts, resampled=bool(one["resampled"][0]), min_cell=min_cell) for one in parts
    )
