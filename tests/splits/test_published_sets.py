"""The three sets of CheXpert balanced over race (systems.md B; AhmadM-DL after Gichoya et al. 2022): at most 1, 2 or 3
images a patient, every race cut to the smallest, 8,712, 13,107 and 16,002 images, patients parted 0.8, 0.1, 0.1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import cxrdata
from cxrdata.sources.base import Registry
from cxrdata.splits.attributes import with_attributes
from cxrdata.splits.make import make_split
from cxrdata.splits.request import SplitRequest
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog

PUBLISHED = {1: 8_712, 2: 13_107, 3: 16_002}


def check_rules(catalog: Catalog, most: int) -> int:
    """Make the set and hold it against the published rules; its number of images."""
    request = SplitRequest(
        cohort="race_balanced_chexpert", max_images_per_patient=most, balance=("race",), ratios="0.8,0.1,0.1"
    )
    frame = with_attributes(catalog, make_split(catalog, request).frame, ["race"])
    cohort = with_attributes(
        catalog,
        catalog.cohort("race_balanced_chexpert").join(
            catalog.table("images").select("dataset", "image_id", "patient_id").collect(), on=["dataset", "image_id"]
        ),
        ["race"],
    )
    available = (
        cohort.group_by("race", "patient_id").len().group_by("race").agg(pl.col("len").clip(upper_bound=most).sum())
    )
    smallest = int(available["len"].min())  # type: ignore[arg-type]
    assert set(frame["race"]) == {"White", "Black", "Asian"}
    assert frame["patient_id"].value_counts()["count"].max() == most
    assert frame.height == 3 * smallest, "every race is cut to the smallest, and nothing else is lost"
    by_split = frame.group_by("split", "race").len().group_by("split").agg(pl.col("len").n_unique())
    assert by_split["len"].to_list() == [1, 1, 1], "equally many of each race in each split, not only in total"
    return frame.height


@pytest.mark.parametrize("most", PUBLISHED)
def test_the_rules(registry: Registry, synthetic: Callable[..., Path], tmp_path: Path, most: int) -> None:
    build_catalog(
        BuildRequest(tmp_path / "c", named=[(registry.get("chexpert"), synthetic("chexpert", scale=0.02))], workers=1)
    )
    with cxrdata.open(tmp_path / "c") as catalog:
        check_rules(catalog, most)


@pytest.mark.soak
def test_the_sizes_at_full_size(registry: Registry, synthetic: Callable[..., Path], tmp_path: Path) -> None:
    """Synthetic patients have the published shares of race and numbers of images, roughly: so do the sets."""
    build_catalog(
        BuildRequest(tmp_path / "c", named=[(registry.get("chexpert"), synthetic("chexpert", scale=1))], workers=1)
    )
    with cxrdata.open(tmp_path / "c") as catalog:
        for most, published in PUBLISHED.items():
            assert check_rules(catalog, most) == pytest.approx(published, rel=0.1)
