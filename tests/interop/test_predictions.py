"""Layouts of predictions: which columns are scores, of what, and what they are as probabilities."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.interop.label_orders import CHEXPERT_LABELS
from cxrdata.interop.predictions import LOGIT, PROBABILITY, Column, find_scores, scores_of


def _find(said: str) -> str | None:
    return said.lower() if said.lower() in {"cardiomegaly", "edema", "white", "black"} else None


def _place(row: int, column: str | None) -> str:
    return f"preds.csv:{row + 2} {column}"


def _scores(frame: pl.DataFrame) -> tuple[str, dict[str, tuple[list[float], str]]]:
    """Layout, and by label the scores and their kind."""
    found = find_scores(frame, _find, _place)
    return found.layout, {
        column.said: (scores[0].to_list(), scores[1])
        for column in found.columns
        for scores in [scores_of(column, _place, [])]
    }


def test_prefixed_probabilities_win_over_logits_of_the_same_label() -> None:
    frame = pl.DataFrame(
        {"image": ["a"], "prob_Edema": ["0.25"], "logit_Edema": ["3"], "LOGIT_Cardiomegaly": ["0"], "age": ["60"]}
    )
    layout, scores = _scores(frame)
    assert layout == "prob_<label>"
    assert scores == {"Edema": ([0.25], PROBABILITY), "Cardiomegaly": ([0.5], LOGIT)}


def test_named_columns_and_nothing_else() -> None:
    frame = pl.DataFrame({"image": ["a", "b"], "White": [0.7, 0.2], "Black": [0.3, 0.8], "fold": [1, 2]})
    layout, scores = _scores(frame)
    assert layout == "<label>"
    assert scores == {"White": ([0.7, 0.2], PROBABILITY), "Black": ([0.3, 0.8], PROBABILITY)}


def test_chexploration_names_its_outputs_by_their_number() -> None:
    columns = {
        f"{kind}_{at}": [0.5, 0.25] if kind == "class" else [1.0, 0.0]
        for kind in ("class", "logit", "target")
        for at in range(14)
    }
    found = find_scores(pl.DataFrame(columns), _find, _place)
    assert found.layout == "chexploration"
    assert [column.said for column in found.columns] == list(CHEXPERT_LABELS)
    assert found.columns[3].target is not None
    assert found.columns[3].target.to_list() == [1.0, 0.0]


def test_chexploration_race_has_one_target() -> None:
    frame = pl.DataFrame(
        {"": [0, 1], "class_0": [0.2, 0.5], "class_1": [0.1, 0.2], "class_2": [0.7, 0.3], "target": [2, 0]}
    )
    found = find_scores(frame, _find, _place)
    assert [column.said for column in found.columns] == ["White", "Asian", "Black"]
    assert [column.target.to_list() for column in found.columns if column.target is not None] == [
        [0.0, 1.0], [0.0, 0.0], [1.0, 0.0],
    ]  # fmt: skip


def test_chexploration_with_an_unknown_number_of_outputs() -> None:
    frame = pl.DataFrame({f"class_{at}": [0.5] for at in range(5)})
    with pytest.raises(CxrError, match="5 outputs are none of its heads") as caught:
        find_scores(frame, _find, _place)
    assert caught.value.code == "CXR-120"


@pytest.mark.parametrize("cell", [[0.75, 0.25], {"0": 0.75, "1": 0.25}])
def test_class_probs_as_list_or_object(cell: object) -> None:
    frame = pl.DataFrame({"image": ["a"], "class_probs": [json.dumps(cell)]})
    layout, scores = _scores(frame)
    assert layout == "class_probs"
    assert scores == {"0": ([0.75], PROBABILITY), "1": ([0.25], PROBABILITY)}


def test_class_probs_of_other_classes() -> None:
    frame = pl.DataFrame({"class_probs": ['{"a": 0.5, "b": 0.5}', '{"a": 1.0, "c": 0.0}']})
    with pytest.raises(CxrError, match="other classes than the first") as caught:
        find_scores(frame, _find, _place)
    assert caught.value.where == "preds.csv:3 class_probs"


def test_scores_below_zero_are_logits_and_said_to_be() -> None:
    notes: list[str] = []
    column = Column("edema", "edema", pl.Series([-2.0, 0.0, 900.0, -900.0]), None)
    scores, kind = scores_of(column, _place, notes)
    assert kind == LOGIT
    np.testing.assert_allclose(scores.to_numpy(), [1 / (1 + np.exp(2.0)), 0.5, 1.0, 0.0], atol=1e-300)
    assert notes == ["edema: scores below 0 are read as logits"]


def test_logits_that_tie_as_probabilities_are_counted() -> None:
    notes: list[str] = []
    scores_of(Column("edema", "logit_edema", pl.Series([50.0, 60.0, 1.0]), LOGIT), _place, notes)
    assert notes == ["logit_edema: 1 distinct logits are one probability in double precision, so they tie"]


def test_decisions_are_told_from_scores() -> None:
    notes: list[str] = []
    scores_of(Column("edema", "edema", pl.Series(["1", "0", "0"]), None), _place, notes)
    assert notes == ["edema holds nothing but 0 and 1: decisions, or the truth itself, are no scores"]


def test_single_precision_past_one_is_rounding() -> None:
    column = Column("edema", "prob_edema", pl.Series([1.0000001, -1e-8]), PROBABILITY)
    assert scores_of(column, _place, [])[0].to_list() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("values", "kind", "code"),
    [
        ([0.1, float("nan")], PROBABILITY, "CXR-121"),
        ([0.1, float("inf")], LOGIT, "CXR-121"),
        ([0.1, None], PROBABILITY, "CXR-121"),
        (["0.1", "n/a"], PROBABILITY, "CXR-121"),
        ([0.1, 1.5], PROBABILITY, "CXR-122"),
        ([0.1, -0.5], PROBABILITY, "CXR-122"),
        ([50.0, 12.0], None, "CXR-122"),
    ],
)
def test_refused_scores(values: list[object], kind: str | None, code: str) -> None:
    with pytest.raises(CxrError) as caught:
        scores_of(Column("edema", "edema", pl.Series(values), kind), _place, [])
    assert caught.value.code == code
    assert caught.value.where in {"preds.csv:2 edema", "preds.csv:3 edema"}
