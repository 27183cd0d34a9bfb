"""Attributes of images, against the relations that they come from."""

from __future__ import annotations

import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.splits.attributes import health_of, with_attributes
from cxrdata.store.catalog import Catalog


@pytest.fixture
def keys(split_images: pl.DataFrame) -> pl.DataFrame:
    return split_images.select("dataset", "image_id")


def test_rows_keep_their_order_and_number(split_catalog: Catalog, keys: pl.DataFrame) -> None:
    shuffled = keys.sample(fraction=1, shuffle=True, seed=1)
    found = with_attributes(
        split_catalog, shuffled, ["race", "age_group:decades", "cardiomegaly", "healthy", "disease"]
    )
    assert found.select("dataset", "image_id").equals(shuffled)
    assert found.columns == ["dataset", "image_id", "race", "age_group:decades", "cardiomegaly", "healthy", "disease"]
    assert set(found.dtypes) == {pl.String}


@pytest.mark.parametrize(
    ("policy", "values"),
    [("ignore", {1: "positive", 0: "negative"}), ("ones", {1: "positive", 0: "negative", -1: "positive"})],
)
def test_findings_under_a_policy(
    split_catalog: Catalog, keys: pl.DataFrame, policy: str, values: dict[int, str]
) -> None:
    stated = split_catalog.sql(
        "SELECT dataset, image_id, pleural_effusion AS code FROM image_labels WHERE dataset = 'chexpert' AND pleural_effusion IS NOT NULL"
    )
    found = with_attributes(split_catalog, keys, ["pleural_effusion"], policy=policy).join(
        stated, on=["dataset", "image_id"]
    )
    expected = found["code"].replace_strict(values, default=None, return_dtype=pl.String)
    assert found.height > 0
    assert found["pleural_effusion"].equals(expected.alias("pleural_effusion"), null_equal=True)


def test_disease_is_the_three_classes_of_chexploration(split_catalog: Catalog, keys: pl.DataFrame) -> None:
    """systems.md A: No Finding, overridden by Pleural Effusion; else Other. Uncertain is not positive."""
    codes = split_catalog.sql("SELECT dataset, image_id, labeler, no_finding, pleural_effusion FROM image_labels")
    found = with_attributes(split_catalog, keys, ["disease"]).join(codes, on=["dataset", "image_id"])
    for disease, labeler, no_finding, effusion in found.select(
        "disease", "labeler", "no_finding", "pleural_effusion"
    ).iter_rows():
        if labeler is None:
            assert disease is None
        elif effusion == 1:
            assert disease == "Pleural Effusion"
        else:
            assert disease == ("No Finding" if no_finding == 1 else "Other")


def test_age_groups_are_null_where_the_precision_straddles(split_catalog: Catalog, split_images: pl.DataFrame) -> None:
    found = with_attributes(split_catalog, split_images.select("dataset", "image_id"), ["age_group:pediatric_adult"])
    assert found["age_group:pediatric_adult"].equals(
        split_images["age_group"].alias("age_group:pediatric_adult"), null_equal=True
    )


def test_unknown_images_have_no_attribute(split_catalog: Catalog) -> None:
    stranger = pl.DataFrame({"dataset": ["nih_cxr14"], "image_id": ["99999999_999.png"]})
    assert with_attributes(split_catalog, stranger, ["sex", "hernia"]).row(0) == (
        "nih_cxr14",
        "99999999_999.png",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("rase", "did you mean race"),
        ("cardiomegalie", "did you mean cardiomegaly"),
        ("age_group:decade", "did you mean age_group:decades"),
        ("age_years", "makes no groups"),
    ],
)
def test_unknown_names(split_catalog: Catalog, keys: pl.DataFrame, name: str, hint: str) -> None:
    with pytest.raises(CxrError, match=hint) as caught:
        with_attributes(split_catalog, keys, [name])
    assert caught.value.code == "CXR-501"


def test_of_one_labeler_alone(split_catalog: Catalog, keys: pl.DataFrame) -> None:
    """What the preferred labeler says is what the relation says; another one says otherwise, and of its images alone."""
    names = ["disease", "healthy", "cardiomegaly"]
    preferred = with_attributes(split_catalog, keys, names)
    nih = keys["dataset"] == "nih_cxr14"
    own = with_attributes(split_catalog, keys, names, labeler="text_mining")
    assert own.filter(nih).equals(preferred.filter(nih))
    assert own.filter(~nih).select(names).null_count().row(0) == ((~nih).sum(),) * 3
    other = with_attributes(split_catalog, keys, names, labeler="chexbert")
    seen = split_catalog.sql("SELECT count(*) AS n FROM assessments WHERE labeler = 'chexbert'")["n"].item()
    assert other["disease"].drop_nulls().len() == other["healthy"].drop_nulls().len() == seen > 0
    both = keys.with_columns(a=preferred["healthy"], b=other["healthy"]).drop_nulls()
    assert (both["a"] != both["b"]).any()
    with pytest.raises(CxrError, match="there is no labeler 'nobody'"):
        health_of(split_catalog, "nobody")
