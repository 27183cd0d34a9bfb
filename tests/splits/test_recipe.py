"""Recipes: no ids in them, and the same split out of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.splits.make import make_split
from cxrdata.splits.recipe import compare, read_recipe, rebuild, recipe_of, recipe_text
from cxrdata.splits.request import SplitRequest
from cxrdata.splits.stored import store_split
from cxrdata.store.catalog import Catalog

COHORT = """-- Adults on frontal films.
-- step: frontal
SELECT dataset, image_id FROM images WHERE frontal
-- step: adults; expect: 112120
SELECT dataset, image_id FROM images JOIN previous USING (dataset, image_id) WHERE age_years >= 18 AND view IN ('PA', 'AP')
"""


def _stored(catalog: Catalog, name: str = "plain", **wishes: Any) -> dict[str, Any]:
    """The recipe of a split that is made and stored with these wishes."""
    made = make_split(catalog, SplitRequest(**wishes))
    store_split(catalog, name, made.frame, made.manifest)
    return recipe_of(catalog, name)


def test_a_recipe_holds_no_id(own_catalog: Catalog, split_images: pl.DataFrame) -> None:
    text = recipe_text(_stored(own_catalog, cohort_text=COHORT, where="source_split IS DISTINCT FROM 'test'"))
    for column in ("image_id", "study_id", "patient_id"):
        # NIH's patients are small numbers, which counts are too: they are looked for with their dataset's own form of an id.
        ids = [
            one for one in split_images[column].drop_nulls().unique().to_list() if not (one.isdigit() and len(one) < 7)
        ]
        assert len(ids) > 100
        assert not [one for one in ids if one in text]


def test_what_a_recipe_holds(own_catalog: Catalog) -> None:
    recipe = _stored(own_catalog, seed=7, datasets=("nih", "chexpert"), ratios="0.6,0.1,0.3")
    assert recipe["arguments"] == {"seed": 7, "datasets": ["nih", "chexpert"], "ratios": "0.6,0.1,0.3"}
    assert sorted(recipe["datasets"]) == ["chexpert", "nih_cxr14"]
    expected = own_catalog.sql("SELECT sha256 FROM source_files WHERE dataset = 'nih_cxr14' ORDER BY 1")[
        "sha256"
    ].to_list()
    assert recipe["datasets"]["nih_cxr14"] == expected
    assert sorted(recipe["digests"]) == ["test", "train", "valid"]
    assert {name for found in recipe["digests"].values() for name in found["nih_cxr14"]} == {
        "images",
        "patients",
        "sha256",
    }
    assert recipe_text(recipe) == recipe_text(json.loads(recipe_text(recipe)))
    assert not {"counts", "left_out", "catalog_build", "rows_sha256"} & set(recipe)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("image_id != '{image}'", "an image of nih_cxr14"),
        ("image_uid = 'nih_cxr14:{image}'", "an image of nih_cxr14"),
        ("path LIKE '%/images/{image}'", "an image of nih_cxr14"),
        ("image_id LIKE '{stem}%'", "a part of an id that 1 patient alone has in nih_cxr14"),
        ("patient_id IN ('{patient}')", "a patient of mimic_cxr"),
        ("patient_id::BIGINT NOT IN (12, 13)", "patient_id is compared with a number"),
        ("CAST(patient_id AS INT) = 12", "patient_id is compared with a number"),
        ("patient_id = '12'", "patient_id is compared with a number"),
        ("frontal -- but not {patient}", "a patient of mimic_cxr"),
        ("study_id <> '{study}'", "a study of chexpert"),
    ],
)
def test_ids_in_conditions_and_cohorts_are_refused(
    own_catalog: Catalog, split_images: pl.DataFrame, text: str, what: str
) -> None:
    image = split_images.filter(dataset="nih_cxr14")["image_id"][0]
    patient = split_images.filter(dataset="mimic_cxr")["patient_id"][0]
    study = split_images.filter(dataset="chexpert")["study_id"][0]
    condition = text.format(image=image, stem=image[:8], patient=patient, study=study)
    cohort = (
        f"-- One.\n-- step: one\nSELECT dataset, image_id FROM images WHERE dataset <> 'padchest' AND {condition}\n"
    )
    manifest = make_split(own_catalog, SplitRequest(datasets=("mimic_cxr",))).manifest
    frame = make_split(own_catalog, SplitRequest(datasets=("mimic_cxr",))).frame
    for name, arguments, told in (
        ("where", {"seed": 0, "where": condition}, None),
        ("cohort", {"seed": 0, "cohort_text": cohort}, {"name": "mine", "text": cohort, "sha256": ""}),
    ):
        store_split(own_catalog, name, frame, manifest | {"arguments": arguments, "cohort": told})
        with pytest.raises(CxrError) as caught:
            recipe_of(own_catalog, name)
        assert (caught.value.code, caught.value.problem) == (
            "CXR-408",
            f"the recipe would name images or patients: {what}",
        )


@pytest.mark.parametrize(
    "condition",
    [
        "age_years < 18",
        "image_id LIKE '%view1_frontal.jpg'",
        "patient_id IS NOT NULL AND age_years < 18",
        "study_date > DATE '2010-01-01'",
        "source_file LIKE '%train.csv'",
    ],
)
def test_conditions_without_ids_pass(own_catalog: Catalog, condition: str) -> None:
    made = make_split(own_catalog, SplitRequest())
    store_split(own_catalog, "fine", made.frame, made.manifest | {"arguments": {"seed": 0, "where": condition}})
    assert recipe_of(own_catalog, "fine")["arguments"]["where"] == condition


def test_rebuilt_is_identical(own_catalog: Catalog, tmp_path: Path) -> None:
    recipe = _stored(own_catalog, seed=3, cohort_text=COHORT, datasets=("nih", "chexpert"), ratios="0.6,0.1,0.3")
    (tmp_path / "recipe.json").write_text(recipe_text(recipe))
    again = rebuild(own_catalog, read_recipe(tmp_path / "recipe.json"))
    assert (again.identical, again.verdict) == (True, "identical")
    assert again.sources.is_empty()
    assert again.made.frame.equals(own_catalog_frame(own_catalog, "plain"))
    assert rebuild(own_catalog, read_recipe(own_catalog.folder.splits / "plain" / "manifest.json")).identical


def own_catalog_frame(catalog: Catalog, name: str) -> pl.DataFrame:
    return pl.read_parquet(catalog.folder.splits / name / "split.parquet")


def test_further_datasets_here_do_not_matter(own_catalog: Catalog) -> None:
    """A recipe made where there was one dataset, rebuilt where there are six."""
    recipe = _stored(own_catalog, datasets=("nih_cxr14",))
    del recipe["arguments"]["datasets"]
    assert rebuild(own_catalog, recipe).identical


def test_what_differs_is_named(own_catalog: Catalog) -> None:
    """The recipe is of a seed, the arguments are of another: every split differs; of the counts, some may agree."""
    recipe, other = (
        _stored(own_catalog, datasets=("nih", "vindr")),
        _stored(own_catalog, "other", datasets=("nih", "vindr"), seed=1),
    )
    frame, mine = own_catalog_frame(own_catalog, "plain"), own_catalog_frame(own_catalog, "other")
    again = rebuild(own_catalog, {**recipe, "arguments": other["arguments"], "cxrdata": "0.0.1"})
    assert not again.identical
    assert again.verdict.startswith("not identical: nih_cxr14 test: ")
    assert again.verdict.endswith("(made by cxrdata 0.0.1, this is " + recipe["cxrdata"] + ")")
    for row in again.differences.iter_rows(named=True):
        one, two = (
            set(part.filter(dataset=row["dataset"], split=row["split"])["image_id"].to_list()) for part in (frame, mine)
        )
        assert (row["images_expected"], row["images_here"], row["same"]) == (len(one), len(two), one == two)
        assert 0 < row["differ_at_least"] <= len(one ^ two)


def test_the_same_number_of_other_images_is_a_difference(own_catalog: Catalog) -> None:
    recipe = _stored(own_catalog, datasets=("nih",))
    frame = own_catalog_frame(own_catalog, "plain")
    train, test = (frame.filter(split=name)["image_id"][0] for name in ("train", "test"))
    swapped = frame.with_columns(
        split=pl.when(image_id=train).then(pl.lit("test")).when(image_id=test).then(pl.lit("train")).otherwise("split")
    )
    rows = {row["split"]: row for row in compare(recipe, swapped).iter_rows(named=True)}
    assert rows["valid"]["same"]
    for split in ("train", "test"):
        assert rows[split]["images_expected"] == rows[split]["images_here"]
        assert 1 <= rows[split]["differ_at_least"] <= 2
        assert not rows[split]["same"]


def test_folds_draws_and_weights_count(own_catalog: Catalog) -> None:
    made = make_split(own_catalog, SplitRequest(datasets=("nih",)))
    for column, values in (("fold", [0, 1]), ("n_draws", [2, 3]), ("weight", [0.5, 0.25])):
        one, other = (made.frame.with_columns(pl.lit(value).alias(column)) for value in values)
        store_split(own_catalog, f"with-{column}", one, made.manifest)
        recipe = recipe_of(own_catalog, f"with-{column}")
        assert compare(recipe, one)["same"].all()
        assert not compare(recipe, other)["same"].any()


def test_other_source_files_are_named(own_catalog: Catalog) -> None:
    recipe = _stored(own_catalog, datasets=("nih", "vindr"))
    kept = recipe["datasets"]["nih_cxr14"]
    recipe["datasets"]["nih_cxr14"] = ["0" * 64, *kept[1:]]
    again = rebuild(own_catalog, recipe)
    assert again.identical  # another file, the same images
    row = again.sources.row(0, named=True)
    assert (
        again.sources.height,
        row["dataset"],
        row["files_expected"],
        row["missing_here"],
        len(row["further_here"]),
    ) == (1, "nih_cxr14", len(kept), ["0" * 64], 1)


def test_a_dataset_that_is_not_here(own_catalog: Catalog) -> None:
    recipe = _stored(own_catalog, datasets=("nih",))
    for found in recipe["digests"].values():
        found["elsewhere"] = {"images": 5, "patients": 5, "sha256": "0" * 64}
    recipe["datasets"]["elsewhere"] = ["0" * 64]
    recipe["arguments"]["datasets"] = ["nih", "elsewhere"]
    again = rebuild(own_catalog, recipe)
    wrong = again.differences.filter(~pl.col("same"))
    assert wrong.select("dataset", "images_expected", "images_here", "differ_at_least").unique().rows() == [
        ("elsewhere", 5, 0, 5)
    ]
    assert "elsewhere: other source files than the recipe's" in again.verdict
    with pytest.raises(CxrError, match="has none of the recipe's datasets") as caught:
        rebuild(own_catalog, {**recipe, "datasets": {"elsewhere": []}})
    assert caught.value.code == "CXR-501"


def test_the_cohort_is_taken_as_its_text_was(own_catalog: Catalog) -> None:
    """A cohort that ships may change from version to version; the recipe's text counts."""
    recipe = _stored(own_catalog, cohort_text=COHORT)
    recipe["arguments"] = {"seed": 0, "cohort": "a_cohort_that_no_longer_ships"}
    assert rebuild(own_catalog, recipe).identical


def test_bad_recipes(own_catalog: Catalog, tmp_path: Path) -> None:
    recipe = _stored(own_catalog)
    path = tmp_path / "r.json"
    for text, code, problem in (
        ("{", "CXR-103", "this is no JSON, so no recipe"),
        ("[1]", "CXR-103", "this is no recipe: it has no 'split_name'"),
        (
            json.dumps({key: value for key, value in recipe.items() if key != "digests"}),
            "CXR-103",
            "this is no recipe: it has no 'digests'",
        ),
        (json.dumps({**recipe, "format": 2}), "CXR-502", "the recipe has format 2, this version reads 1"),
    ):
        path.write_text(text)
        with pytest.raises(CxrError) as caught:
            read_recipe(path)
        assert (caught.value.code, caught.value.problem, caught.value.where) == (code, problem, "r.json")
    with pytest.raises(CxrError, match="CXR-101"):
        read_recipe(tmp_path / "none.json")
    with pytest.raises(CxrError, match="an argument 'spleen' that this version of cxrdata does not know"):
        rebuild(own_catalog, {**recipe, "arguments": {"seed": 0, "spleen": 1}})
    with pytest.raises(CxrError, match=r"was read from the file preds\.csv .* which is part of its recipe"):
        rebuild(own_catalog, {**recipe, "arguments": {"from_file": "preds.csv"}})
    with pytest.raises(CxrError, match="CXR-501"):
        recipe_of(own_catalog, "none")
