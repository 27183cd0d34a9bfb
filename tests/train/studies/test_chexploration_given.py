"""Which file is of which model, whoever wrote it; what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from chexploration_predictions import KEY, WIDTH, Study, features, scores, write_our_features, write_ours, write_theirs

import cxrdata
from cxrdata.audit.truth import CatalogTruth
from cxrdata.errors import CxrError
from cxrtrain.studies.chexploration.given import Given, find_given, write_keyed


def found(folder: Path, *orders: Path) -> Given:
    return find_given(folder, orders)


def keyed(study: Study, given: Given, model: str, folder: Path) -> list[str]:
    folder.mkdir(parents=True)
    with cxrdata.open(study.catalog) as catalog:
        source = CatalogTruth(catalog, datasets=["chexpert"], labeler="chexpert")
        return write_keyed(given.files[model], source, folder)


@pytest.fixture(scope="module")
def theirs(chexploration: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theirs")
    write_theirs(chexploration, folder)
    return folder


def test_the_models_of_their_folders(theirs: Path) -> None:
    given = found(theirs / "output", theirs / "order.test.csv", theirs / "order.val.csv")
    assert {model: [(one.kind, one.part, sorted(one.about)) for one in own] for model, own in given.files.items()} == {
        **{
            model: [("embeddings", "test", []), ("predictions", "test", [model]), ("predictions", "val", [model])]
            for model in ("disease", "race", "sex")
        },
        "multitask": [
            ("embeddings", "test", []),
            *(("predictions", part, [about]) for part in ("test", "val") for about in ("disease", "race", "sex")),
        ],
    }
    assert given.notes == []
    without = found(theirs / "output", theirs / "order.test.csv")
    assert [one.part for one in without.files["race"]] == ["test", "test"]
    assert "race/densenet-all/predictions.val.csv: named by position, and no --order with `val` in its name; passed over" in without.notes  # fmt: skip


@pytest.mark.parametrize(
    ("place", "about", "model"),
    [
        ("disease/densenet-white/predictions.test.csv", "disease", "disease-white"),
        ("disease/densenet-male/predictions.test.csv", "disease", "disease-male"),
        ("disease/densenet-female/predictions.test.csv", "disease", "disease"),
        ("race/densenet-all-split/predictions_test.csv", "race", "split-race"),
        ("sex/densenet-all-split/predictions_test.csv", "sex", "split-sex"),
        ("a/predictions.test.csv", "sex", "sex"),
        ("multitask/predictions.test.race.csv", "race", "multitask"),
        ("race.csv", "race", "race"),
    ],
)
def test_the_path_and_the_number_of_outputs_say_which_model(tmp_path: Path, place: str, about: str, model: str) -> None:
    outputs = {"disease": 14, "race": 3, "sex": 2}[about]
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text(",".join(f"class_{at}" for at in range(outputs)) + "\n")
    assert list(found(tmp_path).files) == [model]


def test_positions_become_keys(chexploration: Study, theirs: Path, tmp_path: Path) -> None:
    given = found(theirs / "output", theirs / "order.test.csv", theirs / "order.val.csv")
    keyed(chexploration, given, "multitask", tmp_path / "multitask")
    for part in ("val", "test"):
        rows = chexploration.part(part)
        said = pl.read_parquet(tmp_path / "multitask" / f"predictions.{part}.parquet")
        told = rows.select(KEY).join(said, on=KEY, maintain_order="left")
        assert told.height == said.height == rows.height
        np.testing.assert_array_equal(told.select("prob_white", "prob_asian", "prob_black"), scores(rows, "race", "multitask"))  # fmt: skip
        np.testing.assert_array_equal(told.select("prob_m", "prob_f"), scores(rows, "sex", "multitask"))
        np.testing.assert_array_equal(told["prob_no_finding"], scores(rows, "disease", "multitask")[:, 0])
    embedded = pl.read_parquet(tmp_path / "multitask" / "embeddings.test.parquet")
    rows = chexploration.part("test")
    told = rows.select(KEY).join(embedded, on=KEY, maintain_order="left")
    # Sex and race stand beside their features, and are none.
    assert told["embedding"].dtype == pl.Array(pl.Float64, WIDTH)
    np.testing.assert_array_equal(told["embedding"].to_numpy(), features(rows, "multitask"))


def test_ours_need_no_order(chexploration: Study, theirs: Path, tmp_path: Path) -> None:
    write_ours(chexploration, tmp_path / "in" / "disease" / "predictions.test.parquet", "disease", "disease", "test")
    write_our_features(chexploration, tmp_path / "in" / "disease" / "embeddings.test.parquet", "disease", "test")
    again = tmp_path / "in" / "stages" / "predict-disease-0" / "disease"  # as `cxrdata study` leaves its own folder
    write_ours(chexploration, again / "predictions.test.parquet", "disease", "disease", "test")
    given = find_given(tmp_path / "in")
    assert [one.told for one in given.files["disease"]] == ["disease/embeddings.test.parquet", "disease/predictions.test.parquet"]  # fmt: skip
    assert list(given.files) == ["disease"]
    keyed(chexploration, given, "disease", tmp_path / "ours")
    keyed(chexploration, found(theirs / "output", theirs / "order.test.csv"), "disease", tmp_path / "theirs")
    for name in ("predictions.test.parquet", "embeddings.test.parquet"):
        one, other = (pl.read_parquet(tmp_path / who / name) for who in ("ours", "theirs"))
        assert one.select(sorted(one.columns)).equals(other.select(sorted(other.columns)))
    alone = find_given(tmp_path / "in" / "disease" / "predictions.test.parquet")
    assert [one.kind for one in alone.files["disease"]] == ["predictions"]


def test_the_order_beside_a_file_is_taken(chexploration: Study, theirs: Path, tmp_path: Path) -> None:
    """As `cxrdata predict --layout chexploration` writes it."""
    place = tmp_path / "race" / "predictions.test.csv"
    place.parent.mkdir()
    place.write_bytes((theirs / "output" / "race" / "densenet-all" / "predictions.test.csv").read_bytes())
    chexploration.part("test").select(KEY).write_csv(place.with_suffix(".keys.csv"))
    assert keyed(chexploration, find_given(tmp_path), "race", tmp_path / "out") == []


def refused(code: str, text: str, *wishes: object) -> None:
    with pytest.raises(CxrError, match=text) as error:
        find_given(*wishes)  # type: ignore[arg-type]
    assert error.value.code == code


def test_what_is_no_folder_of_the_study(theirs: Path, tmp_path: Path) -> None:
    refused("CXR-101", "there is no such file or folder", tmp_path / "no")
    refused("CXR-101", "there is no such file or folder", theirs / "output", [tmp_path / "order.csv"])
    (tmp_path / "notes.csv").write_text("a,b\n")
    refused("CXR-120", "no file here holds predictions of the test part", tmp_path)
    refused("CXR-120", "no file here holds predictions", theirs / "output", (), ("disease-white",))
    for backbone in ("densenet", "resnet"):
        (tmp_path / backbone).mkdir()
        (tmp_path / backbone / "predictions.test.csv").write_text("class_0,class_1,class_2\n")
    refused("CXR-502", r"densenet/predictions\.test\.csv and resnet/predictions\.test\.csv both hold predictions of the race model", tmp_path)  # fmt: skip


def test_another_order_is_refused(chexploration: Study, theirs: Path, tmp_path: Path) -> None:
    pl.read_csv(theirs / "order.test.csv").reverse().write_csv(tmp_path / "order.test.csv")
    given = found(theirs / "output", tmp_path / "order.test.csv")
    for at, model in enumerate(("disease", "race")):
        with pytest.raises(CxrError, match="has for positive") as error:
            keyed(chexploration, given, model, tmp_path / str(at))
        assert error.value.code == "CXR-126"
    with pytest.raises(CxrError, match="the rows name no image") as error:
        keyed(chexploration, found(theirs / "output"), "race", tmp_path / "none")
    assert error.value.code == "CXR-517"


def test_several_runs_in_a_file(chexploration: Study, tmp_path: Path) -> None:
    place = tmp_path / "in" / "race" / "predictions.test.parquet"
    write_ours(chexploration, place, "race", "race", "test")
    rows = pl.read_parquet(place)
    pl.concat([rows, rows.with_columns(run_id=pl.lit("other"))]).write_parquet(place)
    with pytest.raises(CxrError, match="several runs: race, other"):
        keyed(chexploration, find_given(tmp_path / "in"), "race", tmp_path / "out")
