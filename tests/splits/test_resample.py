"""Subsets drawn anew: the three steps of the paper, and the variant that hits its targets."""

from __future__ import annotations

import itertools
import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrdata.errors import CxrError
from cxrdata.splits.draws import uniform
from cxrdata.splits.resample import Resampled, resample

RACES = ("Asian", "Black", "White")
DISEASES = ("No Finding", "Other", "Pleural Effusion")
cells_of = st.fixed_dictionaries({cell: st.integers(1, 12) for cell in itertools.product(RACES, DISEASES)})
GOLDEN_STEPS = [5, 3, 1, 0, 1, 4, 1, 2, 8, 2, 6, 3]
GOLDEN_EXACT = [2, 2, 2, 2, 2, 3, 3, 2, 5, 5, 4, 4]


def _rows(
    cells: dict[tuple[str, ...], int], names: tuple[str, ...] = ("race", "disease"), dataset: str = "d"
) -> pl.DataFrame:
    """One row an image; two images a patient."""
    values = [cell for cell, n in cells.items() for _ in range(n)]
    ids = [f"{at:07}" for at in range(len(values))]
    columns = {name: pl.Series([value[at] for value in values], dtype=pl.String) for at, name in enumerate(names)}
    keys = {
        "dataset": pl.Series([dataset] * len(ids), dtype=pl.String),
        "image_id": pl.Series(ids, dtype=pl.String),
        "patient_id": pl.Series([f"p{at // 2}" for at in range(len(ids))], dtype=pl.String),
        "split": pl.Series(["test"] * len(ids), dtype=pl.String),
    }
    return pl.DataFrame(keys | columns)


@pytest.fixture(scope="module")
def published() -> pl.DataFrame:
    """A test set of the published sizes (Glocker et al.: White 29,844, Asian 5,650, Black 2,746) whose races differ in
    disease and age."""
    sizes = {"White": 29844, "Asian": 5650, "Black": 2746}
    disease = {"White": (0.09, 0.51, 0.40), "Asian": (0.10, 0.46, 0.44), "Black": (0.12, 0.55, 0.33)}
    age = {"White": (0.2, 0.5, 0.3), "Asian": (0.3, 0.4, 0.3), "Black": (0.4, 0.45, 0.15)}
    cells: dict[tuple[str, ...], int] = {}
    for race, n in sizes.items():
        for (d, p), (a, q) in itertools.product(
            zip(DISEASES, disease[race], strict=True), zip(("<=40", "<=70", ">70"), age[race], strict=True)
        ):
            cells[race, d, a] = round(n * p * q)
        cells[race, "Other", ">70"] += n - sum(m for cell, m in cells.items() if cell[0] == race)
    return _rows(cells, ("race", "disease", "age"))


def _shares(found: Resampled, name: str, race: str) -> dict[str, float]:
    cells = found.cells.filter(race=race)
    of_value = cells.group_by(name).agg(pl.col("draws").sum() / cells["draws"].sum())
    return dict(of_value.rows())


def test_published_resampling(published: pl.DataFrame) -> None:
    """38,240 rows by factor 3 are 114,720 draws; every race gets a third of them and the whole set's mix."""
    found = resample(published, balance=["race"], match=["disease", "age"], factor=3, seed=42)
    assert found.rows["n_draws"].sum() == found.groups["draws"].sum() == 114_720
    for race in RACES:
        group = found.groups.filter(race=race).row(0, named=True)
        assert group["draws"] == pytest.approx(114_720 / 3, abs=5 * math.sqrt(114_720 * 2 / 9))
        for name in ("disease", "age"):
            whole = dict(published[name].value_counts(normalize=True).rows())
            for value, share in _shares(found, name, race).items():
                # Five standard errors of a share of 38,240 draws; age has two rounds of chance.
                assert share == pytest.approx(whole[value], abs=5 * math.sqrt(2 * 0.25 / 38_240)), (race, value)
    assert found.notes == []


def test_age_follows_the_disease(published: pl.DataFrame) -> None:
    """The third step's target is the age given the disease, not the age."""
    of_black = pl.col("race") == "Black"
    rows = published.filter(
        ~of_black | (pl.col("disease") != "Other") | (pl.col("age") != ">70") | (pl.col("image_id").str.ends_with("1"))
    )
    found = resample(rows, balance=["race"], match=["disease", "age"], factor=3, seed=1)
    other = rows.filter(disease="Other")
    target = other.filter(age=">70").height / other.height
    cells = found.cells.filter(race="Black", disease="Other")
    share = cells.filter(age=">70")["draws"].sum() / cells["draws"].sum()
    assert share == pytest.approx(target, abs=0.02)
    assert cells.filter(age=">70")["share_before"].sum() < 0.3 * cells.filter(age=">70")["share_target"].sum()


def test_counts_add_up(published: pl.DataFrame) -> None:
    found = resample(published, balance=["race"], match=["disease"], factor=0.5, seed=3)
    assert found.groups["draws"].sum() == 19_120
    assert found.groups["images"].sum() == 38_240
    assert found.groups["not_drawn"].sum() == 38_240 - found.rows.height == found.left_out["images"].sum()
    assert found.left_out.rows() == [("d", "never drawn", 38_240 - found.rows.height)]
    assert found.rows["n_draws"].min() == 1
    assert (found.groups["effective_images"] <= found.groups["images"] - found.groups["not_drawn"]).all()
    assert (found.groups["effective_patients"] <= found.groups["effective_images"] + 1e-9).all()


def _plainly(rows: pl.DataFrame, total: int, seed: int) -> dict[str, int]:
    """The three steps for race and disease in plain loops, as the docstrings tell them."""
    images = rows.sort("image_id").select("image_id", "race", "disease").rows()
    races, diseases = (sorted({image[at] for image in images}) for at in (1, 2))
    chance = uniform(f"draw|{seed}|d|0", 2 * total).tolist()
    drawn = []
    for at in range(total):
        of_race = [image for image in images if image[1] == races[int(chance[at] * len(races))]]
        drawn.append(of_race[int(chance[total + at] * len(of_race))])
    again = []
    for race in races:
        here = sorted(image for image in drawn if image[1] == race)
        chance = uniform(f"draw|{seed}|d|1|race {race}", 2 * len(here)).tolist()
        present = [disease for disease in diseases if any(image[2] == disease for image in here)]
        weights = [sum(image[2] == disease for image in images) for disease in present]
        for at in range(len(here)):
            mark = int(chance[at] * sum(weights))
            disease = next(one for n, one in enumerate(present) if mark < sum(weights[: n + 1]))
            of_disease = [image for image in here if image[2] == disease]
            again.append(of_disease[int(chance[len(here) + at] * len(of_disease))][0])
    return {image: again.count(image) for image in set(again)}


@given(cells_of, st.integers(0, 1000))
@settings(max_examples=30)
def test_steps_are_those_of_plain_loops(cells: dict[tuple[str, ...], int], seed: int) -> None:
    rows = _rows(cells)
    found = resample(rows, balance=["race"], match=["disease"], factor=2, seed=seed).rows
    assert dict(found.select("image_id", "n_draws").rows()) == _plainly(rows, 2 * rows.height, seed)


@pytest.mark.parametrize(
    ("exact", "expected"),
    [(False, GOLDEN_STEPS), (True, GOLDEN_EXACT)],
)
def test_golden(exact: bool, expected: list[int]) -> None:  # noqa: FBT001
    """Same seed, same draws, on any machine and in any later version."""
    rows = _rows({("White", "Other"): 5, ("White", "No Finding"): 3, ("Black", "Other"): 2, ("Black", "No Finding"): 2})
    found = resample(rows, balance=["race"], match=["disease"], factor=3, seed=0, exact=exact).rows
    n_draws = rows.join(found.select("image_id", "n_draws"), on="image_id", how="left").sort("image_id")["n_draws"]
    assert n_draws.fill_null(0).to_list() == expected


@pytest.mark.parametrize("exact", [False, True])
def test_row_order_and_other_datasets_do_not_matter(published: pl.DataFrame, exact: bool) -> None:  # noqa: FBT001
    small = published.gather_every(40)
    other = small.with_columns(dataset=pl.lit("e"), race=pl.col("race").replace("Asian", "Black"))
    alone = resample(small, balance=["race"], match=["disease"], factor=2, seed=5, exact=exact)
    both = resample(
        pl.concat([other, small]).sample(fraction=1, shuffle=True, seed=1),
        balance=["race"],
        match=["disease"],
        factor=2,
        seed=5,
        exact=exact,
    )
    assert both.rows.filter(dataset="d").equals(alone.rows)
    assert both.cells.filter(dataset="d").equals(alone.cells)
    assert both.groups.filter(dataset="d").equals(alone.groups)
    another = resample(small, balance=["race"], match=["disease"], factor=2, seed=6, exact=exact)
    assert not another.rows.equals(alone.rows)


@given(cells_of, st.floats(0.5, 8), st.integers(0, 5))
def test_exact_within_one_of_every_target(cells: dict[tuple[str, ...], int], factor: float, seed: int) -> None:
    rows = _rows(cells)
    found = resample(rows, balance=["race"], match=["disease"], factor=factor, seed=seed, exact=True)
    total = found.rows["n_draws"].sum()
    assert found.groups["draws"].n_unique() == 1
    assert abs(total - factor * rows.height) <= len(RACES) / 2
    drawn = rows.join(found.rows.select("image_id", "n_draws"), on="image_id", how="left").with_columns(
        pl.col("n_draws").fill_null(0)
    )
    for (race, disease), n in cells.items():
        target = total / len(RACES) * sum(m for cell, m in cells.items() if cell[1] == disease) / rows.height
        of_cell = drawn.filter(race=race, disease=disease)["n_draws"]
        assert abs(of_cell.sum() - target) < 1 + 1e-9
        assert of_cell.max() - of_cell.min() <= 1, "images of a cell are used as evenly as possible"
        assert of_cell.len() == n


def test_exact_effective_sizes() -> None:
    """White 8 images for 8 draws, Black 4 images: each drawn twice, so worth 4."""
    rows = _rows({("White", "Other"): 8, ("Black", "Other"): 4})
    found = resample(rows, balance=["race"], match=["disease"], factor=16 / 12, seed=0, exact=True)
    assert found.groups.rows() == [("d", "Black", 4, 0, 8, 2, 4.0, 2.0), ("d", "White", 8, 0, 8, 1, 8.0, 4.0)]
    assert found.cells.rows() == [
        ("d", "Black", "Other", 4, 1.0, 8, 1.0, 1.0),
        ("d", "White", "Other", 8, 1.0, 8, 1.0, 1.0),
    ]


def test_nothing_to_match() -> None:
    rows = _rows({("White", "Other"): 30, ("Black", "Other"): 10})
    exact = resample(rows, balance=["race"], factor=1, seed=0, exact=True)
    assert exact.groups["draws"].to_list() == [20, 20]
    assert exact.cells.columns == ["dataset", "race", "images", "share_before", "draws", "share_after", "share_target"]
    assert resample(rows, balance=["race"], factor=1, seed=0).groups["draws"].sum() == 40


def test_nulls_and_datasets_without_groups_leave_counted() -> None:
    rows = _rows({("White", "Other"): 10, ("Black", "Other"): 10, ("Black", "?"): 3, ("?", "Other"): 2})
    rows = rows.with_columns(pl.col("race", "disease").replace("?", None))
    lonely = _rows({("White", "Other"): 7}, dataset="e")
    without = _rows({("?", "Other"): 4}, dataset="f").with_columns(race=pl.lit(None, pl.String))
    found = resample(pl.concat([rows, lonely, without]), balance=["race"], match=["disease"], factor=1, exact=True)
    assert found.left_out.rows() == [
        ("d", "disease is null", 3),
        ("d", "race is null", 2),
        ("e", "all are of one group (race White): nothing to balance", 7),
        ("f", "race is null", 4),
    ]
    assert found.rows["n_draws"].to_list() == [1] * 20
    assert found.groups["dataset"].to_list() == ["d", "d"]


def test_empty_cells_are_said_and_their_draws_go_elsewhere() -> None:
    rows = _rows({("White", "Other"): 30, ("White", "No Finding"): 30, ("Black", "Other"): 10})
    found = resample(rows, balance=["race"], match=["disease"], factor=3)
    assert found.notes == [
        "d: 1 of 4 cells without any image: race Black, disease No Finding; their draws went to other values"
    ]
    black = found.cells.filter(race="Black")
    assert black["share_after"].to_list() == [0.0, 1.0] and black["share_target"].to_list() == pytest.approx(
        [30 / 70, 40 / 70]
    )


def _refusal(rows: pl.DataFrame, **wishes: object) -> str:
    with pytest.raises(CxrError) as caught:
        resample(rows, **({"balance": ["race"], "match": ["disease"], "factor": 3} | wishes))  # type: ignore[arg-type]
    return caught.value.block()


def test_exact_refuses_empty_cells() -> None:
    rows = _rows(
        {
            ("White", "Other", "F"): 30,
            ("White", "No Finding", "F"): 30,
            ("Asian", "Other", "F"): 9,
            ("Asian", "No Finding", "F"): 5,
            ("Black", "Other", "F"): 9,
        },
        ("race", "disease", "sex"),
    )
    assert _refusal(rows, match=["sex", "disease"], exact=True) == (
        "error CXR-410: d: 1 of 6 cells without any image: race Black, sex F, disease No Finding\n"
        "  fix: match sex alone; or keep only the groups that have all cells (Asian, White); or leave exact out, then their draws go to other values"
    )
    assert "fix: match nothing; or keep only" in _refusal(rows, match=["disease", "sex"], exact=True)
    # A target that rounds to nothing needs no image.
    few = _rows({("White", "Other"): 99, ("White", "No Finding"): 1, ("Black", "Other"): 9})
    assert resample(few, balance=["race"], match=["disease"], factor=0.1, exact=True).groups["draws"].to_list() == [
        5,
        5,
    ]


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        (
            {"balance": []},
            "error CXR-502: no attribute is named whose groups are to be made comparable\n  fix: for example --balance race",
        ),
        (
            {"balance": ["rase"]},
            "error CXR-501: there is no column 'rase'; did you mean race?\n  fix: columns: dataset, image_id, patient_id, split, race, disease",
        ),
        (
            {"balance": ["dataset"]},
            "error CXR-502: 'dataset' is no attribute to resample by\n  fix: name one such as race, sex, disease, age_group:decades",
        ),
        (
            {"match": ["disease", "race"]},
            "error CXR-502: 'race' is named twice\n  fix: name an attribute once, to balance or to match",
        ),
        (
            {"factor": 0},
            "error CXR-502: the factor must be above 0, got 0\n  fix: --factor 3 draws three times as many rows as there are",
        ),
        (
            {"factor": math.nan},
            "error CXR-502: the factor must be above 0, got nan\n  fix: --factor 3 draws three times as many rows as there are",
        ),
        (
            {"factor": 0.01},
            "error CXR-502: a factor of 0.01 draws nothing from 20 images\n  fix: name a larger --factor",
        ),
        (
            {"factor": 0.01, "exact": True},
            "error CXR-502: a factor of 0.01 gives no draw to each of 2 groups\n  fix: name a larger --factor",
        ),
    ],
)
def test_bad_wishes(wishes: dict[str, object], expected: str) -> None:
    assert _refusal(_rows({("White", "Other"): 10, ("Black", "Other"): 10}), **wishes) == expected


def test_bad_rows() -> None:
    rows = _rows({("White", "Other"): 10, ("Black", "Other"): 10})
    assert "CXR-507: there is no row" in _refusal(rows.clear())
    assert "the rows are of 2 splits (test, train)" in _refusal(
        pl.concat([rows, rows.with_columns(split=pl.lit("train"))])
    )
    assert "the rows have n_draws already" in _refusal(rows.with_columns(n_draws=pl.lit(2)))
    assert _refusal(rows.with_columns(race=pl.lit(None, pl.String))) == (
        "error CXR-410: no dataset has two groups of race to balance (d: race is null)\n  fix: name another attribute, or another split"
    )


def test_report_holds_no_ids(published: pl.DataFrame) -> None:
    small = published.gather_every(100)
    report = resample(small, balance=["race"], match=["disease"]).report()
    assert sorted(report) == ["cells", "groups", "notes"]
    assert not set(map(str, small["image_id"])) & {
        str(value) for row in report["cells"] + report["groups"] for value in row.values()
    }
