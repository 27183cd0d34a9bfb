"""Bundles from splits: who is in, who is left out and why, what is told, what is refused."""

from __future__ import annotations

import json
import shlex
import shutil
import statistics
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cxrdata
from cxrdata.errors import CxrError
from cxrdata.splits.make import make_split
from cxrdata.splits.request import SplitRequest
from cxrdata.splits.stored import store_split
from cxrdata.store.catalog import Catalog
from cxrtrain.bundle import ROWS, Bundle, open_bundle
from cxrtrain.config import DataConfig, Experiment, HeadConfig
from cxrtrain.config_file import read_experiment
from cxrtrain.prepare import PREDICT, bundle_of_frame, bundle_of_split, prepare

KEY = ["dataset", "image_id"]
HEART = HeadConfig("heart", "binary", finding="cardiomegaly")
SEX = HeadConfig("sex", "classes", attribute="sex", classes=("M", "F"))
AGE = HeadConfig("age", "regression", attribute="age_years")


def experiment(*heads: HeadConfig, split: str = "s", **data: object) -> Experiment:
    return Experiment("test", heads, data=DataConfig(split=split, **data))  # type: ignore[arg-type]


def stored(catalog: Catalog, name: str = "s", **wishes: object) -> pl.DataFrame:
    """A split, made and stored as `cxrdata split` does."""
    made = make_split(catalog, SplitRequest(**wishes))  # type: ignore[arg-type]
    store_split(catalog, name, made.frame, made.manifest)
    return made.frame


def left_out(bundle: Bundle) -> dict[str, int]:
    return {one["reason"]: one["images"] for one in bundle.about["left_out"]}


def refused(code: str) -> pytest.RaisesExc[CxrError]:
    return pytest.RaisesExc(CxrError, check=lambda error: error.code == code)


def test_every_image_of_the_split_is_in_or_left_out_with_a_reason(catalog: Catalog, tmp_path: Path) -> None:
    split = stored(catalog, datasets=("chexpert", "nih_cxr14"))
    bundle = prepare(catalog, experiment(HEART), tmp_path / "b")
    assert bundle.about["images_of_split"] == split.height == len(bundle) + sum(left_out(bundle).values())
    assert set(left_out(bundle)) == {
        "cardiomegaly is uncertain",
        "neither healthy nor positive for cardiomegaly",
    }
    rows = pl.DataFrame(pl.from_arrow(bundle.table))
    assert rows.select(KEY).equals(rows.select(KEY).sort(KEY))
    assert rows["target_heart"].null_count() == 0
    # The part of each row is that of the split, and all parts are there.
    assert rows.join(split, on=KEY)["split"].to_list() == rows["part"].to_list()
    assert set(bundle.parts()) == {"train", "valid", "test"}
    assert {one["part"]: one["images"] for one in bundle.about["counts"]} == bundle.parts()
    (test,) = (one for one in bundle.about["counts"] if one["part"] == "test")
    assert test["targets"]["heart"]["heart"] == {
        "positive": rows.filter(part="test")["target_heart"].sum(),
        "negative": rows.filter(part="test", target_heart=0).height,
        "unknown": 0,
    }


def test_of_several_heads_one_known_target_is_enough(catalog: Catalog, tmp_path: Path) -> None:
    split = stored(catalog, datasets=("vindr_cxr",))
    bundle = prepare(catalog, experiment(HEART, AGE), tmp_path / "b")
    heart, age = (bundle.targets(head) for head in bundle.heads)
    assert not (np.isnan(heart) & np.isnan(age)).any()
    assert np.isnan(heart).any() and np.isnan(age).any()
    assert left_out(bundle) == {
        "heart: neither healthy nor positive for cardiomegaly; age: age_years is not known": split.height - len(bundle)
    }
    assert len(bundle) < split.height


def test_numbers_are_scaled_by_the_training_part(catalog: Catalog, tmp_path: Path) -> None:
    split = stored(catalog, datasets=("padchest",))
    bundle = prepare(catalog, experiment(AGE), tmp_path / "b")
    ages = catalog.table("images").select(*KEY, "age_years").collect()
    train = split.filter(split="train").join(ages, on=KEY)["age_years"].drop_nulls().to_list()
    assert bundle.heads[0].mean == pytest.approx(statistics.mean(train), rel=1e-12)
    assert bundle.heads[0].sd == pytest.approx(statistics.pstdev(train), rel=1e-12)


def test_groups_are_numbered_combinations(catalog: Catalog, tmp_path: Path) -> None:
    stored(catalog, datasets=("chexpert",))
    bundle = prepare(catalog, experiment(HEART, groups=("race", "sex")), tmp_path / "b")
    assert list(bundle.groups) == sorted(bundle.groups)
    assert "race=White, sex=F" in bundle.groups
    patients = {
        (row["dataset"], row["image_id"]): row for row in catalog.table("images").collect().iter_rows(named=True)
    }
    unknown = 0
    for dataset, image, group in zip(bundle.dataset, bundle.image_id, bundle.group, strict=True):
        one = patients[dataset, image]
        if one["race"] is None or one["sex"] is None:
            unknown += 1
            assert group == -1
        else:
            assert bundle.groups[group] == f"race={one['race']}, sex={one['sex']}"
    assert unknown
    without = prepare(catalog, experiment(HEART), tmp_path / "without")
    assert without.groups == () and set(without.group.tolist()) == {-1}


def test_folds_come_along_and_need_no_validation_part(catalog: Catalog, tmp_path: Path) -> None:
    split = stored(catalog, datasets=("nih_cxr14",), folds=3)
    bundle = prepare(catalog, experiment(SEX), tmp_path / "b")
    assert bundle.parts() == {one: split.filter(split=one).height for one in ("train", "test")}
    valid = {bundle.image_id[row] for row in bundle.rows("valid", fold=(1, 3))}
    assert valid == set(split.filter(fold=1)["image_id"])


def test_weights_and_draws_come_along(catalog: Catalog, tmp_path: Path) -> None:
    split = stored(catalog, "weighted", datasets=("chexpert",), balance=("race",), mode="weights")
    bundle = prepare(catalog, experiment(SEX, split="weighted"), tmp_path / "w")
    weights = {row["image_id"]: row["weight"] for row in split.iter_rows(named=True)}
    assert bundle.weight.tolist() == [weights[image] for image in bundle.image_id]
    assert len(set(bundle.weight.tolist())) > 1
    drawn = stored(catalog, "drawn", datasets=("chexpert",), balance=("race",), mode="resample")
    bundle = prepare(catalog, experiment(SEX, split="drawn"), tmp_path / "d")
    draws = Counter({row["image_id"]: row["n_draws"] for row in drawn.filter(split="train").iter_rows(named=True)})
    repeated = Counter(bundle.image_id[row] for row in bundle.rows("train", repeated=True))
    known = set(bundle.image_id)
    assert repeated == Counter({image: n for image, n in draws.items() if image in known and n})


def test_datasets_narrow_the_split(catalog: Catalog, tmp_path: Path) -> None:
    split = stored(catalog)
    bundle = prepare(catalog, experiment(SEX, datasets=("nih",)), tmp_path / "b")
    ours = split.filter(dataset="nih_cxr14").height
    assert set(bundle.dataset) == {"nih_cxr14"}
    assert left_out(bundle) == {"of a dataset that the experiment does not ask for": split.height - ours}
    assert bundle.about["terms"] == {"nih_cxr14": "NIH Clinical Center terms"}


def test_the_same_bytes_wherever_the_catalog_lies(catalog: Catalog, tmp_path: Path) -> None:
    stored(catalog, datasets=("chexpert", "padchest"))
    wish = experiment(HEART, AGE, SEX, groups=("sex",))
    first = prepare(catalog, wish, tmp_path / "a").folder
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(catalog.folder.path, elsewhere, symlinks=True)
    with cxrdata.open(elsewhere) as moved:
        again = prepare(moved, wish, tmp_path / "b" / "c").folder
    for path in sorted(first.iterdir()):
        assert path.read_bytes() == (again / path.name).read_bytes()
    text = (first / "bundle.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text and Path.home().as_posix() not in text
    about = json.loads(text)
    assert about["catalog_build"] == catalog.build.build_id
    assert about["experiment"] == "test" and about["split"]["name"] == "s"
    assert about["split"]["rows_sha256"] == catalog.split("s").manifest["rows_sha256"]  # type: ignore[index]
    assert about["synthetic"] == ["chexpert", "padchest"]


def test_nothing_of_a_patient_but_key_targets_and_group(catalog: Catalog, tmp_path: Path) -> None:
    stored(catalog, datasets=("chexpert",))
    bundle = prepare(catalog, experiment(HEART), tmp_path / "b")
    assert bundle.table.column_names == [
        "dataset", "image_id", "part", "fold", "n_draws", "weight", "group", "target_heart",
    ]  # fmt: skip


def test_a_missing_split_is_made_by_the_experiments_command(catalog: Catalog, tmp_path: Path) -> None:
    wish = read_experiment("chexploration-sex")
    with refused("CXR-501") as raised:
        prepare(catalog, wish, tmp_path / "b")
    assert str(raised.value) == (
        "error CXR-501: the catalog has no split 'chexploration-chexpert' yet\n"
        "  fix: make it: cxrdata split --cohort chexploration_chexpert --ratios 0.6,0.1,0.3 --seed 42 --name chexploration-chexpert"
    )
    # Of another name the command would not make it.
    with refused("CXR-501") as raised:
        prepare(catalog, wish, tmp_path / "b", split="mine")
    assert raised.value.problem == "there is no split 'mine'"
    assert not (tmp_path / "b").exists()


def test_no_split_no_part(catalog: Catalog, tmp_path: Path) -> None:
    with refused("CXR-502"):
        prepare(catalog, replace(experiment(SEX), data=DataConfig()), tmp_path / "b")
    stored(catalog, datasets=("nih_cxr14",), ratios="0.8,0.2")
    with refused("CXR-501") as raised:
        prepare(catalog, experiment(SEX), tmp_path / "b")
    assert str(raised.value) == (
        "error CXR-501: the split s has no part 'valid'\n"
        "  fix: parts: test, train; say which with --set data.train=… and --set data.valid=…"
    )


def test_one_class_is_nothing_to_learn(catalog: Catalog, tmp_path: Path) -> None:
    split = stored(catalog, datasets=("nih_cxr14",), subgroup=("sex=M",))
    with refused("CXR-152") as raised:
        prepare(catalog, experiment(SEX), tmp_path / "b")
    n = split.filter(split="train").height
    assert str(raised.value) == (
        f"error CXR-152: s, train: head 'sex' has one value only: {n} images of class M\n"
        "  at:  splits/s\n"
        "  fix: make another split, with more or other images"
    )
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("where", "head", "problem"),
    [
        ("no_finding = 1", HEART, "head 'heart' has one value only: heart 0 positive, {n} negative"),
        (
            "no_finding = 1",
            HeadConfig("d", "multilabel", labels=("edema", "mass")),
            "head 'd' has one value only: edema 0 positive, {n} negative; mass 0 positive, {n} negative",
        ),
        (
            "no_finding = 1",
            HeadConfig("d", "multilabel", labels=("lung_lesion",)),
            "no image has a known target of head 'd'",
        ),
        (
            "no_finding = 1",
            HeadConfig("d", "multilabel", labels=("edema", "lung_lesion")),
            "head 'd' has one value only: edema 0 positive, {n} negative; lung_lesion 0 known",
        ),
    ],
)
def test_one_side_of_a_finding_is_nothing_to_learn(
    catalog: Catalog, tmp_path: Path, where: str, head: HeadConfig, problem: str
) -> None:
    healthy = catalog.sql(f"SELECT dataset, image_id FROM image_labels WHERE dataset = 'nih_cxr14' AND {where}")
    made = make_split(catalog, SplitRequest(datasets=("nih_cxr14",)))
    frame = made.frame.join(healthy, on=KEY, how="semi")
    store_split(catalog, "s", frame, made.manifest)
    with refused("CXR-152") as raised:
        prepare(catalog, experiment(head), tmp_path / "b")
    assert raised.value.problem == "s, train: " + problem.format(n=frame.filter(split="train").height)
    assert raised.value.fix == (
        "make another split, with more or other images, or read the labels otherwise, such as "
        f"--set heads.{head.name}.policy=zeros"
    )


def test_one_label_of_one_value_among_others_is_learnt_around(catalog: Catalog, tmp_path: Path) -> None:
    stored(catalog, datasets=("nih_cxr14",))
    head = HeadConfig("d", "multilabel", labels=("infiltration", "lung_lesion"))
    bundle = prepare(catalog, experiment(head), tmp_path / "b")
    (train,) = (one for one in bundle.about["counts"] if one["part"] == "train")
    assert train["targets"]["d"]["lung_lesion"] == {"positive": 0, "negative": 0, "unknown": train["images"]}


def test_folds_of_one_class_are_refused_together(catalog: Catalog, tmp_path: Path) -> None:
    made = make_split(catalog, SplitRequest(datasets=("nih_cxr14",), folds=3))
    sexes = made.frame.join(catalog.table("images").select(*KEY, "sex").collect(), on=KEY)
    women = pl.col("sex") == "F"
    # What one fold lacks, the others have: whether that is enough is seen when a fold is chosen.
    for name, kept, allowed in (("one", (pl.col("fold") != 2) | women, True), ("all", women, False)):
        frame = sexes.filter(kept | pl.col("fold").is_null()).drop("sex")
        store_split(catalog, name, frame, made.manifest)
        wish = experiment(SEX)
        if allowed:
            assert len(prepare(catalog, wish, tmp_path / name, split=name)) > 0
            continue
        with refused("CXR-152") as raised:
            prepare(catalog, wish, tmp_path / name, split=name)
        n = frame["fold"].is_not_null().sum()
        assert raised.value.problem == f"{name}, all folds: head 'sex' has one value only: {n} images of class F"


def test_a_bundle_to_predict_holds_images_without_any_target(catalog: Catalog, tmp_path: Path) -> None:
    split = stored(catalog, datasets=("vindr_pcxr", "vindr_cxr"))
    whole = bundle_of_split(catalog, "s", tmp_path / "whole")
    assert len(whole) == split.height and whole.heads == ()
    assert whole.parts() == dict(split["split"].value_counts().rows())
    test = bundle_of_split(catalog, "s:test", tmp_path / "test", datasets=("pcxr",))
    ours = split.filter(split="test", dataset="vindr_pcxr")
    assert test.image_id == ours["image_id"].to_list()
    assert test.rows("test").tolist() == list(range(ours.height))
    assert test.about["split"]["name"] == "s" and list(test.about["terms"]) == ["vindr_pcxr"]
    for said, fix in (("s:tset", "parts: test, train, valid"), ("t", "splits: s")):
        with refused("CXR-501") as raised:
            bundle_of_split(catalog, said, tmp_path / "none")
        assert raised.value.fix == fix


def test_a_bundle_of_any_images(tmp_path: Path) -> None:
    frame = pl.DataFrame({"dataset": ["b", "a", "a", "b"], "image_id": ["2", "9", "1", "2"]})
    bundle = bundle_of_frame(frame, tmp_path / "b", note="mine")
    assert list(zip(bundle.dataset, bundle.image_id, strict=True)) == [("a", "1"), ("a", "9"), ("b", "2")]
    assert bundle.parts() == {PREDICT: 3} and bundle.about["note"] == "mine"
    assert open_bundle(tmp_path / "b").rows(PREDICT).tolist() == [0, 1, 2]
    with refused("CXR-507"):
        bundle_of_frame(frame.clear(), tmp_path / "none")


def test_real_nih(nih: Catalog, nih_rows: dict[str, dict[str, str]], tmp_path: Path) -> None:
    """CheXNet's bundle of the real file: every image, its labels and its part, against the file and split.csv."""
    command = shlex.split(read_experiment("chexnet").data.made_by or "")
    assert command == [
        "cxrdata", "split", "--cohort", "chexnet_nih", "--ratios", "0.7,0.1,0.2", "--name", "chexnet",
    ]  # fmt: skip
    split = stored(nih, "chexnet", cohort="chexnet_nih", ratios="0.7,0.1,0.2")
    bundle = prepare(nih, read_experiment("chexnet"), tmp_path / "b")
    assert len(bundle) == 112_120 and bundle.about["left_out"] == [] and bundle.about["synthetic"] == []
    parts = dict(split.select("image_id", "split").iter_rows())
    expected = Counter(parts[image] for image, row in nih_rows.items() if "Hernia" in row["Finding Labels"].split("|"))
    assert sum(expected.values()) == 227
    told = {one["part"]: one["targets"]["findings"]["hernia"] for one in bundle.about["counts"]}
    assert {part: counts["positive"] for part, counts in told.items()} == expected
    patients = {part: {row["Patient ID"] for image, row in nih_rows.items() if parts[image] == part} for part in told}
    assert not patients["train"] & (patients["valid"] | patients["test"])
    assert (tmp_path / "b" / ROWS).stat().st_size < 3_000_000
