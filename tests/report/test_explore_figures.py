"""Figures of an exploration: all that are asked for, valid, the same numbers in their tables, one colour a group."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cxrdata.explore.contrasts import Contrast, compared
from cxrdata.explore.result import Exploration
from cxrdata.report.explore_figures import explore_figures
from cxrdata.report.figure import Figure, save_figures, specification
from cxrdata.report.theme import CATEGORIES, PALETTE, colour, resolved

VIEWS = tuple(f"v{at:02}" for at in range(len(CATEGORIES) + 3))
VALUES = {"sex": ("F", "M"), "view": VIEWS}
MARGINALS = ("pca_1", "pca_2", "logit_no_finding")


def _exploration(*, resampled: bool, min_cell: int = 1) -> Exploration:
    rng = np.random.default_rng(0)
    n = 120
    at = np.arange(n)
    sample = pl.DataFrame(
        {
            "dataset": ["d"] * n,
            "image_id": [f"secret{one % 80}" for one in at],
            "patient": [f"d:{one % 40}" for one in at],
            "resampled": (at >= 60) & resampled,
            # Nobody drawn again is a man, whose colour must stay his.
            "sex": [None if one % 10 == 0 else "F" if one >= 60 or one % 2 else "M" for one in at],
            "view": [VIEWS[min(one % 16, len(VIEWS) - 1)] for one in at],
        }
        | {name: rng.normal(size=n) for name in (*MARGINALS, "tsne_1", "tsne_2")}
    )
    parts = sample.partition_by("resampled", maintain_order=True)
    contrasts = [Contrast("sex", "F", "M"), Contrast("view", "v00", "v01")]
    tests = pl.concat(
        compared(one, MARGINALS, contrasts, resampled=bool(one["resampled"][0]), min_cell=min_cell) for one in parts
    )
    share = np.array([0.5, 0.3, 0.2])
    explained = pl.DataFrame({"mode": ["pca_1", "pca_2", "pca_3"], "share": share, "cumulative": share.cumsum()})
    return Exploration(sample, explained, tests, MARGINALS, VALUES, min_cell)


@pytest.fixture(scope="module")
def one() -> dict[str, Figure]:
    return {figure.name: figure for figure in explore_figures(_exploration(resampled=False))}


@pytest.fixture(scope="module")
def both() -> dict[str, Figure]:
    return {figure.name: figure for figure in explore_figures(_exploration(resampled=True))}


def _scales(part: Any) -> list[Any]:
    """Every colour scale of a specification."""
    if isinstance(part, list):
        return [scale for item in part for scale in _scales(item)]
    if not isinstance(part, dict):
        return []
    own = [part["color"]["scale"]] if "scale" in part.get("color", {}) else []
    return own + [scale for item in part.values() for scale in _scales(item)]


def test_all_that_there_is_to_show(one: dict[str, Figure], both: dict[str, Figure]) -> None:
    names = ["joint_pca_1_2", "joint_tsne_1_2", "marginals_by_sex", "marginals_by_view", "explained", "tests"]
    assert list(one) == list(both) == names


def test_groups_of_few_patients_are_in_no_figure() -> None:
    # 40 patients: 4 of unknown sex, 16 women, 20 men; no view but the last has 11; those without a colour have together.
    found = {figure.name: figure for figure in explore_figures(_exploration(resampled=False, min_cell=11))}
    assert found["marginals_by_sex"].table["value"].unique().sort().to_list() == ["F", "M"]
    for name in ("joint_pca_1_2", "joint_tsne_1_2"):
        assert set(found[name].table["value"]) == {"F", "M", VIEWS[-1], "other values"}
        assert "'unknown'" not in str(found[name].chart.to_dict()) and "'v00'" not in str(found[name].chart.to_dict())
        assert "those of under 11 patients are left out" in found[name].caption
    said = str(found["tests"].chart.to_dict())
    assert "'masked'" in said and "'no images'" not in said
    few = found["tests"].table.filter(attribute="view")
    assert few["statistic"].null_count() == few["n_first"].null_count() == few.height


def test_charts_are_valid_and_name_no_image(one: dict[str, Figure], both: dict[str, Figure]) -> None:
    for figure in (*one.values(), *both.values()):
        figure.chart.to_dict()  # raises where Vega-Lite's schema is not met
        for scheme, side in (("light", 0), ("dark", 1)):
            text = json.dumps(resolved(specification(figure), scheme))  # type: ignore[arg-type]
            assert PALETTE["ink"][side] in text and "var(" not in text
            assert "secret" not in text + figure.table.write_csv()


def test_a_group_has_one_colour_before_and_after(both: dict[str, Figure]) -> None:
    colours = {"F": colour("blue"), "M": colour("orange"), "unknown": colour("grey")}
    # Of the unknown there are too few for a curve: only a point names them.
    for name, named in (("joint_pca_1_2", list(colours)), ("marginals_by_sex", ["F", "M"])):
        found = [scale for scale in _scales(both[name].chart.to_dict()) if scale["domain"][0] == "F"]
        assert found and all(scale == found[0] for scale in found)
        assert found[0] == {"domain": named, "range": [colours[value] for value in named]}
    assert "groups of under 11 images have none (unknown); each has" in both["marginals_by_sex"].caption


def test_the_variance_names_its_bars_and_its_line(one: dict[str, Figure]) -> None:
    (scale,) = {json.dumps(scale) for scale in _scales(one["explained"].chart.to_dict())}
    assert json.loads(scale)["domain"] == ["each component", "sum up to it"]


def test_values_beyond_the_colours_are_one_group(one: dict[str, Figure]) -> None:
    found = {json.dumps(scale) for scale in _scales(one["joint_pca_1_2"].chart.to_dict())}
    (scale,) = (scale for scale in found if "other values" in scale)
    domain = json.loads(scale)["domain"]
    assert len(domain) == len(CATEGORIES) - 1 and domain[-1] == "other values"
    assert len(set(json.loads(scale)["range"])) == len(domain)
    # The most frequent are among those with a colour of their own.
    assert VIEWS[-1] in domain


def test_tables_hold_the_numbers(one: dict[str, Figure], both: dict[str, Figure]) -> None:
    found = _exploration(resampled=False)
    women = found.sample.filter(sex="F")
    row = one["joint_pca_1_2"].table.filter(attribute="sex", value="F").row(0, named=True)
    assert row["n"] == women.height
    assert (row["pca_1_mean"], row["pca_2_sd"]) == pytest.approx((women["pca_1"].mean(), women["pca_2"].std()))
    assert one["tests"].table.equals(found.tests) and one["explained"].table.equals(found.explained)
    assert set(both["joint_pca_1_2"].table["part"]) == {"as it is", "resampled"}
    assert both["tests"].table.height == 2 * one["tests"].table.height


def test_both_samples_are_on_the_same_axes(both: dict[str, Figure]) -> None:
    def domains(part: Any) -> list[Any]:
        if isinstance(part, list):
            return [one for item in part for one in domains(item)]
        if not isinstance(part, dict):
            return []
        axis = part.get("encoding", {}).get("x", {})
        own = [json.dumps(axis["scale"]["domain"])] if axis.get("field") == "pca_1" else []
        return own + [one for item in part.values() for one in domains(item)]

    found = domains(both["joint_pca_1_2"].chart.to_dict())
    assert len(found) == 2 * len(VALUES) and len(set(found)) == 1


def test_nothing_to_test_is_no_figure() -> None:
    found = _exploration(resampled=False)
    bare = Exploration(found.sample, found.explained, found.tests.clear(), MARGINALS, {})
    assert [figure.name for figure in explore_figures(bare)] == ["explained"]


def test_files_come_out_the_same_twice(one: dict[str, Figure], tmp_path: Path) -> None:
    chosen = [one["joint_tsne_1_2"], one["tests"]]
    first, second = (save_figures(chosen, tmp_path / name) for name in ("a", "b"))
    assert [path.name for path in first] == ["joint_tsne_1_2.svg", "joint_tsne_1_2.png", "tests.svg", "tests.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
