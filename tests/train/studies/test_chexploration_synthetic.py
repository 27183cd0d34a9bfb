"""The whole road by real commands, from drawing to the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from cxrtrain.studies.chexploration.design import MODELS, Wish
from cxrtrain.studies.chexploration.errors import ERRORS
from cxrtrain.studies.chexploration.plan import OUTPUTS
from cxrtrain.studies.chexploration.road import Road, phantoms, plan_of_road

SMALL = ("loop.epochs=1", "data.images_per_epoch=32")


@pytest.mark.usefixtures("undrawn")
def test_every_published_output_comes_of_drawn_images(tmp_path: Path) -> None:
    """A race model, a sex model, a disease model and its SPLIT test, each of one short epoch."""
    tasks = ("disease", "race", "sex", "split-race")
    # A seed that draws all races into every part; one worker, for to start others takes longer than these few drawings.
    drawn = replace(phantoms("chexpert", 2, scales={"chexpert": 0.002}), workers=1)
    road = Road(phantoms=drawn, tasks=tasks, sets=SMALL)
    plan = plan_of_road(tmp_path / "out", road, Wish(bootstrap=20, min_cell=1, plane=False))
    plan.run()
    written = [path.name for path in plan.publish(tmp_path, OUTPUTS)]
    assert written == [
        *("disease", "race", "sex", "split-race"), "funnel.csv", "parts.csv", "resampled.csv", "detection.csv", "attributes.csv",
        "explored-disease", "explored-race", "published.csv", "report.html", "figures",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "race").iterdir()) == ["predictions.test.parquet", "predictions.val.parquet"]  # fmt: skip
    embedded = pl.read_parquet(plan.result("embed-disease") / "disease" / "embeddings.val.parquet")
    assert embedded.height == pl.read_parquet(tmp_path / "disease" / "predictions.val.parquet").height
    compared = pl.read_csv(tmp_path / "published.csv").filter(dataset="chexpert")
    lacking = compared.filter(pl.col("here").is_null())
    # What a group of a handful of patients may leave undefined, and nothing else.
    assert set(lacking["quantity"]) <= {"tpr", "fpr", "auroc"} and lacking["group"].null_count() == 0
    reasons = compared["reason"].unique().to_list()
    assert reasons == ["phantoms: drawn images, nothing of them is comparable"]
    read = pl.read_csv(tmp_path / "attributes.csv", schema=ERRORS)
    assert set(read.filter(rules="published").select("model", "label").rows()) == {
        *((model, race) for model in ("race", "split-race") for race in ("White", "Asian", "Black")),
        ("sex", "M"),
        ("sex", "F"),
    }
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<p class="notice">SYNTHETIC DATA: no image here is of a patient' in page


@pytest.mark.soak
def test_the_whole_study(chexploration_command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """All models as `--data synthetic` makes them; painted."""
    code, out, err = chexploration_command("--data", "synthetic", "--out", tmp_path / "out", "--bootstrap", 200)
    assert code == 0, err
    assert "SYNTHETIC" in err
    written = [Path(line).name for line in out.splitlines()]
    assert written == [name for names in OUTPUTS.values() for name in names]
    compared = pl.read_csv(tmp_path / "out" / "published.csv").filter(dataset="chexpert")
    assert compared["here"].null_count() == 0
    detection = pl.read_csv(tmp_path / "out" / "detection.csv", schema=ERRORS)
    assert set(detection["model"]) == {"disease", "multitask", "disease-white", "disease-male"}
    attributes = pl.read_csv(tmp_path / "out" / "attributes.csv", schema=ERRORS)
    assert set(attributes["model"]) | set(detection["model"]) == set(MODELS)
    assert (tmp_path / "out" / "explored-disease" / "figures" / "joint_tsne_1_2.png").stat().st_size > 10_000
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)
