"""Synthetic MIMIC-CXR-JPG and the MIMIC-IV tables that carry its demographics.

Layouts follow PhysioNet's releases: MIMIC-CXR-JPG 2.0.0 and 2.1.0 (whose files keep the name
`mimic-cxr-2.0.0-…`), MIMIC-IV 1.0 (`core/`) and 3.1 (`hosp/`). No images are written.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.sources.drawing.report_labels import (
    CHEXPERT_SHARES,
    FINDINGS,
    NO_FINDING,
    RowTargets,
    label_frame,
    other_labeler,
    study_labels,
)
from cxrdata.sources.mimic_cxr import synth_hospital
from cxrdata.sources.mimic_cxr.synth_cohort import Films, films, people
from cxrdata.sources.synthesis import SynthPlan, label_as_synthetic, write_bytes, write_csv

if TYPE_CHECKING:
    from pathlib import Path

    from cxrdata.sources.drawing.report_labels import States

VARIANTS: dict[str, str] = {
    "jpg_2_1": "MIMIC-CXR-JPG 2.1.0, with radiologist labels of test studies, IMAGE_FILENAMES, checksums",
    "jpg_2_0": "MIMIC-CXR-JPG 2.0.0: metadata, split, chexpert and negbio labels only",
    "iv_hosp": "MIMIC-IV 3.1: hosp/ layout, column race with 33 values",
    "iv_core": "MIMIC-IV 1.0: core/ layout, column ethnicity with 8 values",
    "plain_csv": "decompressed .csv instead of .csv.gz",
}
DEFAULT: frozenset[str] = frozenset({"jpg_2_1", "iv_hosp"})
# Variants that replace each other: two of them in one folder would be the dataset twice.
ALTERNATIVES = (frozenset({"jpg_2_1", "jpg_2_0"}), frozenset({"iv_hosp", "iv_core"}))

TITLE = "MIMIC-CXR-JPG (Johnson et al. 2019) and MIMIC-IV (Johnson et al. 2023)"
# Below this every quirk no longer finds a row of its own.
SMALLEST_SCALE = 0.001
NEGBIO_AGREEMENT = 0.97
RADIOLOGIST_AGREEMENT = 0.90
PAIR = 2
# CheXpert's shares, its findings rarer as No Finding is commoner here.
SHARES = CHEXPERT_SHARES.reduced(0.75, no_finding=0.33, devices=0.30)
METADATA_COLUMNS = (
    *("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition"),
    *("Rows", "Columns", "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning"),
    *("ViewCodeSequence_CodeMeaning", "PatientOrientationCodeSequence_CodeMeaning"),
)


def write(folder: Path, plan: SynthPlan) -> None:
    """Write the chosen variants below `folder`.

    `plan.variants` may name other datasets' variants as well; with none of ours but
    `plain_csv`, DEFAULT is written. Scales below 0.001 count as 0.001. Deterministic by
    `plan.seed`.
    """
    chosen = plan.chosen(VARIANTS, DEFAULT)
    variants = (chosen - {"plain_csv"}) or DEFAULT
    compress = "plain_csv" not in chosen
    plan = replace(plan, scale=max(plan.scale, SMALLEST_SCALE))
    label_as_synthetic(folder, TITLE)
    everyone = people(plan, synth_hospital.unfilmed(plan))
    if variants & {"jpg_2_0", "jpg_2_1"}:
        taken = films(plan, everyone)
        states = _states(plan, len(taken.studies))
        if "jpg_2_0" in variants:
            _write_tables(folder / "mimic-cxr-jpg" / "2.0.0", plan, taken, states, compress=compress)
        if "jpg_2_1" in variants:
            root = folder / "mimic-cxr-jpg" / "2.1.0"
            _write_tables(root, plan, taken, states, compress=compress)
            _write_additions(root, plan, taken, states)
    for name, release in (("iv_hosp", synth_hospital.HOSP), ("iv_core", synth_hospital.CORE)):
        if name in variants:
            synth_hospital.write(folder / "mimiciv", plan, everyone, release, compress=compress)


def _states(plan: SynthPlan, n: int) -> States:
    """The CheXpert labeler's states of all studies, its patterns about as frequent as in CheXpert."""
    rows = np.ones(n, dtype=np.int64)
    hearts = SHARES.positive[FINDINGS.index("Cardiomegaly")] * n
    targets = RowTargets(
        no_finding=round(0.33 * n),
        no_finding_with_devices=round(0.06 * n),
        no_finding_with_uncertain_devices=max(1, round(0.0005 * n)),
        any_uncertain=round(0.29 * n),
        unremarkable=max(1, round(0.02 * n)),
        all_blank=0,
        cardiomegaly_enlarged_negative=max(1, round(0.006 * hearts)),
        cardiomegaly_enlarged_blank=round(0.9 * hearts),
        child_without_opacity=round(0.16 * n),
    )
    return study_labels(plan.rng("mimic_cxr", "labels"), rows, SHARES, targets)


def _write_tables(root: Path, plan: SynthPlan, taken: Films, states: States, *, compress: bool) -> None:
    """Metadata, split and the two labelers' files; the latter lack a few studies."""
    start = "mimic-cxr-2.0.0"
    write_csv(taken.images.select(METADATA_COLUMNS), root / f"{start}-metadata.csv", compress=compress)
    split = taken.images.select("dicom_id", "study_id", "subject_id", "split")
    write_csv(split, root / f"{start}-split.csv", compress=compress)
    negbio = other_labeler(plan.rng("mimic_cxr", "negbio"), states, NEGBIO_AGREEMENT)
    labelled = _labelled(plan, taken)
    studies = taken.studies.select("subject_id", "study_id")
    for labeler, labels in (("chexpert", states), ("negbio", negbio)):
        columns = label_frame(labels).select(sorted(FINDINGS))
        write_csv(studies.hstack(columns)[labelled], root / f"{start}-{labeler}.csv", compress=compress)


def _labelled(plan: SynthPlan, taken: Films) -> pl.Series:
    """Positions of the studies that have a row of labels: all but 8, which hold 15 images."""
    rng = plan.rng("mimic_cxr", "unlabelled")
    images = taken.studies["n_images"].to_numpy()
    train = (taken.studies["split"] == "train").to_numpy()
    double = rng.permutation(np.flatnonzero(train & (images == PAIR)))[: plan.count(7)]
    single = rng.permutation(np.flatnonzero(train & (images == 1)))[: plan.count(1)]
    return pl.Series(np.delete(np.arange(len(images)), np.concatenate([double, single])))


def _write_additions(root: Path, plan: SynthPlan, taken: Films, states: States) -> None:
    """What 2.1.0 has beside the tables: radiologist labels, the image list, checksums."""
    rng = plan.rng("mimic_cxr", "radiologist")
    test = np.flatnonzero((taken.studies["split"] == "test").to_numpy())
    rated = np.sort(rng.permutation(test)[: plan.count(687, at_least=4)])
    labels = other_labeler(rng, states[rated], RADIOLOGIST_AGREEMENT)
    # "No change" tells no one whether the report is normal: the annotator left it uncertain.
    labels[rng.permutation(len(rated))[: plan.count(20)], NO_FINDING] = -1
    names = [name.replace("Lung Opacity", "Airspace Opacity") for name in FINDINGS]
    columns = taken.studies[rated].select("study_id").hstack(label_frame(labels, names))
    write_csv(columns, root / "mimic-cxr-2.1.0-test-set-labeled.csv")

    paths = taken.images["path"].to_list()
    write_bytes(("\n".join(paths) + "\n").encode(), root / "IMAGE_FILENAMES")
    written = sorted(path for path in root.iterdir() if path.name != "SHA256SUMS.txt")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.name}" for path in written]
    digests = plan.rng("mimic_cxr", "checksums").bytes(32 * len(paths)).hex()
    lines += [f"{digests[64 * row : 64 * row + 64]} {path}" for row, path in enumerate(paths)]
    write_bytes(("\n".join(lines) + "\n").encode(), root / "SHA256SUMS.txt")
