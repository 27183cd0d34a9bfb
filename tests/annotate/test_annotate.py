"""Annotating frames: the key, the added columns, and what is found."""

from __future__ import annotations

import json
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import cxrdata
from cxrdata.annotate import annotate_frame
from cxrdata.errors import CxrError
from cxrdata.store.catalog import Catalog


def test_rows_keep_order_and_number_and_own_columns(catalog: Catalog, nih: pl.DataFrame) -> None:
    ids = nih["image_id"].head(20).reverse().to_list()
    frame = pl.DataFrame({"score": range(23), "image_id": [*ids, ids[0], "?", None], "sex": ["x"] * 23})
    annotation = annotate_frame(catalog, frame)
    assert annotation.frame.select(frame.columns).equals(frame)
    assert annotation.frame.columns[3:12] == [
        "dataset", "image_id_cxrdata", "patient_id", "age_years", "age_group", "sex_cxrdata", "race", "ethnicity", "view",
    ]  # fmt: skip
    assert annotation["image_id_cxrdata"].to_list() == [*ids, ids[0], None, None]
    expected = dict(nih.select("image_id", "age_years").iter_rows())
    assert annotation["age_years"].to_list() == [*(expected[i] for i in [*ids, ids[0]]), None, None]


def test_labels_are_those_that_the_dataset_assesses(catalog: Catalog, nih: pl.DataFrame) -> None:
    frame = nih.select("image_id")
    annotation = annotate_frame(catalog, frame, add="labels")
    assert set(annotation.summary["added"]) == {
        "no_finding", "cardiomegaly", "edema", "consolidation", "pneumonia", "atelectasis", "pneumothorax", "pleural_effusion",
        "infiltration", "mass", "nodule", "emphysema", "fibrosis", "pleural_thickening", "hernia",
    }  # fmt: skip
    assert annotation["hernia"].equals(nih["hernia"])


def test_annotating_twice_keeps_both(catalog: Catalog, nih: pl.DataFrame) -> None:
    once = annotate_frame(catalog, nih.select("image_id"), add=["sex"]).frame
    thrice = annotate_frame(catalog, annotate_frame(catalog, once, add=["sex"]).frame, add=["sex"])
    assert thrice.frame.columns == ["image_id", "sex", "sex_cxrdata", "sex_cxrdata_2"]


def test_names_that_differ_by_case_are_told_apart(catalog: Catalog, nih: pl.DataFrame) -> None:
    """SQL and spreadsheets take `Hernia` and `hernia` for one column."""
    frame = nih.select("image_id", Hernia=pl.lit(1), SEX=pl.lit("F"), sex_CXRDATA=pl.lit("M"))
    annotation = annotate_frame(catalog, frame, add="hernia,sex,race")
    assert annotation.frame.columns == [*frame.columns, "hernia_cxrdata", "sex_cxrdata_2", "race"]
    assert annotation.summary["added"] == ["hernia_cxrdata", "sex_cxrdata_2", "race"]
    assert annotation["hernia_cxrdata"].to_list() == nih["hernia"].to_list()


def test_age_groups_of_a_scheme(catalog: Catalog, images: pl.DataFrame) -> None:
    given = annotate_frame(
        catalog, images.select("image_uid"), add="age_group:case_study,age_low_years,age_high_years"
    ).frame
    groups = catalog.table("age_groups").filter(pl.col("scheme") == "case_study").collect()
    bounds = {
        name: (low, high) for name, low, high in groups.select("age_group", "low_years", "high_years").iter_rows()
    }

    def group(low: float | None, high: float | None) -> str | None:
        within = [
            name
            for name, (a, b) in bounds.items()
            if low is not None and low >= a and (b is None or (high is not None and high <= b))
        ]
        return within[0] if within else None

    expected = [group(low, high) for low, high in given.select("age_low_years", "age_high_years").iter_rows()]
    assert given["age_group_case_study"].to_list() == expected
    assert {None, "0", "40-59", "80+"} <= set(expected)


@pytest.mark.parametrize(
    ("add", "hint"), [("agee_years", "age_years"), ("age_group:decade", "decades"), ("hernias", "hernia")]
)
def test_unknown_addition(catalog: Catalog, nih: pl.DataFrame, add: str, hint: str) -> None:
    with pytest.raises(CxrError, match=hint) as caught:
        annotate_frame(catalog, nih.select("image_id"), add=add)
    assert caught.value.code == "CXR-501"


def test_pandas_and_arrow(catalog: Catalog, nih: pl.DataFrame) -> None:
    frame = nih.select("image_id", score=pl.lit(0.5)).head(5)
    expected = annotate_frame(catalog, frame).frame
    assert annotate_frame(catalog, frame.to_arrow()).frame.equals(expected)
    assert isinstance(frame.to_arrow(), pa.Table)
    assert annotate_frame(catalog, frame.lazy()).frame.equals(expected)
    pandas = frame.to_pandas()
    assert annotate_frame(catalog, pandas).frame.equals(expected)
    assert annotate_frame(catalog, pandas.set_index("image_id")).frame.equals(expected)
    with pytest.raises(CxrError, match="CXR-502"):
        annotate_frame(catalog, [1, 2])


def test_key_is_found_by_content(catalog: Catalog, images: pl.DataFrame) -> None:
    mine = images.filter(pl.col("dataset") == "chexpert")
    frame = mine.select("patient_id", "study_id", name=pl.lit("x/") + pl.col("path"), image="image_id").with_columns(
        image=pl.when(pl.int_range(pl.len()) > 0).then("image")
    )
    key = annotate_frame(catalog, frame).summary["key"]
    assert key["column"] == "name"
    assert key["rivals"] == [{"column": "image", "matched": frame.height - 1, "differing": 1}]
    assert annotate_frame(catalog, frame, key="image").summary["key"]["column"] == "image"


def test_a_rare_key_is_found(catalog: Catalog, nih: pl.DataFrame) -> None:
    values = pl.Series([f"other {i}" for i in range(10_000)] + [nih["image_id"][0]])
    assert annotate_frame(catalog, pl.DataFrame({"a": values})).summary["matched"]["rows"] == 1


def test_no_key(catalog: Catalog) -> None:
    with pytest.raises(CxrError, match="CXR-504") as caught:
        annotate_frame(catalog, pl.DataFrame({"name": ["1_0.png"], "n": [1]}))
    assert "'name'" in caught.value.block()
    with pytest.raises(CxrError, match="keys of mimic_cxr, none of which"):
        annotate_frame(catalog, pl.DataFrame({"dicom_id": ["-".join(["0123abcd"] * 5)]}))
    with pytest.raises(CxrError, match="CXR-501"):
        annotate_frame(catalog, pl.DataFrame({"name": ["1"]}), key="nam")


def test_fixes_name_the_python_parameter_too(catalog: Catalog, tmp_path: Path) -> None:
    """These errors reach notebooks as well as terminals."""
    asked = {
        "key='COLUMN'": lambda: annotate_frame(catalog, pl.DataFrame({"name": ["1_0.png"]})),
        "cxrdata.open(PATH)": lambda: cxrdata.open(tmp_path),
        "{'x': VALUE}": lambda: catalog.sql("SELECT $x"),
        "seconds=": lambda: catalog.sql(
            "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3", seconds=0.2
        ),
        "NAME=frame": lambda: catalog.sql("FROM read_csv('x.csv')"),
    }
    for parameter, ask in asked.items():
        with pytest.raises(CxrError) as caught:
            ask()
        assert parameter in (caught.value.fix or ""), caught.value.block()


def test_dataset_column_tells_vindr_apart(catalog: Catalog, images: pl.DataFrame) -> None:
    mine = images.filter(pl.col("dataset").str.starts_with("vindr"))
    frame = mine.select(
        dataset=pl.col("dataset").replace({"vindr_pcxr": "pcxr", "vindr_cxr": "vindr"}),
        image_id=pl.col("image_id") + ".dicom",
    )
    assert annotate_frame(catalog, frame)["dataset_cxrdata"].equals(mine["dataset"].alias("dataset_cxrdata"))
    wrong = frame.with_columns(dataset=pl.lit("nih"))
    with pytest.raises(CxrError, match="CXR-504"):
        annotate_frame(catalog, wrong)


def test_unmatched_and_repeats(catalog: Catalog, nih: pl.DataFrame) -> None:
    first, second = nih["image_id"].head(2)
    summary = annotate_frame(
        catalog, pl.DataFrame({"k": [first, "99999999_000.png", second, first, "?", "", first]})
    ).summary
    assert summary["matched"] == {
        "rows": 4, "images": 2, "patients": nih.head(2)["patient_id"].n_unique(),
        "by_dataset": [{"dataset": "nih_cxr14", "rows": 4, "images": 2, "patients": nih.head(2)["patient_id"].n_unique()}],
    }  # fmt: skip
    assert {(group["reason"], group["form"], group["examples"][0]["row"]) for group in summary["unmatched"]["by_reason"]} == {
        ("not in the catalog", "nih_cxr14", 2), ("form not known", None, 5), ("empty", None, 6),
    }  # fmt: skip
    assert summary["shared_images"] == {
        "images": 1,
        "rows": 3,
        "examples": [{"image": f"nih_cxr14:{first}", "rows": [1, 4, 7]}],
    }


def test_planted_leak(catalog: Catalog, nih: pl.DataFrame) -> None:
    patients = nih["patient_id"].unique().sort()
    is_test = pl.col("patient_id").is_in(patients.gather_every(3).to_list())
    frame = nih.select("image_id", "patient_id", Split=pl.when(is_test).then(pl.lit("test")).otherwise(pl.lit("train")))
    clean = annotate_frame(catalog, frame.drop("patient_id"))
    assert (clean.summary["split"]["column"], clean.leaks.height) == ("Split", 0)
    planted = frame.filter(pl.len().over("patient_id") > 1)["patient_id"][0]
    one = pl.int_range(pl.len()).over("patient_id") == 0
    flipped = (
        pl.when((pl.col("patient_id") == planted) & one)
        .then(pl.col("Split").replace({"train": "test", "test": "train"}))
        .otherwise("Split")
    )
    leaky = annotate_frame(catalog, frame.with_columns(Split=flipped))
    assert leaky.leaks["patient_id"].to_list() == [planted]
    assert leaky.summary["split"]["pairs"][0]["examples"] == [f"nih_cxr14:{planted}"]
    assert "1 patient in more than one split" in str(leaky)


def test_which_column_is_the_split(catalog: Catalog, nih: pl.DataFrame) -> None:
    frame = nih.select(
        "image_id",
        fold=pl.int_range(pl.len()) % 5,
        my_split=pl.lit("a"),
        subset=pl.int_range(pl.len()).cast(pl.String),
    )
    split = annotate_frame(catalog, frame).summary["split"]
    assert (split["column"], split["other_columns"]) == ("fold", [])
    assert annotate_frame(catalog, frame, split="my_split").summary["split"]["patients_leaking"] == 0
    with pytest.raises(CxrError, match="CXR-501"):
        annotate_frame(catalog, frame, split="splitt")


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("is_train", [1, 0], "train"),
        ("is_test", [True, False], "test"),
        ("in_train", ["1.0", "0.0"], "train"),
        ("isVal", ["yes", "no"], "val"),
        ("is_valid", ["True", "False"], "valid"),
        ("train", [1, 0], "train"),
    ],
)
def test_a_flag_is_a_split_in_two(
    catalog: Catalog, nih: pl.DataFrame, name: str, values: list[object], told: str
) -> None:
    """Every patient with two images or more stands on both sides."""
    first = pl.int_range(pl.len()).over("patient_id") == 0
    frame = nih.select("image_id", pl.when(first).then(pl.lit(values[0])).otherwise(pl.lit(values[1])).alias(name))
    expected = int((nih.group_by("patient_id").len()["len"] > 1).sum())
    for column in (None, name):
        annotation = annotate_frame(catalog, frame, split=column)
        split = annotation.summary["split"]
        assert (split["column"], split["patients_leaking"]) == (name, expected)
        assert [value["value"] for value in split["values"]] == [f"not {told}", told]
        assert f"not {told} and {told} share" in str(annotation)


@pytest.mark.parametrize("values", [["a", "b"], [0, 2], ["0.5", "0.7"]])
@pytest.mark.parametrize("name", ["is_train", "test"])
def test_a_flag_holds_two_truth_values(catalog: Catalog, nih: pl.DataFrame, name: str, values: list[object]) -> None:
    frame = nih.select("image_id", pl.Series(name, values * nih.height, strict=False).head(nih.height))
    assert annotate_frame(catalog, frame).summary["split"]["column"] is None


@pytest.mark.parametrize("name", ["valid", "val", "covid_test", "retrained", "intestine", "device"])
def test_other_flags_are_no_splits(catalog: Catalog, nih: pl.DataFrame, name: str) -> None:
    """`valid` may say that a row is sound, and `covid_test` how a test came out: no alarm about leaks for these."""
    frame = nih.select("image_id", (pl.int_range(pl.len()) % 2).alias(name))
    split = annotate_frame(catalog, frame).summary["split"]
    assert (split["column"], split["other_columns"], split["one_valued"]) == (None, [], [])


def test_named_splits_come_before_flags(catalog: Catalog, nih: pl.DataFrame) -> None:
    half = pl.int_range(pl.len()) % 2
    frame = nih.select("image_id", is_test=half, is_train=1 - half, fold=half)
    split = annotate_frame(catalog, frame).summary["split"]
    assert (split["column"], split["other_columns"]) == ("fold", ["is_train", "is_test"])
    assert annotate_frame(catalog, frame.drop("fold")).summary["split"]["column"] == "is_train"


def test_a_split_of_one_value_is_named(catalog: Catalog, nih: pl.DataFrame) -> None:
    frame = nih.select("image_id", Split=pl.lit("train"))
    for column in (None, "Split"):
        annotation = annotate_frame(catalog, frame, split=column)
        assert annotation.summary["split"]["one_valued"] == [{"column": "Split", "value": "train"}]
        page = " ".join(str(annotation).split())
        assert "LEAKS not checked: column 'Split' has one value only ('train'), so no leak can be seen" in page
    beside = annotate_frame(catalog, frame.with_columns(is_test=pl.int_range(pl.len()) % 2))
    assert beside.summary["split"]["column"] == "is_test"
    assert "not checked: column 'Split' has one value only ('train')" in " ".join(str(beside).split())


def test_children(catalog: Catalog, images: pl.DataFrame) -> None:
    known = images["age_low_years"].is_not_null()
    expected = {
        "certain": int((images["age_group"] == "pediatric").sum()),
        "possible": int((known & images["age_group"].is_null()).sum()),
        "age_unknown": int((~known).sum()),
    }
    assert annotate_frame(catalog, images.select("image_uid")).summary["children"] == expected
    assert all(expected.values())


def test_summary_is_json_and_the_page_is_narrow(catalog: Catalog, images: pl.DataFrame) -> None:
    frame = images.select(
        "image_uid",
        "path",
        age=pl.lit("058Y"),
        split=pl.int_range(pl.len()) % 3,
        sex=pl.lit("F"),
        Hernia=pl.lit(1),
    )
    annotation = annotate_frame(catalog, frame)
    assert json.loads(json.dumps(annotation.summary, allow_nan=False)) == annotation.summary
    lines = str(annotation).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 60
    assert annotation._repr_html_().startswith("<pre>FILE")


def test_cost_grows_with_the_number_of_rows(catalog: Catalog, nih: pl.DataFrame) -> None:
    frame = nih.select("image_id", age=pl.col("age_years"), split=pl.lit("train"))
    seconds = []
    for times in (1000, 10_000):
        rows = pl.concat([frame] * times)
        start = time.perf_counter()
        assert annotate_frame(catalog, rows).summary["matched"]["rows"] == rows.height
        seconds.append(time.perf_counter() - start)
    assert seconds[1] < 40 * seconds[0]
