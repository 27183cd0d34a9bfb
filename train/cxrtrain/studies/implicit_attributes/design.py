"""The design of the study: its sets, its models and what they are called."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cxrdata.audit.request import AuditRequest
from cxrdata.small_cells import MIN_CELL

ATTRIBUTE = "race"
RACES = ("White", "Asian", "Black")  # in the order of the outputs
DATASET, LABELER = "chexpert", "chexpert"
COHORT = "race_balanced_chexpert"
SIZES = (1, 2, 3)  # images a patient: a set each
RATIOS = "0.8,0.1,0.1"
PARTS = ("train", "valid", "test")

RUN, IMAGENET, RANDOM = "run", "imagenet", "random"
ORIGINS = (RUN, IMAGENET, RANDOM)
ORIGIN_NAMES = {RUN: "trained on disease", IMAGENET: "ImageNet", RANDOM: "random"}
BACKBONE, FIRST = "backbone", "first:"  # as `model.freeze` has it
DISEASE, RACE, TWO_HEADS = "disease", "race", "twohead"

REPLICATES = 2000
_WORDS = re.compile(r"[a-z]+|\d+")
_SIZE = re.compile(r"(?:^|[^a-z0-9])k(\d+)(?![a-z0-9])")
_FROZEN_FIRST = re.compile(r"first[^a-z0-9]?(\d+)")
_ALL = {"backbone", "probe", "linear", "frozen"}
_SAID = {
    IMAGENET: {"imagenet", "pretrained"},
    RANDOM: {"random", "scratch"},
    RUN: {"run", "disease", "diseases", "pathology", "pathologies"},
}


def split_name(size: int) -> str:
    """The split with up to so many images a patient."""
    return "implicit-chexpert" if size == 1 else f"implicit-chexpert-{size}"


def model_name(what: str, size: int, origin: str | None = None, frozen: str | None = None) -> str:
    """`disease-k1`, `race-imagenet-first-2-k3`."""
    return "-".join(one.replace(":", "-") for one in (what, origin, frozen, f"k{size}") if one)


@dataclass(frozen=True)
class Model:
    """What a model's name says; None where it does not. size: images a patient. origin: of `ORIGINS`, of a model of race alone;
    frozen: as `model.freeze` has it."""

    name: str
    size: int | None = None
    origin: str | None = None
    frozen: str | None = None

    @classmethod
    def of(cls, name: str) -> Model:
        """From `model_name`, or whatever others call theirs: `race_frozen_imagenet`."""
        text = name.lower()
        words = set(_WORDS.findall(text))
        size = _SIZE.search(text)
        origin = None
        if RACE in words:
            origin = next((one for one, said in _SAID.items() if words & said), None)
        first = _FROZEN_FIRST.search(text)
        frozen = f"{FIRST}{first[1]}" if first else BACKBONE if words & _ALL else None
        return cls(name, int(size[1]) if size else None, origin, frozen if origin else None)


@dataclass(frozen=True)
class Wish:
    """What to compute. min_cell: counts of fewer patients are masked; 1 masks none."""

    bootstrap: int = REPLICATES
    seed: int = 0
    min_cell: int = MIN_CELL
    threads: int = 2

    @property
    def request(self) -> AuditRequest:
        return AuditRequest(
            metrics=("auroc",), threshold=None, bootstrap=self.bootstrap, gaps=False, min_cell=self.min_cell, seed=self.seed,
            threads=self.threads,
        )  # fmt: skip
