"""Synthetic readings of VinDr-CXR: which reader saw which finding, and where.

Readers' disagreement is modelled from one underlying truth: a finding is on an image
or not, and each reader sees it with the same probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrdata.sources.drawing.vindr import (
    AORTA,
    CHEST_WALL,
    HEART,
    LUNGS,
    PLEURA,
    BoolArray,
    FloatArray,
    IntArray,
    Region,
    apportion,
    place_boxes,
    position_in_run,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

# Two readers agree on a finding in p² + (1 - p)² of the cases: about 90 %.
DETECTION = 0.95


@dataclass(frozen=True)
class LocalLabel:
    """A finding that readers box. `train_boxes` is the number of its boxes in the
    15,000 training images; `boxes_per_reading` how many a reader who sees it draws.

    The Kaggle competition merged the rare ones (`kaggle` "Other lesion"): its 14 classes'
    counts are official, the division of "Other lesion" is an assumption.
    """

    name: str
    train_boxes: int
    boxes_per_reading: float
    region: Region
    kaggle: str = ""


LOCAL_LABELS: tuple[LocalLabel, ...] = (
    LocalLabel("Aortic enlargement", 7162, 1.10, AORTA),
    LocalLabel("Atelectasis", 279, 1.25, LUNGS),
    LocalLabel("Calcification", 960, 1.60, LUNGS),
    LocalLabel("Cardiomegaly", 5427, 1.10, HEART),
    LocalLabel("Clavicle fracture", 60, 1.25, CHEST_WALL, "Other lesion"),
    LocalLabel("Consolidation", 556, 1.30, LUNGS),
    LocalLabel("Edema", 40, 1.50, LUNGS, "Other lesion"),
    LocalLabel("Emphysema", 130, 1.50, LUNGS, "Other lesion"),
    LocalLabel("Enlarged PA", 210, 1.25, AORTA, "Other lesion"),
    LocalLabel("ILD", 1000, 1.80, LUNGS),
    LocalLabel("Infiltration", 1247, 1.50, LUNGS),
    LocalLabel("Lung Opacity", 2483, 1.50, LUNGS),
    LocalLabel("Lung cavity", 110, 1.25, LUNGS, "Other lesion"),
    LocalLabel("Lung cyst", 30, 1.25, LUNGS, "Other lesion"),
    LocalLabel("Mediastinal shift", 220, 1.25, AORTA, "Other lesion"),
    LocalLabel("Nodule/Mass", 2580, 1.80, LUNGS),
    LocalLabel("Pleural effusion", 2476, 1.30, PLEURA),
    LocalLabel("Pleural thickening", 4842, 1.50, PLEURA),
    LocalLabel("Pneumothorax", 226, 1.25, LUNGS),
    LocalLabel("Pulmonary fibrosis", 4655, 1.60, LUNGS),
    LocalLabel("Rib fracture", 330, 1.80, CHEST_WALL, "Other lesion"),
    LocalLabel("Other lesion", 1073, 1.40, LUNGS, "Other lesion"),
)
# Diseases are stated for the whole image, without a box: assumed share of the abnormal images.
DISEASE_SHARES: tuple[tuple[str, float], ...] = (
    ("COPD", 0.01),
    ("Lung tumor", 0.05),
    ("Pneumonia", 0.12),
    ("Tuberculosis", 0.11),
    ("Other diseases", 0.25),
)
LOCAL_NAMES = tuple(label.name for label in LOCAL_LABELS)
DISEASE_NAMES = tuple(name for name, _ in DISEASE_SHARES)
NO_FINDING = "No finding"
# The order of the columns of image_labels_train.csv.
LABEL_COLUMNS = (*LOCAL_NAMES, *DISEASE_NAMES, NO_FINDING)


@dataclass(frozen=True)
class Boxes:
    """Parallel arrays, one element a box: index of the image, slot of the reader
    (0-based within the image), index into `LOCAL_LABELS`, corners in pixels `(n, 4)`."""

    image: IntArray
    slot: IntArray
    label: IntArray
    corners: FloatArray


@dataclass(frozen=True)
class Readings:
    """What the readers of one split said. `positive` has shape
    `(images, readers, len(LABEL_COLUMNS))`; images without a box are all "No finding"."""

    positive: BoolArray
    boxes: Boxes


def draw_readings(
    rng: np.random.Generator, frames: IntArray, n_abnormal: int, boxes: Sequence[int], *, readers: int
) -> Readings:
    """Readings of `len(frames)` images by `readers` readers each (1: a consensus).

    `boxes` gives the number of boxes to write for each of `LOCAL_LABELS`. Every reader
    of an abnormal image boxes at least one finding, and no reader of a normal one does:
    "No finding" is unanimous or absent, as in the official files.
    """
    detection = DETECTION if readers > 1 else 1.0
    abnormal = np.sort(rng.choice(len(frames), n_abnormal, replace=False)).astype(np.int64)
    truth, primary = _draw_truth(rng, n_abnormal, boxes, sightings=readers * detection)
    seen = _see(rng, truth, readers, detection)
    unread = ~seen.any(axis=2)
    image, slot = np.nonzero(unread)
    seen[image, slot, primary[image]] = True
    diseases = _see(rng, _draw_diseases(rng, n_abnormal), readers, detection)

    positive = np.zeros((len(frames), readers, len(LABEL_COLUMNS)), dtype=np.bool_)
    positive[abnormal] = np.concatenate([seen, diseases, np.zeros_like(unread)[:, :, None]], axis=2)
    positive[:, :, -1] = True
    positive[abnormal, :, -1] = False
    return Readings(positive, _draw_boxes(rng, seen, boxes, abnormal, frames))


def _draw_truth(
    rng: np.random.Generator, n_images: int, boxes: Sequence[int], *, sightings: float
) -> tuple[BoolArray, IntArray]:
    """Which findings are there, shape `(images, labels)`, and each image's main one."""
    expected = [
        min(n_images, max(1, int(n / (sightings * label.boxes_per_reading))))
        for n, label in zip(boxes, LOCAL_LABELS, strict=True)
    ]
    per_label = apportion(expected, n_images)
    primary = rng.permutation(np.repeat(np.arange(len(expected), dtype=np.int64), per_label))
    truth = np.zeros((n_images, len(expected)), dtype=np.bool_)
    truth[np.arange(n_images), primary] = True
    for label, wanted in enumerate(expected):
        free = np.flatnonzero(~truth[:, label])
        more = min(len(free), max(0, wanted - int(per_label[label])))
        truth[rng.choice(free, more, replace=False), label] = True
    return truth, primary


def _see(rng: np.random.Generator, truth: BoolArray, readers: int, detection: float) -> BoolArray:
    """Who sees what, shape `(images, readers, labels)`; at least one reader sees each finding."""
    seen = truth[:, None, :] & (rng.random((len(truth), readers, truth.shape[1])) < detection)
    image, label = np.nonzero(truth & ~seen.any(axis=1))
    seen[image, rng.integers(0, readers, len(image)), label] = True
    return seen


def _draw_diseases(rng: np.random.Generator, n_images: int) -> BoolArray:
    truth = np.zeros((n_images, len(DISEASE_SHARES)), dtype=np.bool_)
    for column, (_, share) in enumerate(DISEASE_SHARES):
        truth[rng.choice(n_images, max(1, round(share * n_images)), replace=False), column] = True
    return truth


def _draw_boxes(
    rng: np.random.Generator, seen: BoolArray, boxes: Sequence[int], abnormal: IntArray, frames: IntArray
) -> Boxes:
    """One box for each sighting and the rest of the label's boxes among its sightings."""
    image, slot, label = (axis.astype(np.int64) for axis in np.nonzero(seen))
    repeats = np.ones(len(label), dtype=np.int64)
    for index, wanted in enumerate(boxes):
        sightings = np.flatnonzero(label == index)
        extra = max(0, wanted - len(sightings))
        np.add.at(repeats, sightings[rng.integers(0, len(sightings), extra)], 1)
    image, slot, label = (np.repeat(axis, repeats) for axis in (image, slot, label))
    # Readers number their boxes of one finding on one image alike: box k of each outlines lesion k.
    n_labels, n_slots = len(LOCAL_LABELS), seen.shape[1]
    nth = position_in_run((image * n_slots + slot) * n_labels + label)
    key = (image * n_labels + label) * (int(nth.max()) + 1) + nth
    lesion = np.unique(key, return_inverse=True)[1].astype(np.int64)
    regions = [one.region for one in LOCAL_LABELS]
    return Boxes(abnormal[image], slot, label, place_boxes(rng, regions, label, lesion, frames[abnormal[image]]))
