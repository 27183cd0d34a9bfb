"""Contact sheets, mean images and grey levels by group."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from cxrdata.errors import CxrError
from cxrdata.images.build import StoreRequest, build_store
from cxrdata.images.decode import decode
from cxrdata.images.pictures import (
    _wrapped,
    captions_of,
    draw_sheet,
    histograms,
    mean_images,
    sheet_summary,
    write_sheet,
)
from cxrdata.images.resize import Frame
from cxrdata.images.store import ImageStore


@pytest.fixture
def store(tmp_path: Path, located: pl.DataFrame) -> ImageStore:
    build_store(StoreRequest(tmp_path / "store", located, Frame(32)))
    return ImageStore(tmp_path / "store")


@pytest.fixture
def frame(store: ImageStore) -> pl.DataFrame:
    groups = ["child", "adult", None, "adult", "adult", "child", "child", "child", None, "adult"]
    return store.index.select("dataset", "image_id").with_columns(age_group=pl.Series(groups))


def test_the_mean_image_of_each_group(store: ImageStore, frame: pl.DataFrame) -> None:
    means, names = mean_images(store, frame, "age_group")
    assert names == ["adult, n = 4", "child, n = 4", "unknown, n = 2"]
    adults = store.read([1, 3, 4, 9]).astype(float).mean(axis=0)
    assert np.abs(means[0] - adults).max() <= 0.5
    assert np.abs(means[2] - store.read([2, 8]).astype(float).mean(axis=0)).max() <= 0.5


def test_grey_levels_by_group(store: ImageStore, frame: pl.DataFrame) -> None:
    found = histograms(store, frame, "age_group", bins=4)
    assert found.columns == ["age_group", "images", "level_low", "level_high", "share"]
    child = found.filter(pl.col("age_group") == "child")
    counts, _ = np.histogram(store.read([0, 5, 6, 7]), bins=[0, 64, 128, 192, 256])
    assert child["share"].to_list() == pytest.approx((counts / counts.sum()).tolist())
    assert child["level_high"].to_list() == [63, 127, 191, 255]


def test_a_column_that_the_query_lacks(store: ImageStore, frame: pl.DataFrame) -> None:
    with pytest.raises(CxrError, match="no column 'race'") as error:
        mean_images(store, frame, "race")
    assert error.value.code == "CXR-501"


def test_captions_say_what_the_query_says(frame: pl.DataFrame) -> None:
    assert captions_of(frame)[:3] == ["child", "adult", "-"]
    assert captions_of(frame.select("dataset", "image_id"))[0] == frame["image_id"][0]
    assert captions_of(frame[:1], ["no file was found"]) == ["child (no file was found)"]


def test_a_sheet_places_the_images(store: ImageStore) -> None:
    pixels = store.read(range(5))
    sheet = np.asarray(draw_sheet(pixels, ["one"] * 5, columns=3))
    assert sheet.shape == (2 * (32 + 14), 96)
    assert np.array_equal(sheet[:32, 32:64], pixels[1])
    assert np.array_equal(sheet[46 : 46 + 32, :32], pixels[3])
    assert sheet[32:46, :32].max() > 200  # the caption
    assert (sheet[46:, 64:] == 0).all()  # nothing in the sixth place


def test_no_caption_is_cut() -> None:
    from PIL import Image, ImageDraw

    pixels = np.full((3, 16, 16), 200, np.uint8)
    long = "00000001_000.png (the file is a web page, usually that of a login, " + "x" * 90 + ")"
    for captions in (["short", "", "a caption of some length"], [long, "b", "c"]):
        sheet = draw_sheet(pixels, captions, columns=2)
        width, height = sheet.width // 2, sheet.height // 2
        measure = ImageDraw.Draw(Image.new("L", (1, 1))).textlength
        wrapped = _wrapped(captions[0], width - 4, measure)
        assert "".join(wrapped).replace(" ", "") == captions[0].replace(" ", "")
        assert max(measure(line) for line in wrapped) <= width - 4
        assert (width <= 160) and height == 16 + 14 * len(wrapped)
        assert np.array_equal(np.asarray(sheet)[:16, width : width + 16], pixels[1])


def test_what_could_not_be_drawn_is_counted_apart() -> None:
    said = sheet_summary(["", "", "the file is a web page", "the file is empty", "without a file", ""])
    assert said == "3 pictures drawn, 2 could not be decoded, 1 without a file"
    assert sheet_summary([""]) == "1 picture drawn"


def test_html_holds_the_images_and_escapes(store: ImageStore, tmp_path: Path) -> None:
    write_sheet(store.read([4]), ["<script>alert(1)</script>"], tmp_path / "sheet.html")
    text = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "http" not in text
    data = base64.b64decode(re.search(r"base64,([^\"]+)", text)[1])  # type: ignore[index]
    assert np.array_equal(decode(data).pixels, store[4])


def test_png_and_other_suffixes(store: ImageStore, tmp_path: Path) -> None:
    write_sheet(store.read([0, 1]), ["a", "b"], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (64, 46)
    for out, code in ((tmp_path / "sheet.gif", "CXR-502"), (tmp_path / "none" / "sheet.png", None)):
        with pytest.raises((CxrError, FileNotFoundError)) as error:
            write_sheet(store.read([0]), ["a"], out)
        assert code is None or error.value.code == code  # type: ignore[union-attr]
        assert code is None or error.value.fix == "--sheet sheet.png or .html"  # type: ignore[union-attr]
