"""Balanced splits: equal cells, no patient parted, the most that can be kept."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrdata.errors import CxrError
from cxrdata.splits.balance import Balanced, balance
from cxrdata.splits.keyed import DRAW, KEEP, keyed_numbers
from cxrdata.splits.leaks import find_leaks
from cxrdata.splits.placement import place_by_hash, units_of
from cxrdata.splits.ratios import Ratios

SCHEMA = dict.fromkeys(("dataset", "unit", "race", "sex"), pl.String)
THREE = Ratios.parse("0.7,0.1,0.2")
KEYS = ["dataset", "image_id"]
ratios_of = st.sampled_from(["0.7,0.1,0.2", "0.4,0.3,0.3", "0.5,0.5", "0.8,0.2"]).map(Ratios.parse)
values_of = st.tuples(
    st.sampled_from(["a", "b"]),
    st.integers(0, 4).map("p{}".format),
    st.sampled_from(["B", "W", "W", None]),
    st.sampled_from(["F", "M", "F", "Other"]),
)
patients_of = st.lists(st.integers(0, 4).map("p{}".format), min_size=3, max_size=14)
cells_of = st.fixed_dictionaries({(race, sex): patients_of for race in "BW" for sex in "FM"})


@st.composite
def rows_of(draw: st.DrawFn) -> list[tuple[str | None, ...]]:
    """Images of up to five patients in each of two datasets; mostly, every cell of the first has some."""
    rows: list[tuple[str | None, ...]] = draw(st.lists(values_of, min_size=1, max_size=15))
    if draw(st.integers(0, 4)):
        rows += [("a", unit, race, sex) for (race, sex), units in draw(cells_of).items() for unit in units]
    return rows


def _members(rows: list[tuple[str | None, ...]]) -> pl.DataFrame:
    """Images of (dataset, patient, race, sex)."""
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row").with_row_index("at")
    image = pl.format("{}-{}", "unit", pl.col("at").cast(pl.String).str.zfill(5))
    return frame.select("dataset", "unit", "race", "sex", patient_id="unit", image_id=image).sort(KEYS)


def _typical(n: int = 600, datasets: str = "ab") -> pl.DataFrame:
    """Patients of 1 to 5 images, most of them White, with ages that some change between images."""
    rows = []
    for dataset in datasets:
        for patient in range(n):
            dice = hashlib.md5(f"{dataset}{patient}".encode()).digest()
            race = ["W", "W", "W", "W", "W", "B", "A", "Other"][dice[0] % 8] if dice[1] > 20 else None
            rows += [
                (dataset, f"p{patient}", race, "FM"[(dice[2] + (dice[3] > 200) * at) % 2])
                for at in range(1 + dice[4] % 5)
            ]
    return _members(rows)


def _tally(rows: pl.DataFrame, members: pl.DataFrame, attributes: list[str]) -> Counter[tuple[str, ...]]:
    """Images by dataset, attributes and split."""
    return Counter(
        rows.join(members.select(*KEYS, *attributes), on=KEYS).select("dataset", *attributes, "split").rows()
    )


def _best(vectors: list[Counter[int]], ratios: Ratios, n_cells: int) -> int:
    """The greatest T of all placements of units, each of which is tried."""
    best = 0
    for place in itertools.product(range(len(ratios.names)), repeat=len(vectors)):
        have = [
            [sum(v[cell] for v, at in zip(vectors, place, strict=True) if at == split) for cell in range(n_cells)]
            for split in range(len(ratios.names))
        ]
        bound = min(map(sum, zip(*have, strict=True)))
        for total in range(bound, best, -1):
            if all(min(cells) >= quota for cells, quota in zip(have, ratios.quotas(total), strict=True)):
                best = total
                break
    return best


def _check_downsampled(rows: list[tuple[str | None, ...]], ratios: Ratios) -> None:
    """Everything that the rules say of the result, worked out independently. In tables this small all groups have 2 %."""
    members = _members(rows)
    cells = list(itertools.product(("B", "W"), ("F", "M")))
    taken = members.filter(pl.col("race").is_not_null() & (pl.col("sex") != "Other"))
    best = {}
    for (dataset,), own in members.group_by("dataset"):
        if {"B", "W"} <= set(own["race"]) and {"F", "M"} <= set(own["sex"]):
            units: dict[str, Counter[int]] = {}
            for unit, race, sex in taken.filter(dataset=dataset).select("unit", "race", "sex").rows():
                units.setdefault(unit, Counter())[cells.index((race, sex))] += 1
            best[dataset] = _best(list(units.values()), ratios, len(cells))
    # Every cell with an image can have T = 1, so T = 0 means an empty cell.
    thin = any(all(ratios.quotas(kept)[split] == 0 for kept in best.values()) for split in range(len(ratios.names)))
    if not best or not all(best.values()) or thin:
        with pytest.raises(CxrError) as caught:
            balance(members, ["race", "sex"], ratios, seed=0)
        assert caught.value.code == "CXR-410" and caught.value.fix
        assert ("would be empty" in caught.value.problem) == (bool(best) and all(best.values()))
        return
    found = balance(members, ["race", "sex"], ratios, seed=0)
    assert find_leaks(found.rows).n_patients == 0
    assert found.rows.height + found.left_out["images"].sum() == members.height
    assert dict(found.optimum.select("dataset", "kept_per_cell").rows()) == best
    assert found.optimum["method"].to_list() == ["exact"] * len(best)
    quotas = {dataset: dict(zip(ratios.names, ratios.quotas(kept), strict=True)) for dataset, kept in best.items()}
    assert _tally(found.rows, members, ["race", "sex"]) == Counter(
        {
            (dataset, *cell, split): n
            for dataset, of_splits in quotas.items()
            for cell in cells
            for split, n in of_splits.items()
        }
    )


@given(rows_of(), ratios_of)
@settings(deadline=None, max_examples=60)
def test_balance_is_the_best_feasible(rows: list[tuple[str | None, ...]], ratios: Ratios) -> None:
    _check_downsampled(rows, ratios)


@pytest.mark.soak
@given(rows_of(), ratios_of)
@settings(max_examples=10_000, deadline=None)
def test_balance_is_the_best_feasible_at_length(rows: list[tuple[str | None, ...]], ratios: Ratios) -> None:
    _check_downsampled(rows, ratios)


def test_downsampled() -> None:
    members = _typical()
    found = balance(members, ["race"], THREE, seed=0)
    counts = _tally(found.rows, members, ["race"])
    for row in found.optimum.iter_rows(named=True):
        own = (
            members.filter(dataset=row["dataset"])["race"]
            .value_counts(name="n")
            .filter(pl.col("race").is_in(["A", "B", "W"]))
        )
        assert row["bound"] == row["kept_per_cell"] == own["n"].min()
        assert (row["unit"], row["cells"], row["gap"], row["method"]) == ("image", 3, 0, "exact")
        assert row["smallest_cell"] == f"race {own.filter(n=row['bound'])['race'][0]}"
        quotas = dict(zip(THREE.names, THREE.quotas(row["kept_per_cell"]), strict=True))
        assert all(counts[row["dataset"], race, split] == quota for race in "ABW" for split, quota in quotas.items())
    assert found.rows.columns == ["dataset", "image_id", "patient_id", "split"]
    assert found.rows.select(KEYS).equals(found.rows.select(KEYS).sort(KEYS))
    assert (
        0
        < found.moved[0]
        < 0.05 * found.moved[1]
        == 0.05 * members.filter(pl.col("race").is_in(["A", "B", "W"])).select("dataset", "unit").n_unique()
    )
    assert found.notes == []


def test_cells_say_what_was_given_up() -> None:
    members = _typical()
    found = balance(members, ["race"], THREE, seed=0)
    assert found.cells.columns == ["dataset", "race", "split", "available", "kept", "target", "given_up"]
    assert found.cells.select("dataset", "split", "race").rows() == list(itertools.product("ab", THREE.names, "ABW"))
    kept = _tally(found.rows, members, ["race"])
    assert {row[:3]: row[3] for row in found.cells.select("dataset", "race", "split", "kept").rows()} == kept
    assert found.cells.select((pl.col("available") - pl.col("kept") == pl.col("given_up")).all()).item()
    given_up = found.left_out.filter(pl.col("reason") == "given up, so that the cells are equal")
    assert dict(given_up.select("dataset", "images").rows()) == dict(
        found.cells.group_by("dataset").agg(pl.col("given_up").sum()).rows()
    )


def test_which_images_stay() -> None:
    """Of each cell and split those with the smallest keyed numbers; no patient's split differs between them."""
    members = _typical(200, "a")
    found = balance(members, ["race"], THREE, seed=4)
    splits = dict(found.rows.select("patient_id", "split").unique().rows())
    pool = members.filter(pl.col("race") == "W").with_columns(
        split=pl.col("unit").replace_strict(splits, default=None, return_dtype=pl.String)
    )
    pool = pool.with_columns(keyed_numbers(KEEP, 4, pool["dataset"], pool["image_id"]))
    kept = found.rows.join(members.filter(pl.col("race") == "W"), on=KEYS, how="semi")
    for split in THREE.names:
        own = (
            pool.filter(split=split)
            .join(kept, on=KEYS, how="left", suffix="_kept")
            .with_columns(stays=pl.col("split_kept").is_not_null())
        )
        assert own["stays"].any() and not own["stays"].all()
        assert own.filter("stays")["number"].max() < own.filter(~pl.col("stays"))["number"].min()


def test_units_that_stay_are_where_the_hash_puts_them() -> None:
    members = _typical()
    found = balance(members, ["race"], THREE, seed=0)
    plain = place_by_hash(units_of(members, 0), THREE).rename({"unit": "patient_id", "split": "plain"})
    placed = found.rows.select("dataset", "patient_id", "split").unique().join(plain, on=["dataset", "patient_id"])
    assert placed.filter(pl.col("split") != pl.col("plain")).height <= found.moved[0]


def _digest(found: Balanced) -> str:
    return hashlib.sha256(found.rows.write_csv().encode()).hexdigest()[:16]


GOLDEN = {"downsample": "66c7622e01affe61", "weights": "bc4007bbdec8163a", "resample": "1516260e6586c51b"}


@pytest.mark.parametrize("mode", GOLDEN)
def test_same_split_for_any_order_and_other_datasets(mode: str) -> None:
    members = _typical()
    whole = balance(members, ["race", "sex"], THREE, seed=0, mode=mode)
    assert _digest(whole) == GOLDEN[mode]
    mixed = balance(members.sample(fraction=1, shuffle=True, seed=1), ["race", "sex"], THREE, seed=0, mode=mode)
    assert mixed.rows.equals(whole.rows)
    assert all(getattr(mixed, name).equals(getattr(whole, name)) for name in ("cells", "optimum", "left_out"))
    alone = balance(members.filter(dataset="b"), ["race", "sex"], THREE, seed=0, mode=mode)
    assert alone.rows.equals(whole.rows.filter(dataset="b"))
    assert alone.cells.equals(whole.cells.filter(dataset="b"))
    other = balance(members, ["race", "sex"], THREE, seed=1, mode=mode)
    assert not other.rows.equals(whole.rows)


def test_same_split_on_one_thread() -> None:
    code = (
        "from test_balance import GOLDEN, THREE, _digest, _typical, balance\n"
        "for mode in GOLDEN: print(_digest(balance(_typical(), ['race', 'sex'], THREE, seed=0, mode=mode)))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    one_thread = os.environ | {"POLARS_MAX_THREADS": "1", "PYTHONHASHSEED": "7", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=one_thread, capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(GOLDEN.values())


def test_by_patient() -> None:
    members = _typical(400, "a")
    found = balance(members, ["race", "sex"], THREE, seed=0, unit="patient")
    with_cell = found.rows.join(members, on=KEYS)
    patients = with_cell.select("race", "sex", "split", "unit").unique()
    assert patients["unit"].is_unique().all()
    quotas = dict(zip(THREE.names, THREE.quotas(found.optimum["kept_per_cell"][0]), strict=True))
    assert {row[:3]: row[3] for row in patients.group_by("race", "sex", "split").len().rows()} == {
        (race, sex, split): n for race in "ABW" for sex in "FM" for split, n in quotas.items()
    }
    # All images of a patient stay.
    assert found.rows.height == members.filter(pl.col("unit").is_in(patients["unit"].to_list())).height
    mixed = members.filter(pl.col("race").is_in(["A", "B", "W"]) & (pl.col("sex").n_unique().over("unit") > 1))
    assert mixed.height > 0
    assert found.left_out.filter(reason="the patient has images in several cells")["images"].to_list() == [mixed.height]
    assert found.rows.height + found.left_out["images"].sum() == members.height
    # As many patients as the smallest cell has.
    single = members.filter(pl.col("race").is_in(["A", "B", "W"]) & (pl.col("sex").n_unique().over("unit") == 1))
    smallest = single.select("race", "sex", "unit").unique().group_by("race", "sex").len()["len"].min()
    assert found.optimum.select("unit", "bound", "kept_per_cell", "gap", "method").row(0) == (
        "patient",
        smallest,
        smallest,
        0,
        "exact",
    )


def test_by_patient_without_whole_patients() -> None:
    members = _members([("a", f"p{at // 2}", "W", "FM"[at % 2]) for at in range(20)])
    with pytest.raises(CxrError) as caught:
        balance(members, ["sex"], THREE, seed=0, unit="patient")
    assert (caught.value.code, caught.value.problem, caught.value.fix) == (
        "CXR-410",
        "a: no patient has images of sex F; or of sex M, and of no other cell",
        "leave --unit patient out, or balance by fewer attributes",
    )


def test_weights() -> None:
    members = _typical()
    found = balance(members, ["race"], THREE, seed=0, mode="weights")
    assert found.moved[0] == 0
    assert found.left_out["reason"].unique().sort().to_list() == [
        "race is Other, a category of the rest",
        "race is null",
    ]
    plain = place_by_hash(units_of(members, 0), THREE).rename({"unit": "patient_id", "split": "plain"})
    assert (
        found.rows.join(plain, on=["dataset", "patient_id"]).select((pl.col("split") == pl.col("plain")).all()).item()
    )
    sums = (
        found.rows.join(members, on=KEYS)
        .group_by("dataset", "split", "race")
        .agg(n=pl.len(), weight=pl.col("weight").sum())
    )
    for _, own in sums.group_by("dataset", "split"):
        assert own["weight"].to_list() == pytest.approx([own["n"].sum() / 3] * 3)
    assert found.cells.filter(split="test")["target"].to_list() == pytest.approx(
        sums.filter(split="test").sort("dataset", "race")["weight"].to_list()
    )
    effect = found.optimum.row(0, named=True)
    own = found.rows.filter(dataset="a", split="train")["weight"]
    assert effect["effective_images"] == pytest.approx(own.sum() ** 2 / (own**2).sum())
    assert (effect["split"], effect["images"], effect["largest"]) == ("train", own.len(), own.max())


def test_draws() -> None:
    members = _typical()
    found = balance(members, ["race"], THREE, seed=0, mode="resample")
    joined = found.rows.join(members, on=KEYS)
    available = dict(
        balance(members, ["race"], THREE, seed=0, mode="weights")
        .rows.group_by("dataset", "split")
        .len()
        .select(pl.concat_str("dataset", "split"), "len")
        .rows()
    )
    for (dataset, split), own in joined.group_by("dataset", "split"):
        draws = own.group_by("race").agg(pl.col("n_draws").sum())["n_draws"]
        assert draws.sum() == available[f"{dataset}{split}"]
        assert draws.max() - draws.min() <= 1
    assert found.rows["n_draws"].min() == 1
    for _, own in joined.group_by("dataset", "split", "race"):
        assert own["n_draws"].max() - own["n_draws"].min() <= 1
    # Rare cells are drawn several times, and those once more that have the smallest numbers.
    rare = joined.filter(dataset="a", split="train", race="B")
    rare = rare.with_columns(keyed_numbers(DRAW, 0, rare["dataset"], rare["image_id"])).sort("number")
    assert rare["n_draws"].n_unique() == 2
    assert rare["n_draws"].to_list() == sorted(rare["n_draws"], reverse=True)
    assert found.rows.height + found.left_out["images"].sum() == members.height
    assert found.left_out.filter(reason="drawn 0 times").height == 2
    assert found.optimum["effective_images"].to_list() == pytest.approx(
        [
            own["n_draws"].sum() ** 2 / (own["n_draws"] ** 2).sum()
            for own in (found.rows.filter(dataset=dataset, split=split) for dataset in "ab" for split in THREE.names)
        ]
    )


@pytest.mark.parametrize("mode", ["weights", "resample"])
def test_empty_cells_that_only_moving_can_fill(mode: str) -> None:
    members = _members([("a", f"p{at}", "BWWWW"[at % 5], "F") for at in range(40)])
    with pytest.raises(CxrError) as caught:
        balance(members, ["race"], THREE, seed=0, mode=mode)
    assert caught.value.code == "CXR-410"
    assert caught.value.problem == "a: where the hash places the patients, 1 of 6 cells have no image: valid: race B"
    assert caught.value.fix is not None
    assert caught.value.fix.startswith(
        "--mode downsample moves patients and keeps 8 images of each cell over all splits; "
    )
    assert balance(members, ["race"], THREE, seed=0).optimum["kept_per_cell"].to_list() == [8]


def test_pooled() -> None:
    members = _typical()
    found = balance(members, ["race"], THREE, seed=0, pool=True)
    counts = Counter(found.rows.join(members, on=KEYS).select("race", "split").rows())
    kept = found.optimum["kept_per_cell"][0]
    assert kept == members["race"].value_counts().filter(pl.col("race").is_in(["A", "B"]))["count"].min()
    assert counts == {
        (race, split): n for race in "ABW" for split, n in zip(THREE.names, THREE.quotas(kept), strict=True)
    }
    assert found.optimum["dataset"].to_list() == [None]
    assert found.cells["dataset"].null_count() == found.cells.height == 9
    assert found.rows["dataset"].n_unique() == 2
    assert found.rows.height + found.left_out["images"].sum() == members.height


def test_a_split_without_images_is_refused() -> None:
    members = _members([("a", f"p{at}", "BWWW"[at % 4], "F") for at in range(12)])
    with pytest.raises(CxrError) as caught:
        balance(members, ["race"], THREE, seed=0)
    assert (caught.value.code, caught.value.problem) == (
        "CXR-410",
        "valid would be empty: a: 3 images of each of 2 cells over all splits, the most there can be: the smallest cell (race B) has 3; that is too few for a share of 0.1",
    )


def test_a_dataset_without_one_of_the_splits_is_noted() -> None:
    small = [("b", f"q{at}", "BWWW"[at % 4], "F") for at in range(12)]
    members = _members([*small, *(("a", f"p{at}", "BWWW"[at % 4], "F") for at in range(400))])
    found = balance(members, ["race"], THREE, seed=0)
    assert found.notes == ["b: nothing in valid, as 3 of each cell are too few for a share of 0.1"]
    assert found.explained() == [
        "a: 100 images of each of 2 cells over all splits, the most there can be: the smallest cell (race B) has 100",
        "b: 3 images of each of 2 cells over all splits, the most there can be: the smallest cell (race B) has 3",
        *found.notes,
    ]


def test_explained() -> None:
    whole_patient = [("a", "p", "B", "F")] * 9 + [("a", f"q{at}", "B", "F") for at in range(3)]
    members = _members([*whole_patient, *(("a", f"w{at}", "W", "F") for at in range(40))])
    halves = Ratios.parse("0.5,0.5")
    assert balance(members, ["race"], halves, seed=0).explained() == [
        "a: 7 images of each of 2 cells over all splits, the most there can be without parting a patient; the smallest cell (race B) has 12"
    ]
    weighted = balance(_typical(), ["race"], halves, seed=0, mode="weights").explained()
    assert weighted[0].startswith("a, train: ") and "the largest weight is " in weighted[0]
    drawn = balance(_typical(), ["race"], halves, seed=0, mode="resample").explained()
    assert len(drawn) == 4 and "the largest number of draws is " in drawn[0]


@pytest.mark.parametrize(
    ("wishes", "code", "problem"),
    [
        ({"mode": "upsample"}, "CXR-502", "there is no balance by upsample of image"),
        ({"unit": "study"}, "CXR-502", "there is no balance by downsample of study"),
        (
            {"unit": "patient", "mode": "weights"},
            "CXR-502",
            "patients are balanced by leaving some out, not by weights",
        ),
    ],
)
def test_wrong_usage(wishes: dict[str, str], code: str, problem: str) -> None:
    with pytest.raises(CxrError) as caught:
        balance(_typical(20), ["race"], THREE, seed=0, **wishes)
    assert (caught.value.code, caught.value.problem) == (code, problem)


def test_no_members() -> None:
    with pytest.raises(CxrError, match="there is no image to balance"):
        balance(_members([]), ["race"], THREE, seed=0)
