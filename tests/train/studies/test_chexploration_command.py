"""`cxrdata study chexploration` from a folder of predictions to the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from chexploration_predictions import Study, write_our_features, write_ours, write_theirs

import cxrdata
from cxrdata.explore.run import ExploreRequest, explore
from cxrdata.explore.sampling import Sampling
from cxrtrain.studies.chexploration.errors import ERRORS
from cxrtrain.studies.chexploration.published import comparison, published_figures
from cxrtrain.studies.comparison import RANDOM_ROWS

Command = Callable[..., tuple[int, str, str]]
QUICK = ("--bootstrap", 20, "--min-cell", 1, "--no-tsne")
STAGES = ["read-disease", "read-race", "read-sex", "cohort", "resample", "detection", "attributes", "explore-disease", "report"]  # fmt: skip


def check_tables(page: str, written: Path) -> None:
    """They fit the page; what is too long for it lies beside."""
    tables = {name: re.findall('<th scope="col"[^>]*>([^<]*)', rest) for name, rest in re.findall(r'id="table-(\w+)">(.*?)</table>', page, re.DOTALL)}  # fmt: skip
    # No wider than the page: neither the model nor J beside the rates.
    assert tables["errors_no_finding_disease"] == ["test set", "rules", "group", "n", "positives", "AUROC", "true positive rate", "false positive rate"]  # fmt: skip
    assert tables["youden_no_finding"] == ["model", "test set", "group", "published", "careful"]
    assert re.search(">\u2212[0-9,]+</td>", page) and "&#x27;-" not in page
    assert "rows, are in explored-disease/figures/marginals_by_race.csv" in page
    assert pl.read_csv(written / "explored-disease" / "figures" / "marginals_by_race.csv").height > 200


@pytest.mark.usefixtures("undrawn")
def test_from_predictions_to_the_page(chexploration: Study, chexploration_command: Command, tmp_path: Path) -> None:
    """Their layout, three models: every output is there, the page fetches nothing; found again, and anew where a file changed."""
    write_theirs(chexploration, tmp_path, models=("disease", "race", "sex"), embedded=("disease",))
    orders = [text for part in ("test", "val") for text in ("--order", tmp_path / f"order.{part}.csv")]
    arguments = (
        "--predictions",
        tmp_path / "output",
        *orders,
        "-c",
        chexploration.catalog,
        "--out",
        tmp_path / "out",
        *QUICK,
    )
    code, out, err = chexploration_command(*arguments)
    assert code == 0, err
    assert err.splitlines()[1:] == [f"{stage}: done" for stage in STAGES]
    assert [Path(line).name for line in out.splitlines()] == [
        "funnel.csv", "parts.csv", "resampled.csv", "detection.csv", "attributes.csv", "explored-disease", "published.csv",
        "report.html", "figures",
    ]  # fmt: skip
    written = tmp_path / "out"
    detection = pl.read_csv(written / "detection.csv", schema=ERRORS)
    sides = {(test_set, rules) for test_set in ("test", "resampled") for rules in ("published", "careful")}
    assert set(detection.select("test_set", "rules").unique().rows()) == sides
    assert set(detection["metric"]) == {"threshold", "auroc", "tpr", "fpr", "youden"}
    assert pl.read_csv(written / "attributes.csv", schema=ERRORS)["label"].unique().sort().to_list() == ["Asian", "Black", "F", "M", "White"]  # fmt: skip
    figures = {path.stem for path in (written / "figures").glob("*.svg")}
    assert figures == {
        *(f"{what}_{label}" for what in ("detection", "resampled") for label in ("no_finding", "pleural_effusion")),
        "attributes",
    }  # fmt: skip
    joints = {path.stem for path in (written / "explored-disease" / "figures").glob("*.svg")}
    assert {"joint_pca_1_2", "marginals_by_race", "explained", "tests"} <= joints

    page = (written / "report.html").read_text(encoding="utf-8")
    for title in ("Cohort and parts", "The resampled test set", "Errors by race and sex", "Race and sex", "Features: disease model", "Published and here"):  # fmt: skip
        assert f">{title}</h2>" in page
    assert (
        '<p class="notice">SYNTHETIC DATA: the rows of this catalog' in page and "by chance, as they should" not in page
    )
    check_tables(page, written)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)
    assert str(tmp_path) not in page and "patient0" not in page

    compared = pl.read_csv(written / "published.csv")
    assert compared.height == published_figures().height
    known = compared.filter(dataset="chexpert")
    assert known.filter(pl.col("here").is_not_null()).height == known.height
    assert compared["reason"].null_count() == 0
    assert known["reason"].unique().to_list() == [RANDOM_ROWS]

    # The exploration is that of `cxrdata explore`.
    with cxrdata.open(chexploration.catalog) as catalog:
        draws = next((written / "stages").glob("resample-*")) / "draws.parquet"
        embedded = tmp_path / "output" / "disease" / "densenet-all" / "embeddings.test.csv"
        request = ExploreRequest(embedded, order=tmp_path / "order.test.csv", sampling=Sampling(seed=42), plane=False, min_cell=1, resampled=pl.read_parquet(draws))  # fmt: skip
        tests = explore(catalog, request).tests
    modes = pl.read_csv(written / "explored-disease" / "tests.csv").filter(pl.col("marginal").str.starts_with("pca"))
    assert modes.select("marginal", "first", "statistic", "p_value").rows() == tests.select("marginal", "first", "statistic", "p_value").rows()  # fmt: skip

    assert chexploration_command(*arguments)[2].splitlines()[1:] == [f"{stage}: found" for stage in STAGES]
    changed = tmp_path / "output" / "race" / "densenet-all" / "predictions.test.csv"
    rows = pl.read_csv(changed)
    rows.with_columns(pl.col("class_0").reverse()).write_csv(changed)
    plan = chexploration_command(*arguments, "--dry-run", "--format", "csv")[1]
    again = [line.partition(",")[0] for line in plan.splitlines() if ",to run," in line]
    assert again == ["read-race", "attributes", "report"]
    said = chexploration_command(*arguments, "--only", "attributes")[2].splitlines()[1:]
    assert said[:2] == ["read-race: done", "attributes: done"]
    assert {line.partition(":")[0] for line in said[2:]} == {
        "report.html",
        "published.csv",
        "figures",
    }  # of the old tables


def test_published_figures_and_why_they_are_not_met(chexploration: Study, chexploration_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Of a race model alone; taken for real data, each row says what stands in the way."""
    write_ours(chexploration, tmp_path / "in" / "race" / "predictions.test.parquet", "race", "race", "test")
    report = import_module("cxrtrain.studies.chexploration.report")
    results = []
    monkeypatch.setattr(report, "write_report", lambda result, _folder: results.append(result))
    arguments = ("--predictions", tmp_path / "in", "-c", chexploration.catalog, "--out", tmp_path / "out", *QUICK)
    code, _, err = chexploration_command(*arguments)
    assert code == 0, err
    (result,) = results
    assert result.detection.is_empty() and result.models == ["race"] and result.synthetic
    real = comparison(type(result)(**(vars(result) | {"synthetic": False})))

    def reason(**which: object) -> set[str | None]:
        return set(real.filter(**which)["reason"].to_list())

    assert reason(quantity="images", part="frontal") == {None}
    assert reason(model="race") == {None}
    assert reason(model="disease") == {"no predictions of the disease model are here; its published weights and images are not part of this project"}  # fmt: skip
    assert reason(part="test", quantity="images", dataset="chexpert") == {"the published split shuffles patients by another random order: shares agree, counts nearly"}  # fmt: skip
    assert reason(quantity="prevalence") == {"other draws, of this test set"}
    assert reason(dataset="mimic_cxr") == {"this is the study of CheXpert; --dataset mimic_cxr is that of MIMIC-CXR"}
    assert real.filter(pl.col("here").is_null())["reason"].null_count() == 0
    row = real.filter(part="AP or PA", group="White").row(0, named=True)
    counted = chexploration.images.filter(race="White").height
    assert (row["published"], row["here"], row["difference"]) == (99027, counted, counted - 99027)


@pytest.mark.usefixtures("undrawn")
def test_a_test_set_of_one_race(chexploration: Study, chexploration_command: Command, tmp_path: Path) -> None:
    """Nothing is drawn anew, and features are not compared by race; the rest of the page is there and says so."""
    white = replace(chexploration, images=chexploration.images.filter(race="White"))
    write_ours(white, tmp_path / "in" / "disease" / "predictions.test.parquet", "disease", "disease", "test")
    write_our_features(white, tmp_path / "in" / "disease" / "embeddings.test.parquet", "disease", "test")
    arguments = (
        "--predictions",
        tmp_path / "in",
        "-c",
        chexploration.catalog,
        "--out",
        tmp_path / "out",
        *QUICK,
        "--bootstrap",
        0,
    )
    code, out, err = chexploration_command(*arguments)
    assert code == 0, err
    assert "explored-disease" not in [Path(line).name for line in out.splitlines()]
    detection = pl.read_csv(tmp_path / "out" / "detection.csv", schema=ERRORS)
    assert detection["test_set"].unique().to_list() == ["test"] and detection["group_value"].drop_nulls().unique().sort().to_list() == ["F", "M", "White"]  # fmt: skip
    assert pl.read_csv(tmp_path / "out" / "resampled.csv").is_empty()
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for said in ("There are no two races in this test set", "resampled: left out, no dataset has groups of race to balance", "features of the disease model: left out"):  # fmt: skip
        assert page.count(said) == 1


def test_race_and_sex_may_both_be_unknown() -> None:
    rows = [("test", "overall", None, 9), ("test", "race", "unknown", 4), ("test", "sex", "unknown", 5)]
    parts = pl.DataFrame(rows, schema=["part", "group_by", "group_value", "images"], orient="row")
    result = SimpleNamespace(parts=parts.with_columns(patients="images", note=pl.lit(None, pl.String)))
    shown = import_module("cxrtrain.studies.chexploration.report")._parts(result).frame
    assert shown.select("by", "group", "images_test").rows() == [("overall", None, 9), ("race", "unknown", 4), ("sex", "unknown", 5)]  # fmt: skip


def test_errors_come_as_blocks(chexploration: Study, chexploration_command: Command, tmp_path: Path) -> None:
    out = ("-c", chexploration.catalog, "--out", tmp_path / "out", *QUICK)
    code, _, err = chexploration_command("--predictions", tmp_path / "no", *out)
    assert (code, [line for line in err.splitlines() if line.startswith("error")]) == (3, ["error CXR-101: there is no such file or folder"])  # fmt: skip
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "predictions.test.csv").write_text("class_0,class_1,class_2\n0.1,0.2,0.7\n")
    code, _, err = chexploration_command("--predictions", tmp_path / "in", *out)
    assert (code, err.count("error CXR-517")) == (2, 1)
    assert "--order FILE" in err
    chexploration.images.select("image_id").write_csv(tmp_path / "order.csv")
    code, _, err = chexploration_command("--predictions", tmp_path / "in", "--order", tmp_path / "order.csv", *out)
    assert (code, err.count("error CXR-126")) == (1, 1)
    code, _, err = chexploration_command("--predictions", tmp_path / "in", "--split", "no-such", *out)
    assert (code, err.count("error CXR-501: there is no split 'no-such'")) == (2, 1)
    code, _, err = chexploration_command("--predictions", tmp_path / "in", "--only", "reports", *out)
    assert "there is no stage 'reports'; did you mean report?" in err
