"""Where units go: by the hash, by quotas, by strata, into folds."""

from __future__ import annotations

import hashlib
import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrdata.errors import CxrError
from cxrdata.splits.placement import (
    UNIT,
    _shared_out,
    moved,
    place_by_hash,
    place_exact,
    place_folds,
    strata_of_units,
    units_of,
)
from cxrdata.splits.ratios import Ratios

THREE = Ratios.parse("0.7,0.1,0.2")
ratios_of = st.sampled_from(["0.7,0.1,0.2", "0.6,0.1,0.3", "0.34,0.33,0.33", "0.5,0.5", "0.9,0.1"]).map(Ratios.parse)


def _members(sizes: dict[tuple[str, str], int]) -> pl.DataFrame:
    """Images of units: (dataset, unit) -> how many."""
    rows = [(dataset, f"{unit}-{at}", unit) for (dataset, unit), n in sizes.items() for at in range(n)]
    schema = {"dataset": pl.String, "image_id": pl.String, "unit": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("dataset", "image_id")


def _many(n: int, dataset: str = "a") -> pl.DataFrame:
    return units_of(_members({(dataset, f"p{at}"): 1 + at % 4 for at in range(n)}), 0)


def test_units() -> None:
    units = units_of(_members({("b", "p"): 2, ("a", "q"): 1, ("a", "p"): 3}), 5)
    assert units.select(*UNIT, "n_images").rows() == [("a", "p", 3), ("a", "q", 1), ("b", "p", 2)]
    number = int(hashlib.md5(b"place|5|a|p").hexdigest()[:16], 16)
    assert units.row(0)[3:] == (number, number / 2**64)


def test_by_hash_follows_the_documented_rule() -> None:
    units = _many(200)
    for unit, fraction, split in (
        place_by_hash(units, THREE).join(units, on=UNIT).select("unit", "fraction", "split").rows()
    ):
        assert fraction == int(hashlib.md5(f"place|0|a|{unit}".encode()).hexdigest()[:16], 16) / 2**64
        assert split == ("train" if fraction < 0.7 else "valid" if fraction < 0.8 else "test")


def test_by_hash_moves_nobody_when_data_are_added() -> None:
    before = place_by_hash(_many(500), THREE)
    after = place_by_hash(pl.concat([_many(900), _many(300, "b")]), THREE)
    assert moved(before, after) == (0, 500)


def test_by_hash_within_binomial_error() -> None:
    placed = place_by_hash(_many(20_000), THREE)
    for name, share in zip(THREE.names, THREE.shares, strict=True):
        error = math.sqrt(20_000 * share * (1 - share))
        assert placed.filter(split=name).height == pytest.approx(20_000 * share, abs=4 * error)


def test_border_belongs_to_the_later_split() -> None:
    units = pl.DataFrame({"dataset": ["a"] * 3, "unit": ["p", "q", "r"], "fraction": [0.5, 0.49999, 1.0]})
    assert place_by_hash(units, Ratios.parse("0.5,0.5"))["split"].to_list() == ["test", "train", "test"]


sizes_of = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.integers(0, 60).map(str)), st.integers(1, 6), min_size=1, max_size=60
)


@given(sizes_of, ratios_of)
def test_exact_patients(sizes: dict[tuple[str, str], int], ratios: Ratios) -> None:
    units = units_of(_members(sizes), 0)
    placed = place_exact(units, ratios)
    assert placed.select(UNIT).equals(units.select(UNIT))
    for dataset in units["dataset"].unique():
        own = placed.filter(dataset=dataset)
        assert tuple(own.filter(split=name).height for name in ratios.names) == ratios.quotas(own.height)
        # In the order of the numbers: the splits follow each other.
        order = own.join(units, on=UNIT).sort("number")["split"].to_list()
        assert order == sorted(order, key=ratios.names.index)


@given(sizes_of, ratios_of)
def test_exact_images(sizes: dict[tuple[str, str], int], ratios: Ratios) -> None:
    units = units_of(_members(sizes), 0)
    placed = place_exact(units, ratios, weigh="image").join(units, on=UNIT)
    for dataset in units["dataset"].unique():
        own = placed.filter(dataset=dataset)
        largest = own["n_images"].max()
        for name, quota in zip(ratios.names, ratios.quotas(own["n_images"].sum()), strict=True):
            assert abs(own.filter(split=name)["n_images"].sum() - quota) <= largest


def _check_strata(runs: list[int], ratios: Ratios) -> None:
    quotas = ratios.quotas(sum(runs))
    table = _shared_out(runs, quotas)
    assert [sum(row) for row in table] == runs
    assert tuple(map(sum, zip(*table, strict=True))) == quotas
    so_far = [0.0] * len(quotas)
    total = max(sum(runs), 1)
    for n, row in zip(runs, table, strict=True):
        exact = [n * quota / total for quota in quotas]
        assert all(given >= math.floor(share + 1e-9) for given, share in zip(row, exact, strict=True))
        so_far = [arrears + share - given for arrears, share, given in zip(so_far, exact, row, strict=True)]
        assert all(-2 / 3 - 1e-9 <= arrears <= 5 / 6 + 1e-9 for arrears in so_far)


runs_of = st.lists(st.integers(1, 12), min_size=1, max_size=40)


@given(runs_of, ratios_of)
def test_rounding_is_carried_over_strata(runs: list[int], ratios: Ratios) -> None:
    _check_strata(runs, ratios)


@pytest.mark.soak
@given(runs_of, ratios_of)
@settings(max_examples=10_000, deadline=None)
def test_rounding_is_carried_over_strata_at_length(runs: list[int], ratios: Ratios) -> None:
    _check_strata(runs, ratios)


@given(sizes_of, ratios_of, st.integers(1, 9), st.sampled_from(["patient", "image"]))
def test_stratified(sizes: dict[tuple[str, str], int], ratios: Ratios, n_strata: int, weigh: str) -> None:
    units = units_of(_members(sizes), 0).with_columns(sex=(pl.col("unit").cast(pl.Int64) % n_strata).cast(pl.String))
    placed = place_exact(units, ratios, weigh=weigh, strata=["sex"])
    assert placed.equals(place_exact(units.reverse(), ratios, weigh=weigh, strata=["sex"]))
    assert placed.filter(dataset="a").equals(
        place_exact(units.filter(dataset="a"), ratios, weigh=weigh, strata=["sex"])
    )
    weight = pl.lit(1) if weigh == "patient" else pl.col("n_images")
    for (dataset,), own in placed.join(units, on=UNIT).with_columns(weight=weight).group_by("dataset"):
        off = 0 if weigh == "patient" else 2 * own["n_images"].max()
        for name, quota in zip(ratios.names, ratios.quotas(own["weight"].sum()), strict=True):
            assert abs(own.filter(split=name)["weight"].sum() - quota) <= off, (dataset, name)


def test_strata_smaller_than_the_number_of_splits() -> None:
    """Ten strata of two units: no stratum has all three splits, and the dataset has its quotas all the same."""
    units = _many(20).with_columns(site=pl.col("unit").str.slice(1).cast(pl.Int64).floordiv(2).cast(pl.String))
    placed = place_exact(units, THREE, strata=["site"])
    assert dict(placed["split"].value_counts().rows()) == {"train": 14, "valid": 2, "test": 4}


def test_strata_of_units() -> None:
    rows = [
        ("a", "p", "F", "negative"), ("a", "p", "M", "unmentioned"), ("a", "p", "M", None),
        ("a", "q", "M", "uncertain"), ("a", "q", "F", "negative"), ("a", "q", None, "unmentioned"), ("a", "q", None, None),
        ("a", "r", None, "positive"), ("a", "r", None, "uncertain"),
        ("b", "p", "O", None),
        ("b", "q", "M", "unmentioned"),
    ]  # fmt: skip
    members = pl.DataFrame(rows, schema=["dataset", "unit", "sex", "edema"], orient="row")
    expected = [
        ("a", "p", "M", "negative"),  # most of the images
        ("a", "q", "F", "uncertain"),  # a tie, by text; uncertain before negative
        ("a", "r", "unknown", "positive"),
        ("b", "p", "O", "unknown"),
        ("b", "q", "M", "unmentioned"),
    ]
    assert strata_of_units(members, ["sex", "edema"]).rows() == expected
    assert strata_of_units(members.reverse(), ["sex", "edema"]).rows() == expected
    assert strata_of_units(members, []).rows() == [row[:2] for row in expected]


def test_moved() -> None:
    units = pl.DataFrame({"dataset": ["a", "a", "b"], "unit": ["p", "q", "p"]})
    first = units.with_columns(split=pl.Series(["train", "train", "test"]))
    second = units.with_columns(split=pl.Series(["train", "test", "test"]))
    assert moved(first, second.reverse()) == (1, 3)


def test_folds() -> None:
    units = _many(2000)
    folds = place_folds(units, 5, 0)
    assert folds.columns == ["dataset", "unit", "fold"]
    assert sorted(folds["fold"].unique()) == [0, 1, 2, 3, 4]
    assert all(abs(n - 400) < 5 * math.sqrt(2000 * 0.16) for n in folds["fold"].value_counts()["count"])
    for unit, fold in folds.select("unit", "fold").head(20).rows():
        assert fold == int(int(hashlib.md5(f"fold|0|a|{unit}".encode()).hexdigest()[:16], 16) / 2**64 * 5)
    assert place_folds(units.reverse().head(1500), 5, 0).join(folds, on=[*UNIT, "fold"]).height == 1500


@pytest.mark.parametrize(
    ("n", "k", "problem", "fix"),
    [
        (9, 1, "1 folds were asked for", "give at least 2, for example --folds 5"),
        (9, -2, "-2 folds were asked for", "give at least 2, for example --folds 5"),
        (3, 4, "4 folds were asked for, and there are 3 patients", "ask for fewer folds, such as --folds 3"),
        (1, 2, "2 folds were asked for, and there are 1 patients", "leave --folds out, or split more images"),
        (9, 9, "the 9 patients fall into only 6 of 9 folds", "ask for fewer folds, such as --folds 3"),
    ],
)
def test_folds_refused(n: int, k: int, problem: str, fix: str) -> None:
    with pytest.raises(CxrError) as caught:
        place_folds(_many(n), k, 0)
    assert (caught.value.code, caught.value.problem, caught.value.fix) == ("CXR-502", problem, fix)


def test_weigh_refused() -> None:
    with pytest.raises(CxrError, match="quotas cannot be weighed by 'study'"):
        place_exact(_many(3), THREE, weigh="study")
