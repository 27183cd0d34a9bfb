"""Features in every form that is read, and what is refused, to the word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cxrdata.audit.truth import CatalogTruth
from cxrdata.errors import CxrError
from cxrdata.explore.embeddings import Embeddings, read_embeddings
from cxrdata.store.catalog import Catalog

Read = Callable[..., Embeddings]
_EXACT = {pl.Float32: pl.Float64}  # as text of the single precision that it has, a number would be another one


@pytest.fixture(scope="module")
def source(explored: Catalog) -> CatalogTruth:
    return CatalogTruth(explored)


@pytest.fixture
def read(source: CatalogTruth) -> Read:
    return lambda path, **wishes: read_embeddings(path, source, **wishes)


def _columns(images: pl.DataFrame) -> pl.DataFrame:
    return images.select(pl.selectors.starts_with("feature_"))


@pytest.fixture
def shuffled(images: pl.DataFrame) -> pl.DataFrame:
    return images.sample(fraction=1.0, shuffle=True, seed=1)


def _ours(frame: pl.DataFrame, folder: Path) -> tuple[Path, dict[str, Path]]:
    listed = frame.select("dataset", "image_id", embedding=pl.concat_list(pl.selectors.starts_with("feature_")))
    listed.write_parquet(folder / "e.parquet")
    return folder / "e.parquet", {}


def _keyed_csv(frame: pl.DataFrame, folder: Path) -> tuple[Path, dict[str, Path]]:
    prefixed = frame.select(where="CheXpert-v1.0-small/" + pl.col("path"))
    prefixed.hstack(_columns(frame)).cast(_EXACT).write_csv(folder / "e.csv")
    return folder / "e.csv", {}


def _order(frame: pl.DataFrame, folder: Path) -> dict[str, Path]:
    frame.select("image_id").write_csv(folder / "sample.test.csv")
    return {"order": folder / "sample.test.csv"}


def _chexploration(frame: pl.DataFrame, folder: Path) -> tuple[Path, dict[str, Path]]:
    """As pandas writes it: an unnamed row number, features by number, targets."""
    columns = _columns(frame).rename(lambda name: name.removeprefix("feature_"))
    women = (frame["sex"] == "F").fill_null(value=False).cast(pl.Int8)
    numbered = columns.with_row_index("").with_columns(target=women)
    numbered.cast(_EXACT).write_csv(folder / "embeddings.test.csv")
    return folder / "embeddings.test.csv", _order(frame, folder)


def _numbers(frame: pl.DataFrame, folder: Path) -> tuple[Path, dict[str, Path]]:
    columns = _columns(frame)
    columns.with_row_index("__index_level_0__").write_parquet(folder / "e.parquet")
    return folder / "e.parquet", _order(frame, folder)


def _array(frame: pl.DataFrame, folder: Path) -> tuple[Path, dict[str, Path]]:
    np.save(folder / "e.npy", _columns(frame).to_numpy())
    return folder / "e.npy", _order(frame, folder)


@pytest.mark.parametrize("write", [_ours, _keyed_csv, _chexploration, _numbers, _array])
def test_every_form_gives_the_same_numbers(
    write: Callable[..., tuple[Path, dict[str, Path]]],
    shuffled: pl.DataFrame,
    images: pl.DataFrame,
    features: np.ndarray,
    read: Read,
    tmp_path: Path,
) -> None:
    path, wishes = write(shuffled, tmp_path)
    found = read(path, **wishes)
    assert found.keys.equals(images.select("dataset", "image_id"))
    np.testing.assert_array_equal(found.features, features)
    assert found.features.dtype == np.float64


def test_a_keyed_file_has_an_order_of_its_own(
    embedded: Path, shuffled: pl.DataFrame, features: np.ndarray, read: Read, tmp_path: Path
) -> None:
    np.testing.assert_array_equal(read(embedded, **_order(shuffled, tmp_path)).features, features)


def test_columns_that_are_taken_for_features_are_named(shuffled: pl.DataFrame, read: Read, tmp_path: Path) -> None:
    path, wishes = _chexploration(shuffled, tmp_path)
    assert read(path, **wishes).notes == ["6 columns are features: 0, 1, …, 5"]
    path, _ = _keyed_csv(shuffled.select(pl.exclude("feature_4", "feature_5")), tmp_path)
    assert read(path).notes == ["4 columns are features: feature_0, feature_1, feature_2, feature_3"]


def test_what_is_said_of_patients_is_no_feature(
    images: pl.DataFrame, features: np.ndarray, read: Read, tmp_path: Path
) -> None:
    """Age in years has a far larger spread than any feature; sex would be found in features that know nothing of it."""
    beside = images.select(
        pl.int_range(pl.len()).alias("Patient Age"), (pl.col("sex") == "F").cast(pl.Int8).alias("sex"),
        pl.lit(1).alias("Pleural Effusion"), pl.lit(0.5).alias("prob_edema"),
    )  # fmt: skip
    _columns(images).hstack(beside).insert_column(0, images["image_id"]).cast(_EXACT).write_csv(tmp_path / "e.csv")
    found = read(tmp_path / "e.csv")
    np.testing.assert_array_equal(found.features, features)
    assert found.notes[-2:] == [
        "6 columns are features: feature_0, feature_1, …, feature_5",
        "no features, by their names: Patient Age, sex, Pleural Effusion, prob_edema",
    ]


def test_every_feature_outside_the_numbered_ones_is_named(images: pl.DataFrame, read: Read, tmp_path: Path) -> None:
    odd = _columns(images).with_columns(weight=pl.lit(1.5), b7=pl.lit(2.5)).rename({"feature_2": "edge"})
    odd.insert_column(0, images["image_id"]).write_csv(tmp_path / "e.csv")
    assert read(tmp_path / "e.csv").notes == [
        "8 columns are features: feature_0, feature_1, …, feature_5; and edge, weight, b7"
    ]
    numbers = {f"{letter}mean": pl.lit(1.0) for letter in "abcdefghijklmn"}
    images.select("image_id", **numbers).write_csv(tmp_path / "e.csv")
    said = ", ".join(f"{letter}mean" for letter in "abcdefghijkl")
    assert read(tmp_path / "e.csv").notes == [f"14 columns are features: {said} and 2 more"]


@pytest.mark.parametrize("head", ["sex", "labels"])
def test_an_order_that_the_files_own_truth_contradicts_is_refused(
    head: str, images: pl.DataFrame, explored: Catalog, read: Read, tmp_path: Path
) -> None:
    path, wishes = _chexploration(images, tmp_path)
    if head == "labels":
        truth = explored.labels(findings=["no_finding", "pleural_effusion"], policy="ignore")
        joined = images.join(truth, on=["dataset", "image_id"], how="left", maintain_order="left")
        said = {0: "no_finding", 10: "pleural_effusion"}
        targets = [(pl.col(said[at]) == 1).fill_null(value=False).cast(pl.Int8) if at in said else pl.lit(0) for at in range(14)]  # fmt: skip
        numbers = _columns(images).rename(lambda name: name.removeprefix("feature_")).cast(_EXACT)
        numbers.hstack(joined.select(one.alias(f"target_{at}") for at, one in enumerate(targets))).write_csv(path)
    assert read(path, **wishes).keys.height == images.height
    # The right images, shuffled.
    wrong = _order(images.sample(fraction=1.0, shuffle=True, seed=5), tmp_path)
    with pytest.raises(CxrError) as error:
        read(path, **wrong)
    assert error.value.code == "CXR-126"
    assert "labels that embeddings.test.csv has for positive" in error.value.problem
    assert error.value.where == "embeddings.test.csv"


def test_where_nothing_can_be_held_against_the_order_it_is_said(
    images: pl.DataFrame, read: Read, tmp_path: Path
) -> None:
    path, wishes = _array(images, tmp_path)
    assert read(path, **wishes).notes == [
        "e.npy says nothing of its images: that the rows are those of the order file cannot be checked"
    ]
    path, wishes = _chexploration(images.with_columns(sex=pl.lit("M")), tmp_path)
    assert read(path, **wishes).notes[-1].startswith("embeddings.test.csv says nothing of its images")


def test_rows_of_no_image_are_counted(shuffled: pl.DataFrame, read: Read, tmp_path: Path) -> None:
    strange = pl.when(pl.int_range(pl.len()) < 2).then(pl.lit("train/patient99999/study1/view1_frontal.jpg"))
    frame = shuffled.with_columns(path=strange.otherwise("path"))
    path, _ = _keyed_csv(frame, tmp_path)
    found = read(path)
    assert found.keys.height == frame.height - 2
    assert found.notes[-1] == (
        f"2 of {frame.height:,} rows name no known image and are left out, such as e.csv:2 "
        "'CheXpert-v1.0-small/train/patient99999/study1/view1_frontal.jpg' (not in the catalog)"
    )


Written = tuple[Path, dict[str, object]]


def _csv(frame: pl.DataFrame, folder: Path, **wishes: object) -> Written:
    frame.write_csv(folder / "e.csv")
    return folder / "e.csv", wishes


def _npy(numbers: np.ndarray, folder: Path) -> Written:
    np.save(folder / "e.npy", numbers)
    return folder / "e.npy", {}


def _no_array(_: pl.DataFrame, folder: Path) -> Written:
    (folder / "e.npy").write_bytes(b"not numpy")
    return folder / "e.npy", {}


def _with_nan(keyed: pl.DataFrame, folder: Path) -> Written:
    numbers = _columns(keyed).to_numpy().copy()
    numbers[2, 1] = np.nan
    return _npy(numbers, folder)


def _lengths(keyed: pl.DataFrame, folder: Path) -> Written:
    lists = pl.Series([[1.0, 2.0]] * (keyed.height - 1) + [[1.0]])
    keyed.select("image_id", embedding=lists).write_parquet(folder / "e.parquet")
    return folder / "e.parquet", {}


def _cell(text: str | None) -> Callable[[pl.DataFrame, Path], Written]:
    """The fourth row's third feature is this."""
    odd = pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(text)).otherwise(pl.col("feature_2").cast(pl.String))
    return lambda keyed, folder: _csv(keyed.with_columns(odd.alias("feature_2")), folder)


# What is written from image_id and the features, and what is said of it.
BAD: dict[str, tuple[Callable[[pl.DataFrame, Path], Written], str]] = {
    "missing": (
        lambda _, folder: (folder / "nowhere.npy", {}),
        "error CXR-101: this file does not exist\n  at:  nowhere.npy\n  fix: name a Parquet, CSV or .npy file",
    ),
    "no array": (
        _no_array,
        "error CXR-103: this is no array of numbers\n  at:  e.npy\n  fix: save it with numpy.save",
    ),
    "flat array": (
        lambda _, folder: _npy(np.zeros(7), folder),
        "error CXR-120: the array has shape (7,) of float64\n  at:  e.npy\n  fix: give numbers of shape (images, features)",
    ),
    "nan in array": (
        _with_nan,
        "error CXR-121: a feature is missing or no finite number\n  at:  e.npy, row 3 feature 2\n  fix: embed this image again",
    ),
    "no features": (
        lambda keyed, folder: _csv(keyed.select("image_id", "feature_0"), folder),
        "error CXR-120: there are no columns of features\n  at:  e.csv\n  fix: give one number column a feature, or a column `embedding` of lists",
    ),
    "predictions": (
        lambda keyed, folder: _csv(keyed.select("image_id", prob_edema="feature_0", logit_edema="feature_1"), folder),
        "error CXR-120: the file holds predictions (prob_edema, …), not features\n  at:  e.csv\n  fix: name the features of the same model (`cxrdata embed`), and this file with --predictions",
    ),
    "positional predictions": (
        lambda keyed, folder: _csv(
            keyed.select((pl.col("feature_0") / 9).alias(f"class_{at}") for at in range(14)), folder
        ),
        "error CXR-120: the file holds predictions (class_0, …), not features\n  at:  e.csv\n  fix: name the features of the same model (`cxrdata embed`), and this file with --predictions",
    ),
    "lengths": (
        _lengths,
        "error CXR-120: the embeddings differ in length, or have none\n  at:  e.parquet\n  fix: embed all images with one model",
    ),
    "blank cell": (
        _cell(None),
        "error CXR-121: a feature is missing or no finite number\n  at:  e.csv:5 feature_2\n  fix: embed this image again",
    ),
    "word": (
        _cell("n/a"),
        "error CXR-121: a feature is missing or no finite number\n  at:  e.csv:5 feature_2\n  fix: embed this image again",
    ),
    "twice": (
        lambda keyed, folder: _csv(pl.concat([keyed.head(3), keyed.slice(1, 1)]), folder),
        "error CXR-123: IMAGE has a second row; first at e.csv:3\n  at:  e.csv:5\n  fix: keep one row an image; images drawn several times are named by a split (--resampled), not by repeated rows",
    ),
    "positions": (
        lambda keyed, folder: _csv(_columns(keyed), folder),
        "error CXR-517: the rows name no image: the file is listed by position\n  at:  e.csv\n  fix: name the keyed file whose rows these are, in their order, with --order FILE",
    ),
    "order too short": (
        lambda keyed, folder: _csv(_columns(keyed), folder, order=_order(keyed.head(5), folder)["order"]),
        "error CXR-126: e.csv has N rows, and the file with their order 5\n  at:  sample.test.csv\n  fix: name the very file that was embedded; a filtered or resampled one is another order",
    ),
    "no key": (
        lambda keyed, folder: _csv(keyed.with_columns(image_id=pl.lit("x")), folder),
        "error CXR-504: no column holds image keys that the catalog knows ('x' in 'image_id')\n  at:  e.csv\n  fix: columns tried: 'image_id'; name the one with image keys (--key COLUMN, key='COLUMN'); the catalog holds chexpert",
    ),
    "other column": (
        lambda keyed, folder: _csv(keyed, folder, key="image"),
        "error CXR-501: there is no column 'image'; did you mean image_id?\n  at:  e.csv\n  fix: columns: image_id",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
def test_what_is_refused(case: str, images: pl.DataFrame, read: Read, tmp_path: Path) -> None:
    write, expected = BAD[case]
    path, wishes = write(images.select("image_id").hstack(_columns(images)), tmp_path)
    with pytest.raises(CxrError) as error:
        read(path, **wishes)
    expected = expected.replace("N rows", f"{images.height:,} rows")
    assert str(error.value) == expected.replace("IMAGE", f"chexpert:{images['image_id'][1]}")
