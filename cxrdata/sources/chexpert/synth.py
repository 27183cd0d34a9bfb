"""Synthetic CheXpert: train.csv, valid.csv and the files that come with them.

Layouts follow Stanford's downloads (CheXpert-v1.0-small, CheXpert-v1.0, the AIMI
batches), the labels of CheXbert and visualCheXbert, the demographics workbook,
the released test labels (github.com/rajpurkarlab/cheXpert-test-set-labels, a row a
study; CheXlocalize, a row an image) and CheXpert Plus. No images are written.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.sources.chexpert import synth_demographics, synth_plus
from cxrdata.sources.chexpert.synth_images import (
    Cohort,
    padded,
    reader_cohort,
    train_cohort,
)
from cxrdata.sources.drawing.report_labels import (
    CHEXPERT_SHARES,
    RowTargets,
    binary_labels,
    label_frame,
    other_labeler,
    reader_labels,
    study_labels,
)
from cxrdata.sources.synthesis import (
    SynthPlan,
    label_as_synthetic,
    write_bytes,
    write_csv,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cxrdata.sources.drawing.report_labels import States

VARIANTS: dict[str, str] = {
    "small": "CheXpert-v1.0-small with train.csv and valid.csv (the downsampled images' folder)",
    "full": "CheXpert-v1.0 with train.csv and valid.csv (the full-resolution images' folder)",
    "batches": "the AIMI download: CSVs in batch 1, label files and workbook beside it",
    "labels": "train_cheXbert.csv and train_visualCheXbert.csv",
    "demographics": "the workbook CHEXPERT DEMO.xlsx with race and ethnicity by patient",
    "test": "test labels by study (groundtruth.csv) and by image (CheXlocalize test_labels.csv)",
    "plus": "CheXpert Plus: report text and CheXbert labels by image",
}
DEFAULT: frozenset[str] = frozenset({"small", "labels", "demographics", "test"})
# Variants that replace each other: two of them in one folder would be the dataset twice.
ALTERNATIVES = (frozenset({"small", "full", "batches"}),)

AIMI_FOLDER = "chexpertchestxrays-u20210408"
BATCHES = (
    "CheXpert-v1.0 batch 1 (validate & csv)",
    "CheXpert-v1.0 batch 2 (train 1)",
    "CheXpert-v1.0 batch 3 (train 2)",
    "CheXpert-v1.0 batch 4 (train 3)",
)
TITLE = "CheXpert (Irvin et al. 2019)"
# Below this every quirk no longer finds a row of its own.
SMALLEST_SCALE = 0.001
CHEXBERT_AGREEMENT = 0.93
# Positive rows of visualCheXbert, Enlarged Cardiomediastinum to Support Devices; those of Atelectasis,
# Pneumonia and Fracture are the published file's, the others round.
VISUAL_POSITIVES = (
    60_000,
    52_000,
    130_000,
    17_000,
    74_000,
    55_000,
    52_226,
    123_924,
    26_000,
    104_000,
    19_000,
    61_690,
    118_000,
)


def write(folder: Path, plan: SynthPlan) -> None:
    """Write the chosen variants below `folder`.

    `plan.variants` may name other datasets' variants as well; with none of ours, DEFAULT is
    written. Scales below 0.001 count as 0.001. Deterministic by `plan.seed`.
    """
    variants = plan.chosen(VARIANTS, DEFAULT)
    plan = replace(plan, scale=max(plan.scale, SMALLEST_SCALE))
    label_as_synthetic(folder, TITLE)
    train, valid = train_cohort(plan), reader_cohort(plan, "valid")
    states = study_labels(plan.rng("chexpert", "labels"), train.rows, CHEXPERT_SHARES, row_targets(plan))
    valid_states = reader_labels(plan.rng("chexpert", "valid labels"), len(valid.rows))

    roots = {"small": "CheXpert-v1.0-small", "full": "CheXpert-v1.0"}
    for name, root in roots.items():
        if name in variants:
            _write_splits(folder / root, root, (train, states), (valid, valid_states))
    beside = folder
    if "batches" in variants:
        beside = folder / AIMI_FOLDER
        _write_splits(beside / BATCHES[0], "CheXpert-v1.0", (train, states), (valid, valid_states))
        for batch in BATCHES[1:]:
            (beside / batch).mkdir(parents=True, exist_ok=True)
        write_bytes(
            b"Synthetic stand-in for the README of the AIMI download.\n",
            beside / "README.md",
        )
    if variants & {"batches", "labels"}:
        _write_bert_labels(beside, plan, train, states)
    if variants & {"batches", "demographics", "plus"}:
        people = synth_demographics.demographics(plan, train, valid)
        if variants & {"batches", "demographics"}:
            synth_demographics.write_workbook(people, beside)
        if "plus" in variants:
            synth_plus.write(folder, plan, (train, states), (valid, valid_states), people)
    if "test" in variants:
        _write_test(folder, plan)


def row_targets(plan: SynthPlan) -> RowTargets:
    """The patterns of train.csv, by row, counted on the official file."""
    return RowTargets(
        no_finding=plan.count(22_381),
        no_finding_with_devices=plan.count(8_808),
        no_finding_with_uncertain_devices=plan.count(110),
        any_uncertain=plan.count(85_056),
        unremarkable=plan.count(6_099, at_least=3),
        all_blank=plan.count(12),
        cardiomegaly_enlarged_negative=plan.count(172),
        cardiomegaly_enlarged_blank=plan.count(24_616),
        child_without_opacity=plan.count(48_813),
    )


def label_rows(cohort: Cohort, states: States, root: str) -> pl.DataFrame:
    """The nineteen columns of train.csv, a row an image; paths begin with `root`."""
    described = cohort.images.select(
        cohort.paths(f"{root}/"),
        Sex="sex",
        Age="age",
        frontal_lateral=pl.col("frontal_lateral"),
        ap_pa=pl.col("ap_pa"),
    ).rename({"frontal_lateral": "Frontal/Lateral", "ap_pa": "AP/PA"})
    return described.hstack(cohort.per_image(label_frame(states)))


def _write_splits(folder: Path, root: str, train: tuple[Cohort, States], valid: tuple[Cohort, States]) -> None:
    write_csv(label_rows(*train, root), folder / "train.csv")
    write_csv(label_rows(*valid, root), folder / "valid.csv")


def _write_bert_labels(folder: Path, plan: SynthPlan, train: Cohort, states: States) -> None:
    chexbert = other_labeler(plan.rng("chexpert", "chexbert"), states, CHEXBERT_AGREEMENT)
    write_csv(label_rows(train, chexbert, "CheXpert-v1.0"), folder / "train_cheXbert.csv")
    positives = [plan.count(count) for count in VISUAL_POSITIVES]
    visual = binary_labels(plan.rng("chexpert", "visualchexbert"), states, train.rows, positives)
    write_csv(label_rows(train, visual, "CheXpert-v1.0"), folder / "train_visualCheXbert.csv")


def _write_test(folder: Path, plan: SynthPlan) -> None:
    """Test labels as released twice: by study with integers, by image with floats."""
    test = reader_cohort(plan, "test")
    labels = label_frame(reader_labels(plan.rng("chexpert", "test labels"), len(test.rows)))
    study = pl.format(
        "CheXpert-v1.0/test/patient{}/study{}",
        padded(pl.col("patient")),
        pl.col("study"),
    )
    studies = test.images.filter(pl.col("view") == 1).select(Study=study)
    by_study = studies.hstack(labels.cast(pl.Int64))
    write_csv(by_study, folder / "cheXpert-test-set-labels" / "groundtruth.csv")
    by_image = test.paths().to_frame().hstack(test.per_image(labels))
    write_csv(by_image, folder / "chexlocalize" / "CheXpert" / "test_labels.csv")
