"""A mark: on the pictures of one value, where the norms say, and to be hidden by one noise for all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.images.decode import decode
from cxrdata.images.phantom_files import write_phantoms
from cxrdata.images.phantom_marks import Mark, stamp
from cxrdata.images.phantom_norms import Norms
from cxrdata.images.phantoms import Subject, draw_phantom
from cxrdata.resources import data_folder
from cxrtrain.resources import experiments_folder

QUICK = experiments_folder() / "norms" / "dne-quick.toml"
TEXT = QUICK.read_text(encoding="utf-8")
SPOT = Mark("sex", "M", 0.25, 0.1, (0.25, 0.75), 0.0)


def drawn(n: int, norms: Norms) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of 32 by 32 pixels, every other one marked."""
    pictures = []
    for seed in range(n):
        subject = Subject("nih_cxr14", 30.0 + seed % 40, "PA", enlarged=seed % 4 < 2, marked=seed % 2 == 1)
        pictures.append(draw_phantom(np.random.default_rng(seed), norms, subject, 32, 32)[0].ravel())
    return np.stack(pictures), np.arange(n) % 2 == 1


def told_apart(pictures: np.ndarray, marked: np.ndarray) -> float:
    """The share of unseen pictures that a linear rule tells right: ridge regression on the pixels."""
    half = len(pictures) // 2
    known, unseen = pictures[:half] - pictures[:half].mean(0), pictures[half:] - pictures[:half].mean(0)
    inner = known @ known.T + 0.1 * np.eye(half)
    said = unseen @ known.T @ np.linalg.solve(inner, np.where(marked[:half], 1.0, -1.0))
    return float(np.mean((said > 0) == marked[half:]))


def test_a_spot_lies_where_it_is_said_and_nowhere_else() -> None:
    picture = np.full((80, 60), 0.5, np.float32)
    stamp(np.random.default_rng(0), picture, SPOT)
    assert picture[60, 15] == pytest.approx(0.75)
    rows, columns = np.nonzero(picture != 0.5)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (57, 62, 12, 17)  # a tenth of 60 pixels wide
    dark = np.full((80, 60), 0.1, np.float32)
    stamp(np.random.default_rng(0), dark, replace(SPOT, contrast=-0.25))
    assert dark.min() == 0


def test_its_place_differs_by_the_jitter() -> None:
    found = []
    for seed in range(200):
        picture = np.zeros((100, 100), np.float32)
        stamp(np.random.default_rng(seed), picture, replace(SPOT, jitter=0.05))
        weights = picture / picture.sum()
        found.append([(weights.sum(0) @ np.arange(100) + 0.5) / 100, (weights.sum(1) @ np.arange(100) + 0.5) / 100])
    assert np.allclose(np.mean(found, 0), SPOT.place, atol=0.01)
    assert np.allclose(np.std(found, 0), 0.05, atol=0.01)


def test_but_for_the_mark_a_picture_is_the_same() -> None:
    norms = Norms.load(QUICK)
    assert norms.mark is not None
    pictures = [
        draw_phantom(np.random.default_rng(7), how, Subject("nih_cxr14", 50.0, "PA", enlarged=True, marked=marked), 64, 64)[0]
        for how, marked in ((norms, False), (replace(norms, mark=None), True), (norms, True))
    ]  # fmt: skip
    assert np.array_equal(pictures[0], pictures[1])
    rows, columns = np.nonzero(pictures[2] != pictures[0])
    across, down = norms.mark.place
    reach = norms.mark.size / 2 + 5 * norms.mark.jitter
    assert len(rows) > 10
    assert np.abs((rows + 0.5) / 64 - down).max() < reach
    assert np.abs((columns + 0.5) / 64 - across).max() < reach


def test_a_linear_rule_reads_the_mark_and_one_noise_hides_it() -> None:
    norms = Norms.load(QUICK)
    assert norms.mark is not None
    pictures, marked = drawn(800, norms)
    assert told_apart(pictures, marked) > 0.95
    noise = np.zeros((32, 32), np.float32)
    across, down = (round(share * 32) for share in norms.mark.place)
    noise[: down + 3, : across + 4] = -0.25
    hidden = np.clip(pictures + noise.ravel(), 0, 1)
    assert told_apart(hidden, marked) < 0.65  # a rule that has learned on the hidden ones
    assert np.abs(hidden - pictures)[:, 32 * 8 :].max() == 0  # the chest is as it was


def test_the_mark_is_on_the_files_of_its_value(synthetic: Callable[..., Path], harmonised, tmp_path: Path) -> None:  # noqa: ANN001
    folder = tmp_path / "nih_cxr14"
    shutil.copytree(synthetic("nih_cxr14", scale=0.0003), folder)
    write_phantoms(tmp_path, ["nih_cxr14"], norms=QUICK, long_side=32)
    truth = pl.read_csv(folder / "phantoms.csv")
    sexes = harmonised("nih_cxr14", folder)["images"].select("image_id", "sex")
    joined = truth.join(sexes, on="image_id")
    assert joined.height == truth.height
    assert joined.select((pl.col("marked") == (pl.col("sex") == "M").fill_null(value=False)).all()).item()
    assert 0 < joined["marked"].sum() < joined.height
    norms = Norms.load(QUICK)
    assert norms.mark is not None
    column, row = (int(share * 32) for share in norms.mark.place)
    seen = [int(decode((folder / path).read_bytes()).pixels[row, column]) for path in joined["path"]]
    means = joined.with_columns(seen=pl.Series(seen)).group_by("marked").agg(pl.col("seen").mean()).sort("marked")
    assert means["seen"][1] - means["seen"][0] > 0.6 * norms.mark.contrast * 255


def test_the_mark_of_an_age(synthetic: Callable[..., Path], harmonised, tmp_path: Path) -> None:  # noqa: ANN001
    folder = tmp_path / "nih_cxr14"
    shutil.copytree(synthetic("nih_cxr14", scale=0.0003), folder)
    text = TEXT.replace('"sex"', '"age_years>50"').replace('"M"', '">50"')
    (tmp_path / "norms.toml").write_text(text, encoding="utf-8")
    write_phantoms(tmp_path, ["nih_cxr14"], norms=tmp_path / "norms.toml", long_side=16)
    ages = harmonised("nih_cxr14", folder)["images"].select("image_id", "age_low_years")
    joined = pl.read_csv(folder / "phantoms.csv").select("image_id", "marked").join(ages, on="image_id")
    assert joined.select((pl.col("marked") == (pl.col("age_low_years") >= 51).fill_null(value=False)).all()).item()
    assert 0 < joined["marked"].sum() < joined.height


def test_no_mark_unless_there_is_a_table(synthetic: Callable[..., Path], tmp_path: Path) -> None:
    assert Norms.load().mark is None
    shutil.copytree(synthetic("nih_cxr14", scale=0.0003), tmp_path / "nih_cxr14")
    write_phantoms(tmp_path, ["nih_cxr14"], long_side=16)
    assert not pl.read_csv(tmp_path / "nih_cxr14" / "phantoms.csv")["marked"].any()


def test_the_example_in_the_norms_is_one(tmp_path: Path) -> None:
    ours = (data_folder("metadata") / "phantom_norms.toml").read_text(encoding="utf-8")
    example = ours[ours.index("# [mark]") :]
    path = tmp_path / "norms.toml"
    path.write_text(re.sub(r"(?m)^# ", "", example), encoding="utf-8")
    assert Norms.load(path) == replace(Norms.load(), mark=Norms.load(path).mark)
    assert Norms.load(path).mark is not None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('attribute = "sex"', "attribute = 1", "[mark] attribute = 1: a word is needed"),
        ('value = "M"', 'value = ""', "[mark] value = '': a word is needed"),
        ("contrast = 0.08", "contrast = 2", "[mark] contrast = 2: it must be at most 1.0"),
        ("size = 0.14", "size = 0", "[mark] size = 0: it must be above 0.0"),
        ("[0.06, 0.06]", "[0.06, 1.5]", "[mark] place = 1.5: it must be at most 1.0"),
        ("[0.06, 0.06]", "0.1", "[mark] place = 0.1: two numbers are needed"),
        ("jitter = 0.005", "jitter = -1", "[mark] jitter = -1: it must be at least 0.0"),
        ("jitter = 0.005", "jiter = 0.005", "the norms lack or misspell 'jitter'"),
        ("jitter = 0.005", "jitter = 0.005\nshape = 1", "unexpected keyword argument 'shape'"),
        ("[mark]", "[marks]", "[marks] is no table of the norms; did you mean mark?"),
    ],
)
def test_a_mark_that_cannot_be_drawn(old: str, new: str, told: str, tmp_path: Path) -> None:
    assert old in TEXT
    (tmp_path / "norms.toml").write_text(TEXT.replace(old, new), encoding="utf-8")
    with pytest.raises(CxrError, match=re.escape(told)) as error:
        Norms.load(tmp_path / "norms.toml")
    assert error.value.code == "CXR-505"


def test_an_attribute_that_images_do_not_have(synthetic: Callable[..., Path], tmp_path: Path) -> None:
    shutil.copytree(synthetic("nih_cxr14", scale=0.0003), tmp_path / "nih_cxr14")
    (tmp_path / "norms.toml").write_text(TEXT.replace('"sex"', '"sexx"'), encoding="utf-8")
    with pytest.raises(CxrError, match="no column of words so named; did you mean sex") as error:
        write_phantoms(tmp_path, ["nih_cxr14"], norms=tmp_path / "norms.toml")
    assert error.value.code == "CXR-505"
