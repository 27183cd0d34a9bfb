"""Each published experiment against systems.md, sections A, B, C2 and E, written down here from there.

`PUBLISHED` names what a paper or its code states, and `CHOSEN` what is ours because they are silent; every other field has
its default. So a value that slips into a file, or out of it, is found.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from cxrtrain.config import Experiment, HeadConfig
from cxrtrain.config_file import experiment_names, read_experiment, to_toml

# The fourteen of CheXpert in the order of its columns, by the names of CONTRACT §6.
CHEXPERT_14 = (
    "no_finding", "enlarged_cardiomediastinum", "cardiomegaly", "lung_opacity", "lung_lesion", "edema", "consolidation",
    "pneumonia", "atelectasis", "pneumothorax", "pleural_effusion", "pleural_other", "fracture", "support_devices",
)  # fmt: skip
# Those of NIH, as reproduce-chexnet's predictions list them.
NIH_14 = (
    "atelectasis", "cardiomegaly", "pleural_effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
    "consolidation", "edema", "emphysema", "fibrosis", "pleural_thickening", "hernia",
)  # fmt: skip

# A: label vector = (value == 1), so that uncertain, zero and blank are all 0; 14 sigmoids.
DISEASE = {
    "kind": "multilabel", "labels": CHEXPERT_14, "policy": "zeros", "unassessed_zero": True, "labeler": "chexpert",
}  # fmt: skip
# A: race label White 0, Asian 1, Black 2; sex Male 0, Female 1.
RACE = {"kind": "classes", "attribute": "race", "classes": ("White", "Asian", "Black")}
SEX = {"kind": "classes", "attribute": "sex", "classes": ("M", "F")}

# A, Images and Models: 224 squashed, Adam 1e-3 without schedule, batch 150, seed 42, flip 0.5, affine 15° and 0.9 to 1.1 with
# probability 0.5, grey values 0 to 255 not normalised, three channels, ImageNet weights, DenseNet-121.
CHEXPLORATION = {
    "data.side": 224,
    "data.fit": "squash",
    "data.split": "chexploration-chexpert",
    "data.made_by": "cxrdata split --cohort chexploration_chexpert --ratios 0.6,0.1,0.3 --seed 42 --name chexploration-chexpert",
    "input.channels": 3,
    "input.scale": "0-255",
    "input.normalise": "none",
    "augment.flip_p": 0.5,
    "augment.affine_p": 0.5,
    "augment.rotate_degrees": 15.0,
    "augment.zoom": (0.9, 1.1),
    "model.backbone": "torchvision:densenet121",
    "model.weights": "imagenet",
    "optim.name": "adam",
    "optim.lr": 1e-3,
    "optim.schedule": "none",
    "optim.turns": "together",
    "loop.batch": 150,
    "loop.seed": 42,
    "loop.monitor": None,
}
FROZEN = {"model.weights": "run:runs/chexploration-disease", "model.freeze": "backbone"}


def subgroup(attribute: str, value: str, name: str) -> dict[str, Any]:
    made_by = f"cxrdata split --cohort chexploration_chexpert --ratios 0.6,0.1,0.3 --seed 42 --subgroup {attribute}={value} --name {name}"
    return {"data.split": name, "data.made_by": made_by}


# B: 320 px, batch 32, Adam 1e-3, rotation 15°, flip, zoom 0.1, plateau (0.1, patience 2, min 1e-5); parts 0.8, 0.1, 0.1.
IMPLICIT = {
    "data.side": 320,
    "data.split": "implicit-chexpert",
    "data.made_by": "cxrdata split --cohort race_balanced_chexpert --balance race --max-images-per-patient 1 --ratios 0.8,0.1,0.1 --name implicit-chexpert",
    "augment.rotate_degrees": 15.0,
    "augment.zoom": (0.9, 1.1),
    "optim.name": "adam",
    "optim.lr": 1e-3,
    "optim.schedule": "plateau",
    "optim.factor": 0.1,
    "optim.patience": 2,
    "optim.min_lr": 1e-5,
    "loop.batch": 32,
}
IMPLICIT_CHOSEN = {
    "input.normalise": "imagenet",
    "augment.flip_p": 0.5,
    "augment.affine_p": 1.0,
    "model.backbone": "torchvision:densenet121",
    "loop.epochs": 50,
}

# C2: ConvNeXt-Base from random, 224², training mean and SD, MixUp alpha 1, sampling inverse to class frequency, CE, AdamW
# 1e-4 / 5e-4, clip 1, batch 32, 50 epochs; PA but for NIH; seed 42 of the splits.
AGE_BIAS = {
    "data.side": 224,
    "data.split": "age-bias",
    "data.made_by": (
        "cxrdata split --pediatric-vs-adult --dataset vindr,nih,padchest,chexpert,pcxr "
        "--where \"view = 'PA' OR dataset IN ('nih_cxr14', 'vindr_cxr', 'vindr_pcxr')\" --seed 42 --name age-bias"
    ),
    "data.sampling": "class_balanced",
    "input.normalise": "training",
    "augment.mixup_alpha": 1.0,
    "model.backbone": "convnext_base",
    "model.weights": "none",
    "optim.name": "adamw",
    "optim.lr": 1e-4,
    "optim.weight_decay": 5e-4,
    "optim.clip": 1.0,
    "loop.batch": 32,
    "loop.epochs": 50,
}
AGE_BIAS_CHOSEN = {"loop.seed": 42}
HEART = {"kind": "binary", "finding": "cardiomegaly", "against": "healthy", "loss": "ce"}

# E: DenseNet-121, ImageNet weights, BCE; SGD 0.01, momentum 0.9, wd 1e-4, batch 16, ≤ 100 epochs; a tenth when the loss fails
# to improve, stop after 3; flip, resize 224, centre crop, ImageNet normalisation; patients 70/10/20.
CHEXNET = {
    "data.side": 224,
    "data.fit": "crop",
    "data.split": "chexnet",
    "data.made_by": "cxrdata split --cohort chexnet_nih --ratios 0.7,0.1,0.2 --name chexnet",
    "input.crop": 224,
    "input.normalise": "imagenet",
    "augment.flip_p": 0.5,
    "model.backbone": "torchvision:densenet121",
    "model.weights": "imagenet",
    "optim.name": "sgd",
    "optim.lr": 0.01,
    "optim.momentum": 0.9,
    "optim.weight_decay": 1e-4,
    "optim.schedule": "plateau",
    "optim.factor": 0.1,
    "optim.patience": 0,
    "loop.batch": 16,
    "loop.epochs": 100,
    "loop.stop_after": 3,
}

# name -> (values stated, values that are ours, heads)
Expected = tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, Any]]]
EXPERIMENTS: dict[str, Expected] = {
    "chexploration-disease": (CHEXPLORATION | {"loop.epochs": 20}, {}, {"disease": DISEASE}),
    "chexploration-disease-white": (
        CHEXPLORATION | {"loop.epochs": 20} | subgroup("race", "White", "chexploration-chexpert-white"),
        {},
        {"disease": DISEASE},
    ),
    "chexploration-disease-male": (
        CHEXPLORATION | {"loop.epochs": 20} | subgroup("sex", "M", "chexploration-chexpert-male"),
        {},
        {"disease": DISEASE},
    ),
    "chexploration-race": (CHEXPLORATION | {"loop.epochs": 50}, {}, {"race": RACE}),
    "chexploration-sex": (CHEXPLORATION | {"loop.epochs": 50}, {}, {"sex": SEX}),
    "chexploration-multitask": (
        CHEXPLORATION | {"loop.epochs": 20, "optim.turns": "in_turn", "loop.monitor": "disease"},
        {},
        {"disease": DISEASE, "race": RACE, "sex": SEX},
    ),
    "chexploration-split-race": (CHEXPLORATION | FROZEN | {"loop.epochs": 50}, {}, {"race": RACE}),
    "chexploration-split-sex": (CHEXPLORATION | FROZEN | {"loop.epochs": 50}, {}, {"sex": SEX}),
    "implicit-disease": (IMPLICIT, IMPLICIT_CHOSEN | {"model.weights": "imagenet"}, {"disease": DISEASE}),
    "implicit-race": (
        IMPLICIT | {"model.weights": "run:runs/implicit-disease", "model.freeze": "backbone"},
        IMPLICIT_CHOSEN,
        {"race": RACE},
    ),
    "implicit-twohead": (
        IMPLICIT,
        IMPLICIT_CHOSEN | {"model.weights": "imagenet"},
        {"disease": DISEASE, "race": RACE},
    ),
    "age-bias-vindr": (AGE_BIAS | {"data.datasets": ("vindr_cxr",)}, AGE_BIAS_CHOSEN, {"cardiomegaly": HEART}),
    "age-bias-nih": (AGE_BIAS | {"data.datasets": ("nih_cxr14",)}, AGE_BIAS_CHOSEN, {"cardiomegaly": HEART}),
    "age-bias-padchest": (AGE_BIAS | {"data.datasets": ("padchest",)}, AGE_BIAS_CHOSEN, {"cardiomegaly": HEART}),
    "age-bias-chexpert": (
        AGE_BIAS | {"data.datasets": ("chexpert",)},
        AGE_BIAS_CHOSEN,
        {"cardiomegaly": HEART | {"labeler": "chexbert"}},
    ),
    "chexnet": (CHEXNET, {}, {"findings": {"kind": "multilabel", "labels": NIH_14, "labeler": "text_mining"}}),
}


def flat(experiment: Experiment) -> dict[str, Any]:
    """`table.key` -> value of all but the heads."""
    tables = {name: value for name, value in asdict(experiment).items() if isinstance(value, dict)}
    return {f"{table}.{key}": value for table, values in tables.items() for key, value in values.items()}


DEFAULTS = flat(Experiment("none", (HeadConfig("none", "binary"),)))


def test_every_experiment_that_ships_is_compared() -> None:
    assert {name for name in experiment_names() if name != "quick"} == set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_values_are_the_published_ones(name: str) -> None:
    published, chosen, heads = EXPERIMENTS[name]
    assert not set(published) & set(chosen)
    experiment = read_experiment(name)
    assert flat(experiment) == DEFAULTS | published | chosen
    assert experiment.name == name
    assert experiment.title and "doi:10." in experiment.source
    plain = asdict(HeadConfig("none", "none"))
    assert {head.name: asdict(head) for head in experiment.heads} == {
        head: plain | {"name": head} | values for head, values in heads.items()
    }


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name.startswith("chexploration")])
def test_chexplorations_other_backbone_and_cohort_are_said_in_the_file_and_work(name: str) -> None:
    """CheXpert and MIMIC, DenseNet-121 and ResNet-34."""
    from cxrtrain.resources import experiments_folder

    text = (experiments_folder() / f"{name}.toml").read_text(encoding="utf-8")
    split = read_experiment(name).data.split or ""
    mimic = split.replace("chexpert", "mimic")
    assert "--set model.backbone=torchvision:resnet34" in text
    assert f"--set data.split={mimic}" in text
    assert "--cohort chexploration_mimic --ratios 0.6,0.1,0.3 --seed 42" in text
    other = read_experiment(name, ["model.backbone=torchvision:resnet34", f"data.split={mimic}"])
    assert (other.model.backbone, other.data.split) == ("torchvision:resnet34", mimic)


def test_a_run_of_your_own_is_set_for_the_frozen_backbone() -> None:
    wish = read_experiment("chexploration-split-sex", ["model.weights=run:/somewhere/else"])
    assert wish.model.weights == "run:/somewhere/else"


@pytest.mark.parametrize("name", [*EXPERIMENTS, "quick"])
def test_what_a_run_keeps_reads_back_to_the_same(name: str, tmp_path: Any) -> None:
    wish = read_experiment(name)
    (tmp_path / "kept.toml").write_text(to_toml(wish), encoding="utf-8")
    assert read_experiment(str(tmp_path / "kept.toml")) == wish
