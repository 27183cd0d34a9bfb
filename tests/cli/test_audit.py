"""`cxrdata audit`: what it prints, where, and how it ends. The numbers: tests/audit."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from said import SYNTHETIC, Said, is_one_block

import cxrdata

COLUMNS = "model,label,truth,policy,group_by,group_value,metric,n,n_positive,estimate,ci_low,ci_high,p_value,p_adjusted,method,seed,note"


@pytest.fixture(scope="module")
def predictions(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("predictions") / "model.parquet"
    with cxrdata.open(catalog) as opened:
        keys = opened.table("images").select("dataset", "image_id").sort("image_id").collect()
    keys.with_columns(prob_infiltration=pl.int_range(pl.len()) * 7 % 10 / 10).write_parquet(path)
    return path


@pytest.fixture
def audit(say: Callable[..., Said], catalog: Path, predictions: Path) -> Callable[..., Said]:
    return lambda *arguments: say("audit", str(predictions), "-c", str(catalog), "--bootstrap", "10", *arguments)


def test_csv_has_the_columns_of_the_contract(audit: Callable[..., Said]) -> None:
    said = audit("--by", "sex", "--format", "csv", "--min-cell", "0")
    assert said.code == 0
    assert said.out.splitlines()[0] == COLUMNS
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert {row["group_by"] for row in rows} == {"overall", "sex"}
    assert rows[0]["metric"] == "auroc"
    assert rows[0]["group_value"] == ""
    assert "tpr" not in {row["metric"] for row in rows}
    assert said.err == SYNTHETIC


def test_a_threshold_is_a_row_and_choosing_where_one_judges_is_warned_of(audit: Callable[..., Said]) -> None:
    said = audit("--threshold", "youden", "--metrics", "tpr,fpr", "--format", "csv")
    assert [row["metric"] for row in csv.DictReader(io.StringIO(said.out))] == ["threshold", "tpr", "fpr"]
    assert "\nwarning: the threshold is chosen on the very images that it is judged on" in said.err


def test_tables_and_files(audit: Callable[..., Said], tmp_path: Path) -> None:
    said = audit("--metrics", "auroc", "--tables")
    assert "| label | all |\n| --- | --- |\n| infiltration | 0." in said.out
    said = audit("--metrics", "auroc", "--out", str(tmp_path / "rows.parquet"), "--quiet")
    assert (said.out, said.err) == ("", "")
    assert pl.read_parquet(tmp_path / "rows.parquet").columns == COLUMNS.split(",")
    said = audit("--metrics", "auroc", "--save", str(tmp_path / "all"), "--figures", str(tmp_path / "figures"))
    assert {path.name for path in (tmp_path / "all").iterdir()} >= {
        "audit.csv",
        "audit.parquet",
        "tables.md",
        "tables.html",
    }
    assert {path.name for path in (tmp_path / "figures").iterdir()} >= {"reliability.svg", "reliability.png"}


def test_the_same_twice(audit: Callable[..., Said]) -> None:
    assert audit("--by", "sex", "--format", "csv") == audit("--by", "sex", "--format", "csv")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--by", ""), "CXR-502"),
        (("--by", "sexx"), "CXR-501"),
        (("--metrics", "auc"), "CXR-501"),
        (("--split", "nobodys"), "CXR-501"),
        (("--truth-from", "nowhere.csv"), "CXR-101"),
    ],
)
def test_one_block(audit: Callable[..., Said], arguments: tuple[str, ...], code: str) -> None:
    is_one_block(audit(*arguments), code)


def test_python_says_the_same(audit: Callable[..., Said], catalog: Path, predictions: Path) -> None:
    rows = cxrdata.audit(predictions=predictions, catalog=catalog, by=["sex"], bootstrap=10).rows
    assert audit("--by", "sex", "--format", "csv").out == rows.write_csv()
