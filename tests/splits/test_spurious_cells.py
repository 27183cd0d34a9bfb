"""Which cell an image is of, against the labels; and the whole split on a catalog, its manifest and its recipe."""

from __future__ import annotations

import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.splits.make import make_split
from cxrdata.splits.members import members_of
from cxrdata.splits.recipe import rebuild, recipe_of
from cxrdata.splits.request import SplitRequest
from cxrdata.splits.spurious_cells import cells_of
from cxrdata.splits.stored import store_split
from cxrdata.splits.summary import summary_table
from cxrdata.splits.verify import verify_split
from cxrdata.store.catalog import Catalog
from cxrtrain.config import HeadConfig

KEYS = ["dataset", "image_id"]


def asked(**wishes: object) -> SplitRequest:
    return SplitRequest(**({"spurious": "pleural_effusion", "attribute": "sex", "per_cell": 3} | wishes))  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["zeros", "ones", "ignore"])
def test_cells_are_those_of_a_head_against_the_healthy(split_catalog: Catalog, policy: str) -> None:
    """What the split calls positive and healthy is what a head learns as 1 and 0 under the same policy."""
    from cxrtrain.targets import targets_of

    members = members_of(split_catalog, SplitRequest()).frame
    rows, design, _ = cells_of(split_catalog, members, asked(policy=policy))
    assert design.values == ("F", "M")
    assert set(rows["value"]) == {"F", "M"}
    assert set(rows["label"]) == {"positive", "healthy"}
    head = HeadConfig("effusion", "binary", finding="pleural_effusion", against="healthy", policy=policy)
    known = members.select(*KEYS, "sex").with_columns(targets_of(split_catalog, members, head).frame)
    known = known.filter(pl.col("target_effusion").is_not_null() & pl.col("sex").is_in(["F", "M"]))
    both = rows.join(known, on=KEYS, how="full", coalesce=True)
    assert both.height == rows.height == known.height
    assert both.select(((pl.col("label") == "positive") == (pl.col("target_effusion") == 1)).all()).item()


def test_an_uncertain_finding_is_positive_where_the_policy_says_so(split_catalog: Catalog) -> None:
    members = members_of(split_catalog, SplitRequest()).frame
    stated = split_catalog.labels(findings=["edema"])
    found = {}
    for policy in ("ones", "zeros"):
        rows, _, left_out = cells_of(split_catalog, members, asked(spurious="edema", policy=policy))
        codes = rows.join(stated, on=KEYS, how="left").filter(label="positive")["edema"]
        found[policy] = set(codes.to_list())
        assert rows.height + sum(entry["images"] for entry in left_out) == members.height
    assert found == {"ones": {1, -1}, "zeros": {1}}


@pytest.mark.parametrize(
    ("attribute", "values"),
    [
        ("race=White", ("White", "other")),
        ("age_years>60", (">60", "<=60")),
        ("support_devices", ("positive", "negative")),
        ("age_group:pediatric_adult", ("adult", "pediatric")),
    ],
)
def test_attributes_of_two_values(split_catalog: Catalog, attribute: str, values: tuple[str, str]) -> None:
    members = members_of(split_catalog, SplitRequest()).frame
    _, design, _ = cells_of(split_catalog, members, asked(attribute=attribute))
    assert design.values == values


@pytest.mark.parametrize(
    ("wishes", "code", "told"),
    [
        ({"spurious": "effusion"}, "CXR-501", "'effusion' is no finding"),
        ({"spurious": "no_finding"}, "CXR-502", "says who is healthy"),
        ({"attribute": "pleural_effusion"}, "CXR-502", "cannot go with itself"),
        ({"attribute": "race"}, "CXR-502", "two sides are needed: "),
        ({"attribute": "sexx"}, "CXR-501", "there is no attribute 'sexx'; did you mean sex"),
        ({"attribute": "race=Whit"}, "CXR-501", "did you mean White"),
        ({"where": "sex IS NULL"}, "CXR-507", "no image of known sex is positive for pleural_effusion or healthy"),
    ],
)
def test_what_makes_no_cells(split_catalog: Catalog, wishes: dict[str, str], code: str, told: str) -> None:
    with pytest.raises(CxrError, match=told) as error:
        make_split(split_catalog, asked(**wishes))
    assert error.value.code == code


def test_a_split_with_its_manifest_recipe_and_check(own_catalog: Catalog) -> None:
    request = asked(datasets=("mimic",), correlation=0.8, seed=3)
    made = make_split(own_catalog, request, with_columns=("sex", "pleural_effusion", "healthy"))
    again = make_split(own_catalog, request, with_columns=("sex", "pleural_effusion", "healthy"))
    assert made.frame.equals(again.frame)
    assert made.manifest == again.manifest
    test = made.frame.filter(split="test")
    cells = test.group_by("dataset", "sex", healthy=pl.col("healthy") == "healthy").len()
    assert cells.height == 4
    assert set(cells["len"]) == {3}
    said = made.manifest["spurious"]
    assert (said["policy"], said["values"], said["correlation"]) == ("zeros", ["F", "M"], 0.8)
    assert list(said["healthy"]) == ["mimic_cxr"]
    assert "no_finding" in said["healthy"]["mimic_cxr"]
    assert made.manifest["arguments"]["seed"] == 3
    counted = sum(cell[split] for cell in said["cells"] for split in ("train", "valid", "test"))
    assert counted == made.frame.height
    images = own_catalog.table("images").filter(pl.col("dataset") == "mimic_cxr").collect().height
    assert counted + sum(entry["images"] for entry in made.manifest["left_out"]) == images
    table = summary_table(made)
    assert table.columns == ["dataset", "label", "sex", "available", "patients", "train", "valid", "test"]
    assert set(table["test"]) == {3}

    store_split(own_catalog, "effusion", made.frame, made.manifest)
    recipe = recipe_of(own_catalog, "effusion")
    assert rebuild(own_catalog, recipe).identical
    assert not rebuild(own_catalog, recipe | {"arguments": recipe["arguments"] | {"seed": 6}}).identical
    checks = verify_split(own_catalog, "effusion")
    assert checks.sound


def test_the_images_that_a_patient_may_bring_are_those_in_question(split_catalog: Catalog) -> None:
    one = make_split(split_catalog, asked(datasets=("mimic",), seed=3, max_images_per_patient=1)).frame
    assert one["patient_id"].is_unique().all()
    assert one.height < make_split(split_catalog, asked(datasets=("mimic",), seed=3)).frame.height
