"""The images that thresholds are chosen on: others than those that they are judged on, and of other patients."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from cxrdata.audit.assemble import coverage, scored
from cxrdata.audit.data import Scored
from cxrdata.audit.policies import Policy
from cxrdata.audit.predictions import Predictions, Table, read_predictions
from cxrdata.audit.thresholds import Rule
from cxrdata.audit.truth import Judged, TruthSource
from cxrdata.errors import CxrError
from cxrdata.wording import counted

PARTS = ("calibration", "valid")
_FIXED = "fixed"
_FILE_SUFFIXES = (".csv", ".tsv", ".txt", ".gz", ".parquet")
_SAME = "the threshold is chosen on the very images that it is judged on, which flatters the model: choose it on others with --calibrate-on"


@dataclass(frozen=True)
class Calibration:
    """What choosing thresholds needs: the models, the images they are judged on, labels, the policy of the truth."""

    source: TruthSource
    models: list[Predictions]
    judged: Judged
    labels: list[str]
    policy: Policy
    by: str | None
    key: str | None


@dataclass(frozen=True)
class Calibrated:
    """The calibration set by model and label; empty where thresholds are fixed, or chosen where they are judged."""

    scored: Mapping[tuple[str, str], Scored] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def calibrate(
    wish: Calibration,
    *,
    threshold: str | None,
    on: str | os.PathLike[str] | None,
    among: str | None,
    allow_shared_patients: bool,
) -> Calibrated:
    """The calibration images. on: a file of predictions of the one model, or `NAME[:PART]` of the splits.

    Raises CxrError: CXR-101, CXR-125, CXR-127, CXR-501, CXR-502 and those of a file of predictions.
    """
    if threshold is None or Rule.parse(threshold).kind == _FIXED:
        if on is not None:
            problem = "--calibrate-on has nothing to choose" + (": the threshold is given" if threshold else "")
            raise CxrError("CXR-502", problem, fix="add --threshold youden, f1, fpr=RATE or tpr=RATE, or leave it out")
        return Calibrated()
    by = [wish.by] if wish.by else []
    if on is None:
        # Among the healthy nobody is positive, so a threshold can only be chosen on all.
        whole = scored(wish.models, wish.judged, wish.labels, by=by) if among else []
        return Calibrated(_by_name(whole), [_SAME])
    models, images, notes = _images(wish, on)
    judged = wish.source.judged(images, wish.labels, by, wish.policy, None)
    shared = wish.judged.frame["unit"].unique()
    both = judged.frame.filter(pl.col("unit").is_in(shared.implode()))
    if not both.is_empty() and not allow_shared_patients:
        n = both["unit"].n_unique()
        raise CxrError(
            "CXR-127",
            f"{counted(n, 'patient')} with {counted(both.height, 'image')} of the calibration set {'are' if n > 1 else 'is'} in the test set too",
            where=str(on) if not Path(on).is_file() else Path(on).name,
            fix="choose the threshold on other patients, such as the valid part of a split; --allow-shared-patients takes it as it is",
        )
    found = _by_name(scored(models, judged, wish.labels, by=by))
    warnings = []
    if not both.is_empty():
        warnings.append(
            f"{counted(both['unit'].n_unique(), 'patient')} of the calibration set are judged too, which flatters the model"
        )
    missing = [label for label in wish.labels if not any(one == label for _, one in found)]
    if missing:
        warnings.append(f"{', '.join(missing)}: no truth in the calibration set; {_SAME}")
    return Calibrated(found, warnings, notes)


def _by_name(found: list[Scored]) -> dict[tuple[str, str], Scored]:
    return {(one.model, one.label): one for one in found}


def _images(wish: Calibration, on: str | os.PathLike[str]) -> tuple[list[Predictions], pl.DataFrame, list[str]]:
    """The models' scores of the calibration images, and these."""
    path = Path(on)
    if not path.is_file() and path.suffix.lower() not in _FILE_SUFFIXES:
        wanted = wish.source.subset(str(on), PARTS)
        images, notes = coverage(wish.models, wanted, f"the calibration split {on}")
        if images.is_empty():
            raise CxrError(
                "CXR-125",
                f"no image of the calibration split {on} is predicted",
                fix="predict its images too, or give their predictions as a file",
            )
        return wish.models, images, [note for note in notes if "outside" not in note]
    models = read_predictions(Table.of(path), wish.source, labels=wish.labels, key=wish.key)
    if len(wish.models) == len(models) == 1:
        models = [replace(models[0], name=wish.models[0].name)]
    names = [model.name for model in wish.models]
    if sorted(model.name for model in models) != sorted(names):
        raise CxrError(
            "CXR-502",
            f"the calibration file holds predictions of {', '.join(model.name for model in models)}, not of {', '.join(names)}",
            where=path.name,
            fix="audit one model at a time, or name the runs alike in a column run_id",
        )
    wanted = wish.source.everything().with_columns(weight=pl.lit(1.0))
    images, _ = coverage(models, wanted, path.name)
    return models, images, []
