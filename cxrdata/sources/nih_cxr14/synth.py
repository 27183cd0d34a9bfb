"""Synthetic NIH ChestX-ray14 files in their official layouts.

Formats: the entry file exists in four variants under two names (see `VARIANTS`), with
two patient-disjoint lists, boxes in the frame of the 1024 by 1024 images, and four
findings relabelled by Google's panels (Majkowska et al., Radiology 2020,
doi:10.1148/radiol.2019191293) as torchxrayvision distributes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.sources.drawing.counts import pick
from cxrdata.sources.nih_cxr14.synth_images import DETECTORS, LABELS, Images, draw_images
from cxrdata.sources.synthesis import label_as_synthetic, write_bytes, write_csv

if TYPE_CHECKING:
    from pathlib import Path

    from cxrdata.sources.drawing.counts import Bools, Ints
    from cxrdata.sources.synthesis import SynthPlan

VARIANTS = {
    "a": "the original Data_Entry_2017.csv: ages with units, padded numbers, a comma too many in the header",
    "b": "Kaggle's Data_Entry_2017.csv: the original's ages stripped of their units",
    "c": "Data_Entry_2017_v2020.csv as torchxrayvision has it: corrected labels and ages",
    "d": "the current Data_Entry_2017_v2020.csv: Patient Sex, a trailing comma in every row",
    "lists": "train_val_list.txt and test_list.txt",
    "boxes": "BBox_List_2017.csv",
    "google": "Google's relabels, google2019_nih-chest-xray-labels.csv.gz",
}
DEFAULT = frozenset({"c", "lists", "boxes", "google"})
ENTRY_VARIANTS = frozenset("abcd")
# Variants that replace each other: two of them in one folder would be the dataset twice.
ALTERNATIVES = (ENTRY_VARIANTS,)

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
# In the order of BBox_List_2017.csv, which says "Infiltrate" where the entry files say "Infiltration".
BOXES = {
    "Atelectasis": 180,
    "Cardiomegaly": 146,
    "Effusion": 153,
    "Infiltrate": 123,
    "Mass": 85,
    "Nodule": 79,
    "Pneumonia": 120,
    "Pneumothorax": 98,
}
BOXES_ON_BOXED_IMAGES = 984 - 880
SCREEN = 944
# Share of YES, the entry file's labels that make it likelier, and their weight.
GOOGLE = {
    "Fracture": (0.03, (), 0.0),
    "Pneumothorax": (0.03, ("Pneumothorax",), 0.7),
    "Airspace opacity": (0.30, ("Infiltration", "Consolidation", "Pneumonia", "Edema", "Atelectasis"), 0.5),
    "Nodule or mass": (0.06, ("Nodule", "Mass"), 0.6),
}
HIGHEST_GOOGLE_AGE = 155


def write(folder: Path, plan: SynthPlan) -> None:
    """Write the plan's variants of NIH ChestX-ray14 below `folder`.

    Raises ValueError when more than one entry-file variant is named; with none named,
    variant c is written.
    """
    chosen = plan.chosen(VARIANTS, DEFAULT)
    entries = sorted(chosen & ENTRY_VARIANTS) or ["c"]
    if len(entries) > 1:
        message = f"nih_cxr14: write one of the variants a, b, c, d, not {' and '.join(entries)}"
        raise ValueError(message)
    label_as_synthetic(folder, "NIH ChestX-ray14")
    images = draw_images(plan)
    _write_entries(folder, entries[0], images)
    if "lists" in chosen:
        _write_lists(folder, images)
    if "boxes" in chosen:
        _write_boxes(folder, plan, images)
    if "google" in chosen:
        _write_google(folder, plan, images)


def _image_names(images: Images) -> pl.Series:
    frame = pl.DataFrame({"patient": images.patient, "suffix": images.suffix})
    padded = pl.format(
        "{}_{}.png",
        pl.col("patient").cast(pl.String).str.zfill(8),
        pl.col("suffix").cast(pl.String).str.zfill(3),
    )
    return frame.select(padded.alias("Image Index")).to_series()


def _label_texts(images: Images, findings: Bools) -> list[str]:
    """`A|B|C`, or "No Finding". In about one set of 400 the last label comes first, as in
    51 rows of the official file."""
    codes = findings @ (1 << np.arange(len(LABELS)))
    several = np.flatnonzero(images.findings.sum(axis=1) > 1)
    unsorted_rows = set(several[::400].tolist())
    texts = {0: "No Finding"}
    result = []
    for row, code in enumerate(codes.tolist()):
        if code not in texts:
            texts[code] = "|".join(label for bit, label in enumerate(LABELS) if code >> bit & 1)
        text = texts[code]
        if row in unsorted_rows and "|" in text:
            head, _, last = text.rpartition("|")
            text = f"{last}|{head}"
        result.append(text)
    return result


def _entry_frame(images: Images, findings: Bools, *, old: bool) -> pl.DataFrame:
    """The entry file's eleven columns with the label sets of `findings`; `old` gives the 2017
    follow-up numbers and ages (a whole number whose unit is in the column `unit`)."""
    spacing = np.array([mm for _, _, mm, _ in DETECTORS])[images.detector]
    return pl.DataFrame(
        {
            "image": _image_names(images),
            "labels": _label_texts(images, findings),
            "follow_up": images.suffix if old else images.follow_up,
            "patient": images.patient,
            "age": images.old_age if old else images.age,
            "sex": np.where(images.female, "F", "M"),
            "view": np.where(images.ap, "AP", "PA"),
            "width": images.width,
            "height": images.height,
            "spacing_x": spacing,
            "spacing_y": spacing,
            "unit": np.array(list("YMD"))[images.old_unit],
        }
    )


def _write_entries(folder: Path, variant: str, images: Images) -> None:
    old_name, new_name = folder / "Data_Entry_2017.csv", folder / "Data_Entry_2017_v2020.csv"
    old = variant in "ab"
    # Kaggle's copy has the corrected label sets beside the original ages.
    frame = _entry_frame(images, images.old_findings if variant == "a" else images.findings, old=old)
    if old:
        frame = frame.sort("image")
    if variant == "a":
        frame = frame.with_columns(
            pl.col("follow_up").cast(pl.String).str.zfill(3),
            pl.col("patient").cast(pl.String).str.zfill(8),
            pl.col("age").cast(pl.String).str.zfill(3) + pl.col("unit"),
        )
    frame = frame.drop("unit")
    # A column of nulls writes the comma that ends each row of B and D.
    trailing = frame.with_columns(pl.lit(None).alias("end"))
    match variant:
        case "a":
            write_csv(frame, old_name, header=HEADER + ",", crlf=True)
        case "b":
            write_csv(trailing, old_name, header=HEADER + ",")
        case "c":
            # torchxrayvision's copy went through binary floats: 0.14300000000000002.
            floats = pl.col("spacing_x", "spacing_y").cast(pl.String)
            for short, long in (("0.143", "0.14300000000000002"), ("0.194311", "0.19431099999999998")):
                floats = floats.replace(short, long)
            write_csv(frame.with_columns(floats), new_name, header=HEADER)
        case _:
            write_csv(trailing, new_name, header=HEADER.replace("Patient Gender", "Patient Sex") + ",")


def _write_lists(folder: Path, images: Images) -> None:
    names = _image_names(images)
    for name, members in (("train_val_list.txt", ~images.test), ("test_list.txt", images.test)):
        listed = names.filter(pl.Series(members)).sort().to_list()
        write_bytes("".join(f"{image}\n" for image in listed).encode(), folder / name)


def _boxed_images(plan: SynthPlan, images: Images) -> list[tuple[str, Ints]]:
    """The images to box, by label. Each carries the label and, as in the official list, is
    a test image (any image where a small set has no such test image)."""
    rng = plan.rng("nih_cxr14", "boxed images")
    boxed = np.zeros(len(images.patient), dtype=np.bool_)
    shared = plan.count(BOXES_ON_BOXED_IMAGES)
    result = []
    for label, official in BOXES.items():
        wanted = plan.count(official)
        carries = images.findings[:, LABELS.index("Infiltration" if label == "Infiltrate" else label)].copy()
        again = pick(carries & boxed, min(shared, wanted // 4), rng)
        fresh = pick(carries & images.test & ~boxed, wanted - len(again), rng)
        carries[again] = carries[fresh] = False
        other = pick(carries, wanted - len(again) - len(fresh), rng)
        shared -= len(again)
        boxed[fresh] = boxed[other] = True
        result.append((label, rng.permutation(np.concatenate([again, fresh, other]))))
    return result


def _write_boxes(folder: Path, plan: SynthPlan, images: Images) -> None:
    names = _image_names(images)
    rng = plan.rng("nih_cxr14", "boxes")
    parts = []
    for label, rows in _boxed_images(plan, images):
        # Drawn by hand on a smaller screen, then scaled to 1024.
        width, height = (np.clip(rng.lognormal(5.2, 0.6, len(rows)), 20, 810).astype(np.int64) for _ in range(2))
        x, y = (rng.integers(0, SCREEN - side) for side in (width, height))
        columns = {"x": x, "y": y, "w": width, "h": height}
        corner = {name: np.round(values * 1024 / SCREEN, 12) for name, values in columns.items()}
        parts.append(pl.DataFrame({"image": names[rows], "label": [label] * len(rows), **corner}))
    write_csv(pl.concat(parts), folder / "BBox_List_2017.csv", header=BOX_HEADER)


def _write_google(folder: Path, plan: SynthPlan, images: Images) -> None:
    rng = plan.rng("nih_cxr14", "google")
    # They carry the ages of 2017, some impossible.
    eligible: Bools = np.asarray(images.old_age <= HIGHEST_GOOGLE_AGE)
    over_100 = pick(eligible & (images.old_age > 100), plan.count(2), rng)
    eligible[over_100] = False
    over_100_in_test = int(images.test[over_100].sum())
    test = pick(eligible & images.test, plan.count(1_962, at_least=6) - over_100_in_test, rng)
    others = plan.count(2_412, at_least=6) - (len(over_100) - over_100_in_test)
    validation = pick(eligible & ~images.test, others, rng)
    # The validation file has 2,414 rows on 2,412 images.
    repeated = validation[: plan.count(2)]
    rows = np.concatenate([test, over_100, validation, repeated])
    labels = {}
    for name, (share, likelier, weight) in GOOGLE.items():
        carries = images.old_findings[:, [LABELS.index(label) for label in likelier]].any(axis=1)
        yes = rng.random(len(images.patient)) < share + weight * carries
        yes[rows[:2]] = (True, False)
        labels[name] = np.where(yes[rows], "YES", "NO")
    in_test = images.test[rows]
    frame = (
        _entry_frame(images, images.old_findings, old=True)
        .drop("unit")[rows]
        .with_columns(
            *(pl.Series(name, values) for name, values in labels.items()),
            pl.Series("Set Id", np.where(in_test, "test", "validation")),
        )
    )
    header = ",".join((HEADER, *GOOGLE, "Set Id"))
    order = np.lexsort((rows, ~in_test))
    write_csv(frame[order], folder / "google2019_nih-chest-xray-labels.csv", header=header, compress=True)
