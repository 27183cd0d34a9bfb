"""Requests: what goes together, and what a manifest holds of them."""

from __future__ import annotations

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
        ({"datasets": ("nih_cxr14",)}, "nih-cxr14"),
        ({}, "all"),
    ],
)
def test_default_names(wishes: dict[str, Any], name: str) -> None:
    assert SplitRequest(**wishes).default_name() == name
