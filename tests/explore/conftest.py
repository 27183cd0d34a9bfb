"""A catalog of CheXpert with a split and its resampled test part, and features of its images with a planted difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cxrdata
from cxrdata.sources.base import Registry
from cxrdata.splits.make import make_split
from cxrdata.splits.request import SplitRequest
from cxrdata.splits.resample_split import ResampleRequest, resample_split
from cxrdata.splits.stored import store_split
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog

WIDTH = 6


@pytest.fixture(scope="session")
def explored_folder(
    registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("explored") / "cxr-catalog"
    named = [(registry.get("chexpert"), synthetic("chexpert", scale=0.004))]
    build_catalog(BuildRequest(folder, named=named, workers=1))
    with cxrdata.open(folder) as catalog:
        made = make_split(catalog, SplitRequest())
        store_split(catalog, "plain", made.frame, made.manifest)
        drawn, _ = resample_split(
            catalog, "plain", ResampleRequest(split="train", balance=("race",), match=("disease",))
        )
        store_split(catalog, "drawn", drawn.frame, drawn.manifest)
    return folder


@pytest.fixture(scope="session")
def explored(explored_folder: Path) -> Iterator[Catalog]:
    with cxrdata.open(explored_folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def images(explored: Catalog) -> pl.DataFrame:
    """dataset, image_id, sex, race and feature_0…: normal numbers, of which the first is greater in women and, by far the
    largest spread, the second says nothing of anyone."""
    frame = explored.table("images").select("dataset", "image_id", "path", "sex", "race").collect()
    frame = frame.sort("dataset", "image_id")
    numbers = np.random.default_rng(4).normal(size=(frame.height, WIDTH))
    numbers[:, 0] = 2 * numbers[:, 0] + 3 * (frame["sex"] == "F").fill_null(value=False).to_numpy()
    numbers[:, 1] *= 6
    # Numbers that float32 and decimal text can both hold, so that every form can say them exactly.
    numbers = np.round(numbers * 1024) / 1024
    return frame.with_columns(pl.Series(f"feature_{at}", numbers[:, at].astype("f4")) for at in range(WIDTH))


@pytest.fixture(scope="session")
def features(images: pl.DataFrame) -> np.ndarray:
    """Shape (images, WIDTH), float64, in the order of `images`."""
    return images.select(pl.selectors.starts_with("feature_")).cast(pl.Float64).to_numpy()


@pytest.fixture(scope="session")
def embedded(images: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The features as `cxrdata embed` writes them."""
    path = tmp_path_factory.mktemp("features") / "embeddings.test.parquet"
    lists = pl.concat_list(pl.selectors.starts_with("feature_")).list.to_array(WIDTH)
    images.select("dataset", "image_id", embedding=lists, run_id=pl.lit("r")).write_parquet(path)
    return path


@pytest.fixture(scope="session")
def predicted(images: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions whose logits are features."""
    path = tmp_path_factory.mktemp("predictions") / "predictions.parquet"
    images.select(
        "dataset", "image_id", logit_no_finding="feature_0", logit_pleural_effusion=pl.col("feature_2")
    ).write_parquet(path)
    return path
