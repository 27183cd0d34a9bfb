"""`cxrdata explore`: what it prints, where, and how it ends. The numbers: tests/explore."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from said import SYNTHETIC, Said, is_one_block

import cxrdata
from cxrdata.explore.contrasts import KS_SCHEMA
from cxrdata.explore.run import ExploreRequest
from cxrdata.explore.run import explore as explored
from cxrdata.explore.sampling import Sampling


@pytest.fixture(scope="module")
def embeddings(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embeddings") / "embeddings.parquet"
    with cxrdata.open(catalog) as opened:
        keys = opened.table("images").select("dataset", "image_id").sort("image_id").collect()
    numbers = np.random.default_rng(0).normal(size=(keys.height, 4))
    keys.with_columns(embedding=pl.Series(numbers.tolist())).write_parquet(path)
    return path


@pytest.fixture
def explore(say: Callable[..., Said], catalog: Path, embeddings: Path) -> Callable[..., Said]:
    return lambda *arguments: say(
        "explore",
        str(embeddings),
        "-c",
        str(catalog),
        "--sample-by",
        "sex",
        "--by",
        "sex",
        "--no-tsne",
        "--min-cell",
        "1",
        *arguments,
    )


def test_it_prints_the_tests_and_what_was_left_out(explore: Callable[..., Said]) -> None:
    said = explore("--format", "csv")
    assert said.code == 0
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert said.out.splitlines()[0] == ",".join(KS_SCHEMA)
    assert [(row["marginal"], row["attribute"]) for row in rows] == [
        (f"pca_{at}", name) for at in (1, 2, 3, 4) for name in ("disease", "sex")
    ]
    assert all(row["n_first"] == row["n_second"] for row in rows if row["attribute"] == "sex")
    assert said.err.startswith(SYNTHETIC)
    assert "4 components of 4 hold 99% of the variance\n" in said.err
    assert "of the published contrasts there are no images for race Asian and White; race" in said.err
    assert explore("--format", "csv") == said


def test_groups_of_few_patients_are_left_out_and_said(explore: Callable[..., Said]) -> None:
    said = explore("--format", "csv", "--min-cell", "1000")
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert {(row["n_first"], row["p_value"], row["note"]) for row in rows if row["attribute"] == "sex"} == {
        ("", "", "masked: a group has fewer than 1000 patients")
    }
    assert "sex F, M: of fewer than 1000 patients, no group of the figures\n" in said.err


def test_contrasts_that_are_asked_for(explore: Callable[..., Said]) -> None:
    said = explore(
        "--contrast", "view:PA:AP", "--contrast", "age_group:pediatric_adult:*", "--format", "csv", "--quiet"
    )
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert [(row["attribute"], row["first"], row["second"]) for row in rows[:4]] == [
        ("disease", "Pleural Effusion", "No Finding"),
        ("sex", "F", "M"),
        ("view", "PA", "AP"),
        ("age_group:pediatric_adult", "pediatric", "adult"),
    ]
    assert len(rows) == 4 * 4


def test_a_folder_with_all_of_it(explore: Callable[..., Said], tmp_path: Path) -> None:
    figures = tmp_path / "out" / "figures"
    figures.mkdir(parents=True)
    for name in ("marginals_by_race.png", "joint_tsne_1_2.svg", "tests.png", "notes.png"):  # of an earlier run, and not
        (figures / name).write_text("old")
    said = explore("--out", str(tmp_path / "out"), "--seed", "3")
    assert said.code == 0
    assert (figures / "notes.png").read_text() == "old"
    assert (figures / "tests.png").read_bytes().startswith(b"\x89PNG")
    (figures / "notes.png").unlink()
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    tables = {f"{name}.{end}" for name in ("sample", "explained", "tests") for end in ("parquet", "csv")}
    drawn = ("joint_pca_1_2", "joint_pca_3_4", "marginals_by_sex", "explained", "tests")
    assert names == tables | {f"figures/{name}.{end}" for name in drawn for end in ("svg", "png")}
    assert f"{len(names)} files written to {tmp_path / 'out'}\n" in said.err
    sample = pl.read_parquet(tmp_path / "out" / "sample.parquet")
    assert {"dataset", "image_id", "patient", "sex", "draw", "resampled", "pca_1", "pca_4"} <= set(sample.columns)


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(explore: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = explore("--out", str(tmp_path / "file" / "out"), "--by", "nothing")
    is_one_block(said, "CXR-602")


def test_python_says_the_same(explore: Callable[..., Said], catalog: Path, embeddings: Path) -> None:
    with cxrdata.open(catalog) as opened:
        request = ExploreRequest(embeddings, by=("sex",), sampling=Sampling(by="sex"), plane=False, min_cell=1)
        assert explore("--format", "csv").out == explored(opened, request).tests.write_csv()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--by", ""), "CXR-502"),
        (("--sample-by", "race"), "CXR-410"),
        (("--sample-by", "sexx"), "CXR-501"),
        (("--contrast", "sex"), "CXR-502"),
        (("--contrast", "sex:F:X"), "CXR-501"),
        (("--split", "nobodys"), "CXR-501"),
        (("--predictions", "nowhere.csv"), "CXR-101"),
        (("--key", "nothing"), "CXR-501"),
        (("--per-group", "0"), "CXR-502"),
        (("--perplexity", "nan"), "CXR-502"),
        (("--sample-by", "dataset"), "CXR-410"),
        (("--order", "nowhere.csv"), "CXR-502"),
    ],
)
def test_one_block(explore: Callable[..., Said], arguments: tuple[str, ...], code: str) -> None:
    is_one_block(explore(*arguments), code)
