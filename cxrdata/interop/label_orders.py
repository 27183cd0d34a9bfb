"""In which order, and by which names, other people's code writes the outputs of its models. Read without any engine."""

from __future__ import annotations

import csv
from functools import cache

from cxrdata.resources import data_folder

CHEXPERT_LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
# What chexploration's heads put out, by their number of outputs; its race and sex codes are in `interop.chexploration`.
CHEXPLORATION_HEADS: dict[int, tuple[str, ...]] = {
    len(CHEXPERT_LABELS): CHEXPERT_LABELS,
    3: ("White", "Asian", "Black"),
    2: ("Male", "Female"),
}
# The columns of reproduce-chexnet's predictions.
CHEXNET_LABELS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
CHEXNET_KEY = "Image Index"
_SEXES = {"Male": "M", "Female": "F"}


@cache
def findings_of(dataset: str) -> dict[str, str]:
    """Native label -> its exact canonical finding, as shipped (`metadata/label_map.sssom.tsv`, overlays not asked)."""
    with (data_folder("metadata") / "label_map.sssom.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")
        prefix = f"{dataset}:"
        return {
            row["subject_id"].removeprefix(prefix): row["object_id"].partition(":")[2]
            for row in rows
            if row["subject_id"].startswith(prefix) and row["predicate_id"] == "skos:exactMatch"
        }


def chexploration_outputs(n: int) -> tuple[str, ...] | None:
    """What a head of chexploration with so many outputs puts out, in its order, in our words; None if it has no such."""
    said = CHEXPLORATION_HEADS.get(n)
    if said is None:
        return None
    findings = findings_of("chexpert")
    return tuple(findings.get(name, _SEXES.get(name, name)) for name in said)


def chexnet_outputs() -> dict[str, str]:
    """Finding -> the label of reproduce-chexnet's column, in its order."""
    findings = findings_of("nih_cxr14")
    return {findings[label]: label for label in CHEXNET_LABELS}
