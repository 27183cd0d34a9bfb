"""The study by its real commands, on pictures in which one race is planted: every output is there, and what is planted is
found. In soak also from drawn phantoms, with and without the mark."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest
from planted import SIDE, write_store

import cxrdata
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog
from cxrtrain.studies.implicit_attributes.analyse import ABLATION, FILES
from cxrtrain.studies.implicit_attributes.evaluate import EVALUATION

COHORT = ("--cohort", "race_balanced_chexpert", "--balance", "race", "--max-images-per-patient", "1")
SETS = (
    f"data.side={SIDE}", "input.channels=1", "input.normalise=none", "model.backbone=small", "model.weights=none", "optim.lr=0.003",
    "loop.epochs=3", "loop.batch=16", "data.images_per_epoch=96", 'heads.disease.labels=["pleural_effusion"]',
)  # fmt: skip
MODELS = ["disease-k1", "race-random-backbone-k1", "race-run-backbone-k1", "twohead-k1"]


def study(*arguments: object) -> int:
    main = import_module("cxrdata.cli.main")
    main.COMMANDS.setdefault("study", ("cxrtrain.cli.study", "study", ""))
    code: int = main.run(["study", "implicit-attributes", *map(str, arguments)])
    return code


def tables(out: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    return pl.read_csv(out / "evaluation.csv", schema=EVALUATION), pl.read_csv(out / "ablation.csv", schema=ABLATION)


def auroc(rows: pl.DataFrame, model: str, label: str) -> dict[str, float]:
    return rows.filter(model=model, label=label, metric="auroc").row(0, named=True)


def test_on_a_catalog_of_ones_own(
    synthetic: Callable[..., Path], registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXRDATA_WEIGHTS", str(tmp_path))
    cat, run = tmp_path / "cat", import_module("cxrdata.cli.main").run
    build_catalog(BuildRequest(cat, named=[(registry.get("chexpert"), synthetic("chexpert", scale=0.02))], workers=1))
    assert run(["split", *COHORT, "--ratios", "0.5,0.2,0.3", "--name", "implicit-chexpert", "-q", "-c", str(cat)]) == 0
    with cxrdata.open(cat) as catalog:
        truth = catalog.sql(
            "SELECT i.dataset, i.image_id, if(i.race = 'Black', 'F', 'M') AS sex, l.pleural_effusion AS state FROM splits s "
            "JOIN images i USING (dataset, image_id) JOIN image_labels l USING (dataset, image_id) ORDER BY ALL"
        )
    store = write_store(tmp_path / "store", truth)
    changes = [word for one in SETS for word in ("--set", one)]
    out = tmp_path / "out"
    arguments = (
        "-c",
        cat,
        "--store",
        store,
        *changes,
        "--out",
        out,
        "--bootstrap",
        100,
        "--draws",
        5,
        "--min-cell",
        1,
        "-q",
    )
    assert study(*arguments) == 0

    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and "stages" not in path.parts}
    assert names >= {*FILES, "report.html", "published.csv"}
    assert names >= {f"models/{one}/{file}" for one in MODELS for file in ("evaluation.json", "predictions.csv")}
    figures = {path.stem for path in (out / "figures").glob("*.svg")}
    assert figures == {
        "race_by_backbone_k1", "roc_race_k1", "roc_findings_k1", "confusion_k1", "ablation_disease_k1", "ablation_twohead_k1",
    }  # fmt: skip
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "imagenet is left out: there are no ImageNet weights of small" in page
    rows, ablation = tables(out)
    assert rows["model"].unique().sort().to_list() == MODELS
    assert auroc(rows, "twohead-k1", "Black")["estimate"] > 0.9
    assert auroc(rows, "twohead-k1", "pleural_effusion")["estimate"] > 0.9
    off = ablation.filter(pl.col("units") != "none")
    each = off.group_by("model", "target", "units").agg(pl.col("share").unique().sort())
    assert each.height == 2 * (3 + 1) * 2  # two models, three races and a finding, ranked and random
    assert set(map(tuple, each["share"])) == {(0.01, 0.02, 0.05, 0.1, 0.2)}
    counts = pl.read_csv(out / "published.csv").filter(quantity="images")
    assert counts["here"].null_count() == 0  # the two other sets were made
    checks = pl.read_csv(out / "checks.csv")
    assert checks["result"].to_list() == ["ok"] * 12


@pytest.mark.soak
@pytest.mark.parametrize("planted", [True, False])
def test_on_phantoms(tmp_path: Path, planted: bool) -> None:  # noqa: FBT001
    norms = tmp_path / "norms.toml"
    norms.write_text("[frame]\nlong_side = 64\n")
    out = tmp_path / "out"
    more = () if planted else ("--norms", norms)
    assert study("--data", "synthetic", "--out", out, *more) == 0
    rows, ablation = tables(out)
    found = auroc(rows, "race-run-backbone-k1", "Black")
    off = ablation.filter(model="disease-k1", target="Black", share=0.05)
    ranked, drawn = off.filter(units="ranked").row(0, named=True), off.filter(units="random").row(0, named=True)
    page = (out / "report.html").read_text(encoding="utf-8")
    if planted:
        assert found["ci_low"] > 0.5
        assert auroc(rows, "twohead-k1", "Black")["ci_low"] > 0.9
        assert ranked["estimate"] < drawn["ci_low"]
        assert "patients whose race is Black" in page
    else:
        assert found["ci_low"] < 0.5 < found["ci_high"]
        assert auroc(rows, "twohead-k1", "Black")["estimate"] < 0.65
        assert "Race is not drawn in these phantoms" in page
    counts = pl.read_csv(out / "published.csv").filter(quantity="images")
    assert counts["reason"].unique().to_list() == ["phantoms: drawn images, nothing of them is comparable"]
