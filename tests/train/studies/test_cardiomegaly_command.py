"""`cxrdata case-study cardiomegaly` from a folder of predictions to the page."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest
from study_predictions import write_model

import cxrdata
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog
from cxrtrain.studies.case_study.analyse import COLUMNS
from cxrtrain.studies.case_study.published import published_figures

Command = Callable[..., tuple[int, str, str]]
QUICK = ("--bootstrap", 50, "--min-cell", 1)


def test_from_predictions_to_the_page(command: Command, tmp_path: Path) -> None:
    """Two models at two blends, in their layout: every output is there, and the page fetches nothing."""
    for trained_on in ("vindr_cxr", "chexpert"):
        write_model(tmp_path / "preds", trained_on, tested_on=("vindr_cxr", "chexpert"))
        write_model(tmp_path / "preds", trained_on, blend="hm-0.5")
    code, out, err = command("--predictions", tmp_path / "preds", "--out", tmp_path / "out", *QUICK)
    assert code == 0, err
    assert err.splitlines() == ["analyse: done", "report: done"]
    written = [Path(line).name for line in out.splitlines()]
    assert written == ["fpr_by_age.csv", "details.csv", "thresholds.csv", "sensitivity.csv", "trends.csv", "report.html", "published.csv", "figures"]  # fmt: skip
    table = pl.read_csv(tmp_path / "out" / "fpr_by_age.csv", schema=COLUMNS)
    assert set(table["rules"]) == {"published", "careful"}
    assert set(table["blend"]) == {0.0, 0.5}
    names = {path.stem for path in (tmp_path / "out" / "figures").glob("*.svg")}
    assert names == {
        "children_vindr_pcxr",
        "adults_same_source",
        "adults_other_sources",
        "children_and_adults",
        "blends",
    }
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for title in (
        "Models and thresholds",
        "Children",
        "Adults",
        "Over 80",
        "Histogram matching",
        "Errors and age",
        "Published and here",
    ):
        assert f">{title}</h2>" in page
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)
    assert "default-src 'none'" in page
    assert str(tmp_path) not in page

    compared = pl.read_csv(tmp_path / "out" / "published.csv")
    assert compared.height == published_figures().height
    found = compared.filter(quantity="fpr", trained_on="vindr_cxr", subset="healthy_children:0-1", blend=0.0).row(
        0, named=True
    )
    assert (found["published"], found["here"], found["reason"]) == (0.4337, 0.54, None)
    lacking = compared.filter(quantity="fpr", trained_on="padchest", blend=0.0)["reason"].unique().to_list()
    assert lacking == [
        "no model trained on PadChest is here; its published weights and images are not part of this project"
    ]
    assert compared.filter(quantity="fpr", trained_on="chexpert", blend=0.25)["reason"].to_list() == [
        "not predicted at blend 0.25"
    ]
    assert compared.filter(pl.col("here").is_null())["reason"].null_count() == 0


def test_found_again_and_run_anew(command: Command, predicted: Path, tmp_path: Path) -> None:
    arguments = ("--predictions", predicted, "--out", tmp_path / "out", "--rules", "careful")
    assert command(*arguments, *QUICK)[2].splitlines() == ["analyse: done", "report: done"]
    first = (tmp_path / "out" / "fpr_by_age.csv").read_bytes()
    assert command(*arguments, *QUICK)[2].splitlines() == ["analyse: found", "report: found"]
    code, out, _ = command(*arguments, *QUICK, "--dry-run", "--format", "csv")
    assert (code, out) == (0, "stage,state,after\nanalyse,cached,\nreport,cached,analyse\n")
    changed = next(predicted.rglob("test/best/predictions.csv"))
    changed.write_text(changed.read_text().replace("0.8]", "0.1]", 1))
    code, out, _ = command(*arguments, *QUICK, "--dry-run", "--format", "csv")
    assert out == "stage,state,after\nanalyse,to run,\nreport,to run,analyse\n"
    assert (tmp_path / "out" / "fpr_by_age.csv").read_bytes() == first  # a dry run changes nothing
    (tmp_path / "out" / "mine.html").touch()
    code, out, err = command(*arguments, *QUICK, "--only", "analyse")
    # The old page does not stand beside the new table.
    removed = [
        f"{name}: of an earlier result of the stage report, removed"
        for name in ("figures", "published.csv", "report.html")
    ]
    assert err.splitlines() == ["analyse: done", *removed]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *(Path(line).name for line in out.splitlines()),
        "mine.html",
        "stages",
    }
    assert (tmp_path / "out" / "fpr_by_age.csv").read_bytes() != first
    assert set(pl.read_csv(tmp_path / "out" / "fpr_by_age.csv")["rules"]) == {"careful"}


def test_a_stage_that_fails_leaves_nothing_half_done(
    command: Command, predicted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    arguments = ("--predictions", predicted, "--out", tmp_path / "out", *QUICK)
    report = import_module("cxrtrain.studies.case_study.report")
    whole = report.write_report
    monkeypatch.setattr(report, "write_report", broken)
    assert command(*arguments)[0] == 130
    assert not (tmp_path / "out" / "report.html").exists()
    monkeypatch.setattr(report, "write_report", whole)
    assert command(*arguments)[2].splitlines() == ["analyse: found", "report: done"]


def test_an_option_without_a_meaning_is_refused(command: Command, tmp_path: Path) -> None:
    asked = {
        "--predictions": (
            "--models",
            "nih",
            "--blends",
            "0.5",
            "--set",
            "loop.epochs=1",
            "--norms",
            "n",
            "--data-seed",
            0,
        ),
        "--data": ("--store", "s", "-c", "cat"),
        "--store": ("--norms", "n", "--data-seed", 9),
    }
    given = {"--predictions": tmp_path, "--data": "synthetic", "--store": tmp_path}
    for option, others in asked.items():
        for at in range(0, len(others), 2):
            code, _, err = command(option, given[option], "--out", tmp_path, *others[at : at + 2], "--dry-run")
            said = str(others[at]).replace("-c", "--catalog") if others[at] == "-c" else others[at]
            assert (code, f"leave out {said}" in err) == (2, True), err


def test_errors_come_as_blocks(command: Command, tmp_path: Path) -> None:
    code, _, err = command("--out", tmp_path)
    assert (code, err.splitlines()[0]) == (2, "error CXR-502: nothing says what to train on")
    code, _, err = command("--predictions", tmp_path / "no", "--out", tmp_path)
    assert (code, err.splitlines()[0]) == (3, "error CXR-101: there is no such folder or file")
    write_model(tmp_path / "preds", "nih_cxr14")
    code, _, err = command("--predictions", tmp_path / "preds", "--out", tmp_path, "--only", "analyze")
    assert code == 2
    assert "there is no stage 'analyze'; did you mean analyse?" in err


def test_with_a_catalog(command: Command, registry: Registry, synthetic: Callable[..., Path], tmp_path: Path) -> None:
    """Predictions as `cxrdata predict` writes them: parts, ages, truth and boxes come from the catalog."""
    folder, run = tmp_path / "cat", import_module("cxrdata.cli.main").run
    scales = {"vindr_cxr": 0.05, "vindr_pcxr": 0.05}
    build_catalog(BuildRequest(folder, named=[(registry.get(name), synthetic(name, scale=scale)) for name, scale in scales.items()], workers=1))  # fmt: skip
    assert run(["split", "--pediatric-vs-adult", "--name", "age-bias", "-q", "-c", str(folder)]) == 0
    with cxrdata.open(folder) as catalog:
        images = catalog.table("images").select("dataset", "image_id").sort("dataset", "image_id").collect()
        boxed = catalog.sql(
            "SELECT DISTINCT image_id FROM boxes WHERE dataset = 'vindr_pcxr' AND finding = 'cardiomegaly'"
        )
        parts = pl.DataFrame(catalog.split("age-bias"))
    scores = [int(one[-4:], 16) / 0xFFFF for one in images["image_id"]]
    (tmp_path / "preds").mkdir()
    images.with_columns(prob_cardiomegaly=pl.Series(scores), run_id=pl.lit("r")).write_parquet(
        tmp_path / "preds" / "vindr_cxr.parquet"
    )
    code, _, err = command("--predictions", tmp_path / "preds", "--out", tmp_path / "out", "-c", folder, *QUICK)
    assert code == 0, err
    assert "SYNTHETIC" in err
    table = pl.read_csv(tmp_path / "out" / "fpr_by_age.csv", schema=COLUMNS).filter(rules="careful")
    overall = table.filter(pl.col("age_low").is_null())
    children = overall.filter(subset="healthy_children", dataset="vindr_pcxr")["n"].item()
    assert children == parts.filter(split="test_pediatric", dataset="vindr_pcxr").height > 0
    assert overall.filter(subset="healthy_adults")["n"].item() == parts.filter(split="test_healthy_adult").height > 0
    sensitivity = pl.read_csv(tmp_path / "out" / "sensitivity.csv")
    assert sensitivity.filter(ages="all")["n"].item() == boxed.height > 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert '<p class="notice">SYNTHETIC DATA' in page
    assert json.dumps("phantoms")[1:-1] in page
    reasons = pl.read_csv(io.BytesIO((tmp_path / "out" / "published.csv").read_bytes()))["reason"].unique().to_list()
    assert reasons == ["phantoms: drawn images, nothing of them is comparable"]
