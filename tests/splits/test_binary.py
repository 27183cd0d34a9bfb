"""Attributes of two values: what they are called, and what stays unknown."""

from __future__ import annotations

import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.splits.attributes import check_attributes, with_attributes
from cxrdata.splits.binary import Binary
from cxrdata.store.catalog import Catalog


@pytest.mark.parametrize(
    ("name", "of", "values", "above"),
    [
        ("age_years>60", "age_years", (">60", "<=60"), 60),
        ("race=White", "race", ("White", "other"), None),
        ("race=American Indian/Alaska Native", "race", ("American Indian/Alaska Native", "other"), None),
        ("age_group:decades=60-69", "age_group:decades", ("60-69", "other"), None),
    ],
)
def test_forms(name: str, of: str, values: tuple[str, str], above: int | None) -> None:
    assert Binary.parse(name) == Binary(name, of, values, above)


@pytest.mark.parametrize(
    "name",
    ["race", "age_years", "age_years>", "age_years>x", "age_years>=60", "race=", "=White", "race=a=b", "weight>60"],
)
def test_other_names_are_none(name: str) -> None:
    assert Binary.parse(name) is None


def test_completed_years_and_what_their_precision_leaves_open() -> None:
    ages = pl.DataFrame(
        [
            (59.0, 60.0, "<=60"),
            (60.0, 61.0, "<=60"),  # who has completed 60 years has not completed more
            (61.0, 62.0, ">60"),
            (60.4, 60.4, "<=60"),
            (60.0, 62.0, None),  # as of a year of birth
            (61.0, 63.0, ">60"),
            (89.0, None, ">60"),  # top-coded
            (50.0, None, None),
            (None, None, None),
        ],
        schema=["age_low_years", "age_high_years", "expected"],
        orient="row",
    )  # fmt: skip
    binary = Binary.parse("age_years>60")
    assert binary is not None
    found = ages.select(binary.expression(pl.lit(None)))
    assert found.to_series().to_list() == ages["expected"].to_list()


def test_in_a_catalog(split_catalog: Catalog, split_images: pl.DataFrame) -> None:
    names = ["race=White", "age_years>60", "age_group:pediatric_adult=adult", "view=PA"]
    found = with_attributes(split_catalog, split_images.select("dataset", "image_id"), names)
    joined = found.with_columns(split_images.select("race", "view", "age_low_years", "age_high_years", "age_group"))
    expected = split_catalog.sql(
        "SELECT CASE WHEN race = 'White' THEN 'White' WHEN race IS NOT NULL THEN 'other' END AS race, "
        "CASE WHEN age_low_years >= 61 THEN '>60' WHEN age_high_years <= 61 THEN '<=60' END AS age, "
        "CASE WHEN view = 'PA' THEN 'PA' WHEN view IS NOT NULL THEN 'other' END AS view FROM images ORDER BY dataset, image_id"
    )
    assert joined["race=White"].equals(expected["race"].alias("race=White"), null_equal=True)
    assert joined["age_years>60"].equals(expected["age"].alias("age_years>60"), null_equal=True)
    assert joined["view=PA"].equals(expected["view"].alias("view=PA"), null_equal=True)
    for name in names:
        assert joined[name].n_unique() == 3 if name != "view=PA" else joined[name].n_unique() >= 2
    adults = joined.filter(pl.col("age_group") == "adult")
    assert (adults["age_group:pediatric_adult=adult"] == "adult").all()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("race=Whit", "no image has race 'Whit'; did you mean White"),
        ("sexx=M", "there is no attribute 'sexx=M'"),
        ("cardiomegaly=positive", "there is no attribute"),
        ("age_years=60", "there is no attribute"),
    ],
)
def test_unknown_values_and_attributes(split_catalog: Catalog, name: str, told: str) -> None:
    with pytest.raises(CxrError, match=told) as error:
        check_attributes(split_catalog, [name])
    assert error.value.code == "CXR-501"
