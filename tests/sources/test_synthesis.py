"""Every source's synthetic writer: deterministic, labelled, every variant readable."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.sources.base import Registry
from cxrdata.sources.discover import find
from cxrdata.sources.synthesis import SynthPlan, write_csv
from cxrdata.sources.write_synthetic import list_variants, write_datasets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOURCES = [source.name for source in Registry()]
VARIANTS = [(name, variant) for name in SOURCES for variant in Registry().get(name).module("synth").VARIANTS]
# Variants that are no dataset alone: what must stand beside them.
BESIDE = {
    ("chexpert", "labels"): {"small"}, ("chexpert", "demographics"): {"small"},
    ("mimic_cxr", "iv_hosp"): {"jpg_2_1"}, ("mimic_cxr", "iv_core"): {"jpg_2_0"},
    ("nih_cxr14", "lists"): {"c"}, ("nih_cxr14", "boxes"): {"c"}, ("nih_cxr14", "google"): {"c"},
    ("vindr_cxr", "dicom"): {"physionet"}, ("vindr_pcxr", "dicom"): {"physionet"},
}  # fmt: skip


@pytest.fixture
def write(tmp_path: Path, registry: Registry) -> Callable[..., Path]:
    """`write(dataset, variants=…, seed=…)`: a fresh folder with that dataset."""

    def run(dataset: str, **plan: Any) -> Path:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        module = registry.get(dataset).module("synth")
        module.write(folder, SynthPlan(**{"scale": 0.0005, "variants": module.DEFAULT} | plan))
        return folder

    return run


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("dataset", SOURCES)
def test_same_plan_same_bytes_other_seed_other_bytes(dataset: str, write: Callable) -> None:
    """CONTRACT §1."""
    first, second, other = (digests(write(dataset, seed=seed)) for seed in (7, 7, 8))
    assert first == second
    tables = {name for name in first if name.endswith((".csv", ".csv.gz", ".xlsx"))}
    assert tables
    assert not [name for name in tables if other.get(name) == first[name]]


@pytest.mark.parametrize(("dataset", "variant"), VARIANTS)
def test_every_variant_is_written_labelled_and_recognised(
    dataset: str, variant: str, write: Callable, registry: Registry
) -> None:
    folder = write(dataset, variants=frozenset({variant} | BESIDE.get((dataset, variant), set())))
    note = (folder / "SYNTHETIC.txt").read_text()
    assert "SYNTHETIC: written by `cxrdata synth` from random numbers" in note
    assert "Never publish a result from them." in note
    found = find(registry, [], [folder])
    assert [files.source.name for files in found.datasets] == [dataset]
    assert found.unclaimed == []


@pytest.mark.parametrize("dataset", SOURCES)
def test_scale_is_the_share_of_the_official_size(dataset: str, write: Callable, registry: Registry) -> None:
    """Three times the scale, three times the text; the smallest sets are larger than their share, for their quirks."""
    module = registry.get(dataset).module("synth")
    variants, share = module.DEFAULT - {"dicom"}, 0.02 if dataset.startswith("vindr") else 0.003
    folders = [write(dataset, scale=scale, variants=variants) for scale in (share, 3 * share)]
    small, large = (sum(path.stat().st_size for path in folder.rglob("*.csv*")) for folder in folders)
    assert 2 * small < large < 4 * small


def test_a_purpose_has_random_numbers_of_its_own() -> None:
    plan = SynthPlan(seed=1)
    draws = [plan.rng(*names).integers(1 << 60) for names in (("a",), ("a",), ("b",), ("a", "b"))]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3
    assert SynthPlan(seed=2).rng("a").integers(1 << 60) != draws[0]
    assert isinstance(plan.rng("a"), np.random.Generator)


@pytest.mark.parametrize(
    ("official", "scale", "least", "count"), [(1000, 0.01, 1, 10), (10, 0.001, 1, 1), (10, 0.1, 5, 5), (7, 1, 1, 7)]
)
def test_counts(official: int, scale: float, least: int, count: int) -> None:
    assert SynthPlan(scale=scale).count(official, at_least=least) == count


def test_write_csv_can_have_the_headers_of_the_wild(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1], "b": [None]}, schema={"a": pl.Int64, "b": pl.String})
    assert write_csv(frame, tmp_path / "x" / "f.csv", header="a,b,", crlf=True).read_bytes() == b"a,b,\r\n1,\r\n"
    assert write_csv(frame, tmp_path / "f.csv", null_value="None").read_bytes() == b"a,b\n1,None\n"
    first = write_csv(frame, tmp_path / "f.csv", compress=True)
    assert first.name == "f.csv.gz"
    assert first.read_bytes() == write_csv(frame, tmp_path / "f.csv", compress=True).read_bytes()


# The command's part: choice of datasets and variants.


def test_datasets_go_to_folders_of_their_names(tmp_path: Path) -> None:
    seen: list[str] = []
    assert write_datasets(tmp_path, scale=0.0005, only="nih, padchest", progress=seen.append) == [
        "nih_cxr14",
        "padchest",
    ]
    assert seen == ["nih_cxr14", "padchest"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nih_cxr14", "padchest"]
    assert write_datasets(tmp_path, scale=0.0005, only="nih") == ["nih_cxr14"], "synthetic files may be written anew"


def test_variants_are_added_and_taken_away(tmp_path: Path) -> None:
    write_datasets(tmp_path, scale=0.0005, only="nih,mimic", variants=["nih=-boxes,-google", "mimic=plain_csv"])
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert "Data_Entry_2017_v2020.csv" in names
    assert not names & {"BBox_List_2017.csv", "google2019_nih-chest-xray-labels.csv.gz"}
    assert {"mimic-cxr-2.0.0-metadata.csv", "admissions.csv"} <= names


@pytest.mark.parametrize(
    ("wish", "code", "problem"),
    [
        ({"only": "nih,chestx"}, "CXR-501", "no dataset is called 'chestx'"),
        ({"variants": ["nih"]}, "CXR-502", "--variant needs DATASET=NAME, got 'nih'"),
        ({"variants": ["nih=boxs"], "only": "nih"}, "CXR-501", "nih_cxr14 has no variant 'boxs'; did you mean boxes?"),
    ],
)
def test_wrong_wishes(wish: dict[str, Any], code: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(CxrError) as caught:
        write_datasets(tmp_path, **wish)
    assert caught.value.code == code
    assert caught.value.problem.startswith(problem)


def test_synthetic_files_never_go_among_others(tmp_path: Path) -> None:
    """They could be taken for real."""
    (tmp_path / "nih_cxr14").mkdir()
    (tmp_path / "nih_cxr14" / "Data_Entry_2017.csv").write_text("real\n")
    with pytest.raises(CxrError, match="holds files that are not synthetic") as caught:
        write_datasets(tmp_path, only="nih")
    assert caught.value.code == "CXR-502"
    assert [path.name for path in (tmp_path / "nih_cxr14").iterdir()] == ["Data_Entry_2017.csv"]


def test_the_list_of_variants_is_whole() -> None:
    listed = list_variants()
    assert set(listed.select("dataset", "variant").iter_rows()) == set(VARIANTS)
    assert listed["description"].str.len_chars().min() > 10  # type: ignore[operator]
    usual = listed.filter("usual")
    assert set(usual["dataset"]) == set(SOURCES)
