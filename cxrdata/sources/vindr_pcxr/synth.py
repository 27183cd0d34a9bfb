"""Synthetic VinDr-PCXR in the layout of PhysioNet `vindr-pcxr` 1.0.0.

Counts of labels and of age strings are the official ones at scale 1; ages by year of the
images without finding follow the published count of the healthy children of 0 to 10 years.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from cxrdata.sources.drawing.dicom_files import Header, write_dicoms
from cxrdata.sources.drawing.vindr import (
    BoolArray,
    IntArray,
    apportion,
    box_divisor,
    draw_frames,
    image_ids,
    place_boxes,
)
from cxrdata.sources.synthesis import SynthPlan, label_as_synthetic, write_csv
from cxrdata.sources.vindr_pcxr.synth_labels import (
    FINDING_NAMES,
    FINDINGS,
    LABEL_COLUMNS,
    NO_FINDING,
    NO_FINDING_CLASS,
    draw_findings,
    draw_labels,
)

if TYPE_CHECKING:
    from pathlib import Path

VARIANTS: dict[str, str] = {
    "physionet": "image_labels_{train,test}.csv and annotations_{train,test}.csv, as PhysioNet has them",
    "dicom": "train/ and test/ with small DICOM files: ages in days, months and years, some missing",
}
DEFAULT: frozenset[str] = frozenset({"physionet", "dicom"})

CORNERS = ("x_min", "y_min", "x_max", "y_max")
READERS = ("R1", "R2", "R3")
DETECTOR_SHAPES = (
    (1600, 1280), (2000, 1600), (1440, 1120), (1760, 1760), (2430, 1994), (1280, 1040), (1544, 1320)
)  # fmt: skip
SPACINGS_MM = ("0.139", "0.140", "0.143", "0.15", "0.160")
MONOCHROME1_SHARE = 0.1
SEXES, SEX_SHARES = ("M", "F", "O", ""), (0.55, 0.37, 0.03, 0.05)
# Whole years; with a finding the same shares by year are assumed.
HEALTHY_BY_YEAR = (2203, 1138, 740, 537, 345, 272, 183, 143, 131, 81, 43)
CHILDREN_WITH_FINDING = 2_933


class AgeCell(NamedTuple):
    """Images whose age string has one `unit` and a number from `low` to `high`; how many
    of them are without and with a finding. No unit: no element. Bare unit: `low` is -1."""

    unit: str
    low: int
    high: int
    healthy: int
    other: int


def _age_cells() -> tuple[AgeCell, ...]:
    """The 9,125 age strings: 5,358 in years, 2,856 months, 558 days, 352 missing, one "Y"."""
    other = apportion(HEALTHY_BY_YEAR, CHILDREN_WITH_FINDING).tolist()
    newborn, days, second_year = (100, 50), (272, 136), (66, 34)
    infants = (HEALTHY_BY_YEAR[0] - newborn[0] - days[0], other[0] - newborn[1] - days[1])
    first = (HEALTHY_BY_YEAR[1] - second_year[0], other[1] - second_year[1])
    years = zip(range(2, 11), HEALTHY_BY_YEAR[2:], other[2:], strict=True)
    return (
        AgeCell("D", 0, 0, *newborn),
        AgeCell("D", 1, 90, *days),
        AgeCell("M", 1, 11, *infants),
        AgeCell("M", 12, 23, *second_year),
        AgeCell("Y", 1, 1, *first),
        *(AgeCell("Y", year, year, healthy, ill) for year, healthy, ill in years),
        AgeCell("Y", 11, 18, 3, 6),
        AgeCell("Y", 19, 51, 5, 9),
        AgeCell("Y", -1, -1, 0, 1),
        AgeCell("", 0, 0, 226, 126),
    )


@dataclass(frozen=True)
class Split:
    """One split: identifiers, `frames` (rows and columns, shape `(n, 2)`), labels (see
    `draw_labels`) and each image's reader."""

    name: str
    image_ids: pl.Series
    frames: IntArray
    labels: BoolArray
    readers: pl.Series


def write(folder: Path, plan: SynthPlan) -> None:
    """Write the data set below `folder` (official name `vindr-pcxr/1.0.0/`)."""
    chosen = plan.chosen(VARIANTS, DEFAULT)
    divisor = box_divisor(plan, chosen)
    splits = [_draw_split(plan, name, divisor) for name in ("train", "test")]
    label_as_synthetic(folder, "VinDr-PCXR")
    if "physionet" in chosen:
        for split in splits:
            write_csv(_image_labels(split), folder / f"image_labels_{split.name}.csv")
            write_csv(_annotations(plan, split), folder / f"annotations_{split.name}.csv")
    if "dicom" in chosen:
        _write_dicom(folder, plan, splits)


def _draw_split(plan: SynthPlan, name: str, divisor: int) -> Split:
    labels = draw_labels(plan, name)
    ids = image_ids(plan.rng("vindr_pcxr", name, "image_id"), len(labels))
    frames = draw_frames(plan.rng("vindr_pcxr", name, "frame"), DETECTOR_SHAPES, len(labels), divisor)
    reader = plan.rng("vindr_pcxr", name, "rad_ID").integers(0, len(READERS), len(labels))
    readers = pl.Series("rad_ID", READERS)[reader]
    return Split(name, pl.Series("image_id", ids), frames, labels, readers)


def _image_labels(split: Split) -> pl.DataFrame:
    """Labels as floats, `1.0` and `0.0`."""
    values = split.labels.astype(np.float64)
    columns = (pl.Series(name, values[:, i]) for i, name in enumerate(LABEL_COLUMNS))
    return pl.DataFrame([split.image_ids, split.readers, *columns])


def _annotations(plan: SynthPlan, split: Split) -> pl.DataFrame:
    """The boxes, and one row without corners for each "No finding" image, in mixed order."""
    image, finding = draw_findings(plan, split.name, split.labels)
    rng = plan.rng("vindr_pcxr", split.name, "boxes")
    # One reader an image: every box is a lesion of its own.
    lesion = np.arange(len(image), dtype=np.int64)
    corners = place_boxes(rng, [region for _, _, region in FINDINGS], finding, lesion, split.frames[image])
    normal = np.flatnonzero(split.labels[:, 0])
    image = np.r_[image, normal]
    class_id = np.r_[finding, np.full(len(normal), NO_FINDING_CLASS, dtype=np.int64)]
    corners = np.vstack([corners, np.full((len(normal), 4), np.nan)])
    frame = pl.DataFrame(
        [
            split.image_ids[image],
            split.readers[image],
            pl.Series("class_name", (*FINDING_NAMES, NO_FINDING))[class_id],
            *(pl.Series(name, corners[:, i]).fill_nan(None) for i, name in enumerate(CORNERS)),
            pl.Series("class_id", class_id),
        ]
    )
    return frame[rng.permutation(len(frame))]


def _write_dicom(folder: Path, plan: SynthPlan, splits: list[Split]) -> None:
    ids = [image_id for split in splits for image_id in split.image_ids.to_list()]
    healthy = np.concatenate([split.labels[:, 0] for split in splits])
    headers = _draw_headers(plan, ids, np.vstack([split.frames for split in splits]), healthy)
    start = 0
    for split in splits:
        stop = start + len(split.image_ids)
        rng = plan.rng("vindr_pcxr", split.name, "pixels")
        write_dicoms(folder / split.name, headers[start:stop], rng)
        start = stop


def _draw_headers(plan: SynthPlan, ids: list[str], frames: IntArray, healthy: BoolArray) -> list[Header]:
    n = len(ids)
    rng = plan.rng("vindr_pcxr", "header")
    ages = _draw_ages(plan, healthy)
    sexes = [sex or None for sex in rng.choice(SEXES, n, p=SEX_SHARES).tolist()]
    inverted = (rng.random(n) < MONOCHROME1_SHARE).tolist()
    bits = rng.choice([10, 12, 14], n, p=[0.2, 0.6, 0.2]).tolist()
    spacing = [f"{SPACINGS_MM[i]}\\{SPACINGS_MM[i]}" for i in rng.integers(0, len(SPACINGS_MM), n).tolist()]
    stated = rng.choice(["pixel", "imager", ""], n, p=[0.5, 0.4, 0.1]).tolist()
    sized, weighed = (rng.random((2, n)) < [[0.15], [0.25]]).tolist()
    stature = rng.uniform(0.9, 1.1, n).tolist()
    return [
        Header(
            image_id=ids[i],
            rows=rows,
            columns=columns,
            age=ages[i],
            sex=sexes[i],
            photometric="MONOCHROME1" if inverted[i] else "MONOCHROME2",
            bits_stored=bits[i],
            pixel_spacing=spacing[i] if stated[i] == "pixel" else None,
            imager_pixel_spacing=spacing[i] if stated[i] == "imager" else None,
            window=(1 << (bits[i] - 1), 1 << bits[i]),
            size_m=_size_m(ages[i], stature[i]) if sized[i] else None,
            weight_kg=_weight_kg(ages[i], stature[i]) if weighed[i] else None,
        )
        for i, (rows, columns) in enumerate(frames.tolist())
    ]


def _draw_ages(plan: SynthPlan, healthy: BoolArray) -> list[str | None]:
    """An age string for each image; the shares differ with and without a finding."""
    rng = plan.rng("vindr_pcxr", "age")
    cells = _age_cells()
    ages: list[str | None] = [None] * len(healthy)
    for mask, weights in ((healthy, [c.healthy for c in cells]), (~healthy, [c.other for c in cells])):
        images = rng.permutation(np.flatnonzero(mask)).tolist()
        counts = apportion(weights, len(images), at_least=1).tolist()
        cell_of = [cell for cell, count in zip(cells, counts, strict=True) for _ in range(count)]
        for i, cell in zip(images, cell_of, strict=True):
            ages[i] = _spell_age(cell, int(rng.integers(cell.low, cell.high + 1)))
    return ages


def _spell_age(cell: AgeCell, number: int) -> str | None:
    if not cell.unit:
        return None
    return cell.unit if number < 0 else f"{number:03d}{cell.unit}"


def _years(age: str | None) -> float:
    """Years for a plausible body size; an unstated age counts as two years."""
    if age is None or len(age) == 1:
        return 2.0
    return int(age[:3]) / {"D": 365.25, "M": 12.0, "Y": 1.0}[age[3]]


def _size_m(age: str | None, stature: float) -> str:
    return f"{min(0.55 + 0.075 * _years(age), 1.6) * stature:.2f}"


def _weight_kg(age: str | None, stature: float) -> str:
    return f"{min(4.0 + 2.3 * _years(age), 55.0) * stature:.1f}"
