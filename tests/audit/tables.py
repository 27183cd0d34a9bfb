"""Generated inputs of the audit: small tables with everything that breaks metrics, and plain ones."""

from __future__ import annotations

import numpy as np

from cxrdata.audit.data import Grouping, Scored

GROUPS = ("a", "b", "c", "nobody")


def awkward(seed: int) -> Scored:
    """1 to 60 images: ties, one class alone, groups of nobody or of one patient, unknown groups, one or many images a patient,
    draws as weights in a third of the tables."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    share = rng.choice([0.0, 0.1, 0.5, 1.0], p=[0.08, 0.4, 0.44, 0.08])
    scores = np.round(rng.random(n), int(rng.integers(1, 4)))
    patients = rng.integers(0, rng.choice([1, 4, 60]), n)
    weights = rng.integers(1, 4, n).astype(np.float64) if seed % 3 == 0 else np.ones(n)
    codes = rng.choice([-1, 0, 1, 2], n, p=[0.1, 0.5, 0.3, 0.1]).astype(np.int32)
    return Scored(
        "model", "label", "radiologist", "ignore", scores, rng.random(n) < share, patients.astype(np.int64), weights,
        (Grouping("race", GROUPS, codes),), probabilities=True,
    )  # fmt: skip


def plain(
    n: int = 600,
    *,
    seed: int = 0,
    patients: int = 200,
    model: str = "model",
    label: str = "label",
    shift: float = 1.2,
    unfair: float = 0.0,
    digits: int = 6,
) -> Scored:
    """Scores of a logistic shape, higher for positives; three races and two sexes that a patient keeps, age by image.

    unfair: how much higher the negatives of race `b` score. digits: scores are rounded to so many.
    """
    rng = np.random.default_rng(seed)
    who = np.sort(rng.integers(0, patients, n))
    who = np.unique(who, return_inverse=True)[1]
    race = rng.choice(3, patients, p=[0.5, 0.3, 0.2])[who].astype(np.int32)
    sex = rng.choice(2, patients)[who].astype(np.int32)
    age = rng.choice(2, n).astype(np.int32)
    positive = rng.random(n) < 0.3
    of_patient = rng.normal(0, 0.7, patients)[who]
    logits = -1 + shift * positive + unfair * ((race == 1) & ~positive) + of_patient + rng.normal(0, 1, n)
    groupings = (
        Grouping("race", ("a", "b", "c"), race),
        Grouping("sex", ("F", "M"), sex),
        Grouping("age_group", ("young", "old"), age),
    )
    return Scored(
        model, label, "radiologist", "ignore", np.round(1 / (1 + np.exp(-logits)), digits), positive, who.astype(np.int64),
        np.ones(n), groupings, probabilities=True,
    )  # fmt: skip
