"""`cxrdata explain` from a run to pictures: which images, what stands below them, and what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from planted import FINDING, SIDE, SPLIT, Planted, plant

import cxrdata
from cxrdata.errors import CxrError
from cxrtrain.bundle import HeadTargets
from cxrtrain.cli.explain import METHODS, explain
from cxrtrain.explain import cam
from cxrtrain.explain.overlay import overlay, placed
from cxrtrain.explain.question import Output, group_order, output_of, prevalence_of

DRAWN = 4 * SIDE  # pixels of an image in a picture
HEADS = [{"name": "finding", "kind": "binary", "finding": FINDING, "against": "all"}]


@pytest.fixture(scope="module")
def planted(synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"), synthetic("nih_cxr14", scale=0.002), heads=HEADS)


def pixels_of(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture, dtype=np.int64)


def explained(planted: Planted, out: Path, *more: str) -> pl.DataFrame:
    """The index of what the command wrote."""
    places = ["-c", str(planted.catalog), "--store", str(planted.store), "--out", str(out), "--device", "cpu", "-q"]
    explain.main([str(planted.run.folder.path), *places, *more], standalone_mode=False)
    return pl.read_parquet(out / "index.parquet")


def test_methods_are_written_once_for_help_and_once_for_work() -> None:
    assert set(METHODS) == set(cam.METHODS)


class TestPictures:
    def test_all_of_it(self, planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "out"
        index = explained(planted, out, "--by", "sex", "--per-group", "3", "--method", "cam")
        assert index["group"].to_list() == ["F"] * 3 + ["M"] * 3
        assert sorted(path.name for path in out.iterdir()) == [
            "DATA_TERMS.md", "index.parquet", "means.png", "pictures", "sheet.html", "sheet.png",
        ]  # fmt: skip
        assert index["file"].to_list() == [f"pictures/{at:04d}.png" for at in range(1, 7)]
        for file in index["file"]:
            assert pixels_of(out / file).shape[1] == 2 * DRAWN + 6
            assert file in (out / "sheet.html").read_text()
        # Facts are the catalog's, scores descend, the images are of the test part.
        joined = index.join(planted.truth, on=["dataset", "image_id"], how="left", maintain_order="left")
        assert joined["truth"].to_list() == joined["state"].cast(pl.Float64).to_list()
        assert joined["age_years"].to_list() == joined["age_years_right"].to_list()
        assert joined["group"].to_list() == joined["sex"].to_list()
        assert all(part["score"].is_sorted(descending=True) for part in index.partition_by("group"))
        with cxrdata.open(planted.catalog) as opened:
            test = opened.sql(f"SELECT dataset, image_id FROM splits WHERE split_name = '{SPLIT}' AND split = 'test'")
        assert index.join(test, on=["dataset", "image_id"], how="anti").is_empty()
        assert "F" in capsys.readouterr().out

    def test_the_map_lies_on_the_planted_square(self, planted: Planted, tmp_path: Path) -> None:
        index = explained(planted, tmp_path / "out", "--per-group", "4", "--method", "cam")
        assert (index["truth"] == 1).all()  # the net has learnt it
        for file in index["file"]:
            picture = pixels_of(tmp_path / "out" / file)[:DRAWN]
            plain, coloured = picture[:, :DRAWN], picture[:, -DRAWN:]
            red = (coloured[:, :, 0] - coloured[:, :, 2]) - (plain[:, :, 0] - plain[:, :, 2])
            half = DRAWN // 2
            assert red[:half, :half].mean() > 1.5 * red[half:, half:].mean()

    def test_false_positives(self, planted: Planted, tmp_path: Path) -> None:
        index = explained(
            planted, tmp_path / "out", "--false-positives", "--by", "age_group:decades", "--threshold", "0.001",
            "--per-group", "2", "--split", f"{SPLIT}:test", "--method", "ablation-cam", "--top", "5",
        )  # fmt: skip
        assert (index["truth"] == 0).all() and (index["score"] >= 0.001).all()
        assert index.group_by("group").len()["len"].max() <= 2
        decades = (index["age_years"] // 10).drop_nulls().to_list()
        assert decades == sorted(decades)

    def test_the_threshold_is_of_the_validation_images(self, planted: Planted, tmp_path: Path) -> None:
        rule = explained(planted, tmp_path / "out", "--false-positives", "--threshold", "tpr=1")["threshold"][0]
        for part in ("valid", "test"):
            folder = tmp_path / part
            rows = explained(planted, folder, "--split", f"{SPLIT}:{part}", "--per-group", "1000").filter(truth=1)
            if part == "valid":
                assert rows["score"].min() == pytest.approx(rule, rel=1e-6)

    def test_the_same_again(self, planted: Planted, tmp_path: Path) -> None:
        digests = []
        for name in ("first", "second"):
            explained(planted, tmp_path / name, "--by", "view", "--per-group", "2")
            files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
            digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
        assert digests[0] == digests[1]

    def test_means_are_of_all_images_of_a_group(self, planted: Planted, tmp_path: Path) -> None:
        explained(planted, tmp_path / "out", "--by", "sex", "--per-group", "1")
        picture = pixels_of(tmp_path / "out" / "means.png")
        women, men = picture[:DRAWN, :DRAWN], picture[:DRAWN, DRAWN:]
        assert women[-30:].mean() > men[-30:].mean() + 100
        assert abs(women[100:150].mean() - men[100:150].mean()) < 5


class TestRefused:
    @pytest.mark.parametrize(
        ("more", "code"),
        [
            (["--threshold", "0.5"], "CXR-502"),
            (["--top", "3"], "CXR-502"),
            (["--prevalence", "0.5"], "CXR-502"),
            (["--head", "findin"], "CXR-501"),
            (["--output", "edema"], "CXR-501"),
            (["--by", "age_group:none"], "CXR-501"),
            (["--false-positives", "--threshold", "1.1"], "CXR-507"),
            (["--where", "age_years > 500"], "CXR-507"),
        ],
    )
    def test_wishes(self, planted: Planted, tmp_path: Path, more: list[str], code: str) -> None:
        with pytest.raises(CxrError) as caught:
            explained(planted, tmp_path / "out", *more)
        assert caught.value.code == code
        assert not (tmp_path / "out").exists() and not list(tmp_path.iterdir())

    def test_nothing_is_written_over(self, planted: Planted, tmp_path: Path) -> None:
        (tmp_path / "mine.txt").write_text("mine")
        with pytest.raises(CxrError, match="CXR-511"):
            explained(planted, tmp_path)
        assert (tmp_path / "mine.txt").read_text() == "mine"


def test_which_output(planted: Planted) -> None:
    assert output_of(planted.run, None, None).name == FINDING
    assert output_of(planted.run, "finding", FINDING).at == 0


def test_classes_are_true_one_by_one() -> None:
    head = HeadTargets("sex", "classes", "ce", ("F", "M"), ("t",))
    column = pl.Series([0, 1, None])
    assert Output(head, 0).truth(column).to_list() == [1.0, 0.0, None]
    assert Output(head, 1).truth(column).to_list() == [0.0, 1.0, None]
    logits = torch.tensor([[0.0, 0.0], [np.log(3.0), 0.0]])
    assert Output(head, 0).scores(logits) == pytest.approx([0.5, 0.75])


def test_prevalence_is_that_of_the_training_images(planted: Planted, tmp_path: Path) -> None:
    with cxrdata.open(planted.catalog) as opened:
        (expected,) = opened.sql(
            f"SELECT avg({FINDING}) FROM image_labels JOIN splits USING (dataset, image_id) "
            f"WHERE split_name = '{SPLIT}' AND split = 'train'"
        ).row(0)
    assert prevalence_of(planted.run, output_of(planted.run, None, None)) == pytest.approx(expected)
    index = explained(planted, tmp_path / "out", "--method", "chexnet", "--per-group", "30")
    assert index["map_low"].min() >= -5 and index["map_high"].max() <= 5
    # The same maps against another prevalence are higher by the difference of the logarithms.
    rarer = explained(planted, tmp_path / "rarer", "--method", "chexnet", "--per-group", "30", "--prevalence", "0.05")
    moved = (rarer["map_high"] - index["map_high"]).filter(rarer["map_high"] < 5)
    assert len(moved)
    assert moved.to_list() == pytest.approx([np.log(expected / 0.05)] * len(moved), abs=1e-4)


def test_groups_come_in_the_order_of_their_scheme(planted: Planted) -> None:
    with cxrdata.open(planted.catalog) as opened:
        assert group_order(opened, "age_group:pediatric_adult", ["adult", "unknown", "pediatric"]) == [
            "pediatric",
            "adult",
            "unknown",
        ]
        assert group_order(opened, "sex", ["unknown", "M", "F"]) == ["F", "M", "unknown"]


def test_colours() -> None:
    image = np.full((2, 2), 100, np.uint8)
    found = overlay(image, np.array([[0.0, 2.0], [-2.0, 4.0]], np.float32), 2.0)
    assert found[0, 0].tolist() == [100, 100, 100]
    assert found[0, 1].tolist() == found[1, 1].tolist()  # beyond the limit is the limit
    assert found[0, 1, 0] > 150 > found[0, 1, 2] and found[1, 0, 2] > 150 > found[1, 0, 0]


def test_a_map_of_the_middle_lies_in_the_middle() -> None:
    found = placed(np.ones((1, 2, 2), np.float32), 4)[0]
    assert found.sum() == 4 and found[1:3, 1:3].all()


def test_help_is_quick_to_load() -> None:
    assert isinstance(explain, click.Command)
