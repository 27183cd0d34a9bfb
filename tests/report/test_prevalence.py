"""Prevalence and its intervals, against other people's arithmetic."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.proportion import proportion_confint

from cxrdata.report.contents import Contents
from cxrdata.report.prevalence import interval, prevalence, published
from cxrdata.report.tallies import ALL, Tallies
from cxrdata.store.catalog import Catalog


@pytest.mark.parametrize(("n", "positive"), [(200, 37), (50, 0), (50, 50), (1000, 999)])
def test_with_an_image_a_patient_it_is_wilsons(n: int, positive: int) -> None:
    share = positive / n
    squares = positive * (1 - share) ** 2 + (n - positive) * share**2
    expected = proportion_confint(positive, n, method="wilson")
    # As of a ratio over persons, the variance has n - 1 below it; a hair wider at most.
    assert interval(n, positive, n, squares) == pytest.approx(expected, rel=0.02, abs=1e-3)


def test_images_of_one_patient_that_are_all_alike_count_once() -> None:
    persons, each, positive = 100, 8, 30
    share = positive / persons
    squares = positive * (each * (1 - share)) ** 2 + (persons - positive) * (each * share) ** 2
    expected = proportion_confint(positive, persons, method="wilson")
    assert interval(persons * each, positive * each, persons, squares) == pytest.approx(expected, rel=0.02)
    nobody = interval(persons * each, 0, persons, 0.0)
    assert nobody == pytest.approx(proportion_confint(0, persons, method="wilson"))


def test_intervals_cover_what_they_say_they_do() -> None:
    """Of 400 samples of 150 patients with 1 to 9 images that share a tendency, about 95 % must hold the truth."""
    rng = np.random.default_rng(0)
    covered = naive = 0
    for _ in range(400):
        images = rng.integers(1, 10, 150)
        positive = rng.binomial(images, rng.beta(0.6, 2.4, 150))
        n, y = int(images.sum()), int(positive.sum())
        low, high = interval(n, y, 150, float(((positive - y / n * images) ** 2).sum()))
        covered += low <= 0.2 <= high
        low, high = proportion_confint(y, n, method="wilson")
        naive += low <= 0.2 <= high
    assert 0.92 <= covered / 400 <= 0.98
    assert naive / 400 < 0.85  # what ignoring the patients would give


def test_numbers_are_those_of_the_labels(reported: Catalog, tallies: Tallies) -> None:
    found = prevalence(reported, tallies)
    asked = reported.sql(
        "SELECT dataset, finding, count(*) AS n, count(*) FILTER (state = 'positive') AS y FROM labels "
        "WHERE dataset = 'nih_cxr14' AND labeler = 'text_mining' AND finding IS NOT NULL GROUP BY ALL"
    )
    whole = found.filter(~pl.col("masked"), dataset="nih_cxr14", attribute=ALL).join(asked, on=["dataset", "finding"])
    assert whole.height >= 3
    assert (whole["images"] == whole["n"]).all() and (whole["positive"] == whole["y"]).all()
    assert (whole["ci_low"] < whole["percent"]).all() and (whole["percent"] < whole["ci_high"]).all()


def test_groups_add_up_and_small_ones_are_masked(reported: Catalog, tallies: Tallies) -> None:
    open_ones = prevalence(
        reported, Tallies(**{**vars(tallies), "min_cell": 1, "groups": tallies.groups.with_columns(masked=False)})
    )
    for attribute in ("sex", "race", "age"):
        parts = (
            open_ones.filter(attribute=attribute).group_by("dataset", "finding").agg(pl.col("images", "positive").sum())
        )
        both = parts.join(open_ones.filter(attribute=ALL), on=["dataset", "finding"], suffix="_all")
        assert both.height == open_ones.filter(attribute=ALL).height
        assert (both["images"] == both["images_all"]).all() and (both["positive"] == both["positive_all"]).all()
    masked = prevalence(reported, tallies)
    assert masked["masked"].any()
    for column in ("images", "positive"):
        assert not masked[column].drop_nulls().is_between(1, 10).any()
    assert not (masked["images"] - masked["positive"]).drop_nulls().is_between(1, 10).any()
    hidden = masked.filter("masked").join(open_ones, on=["dataset", "attribute", "value", "finding"], suffix="_true")
    # What is told of a masked count is rounded, and is still true.
    told = hidden.filter(pl.col("percent").is_not_null())
    assert (told["percent"] - told["percent_true"]).abs().max() is None or (
        told["percent"] - told["percent_true"]
    ).abs().max() <= 0.5  # type: ignore[operator]


def test_published_no_small_difference_to_other_tables_follows(
    reported: Catalog, tallies: Tallies, contents: Contents
) -> None:
    exact = prevalence(reported, tallies)
    told = published(exact, contents)
    assert not {"images", "persons", "positive"} & set(told.columns)
    keys = ["dataset", "attribute", "value", "finding"]
    # Were some of each group not assessed, the same would be told.
    for fewer in (1, 7, 10):
        less = published(exact.with_columns(pl.col("images") - fewer), contents)
        assert (less["images_about"].eq_missing(told["images_about"])).all()
    assert (told["images_about"].drop_nulls() % 50 == 0).all()
    known = told.filter(pl.col("percent").is_not_null())
    assert known.height > 20
    some = known.filter(pl.col("percent") > 0)
    assert (some["ci_low"] < some["percent"]).all() and (some["percent"] < some["ci_high"]).all()
    assert (known["ci_low"] < known["ci_high"]).all()
    near = known.join(exact, on=keys, suffix="_true").filter(~pl.col("masked"))
    assert (near["percent"] - near["percent_true"]).abs().max() <= 5  # type: ignore[operator]
    plain = Tallies(**{**vars(tallies), "min_cell": 1, "groups": tallies.groups.with_columns(masked=False)})
    exact = prevalence(reported, plain)
    open_ones = published(exact, contents, min_cell=1)
    assert (open_ones["images_about"] == exact["images"]).all() and (open_ones["percent"] == exact["percent"]).all()
