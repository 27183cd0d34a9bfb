"""Drawn chests: the heart is as wide as the truth says, by age, projection and label, in each dataset's format."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import cxrdata
from cxrdata.cli.main import run
from cxrdata.errors import CxrError, Exit
from cxrdata.images import phantom_files
from cxrdata.images.decode import decode
from cxrdata.images.phantom_files import write_phantoms
from cxrdata.images.phantom_marks import Floats
from cxrdata.images.phantom_norms import Look, Norms
from cxrdata.images.phantoms import Subject, Truth, draw_phantom
from cxrdata.resources import data_folder
from cxrdata.sources.base import Registry
from cxrdata.sources.drawing.vindr import box_divisor
from cxrdata.sources.synthesis import SynthPlan
from cxrdata.store.build import BuildRequest, build_catalog

NORMS = Norms.load()
CLEAN = replace(NORMS, looks={"default": Look(0.0, 1.0, 0.0, 0.0, 0.0)})
NORMS_TEXT = (data_folder("metadata") / "phantom_norms.toml").read_text(encoding="utf-8")


def ratios(age: float, *, view: str = "PA", enlarged: bool = False, norms: Norms = NORMS, n: int = 40) -> np.ndarray:
    subject = Subject("nih_cxr14", age, view, enlarged=enlarged)
    drawn = [draw_phantom(np.random.default_rng(seed), norms, subject, 24, 24)[1].ctr for seed in range(n)]
    return np.array(drawn, dtype=float)


def _run(places: np.ndarray) -> np.ndarray:
    """The first of some pixels, up to where five or more are missing: the lung, not what is beside the body."""
    ends = np.flatnonzero(np.abs(np.diff(places)) > 4)
    return places[: ends[0] + 1] if len(ends) else places


def seen_ratio(picture: np.ndarray) -> float:
    """Measured in a picture without noise, as a reader does: how far the heart reaches into the air on either side above
    the diaphragm, over the greatest width of the air."""
    rows, columns = picture.shape
    middle = columns // 2
    to_right = to_left = widest = 0
    for row in range(int(0.45 * rows), int(0.75 * rows)):
        air = np.flatnonzero(picture[row] < 0.5)
        right, left = (_run(side) for side in (air[air < middle][::-1], air[air > middle]))
        if len(right) < 0.15 * columns or len(left) < 0.06 * columns:
            continue  # the dome of the diaphragm
        widest = max(widest, int(left[-1] - right[-1]))
        to_right = max(to_right, middle - int(right[0]))
        to_left = max(to_left, int(left[0]) - middle)
    return (to_right + to_left) / widest


def test_the_heart_follows_the_norms_of_the_age() -> None:
    newborn, infant, child, adult = (ratios(age) for age in (0.0, 0.9, 8.0, 40.0))
    assert newborn.mean() > infant.mean() > child.mean() > adult.mean()
    assert 0.54 < newborn.mean() < 0.62
    assert newborn.max() <= 0.65
    assert adult.max() <= 0.50


def test_a_label_enlarges_beyond_the_limit_of_the_age() -> None:
    for age, limit in ((0.0, 0.65), (40.0, 0.50)):
        assert ratios(age, enlarged=True).min() > limit
    assert np.array_equal(ratios(40.0, enlarged=True, norms=replace(NORMS, labels_enlarge=False)), ratios(40.0))


def test_ap_magnifies() -> None:
    assert np.allclose(ratios(40.0, view="AP") / ratios(40.0), NORMS.ap_factor, atol=2e-3)


def test_a_control_without_norms_of_age() -> None:
    flat = replace(NORMS, ratios=tuple((age, 0.45, 0.02, 0.50) for age, *_ in NORMS.ratios))
    assert np.array_equal(ratios(0.1, norms=flat), ratios(70.0, norms=flat))


def test_the_truth_is_what_is_seen() -> None:
    told, seen = [], []
    for seed in range(12):
        subject = Subject("default", 45.0, "PA", enlarged=seed % 2 == 0)
        picture, truth = draw_phantom(np.random.default_rng(seed), CLEAN, subject, 192, 192)
        told.append(truth.ctr)
        seen.append(seen_ratio(picture))
    # A reader's two lines are not the drawer's; they must rise together, and agree within a few hundredths.
    assert np.corrcoef(told, seen)[0, 1] > 0.9
    assert np.abs(np.array(told, dtype=float) - seen).mean() < 0.03


def test_lungs_are_dark_and_heart_and_spine_bright() -> None:
    picture, _ = draw_phantom(np.random.default_rng(3), CLEAN, Subject("default", 40.0, "PA", enlarged=False), 200, 200)
    lungs = np.r_[picture[70:110, 45:65].ravel(), picture[70:110, 135:155].ravel()]
    assert lungs.mean() < 0.35
    assert picture[120:135, 100:120].mean() > 0.55
    assert picture[185:, 60:140].mean() > 0.6
    assert picture[5:15, 2:30].mean() < 0.15  # beside the neck


def test_lateral_views_have_no_ratio() -> None:
    picture, truth = draw_phantom(
        np.random.default_rng(0), NORMS, Subject("padchest", 50.0, "LATERAL", enlarged=False), 60, 50
    )
    assert (truth.ctr, truth.ctr_pa) == (None, None)
    assert picture.shape == (60, 50)


def test_a_lateral_view_shows_a_heart_before_dark_lung() -> None:
    picture, _ = draw_phantom(
        np.random.default_rng(4), CLEAN, Subject("default", 40.0, "LATERAL", enlarged=False), 200, 200
    )
    behind_the_breastbone, heart, behind_the_heart = (
        picture[60:75, 55:75],
        picture[105:120, 70:90],
        picture[105:120, 115:130],
    )
    assert heart.mean() > behind_the_breastbone.mean() + 0.05
    assert heart.mean() > behind_the_heart.mean() + 0.1
    assert picture[180:, 90:110].mean() > 0.6  # the belly
    assert picture[:, :10].mean() < 0.1


@pytest.mark.parametrize("age", [0.3, 6.0, 50.0])
def test_a_heart_lies_where_it_is_said_to_lie(age: float) -> None:
    """Two pictures that differ by the heart alone differ nowhere else, and up to the ends of the place of the larger one."""
    clean = replace(CLEAN, enlarged_above_limit=(0.1, 0.1))
    for seed in range(6):
        pictures, places = [], []
        for norms in (clean, replace(clean, labels_enlarge=False)):
            subject = Subject("default", age, "PA", enlarged=True)
            picture, truth = draw_phantom(np.random.default_rng(seed), norms, subject, 192, 192)
            pictures.append(picture)
            places.append(truth.heart)
        rows, columns = np.nonzero(np.abs(pictures[0] - pictures[1]) > 1e-3)
        x_min, y_min, x_max, y_max = np.array(places[0]) * 192
        assert x_min - 1 <= columns.min() <= x_min + 10
        assert x_max - 10 <= columns.max() <= x_max + 1
        assert y_min - 1 <= rows.min()
        assert rows.max() <= y_max + 1


def test_noise_and_exposure_differ_by_dataset() -> None:
    def rough(dataset: str) -> float:
        """The noise in the corner of pictures that are not saturated there."""
        found = []
        for seed in range(6):
            subject = Subject(dataset, 40.0, "PA", enlarged=False)
            picture, _ = draw_phantom(np.random.default_rng(seed), NORMS, subject, 256, 256)
            found.append(np.diff(picture[220:250, 100:110], axis=1).std())
        return float(np.median(found))

    assert rough("padchest") > 1.5 * rough("mimic_cxr")


def test_the_same_seed_the_same_picture() -> None:
    subject = Subject("nih_cxr14", 40.0, "PA", enlarged=False)
    one, other = (draw_phantom(np.random.default_rng(5), NORMS, subject, 40, 32)[0] for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("dataset", "kind", "bits"),
    [("chexpert", "JPEG", 8), ("nih_cxr14", "PNG", 8), ("padchest", "PNG", 16), ("vindr_pcxr", "DICOM", None)],
)
def test_files_in_the_layout_and_format_of_the_dataset(
    dataset: str, kind: str, bits: int | None, synthetic: Callable[..., Path], tmp_path: Path
) -> None:
    shutil.copytree(synthetic(dataset, scale=0.0003), tmp_path / dataset)
    norms = tmp_path / "norms.toml"
    norms.write_text(NORMS_TEXT.replace("long_side = 320", "long_side = 48"), encoding="utf-8")
    n = write_phantoms(tmp_path, [dataset], norms=norms)
    truth = pl.read_csv(tmp_path / dataset / "phantoms.csv")
    assert n == truth.height > 10
    for name in truth["path"][:10]:
        found = decode((tmp_path / dataset / name).read_bytes())
        assert found.facts.kind == kind
        assert found.pixels.std() > 15
        if bits is not None:
            assert found.facts.bits == bits
            assert max(found.facts.rows, found.facts.columns) == 48
    before = {name: (tmp_path / dataset / name).read_bytes() for name in truth["path"][:5]}
    write_phantoms(tmp_path, [dataset], norms=norms)
    assert all((tmp_path / dataset / name).read_bytes() == data for name, data in before.items())


def test_dicom_shows_what_was_drawn(tmp_path: Path) -> None:
    """Through window and inversion, of the headers that VinDr has."""
    from cxrdata.images.phantom_files import _fill_dicom
    from cxrdata.sources.drawing.dicom_files import Header, encode_dicom

    picture, _ = draw_phantom(np.random.default_rng(1), CLEAN, Subject("default", 40.0, "PA", enlarged=False), 60, 50)
    picture[0, :2] = 0, 1  # the range that is shown where there is no window
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        for window in (None, (2048, 2000)):
            header = Header("00ff" * 8, 60, 50, "040Y", "F", photometric=photometric, window=window)
            path = tmp_path / "image.dicom"
            path.write_bytes(encode_dicom(header, np.zeros((60, 50), np.uint16)))
            assert _fill_dicom(path, picture)
            shown = decode(path.read_bytes()).pixels
            assert np.abs(shown - picture * 255).max() <= 1


def test_defective_dicom_files_stay_so(tmp_path: Path) -> None:
    from cxrdata.images.phantom_files import _fill_dicom
    from cxrdata.sources.drawing.dicom_files import Header, encode_dicom

    for defect in ("no_transfer_syntax", "no_pixel_data"):
        path = tmp_path / f"{defect}.dicom"
        data = encode_dicom(Header("00ff" * 8, 6, 5, None, None, defect=defect), np.zeros((6, 5), np.uint16))  # type: ignore[arg-type]
        path.write_bytes(data)
        assert not _fill_dicom(path, np.zeros((6, 5), np.float32))
        assert path.read_bytes() == data


def test_enlarged_hearts_are_those_of_the_labels(synthetic: Callable[..., Path], harmonised, tmp_path: Path) -> None:  # noqa: ANN001
    folder = tmp_path / "nih_cxr14"
    shutil.copytree(synthetic("nih_cxr14"), folder)
    norms = tmp_path / "norms.toml"
    norms.write_text(NORMS_TEXT.replace("long_side = 320", "long_side = 16"), encoding="utf-8")
    write_phantoms(tmp_path, ["nih_cxr14"], norms=norms)
    truth = pl.read_csv(folder / "phantoms.csv")
    labels = harmonised("nih_cxr14", folder)["image_labels"].select("image_id", "cardiomegaly")
    joined = truth.join(labels, on="image_id")
    assert joined.height == truth.height
    assert joined["enlarged"].sum() > 0
    assert joined.select((pl.col("enlarged") == (pl.col("cardiomegaly") == 1)).all()).item()
    norms.write_text(norms.read_text(encoding="utf-8").replace("labels_enlarge = true", "labels_enlarge = false"))
    write_phantoms(tmp_path, ["nih_cxr14"], norms=norms)
    parted = pl.read_csv(folder / "phantoms.csv")
    assert parted["label"].equals(truth["label"]) and truth["label"].equals(truth["enlarged"])
    assert not parted["enlarged"].any()  # what was drawn is another matter


@pytest.mark.parametrize("dataset", ["nih_cxr14", "vindr_cxr", "vindr_pcxr"])
def test_boxes_of_cardiomegaly_enclose_the_hearts(dataset: str, synthetic: Callable[..., Path], tmp_path: Path) -> None:
    """In the pixels of the distributed file, also where it is drawn smaller; other boxes stay as they were."""
    shutil.copytree(synthetic(dataset), tmp_path / dataset)
    before = boxes(tmp_path, dataset)
    norms = tmp_path / "norms.toml"
    norms.write_text(NORMS_TEXT.replace("long_side = 320", "long_side = 16"), encoding="utf-8")
    write_phantoms(tmp_path, [dataset], norms=norms)
    after = boxes(tmp_path, dataset)
    assert after.filter(~HEARTS).equals(before.filter(~HEARTS))
    truth = pl.read_csv(tmp_path / dataset / "phantoms.csv", schema_overrides={"heart_x_min": pl.Float64})
    placed = after.filter(HEARTS).join(truth, on="image_id")
    assert placed.height == before.filter(HEARTS).height > 0
    for end, sign in (("min", -1), ("max", 1)):
        for axis, side in (("x", "columns_px"), ("y", "rows_px")):
            beyond = sign * (placed[f"{axis}_{end}"] / placed[side] - placed[f"heart_{axis}_{end}"])
            assert beyond.min() >= -1e-3
            assert beyond.max() < 0.03
    assert placed["enlarged"].all()  # whatever the labels say beside the box
    tables = {path: path.read_bytes() for path in (tmp_path / dataset).rglob("*.csv")}
    write_phantoms(tmp_path, [dataset], norms=norms)
    assert all(path.read_bytes() == content for path, content in tables.items())


HEARTS = pl.col("native_label") == "Cardiomegaly"


def boxes(folder: Path, dataset: str) -> pl.DataFrame:
    """The boxes as anyone reads them, with the size of their image."""
    catalog = folder / f"cat-{len(list(folder.iterdir()))}"
    build_catalog(BuildRequest(catalog, named=[(Registry().get(dataset), folder / dataset)], workers=1))
    with cxrdata.open(catalog) as opened:
        return opened.sql(
            "SELECT b.*, rows_px, columns_px FROM boxes AS b JOIN images USING (dataset, image_id) ORDER BY ALL"
        )


def test_dicom_of_official_size() -> None:
    """Header, boxes and pixels of VinDr have one frame, a tenth of the detector's unless the official one is asked for."""
    variants = frozenset({"dicom"})
    wishes = [SynthPlan(images=True, official_size=official) for official in (True, False)]
    assert [box_divisor(plan, variants) for plan in wishes] == [1, 10]


def test_pictures_of_official_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the tables state; and smaller ones are not called wrong in size, those of another shape are."""

    def quickly(
        rng: np.random.Generator, norms: Norms, subject: Subject, rows: int, columns: int
    ) -> tuple[Floats, Truth]:
        small, truth = draw_phantom(rng, norms, subject, 16, 16)
        return np.resize(small, (rows, columns)), truth

    monkeypatch.setattr(phantom_files, "draw_phantom", quickly)
    asked = ["synth", str(tmp_path / "data"), "--scale", "0.00002", "--only", "nih", "--images", "-q"]
    assert run([*asked, "--long-side", "official"]) == Exit.DONE
    build = ["build-catalog", "--root", str(tmp_path / "data"), "-c", str(tmp_path / "cat"), "-q"]
    assert run(build) == Exit.DONE
    nih = sorted((tmp_path / "data" / "nih_cxr14" / "images").glob("*.png"))
    assert decode(nih[0].read_bytes()).pixels.shape == (1024, 1024)
    assert run([*asked, "--long-side", "64"]) == Exit.DONE
    assert run(build) == Exit.DONE
    assert decode(nih[0].read_bytes()).pixels.shape == (64, 64)
    Image.open(nih[1]).resize((64, 60)).save(nih[1])
    check = ["images", "check", "-c", str(tmp_path / "cat"), "-q", "--workers", "1", "--format", "csv"]
    capsys.readouterr()
    assert run([*check, "--dataset", "nih", "--root", f"nih={tmp_path / 'data' / 'nih_cxr14'}", "--list"]) == Exit.DONE
    assert [line.split(",")[1] for line in capsys.readouterr().out.splitlines() if "wrong_size" in line] == [
        nih[1].name
    ]


@pytest.mark.parametrize(
    "wishes", [["--long-side", "64"], ["--images", "--long-side", "big"], ["--images", "--long-side", "3"]]
)
def test_a_long_side_that_is_none(wishes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["synth", str(tmp_path / "data"), *wishes]) == Exit.USAGE
    assert "CXR-502" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("text", "code"),
    [("long_side = ", "CXR-505"), ("[heart]\n", "CXR-505"), (NORMS_TEXT.replace("sd =", "sdx ="), "CXR-505")],
)
def test_broken_norms(text: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "norms.toml").write_text(text, encoding="utf-8")
    with pytest.raises(CxrError) as error:
        Norms.load(tmp_path / "norms.toml")
    assert error.value.code == code


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("mean = 0.58", "mean = 1.2", "of age 0: mean = 1.2: it must be below 1.0"),
        ("mean = 0.58", "mean = 0", "of age 0: mean = 0: it must be above 0.0"),
        ("mean = 0.58", 'mean = "0.58"', "of age 0: mean = '0.58': a number is needed"),
        ("mean = 0.58", "mean = nan", "of age 0: mean = nan: a number is needed"),
        ("sd = 0.030", "sd = -0.03", "of age 0: sd = -0.03: it must be at least 0.0"),
        ("limit = 0.65", "limit = 0.58", "of age 0: limit (of a mean of 0.58) = 0.58: it must be above 0.58"),
        ("age_years = 1.0", "age_years = 0.0", "has two rows of one age"),
        ("ap_factor = 1.09", "ap_factor = true", "ap_factor = True: a number is needed"),
        ("[0.02, 0.12]", "[0.12, 0.02]", "enlarged_above_limit = [0.12, 0.02]: the first is to be the smaller"),
        ("[0.02, 0.12]", "0.1", "two numbers are needed"),
        ("labels_enlarge = true", "labels_enlarge = 0", "true or false is needed"),
        ("long_side = 320", "long_side = 32.5", "a whole number is needed"),
        ("border = 0.35", "border = 1.5", "[look.vindr_pcxr] border = 1.5: it must be at most 1.0"),
    ],
)
def test_norms_that_no_chest_has(old: str, new: str, told: str, tmp_path: Path) -> None:
    assert old in NORMS_TEXT
    (tmp_path / "norms.toml").write_text(NORMS_TEXT.replace(old, new), encoding="utf-8")
    with pytest.raises(CxrError, match=re.escape(told)) as error:
        Norms.load(tmp_path / "norms.toml")
    assert error.value.code == "CXR-505"


def test_no_norms(tmp_path: Path) -> None:
    with pytest.raises(CxrError) as error:
        Norms.load(tmp_path / "none.toml")
    assert error.value.code == "CXR-101"
