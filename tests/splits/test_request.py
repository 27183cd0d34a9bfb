"""Requests: what goes together, and what a manifest holds of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrdata.errors import CxrError
from cxrdata.splits.request import KEEPS, SplitRequest


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [
        ({"ratios": "0.6,0.1,0.2"}, "sum to 0.9, not to 1"),
        ({"ratios": "0.6,-0.1,0.5"}, "each ratio must be above 0"),
        ({"ratios": "a,b"}, "not numbers"),
        ({"ratios": "1"}, "1 ratios were given"),
        ({"ratios": "nan,1"}, "each ratio must be above 0"),
        ({"balance": ("race",), "official": True}, "--balance and --official are different designs"),
        ({"balance": ("race",), "exact": True}, "--exact and --stratify do not go with --balance"),
        ({"groups": ("White",)}, "nothing is balanced"),
        ({"match": ("sex",)}, "belong to --pediatric-vs-adult"),
        ({"balance": ("race",), "folds": 5}, "--folds does not go with --balance"),
        ({"mode": "weight"}, "did you mean weights"),
        ({"keep": "last"}, "there is no keep 'last'"),
        ({"cohort": "chexnet_nih", "cohort_text": "-- step: a"}, "by name and by text"),
        ({"balance": ("race",), "subgroup": ("sex=F",)}, "--subgroup leaves images out"),
        ({"keep": "first"}, "add --max-images-per-patient K"),
        ({"unit": "patient"}, "--unit says what quotas count"),
        ({"pediatric_vs_adult": True, "ratios": "0.5,0.5"}, "75 : 25"),
        ({"pediatric_vs_adult": True, "max_images_per_patient": 1}, "one image a patient"),
        ({"spurious": "edema"}, "say together what is to go with what"),
        ({"attribute": "sex"}, "say together what is to go with what"),
        (
            {"spurious": "edema", "attribute": "sex", "balance": ("race",)},
            "--balance and --spurious are different designs",
        ),
        ({"spurious": "edema", "attribute": "sex", "exact": True}, "--exact and --stratify do not go with --spurious"),
        ({"spurious": "edema", "attribute": "sex", "folds": 3}, "--folds does not go with --spurious"),
        ({"spurious": "edema", "attribute": "sex", "correlation": 1.1}, "got 1.1"),
        ({"spurious": "edema", "attribute": "sex", "correlation": float("nan")}, "got nan"),
        ({"spurious": "edema", "attribute": "sex", "per_cell": 0}, "a test of 0 images a cell is none"),
        ({"spurious": "edema", "attribute": "sex", "train_images": 101}, "the number must be even"),
        ({"spurious": "edema", "attribute": "sex", "valid": "test"}, "there is no valid 'test'"),
        ({"spurious": "edema", "attribute": "sex", "ratios": "0.5,0.5"}, "an eighth of the other patients validates"),
        ({"spurious": "edema", "attribute": "sex", "subgroup": ("sex=F",)}, "nothing of one value"),
        ({"correlation": 0.8}, "--correlation belongs to --spurious"),
        ({"train_images": 100}, "--train-images belongs to --spurious"),
        ({"policy": "zero"}, "there is no policy 'zero'; did you mean zeros"),
    ],
)
def test_what_does_not_go_together(wishes: dict[str, Any], problem: str) -> None:
    with pytest.raises(CxrError, match=problem) as caught:
        SplitRequest(**wishes)
    assert caught.value.code == "CXR-502"
    assert caught.value.fix


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "where": st.text(), "datasets": st.lists(st.text(min_size=1), max_size=3).map(tuple), "seed": st.integers(), "exact": st.booleans(),
            "folds": st.integers(2, 9), "keep": st.sampled_from(KEEPS), "max_images_per_patient": st.integers(1, 9),
        },
    )
)  # fmt: skip
def test_arguments_give_the_request_back(wishes: dict[str, Any]) -> None:
    if "keep" in wishes:  # else it would have no effect, and be refused
        wishes.setdefault("max_images_per_patient", 1)
    request = SplitRequest(**wishes)
    assert SplitRequest.from_arguments(request.arguments()) == request
    assert "seed" in request.arguments()


@pytest.mark.parametrize(
    ("finding", "policy", "word"),
    [
        ("edema", None, "ones"), ("atelectasis", None, "ones"), ("pleural_effusion", None, "zeros"), ("lung_lesion", None, "zeros"),
        ("edema", "ignore", "ignore"), ("edema", "dne", "ones"), ("pneumonia", "FILE", "ones"), ("edema", "FILE", "ignore"),
    ],
)  # fmt: skip
def test_a_spurious_correlation_reads_labels_as_published_unless_told(
    finding: str, policy: str | None, word: str, tmp_path: Path
) -> None:
    """What the manifest holds is the word, whatever the file says one day."""
    own = tmp_path / "policy.toml"
    own.write_text('pneumonia = "ones"\n')
    request = SplitRequest(spurious=finding, attribute="sex", policy=str(own) if policy == "FILE" else policy)
    assert request.arguments()["policy"] == request.label_policy == word
    own.unlink()
    assert SplitRequest.from_arguments(request.arguments()) == request


def test_a_policy_that_there_is_not() -> None:
    with pytest.raises(CxrError, match="no policy and no file 'dnee'; did you mean dne") as error:
        SplitRequest(spurious="edema", attribute="sex", policy="dnee")
    assert error.value.code == "CXR-513"


def test_defaults_are_not_told() -> None:
    assert SplitRequest().arguments() == {"seed": 0}


def test_an_argument_of_a_later_version() -> None:
    with pytest.raises(CxrError, match="'exakt' that this version of cxrdata does not know; did you mean exact"):
        SplitRequest.from_arguments({"seed": 0, "exakt": True})


@pytest.mark.parametrize(
    ("wishes", "name"),
    [
        ({"balance": ("race",)}, "race-balanced"),
        ({"balance": ("race", "age_group:decades")}, "race-age-group-decades-balanced"),
        ({"pediatric_vs_adult": True}, "pediatric-vs-adult"),
        ({"cohort": "chexnet_nih"}, "chexnet-nih"),
        ({"official": True}, "official"),
        ({"spurious": "pleural_effusion", "attribute": "age_years>60"}, "pleural-effusion-with-age-years-60"),
        ({"datasets": ("nih_cxr14",)}, "nih-cxr14"),
        ({}, "all"),
    ],
)
def test_default_names(wishes: dict[str, Any], name: str) -> None:
    assert SplitRequest(**wishes).default_name() == name
