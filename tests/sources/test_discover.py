"""Recognising datasets by content: renamed, zipped, beside each other, in everyone's folders."""

from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING

import pytest

from cxrdata.errors import CxrError
from cxrdata.sources.discover import Found, find
from cxrdata.sources.synthesis import SynthPlan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cxrdata.sources.base import Registry

DATASETS = ("chexpert", "mimic_cxr", "nih_cxr14", "padchest", "vindr_cxr", "vindr_pcxr")
ALL_ROLES = {
    "nih_cxr14": {"images", "train_list", "test_list", "boxes", "google"},
    "padchest": {"images"},
    "vindr_cxr": {"image_labels_train", "image_labels_test", "annotations_train", "annotations_test"},
    "vindr_pcxr": {"image_labels_train", "image_labels_test", "annotations_train", "annotations_test"},
}


@pytest.fixture
def data(tmp_path: Path, synthetic: Callable) -> Callable[..., Path]:
    """`data(dataset, *variants)`: a copy of the synthetic dataset that a test may change."""

    def copy(dataset: str, *variants: str) -> Path:
        folder = tmp_path / "data" / dataset
        shutil.copytree(synthetic(dataset, *variants), folder)
        return folder

    return copy


def below(registry: Registry, *roots: Path) -> dict[str, dict[str, str]]:
    """dataset -> role -> name of the file, of what a search finds below `roots`."""
    return roles(find(registry, [], roots))


def roles(found: Found) -> dict[str, dict[str, str]]:
    return {files.source.name: {file.spec.role: file.name for file in files.files} for files in found.datasets}


def refusal(registry: Registry, *named: tuple[str, Path], roots: tuple[Path, ...] = ()) -> CxrError:
    with pytest.raises(CxrError) as caught:
        find(registry, [(registry.get(name), path) for name, path in named], roots)
    return caught.value


@pytest.mark.parametrize("dataset", DATASETS)
def test_each_dataset_is_recognised_alone(dataset: str, data: Callable, registry: Registry) -> None:
    folder = data(dataset)
    by_root = find(registry, [], [folder])
    by_name = find(registry, [(registry.get(dataset), folder)])
    assert [files.source.name for files in by_root.datasets] == [dataset]
    assert roles(by_root) == roles(by_name)
    assert [file.name for file in by_root.datasets[0].dicom] == [file.name for file in by_name.datasets[0].dicom]
    if dataset in ALL_ROLES:
        assert set(roles(by_root)[dataset]) == ALL_ROLES[dataset]


def test_all_datasets_below_one_root(data: Callable, registry: Registry, tmp_path: Path) -> None:
    apart = {dataset: roles(find(registry, [], [data(dataset)]))[dataset] for dataset in DATASETS}
    found = find(registry, [], [tmp_path / "data"])
    assert [files.source.name for files in found.datasets] == list(DATASETS)
    assert {name: set(files) for name, files in roles(found).items()} == {n: set(f) for n, f in apart.items()}
    assert found.unclaimed == []
    for files in found.datasets:
        # DICOM files name no dataset: each goes to the one whose tables lie beside it.
        assert {file.path.relative_to(tmp_path / "data").parts[0] for file in files.dicom} <= {files.source.name}
        for file in files.files:
            assert (files.root / file.name).samefile(file.path)
    assert all(files.dicom for files in found.datasets if files.source.name.startswith("vindr"))


@pytest.mark.parametrize(
    ("dataset", "variants", "name", "role", "variant"),
    [
        ("chexpert", ("small",), "CheXpert-v1.0-small/train.csv", "train", "small"),
        ("chexpert", ("full",), "CheXpert-v1.0/train.csv", "train", "full"),
        ("mimic_cxr", ("jpg_2_1", "iv_hosp"), "mimiciv/3.1/hosp/admissions.csv.gz", "admissions", "race"),
        ("mimic_cxr", ("jpg_2_0", "iv_core"), "mimiciv/1.0/core/admissions.csv.gz", "admissions", "ethnicity"),
        ("nih_cxr14", ("a",), "Data_Entry_2017.csv", "images", "A"),
        ("nih_cxr14", ("b",), "Data_Entry_2017.csv", "images", "B"),
        ("nih_cxr14", ("c",), "Data_Entry_2017_v2020.csv", "images", "C"),
        ("nih_cxr14", ("d",), "Data_Entry_2017_v2020.csv", "images", "D"),
        ("vindr_cxr", ("physionet",), "annotations/image_labels_train.csv", "image_labels_train", "physionet"),
        ("vindr_cxr", ("kaggle",), "train.csv", "kaggle", "kaggle"),
    ],
)
def test_layouts_and_variants(
    dataset: str, variants: tuple[str, ...], name: str, role: str, variant: str, data: Callable, registry: Registry
) -> None:
    """formats.md: PhysioNet's, AIMI's, Kaggle's and the Box folder's layouts; variants told by content."""
    found = find(registry, [], [data(dataset, *variants).parent])
    files = {file.path.relative_to(found.datasets[0].root).as_posix(): file for file in found.datasets[0].files}
    wanted = next(file for path, file in files.items() if name.endswith(path) or path.endswith(name))
    assert (wanted.spec.role, wanted.variant) == (role, variant)


def test_the_aimi_download_of_chexpert(data: Callable, registry: Registry) -> None:
    """formats.md 1.1: the CSVs lie in batch 1, labels and workbook beside the batches."""
    files = below(registry, data("chexpert", "batches", "labels", "demographics", "plus"))["chexpert"]
    assert {"train", "valid", "train_chexbert", "train_visualchexbert", "demographics", "plus"} <= set(files)
    assert "batch 1" in files["train"]


@pytest.mark.parametrize("dataset", ["nih_cxr14", "padchest", "vindr_cxr", "mimic_cxr"])
def test_renamed_files_are_recognised_by_content(dataset: str, data: Callable, registry: Registry) -> None:
    folder = data(dataset)
    before = below(registry, folder)[dataset]
    lists = [spec.role for spec in registry.get(dataset).files if spec.lists_images]
    renamed = next(role for role in lists if role in before)
    path = folder / before[renamed]
    if not path.is_file():
        path = next(folder.rglob(path.name))
    path.rename(path.with_name("my copy (1).csv" + (".gz" if path.suffix == ".gz" else "")))
    after = below(registry, folder)[dataset]
    assert set(after) == set(before)
    assert "my copy (1).csv" in after[renamed]


@pytest.mark.parametrize("role", ["images", "boxes", "train_list"])
def test_gzipped_or_not(role: str, data: Callable, registry: Registry) -> None:
    folder = data("nih_cxr14")
    before = below(registry, folder)["nih_cxr14"]
    path = folder / before[role]
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert below(registry, folder)["nih_cxr14"] == before | {role: before[role] + ".gz"}


def test_a_torrents_folder_and_foreign_files(data: Callable, registry: Registry, tmp_path: Path) -> None:
    """A torrent keeps its own folder, its .torrent beside it; what is not ours is listed, not read."""
    folder = data("padchest").rename(tmp_path / "data" / "PadChest-dec0ffee")
    (folder / "padchest.torrent").write_bytes(b"d8:announce3:udpe")
    (tmp_path / "data" / "notes.csv").write_text("name,what\na,b\n")
    (tmp_path / "data" / "broken.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "data" / "empty.csv").write_bytes(b"")
    (tmp_path / "data" / ".hidden.csv").write_text("a,b\n")
    (folder / "phantoms.csv").write_text("image_id,path,age_years,view,enlarged,ctr\n")  # of `synth --images`: ours
    (tmp_path / "data" / "list.txt").write_text("read me\n")
    (tmp_path / "data" / "records.jsonl").write_text('{"a": 1}\nnot json\n')
    found = find(registry, [], [tmp_path / "data"])
    assert [files.source.name for files in found.datasets] == ["padchest"]
    assert found.unclaimed == ["broken.csv", "empty.csv", "notes.csv"]


def test_folders_of_images_are_not_walked(data: Callable, registry: Registry) -> None:
    """They hold hundreds of thousands of files; a CSV in one of them is nobody's."""
    folder = data("nih_cxr14")
    for inside in ("images", "images_001", "files/p10", "patient00001/study1"):
        (folder / inside).mkdir(parents=True)
        (folder / inside / "some.csv").write_text("a,b\n1,2\n")
    assert find(registry, [], [folder]).unclaimed == []


def test_a_loop_of_links_ends(data: Callable, registry: Registry) -> None:
    folder = data("nih_cxr14")
    before = below(registry, folder)
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "deeper").mkdir()
    (folder / "deeper" / "up").symlink_to("..", target_is_directory=True)
    assert below(registry, folder) == before


def test_a_linked_folder_is_followed(data: Callable, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "nih").symlink_to(data("nih_cxr14"), target_is_directory=True)
    assert set(below(registry, tmp_path / "links")) == {"nih_cxr14"}


def test_a_single_file_may_be_named(data: Callable, registry: Registry) -> None:
    path = data("padchest") / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
    found = find(registry, [(registry.get("padchest"), path)])
    assert roles(found) == {"padchest": {"images": path.name}}


def test_the_order_of_roots_and_files_does_not_matter(data: Callable, registry: Registry) -> None:
    first, second = data("nih_cxr14"), data("padchest")
    assert below(registry, first, second) == below(registry, second, first)


def test_the_same_folder_named_twice_is_one(data: Callable, registry: Registry) -> None:
    folder = data("nih_cxr14")
    assert below(registry, folder, folder) == below(registry, folder)


def test_an_official_name_over_wrong_content_is_handed_on(data: Callable, registry: Registry) -> None:
    """So that reading it says exactly what is wrong with it."""
    folder = data("nih_cxr14")
    (folder / "Data_Entry_2017_v2020.csv").write_text("<html>Log in</html>")
    (folder / "BBox_List_2017.csv").unlink()
    (folder / "BBox_List_2017.csv").mkdir()
    assert set(below(registry, folder)["nih_cxr14"]) == ALL_ROLES["nih_cxr14"]


# What is refused.


def test_a_path_that_does_not_exist(registry: Registry, tmp_path: Path) -> None:
    for error in (refusal(registry, ("nih", tmp_path / "nowhere")), refusal(registry, roots=(tmp_path / "nowhere",))):
        assert (error.code, error.where) == ("CXR-101", str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("name", "real"), [("padchest", "nih_cxr14"), ("vindr_pcxr", "vindr_cxr"), ("chexpert", "vindr_cxr")]
)
def test_a_dataset_under_anothers_name(name: str, real: str, data: Callable, registry: Registry) -> None:
    variants = ("kaggle",) if name == "chexpert" else ("physionet",) if real == "vindr_cxr" else ()
    folder = data(real, *variants)
    error = refusal(registry, (name, folder))
    assert error.block() == (
        f"error CXR-112: named as {name}, but the files are those of {real}\n  at:  {folder}\n  fix: say {real}=PATH"
    )


def test_nothing_recognised(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.csv").write_text("x,y\n1,2\n")
    error = refusal(registry, ("nih", tmp_path / "mine"))
    assert error.block() == (
        "error CXR-113: no file of nih_cxr14 was recognised (1 file looked at)\n"
        f"  at:  {tmp_path / 'mine'}\n"
        "  fix: put Data_Entry_2017*.csv there; `cxrdata sources nih_cxr14` lists what is looked for"
    )


def test_nothing_below_a_root_is_no_error_here(registry: Registry, tmp_path: Path) -> None:
    """Who asks for a build says so (CXR-113), knowing where the root came from."""
    assert find(registry, [], [tmp_path]).datasets == []


def test_no_file_that_lists_the_images(data: Callable, registry: Registry) -> None:
    folder = data("nih_cxr14")
    (folder / "Data_Entry_2017_v2020.csv").unlink()
    for error in (refusal(registry, ("nih", folder)), refusal(registry, roots=(folder,))):
        assert error.block() == (
            "error CXR-114: nih_cxr14: BBox_List_2017.csv found, but no file that lists the images\n"
            f"  at:  {folder.name}\n"
            "  fix: add Data_Entry_2017*.csv; `cxrdata sources nih_cxr14` lists what is looked for"
        )


def test_an_incomplete_dataset_may_be_left_out(data: Callable, registry: Registry, tmp_path: Path) -> None:
    """With keep_going the others are built; what was left out is told with its reason."""
    (data("nih_cxr14") / "Data_Entry_2017_v2020.csv").unlink()
    data("padchest")
    found = find(registry, [], [tmp_path / "data"], keep_going=True)
    assert [files.source.name for files in found.datasets] == ["padchest"]
    assert [(name, error.code) for name, error in found.left_out] == [("nih_cxr14", "CXR-114")]


def test_the_same_role_twice(data: Callable, registry: Registry) -> None:
    folder = data("nih_cxr14", "c")
    registry.get("nih").module("synth").write(folder / "old", SynthPlan(variants=frozenset({"a"})))
    files = find(registry, [], [folder]).datasets[0]
    with pytest.raises(CxrError) as caught:
        files.one("images")
    assert caught.value.block() == (
        "error CXR-115: Data_Entry_2017_v2020.csv and old/Data_Entry_2017.csv are both the images file of nih_cxr14\n"
        "  at:  old/Data_Entry_2017.csv\n  fix: keep one of them below the folder that is named"
    )
    assert files.one("boxes") is None


def test_two_folders_with_the_same_file(data: Callable, registry: Registry, tmp_path: Path) -> None:
    folder = data("nih_cxr14", "c")
    other = shutil.copytree(folder, tmp_path / "copy")
    error = refusal(registry, roots=(folder, other))
    assert (error.code, error.where, error.fix) == ("CXR-115", "Data_Entry_2017_v2020.csv", "name one folder")
