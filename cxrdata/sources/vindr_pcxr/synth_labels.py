"""Synthetic VinDr-PCXR readings: one reader's image labels and boxes for every image.

Counts of labels: the official files of both splits. Their totals leave some images that
are neither "No finding" nor positive for any disease: a local finding alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cxrdata.sources.drawing.vindr import (
    AORTA,
    CHEST_WALL,
    HEART,
    LUNGS,
    PLEURA,
    BoolArray,
    IntArray,
    Region,
    apportion,
)

if TYPE_CHECKING:
    from cxrdata.sources.synthesis import SynthPlan

NO_FINDING = "No finding"
# Official spelling and order of the columns, with the positives of train and test.
DISEASES: tuple[tuple[str, int, int], ...] = (
    ("Bronchitis", 842, 174),
    ("Brocho-pneumonia", 545, 84),
    ("Other disease", 412, 77),
    ("Bronchiolitis", 497, 90),
    ("Situs inversus", 11, 2),
    ("Pneumonia", 392, 89),
    ("Pleuro-pneumonia", 6, 0),
    ("Diagphramatic hernia", 3, 0),
    ("Tuberculosis", 14, 1),
    ("Congenital emphysema", 2, 0),
    ("CPAM", 5, 1),
    ("Hyaline membrane disease", 19, 3),
    ("Mediastinal tumor", 8, 1),
    ("Lung tumor", 5, 0),
)
LABEL_COLUMNS = (NO_FINDING, *(name for name, _, _ in DISEASES))


class SplitCounts(NamedTuple):
    """Images of a split: all, without finding, with two diseases or more, with three.

    The last is an assumption; the others are official.
    """

    images: int
    without_finding: int
    with_several: int
    with_three: int


OFFICIAL = {"train": SplitCounts(7_728, 5_143, 223, 3), "test": SplitCounts(1_397, 907, 41, 1)}
SMALLEST = {"train": 160, "test": 60}

# Official spelling, weight of the class among the boxes (an assumption), place.
FINDINGS: tuple[tuple[str, int, Region], ...] = (
    ("Anterior mediastinal mass", 10, AORTA),
    ("Aortic enlargement", 5, AORTA),
    ("Atelectasis", 60, LUNGS),
    ("Boot-shaped heart", 5, HEART),
    ("Bronchectasis", 5, LUNGS),
    ("Bronchial thickening", 900, LUNGS),
    ("Calcification", 10, LUNGS),
    ("Cardiomegaly", 250, HEART),
    ("Chest wall mass", 5, CHEST_WALL),
    ("Clavicle fracture", 8, CHEST_WALL),
    ("Consolidation", 300, LUNGS),
    ("Dextro cardia", 12, HEART),
    ("Diffuse aveolar opacity", 40, LUNGS),
    ("Edema", 5, LUNGS),
    ("Egg on string sign", 5, HEART),
    ("Emphysema", 5, LUNGS),
    ("Enlarged PA", 5, AORTA),
    ("Expanded edges of the anterior ribs", 5, CHEST_WALL),
    ("Infiltration", 40, LUNGS),
    ("Interstitial lung disease - ILD", 15, LUNGS),
    ("Intrathoracic digestive structure", 5, LUNGS),
    ("Lung cavity", 5, LUNGS),
    ("Lung cyst", 5, LUNGS),
    ("Lung hyperinflation", 120, LUNGS),
    ("Mediastinal shift", 15, AORTA),
    ("Other lesion", 150, LUNGS),
    ("Other nodule/mass", 10, LUNGS),
    ("Other opacity", 650, LUNGS),
    ("Paraveterbral mass", 5, CHEST_WALL),
    ("Peribronchovascular interstitial opacity", 900, LUNGS),
    ("Pleural effusion", 40, PLEURA),
    ("Pleural thickening", 5, PLEURA),
    ("Pneumothorax", 15, LUNGS),
    ("Pulmonary fibrosis", 5, LUNGS),
    ("Reticulonodular opacity", 650, LUNGS),
    ("Stomach on the right side", 12, PLEURA),
)
FINDING_NAMES = tuple(name for name, _, _ in FINDINGS)
# The classes are numbered in this order and "No finding" is the last: ids 0..36.
NO_FINDING_CLASS = len(FINDINGS)
BOXES_PER_IMAGE = 1.9


def draw_labels(plan: SynthPlan, split: str) -> BoolArray:
    """Labels of a split's images, shape `(images, len(LABEL_COLUMNS))`, in random order.

    At the official size every label and every co-occurrence has its official count.
    """
    official = OFFICIAL[split]
    share = plan.count(official.images, at_least=SMALLEST[split]) / official.images
    positives = [in_train if split == "train" else in_test for _, in_train, in_test in DISEASES]
    counts = [max(1, round(n * share)) if n else 0 for n in positives]
    three = max(1, round(official.with_three * share))
    several = max(three + 3, round(official.with_several * share))
    unlabelled = (
        official.images - official.without_finding - (sum(positives) - official.with_several - official.with_three)
    )
    diseased = _deal_diseases(counts, several, three)
    n_other = max(1, round(unlabelled * share))
    normal = max(1, round(official.without_finding * share))
    labels = np.zeros((len(diseased) + n_other + normal, len(LABEL_COLUMNS)), dtype=np.bool_)
    labels[: len(diseased), 1:] = diseased
    labels[len(diseased) + n_other :, 0] = True
    return labels[plan.rng("vindr_pcxr", split, "label order").permutation(len(labels))]


def _deal_diseases(counts: list[int], several: int, three: int) -> BoolArray:
    """Images with at least one disease, shape `(images, diseases)`: `counts` positives a
    disease; `several` images have two or more of them, `three` of these have three."""
    shared = apportion(counts, 2 * several + three)
    # Dealing a list sorted by disease round by round never gives an image the same one
    # twice, as no disease fills a whole round.
    dealt = np.repeat(np.arange(len(counts)), shared)
    alone = np.repeat(np.arange(len(counts)), np.asarray(counts) - shared)
    labels = np.zeros((several + len(alone), len(counts)), dtype=np.bool_)
    labels[np.arange(len(dealt)) % several, dealt] = True
    labels[several + np.arange(len(alone)), alone] = True
    return labels


def draw_findings(plan: SynthPlan, split: str, labels: BoolArray) -> tuple[IntArray, IntArray]:
    """Boxes of the images that are not "No finding": index of the image and of its class
    in `FINDINGS`, one element a box, sorted by image; every such image has a box."""
    rng = plan.rng("vindr_pcxr", split, "findings")
    abnormal = np.flatnonzero(~labels[:, 0])
    total = round(BOXES_PER_IMAGE * len(abnormal))
    extra = rng.integers(0, len(abnormal), total - len(abnormal))
    image = np.sort(np.r_[abnormal, abnormal[extra]]).astype(np.int64)
    # The test split lacks some rare classes, as a small sample does.
    per_class = apportion([weight for _, weight, _ in FINDINGS], total, at_least=1 if split == "train" else 0)
    finding = rng.permutation(np.repeat(np.arange(len(FINDINGS), dtype=np.int64), per_class))
    return image, finding
