"""The effect that is planted in phantoms is found, and is gone where it is not planted. Real commands, from drawing to the
analysis."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from cxrtrain.studies.case_study.analyse import COLUMNS
from cxrtrain.studies.case_study.fpr import Wish
from cxrtrain.studies.case_study.road import Road, phantoms, plan_of_road
from cxrtrain.studies.data import Phantoms
from tests.conftest import REPOSITORY

SCALES = {"padchest": 0.012, "vindr_pcxr": 0.03}
# One seed with the suite, the others with soak.
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 5))]


def control(folder: Path) -> Path:
    """Norms in which every age has the heart of a young adult."""
    norms = (REPOSITORY / "metadata" / "phantom_norms.toml").read_text(encoding="utf-8")
    head, _, tail = norms.partition("[heart]")
    for name, value in (("mean", "0.430"), ("sd", "0.028"), ("limit", "0.50")):
        head = re.sub(rf"^{name} = .*$", f"{name} = {value}", head, flags=re.MULTILINE)
    (folder / "norms.toml").write_text(head + "[heart]" + tail, encoding="utf-8")
    return folder / "norms.toml"


def rates(folder: Path, drawn: Phantoms) -> tuple[dict[str, float], dict[str, float]]:
    """Infants' and own adults' row."""
    road = Road(phantoms=drawn, models=("padchest",), blends=(0.0,), sets=("loop.epochs=6",))
    plan = plan_of_road(folder, road, Wish(rules=("careful",), bootstrap=2000, min_cell=1))
    plan.run("analyse")
    table = pl.read_csv(plan.result("analyse") / "fpr_by_age.csv", schema=COLUMNS).filter(pl.col("age_low").is_null())
    infants = table.filter(dataset="vindr_pcxr", subset="healthy_children:0-1").row(0, named=True)
    return infants, table.filter(dataset="padchest", subset="healthy_adults").row(0, named=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_infants_are_called_ill_and_adults_are_not(tmp_path: Path, seed: int) -> None:
    infants, adults = rates(tmp_path, phantoms(seed, scales=SCALES))
    assert infants["fpr"] >= 3 * adults["fpr"]
    assert infants["ci_low"] > adults["ci_high"]


@pytest.mark.parametrize("seed", SEEDS)
def test_where_nothing_is_planted_nothing_is_found(tmp_path: Path, seed: int) -> None:
    infants, adults = rates(tmp_path, phantoms(seed, control(tmp_path), SCALES))
    assert infants["ci_low"] <= adults["ci_high"]
    assert infants["fpr"] < 0.25
