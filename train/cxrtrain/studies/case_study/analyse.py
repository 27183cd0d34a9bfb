"""The analysis: thresholds, false positive rates by age, trends, sensitivity; by the published rules and by careful ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cxrdata.audit.engine import evaluate
from cxrdata.errors import CxrError
from cxrdata.wording import counted
from cxrtrain.studies.case_study import design
from cxrtrain.studies.case_study.beyond import SENSITIVITY, TREND_REPLICATES, TRENDS, scored, sensitivity, trends
from cxrtrain.studies.case_study.design import ADULT_TEST, CALIBRATION, CAREFUL, CHILD_TEST, bins_of
from cxrtrain.studies.case_study.files import TABLE
from cxrtrain.studies.case_study.fpr import COLUMNS, DETAILS, Wish, fpr_rows, place
from cxrtrain.studies.case_study.predictions import Cases

THRESHOLDS = {
    "trained_on": pl.String, "rules": pl.String, "blend": pl.Float64, "threshold": pl.Float64, "n": pl.Int64,
    "n_positive": pl.Int64, "auroc": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64,
}  # fmt: skip
_TABLES = {"details": DETAILS, "thresholds": THRESHOLDS, "sensitivity": SENSITIVITY, "trends": TRENDS}
_NOTES = "notes.json"


@dataclass(frozen=True)
class Analysis:
    """What came of it, a frame a table. details: the rows of fpr_by_age.csv with patients, method and note."""

    details: pl.DataFrame
    thresholds: pl.DataFrame
    sensitivity: pl.DataFrame
    trends: pl.DataFrame
    notes: list[str] = field(default_factory=list)
    synthetic: bool = False

    @property
    def fpr_by_age(self) -> pl.DataFrame:
        """The rows of CONTRACT §7."""
        return self.details.select(*COLUMNS)

    def save(self, folder: Path) -> None:
        """Write every table, and the notes."""
        for name in _TABLES:
            getattr(self, name).write_csv(folder / f"{name}.csv")
        self.fpr_by_age.write_csv(folder / TABLE)
        said = {"notes": self.notes, "synthetic": self.synthetic}
        (folder / _NOTES).write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Analysis:
        """What `save` wrote."""
        tables = {name: pl.read_csv(folder / f"{name}.csv", schema=schema) for name, schema in _TABLES.items()}
        said = json.loads((folder / _NOTES).read_text(encoding="utf-8"))
        return cls(**tables, notes=said["notes"], synthetic=said["synthetic"])


def analyse(
    cases: Cases, wish: Wish, *, synthetic: bool = False, tell: Callable[[str], None] = lambda _: None
) -> Analysis:
    """The whole analysis.

    Raises CxrError: CXR-124 a model without calibration images, or with one class of them; CXR-125 no healthy image of known
    age is predicted.
    """
    notes = [*cases.notes, *_missing(cases.frame)]
    healthy = cases.frame.filter(
        pl.col("healthy").fill_null(value=False), pl.col("part").is_in([ADULT_TEST, CHILD_TEST])
    )
    if healthy.filter(pl.col("age_low_years").is_not_null()).is_empty():
        raise CxrError(
            "CXR-125",
            f"none of {counted(healthy.height, 'prediction')} of healthy people tells the age",
            fix="predict the parts test_healthy_adult and test_pediatric, and give their ages, or a catalog that knows them",
        )
    thresholds = _thresholds(cases.frame, wish, notes)
    chosen = {
        (row["trained_on"], row["rules"], row["blend"]): row["threshold"] for row in thresholds.iter_rows(named=True)
    }
    details = fpr_rows(healthy, chosen, wish, tell)
    if CAREFUL in wish.rules:
        notes += _left_out(healthy)
    return Analysis(
        details,
        thresholds,
        sensitivity(cases.frame, chosen, wish, notes),
        trends(healthy, chosen, wish, notes),
        notes,
        synthetic,
    )


def _missing(frame: pl.DataFrame) -> list[str]:
    """Models and tests of the publication that are not here."""
    own = set(frame["trained_on"].unique().to_list())
    notes = []
    if lacking := [design.NAMES[one] for one in design.TRAINED_ON if one not in own]:
        notes.append(f"no predictions of a model trained on {', '.join(lacking)}")
    for trained_on in (one for one in design.TRAINED_ON if one in own):
        judged = frame.filter(pl.col("trained_on") == trained_on, pl.col("blend") == 0.0, pl.col("part") != CALIBRATION)
        there = set(judged["dataset"].unique().to_list())
        if without := [design.NAMES[one] for one in design.DATASETS if one not in there]:
            notes.append(f"the model trained on {design.NAMES[trained_on]} is not tested on {', '.join(without)}")
    return notes


def _thresholds(frame: pl.DataFrame, wish: Wish, notes: list[str]) -> pl.DataFrame:
    """Of each model and blend the threshold of the highest Youden's J on the calibration part of its training dataset.

    Raises CxrError CXR-124 where that part is not predicted, or holds one class alone.
    """
    rows = []
    request = replace(wish.request, bootstrap=min(wish.bootstrap, TREND_REPLICATES))
    for (trained_on, blend), own in frame.group_by("trained_on", "blend", maintain_order=True):
        images = own.filter(
            pl.col("dataset") == trained_on, pl.col("part") == CALIBRATION, pl.col("positive").is_not_null()
        )
        lacking = [word for word, value in (("positive", True), ("negative", False)) if value not in images["positive"]]
        if lacking and blend:
            notes.append(
                f"{trained_on}, blend {blend:g}: no threshold: its calibration part lacks {' and '.join(lacking)} images"
            )
            continue
        if lacking:
            said = "is not predicted" if len(lacking) == 2 else f"holds no {lacking[0]} image"
            raise CxrError(
                "CXR-124",
                f"the threshold of the model trained on {trained_on} cannot be chosen: the calibration part of {trained_on} {said}",
                where=f"blend {blend:g}",
                fix=f"predict the images of {trained_on} in the part {CALIBRATION}, both with and without {design.FINDING}",
            )
        answer = evaluate([scored(images, str(trained_on))], request)
        (auroc,) = answer.filter(metric="auroc").iter_rows(named=True)
        exact = answer.filter(metric="threshold")["estimate"][0]
        lowest = lowest_youden(images["probability"].to_numpy(), images["positive"].to_numpy())
        common = {
            "trained_on": trained_on, "blend": blend, "n": images.height, "n_positive": auroc["n_positive"],
            "auroc": auroc["estimate"], "ci_low": auroc["ci_low"], "ci_high": auroc["ci_high"],
        }  # fmt: skip
        rows += [common | {"rules": rules, "threshold": exact if rules == CAREFUL else lowest} for rules in wish.rules]
    return pl.DataFrame(rows, schema=THRESHOLDS, orient="row")


def lowest_youden(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The published threshold: the lowest score of the highest TPR - FPR, rounded to four digits."""
    candidates = np.unique(scores)
    called = scores[None, :] >= candidates[:, None] if len(candidates) * len(scores) < 1 << 24 else None
    if called is not None:
        worth = called[:, positive].mean(axis=1) - called[:, ~positive].mean(axis=1)
    else:
        above = [
            np.searchsorted(np.sort(scores[one]), candidates, side="left") / one.sum() for one in (positive, ~positive)
        ]
        worth = above[1] - above[0]
    return round(float(candidates[np.flatnonzero(worth >= worth.max() - 1e-12)[0]]), 4)


def _left_out(healthy: pl.DataFrame) -> list[str]:
    """Healthy images that the careful rules have in no bin."""
    once = healthy.unique(["dataset", "image_id", "part"], maintain_order=True)
    notes = []
    if ageless := once["age_low_years"].null_count():
        notes.append(f"{counted(ageless, 'healthy image')} without an age, left out")
    known = once.filter(pl.col("age_low_years").is_not_null())
    for part in (ADULT_TEST, CHILD_TEST):
        own = known.filter(part=part)
        if outside := int((place(own, bins_of(part, CAREFUL), CAREFUL) < 0).sum()):
            notes.append(
                f"{part}: {counted(outside, 'healthy image')} in the overall rows alone: the age fits no bin, or leaves it open"
            )
    return notes
