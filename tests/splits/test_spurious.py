"""Splits with a spurious correlation: the cells are exact, the correlation is, and no patient stands in two parts."""

from __future__ import annotations

import random
import re

import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.splits.keyed import KEEP, PLACE, keyed_numbers
from cxrdata.splits.spurious import BALANCED, HEALTHY, POSITIVE, Design, spurious

KEYS = ["dataset", "image_id"]


def design(**wishes: object) -> Design:
    return Design(**({"finding": "edema", "attribute": "sex", "values": ("F", "M"), "per_cell": 20} | wishes))  # type: ignore[arg-type]


def people(n: int, *, dataset: str = "alpha", seed: int = 0, ages: bool = False) -> pl.DataFrame:
    """Patients with 1 to 4 images; a patient may be ill on one day and healthy on another, and with `ages` change sides."""
    rng = random.Random(f"{dataset}{seed}")
    rows = []
    for patient in range(n):
        side = rng.choice("FFM")
        for image in range(rng.randint(1, 4)):
            value = rng.choice("FM") if ages else side
            rows.append(
                (dataset, f"{patient:04d}_{image}", f"{patient:04d}", rng.choice([POSITIVE, HEALTHY, HEALTHY]), value)
            )
    return pl.DataFrame(rows, schema=[*KEYS, "unit", "label", "value"], orient="row")


def sizes(rows: pl.DataFrame, split: str) -> dict[tuple[str, str], int]:
    counts = rows.filter(split=split).group_by("label", "value").len()
    return {(label, value): n for label, value, n in counts.iter_rows()}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("correlation", "valid", "ages"),
    [(0.9, "correlated", False), (0.75, "correlated", True), (0.9, "balanced", False), (0.2, "balanced", True)],
)
def test_cells_are_exact_and_patients_whole(correlation: float, valid: str, ages: bool, seed: int) -> None:  # noqa: FBT001
    asked = design(correlation=correlation, valid=valid)
    members = people(400, seed=seed, ages=ages)
    made = spurious(members, asked, seed=seed)
    rows = made.rows
    assert set(sizes(rows, "test").values()) == {20}
    assert rows.filter(split="test")["unit"].is_unique().all()
    assert rows.group_by("unit").agg(pl.col("split").n_unique())["split"].max() == 1
    assert not rows.select(KEYS).is_duplicated().any()
    for split, wanted in (("train", correlation), ("valid", 0.5 if valid == BALANCED else correlation)):
        found = sizes(rows, split)
        half = sum(found.values()) // 2
        assert half > 0
        for label, value, share in (
            (POSITIVE, "F", wanted), (POSITIVE, "M", 1 - wanted), (HEALTHY, "M", wanted), (HEALTHY, "F", 1 - wanted),
        ):  # fmt: skip
            assert abs(found.get((label, value), 0) - share * half) <= 0.5 + 1e-9  # within an image
        assert sum(n for (label, _), n in found.items() if label == POSITIVE) == half
    assert rows.height + made.left_out["images"].sum() == members.height
    assert made.cells["available"].sum() == members.height


def test_no_more_would_fit() -> None:
    """Train is as large as it can be: the next larger one would need an image that no cell has."""
    members = people(300)
    made = spurious(members, design())
    others = members.join(made.rows.filter(pl.col("split") != "train"), on="unit", how="anti")
    fold = keyed_numbers("fold", 0, others["dataset"], others["unit"])
    has = sizes(others.filter(fold >= 2**61).with_columns(split=pl.lit("train")), "train")  # an eighth validates
    half = made.rows.filter(split="train").height // 2
    assert all(has[cell] >= n for cell, n in design().needs(half, 0.9).items())
    assert any(has[cell] < n for cell, n in design().needs(half + 1, 0.9).items())


def test_the_rule_can_be_followed_without_this_code() -> None:
    """The test's positives with the first value: patients by falling number of the hash, the image with the lowest of each."""
    members = people(300)
    made = spurious(members, design(), seed=3)
    cell = members.filter(label=POSITIVE, value="F")
    cell = cell.with_columns(
        keyed_numbers(PLACE, 3, cell["dataset"], cell["unit"]).alias("place"),
        keyed_numbers(KEEP, 3, cell["dataset"], cell["image_id"]).alias("keep"),
    )
    best = cell.sort("keep").unique("unit", keep="first").sort("place", descending=True).head(20)
    found = made.rows.filter(split="test", label=POSITIVE, value="F")
    assert sorted(best["image_id"]) == sorted(found["image_id"])
    train = made.rows.filter(split="train", label=POSITIVE, value="F")
    beyond = cell.filter(~pl.col("unit").is_in(made.rows["unit"].implode()))
    assert train.join(cell, on=KEYS)["keep"].max() < beyond["keep"].min() if beyond.height else True


def test_train_of_a_size_and_a_valid_in_proportion() -> None:
    made = spurious(people(600), design(train_images=140))
    assert sum(sizes(made.rows, "train").values()) == 140
    assert sum(sizes(made.rows, "valid").values()) == 20
    assert sizes(made.rows, "train") == {(POSITIVE, "F"): 63, (POSITIVE, "M"): 7, (HEALTHY, "M"): 63, (HEALTHY, "F"): 7}
    assert not made.notes
    found = {row["split"]: row for row in made.correlations().to_dicts()}
    assert found["train"] == {
        "dataset": "alpha",
        "split": "train",
        "positives_with_first": 0.9,
        "healthy_with_second": 0.9,
    }
    assert found["test"]["positives_with_first"] == found["test"]["healthy_with_second"] == 0.5


def test_a_small_cell_makes_valid_smaller_and_says_so() -> None:
    members = people(1500).filter(
        ~((pl.col("label") == POSITIVE) & (pl.col("value") == "M")) | pl.col("unit").str.ends_with("3")
    )
    made = spurious(members, design(per_cell=4, train_images=200, valid="balanced"))
    valid = sizes(made.rows, "valid")
    assert len(set(valid.values())) == 1
    assert sum(valid.values()) < 200 / 7
    assert made.notes == [f"alpha: valid has {sum(valid.values())} images, fewer than an eighth: a cell has no more"]


def test_who_comes_later_moves_nobody_between_train_and_valid() -> None:
    few, many = people(400), people(500)  # the first 400 are the same
    assert many.join(few, on=KEYS, how="semi").equals(few)
    before, after = (spurious(members, design()).rows.select(*KEYS, "unit", "split") for members in (few, many))
    both = before.join(after, on=KEYS, suffix="_after").filter(pl.col("split") != pl.col("split_after"))
    assert not both.filter((pl.col("split") != "test") & (pl.col("split_after") != "test")).height
    tested = {unit for unit in after.filter(split="test")["unit"].to_list() if unit < "0400"}
    assert len(tested - set(before.filter(split="test")["unit"])) <= 3  # others than those who made room


def test_other_datasets_order_and_columns_have_no_part_in_it() -> None:
    alpha, beta = people(300), people(200, dataset="beta")
    alone = spurious(alpha, design(per_cell=10)).rows
    shuffled = pl.concat([beta, alpha]).sample(fraction=1, shuffle=True, seed=1).with_columns(split=pl.lit("x"))
    together = spurious(shuffled, design(per_cell=10)).rows
    assert together.filter(dataset="alpha").equals(alone.select(together.columns))
    assert together.filter(dataset="beta").height > 0
    assert not spurious(alpha, design(per_cell=10), seed=1).rows.equals(alone)


def test_a_dataset_without_a_cell_leaves_if_there_are_others() -> None:
    men = people(50, dataset="beta").filter(value="M")
    made = spurious(pl.concat([people(300), men]), design())
    assert set(made.rows["dataset"]) == {"alpha"}
    left = made.left_out.filter(dataset="beta").to_dicts()
    assert left == [
        {"dataset": "beta", "reason": "the dataset has no image of one of the four cells", "images": men.height}
    ]


@pytest.mark.parametrize(
    ("members", "wishes", "told", "fix"),
    [
        (people(60), {"per_cell": 30}, "alpha: the cell positive for edema and sex F has 17 patients, and the test needs 30 images of as many patients", "--per-cell 17 or fewer"),
        (people(60).filter(value="F"), {"per_cell": 2}, "the cell positive for edema and sex M has 0 patients", "other data"),
        (people(300), {"train_images": 4000}, r"the cell healthy and sex M has \d+ images for train, which needs 1,800", r"--train-images \d+"),
        (people(60, seed=2), {"per_cell": 9}, r"alpha: the cell .* has \d images for valid, which needs 1", "a smaller --per-cell"),
    ],
)  # fmt: skip
def test_too_few_are_refused_by_cell(members: pl.DataFrame, wishes: dict[str, int], told: str, fix: str) -> None:
    with pytest.raises(CxrError, match=told) as error:
        spurious(members, design(**wishes))
    assert error.value.code == "CXR-410"
    assert re.search(fix, str(error.value.fix))


def test_a_cell_of_a_binary_attribute_is_called_by_what_it_is_made_of() -> None:
    older = people(60).with_columns(value=pl.col("value").replace({"F": ">60", "M": "<=60"}))
    with pytest.raises(CxrError, match="the cell positive for edema and age_years >60 has 17 patients"):
        spurious(older, design(attribute="age_years>60", values=(">60", "<=60"), per_cell=30))


def test_the_most_that_a_refusal_offers_can_be_had() -> None:
    with pytest.raises(CxrError) as error:
        spurious(people(300), design(train_images=4000))
    offered = int(str(error.value.fix).split()[1].rstrip(","))
    assert spurious(people(300), design(train_images=offered)).rows.filter(split="train").height == offered
    with pytest.raises(CxrError, match="CXR-410"):
        spurious(people(300), design(train_images=offered + 2))
