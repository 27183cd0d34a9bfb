"""Made-up test predictions of race and of findings, in the layouts that the study reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

RACES = ("White", "Asian", "Black")
FINDINGS = ("No Finding", "Cardiomegaly", "Pleural Effusion")
N = 240


def race_scores(strength: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, 3) and true classes; Black is mistaken for Asian more often than the other way round, so that a matrix
    that is turned shows."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, N, p=[0.5, 0.3, 0.2])
    logits = rng.normal(size=(N, 3))
    logits[np.arange(N), truth] += strength
    logits[truth == 2, 1] += 1.0
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), truth


def finding_scores(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, 3) and truth (N, 3)."""
    rng = np.random.default_rng(seed)
    truth = rng.random((N, len(FINDINGS))) < 0.3
    return 1 / (1 + np.exp(-(rng.normal(size=truth.shape) + 1.5 * truth - 1))), truth


def their_race(strength: float, seed: int = 0) -> pl.DataFrame:
    """As On-Learning-Implicit-Protected-Attributes writes it: an unnamed index, the classes, the truth."""
    scores, truth = race_scores(strength, seed)
    return pl.DataFrame(
        {"": range(N)}
        | {name: scores[:, at] for at, name in enumerate(RACES)}
        | {f"{name}_gt": (truth == at).astype(float) for at, name in enumerate(RACES)}
    )


def their_findings() -> pl.DataFrame:
    scores, truth = finding_scores()
    return pl.DataFrame(
        {"": range(N)}
        | {name: scores[:, at] for at, name in enumerate(FINDINGS)}
        | {f"{name}_gt": truth[:, at].astype(float) for at, name in enumerate(FINDINGS)}
    )


def positional(strength: float, seed: int = 0, *, targets: bool = True) -> pl.DataFrame:
    """As chexploration writes it."""
    scores, truth = race_scores(strength, seed)
    columns = {f"class_{at}": scores[:, at] for at in range(3)} | {
        f"logit_{at}": np.log(scores[:, at]) for at in range(3)
    }
    return pl.DataFrame(columns | ({"target": truth} if targets else {}))


def keyed(strength: float, seed: int = 0, *, per_patient: int = 3) -> pl.DataFrame:
    """As the study itself writes it."""
    scores, truth = race_scores(strength, seed)
    return pl.DataFrame(
        {
            "dataset": ["chexpert"] * N,
            "image_id": [f"image{at:03d}" for at in range(N)],
            "patient_id": [f"patient{at // per_patient:03d}" for at in range(N)],
            "race": [RACES[at] for at in truth],
        }
        | {f"prob_{name}": scores[:, at] for at, name in enumerate(RACES)}
    )


def write_theirs(folder: Path) -> Path:
    """A model of findings, and race on three backbones."""
    models = {
        "pathology": their_findings(),
        "race_frozen_pathology": their_race(1.2),
        "race_frozen_imagenet": their_race(0.7),
        "race_frozen_random": their_race(0.2),
    }
    for name, frame in models.items():
        (folder / name).mkdir(parents=True)
        frame.write_csv(folder / name / "test_predict_probability.csv")
    return folder
