"""Nothing of few patients is shown, and nothing shown tells it."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import polars as pl
import pytest
from study_predictions import calibration_rows, healthy_rows, row, write, write_model

from cxrtrain.studies.case_study.analyse import Analysis, analyse
from cxrtrain.studies.case_study.fpr import Wish
from cxrtrain.studies.case_study.masking import BESIDE, few, mask_rows
from cxrtrain.studies.case_study.predictions import read_cases
from cxrtrain.studies.case_study.report import page

MASKS = Wish(bootstrap=20, min_cell=11)


def of(folder: Path, **ages: tuple[int, int]) -> Analysis:
    """children: healthy children of VinDr-PCXR by age, as `_3`: (images, called positive)."""
    write(folder, "vindr_cxr", calibration_rows("vindr_cxr"))
    children = {f"{int(age[1:]):03d}Y": one for age, one in ages.items()}
    write(folder, "vindr_cxr", healthy_rows("vindr_pcxr", "test", children))
    return analyse(read_cases(folder), MASKS)


def shown(analysis: Analysis, rules: str) -> dict[str, int | None]:
    """n_positive by age, or by subset."""
    own = analysis.details.filter(pl.col("n") > 0, rules=rules)
    return {
        (row["subset"].removeprefix("healthy_") if row["age_low"] is None else f"{row['age_low']:.0f}"): row[
            "n_positive"
        ]
        for row in own.iter_rows(named=True)
    }


def test_images_are_not_patients(tmp_path: Path) -> None:
    """Twelve images of one child are one patient, by either rules, and in every row that holds no more."""
    write(tmp_path, "vindr_cxr", calibration_rows("vindr_cxr"))
    write(tmp_path, "vindr_cxr", healthy_rows("vindr_pcxr", "test", {"003Y": (12, 5)}, patient_id="p1"))
    found = analyse(read_cases(tmp_path), MASKS).details.filter(pl.col("n") > 0)
    assert set(found["rules"]) == {"published", "careful"} and found.height == 6  # the bin, 2-10, all
    assert (found["patients"] == 1).all() and (found["n"] == 12).all()
    assert found.select("n_positive", "fpr", "ci_low", "ci_high").null_count().row(0) == (6, 6, 6, 6)
    assert found["note"].unique().to_list() == [few(11)]


@pytest.mark.parametrize("rules", ["published", "careful"])
def test_one_masked_bin_takes_the_next_smallest_with_it(tmp_path: Path, rules: str) -> None:
    analysis = of(tmp_path, _0=(40, 20), _1=(30, 9), _3=(5, 2), _5=(15, 4), _7=(25, 6), _9=(60, 7))
    assert shown(analysis, rules) == {
        "children": 48, "children:0-1": 29, "children:2-10": 19, "0": 20, "1": 9, "3": None, "5": None, "7": 6, "9": 7,
    }  # fmt: skip
    notes = analysis.details.filter(pl.col("note").str.starts_with("masked"), rules=rules).select("age_low", "note")
    assert notes.rows() == [(3.0, few(11)), (5.0, BESIDE)]


@pytest.mark.parametrize("rules", ["published", "careful"])
def test_where_no_other_bin_can_hide_it_the_sum_is_masked(tmp_path: Path, rules: str) -> None:
    """5 of 1 year, and nobody else under 2: :0-1 is that bin. All ages less the older ones would tell it."""
    found = shown(of(tmp_path, _1=(5, 2), _5=(15, 4)), rules)
    assert found["1"] is None and found["children:0-1"] is None
    assert found["children"] is None or found["children:2-10"] is None


def test_no_masked_bin_follows_from_what_is_shown() -> None:
    """For every choice of small bins: whatever sum shows all but one of its terms is shown too many."""
    sizes = {0: 30, 1: 40, 2: 15, 5: 60, 9: 20, 13: 25}
    for k in (1, 2, 3):
        for small in combinations(sizes, k):
            n = {age: 4 if age in small else size for age, size in sizes.items()}
            rows = [_row("healthy_children", float(age), size) for age, size in n.items()]
            rows += [
                _row(f"healthy_children{name}", None, sum(n[age] for age in n if low <= age < high))
                for name, low, high in (("", 0, 18), (":0-1", 0, 2), (":2-10", 2, 11))
            ]
            hidden = {(one["subset"], one["age_low"]): one["n_positive"] is None for one in mask_rows(rows, 11)}
            assert all(hidden["healthy_children", float(age)] for age in small)
            young, infants, older = (hidden[f"healthy_children{name}", None] for name in ("", ":0-1", ":2-10"))
            bins = {age: hidden["healthy_children", float(age)] for age in n}
            assert infants + bins[0] + bins[1] != 1
            assert older + bins[2] + bins[5] + bins[9] != 1
            assert young + infants + older + bins[13] != 1
            assert young + sum(bins.values()) != 1


def _row(subset: str, age: float | None, n: int) -> dict[str, object]:
    return {
        "trained_on": "padchest", "dataset": "vindr_pcxr", "subset": subset, "rules": "careful", "blend": 0.0, "age_low": age, "n": n,
        "n_positive": 1, "patients": n, "note": None,
    }  # fmt: skip


def test_other_rules_do_not_tell_what_these_mask(tmp_path: Path) -> None:
    """Adults of 18 to 24: 12 by the published rules, of whom one has a device and is no case of the careful ones; the
    same 15 of 60 to 79 by both, masked by one and so by the other."""
    write_model(tmp_path, "vindr_cxr")
    ages = {"20": (4, 2), "30": (40, 4), "50": (90, 3), "70": (15, 6)}
    write(tmp_path, "vindr_cxr", [*healthy_rows("vindr_cxr", "test_healthy_adult", ages, **{"Support Devices": 0}),
          *healthy_rows("vindr_cxr", "test_healthy_adult", {"21": (20, 2)}, **{"Support Devices": 1})])  # fmt: skip
    found = analyse(read_cases(tmp_path), MASKS).details.filter(subset="healthy_adults", age_low=60.0)
    assert found.select("rules", "n", "n_positive").rows() == [("careful", 15, None), ("published", 15, None)]


def test_sensitivity_is_that_of_children_and_does_not_tell_small_groups(tmp_path: Path) -> None:
    def boxed(dataset: str, age: int, n: int) -> list[dict[str, object]]:
        return [
            {"dataset": dataset, "image_id": f"{age}-{at}", "prob_cardiomegaly": 0.8, "split": "test_pediatric", "cardiomegaly": None,
             "healthy": 0, "age_years": age, "box_cardiomegaly": 1} for at in range(n)
        ]  # fmt: skip

    write_model(tmp_path, "vindr_cxr")
    rows = [*boxed("pcxr", 0, 30), *boxed("pcxr", 5, 40), *boxed("pcxr", 12, 20), *boxed("vindr_cxr", 60, 50)]
    pl.DataFrame(rows).write_csv(tmp_path / "vindr.csv")
    found = analyse(read_cases(tmp_path), MASKS).sensitivity
    assert found.select("dataset", "ages", "n", "n_called").rows() == [
        ("vindr_pcxr", "all", 90, 90), ("vindr_pcxr", "0-1", 30, 30), ("vindr_pcxr", "2-10", 40, 40),
    ]  # fmt: skip
    pl.DataFrame([*boxed("pcxr", 0, 5), *boxed("pcxr", 5, 40)]).write_csv(tmp_path / "vindr.csv")
    found = analyse(read_cases(tmp_path), MASKS).sensitivity
    assert found["n_called"].null_count() >= 2 and found.filter(ages="0-1")["method"].item() == few(11)


def test_the_trend_of_children_is_of_a_year_and_says_what_it_lacks(tmp_path: Path) -> None:
    write_model(tmp_path, "vindr_cxr")
    steep = {"000Y": (60, 59), "001Y": (60, 30), "002Y": (60, 1), "003Y": (60, 0)}
    write(tmp_path, "vindr_cxr", healthy_rows("vindr_pcxr", "test", steep))
    write(tmp_path, "vindr_cxr", healthy_rows("padchest", "test_peds", {"004Y": (3, 1)}))
    write(tmp_path, "vindr_cxr", [row("nih_cxr14", "test_healthy_adult", str(at), "40", 0.1) for at in range(20)])
    analysis = analyse(read_cases(tmp_path), MASKS)
    (table,) = next(section for section in page(analysis).sections if section.name == "trend").shows
    rows = {(one["dataset"], one["subset"], one["measure"]): one for one in table.frame.iter_rows(named=True)}
    children = rows["VinDr-PCXR", "healthy_children", "odds ratio"]
    assert children["note"] == "odds ratio of a year" and children["p_value"] == "< 0.001"
    assert 0.001 < float(children["estimate"]) < 0.2 and float(children["ci_low"]) > 0
    adults = analysis.trends.filter(dataset="vindr_cxr", subset="healthy_adults", measure="fpr_age_odds_ratio")
    assert adults["note"].to_list() == ["odds ratio of ten years"]
    assert rows["PadChest", "healthy_children", "odds ratio"]["note"] == few(11)
    for one in rows.values():
        assert one["note"] and (one["estimate"] is not None or one["note"].startswith(("undefined", "masked")))
