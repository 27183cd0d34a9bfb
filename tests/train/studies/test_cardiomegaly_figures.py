"""What the figures say on top of each age, and which ages stand on the axis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from study_predictions import healthy_rows, write, write_model

from cxrtrain.studies.case_study.analyse import analyse
from cxrtrain.studies.case_study.figures import case_study_figures
from cxrtrain.studies.case_study.fpr import Wish
from cxrtrain.studies.case_study.predictions import read_cases


def drawn(folder: Path, name: str) -> dict[str, Any]:
    figures = case_study_figures(analyse(read_cases(folder), Wish(bootstrap=0, min_cell=1)))
    made: dict[str, Any] = json.loads(next(one for one in figures if one.name == name).chart.to_json())
    return made


def counts(chart: dict[str, Any]) -> list[dict[str, int]]:
    """Of each line of numbers, from the lowest: age and images."""
    lines = [one for one in chart["layer"] if one["mark"]["type"] == "text"]
    assert len({one["mark"]["color"] for one in lines}) == len(lines)
    heights = [one["encoding"]["y"]["value"] for one in lines]
    assert heights == sorted(set(heights), reverse=True)
    return [{row["ages"]: row["n"] for row in chart["datasets"][one["data"]["name"]]} for one in lines]


def test_films_of_two_views_have_their_own_counts(tmp_path: Path) -> None:
    write_model(tmp_path, "nih_cxr14")
    pa = healthy_rows("nih_cxr14", "test_healthy_adult", {"30": (40, 4), "50": (30, 1)})
    ap = healthy_rows("nih_cxr14", "test_healthy_adult", {"31": (11, 9)}, view="AP")
    write(tmp_path, "nih_cxr14", [*pa, *ap])
    assert counts(drawn(tmp_path, "views_nih")) == [{"25-39": 11}, {"25-39": 40, "40-59": 30}]


def test_the_same_counts_are_told_once_and_absent_years_keep_their_place(predicted: Path) -> None:
    chart = drawn(predicted, "children_vindr_pcxr")
    assert counts(chart) == [{"0": 20, "1": 30, "2": 25, "3": 25, "9": 12, "10": 12}]
    axes = [one["encoding"]["x"]["scale"]["domain"] for one in chart["layer"]]
    assert axes == [[str(year) for year in range(11)]] * 3
