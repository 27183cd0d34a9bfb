"""Synthetic labels of the CheXpert labeler: fourteen findings a study.

Shared by CheXpert and MIMIC-CXR, whose labels come from the same tool. States are
int8: 1 positive, 0 negative, -1 uncertain, `UNMENTIONED` blank. No Finding is 1 or blank and
never stands beside a positive or uncertain pathology (Support Devices are none), as in the
official train.csv.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from cxrdata.sources.drawing.totals import (
    Floats,
    Ints,
    apportion,
    shuffled_classes,
    take_rows,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

States = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]

FINDINGS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
NO_FINDING, ENLARGED, CARDIOMEGALY, LUNG_OPACITY = 0, 1, 2, 3
OPACITY_CHILDREN = (4, 5, 6, 7, 8)
PNEUMOTHORAX = 9
PATHOLOGIES = slice(1, 13)
SUPPORT_DEVICES = 13
UNMENTIONED = -2


@dataclass(frozen=True)
class Shares:
    """Shares (0 to 1) of rows positive, negative and uncertain for each of `FINDINGS`."""

    positive: tuple[float, ...]
    negative: tuple[float, ...]
    uncertain: tuple[float, ...]

    def reduced(self, factor: float, *, no_finding: float, devices: float) -> Shares:
        """The same with every pathology's positive and uncertain share times `factor`."""
        positive = (
            no_finding,
            *(factor * share for share in self.positive[PATHOLOGIES]),
            devices,
        )
        uncertain = tuple(factor * share for share in self.uncertain)
        return Shares(positive, self.negative, uncertain)


# Rounded shares of CheXpert's train.csv, in the order of FINDINGS.
CHEXPERT_SHARES = Shares(
    positive=(
        0.10,
        0.05,
        0.12,
        0.47,
        0.04,
        0.23,
        0.07,
        0.03,
        0.15,
        0.09,
        0.39,
        0.02,
        0.04,
        0.52,
    ),
    negative=(
        0.00,
        0.10,
        0.05,
        0.03,
        0.01,
        0.09,
        0.13,
        0.01,
        0.01,
        0.25,
        0.16,
        0.00,
        0.01,
        0.03,
    ),
    uncertain=(
        0.00,
        0.06,
        0.04,
        0.03,
        0.01,
        0.06,
        0.12,
        0.08,
        0.15,
        0.01,
        0.05,
        0.01,
        0.00,
        0.00,
    ),
)


@dataclass(frozen=True)
class RowTargets:
    """How many rows must show each pattern that readers of these labels stumble over."""

    no_finding: int
    no_finding_with_devices: int
    no_finding_with_uncertain_devices: int
    any_uncertain: int
    unremarkable: int  # No Finding blank, yet no positive or uncertain pathology
    all_blank: int  # part of `unremarkable`
    cardiomegaly_enlarged_negative: int  # Cardiomegaly 1 beside Enlarged Cardiomediastinum 0
    cardiomegaly_enlarged_blank: int
    child_without_opacity: int  # a positive kind of opacity, Lung Opacity not 1


@dataclass(frozen=True)
class _Draft:
    """The labels being drawn: `states` (studies, 14) is filled in place."""

    rng: np.random.Generator
    states: States
    rows: Ints
    shares: Shares
    targets: RowTargets


def study_labels(rng: np.random.Generator, rows: Ints, shares: Shares, targets: RowTargets) -> States:
    """States of shape (studies, 14); `rows` is each study's number of images.

    `targets` are met in rows, exactly where the studies allow it.
    """
    states = np.full((len(rows), len(FINDINGS)), UNMENTIONED, dtype=np.int8)
    draft = _Draft(rng, states, rows, shares, targets)
    order = rng.permutation(len(rows))
    healthy = take_rows(order, rows, targets.no_finding)
    order = without(order, healthy)
    unremarkable = take_rows(order, rows, targets.unremarkable)
    blank = take_rows(unremarkable, rows, targets.all_blank)

    states[healthy, NO_FINDING] = 1
    _fill_abnormal(draft, without(order, unremarkable))
    _fill_negative(draft)
    _fill_devices(draft, healthy)
    empty = unremarkable[(states[unremarkable] == UNMENTIONED).all(axis=1)]
    states[empty, PNEUMOTHORAX] = 0
    states[blank] = UNMENTIONED
    _break_cardiac_hierarchy(draft)
    _break_opacity_hierarchy(draft)
    return states


def _fill_abnormal(draft: _Draft, abnormal: Ints) -> None:
    """Positive and uncertain pathologies: one at least in every abnormal study."""
    rows, targets = draft.rows, draft.targets
    total = int(rows.sum())
    doubtful = take_rows(abnormal, rows, targets.any_uncertain - targets.no_finding_with_uncertain_devices)
    certain = without(abnormal, doubtful)
    share_doubtful = rows[doubtful].sum() / total
    share_certain = rows[certain].sum() / total

    uncertain = np.asarray(draft.shares.uncertain[PATHOLOGIES])
    first = uncertain / uncertain.sum()
    wanted = uncertain / share_doubtful
    _fill(draft, doubtful, -1, (wanted - first) / (1 - first), first)

    positive = np.asarray(draft.shares.positive[PATHOLOGIES])
    first = positive / positive.sum()
    more = (positive - share_certain * first) / (
        share_certain * (1 - first) + share_doubtful * (1 - np.minimum(wanted, 0.9))
    )
    _fill(draft, certain, 1, more, first)
    _fill(draft, doubtful, 1, more)


def _fill(draft: _Draft, studies: Ints, state: int, more: Floats, first: Floats | None = None) -> None:
    """Give each study one pathology by the shares `first`, and others with probability `more`,
    leaving cells that are already filled."""
    marked: Bools = draft.rng.random((len(studies), len(more))) < more
    if first is not None:
        chosen = shuffled_classes(draft.rng, apportion(len(studies), first.tolist(), at_least=0))
        marked[np.arange(len(studies)), chosen] = True
    block = draft.states[studies, PATHOLOGIES]
    block[marked & (block == UNMENTIONED)] = state
    draft.states[studies, PATHOLOGIES] = block


def _fill_negative(draft: _Draft) -> None:
    shares = draft.shares
    room = 1 - np.asarray(shares.positive[PATHOLOGIES]) - np.asarray(shares.uncertain[PATHOLOGIES])
    chance = np.asarray(shares.negative[PATHOLOGIES]) / room
    block = draft.states[:, PATHOLOGIES]
    block[(draft.rng.random(block.shape) < chance) & (block == UNMENTIONED)] = 0


def _fill_devices(draft: _Draft, healthy: Ints) -> None:
    rows, targets = draft.rows, draft.targets
    negative = draft.shares.negative[SUPPORT_DEVICES]
    total = int(rows.sum())
    outside = (draft.shares.positive[SUPPORT_DEVICES] * total - targets.no_finding_with_devices) / (
        total - targets.no_finding
    )
    draw = draft.rng.random(len(rows))
    devices = np.where(draw < outside, 1, np.where(draw > 1 - negative, 0, UNMENTIONED))
    devices[healthy] = np.where(draw[healthy] < negative, 0, UNMENTIONED)
    order = draft.rng.permutation(healthy)
    doubtful = take_rows(order, rows, targets.no_finding_with_uncertain_devices)
    devices[doubtful] = -1
    devices[take_rows(without(order, doubtful), rows, targets.no_finding_with_devices)] = 1
    draft.states[:, SUPPORT_DEVICES] = devices


def _break_cardiac_hierarchy(draft: _Draft) -> None:
    """Enlarged Cardiomediastinum is mostly blank, and at times negative, beside Cardiomegaly."""
    rows, targets = draft.rows, draft.targets
    enlarged = draft.states[:, ENLARGED]
    hearts = draft.rng.permutation(np.flatnonzero(draft.states[:, CARDIOMEGALY] == 1))
    enlarged[hearts[enlarged[hearts] == 0]] = UNMENTIONED
    blank = hearts[enlarged[hearts] == UNMENTIONED]
    enlarged[take_rows(blank, rows, targets.cardiomegaly_enlarged_negative)] = 0
    blank = hearts[enlarged[hearts] == UNMENTIONED]
    excess = int(rows[blank].sum()) - targets.cardiomegaly_enlarged_blank
    if excess > 0:
        enlarged[take_rows(blank, rows, excess)] = 1
    else:
        enlarged[take_rows(hearts[enlarged[hearts] == 1], rows, -excess)] = UNMENTIONED


def _break_opacity_hierarchy(draft: _Draft) -> None:
    """A positive kind of opacity often stands without Lung Opacity."""
    rng, states, rows = draft.rng, draft.states, draft.rows
    opacity = states[:, LUNG_OPACITY]
    with_child = rng.permutation(np.flatnonzero((states[:, OPACITY_CHILDREN] == 1).any(axis=1)))
    lacking = with_child[opacity[with_child] != 1]
    excess = int(rows[lacking].sum()) - draft.targets.child_without_opacity
    if excess > 0:
        # An uncertain Lung Opacity stays: it may be the row's only uncertain finding.
        opacity[take_rows(lacking[opacity[lacking] != -1], rows, excess)] = 1
        return
    opacity[take_rows(with_child[opacity[with_child] == 1], rows, -excess)] = UNMENTIONED
    # The same number of rows elsewhere gain it, so that it stays as frequent as asked.
    abnormal = np.isin(states[:, PATHOLOGIES], (1, -1)).any(axis=1) & (opacity == UNMENTIONED)
    childless = without(np.flatnonzero(abnormal), with_child)
    opacity[take_rows(rng.permutation(childless), rows, -excess)] = 1


def other_labeler(rng: np.random.Generator, states: States, agreement: float) -> States:
    """The states another labeler gives the same reports: about `agreement` (0 to 1) of the cells
    equal, each finding about as frequent, No Finding consistent with the rest."""
    others = states.copy()
    # Reports without a finding leave labelers little to disagree on.
    plain = (states[:, NO_FINDING] == 1) & (rng.random(len(states)) < agreement)
    for column in range(1, len(FINDINGS)):
        _, counts = np.unique(states[:, column], return_counts=True)
        chance = 1 - float(np.square(counts / len(states)).sum())
        redrawn = rng.random(len(states)) < min((1 - agreement) / max(chance, 0.01), 1.0)
        redrawn &= ~plain
        others[redrawn, column] = rng.permutation(states[:, column])[redrawn]
    finding = np.isin(others[:, PATHOLOGIES], (1, -1)).any(axis=1)
    cleared = ~finding & (rng.random(len(states)) < agreement)
    keeps = (states[:, NO_FINDING] == 1) | (states[:, PATHOLOGIES] == 1).any(axis=1)
    others[:, NO_FINDING] = np.where(cleared & keeps, 1, UNMENTIONED)
    emptied = (others == UNMENTIONED).all(axis=1)
    others[emptied] = states[emptied]
    return others


def binary_labels(rng: np.random.Generator, states: States, rows: Ints, positive_rows: Sequence[int]) -> States:
    """States 0 and 1 only: `positive_rows` (rows, by pathology and Support Devices) positive,
    first among studies that `states` calls positive or uncertain; No Finding is 1 in the rest."""
    binary = np.zeros_like(states)
    for column, target in enumerate(positive_rows, start=1):
        mentioned = np.isin(states[:, column], (1, -1))
        order = np.argsort(rng.random(len(states)) - mentioned, kind="stable")
        binary[take_rows(order, rows, target), column] = 1
    binary[:, NO_FINDING] = ~(binary[:, PATHOLOGIES] == 1).any(axis=1)
    return binary


def label_frame(states: States, names: Sequence[str] = FINDINGS) -> pl.DataFrame:
    """One Float64 column a finding (`names` in the order of FINDINGS), blank as null."""
    return pl.DataFrame(
        {
            name: pl.Series(name, states[:, column].astype(np.float64)).replace(float(UNMENTIONED), None)
            for column, name in enumerate(names)
        }
    )


def reader_labels(rng: np.random.Generator, n: int) -> States:
    """Radiologists' consensus on `n` studies: 0 and 1 only, parents of a positive finding positive
    and No Finding 1 exactly where there is no pathology and no device."""
    shares = (
        0.0,
        0.15,
        0.28,
        0.30,
        0.02,
        0.18,
        0.07,
        0.02,
        0.25,
        0.03,
        0.22,
        0.01,
        0.02,
        0.45,
    )
    healthy = np.arange(n) < -(-n // 6)
    drawn = rng.random((n, len(FINDINGS))) < shares
    states: States = (drawn & ~rng.permutation(healthy)[:, None]).astype(np.int8)
    states[:, ENLARGED] |= states[:, CARDIOMEGALY]
    states[:, LUNG_OPACITY] |= states[:, OPACITY_CHILDREN].max(axis=1)
    states[:, NO_FINDING] = ~states.any(axis=1)
    return states
