"""`cxrdata split` as it is typed: what it prints, stores, refuses, and that recipes travel."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from said import Said, is_one_block

import cxrdata
from cxrdata.sources.base import Registry
from cxrdata.splits.leaks import find_leaks
from cxrdata.splits.make import make_split
from cxrdata.splits.request import SplitRequest
from cxrdata.store.build import BuildRequest, build_catalog

DATASETS = {"chexpert": 0.004, "nih_cxr14": 0.004, "vindr_cxr": 0.01}


@pytest.fixture(scope="module")
def made_catalog(registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli-split") / "cxr-catalog"
    named = [(registry.get(name), synthetic(name, scale=scale)) for name, scale in DATASETS.items()]
    build_catalog(BuildRequest(folder, named=named, workers=1))
    return folder


@pytest.fixture
def here(made_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a catalog in its default place, so that no command needs -c."""
    shutil.copytree(made_catalog, tmp_path / "cxr-catalog", copy_function=_linked)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _linked(source: str, target: str) -> str:
    Path(target).hardlink_to(source)
    return target


def frame_of(name: str) -> pl.DataFrame:
    with cxrdata.open() as catalog:
        return pl.DataFrame(catalog.split(name))


def test_balance_race_with_nothing_else(say: Callable[..., Said], here: Path) -> None:
    said = say("split", "--balance", "race", "--format", "csv")
    assert said.code == 0, said.err
    table = pl.read_csv(io.StringIO(said.out))
    assert table.columns == ["dataset", "race", "available", "train", "valid", "test", "given_up"]
    assert set(table["dataset"]) == {"chexpert"}
    assert table.select("train", "valid", "test").n_unique() == 1, "each race has the same numbers in the three splits"
    assert "left out: nih_cxr14" in said.err
    assert "no patient stands in two splits" in said.err
    assert said.err.splitlines()[-1].startswith(
        "split race-balanced is stored; next: cxrdata split recipe race-balanced"
    )
    stored = here / "cxr-catalog" / "splits" / "race-balanced"
    apart = json.loads((stored / "manifest.json").read_text())["distance_from_balance"]
    assert {row["attribute"]: row["points"] for row in apart}["race"] == 0
    assert sorted(path.name for path in stored.iterdir()) == ["manifest.json", "split.csv", "split.parquet"]
    assert (stored / "split.csv").read_text().startswith("dataset,image_id,patient_id,split\n")
    counted = say(
        "sql", "SELECT count(*) AS n FROM splits WHERE split_name = 'race-balanced'", "--format", "csv", "--quiet"
    )
    assert int(counted.out.splitlines()[1]) == frame_of("race-balanced").height


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "options",
    [
        [], ["--exact"], ["--stratify", "sex,age_group"], ["--folds", "3"], ["--official"], ["--subgroup", "sex=F"], ["--max-images-per-patient", "1", "--keep", "frontal"],
        ["--min-images-per-patient", "2"], ["--where", "view = 'PA'"], ["--cohort", "chexnet_nih"], ["--balance", "sex", "--mode", "weights"],
        ["--balance", "sex", "--mode", "resample"], ["--balance", "sex,cardiomegaly", "--policy", "zeros"], ["--balance", "sex", "--unit", "patient", "--dataset", "nih"],
        ["--pediatric-vs-adult"], ["--pediatric-vs-adult", "--match", "sex", "--children", "possible"], ["--ratios", "0.8,0.2", "--seed", "7"],
        ["--spurious", "pleural_effusion", "--with", "sex", "--per-cell", "2", "--dataset", "chexpert", "--policy", "dne"],
    ],
)  # fmt: skip
def test_every_kind_of_split_is_sound_and_comes_back(say: Callable[..., Said], options: list[str]) -> None:
    said = say("split", *options, "--name", "mine")
    assert said.code == 0, said.err
    frame = frame_of("mine")
    assert find_leaks(frame).n_patients == 0
    assert frame.equals(frame.sort("dataset", "image_id"))
    assert say("split", "verify", "mine").code == 0
    assert say("split", "recipe", "mine", "--out", "mine.json").code == 0
    rebuilt = say("split", "rebuild", "mine.json", "--name", "again")
    assert rebuilt.code == 0, rebuilt.err
    assert frame_of("again").equals(frame)


def test_a_recipe_holds_no_id(say: Callable[..., Said], here: Path) -> None:
    say("split", "--dataset", "nih,chexpert", "--name", "mine")
    text = say("split", "recipe", "mine").out
    ids = (
        frame_of("mine")
        .select(pl.concat([pl.col("image_id"), pl.col("patient_id").filter(pl.col("dataset") == "chexpert")]).unique())
        .to_series()
    )
    assert not [one for one in ids if one in text]
    assert json.loads(text)["split_name"] == "mine"
    assert here.name not in text


@pytest.mark.usefixtures("here")
def test_a_recipe_elsewhere_says_what_differs(say: Callable[..., Said]) -> None:
    say("split", "--name", "mine", "--dataset", "nih")
    recipe = json.loads(say("split", "recipe", "mine").out)
    recipe["arguments"]["seed"] = 1
    Path("other.json").write_text(json.dumps(recipe))
    said = say("split", "rebuild", "other.json", "--name", "again")
    assert said.code == 1
    assert "error CXR-409: the split is not identical: nih_cxr14 test:" in said.err
    assert not Path("cxr-catalog/splits/again").exists()


@pytest.mark.usefixtures("here")
def test_the_same_again_and_another_of_the_name(say: Callable[..., Said]) -> None:
    assert say("split", "--name", "mine").code == 0
    assert say("split", "--name", "mine").code == 0
    is_said = say("split", "--name", "mine", "--seed", "1")
    is_one_block(is_said, "CXR-502")
    assert "another split is called 'mine'" in is_said.err
    assert say("split", "--name", "mine", "--seed", "1", "--replace").code == 0


@pytest.mark.usefixtures("here")
def test_attributes_are_stored_only_when_asked_for(say: Callable[..., Said]) -> None:
    say("split", "--name", "mine", "--with-columns", "race,age_group:decades")
    assert frame_of("mine").columns == ["dataset", "image_id", "patient_id", "split", "race", "age_group:decades"]


@pytest.mark.usefixtures("here")
def test_a_file_that_lists_the_test_images(say: Callable[..., Said]) -> None:
    """As reproduce-chexnet's preds.csv: the cohort's other patients are placed in the other splits."""
    with cxrdata.open() as catalog:
        images = catalog.sql(
            "SELECT image_id AS \"Image Index\" FROM images WHERE dataset = 'nih_cxr14' AND patient_id LIKE '%1' ORDER BY ALL"
        )
    images.write_csv("preds.csv")
    said = say("split", "--from-file", "preds.csv", "--listed", "test", "--cohort", "chexnet_nih", "--name", "chexnet")
    assert said.code == 0, said.err
    frame = frame_of("chexnet")
    assert frame.filter(split="test").height == images.height
    assert set(frame["split"]) == {"train", "valid", "test"}
    assert (
        frame.height
        == say("sql", "FROM images WHERE dataset = 'nih_cxr14'", "--format", "csv", "--quiet").out.count("\n") - 1
    )


BAD = {
    "unknown column": (["--balance", "rase"], "CXR-501", "did you mean race"),
    "unknown column in where": (["--where", "vieww = 'PA'"], "CXR-503", "view"),
    "where that writes": (["--where", "true); DROP TABLE images; --"], "CXR-503", "fix:"),
    "ratios": (["--ratios", "0.6,0.1,0.2"], "CXR-502", "sum to 0.9"),
    "folds": (["--folds", "100000"], "CXR-502", "folds"),
    "one fold": (["--folds", "1"], "CXR-502", "folds"),
    "unknown dataset": (["--dataset", "nhi"], "CXR-501", "nih_cxr14"),
    "unknown cohort": (["--cohort", "chexnet_nhi"], "CXR-501", "did you mean chexnet_nih"),
    "unknown group": (["--balance", "race", "--groups", "Whit"], "CXR-501", "White"),
    "subgroup without value": (["--subgroup", "race"], "CXR-502", "ATTRIBUTE=VALUE"),
    "subgroup of nobody": (["--subgroup", "race=Green"], "CXR-501", "no image has race 'Green'"),
    "nothing left": (["--where", "false"], "CXR-507", "no image is left"),
    "too few images each": (["--min-images-per-patient", "100000"], "CXR-507", "no patient"),
    "a name that is a path": (["--name", "../mine"], "CXR-502", "cannot name a split"),
    "a file that is not there": (["--from-file", "nowhere.csv"], "CXR-101", "nowhere.csv"),
    "how to read no file": (["--listed", "test"], "CXR-502", "--from-file"),
    "two designs": (["--balance", "race", "--official"], "CXR-502", "different designs"),
    "files nobody checked": (["--only-existing"], "CXR-502", "images check"),
    "where that chance has a part in": (["--where", "random() < 0.5"], "CXR-503", "answers otherwise each time"),
    "an empty variable": (["--balance", ""], "CXR-502", "was given none"),
    "a part restricted after balancing": (["--balance", "race", "--subgroup", "sex=F"], "CXR-502", "--subgroup"),
    "keep of nothing": (["--keep", "first"], "CXR-502", "--max-images-per-patient"),
    "unit of nothing": (["--unit", "patient"], "CXR-502", "--unit"),
    "a finding that is none": (["--pediatric-vs-adult", "--finding", "view"], "CXR-501", "no finding"),
    "children alone": (
        ["--pediatric-vs-adult", "--finding", "hernia", "--dataset", "vindr"],
        "CXR-410",
        "no dataset here",
    ),
    "a subcommand that is none": (["verfy"], "CXR-501", "verify"),
    "unknown split": (["verify", "mine"], "CXR-501", "neither a split nor a file"),
    "recipe of an unknown split": (["recipe", "mine"], "CXR-501", "there is no split 'mine'"),
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("case", BAD)
def test_bad_input(say: Callable[..., Said], case: str) -> None:
    arguments, code, told = BAD[case]
    said = say("split", *arguments)
    is_one_block(said, code)
    assert told in said.err
    assert not Path("cxr-catalog/splits").exists() or not list(Path("cxr-catalog/splits").iterdir())


@pytest.mark.usefixtures("here")
def test_a_cohort_of_ones_own_that_never_ends_is_stopped(say: Callable[..., Said]) -> None:
    Path("mine.sql").write_text(
        "-- Mine.\n-- step: all\nSELECT dataset, image_id FROM images, range(100000000) AS r, range(100000) AS s WHERE r.range * s.range % 7 = 9\n"
    )
    said = say("split", "--cohort", "mine.sql", "--timeout", "0.3")
    is_one_block(said, "CXR-506")
    assert "step 'all'" in said.err


@pytest.mark.usefixtures("here")
def test_list_and_export(say: Callable[..., Said]) -> None:
    say("split", "--name", "mine", "--dataset", "nih")
    assert "mine" in say("split", "list").out
    said = say("split", "export", "mine", "--layout", "index")
    assert said.code == 0, said.err
    assert list(Path("mine-index").iterdir())


@pytest.mark.usefixtures("here")
def test_a_published_file_is_part_of_the_recipe(say: Callable[..., Said]) -> None:
    with cxrdata.open() as catalog:
        images = catalog.sql(
            "SELECT image_id FROM images WHERE dataset = 'nih_cxr14' AND patient_id LIKE '%1' ORDER BY ALL"
        )
    images.write_csv("mine.csv")
    arguments = ["split", "--from-file", "mine.csv", "--listed", "test", "--cohort", "chexnet_nih", "--name", "mine"]
    assert say(*arguments).code == 0
    assert say("split", "recipe", "mine", "--out", "mine.json").code == 0
    is_one_block(say("split", "rebuild", "mine.json", "--name", "again"), "CXR-502")
    assert say("split", "rebuild", "mine.json", "--name", "again", "--file", "mine.csv").code == 0
    assert frame_of("again").equals(frame_of("mine"))
    Path("mine.csv").write_text(Path("mine.csv").read_text() + "\n")
    said = say("split", "rebuild", "mine.json", "--name", "other", "--file", "mine.csv")
    is_one_block(said, "CXR-502")
    assert "another file than the recipe's" in said.err


@pytest.mark.usefixtures("here")
def test_a_resampled_split_is_made_again(say: Callable[..., Said]) -> None:
    say("split", "--name", "mine", "--dataset", "nih")
    assert (
        say("resample", "mine", "--split", "test", "--balance", "sex", "--match", "view", "--name", "drawn").code == 0
    )
    verified = say("split", "verify", "drawn", "--format", "csv")
    assert verified.code == 0
    assert "made again,ok" in verified.out
    assert say("split", "recipe", "drawn", "--out", "drawn.json").code == 0
    assert say("split", "rebuild", "drawn.json", "--name", "again").code == 0


@pytest.mark.usefixtures("here")
def test_a_file_of_another_dataset_than_the_cohort(say: Callable[..., Said]) -> None:
    with cxrdata.open() as catalog:
        images = catalog.sql("SELECT image_id, 'test' AS split FROM images WHERE dataset = 'nih_cxr14' ORDER BY ALL")
    images.write_csv("mine.csv")
    is_one_block(say("split", "--from-file", "mine.csv", "--cohort", "chexploration_chexpert"), "CXR-507")


@pytest.mark.usefixtures("here")
def test_folds_that_can_be_had_are_advised(say: Callable[..., Said]) -> None:
    said = say("split", "--folds", "100000", "--dataset", "nih")
    advised = said.err.rpartition("--folds ")[2].strip()
    assert say("split", "--folds", advised, "--dataset", "nih", "--name", "mine").code == 0


@pytest.mark.usefixtures("here")
def test_from_python_as_a_person_would_type_it() -> None:
    with cxrdata.open() as catalog:
        made = make_split(catalog, SplitRequest(datasets="nih", ratios=(0.5, 0.5), seed=3))
    assert set(made.frame["split"]) == {"train", "test"}
    assert made.manifest["arguments"] == {"datasets": ["nih"], "ratios": "0.5,0.5", "seed": 3}


def test_a_disease_that_goes_with_a_sex(say: Callable[..., Said], here: Path) -> None:
    wishes = [
        "--spurious",
        "pleural_effusion",
        "--with",
        "sex",
        "--dataset",
        "chexpert",
        "--per-cell",
        "2",
        "--train-images",
        "30",
    ]
    said = say("split", *wishes, "--with-columns", "sex,pleural_effusion", "--format", "csv")
    assert said.code == 0, said.err
    table = pl.read_csv(io.StringIO(said.out))
    assert table.select("label", "sex", "train", "test").rows() == [
        ("positive", "F", 14, 2), ("positive", "M", 1, 2), ("healthy", "F", 1, 2), ("healthy", "M", 14, 2),
    ]  # fmt: skip
    assert "left out: chexpert" in said.err
    frame = frame_of("pleural-effusion-with-sex")
    assert frame.filter(split="train", sex="F", pleural_effusion="positive").height == 14


@pytest.mark.parametrize(
    ("wishes", "code", "told"),
    [
        (["--with", "sex"], "CXR-410", "chexpert: the cell positive for pleural_effusion and sex "),
        (["--with", "race"], "CXR-502", 'fix: name one: --with "race='),
        ([], "CXR-502", "say together what is to go with what"),
        (["--with", "sex", "--policy", "zero"], "CXR-513", "no policy and no file 'zero'; did you mean zeros"),
    ],
)
def test_no_correlation_can_be_made(
    say: Callable[..., Said], here: Path, wishes: list[str], code: str, told: str
) -> None:
    said = say("split", "--spurious", "pleural_effusion", "--dataset", "chexpert", *wishes)
    is_one_block(said, code)
    assert told in said.err
