"""The published predictions of reproduce-chexnet on the real NIH data: its AUCs, then what it never reported."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest

import cxrdata
from cxrdata.audit.result import Audit
from cxrdata.report.audit_tables import markdown_page

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def chexnet(real_data: Path, nih_catalog: Path) -> Audit:
    return cxrdata.audit(
        predictions=real_data / "chexnet" / "preds.csv.gz",
        catalog=nih_catalog,
        by=["sex", "age_group:pediatric_adult", "view"],
        metrics=["auroc"],
        bootstrap=20,
    )


def test_the_published_aucs(chexnet: Audit, real_data: Path) -> None:
    with (real_data / "chexnet" / "aucs.csv").open() as stream:
        published = [float(row["auc"]) for row in csv.DictReader(stream)]
    assert len(published) == 14
    assert chexnet.overall["estimate"].to_list() == pytest.approx(published, abs=1e-9)
    assert set(chexnet.overall["n"]) == {22_433}


def test_groups_add_up_to_all_and_carry_intervals(chexnet: Audit) -> None:
    hernia = chexnet.by_group.filter(label="hernia")
    assert (
        hernia.group_by("group_by").agg(pl.col("n_positive").sum()).sort("group_by")["n_positive"].to_list() == [42] * 3
    )
    children = hernia.row(by_predicate=pl.col("group_value") == "pediatric", named=True)
    assert (children["n"], children["n_positive"], children["estimate"]) == (915, 0, None)
    assert children["note"] == "undefined: no positives"
    sure = chexnet.rows.filter(pl.col("metric") == "auroc", pl.col("estimate").is_not_null())
    assert (sure["ci_low"] <= sure["estimate"]).all()
    assert (sure["estimate"] <= sure["ci_high"]).all()


def test_the_unit_is_the_patient(chexnet: Audit) -> None:
    for one in chexnet.scored:
        assert sorted(set(one.patients.tolist())) == list(range(6_187))


def test_rows_say_what_they_rest_on(chexnet: Audit) -> None:
    assert set(chexnet.rows["truth"]) == {"text_mining"}
    assert set(chexnet.rows["policy"]) == {"ignore"}
    assert "preds: 89,687 of 112,120 images of nih_cxr14 have no prediction" in chexnet.notes
    assert chexnet.left_out.is_empty()


def test_the_table_for_a_paper(chexnet: Audit) -> None:
    table = chexnet.table()
    assert table.columns == ["label", "all", "sex F", "sex M", "children", "adults", "view AP", "view PA"]
    assert table["all"][0].startswith("0.818 (0.")
    assert table["all"][0].endswith("; 2,423/22,433")
    assert table["children"][13] == "undefined; 0/915"
    assert table["children"][11].endswith("; 1/915†")
    page = markdown_page(chexnet)
    assert page.count("\n| ") == 16
    assert "policy: ignore" in page


def test_the_table_of_the_readme(real_data: Path, nih_catalog: Path) -> None:
    """Its command prints it, to the last digit."""
    shown = cxrdata.audit(
        predictions=real_data / "chexnet" / "preds.csv.gz",
        catalog=nih_catalog,
        by=["sex", "age_group:pediatric_adult", "view"],
        metrics=["auroc"],
        labels=["cardiomegaly", "pleural_effusion", "pneumonia", "edema", "hernia"],
    )
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    lines = [line for line in markdown_page(shown).splitlines() if line.startswith(("| ", "AUROC: "))]
    assert len(lines) == 8
    assert [line for line in lines if line not in readme] == []
