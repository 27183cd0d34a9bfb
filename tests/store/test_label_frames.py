from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.store.catalog import Catalog

POLICY_TABLE = {
    # state: raw, zeros, ones, ignore
    "positive": (1, 1, 1, 1),
    "negative": (0, 0, 0, 0),
    "uncertain": (-1, 0, 1, None),
    "unmentioned": (None, 0, 0, None),
}


def long(catalog: Catalog, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame turned long, beside the state that `labels` has; null where the labeler did not assess."""
    findings = frame.columns[3:]
    turned = frame.unpivot(
        findings, index=["dataset", "image_id", "labeler"], variable_name="finding", value_name="code"
    )
    states = catalog.sql("SELECT dataset, image_id, labeler, finding, state FROM labels WHERE finding IS NOT NULL")
    return turned.join(states, on=["dataset", "image_id", "labeler", "finding"], how="left")


@pytest.mark.parametrize(("place", "policy"), list(enumerate(["raw", "zeros", "ones", "ignore"])))
def test_every_state_under_every_policy(synthetic_catalog: Catalog, place: int, policy: str) -> None:
    turned = long(synthetic_catalog, synthetic_catalog.labels(policy=policy))
    assert set(turned["state"].unique()) == {*POLICY_TABLE, None}
    for (state,), rows in turned.group_by("state"):
        expected = POLICY_TABLE[str(state)][place] if state else None  # not assessed stays null under every policy
        assert rows["code"].unique().to_list() == [expected], state


@pytest.mark.parametrize(("rollup", "table"), [(False, "image_labels"), (True, "image_labels_rolled")])
def test_raw_is_the_stored_table(synthetic_catalog: Catalog, rollup: bool, table: str) -> None:  # noqa: FBT001 - a case
    frame = synthetic_catalog.labels(rollup=rollup)
    stored = synthetic_catalog.table(table).select(frame.columns).collect()
    assert frame.equals(stored)


def test_one_labeler_has_the_images_that_it_assessed(synthetic_catalog: Catalog) -> None:
    frame = synthetic_catalog.labels(dataset="mimic", labeler="negbio", findings=["edema", "cardiomegaly"])
    assert frame.columns == ["dataset", "image_id", "labeler", "edema", "cardiomegaly"]
    assessed = synthetic_catalog.sql(
        "SELECT image_id FROM assessments WHERE dataset = 'mimic_cxr' AND labeler = 'negbio'"
    )
    assert set(frame["image_id"]) == set(assessed["image_id"])
    turned = long(synthetic_catalog, frame).drop_nulls("state")
    coded = turned["state"].replace_strict(
        {"positive": 1, "negative": 0, "uncertain": -1, "unmentioned": None}, return_dtype=pl.Int8
    )
    assert turned["code"].equals(coded.alias("code"), null_equal=True)


def test_one_labeler_over_several_datasets(synthetic_catalog: Catalog) -> None:
    frame = synthetic_catalog.labels(labeler="chexpert", findings=["edema"])
    assert frame["dataset"].unique(maintain_order=True).to_list() == ["chexpert", "mimic_cxr"]


def test_rolled_up_labeler_agrees_with_the_stored_roll_up(synthetic_catalog: Catalog) -> None:
    frame = synthetic_catalog.labels(dataset="nih_cxr14", labeler="text_mining", rollup=True)
    stored = (
        synthetic_catalog.table("image_labels_rolled")
        .filter(pl.col("labeler") == "text_mining")
        .select(frame.columns)
        .collect()
    )
    assert frame.equals(stored)


def test_rolled_up_positives_go_up_the_tree_under_a_policy(synthetic_catalog: Catalog) -> None:
    flat = synthetic_catalog.labels(dataset="chexpert", policy="zeros", findings=["edema", "lung_opacity"])
    rolled = synthetic_catalog.labels(
        dataset="chexpert", policy="zeros", findings=["edema", "lung_opacity"], rollup=True
    )
    assert flat.filter(pl.col("edema") == 1)["lung_opacity"].min() == 0
    assert rolled.filter(pl.col("edema") == 1)["lung_opacity"].min() == 1


def test_policies_by_finding_are_those_of_the_chexpert_paper(synthetic_catalog: Catalog) -> None:
    """U-Ones for atelectasis and edema, U-Zeros for cardiomegaly and consolidation (Irvin et al. 2019)."""
    wish = {"atelectasis": "ones", "edema": "ones", "cardiomegaly": "zeros", "consolidation": "zeros"}
    raw = synthetic_catalog.labels(dataset="chexpert", labeler="chexpert")
    frame = synthetic_catalog.labels(dataset="chexpert", labeler="chexpert", policy=wish)
    for finding, policy in wish.items():
        assert (raw[finding] == -1).any()
        expected = raw[finding].replace({-1: 1 if policy == "ones" else 0}).fill_null(0)
        assert frame[finding].equals(expected), finding
    untold = [column for column in frame.columns if column not in wish]
    assert frame.select(untold).equals(raw.select(untold))


def test_ignore_is_what_torchxrayvision_trains_on(synthetic_catalog: Catalog) -> None:
    """torchxrayvision 1.x: in CheXpert, -1 and blank are both missing, and the rest is as published."""
    raw = synthetic_catalog.labels(dataset="chexpert", labeler="chexpert", findings=["edema", "pneumonia"])
    frame = synthetic_catalog.labels(
        dataset="chexpert", labeler="chexpert", findings=["edema", "pneumonia"], policy="ignore"
    )
    for finding in ("edema", "pneumonia"):
        assert frame[finding].equals(raw[finding].replace({-1: None}))


@pytest.mark.parametrize("readers", ["any", "all"])
def test_readers_are_joined_anew(synthetic_catalog: Catalog, readers: str) -> None:
    frame = synthetic_catalog.labels(dataset="vindr", findings=["cardiomegaly"], readers=readers)
    votes: dict[str, list[str]] = {}
    for image, state in synthetic_catalog.sql(
        "SELECT image_id, state FROM readings WHERE dataset = 'vindr_cxr' AND finding = 'cardiomegaly'"
    ).iter_rows():
        votes.setdefault(image, []).append(state)
    assert any(len(set(states)) > 1 for states in votes.values())
    join = any if readers == "any" else all
    judged = frame.filter(pl.col("labeler") == f"reader_{readers}")
    assert set(judged["image_id"]) == set(votes)
    for image, code in judged.select("image_id", "cardiomegaly").iter_rows():
        assert code == int(join(state == "positive" for state in votes[image]))
    plain = synthetic_catalog.labels(dataset="vindr", findings=["cardiomegaly"])
    assert frame["image_id"].equals(plain["image_id"])
    consensus = pl.col("labeler") == "consensus"
    assert frame.filter(consensus).equals(plain.filter(consensus))


@pytest.mark.parametrize(
    ("wish", "hint"),
    [
        ({"dataset": "nih_cxr1"}, "nih_cxr14"),
        ({"labeler": "chexpret"}, "chexpert"),
        ({"dataset": "padchest", "labeler": "negbio"}, "negbio"),
        ({"findings": ["cardiomegally"]}, "cardiomegaly"),
        ({"policy": "one"}, "ones"),
        ({"policy": {"edem": "ones"}}, "edema"),
        ({"policy": {"edema": "zero"}}, "zeros"),
        ({"readers": "some"}, "majority"),
    ],
)
def test_unknown_names(synthetic_catalog: Catalog, wish: dict[str, Any], hint: str) -> None:
    with pytest.raises(CxrError) as caught:
        synthetic_catalog.labels(**wish)
    assert caught.value.code == "CXR-501"
    assert hint in caught.value.block()


def test_hernia_of_the_tiny_catalog(tiny_catalog: Catalog) -> None:
    frame = tiny_catalog.labels(findings=["hernia", "fracture"], policy="zeros")
    assert (
        frame["hernia"].sum()
        == tiny_catalog.sql("SELECT count(*) FROM labels WHERE native_label = 'Hernia' AND state = 'positive'").item()
    )
    assert frame["fracture"].null_count() == frame.height  # NIH's labelers do not assess it


def test_a_finding_that_a_dataset_has_no_label_of(synthetic_catalog: Catalog) -> None:
    """Cardiomegaly is no image label of VinDr-PCXR: its images stay, with null."""
    labels = synthetic_catalog.labels(dataset="vindr_pcxr", findings=["cardiomegaly"])
    assert labels.height == synthetic_catalog.table("images").filter(dataset="vindr_pcxr").collect().height
    assert labels["cardiomegaly"].null_count() == labels.height
