"""Every spelling of image keys in the wild, and what must not be guessed."""

from __future__ import annotations

import re
import time
from pathlib import Path

import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.keys import (
    EMPTY,
    FORM_NOT_KNOWN,
    NOT_IN_CATALOG,
    SEVERAL_DATASETS,
    KeyIndex,
    declared_keys,
    key_forms,
    recognise,
    resolve,
)
from cxrdata.resources import data_folder
from cxrdata.sources.base import Registry

CHEXPERT = "train/patient00001/study1/view1_frontal.jpg"
MIMIC = "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014"
NIH = "00000001_000.png"
PADCHEST = "216840111366964012283393834152009033102258826_00-059-087.png"
HEX = "0123456789abcdef0123456789abcdef"
SHARED_HEX = "f" * 32
KNOWN = pl.DataFrame(
    {
        "dataset": [
            "chexpert",
            "mimic_cxr",
            "nih_cxr14",
            "padchest",
            "vindr_cxr",
            "vindr_cxr",
            "vindr_pcxr",
            "house",
        ],
        "image_id": [CHEXPERT, MIMIC, NIH, PADCHEST, HEX, SHARED_HEX, SHARED_HEX, "ward-7.png"],
    }
)


@pytest.mark.parametrize(
    ("key", "image"),
    [
        *(
            (key, ("chexpert", CHEXPERT))
            for key in (
                CHEXPERT,
                f"CheXpert-v1.0-small/{CHEXPERT}",
                f"CheXpert-v1.0/{CHEXPERT}",
                f"/data/chexpert/CheXpert-v1.0/{CHEXPERT}",
                "C:\\data\\CheXpert-v1.0\\train\\patient00001\\study1\\view1_frontal.jpg",
                "CheXpert-v1.0 batch 2 (train 1)/patient00001/study1/view1_frontal.jpg",
                "preproc_224x224/patient00001_study1_view1_frontal.jpg",
                "train_patient00001_study1_view1_frontal.png",
                "patient00001/study1/view1_frontal",
                "PNG/train/patient00001/study1/view1_frontal.png",
                "val/patient00001/study1/view1_frontal.JPG",
                f"chexpert:{CHEXPERT}",
                f"  {CHEXPERT}\t",
            )
        ),
        *(
            (key, ("mimic_cxr", MIMIC))
            for key in (
                MIMIC,
                f"{MIMIC}.dcm",
                f"{MIMIC}.jpg",
                f"files/p10/p10000032/s50414267/{MIMIC}.jpg",
                f"physionet.org/files/mimic-cxr-jpg/2.0.0/files/p10/p10000032/s50414267/{MIMIC}.jpg",
                f"p10000032_s50414267_{MIMIC}.png",
                f"gs://bucket/files/p10/{MIMIC}.jpg",
                f"mimic_cxr:{MIMIC}",
            )
        ),
        *(
            (key, ("nih_cxr14", NIH))
            for key in (
                NIH,
                "00000001_000",
                "images_001/images/00000001_000.png",
                "00000001_000.jpg",
                "a\\00000001_000.PNG",
                f'"{NIH}"',
            )
        ),
        *(
            (key, ("padchest", PADCHEST))
            for key in (
                PADCHEST,
                PADCHEST.removesuffix(".png"),
                f"0/{PADCHEST}",
                f"/mnt/padchest/54/{PADCHEST}",
            )
        ),
        *(
            (key, ("vindr_cxr", HEX))
            for key in (HEX, f"{HEX}.dicom", f"train/{HEX}.png", f"{HEX}.dicom.png", f"vindr_cxr:{HEX}")
        ),
        (f"vindr_pcxr:{SHARED_HEX}", ("vindr_pcxr", SHARED_HEX)),
        ("ward-7.png", ("house", "ward-7.png")),
        ("house:ward-7.png", ("house", "ward-7.png")),
        ("/mnt/ward-7.png", ("house", "ward-7.png")),
    ],
)
def test_spelling(key: str, image: tuple[str, str]) -> None:
    assert resolve(pl.Series([key]), KNOWN).select("dataset", "image_id").row(0) == image


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, EMPTY),
        ("  ", EMPTY),
        ("1_0.png", FORM_NOT_KNOWN),
        ("1_000.png", FORM_NOT_KNOWN),
        ("2.1684E+44_00-059-087.png", FORM_NOT_KNOWN),
        (MIMIC.upper(), FORM_NOT_KNOWN),
        (f"a-{MIMIC}", FORM_NOT_KNOWN),
        (HEX[:-1], FORM_NOT_KNOWN),
        ("patient1/study1/view1_frontal.jpg", FORM_NOT_KNOWN),
        ("patient00001/study1", FORM_NOT_KNOWN),
        ("00000002_000.png", NOT_IN_CATALOG),
        (f"vindr_pcxr:{HEX}", NOT_IN_CATALOG),
        (f"padchest:{NIH}", NOT_IN_CATALOG),
        (SHARED_HEX, SEVERAL_DATASETS),
    ],
)
def test_unresolved(key: str | None, reason: str) -> None:
    row = resolve(pl.Series([key], dtype=pl.String), KNOWN).row(0, named=True)
    assert (row["dataset"], row["image_id"], row["reason"]) == (None, None, reason)


def test_numbers_are_no_keys() -> None:
    assert resolve(pl.Series([1, 2]), KNOWN)["reason"].to_list() == [FORM_NOT_KNOWN] * 2


def test_a_stated_dataset_tells_equal_ids_apart() -> None:
    stated = pl.Series(["vindr_cxr", "vindr_pcxr", None])
    assert resolve(pl.Series([SHARED_HEX] * 3), KNOWN, dataset=stated)["dataset"].to_list() == [
        "vindr_cxr",
        "vindr_pcxr",
        None,
    ]


def test_folder_decides_where_patient_numbers_repeat() -> None:
    tail = "patient00001/study1/view1_frontal.jpg"
    known = pl.DataFrame({"dataset": ["chexpert"] * 2, "image_id": [f"train/{tail}", f"valid/{tail}"]})
    keys = pl.Series([f"root/valid/{tail}", f"CheXpert-v1.0 batch 2 (train 1)/{tail}", tail])
    assert resolve(keys, known)["image_id"].to_list() == [f"valid/{tail}", f"train/{tail}", None]


def test_form_needs_no_catalog() -> None:
    forms = recognise(pl.Series([CHEXPERT, MIMIC, NIH, PADCHEST, HEX, "x"]))["form"].to_list()
    assert forms == ["chexpert", "mimic_cxr", "nih_cxr14", "padchest", "vindr_cxr or vindr_pcxr", None]


def test_a_build_says_what_keys_of_its_datasets_look_like() -> None:
    """An overlay's dataset, of which nothing here knows; one declared like another shares its form."""
    declared = {
        "house": {"pattern": r"(?:^|/)(w\d)-(\d+)$", "suffix": ".png"},
        "ward": {"pattern": r"(?:^|/)([0-9a-f]{32})$"},
    }
    forms = key_forms({"keys": declared})
    keys = pl.Series(["a/w1-22.jpg", HEX])
    assert recognise(keys, forms=forms).select("name", "form").rows() == [
        ("w1/22.png", "house"),
        (HEX, "vindr_cxr or vindr_pcxr or ward"),
    ]
    assert recognise(keys)["form"].to_list() == [None, "vindr_cxr or vindr_pcxr"]
    known = pl.DataFrame({"dataset": ["house", "ward"], "image_id": ["w1/22.png", HEX]})
    assert resolve(keys, KeyIndex.of(known, forms))["dataset"].to_list() == ["house", "ward"]


def test_a_build_wins_over_the_shipped_declaration() -> None:
    changed = {"nih_cxr14": {"pattern": r"^nih-(\d{8}_\d{3})$", "suffix": ".png"}}
    forms = key_forms({"keys": changed})
    assert recognise(pl.Series([f"nih-{NIH}", NIH]), forms=forms)["name"].to_list() == [NIH, NIH]
    assert recognise(pl.Series([f"nih-{NIH}", NIH]), forms=forms)["form"].to_list() == ["nih_cxr14", None]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"pattern": "(T"}, "not a valid pattern of keys: missing ), unterminated subpattern at position 0"),
        ({"pattern": r"T\d+$"}, "the pattern of keys has no group"),
        ({"pattern": r"(T\d+)$", "folder": "train"}, "the pattern of keys has no group"),
        ({"suffix": ".png"}, "[keys] lacks pattern"),
        ({"pattern": r"(?<=_)(T\d+)$"}, "not a valid pattern of keys: "),
    ],
)
def test_a_declaration_that_is_no_pattern(entry: dict[str, str], problem: str) -> None:
    """The engine's patterns have no look-around."""
    with pytest.raises(CxrError) as caught:
        key_forms({"keys": {"house": entry}})
    assert (caught.value.code, caught.value.where) == ("CXR-505", "house.toml [keys]")
    assert caught.value.problem.startswith(problem)


def test_a_broken_declaration_of_an_overlay_is_told(tmp_path: Path) -> None:
    """By the build, not only when someone annotates."""
    (tmp_path / "catalog").mkdir()
    shipped = (data_folder("catalog") / "padchest.toml").read_text(encoding="utf-8")
    entry = re.sub(r"(?m)^pattern = .*$", 'pattern = "T"', shipped).replace('name = "padchest"', 'name = "house"', 1)
    (tmp_path / "catalog" / "house.toml").write_text(entry, encoding="utf-8")
    with pytest.raises(CxrError) as caught:
        declared_keys(Registry(tmp_path))
    assert str(caught.value.where) == "house.toml [keys]"


def test_every_shipped_dataset_declares_its_keys() -> None:
    """In `catalog/`; the forms are disjoint, so that no key depends on the order in which they are tried."""
    assert set(declared_keys(Registry())) == set(Registry().names)
    stems = pl.DataFrame(
        {"key": [CHEXPERT.removesuffix(".jpg"), MIMIC, NIH.removesuffix(".png"), PADCHEST.removesuffix(".png"), HEX]}
    )
    fits = stems.select(pl.col("key").str.contains(form.pattern).alias(form.title) for form in key_forms({}))
    assert fits.sum_horizontal().to_list() == [1] * 5


def test_order_and_number_stay() -> None:
    keys = pl.Series([NIH, "?", CHEXPERT, None, NIH, MIMIC])
    assert resolve(keys, KNOWN)["dataset"].to_list() == [
        "nih_cxr14",
        None,
        "chexpert",
        None,
        "nih_cxr14",
        "mimic_cxr",
    ]


def test_cost_grows_with_the_number_of_keys() -> None:
    ids = pl.Series("image_id", [f"{patient:08d}_{image:03d}.png" for patient in range(10_000) for image in range(10)])
    index = KeyIndex.of(pl.DataFrame({"dataset": ["nih_cxr14"] * len(ids), "image_id": ids}))
    seconds = []
    for keys in (ids, pl.concat([ids] * 10)):
        start = time.perf_counter()
        resolved = resolve("images/" + keys, index)
        seconds.append(time.perf_counter() - start)
        assert resolved["reason"].null_count() == len(keys)
    assert seconds[1] < 40 * seconds[0]
