"""The design of the study: its datasets, models, parts and the two sets of rules that errors are counted by."""

from __future__ import annotations

from dataclasses import dataclass

from cxrdata.small_cells import MIN_CELL

DATASETS = ("chexpert", "mimic_cxr")
NAMES = {"chexpert": "CheXpert", "mimic_cxr": "MIMIC-CXR"}
COHORTS = {"chexpert": "chexploration_chexpert", "mimic_cxr": "chexploration_mimic"}
# Whose labels the models learn and are judged by.
LABELER = "chexpert"

DISEASE, RACE, SEX, MULTITASK = "disease", "race", "sex", "multitask"
WHITE, MALE = "disease-white", "disease-male"
SPLIT_RACE, SPLIT_SEX = "split-race", "split-sex"
# In the order in which they are trained; the experiment of each is called chexploration-NAME.
MODELS = (DISEASE, RACE, SEX, MULTITASK, WHITE, MALE, SPLIT_RACE, SPLIT_SEX)
DETECT = (DISEASE, MULTITASK, WHITE, MALE)
READ = (RACE, SEX, MULTITASK, SPLIT_RACE, SPLIT_SEX)
EXPLORED = (DISEASE, MULTITASK, RACE)
SAID = {
    DISEASE: "disease model",
    RACE: "race model",
    SEX: "sex model",
    MULTITASK: "multi-task model",
    WHITE: "disease model of White patients",
    MALE: "disease model of men",
    SPLIT_RACE: "SPLIT test, race",
    SPLIT_SEX: "SPLIT test, sex",
}
# What a model says, as `interop.label_orders` and the catalog call it.
FINDINGS = ("no_finding", "pleural_effusion")
RACES = ("White", "Asian", "Black")
SEXES = ("M", "F")
GROUPS = ("race", "sex")
DISEASES = ("No Finding", "Pleural Effusion", "Other")
METRICS = ("auroc", "tpr", "fpr", "youden")

TRAIN, VAL, TEST = "train", "val", "test"
PARTS = {TRAIN: "train", VAL: "valid", TEST: "test"}  # as a split of the catalog calls them
RESAMPLED = "resampled"
AGES = "age_group:chexploration"
# Published: ratios of patients, seed of everything, draws for each row of the test set, pooled FPR of the threshold.
RATIOS, SEED, FACTOR, FPR = "0.6,0.1,0.3", 42, 3.0, "fpr=0.2"
REPLICATES = 2000

PUBLISHED, CAREFUL = "published", "careful"
RULES = (PUBLISHED, CAREFUL)
WHAT_DIFFERS = (
    (
        "published: replicates redraw images (of the resampled test set: draws), those with the label and those without apart; "
        "the threshold, at which the pooled FPR is nearest to 0.2, is chosen on the test set itself, and anew in each replicate."
    ),
    (
        "careful: replicates redraw patients with all their images and draws, which makes intervals as wide as they are; the threshold is "
        "chosen on the validation part where that is predicted, and anew in each replicate."
    ),
)


@dataclass(frozen=True)
class Wish:
    """bootstrap, seed, min_cell: of the audit. per_group: images of each race that are explored. plane: with t-SNE."""

    bootstrap: int = REPLICATES
    seed: int = SEED
    min_cell: int = MIN_CELL
    per_group: int = 1000
    plane: bool = True


def split_of(model: str, base: str) -> str:
    """The split that a model is trained on: those of subgroups are their patients alone."""
    return f"{base}-{model.removeprefix(f'{DISEASE}-')}" if model in (WHITE, MALE) else base
