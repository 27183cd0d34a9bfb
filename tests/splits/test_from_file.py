"""Published split files, by key and by row number, and what is refused about them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import cxrdata
from cxrdata.errors import CxrError
from cxrdata.splits.from_file import FromFile, read_split_file
from cxrdata.splits.leaks import find_leaks
from cxrdata.store.catalog import Catalog

SCHEMA = {"dataset": pl.String, "image_id": pl.String, "patient_id": pl.String, "split": pl.String}


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = "split.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


@pytest.fixture(scope="session")
def train(split_images: pl.DataFrame) -> pl.DataFrame:
    """The images of CheXpert's train.csv by row."""
    return split_images.filter(
        pl.col("source_file").str.ends_with("train.csv") & (pl.col("dataset") == "chexpert")
    ).sort("source_row")


def _ids(images: pl.DataFrame, dataset: str, n: int) -> list[str]:
    return images.filter(dataset=dataset)["image_id"].head(n).to_list()


def _refused(catalog: Catalog, path: Path, code: str, **wishes: object) -> CxrError:
    with pytest.raises(CxrError) as caught:
        read_split_file(catalog, path, **wishes)  # type: ignore[arg-type]
    assert caught.value.code == code, caught.value.block()
    return caught.value


def test_by_image_id(split_catalog: Catalog, split_images: pl.DataFrame, written: Callable[..., Path]) -> None:
    a, b, c = _ids(split_images, "nih_cxr14", 3)
    found = read_split_file(split_catalog, written(f"Image Index,Split\n{a}, Training \n/x/{b},val\n{c},TEST\n"))
    patients = dict(split_images.filter(dataset="nih_cxr14").select("image_id", "patient_id").iter_rows())
    expected = [("nih_cxr14", one, patients[one], split) for one, split in ((a, "train"), (b, "valid"), (c, "test"))]
    assert found.frame.equals(pl.DataFrame(expected, schema=SCHEMA, orient="row"))
    assert found.how == "column 'Image Index' as image keys; split by column 'Split'"
    assert (found.rows, found.unmatched, found.without_split, found.repeated, found.left_out) == (3, 0, 0, 0, [])
    assert set(found.arguments) == {"from_file", "sha256"}


@pytest.mark.parametrize(
    "word", ["train", "training", "tr", "valid", "validate", "validation", "val", "dev", "test", "testing"]
)
def test_words(split_catalog: Catalog, split_images: pl.DataFrame, written: Callable[..., Path], word: str) -> None:
    (only,) = _ids(split_images, "mimic_cxr", 1)
    found = read_split_file(split_catalog, written(f"dicom_id,phase\n{only},{word.upper()}\n"))
    assert found.frame["split"].to_list() == [{"tr": "train", "va": "valid", "de": "valid", "te": "test"}[word[:2]]]


def test_every_row_is_accounted_for(
    split_catalog: Catalog, split_images: pl.DataFrame, written: Callable[..., Path]
) -> None:
    a, b, c = _ids(split_images, "nih_cxr14", 3)
    path = written(
        f"image;split\n{a};train\n99999999_000.png;train\n{b};\n{a};training\n{c};test\n;test\nx;test\n", "s.csv.gz"
    )
    found = read_split_file(split_catalog, path)
    assert found.frame["image_id"].to_list() == [a, c]
    assert (found.rows, found.unmatched, found.without_split, found.repeated) == (7, 3, 1, 1)
    assert found.frame.height + found.unmatched + found.without_split + found.repeated == found.rows
    assert found.unmatched_examples == [
        "s.csv.gz:3: '99999999_000.png' (not in the catalog)",
        "s.csv.gz:7: None (empty)",
        "s.csv.gz:8: 'x' (form not known)",
    ]
    assert [(one["reason"], one["images"]) for one in found.left_out] == [
        ("in the file, not in the catalog", 3),
        ("in the file without a split", 1),
    ]
    assert found.remarks == ["Columns are separated by ';'."]


def test_a_split_of_ours_reads_back(split_catalog: Catalog, split_images: pl.DataFrame, tmp_path: Path) -> None:
    """VinDr's keys do not say which of two datasets they are of; the column `dataset` does. Subsets of the case study stay."""
    names = pl.Series(["train", "valid", "calibration", "test_healthy_adult", "test_pediatric"])
    frame = split_images.select(
        "dataset", "image_id", "patient_id", split=names.gather(pl.Series(range(split_images.height)) % 5)
    )
    for name in ("split.csv", "split.parquet"):
        frame.write_csv(tmp_path / name) if name.endswith("csv") else frame.write_parquet(tmp_path / name)
        assert read_split_file(split_catalog, tmp_path / name).frame.equals(frame), name


def test_by_row_number(split_catalog: Catalog, train: pl.DataFrame, written: Callable[..., Path]) -> None:
    body = "5,train\n0,validate\n7,test\n"
    expected = pl.DataFrame(
        [
            (*train.select("dataset", "image_id", "patient_id").row(row), split)
            for row, split in ((5, "train"), (0, "valid"), (7, "test"))
        ],
        schema=SCHEMA,
        orient="row",
    ).sort("dataset", "image_id")
    nameless = "".join(f"{at},{line}\n" for at, line in enumerate(body.split()))
    source = train["source_file"][0]
    for text in (
        "index,split\n" + body,
        ",index,split\n" + nameless,
        ",split\n" + body,
        "index,split\n" + body.replace(",", ".0,"),
    ):
        for name in ("chexpert:train.csv", f"chexpert:{source}", source, "train.csv.gz", "train"):
            found = read_split_file(split_catalog, written(text), rows_of=name)
            assert found.frame.equals(expected), (text, name)
    assert (
        found.how
        == f"column 'index' as row numbers of chexpert:{source}, the first row being 0; split by column 'split'"
    )
    assert read_split_file(split_catalog, written("n,split\n" + body), rows_of="train", key="n").frame.equals(expected)


def test_row_numbers_are_not_positions_among_sorted_paths(
    split_catalog: Catalog, train: pl.DataFrame, written: Callable[..., Path]
) -> None:
    """Defect of a published system: one file, three meanings of its index (chexploration)."""
    by_path = train.sort("image_id")
    row = next(row for row in range(train.height) if train["image_id"][row] != by_path["image_id"][row])
    found = read_split_file(split_catalog, written(f"index,split\n{row},test\n"), rows_of="train.csv")
    assert found.frame["image_id"].to_list() == [train["image_id"][row]]


def test_row_numbers_of_an_unnamed_file_are_refused(split_catalog: Catalog, written: Callable[..., Path]) -> None:
    for text, column in (("index,split\n0,train\n1,test\n", "index"), (",split\n0,train\n1,test\n", "")):
        error = _refused(split_catalog, written(text), "CXR-502", datasets=["chexpert"])
        assert error.problem == (
            f"column {column!r} holds row numbers, but of which file is not said; split files of CheXpert are about with three meanings of it: "
            "the row of train.csv from 0, the place in a table sorted by Path, and the row of the demographics"
        )
        assert (
            error.fix is not None and "--rows-of (one of chexpert:" in error.fix and "image ids or paths" in error.fix
        )
    assert (
        "three meanings"
        not in _refused(split_catalog, written("index,split\n0,train\n"), "CXR-502", datasets=["nih"]).problem
    )


@pytest.mark.parametrize(
    ("rows", "line", "problem"),
    [
        ("0,train\n-1,test\n", 3, "the row number -1 is negative"),
        ("0,train\n1.5,test\n", 3, "'1.5' is no row number"),
        ("0,train\n1,test\n0,train\n", 4, "the row number 0 stands here a second time"),
        ("0,train\n,test\n", 3, "a row number is missing"),
        ("0,train\n99999999,test\n", 3, "there is no row 99999999: {source} has {n} rows, 0 to {last}"),
        (
            "99999999,train\n99999998,test\n",
            2,
            "there is no row 99999999: {source} has {n} rows, 0 to {last} (1 more like it)",
        ),
    ],
)
def test_bad_row_numbers(
    split_catalog: Catalog, train: pl.DataFrame, written: Callable[..., Path], rows: str, line: int, problem: str
) -> None:
    error = _refused(split_catalog, written("index,split\n" + rows), "CXR-116", rows_of="train.csv")
    assert error.where == f"split.csv:{line} index"
    assert error.problem == problem.format(source=train["source_file"][0], n=train.height, last=train.height - 1)


def test_numbers_from_one(split_catalog: Catalog, train: pl.DataFrame, written: Callable[..., Path]) -> None:
    text = "index,split\n" + "".join(f"{row + 1},train\n" for row in range(train.height))
    error = _refused(split_catalog, written(text), "CXR-116", rows_of="train.csv")
    assert error.fix is not None and "counted from 1" in error.fix


def test_which_source(split_catalog: Catalog, written: Callable[..., Path]) -> None:
    path = written("index,split\n0,train\n")
    error = _refused(split_catalog, path, "CXR-502", rows_of="image_labels_train.csv")
    assert "several source files" in error.problem and "vindr_cxr:annotations/image_labels_train.csv" in error.problem
    found = read_split_file(split_catalog, path, rows_of="image_labels_train", datasets=["vindr"])
    assert found.frame["dataset"].to_list() == ["vindr_cxr"]
    assert "are no images" in _refused(split_catalog, path, "CXR-502", rows_of="CHEXPERT DEMO.xlsx").problem
    assert "did you mean train.csv" in _refused(split_catalog, path, "CXR-501", rows_of="trian.csv").problem
    assert (
        "no column holds row numbers"
        in _refused(split_catalog, written("image,split\nx,train\n"), "CXR-502", rows_of="train.csv").problem
    )


def test_a_row_that_is_a_further_reading_has_no_image_of_its_own(
    split_catalog: Catalog, split_images: pl.DataFrame, written: Callable[..., Path]
) -> None:
    """Three readers' rows an image: only the first is the image's row."""
    rows = (
        split_images.filter(pl.col("source_file") == "annotations/image_labels_train.csv")["source_row"]
        .sort()
        .to_list()
    )
    other = next(row for row in range(rows[-1]) if row not in rows)
    found = read_split_file(
        split_catalog,
        written(f"index,split\n{rows[0]},train\n{other},train\n"),
        rows_of="vindr_cxr:image_labels_train.csv",
    )
    assert (found.frame.height, found.unmatched) == (1, 1)
    assert found.unmatched_examples == [f"split.csv:3: '{other}' (this row of the source holds no image of its own)"]


def test_listed(split_catalog: Catalog, split_images: pl.DataFrame, written: Callable[..., Path]) -> None:
    ids = _ids(split_images, "nih_cxr14", 4)
    path = written("\n".join(ids) + "\n", "test_list.txt")
    assert "--listed test" in (_refused(split_catalog, path, "CXR-502").fix or "")
    found = read_split_file(split_catalog, path, listed="test")
    assert found.frame["split"].to_list() == ["test"] * 4
    assert "did you mean test" in _refused(split_catalog, path, "CXR-501", listed="tests").problem
    both = written(f"image,split\n{ids[0]},test\n")
    assert "has a split column, 'split'" in _refused(split_catalog, both, "CXR-502", listed="test").problem
    _refused(split_catalog, both, "CXR-502", listed="test", split_column="split")


def test_split_column(split_catalog: Catalog, split_images: pl.DataFrame, written: Callable[..., Path]) -> None:
    (only,) = _ids(split_images, "nih_cxr14", 1)
    two = written(f"image,a,b\n{only},train,test\n")
    assert "'a' and 'b' both hold splits" in _refused(split_catalog, two, "CXR-502").problem
    assert read_split_file(split_catalog, two, split_column="b").frame["split"].to_list() == ["test"]
    assert "did you mean b?" not in _refused(split_catalog, two, "CXR-501", split_column="splt").problem
    assert (
        "no column 'imag'; did you mean image?"
        in _refused(split_catalog, two, "CXR-501", key="imag", split_column="a").problem
    )
    error = _refused(split_catalog, written(f"image,split\n{only},0\nx,1\n"), "CXR-116")
    assert error.problem == "column 'split' holds '0', '1', which name no split"
    assert error.where == "split.csv:2 split"
    assert "numbers of folds" in (error.fix or "")
    empty = written(f"image,split\n{only},\n")
    assert "no image of the catalog is in a split" in _refused(split_catalog, empty, "CXR-116").problem


def test_an_image_in_two_splits(
    split_catalog: Catalog, split_images: pl.DataFrame, written: Callable[..., Path]
) -> None:
    a, b = _ids(split_images, "nih_cxr14", 2)
    error = _refused(split_catalog, written(f"image,split\n{b},train\n{a},train\n{a},test\n"), "CXR-116")
    assert error.problem == f"1 image stands in more than one split, such as nih_cxr14:{a} in test and train"
    assert error.where == "split.csv:3"


def test_another_dataset(split_catalog: Catalog, split_images: pl.DataFrame, written: Callable[..., Path]) -> None:
    (only,) = _ids(split_images, "nih_cxr14", 1)
    (chexpert,) = _ids(split_images, "chexpert", 1)
    path = written(f"image,split\n{only},train\n")
    error = _refused(split_catalog, path, "CXR-112", datasets=["chexpert"])
    assert error.problem == "'image' holds images of nih_cxr14, none of chexpert"
    mixed = read_split_file(split_catalog, written(f"image,split\n{only},train\n{chexpert},test\n"), datasets=["nih"])
    assert (mixed.frame["dataset"].to_list(), mixed.unmatched) == (["nih_cxr14"], 1)
    unknown = _refused(split_catalog, written("image,split\n99999999_123.png,train\n"), "CXR-504")
    assert "'image' holds keys of nih_cxr14, none of which is in the catalog" in unknown.problem


def test_broken_files(split_catalog: Catalog, written: Callable[..., Path], tmp_path: Path) -> None:
    _refused(split_catalog, tmp_path / "none.csv", "CXR-101")
    _refused(split_catalog, written(""), "CXR-102")
    _refused(split_catalog, written("index,split\n"), "CXR-111")
    _refused(split_catalog, written('image,split\n"a,train\n'), "CXR-106")


def test_lines_are_not_claimed_where_cells_span_them(
    split_catalog: Catalog, split_images: pl.DataFrame, written: Callable[..., Path]
) -> None:
    (only,) = _ids(split_images, "nih_cxr14", 1)
    error = _refused(
        split_catalog, written(f'image,split,note\n{only},train,"a\nb"\n{only},fit,\n'), "CXR-116", split_column="split"
    )
    assert error.where == "split.csv, row 2 split"


@pytest.fixture(scope="module")
def chexnet(nih_catalog: Path, real_data: Path) -> FromFile:
    with cxrdata.open(nih_catalog) as catalog:
        return read_split_file(catalog, real_data / "chexnet" / "preds.csv.gz", listed="test")


def test_the_test_set_of_chexnet(chexnet: FromFile) -> None:
    """The published test set of reproduce-chexnet (Zech 2018) on the real NIH list."""
    assert (chexnet.frame.height, chexnet.frame["patient_id"].n_unique(), chexnet.unmatched) == (22_433, 6_187, 0)
    assert find_leaks(chexnet.frame).n_patients == 0
