"""Synthetic VinDr-CXR in the layout of PhysioNet 1.0.0 and of the Kaggle competition.

Layout, columns, counts and quirks: PhysioNet `vindr-cxr` 1.0.0; VinBigData chest X-ray
abnormalities detection (Kaggle, 2020); defects of single DICOM files: vindr-cxr issue 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from cxrdata.sources.drawing.dicom_files import Defect, Header, write_dicoms
from cxrdata.sources.drawing.vindr import (
    IntArray,
    apportion,
    box_divisor,
    draw_frames,
    image_ids,
)
from cxrdata.sources.synthesis import SynthPlan, label_as_synthetic, write_csv
from cxrdata.sources.vindr_cxr.synth_readings import (
    LABEL_COLUMNS,
    LOCAL_LABELS,
    LOCAL_NAMES,
    NO_FINDING,
    Readings,
    draw_readings,
)

if TYPE_CHECKING:
    from pathlib import Path

VARIANTS: dict[str, str] = {
    "physionet": "annotations/ with image labels and boxes of both splits, as PhysioNet distributes them",
    "kaggle": "train.csv of the Kaggle competition: 14 merged classes and No finding, whole pixels",
    "dicom": "train/ and test/ with small DICOM files: ages in every official spelling, two defective kinds",
}
DEFAULT: frozenset[str] = frozenset({"physionet", "dicom"})

TRAIN_IMAGES, TRAIN_ABNORMAL = 15_000, 4_394
TEST_IMAGES, TEST_ABNORMAL, TEST_BOXES = 3_000, 949, 2_697
READERS_PER_IMAGE = 3
# R1..R17; R8, R9 and R10 read most of the images (an assumption in its size).
READER_WEIGHTS = (1.0,) * 7 + (4.0,) * 3 + (1.0,) * 7
CORNERS = ("x_min", "y_min", "x_max", "y_max")
KAGGLE_CLASSES = (*sorted({label.kaggle or label.name for label in LOCAL_LABELS}), NO_FINDING)
# Usual matrices of the manufacturers: rows and columns.
DETECTOR_SHAPES = (
    (2836, 2336), (3072, 3072), (2880, 2304), (2430, 1994), (2048, 1662), (2800, 2300), (2480, 2016)
)  # fmt: skip
SPACINGS_MM = ("0.139", "0.140", "0.143", "0.148", "0.150", "0.160", "0.175", "0.194311", "0.2")

# Age strings of 18,000 images, from the shares of one published set of 1,452: spelling, number.
AGE_SPELLINGS: tuple[tuple[str | None, int], ...] = (
    (None, 12_355), ("", 500), ("000Y", 1_351), ("Y", 967), ("000D", 50), ("238Y", 12),
    ("minor", 149), ("adult", 2_616)
)  # fmt: skip
MINOR_YEARS, ADULT_YEARS = (6, 15), (18, 95)
MONOCHROME1_SHARE, WINDOW_SHARE = 0.15, 0.9
SEX_SHARES = (("M", 38), ("F", 32), ("O", 20), ("", 10))
DEFECTS: tuple[Defect, ...] = ("no_transfer_syntax", "no_pixel_data")
DEFECTIVE_FILES = 4  # of each kind at the official size; their real number is not published


class SplitSize(NamedTuple):
    """How much to write for a split: images, those with boxes, boxes a label, readers an image."""

    images: int
    abnormal: int
    boxes: list[int]
    readers: int


@dataclass(frozen=True)
class Split:
    """One split's images: identifiers, `frames` (rows and columns, shape `(n, 2)`), readings."""

    name: str
    image_ids: list[str]
    frames: IntArray
    readings: Readings


def write(folder: Path, plan: SynthPlan) -> None:
    """Write the data set below `folder` (official name `vindr-cxr/1.0.0/`)."""
    chosen = plan.chosen(VARIANTS, DEFAULT)
    divisor = box_divisor(plan, chosen)
    train, test = _draw_train(plan, divisor), _draw_test(plan, divisor)
    label_as_synthetic(folder, "VinDr-CXR")
    reader_ids = _draw_reader_ids(plan, len(train.image_ids))
    if "physionet" in chosen:
        _write_physionet(folder / "annotations", plan, train, test, reader_ids)
    if "kaggle" in chosen:
        _write_kaggle(folder, plan, train, reader_ids)
    if "dicom" in chosen:
        _write_dicom(folder, plan, train, test)


def _draw_train(plan: SynthPlan, divisor: int) -> Split:
    n = plan.count(TRAIN_IMAGES, at_least=150)
    share = n / TRAIN_IMAGES
    boxes = [max(2, round(label.train_boxes * share)) for label in LOCAL_LABELS]
    size = SplitSize(n, round(TRAIN_ABNORMAL * share), boxes, READERS_PER_IMAGE)
    return _draw_split(plan, "train", size, divisor)


def _draw_test(plan: SynthPlan, divisor: int) -> Split:
    n = plan.count(TEST_IMAGES, at_least=50)
    share = n / TEST_IMAGES
    weights = [label.train_boxes for label in LOCAL_LABELS]
    boxes = apportion(weights, round(TEST_BOXES * share), at_least=1).tolist()
    return _draw_split(plan, "test", SplitSize(n, round(TEST_ABNORMAL * share), boxes, 1), divisor)


def _draw_split(plan: SynthPlan, name: str, size: SplitSize, divisor: int) -> Split:
    ids = image_ids(plan.rng("vindr_cxr", name, "image_id"), size.images)
    frames = draw_frames(plan.rng("vindr_cxr", name, "frame"), DETECTOR_SHAPES, size.images, divisor)
    rng = plan.rng("vindr_cxr", name, "readings")
    readings = draw_readings(rng, frames, size.abnormal, size.boxes, readers=size.readers)
    return Split(name, ids, frames, readings)


def _draw_reader_ids(plan: SynthPlan, n: int) -> IntArray:
    """Three different readers for each image, numbers 1..17, shape `(n, 3)`."""
    rng = plan.rng("vindr_cxr", "rad_id")
    # The first arrivals of independent exponential waits: a weighted draw without replacement.
    waits = rng.standard_exponential((n, len(READER_WEIGHTS))) / np.asarray(READER_WEIGHTS)
    return np.argsort(waits, axis=1, kind="stable")[:, :READERS_PER_IMAGE].astype(np.int64) + 1


def _write_physionet(folder: Path, plan: SynthPlan, train: Split, test: Split, reader_ids: IntArray) -> None:
    write_csv(_image_labels(train, reader_ids), folder / "image_labels_train.csv")
    # The consensus of the test split says "Other disease", in the singular.
    consensus = _image_labels(test, None).rename({"Other diseases": "Other disease"})
    write_csv(consensus, folder / "image_labels_test.csv")
    write_csv(_annotations(plan, train, reader_ids), folder / "annotations_train.csv")
    write_csv(_boxes(test, None), folder / "annotations_test.csv")


def _image_labels(split: Split, reader_ids: IntArray | None) -> pl.DataFrame:
    n_images, readers, _ = split.readings.positive.shape
    flat = split.readings.positive.reshape(n_images * readers, -1).astype(np.int64)
    keys = [pl.Series("image_id", split.image_ids)[np.repeat(np.arange(n_images), readers)]]
    if reader_ids is not None:
        keys.append(_reader_names("rad_id", reader_ids.reshape(-1)))
    return pl.DataFrame([*keys, *(pl.Series(name, flat[:, i]) for i, name in enumerate(LABEL_COLUMNS))])


def _reader_names(column: str, numbers: IntArray) -> pl.Series:
    return pl.Series(column, [f"R{number}" for number in numbers.tolist()])


def _boxes(split: Split, reader_ids: IntArray | None) -> pl.DataFrame:
    boxes = split.readings.boxes
    columns = [pl.Series("image_id", split.image_ids)[boxes.image]]
    if reader_ids is not None:
        columns.append(_reader_names("rad_id", reader_ids[boxes.image, boxes.slot]))
    columns.append(pl.Series("class_name", LOCAL_NAMES)[boxes.label])
    return pl.DataFrame([*columns, *(pl.Series(name, boxes.corners[:, i]) for i, name in enumerate(CORNERS))])


def _annotations(plan: SynthPlan, train: Split, reader_ids: IntArray) -> pl.DataFrame:
    """The readers' boxes and their "No finding" rows (no corners), in mixed order."""
    boxes = _boxes(train, reader_ids)
    image, slot = np.nonzero(train.readings.positive[:, :, -1])
    without = pl.DataFrame(
        [
            pl.Series("image_id", train.image_ids)[image],
            _reader_names("rad_id", reader_ids[image, slot]),
            pl.repeat(NO_FINDING, len(image), eager=True).alias("class_name"),
            *(pl.repeat(None, len(image), dtype=pl.Float64, eager=True).alias(name) for name in CORNERS),
        ]
    )
    rows = pl.concat([boxes, without])
    return rows[plan.rng("vindr_cxr", "row order").permutation(len(rows))]


def _write_kaggle(folder: Path, plan: SynthPlan, train: Split, reader_ids: IntArray) -> None:
    merged = {label.name: label.kaggle for label in LOCAL_LABELS if label.kaggle}
    class_id = {name: number for number, name in enumerate(KAGGLE_CLASSES)}
    frame = _annotations(plan, train, reader_ids).with_columns(pl.col("class_name").replace(merged))
    frame = frame.select(
        "image_id",
        "class_name",
        pl.col("class_name").replace_strict(class_id, return_dtype=pl.Int64).alias("class_id"),
        "rad_id",
        *(pl.col(name).round(0) for name in CORNERS),
    )
    write_csv(frame, folder / "train.csv")


def _write_dicom(folder: Path, plan: SynthPlan, train: Split, test: Split) -> None:
    headers = _draw_headers(plan, train.image_ids + test.image_ids, np.vstack([train.frames, test.frames]))
    n_train = len(train.image_ids)
    write_dicoms(folder / "train", headers[:n_train], plan.rng("vindr_cxr", "train", "pixels"))
    write_dicoms(folder / "test", headers[n_train:], plan.rng("vindr_cxr", "test", "pixels"))


def _draw_headers(plan: SynthPlan, ids: list[str], frames: IntArray) -> list[Header]:
    n = len(ids)
    rng = plan.rng("vindr_cxr", "header")
    ages = _draw_ages(plan, n)
    sexes = rng.choice([sex for sex, _ in SEX_SHARES], n, p=[share / 100 for _, share in SEX_SHARES]).tolist()
    inverted = (rng.random(n) < MONOCHROME1_SHARE).tolist()
    bits = rng.choice([12, 14, 16], n, p=[0.6, 0.3, 0.1]).tolist()
    spacing = [f"{SPACINGS_MM[i]}\\{SPACINGS_MM[i]}" for i in rng.integers(0, len(SPACINGS_MM), n).tolist()]
    # Either spacing, both, or neither: PixelSpacing is absent in half, and both in one in twelve.
    stated = rng.choice(["pixel", "imager", "both", ""], n, p=[0.42, 0.38, 0.08, 0.12]).tolist()
    has_window = (rng.random(n) < WINDOW_SHARE).tolist()
    defects = _draw_defects(plan, n)
    return [
        Header(
            image_id=ids[i],
            rows=rows,
            columns=columns,
            age=ages[i],
            sex=sexes[i],
            photometric="MONOCHROME1" if inverted[i] else "MONOCHROME2",
            bits_stored=bits[i],
            pixel_spacing=spacing[i] if stated[i] in {"pixel", "both"} else None,
            imager_pixel_spacing=spacing[i] if stated[i] in {"imager", "both"} else None,
            window=(1 << (bits[i] - 1), 1 << bits[i]) if has_window[i] else None,
            defect=defects[i],
        )
        for i, (rows, columns) in enumerate(frames.tolist())
    ]


def _draw_ages(plan: SynthPlan, n: int) -> list[str | None]:
    rng = plan.rng("vindr_cxr", "age")
    counts = apportion([count for _, count in AGE_SPELLINGS], n, at_least=3).tolist()
    spellings = dict(zip((spelling for spelling, _ in AGE_SPELLINGS), counts, strict=True))
    years = {
        "minor": rng.integers(MINOR_YEARS[0], MINOR_YEARS[1] + 1, spellings["minor"]),
        # The mean of two uniform draws: most adults in the middle of the range.
        "adult": rng.integers(ADULT_YEARS[0], ADULT_YEARS[1] + 1, (2, spellings["adult"])).mean(axis=0),
    }
    ages: list[str | None] = []
    for spelling, count in spellings.items():
        drawn = years.get(spelling) if spelling is not None else None
        ages += [spelling] * count if drawn is None else [f"{int(year):03d}Y" for year in drawn]
    return [ages[i] for i in rng.permutation(n).tolist()]


def _draw_defects(plan: SynthPlan, n: int) -> list[Defect]:
    rng = plan.rng("vindr_cxr", "defect")
    each = max(1, round(DEFECTIVE_FILES * n / (TRAIN_IMAGES + TEST_IMAGES)))
    defects: list[Defect] = [""] * n
    for place, i in enumerate(rng.choice(n, each * len(DEFECTS), replace=False).tolist()):
        defects[i] = DEFECTS[place % len(DEFECTS)]
    return defects
