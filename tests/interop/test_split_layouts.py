"""Splits as other code reads them: the official values in the columns that it reads, compared with the source files themselves."""

from __future__ import annotations

import ast
import csv
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

import cxrdata
from cxrdata.errors import CxrError
from cxrdata.interop.split_layouts import LAYOUTS, Written, write_layout
from cxrdata.sources.base import Registry
from cxrdata.splits.from_file import read_split_file
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def catalog(
    registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalog]:
    folder = tmp_path_factory.mktemp("layouts") / "cxr-catalog"
    build_catalog(BuildRequest(folder, named=[(source, synthetic(source.name)) for source in registry], workers=1))
    with cxrdata.open(folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def split(catalog: Catalog) -> pl.DataFrame:
    """Two of three images, in three splits."""
    images = catalog.table("images").select("dataset", "image_id", "patient_id").sort("dataset", "image_id").collect()
    names = pl.Series([*SPLITS, "left out"]).gather(pl.Series(range(images.height)) % 4)
    return images.with_columns(split=names).filter(pl.col("split") != "left out")


@pytest.fixture
def written(catalog: Catalog, split: pl.DataFrame, tmp_path: Path) -> Callable[..., Written]:
    def write(layout: str, *datasets: str) -> Written:
        return write_layout(catalog, split.filter(pl.col("dataset").is_in(datasets)), layout, tmp_path / "out")

    return write


def _official(folder: Path, pattern: str) -> list[dict[str, str]]:
    (path,) = folder.rglob(pattern)
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as stream:
        return list(csv.DictReader(stream))


def _table(written: Written, name: str) -> pd.DataFrame:
    """As those codes read it."""
    (path,) = (path for path in written.files if path.name == name)
    frame = pd.read_csv(path)
    assert len(frame) == written.files[path]
    return frame


def _ids(split: pl.DataFrame, dataset: str, name: str) -> set[str]:
    return set(split.filter(dataset=dataset, split=name)["image_id"].to_list())


def _labelled(rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """The rows of train.csv by image, without those in which every label is blank: nobody assessed them."""
    return {row["Path"].split("/", 1)[1]: row for row in rows if any(list(row.values())[5:])}


def _same(ours: object, official: str) -> bool:
    """A number or a blank, as pandas reads it, beside the official cell."""
    return pd.isna(ours) if official == "" else ours == float(official)


def test_index_reads_back(catalog: Catalog, split: pl.DataFrame, tmp_path: Path) -> None:
    written = write_layout(catalog, split, "index", tmp_path / "out")
    back = []
    for note in written.notes[:-1]:
        name, rows_of = note.split(" ", 1)[0], note.rsplit(" ", 1)[1]
        back.append(read_split_file(catalog, tmp_path / "out" / name, rows_of=rows_of).frame)
    assert len(back) == len(written.files)
    assert pl.concat(back).sort("dataset", "image_id").equals(split)
    assert (tmp_path / "out" / "nih_cxr14.Data_Entry_2017_v2020.index.csv").read_text().startswith("index,split\n0,")
    assert set(pd.read_csv(tmp_path / "out" / "chexpert.train.index.csv")["split"]) == {"train", "validate", "test"}


def test_index_holds_no_id(catalog: Catalog, split: pl.DataFrame, tmp_path: Path) -> None:
    for path in write_layout(catalog, split, "index", tmp_path).files:
        assert {cell for line in path.read_text().splitlines()[1:] for cell in line.split(",")[1:]} <= {
            "train",
            "validate",
            "test",
        }


def test_chexploration_of_chexpert(
    written: Callable[..., Written], split: pl.DataFrame, catalog: Catalog, synthetic: Callable[..., Path]
) -> None:
    made = written("chexploration", "chexpert")
    assert sorted(path.name for path in made.files) == [
        "chexpert.sample.test.csv",
        "chexpert.sample.train.csv",
        "chexpert.sample.val.csv",
    ]
    official = _labelled(_official(synthetic("chexpert"), "train.csv"))
    races = dict(catalog.sql("SELECT image_id, race FROM images WHERE dataset = 'chexpert'").iter_rows())
    labels = list(next(iter(official.values())))[5:]
    for part, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        table = _table(made, f"chexpert.sample.{part}.csv")
        ids = [path.removeprefix("CheXpert-v1.0/") for path in table["Path"]]
        assert set(ids) == {
            one
            for one in _ids(split, "chexpert", name)
            if one in official and races[one] in {"White", "Asian", "Black"}
        }
        for at, one in enumerate(ids):
            row, source = table.iloc[at], official[one]
            assert all(_same(row[label], source[label]) for label in labels)
            assert (row["sex"], row["sex_label"]) == (source["Sex"], ["Male", "Female"].index(source["Sex"]))
            assert (row["race"], row["race_label"]) == (races[one], ["White", "Asian", "Black"].index(races[one]))
            disease = 1 if source["Pleural Effusion"] == "1.0" else 0 if source["No Finding"] == "1.0" else 2
            assert (row["disease_label"], row["disease"]) == (
                disease,
                ["No Finding", "Pleural Effusion", "Other"][disease],
            )
            assert row["path_preproc"] == "preproc_224x224/" + "_".join(one.split("/")[1:])
    counted = sum(int(note.split(" ")[1]) for note in made.notes if "rows are left out" in note)
    assert counted + sum(made.files.values()) == split.filter(dataset="chexpert").height


def test_chexploration_of_mimic(written: Callable[..., Written], split: pl.DataFrame) -> None:
    made = written("chexploration", "mimic_cxr")
    table = _table(made, "mimic.sample.test.csv")
    assert 0 < len(table) < len(_ids(split, "mimic_cxr", "test"))
    assert set(table["dicom_id"]) < _ids(split, "mimic_cxr", "test")
    row = table.iloc[0]
    assert row["path_preproc"] == f"preproc_224x224/s{row['study_id']}_{row['dicom_id']}.jpg"


def test_medfair(written: Callable[..., Written], split: pl.DataFrame, catalog: Catalog) -> None:
    made = written("medfair", "chexpert", "mimic_cxr")
    assert len(made.files) == 6
    images = {
        row["path"]: row
        for row in catalog.sql(
            "SELECT path, sex, race, age_years FROM images WHERE dataset IN ('chexpert', 'mimic_cxr')"
        ).iter_rows(named=True)
    }
    for path in made.files:
        table = pd.read_csv(path)
        for row in table.to_dict("records"):
            image = images[row["Path"]]
            assert row["Sex"] == image["sex"]
            assert row["Race"] == ("White" if image["race"] == "White" else "non-White")
            assert image["race"] is not None
            assert row["Age_binary"] == (image["age_years"] >= 60)
            assert row["Age_multi"] == min(int(image["age_years"] // 20), 4)
    assert set(pd.concat([pd.read_csv(path) for path in made.files])["Age_multi"]) <= {0, 1, 2, 3, 4}
    counted = sum(int(note.split(" ")[1]) for note in made.notes if "rows are left out" in note)
    assert counted + sum(made.files.values()) == split.filter(pl.col("dataset").is_in(["chexpert", "mimic_cxr"])).height


def test_torchxrayvision_of_nih(
    written: Callable[..., Written], split: pl.DataFrame, synthetic: Callable[..., Path]
) -> None:
    made = written("torchxrayvision", "nih_cxr14")
    official = {row["Image Index"]: row for row in _official(synthetic("nih_cxr14"), "Data_Entry_2017*.csv")}
    for name in SPLITS:
        table = _table(made, f"nih_cxr14.{name}.csv")
        assert set(table["Image Index"]) == _ids(split, "nih_cxr14", name)
        for row in table.to_dict("records"):
            source = official[row["Image Index"]]
            assert set(row["Finding Labels"].split("|")) == set(source["Finding Labels"].split("|"))
            assert (str(row["Patient ID"]), row["Patient Gender"], row["View Position"]) == (
                source["Patient ID"],
                source["Patient Gender"],
                source["View Position"],
            )


def test_torchxrayvision_of_chexpert(
    written: Callable[..., Written], split: pl.DataFrame, synthetic: Callable[..., Path]
) -> None:
    made = written("torchxrayvision", "chexpert")
    official = _labelled(_official(synthetic("chexpert"), "train.csv"))
    for name in SPLITS:
        table = _table(made, f"chexpert_train_images.{name}.csv")
        assert set(table["Path"]) == {one for one in _ids(split, "chexpert", name) if one in official}
        for row in table.to_dict("records"):
            source = official[row["Path"]]
            assert row["Sex"] == source["Sex"]
            assert row["Frontal/Lateral"] == source["Frontal/Lateral"]
            assert (row["AP/PA"] if isinstance(row["AP/PA"], str) else "") == source["AP/PA"]
            assert all(_same(row[label], source[label]) for label in list(source)[5:])
    assert any("images below train/ alone" in note for note in made.notes)


def test_torchxrayvision_of_mimic(
    written: Callable[..., Written], split: pl.DataFrame, synthetic: Callable[..., Path]
) -> None:
    """The class joins the two files by study: out must come exactly the images of the split."""
    made = written("torchxrayvision", "mimic_cxr")
    labels = {
        (row["subject_id"], row["study_id"]): row for row in _official(synthetic("mimic_cxr"), "*chexpert.csv.gz")
    }
    views = {row["dicom_id"]: row for row in _official(synthetic("mimic_cxr"), "*metadata.csv.gz")}
    for name in SPLITS:
        studies, metadata = (_table(made, f"mimic_cxr.{name}.{kind}.csv") for kind in ("labels", "metadata"))
        joined = (
            studies.set_index(["subject_id", "study_id"])
            .join(metadata.set_index(["subject_id", "study_id"]))
            .reset_index()
        )
        labelled = {
            one
            for one in _ids(split, "mimic_cxr", name)
            if (views[one]["subject_id"], views[one]["study_id"]) in labels
        }
        assert set(joined["dicom_id"]) == labelled
        assert len(joined) == len(labelled) > 0
        for row in joined.to_dict("records"):
            source = labels[str(row["subject_id"]), str(row["study_id"])]
            assert all(_same(row[label], source[label]) for label in list(source)[2:])
            assert str(row["StudyDate"]) == views[row["dicom_id"]]["StudyDate"]
            assert (row["ViewPosition"] if isinstance(row["ViewPosition"], str) else "") == views[row["dicom_id"]][
                "ViewPosition"
            ]


def test_torchxrayvision_of_padchest(
    written: Callable[..., Written], split: pl.DataFrame, synthetic: Callable[..., Path]
) -> None:
    made = written("torchxrayvision", "padchest")
    official = {row["ImageID"]: row for row in _official(synthetic("padchest"), "PADCHEST*.csv.gz")}
    seen = 0
    for name in SPLITS:
        table = _table(made, f"padchest.{name}.csv")
        assert set(table["ImageID"]) <= _ids(split, "padchest", name)
        for row in table.to_dict("records"):
            source = official[row["ImageID"]]
            said = (
                {label.strip() for label in ast.literal_eval(source["Labels"]) if label.strip()}
                if source["Labels"] not in {"", "nan"}
                else set()
            )
            assert set(ast.literal_eval(row["Labels"])) == said if isinstance(row["Labels"], str) else not said
            sex = row["PatientSex_DICOM"] if isinstance(row["PatientSex_DICOM"], str) else "None"
            # Where it is EXCLUDE, the catalog takes the view from another column, and the layout leaves it blank.
            projection = row["Projection"] if isinstance(row["Projection"], str) else "EXCLUDE"
            assert (projection, sex) == (source["Projection"], source["PatientSex_DICOM"])
            assert _same(row["PatientBirth"], source["PatientBirth"])
            seen += 1
    assert seen == sum(made.files.values()) > 0


def test_torchxrayvision_of_vindr(
    written: Callable[..., Written], split: pl.DataFrame, synthetic: Callable[..., Path]
) -> None:
    made = written("torchxrayvision", "vindr_cxr")
    boxes = _official(synthetic("vindr_cxr"), "annotations_train.csv")
    for name in SPLITS:
        tables = [_table(made, path.name) for path in made.files if path.name.endswith(f".{name}.csv")]
        assert {one for table in tables for one in table["image_id"]} == _ids(split, "vindr_cxr", name)
    table = _table(made, "vindr_cxr_train_images.train.csv")
    ours = {
        (row["image_id"], row["class_name"], round(row["x_min"], 3))
        for row in table.to_dict("records")
        if row["class_name"] != "No finding"
    }
    theirs = {
        (row["image_id"], row["class_name"], round(float(row["x_min"]), 3))
        for row in boxes
        if row["image_id"] in set(table["image_id"]) and row["x_min"]
    }
    assert ours == theirs != set()


def test_draws_are_repeated_rows(catalog: Catalog, split: pl.DataFrame, tmp_path: Path) -> None:
    nih = split.filter(dataset="nih_cxr14", split="test").with_columns(n_draws=pl.int_range(pl.len()) % 3)
    made = write_layout(catalog, nih, "torchxrayvision", tmp_path / "out")
    expected = {image: n for image, n in nih.select("image_id", "n_draws").iter_rows() if n}
    assert _table(made, "nih_cxr14.test.csv")["Image Index"].value_counts().to_dict() == expected
    with pytest.raises(CxrError, match="which the layout index cannot say") as caught:
        write_layout(catalog, nih, "index", tmp_path / "other")
    assert caught.value.code == "CXR-502"
    weighted = nih.drop("n_draws").with_columns(weight=pl.lit(0.5), fold=pl.lit(1))
    notes = write_layout(catalog, weighted, "index", tmp_path / "third").notes
    assert [note.split(" ")[0] for note in notes if "no column for it" in note] == ["fold", "weight"]


def test_the_case_study_keeps_its_names(catalog: Catalog, split: pl.DataFrame, tmp_path: Path) -> None:
    nih = split.filter(dataset="nih_cxr14", split="test").with_columns(split=pl.lit("test_pediatric"))
    assert [path.name for path in write_layout(catalog, nih, "torchxrayvision", tmp_path).files] == [
        "nih_cxr14.test_pediatric.csv"
    ]


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_same_split_same_bytes(catalog: Catalog, split: pl.DataFrame, tmp_path: Path, layout: str) -> None:
    chosen = split.filter(pl.col("dataset").is_in(LAYOUTS[layout].datasets or split["dataset"].unique().to_list()))
    one = write_layout(catalog, chosen, layout, tmp_path / "one")
    other = write_layout(catalog, chosen.sample(fraction=1, shuffle=True, seed=1), layout, tmp_path / "other")
    assert {path.name: path.read_bytes() for path in one.files} == {
        path.name: path.read_bytes() for path in other.files
    }
    assert one.notes[-1].endswith(": their terms apply (DATA_TERMS.md)")
    assert ("no ids" in one.notes[-1]) is (layout == "index")


def test_refusals(catalog: Catalog, split: pl.DataFrame, tmp_path: Path) -> None:
    def refused(layout: str, datasets: list[str], folder: Path) -> CxrError:
        with pytest.raises(CxrError) as caught:
            write_layout(catalog, split.filter(pl.col("dataset").is_in(datasets)), layout, folder)
        return caught.value

    error = refused("chexploration", ["chexpert", "nih_cxr14", "padchest"], tmp_path / "a")
    assert (error.code, error.problem) == ("CXR-502", "the layout chexploration has no place for nih_cxr14, padchest")
    assert error.fix is not None and error.fix.startswith("it knows chexpert, mimic_cxr;")
    assert refused("torchxrayvision", ["vindr_pcxr"], tmp_path / "a").code == "CXR-502"
    assert not (tmp_path / "a").exists()
    error = refused("medfare", ["chexpert"], tmp_path / "a")
    assert (error.code, error.problem) == ("CXR-501", "there is no layout 'medfare'; did you mean medfair?")
    write_layout(catalog, split.filter(dataset="nih_cxr14"), "index", tmp_path / "b")
    assert (
        refused("index", ["nih_cxr14"], tmp_path / "b").problem
        == "nih_cxr14.Data_Entry_2017_v2020.index.csv is there already"
    )
    (tmp_path / "file").write_text("")
    assert refused("index", ["nih_cxr14"], tmp_path / "file" / "c").code == "CXR-602"
