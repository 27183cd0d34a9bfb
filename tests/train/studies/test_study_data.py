"""A catalog and a store of one's own: what a study depends on of them, the splits that are made, what is lacking."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from chexnet_catalog import make_catalog

import cxrdata
from cxrdata.errors import CxrError
from cxrtrain.studies.case_study.fpr import Wish
from cxrtrain.studies.case_study.road import Road, models_of, plan_of_road
from cxrtrain.studies.data import SplitWish, StudyData

Command = Callable[..., tuple[int, str, str]]
WISH = SplitWish("mine", ("--ratios", "0.5,0.2,0.3"), ("padchest", "nih_cxr14"))


@pytest.fixture(scope="module")
def whole(synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_catalog(tmp_path_factory.mktemp("own") / "cat", synthetic("nih_cxr14", scale=0.001))


@pytest.fixture
def own(whole: Path, tmp_path: Path) -> StudyData:
    """A catalog without splits, and what a finished store leaves for a study to see."""
    catalog = shutil.copytree(whole, tmp_path / "cat", copy_function=os.link)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "manifest.json").write_text(json.dumps({"side": 32}))
    return StudyData((WISH,), catalog=catalog, store=tmp_path / "store", needs=("nih_cxr14",))


def test_a_split_is_made_once_of_what_the_catalog_has(own: StudyData) -> None:
    said: list[str] = []
    before = own.inputs()
    own.make_splits(said.append)
    assert said == [f"split mine: made in {own.catalog}"]
    with cxrdata.open(own.catalog) as opened:
        made = opened.split("mine")
        assert set(made["dataset"]) == {"nih_cxr14"}
        assert set(made["split"]) == {"train", "valid", "test"}
    own.make_splits(said.append)
    assert len(said) == 1
    after = own.inputs()
    assert before["splits"] == {"mine": ["--ratios", "0.5,0.2,0.3", "--dataset", "nih_cxr14"]}
    assert after["splits"] != before["splits"] and after["catalog"] == before["catalog"]
    assert own.inputs() == after


def test_another_split_of_the_name_or_another_store_is_another_input(own: StudyData) -> None:
    own.make_splits()
    first = own.inputs()
    assert own.catalog is not None and own.store is not None
    shutil.rmtree(own.catalog / "splits" / "mine")
    StudyData((SplitWish("mine", ("--ratios", "0.4,0.3,0.3")),), catalog=own.catalog, store=own.store).make_splits()
    second = own.inputs()
    (own.store / "manifest.json").write_text(json.dumps({"side": 64}))
    third = own.inputs()
    assert [name for name in first if first[name] != second[name]] == ["splits"]
    assert [name for name in first if second[name] != third[name]] == ["store"]


def test_the_default_catalog_gets_its_split_too(own: StudyData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRDATA_CATALOG", str(own.catalog))
    unnamed = StudyData((WISH,), store=own.store)
    unnamed.make_splits()
    assert own.catalog is not None
    assert (own.catalog / "splits" / "mine" / "split.csv").is_file()
    assert unnamed.inputs() == own.inputs()


def test_what_is_lacking_is_said_before_anything_is_made(own: StudyData) -> None:
    road = Road(catalog=own.catalog, store=own.store, models=("padchest", "nih_cxr14"))
    with pytest.raises(CxrError, match="the catalog lacks what is trained on: padchest") as caught:
        road.data.inputs()
    assert caught.value.code == "CXR-501"
    assert str(caught.value.fix).endswith("or train on what this one has: --models nih_cxr14")
    for store, code in ((None, "CXR-502"), (Path("no"), "CXR-148")):
        with pytest.raises(CxrError) as caught:
            StudyData((WISH,), catalog=own.catalog, store=store).inputs()
        assert caught.value.code == code


def test_a_store_of_another_size_is_refused_while_planning(own: StudyData, tmp_path: Path) -> None:
    road = Road(catalog=own.catalog, store=own.store, models=("nih_cxr14",))
    with pytest.raises(
        CxrError, match="the store holds images of 32 pixels a side, and the experiment takes 224"
    ) as caught:
        plan_of_road(tmp_path, road, Wish())
    assert caught.value.code == "CXR-151"
    fits = Road(catalog=own.catalog, store=own.store, models=("nih_cxr14",), sets=("data.side=32",))
    assert plan_of_road(tmp_path, fits, Wish()).table()["stage"].to_list()[0] == "train-nih_cxr14"


def test_a_misspelt_stage_makes_no_split(own: StudyData, command: Command, tmp_path: Path) -> None:
    asked = (
        "-c",
        own.catalog,
        "--store",
        own.store,
        "--set",
        "data.side=32",
        "--models",
        "nih",
        "--out",
        tmp_path / "out",
    )
    code, _, err = command(*asked, "--only", "trian-nih_cxr14")
    assert (code, "there is no stage 'trian-nih_cxr14'; did you mean train-nih_cxr14" in err) == (2, True), err
    assert own.catalog is not None
    assert not (own.catalog / "splits" / "age-bias").exists()
    assert not (tmp_path / "out").exists()


def test_models_by_alias() -> None:
    assert models_of(("nih", "vindr_cxr", "nih_cxr14")) == ("nih_cxr14", "vindr_cxr")
    with pytest.raises(CxrError, match="no model is trained on 'mimic_cxr'"):
        models_of(("mimic",))


def test_the_case_studys_split_does_not_depend_on_which_models_are_asked_for(own: StudyData) -> None:
    """Or a later training of the others would find a split without their images."""
    one, all_four = (Road(catalog=own.catalog, store=own.store, models=models) for models in (("nih_cxr14",), ("nih_cxr14", "chexpert")))  # fmt: skip
    assert one.data.splits == all_four.data.splits
