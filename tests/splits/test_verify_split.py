"""Verifying splits: ours against their manifest, anyone's for leaks, balance and unknown images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import cxrdata
from cxrdata.errors import CxrError
from cxrdata.splits.make import make_split
from cxrdata.splits.request import SplitRequest
from cxrdata.splits.stored import store_split
from cxrdata.splits.verify import Verified, verify_split
from cxrdata.store.catalog import Catalog


def _stored(catalog: Catalog, name: str = "mine", **wishes: Any) -> Path:
    made = make_split(catalog, SplitRequest(**wishes))
    return store_split(catalog, name, made.frame, made.manifest)


def _results(verified: Verified) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for check, result in verified.checks.select("check", "result").iter_rows():
        found.setdefault(check, set()).add(result)
    return found


def _failures(verified: Verified) -> list[tuple[str, str]]:
    return list(verified.checks.filter(result="failed").select("check", "detail").iter_rows())


def test_a_split_of_ours_is_sound(own_catalog: Catalog) -> None:
    folder = _stored(own_catalog, seed=5, datasets=("chexpert", "nih"))
    verified = verify_split(own_catalog, "mine")
    assert verified.sound
    assert list(_results(verified)) == [
        "split.parquet", "split.csv", "images", "leaks", "made again",
        "balance of race", "balance of sex", "balance of age_group", "balance of view",
    ]  # fmt: skip
    assert _results(verified)["made again"] == {"ok"}
    for file in (folder, folder / "manifest.json", folder / "split.csv", folder / "split.parquet"):
        assert verify_split(own_catalog, file).checks.equals(verified.checks), file


def test_the_balance_table(own_catalog: Catalog, split_images: pl.DataFrame) -> None:
    _stored(own_catalog, datasets=("chexpert", "nih"))
    verified = verify_split(own_catalog, "mine")
    frame = (
        own_catalog.split("mine").select("dataset", "image_id", "split").join(split_images, on=["dataset", "image_id"])
    )
    for row in verified.balance.iter_rows(named=True):
        part = frame.filter(dataset=row["dataset"], split=row["split"])
        n = part[row["attribute"]].fill_null("(unknown)").to_list().count(row["value"])
        assert (row["images"], row["percent"]) == (n, pytest.approx(100 * n / part.height))
    totals = verified.balance.group_by("dataset", "attribute", "split").agg(pl.col("percent").sum())
    assert totals["percent"].to_list() == [pytest.approx(100)] * totals.height
    sexes = verified.balance.filter(attribute="sex", dataset="nih_cxr14").pivot(
        "split", index="value", values="percent"
    )
    apart = max(max(row[1:]) - min(row[1:]) for row in sexes.iter_rows())
    assert apart > 0
    races = verified.checks.filter(check="balance of race")["detail"].item()
    assert "chexpert" in races  # NIH states no race: nothing of it can be compared


def test_damage_is_found(own_catalog: Catalog) -> None:
    folder = _stored(own_catalog, datasets=("nih",))

    def damaged(change: Callable[[Path], object]) -> list[tuple[str, str]]:
        keep = folder.with_name("keep")
        shutil.copytree(folder, keep)
        change(folder)
        verified = verify_split(own_catalog, "mine" if (folder / "manifest.json").is_file() else folder)
        shutil.rmtree(folder)
        keep.rename(folder)
        assert not verified.sound
        return _failures(verified)

    def edit_csv(folder: Path) -> None:
        path = folder / "split.csv"
        text = path.read_text()
        path.write_text(text.replace(",train\n", ",test\n", 1))

    def edit_manifest(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"arguments": {"seed": 1, "datasets": ["nih"]}}))

    def other_rows(folder: Path) -> None:
        frame = pl.read_parquet(folder / "split.parquet")
        frame.reverse().write_parquet(folder / "split.parquet")

    assert damaged(edit_csv) == [("split.csv", "holds other rows than the manifest says")]
    assert damaged(other_rows) == [("split.parquet", "holds other rows than the manifest says")]
    assert damaged(lambda folder: (folder / "split.csv").unlink()) == [("split.csv", "is missing")]
    assert damaged(lambda folder: (folder / "manifest.json").write_text("{")) == [
        ("manifest.json", "is missing or damaged")
    ]
    assert damaged(lambda folder: (folder / "split.parquet").write_bytes(b"PAR1"))[0][1].startswith("cannot be read")
    (made_again,) = damaged(edit_manifest)
    assert made_again[0] == "made again"
    assert made_again[1].startswith("nih_cxr14 test: ")
    assert verify_split(own_catalog, "mine").sound


def test_a_planted_leak_in_a_split_of_ours(own_catalog: Catalog) -> None:
    made = make_split(own_catalog, SplitRequest(datasets=("nih",)))
    patient = made.frame.filter(pl.len().over("patient_id") > 1)["patient_id"][0]
    first = pl.col("image_id") == made.frame.filter(patient_id=patient)["image_id"][0]
    leaky = made.frame.with_columns(
        split=pl.when(first).then(pl.lit("test")).when(patient_id=patient).then(pl.lit("train")).otherwise("split")
    )
    store_split(own_catalog, "leaky", leaky, made.manifest)
    verified = verify_split(own_catalog, "leaky")
    assert (
        "leaks",
        f"1 of {made.frame['patient_id'].n_unique()} patients in both test and train, such as nih_cxr14:{patient}",
    ) in _failures(verified)
    assert verified.leaks["patient_id"].to_list() == [patient]


def test_what_cannot_be_made_again(own_catalog: Catalog) -> None:
    made = make_split(own_catalog, SplitRequest(datasets=("nih",)))
    for name, change, result, detail in (
        (
            "read",
            {"arguments": {"from_file": "preds.csv"}},
            "not checked",
            "the split was read from the file preds.csv",
        ),
        ("gone", {"catalog_build": "0" * 16}, "not checked", f"the build {'0' * 16} that it was made from is not here"),
        (
            "later",
            {"arguments": {"seed": 0, "spleen": 1}},
            "not checked",
            "this version cannot make it: the split has an argument 'spleen'",
        ),
    ):
        store_split(own_catalog, name, made.frame, made.manifest | change)
        row = verify_split(own_catalog, name).checks.filter(check="made again").row(0, named=True)
        assert row["result"] == result
        assert row["detail"].startswith(detail)


def test_another_build_than_the_current_is_opened(own_catalog: Catalog) -> None:
    """The split names its build; verifying from a catalog opened at another one finds it."""
    _stored(own_catalog, datasets=("nih",))
    build = own_catalog.build
    other = own_catalog.folder.path.with_name("other")
    (other / "builds").mkdir(parents=True)
    for name in (build.build_id, "f" * 16):
        (other / "builds" / name).symlink_to(build.path, target_is_directory=True)
    (other / "CURRENT").write_text("f" * 16 + "\n")
    shutil.copytree(own_catalog.folder.splits, other / "splits")
    with cxrdata.open(other) as opened:
        assert _results(verify_split(opened, "mine"))["made again"] == {"ok"}


@pytest.fixture
def foreign(split_images: pl.DataFrame, tmp_path: Path) -> Callable[..., Path]:
    """`foreign(rule)`: a file of NIH's images with a split by `rule`, an expression."""

    def write(rule: pl.Expr, *, more: str = "") -> Path:
        path = tmp_path / "theirs.csv"
        rows = split_images.filter(dataset="nih_cxr14").select("image_id", split=rule)
        path.write_text(rows.write_csv() + more)
        return path

    return write


def test_a_row_level_split_leaks(
    split_catalog: Catalog, split_images: pl.DataFrame, foreign: Callable[..., Path]
) -> None:
    """Defect of half the published results: images are dealt out, not patients."""
    dealt = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("train")).otherwise(pl.lit("test"))
    verified = verify_split(split_catalog, foreign(dealt))
    several = split_images.filter(dataset="nih_cxr14").group_by("patient_id").len().filter(pl.col("len") > 1)
    assert not verified.sound
    assert verified.leaks.height == several.height
    ((check, detail),) = _failures(verified)
    assert (check, detail.split(", such as")[0]) == ("leaks", f"{several.height} of 31 patients in both test and train")


def test_a_sound_split_of_others(split_catalog: Catalog, foreign: Callable[..., Path]) -> None:
    whole = pl.when(pl.col("patient_id").cast(pl.Int64) % 3 == 0).then(pl.lit("test")).otherwise(pl.lit("train"))
    verified = verify_split(split_catalog, foreign(whole, more="99999999_000.png,train\n"))
    assert verified.sound
    results = _results(verified)
    assert (results["images"], results["leaks"], results["balance of race"]) == ({"note"}, {"ok"}, {"not checked"})
    detail = verified.checks.filter(check="images")["detail"].item()
    assert (
        detail
        == "1 rows name no image of this catalog, such as theirs.csv:114: '99999999_000.png' (not in the catalog)"
    )
    assert verified.checks.filter(check="balance of sex")["detail"].item().startswith("the splits differ by up to ")


def test_row_numbers_of_another_file_show_as_leaks(
    split_catalog: Catalog, split_images: pl.DataFrame, tmp_path: Path
) -> None:
    """Positions in a table sorted otherwise, taken for rows of train.csv: the leaks give it away."""
    train = split_images.filter(
        pl.col("source_file").str.ends_with("train.csv") & (pl.col("dataset") == "chexpert")
    ).sort("source_row")
    half = (
        pl.when(pl.col("patient_id").is_in(train["patient_id"].unique().sort().gather_every(2).to_list()))
        .then(pl.lit("test"))
        .otherwise(pl.lit("train"))
    )
    for order, sound in (("source_row", True), (pl.col("path").str.reverse(), False)):
        path = tmp_path / "index.csv"
        path.write_text(train.sort(order).with_row_index("index").select("index", split=half).write_csv())
        verified = verify_split(split_catalog, path, rows_of="train.csv", datasets=["chexpert"])
        assert verified.sound is sound
        assert all(
            "the row numbers are of another file than --rows-of named" in detail for _, detail in _failures(verified)
        )


def test_datasets_without_patients_and_one_split(
    split_catalog: Catalog, split_images: pl.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        "image_uid\n"
        + "\n".join("vindr_cxr:" + one for one in split_images.filter(dataset="vindr_cxr")["image_id"].to_list())
        + "\n"
    )
    verified = verify_split(split_catalog, path, listed="test")
    assert verified.sound
    assert _results(verified)["leaks"] == {"not checked", "note"}
    assert verified.checks.filter(check="balance of sex")["detail"].item() == "one split only: see the table"


def test_neither_a_split_nor_a_file(own_catalog: Catalog) -> None:
    folder = _stored(own_catalog, datasets=("nih",))
    with pytest.raises(CxrError, match=r"'mien' is neither a split nor a file; did you mean mine\?") as caught:
        verify_split(own_catalog, "mien")
    assert caught.value.code == "CXR-501"
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(CxrError, match="the split's manifest has format 9, this version reads 1"):
        verify_split(own_catalog, "mine")
