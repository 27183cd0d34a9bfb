"""Unit ablation: what a model still says of an attribute, and of diseases, when units of its last layer are switched off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cxrtrain.bundle import HeadTargets
from cxrtrain.probe.heads import LinearHead
from cxrtrain.probe.rows import Target, row_of_draws, rows_with_intervals
from cxrtrain.probe.units import count_of, random_units, ranked, switched_off

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
DRAWS = 20


@dataclass(frozen=True)
class Reader:
    """A head that reads features: the run's own, or the probe's. by: which, in words."""

    head: HeadTargets
    linear: LinearHead
    by: str

    def scores(self, features: NDArray[np.float32], at: int) -> NDArray[np.float64]:
        """(images,) log-odds of one output: probabilities near 1 would be rounded to be equal."""
        said = self.linear.logits(torch.from_numpy(features)).double()
        if self.head.loss != "ce":
            return np.asarray(said[:, at])
        if self.head.kind == "binary":
            return np.asarray(said[:, 1] - said[:, 0])
        others = torch.arange(said.shape[1]) != at
        return np.asarray(said[:, at] - said[:, others].logsumexp(dim=1))


@dataclass(frozen=True)
class AblationRequest:
    """shares: of all units, to switch off. to: `mean` or `zero`. draws: of random units."""

    criteria: Sequence[str]
    shares: Sequence[float] = SHARES
    to: str = "mean"
    draws: int = DRAWS
    bootstrap: int = 2000
    seed: int = 0


def ablate(
    features: NDArray[np.float32],
    group: NDArray[np.int64],
    train: NDArray[np.int64],
    attribute: Reader,
    readers: Mapping[str, Reader],
    targets: Sequence[Target],
    patients: NDArray[np.int64],
    request: AblationRequest,
) -> list[dict[str, Any]]:
    """Rows of `probe.rows.SCHEMA`: nothing switched off, then by criterion and share, then as many random units.

    features: (all rows, units). group: (all rows,) class of the attribute; train: rows whose class is known, which alone rank
    the units and give their means. readers: by name of the head, those that targets ask, the attribute's included.
    """
    learnt = features[train].astype(np.float64)
    level = learnt.mean(axis=0).astype(np.float32) if request.to == "mean" else np.zeros(learnt.shape[1], np.float32)
    weight = attribute.linear.weight.detach().double().numpy()
    asked = []

    def said_without(
        units: NDArray[np.int64], said: dict[str, Any]
    ) -> list[tuple[Target, NDArray[np.float64], dict[str, Any]]]:
        made = []
        for target in targets:
            reader = readers[target.head]
            changed = switched_off(features[target.rows], units, level)
            made.append((target, reader.scores(changed, target.at), said | {"read_by": reader.by}))
        return made

    plain: dict[str, Any] = {"units": "none", "share": 0.0, "n_units": 0}
    asked += said_without(np.empty(0, np.int64), plain)
    n_units = features.shape[1]
    for criterion in request.criteria:
        order = ranked(criterion, learnt, group[train], classes=len(attribute.head.outputs), weight=weight)
        for share in request.shares:
            n = count_of(share, n_units)
            said = {"criterion": criterion, "share": share, "units": "ranked", "n_units": n, "switched_to": request.to}
            asked += said_without(order[:n], said)
    rows = rows_with_intervals(asked, patients, bootstrap=request.bootstrap, seed=request.seed)
    for share in request.shares:
        n = count_of(share, n_units)
        said = {"share": share, "units": "random", "n_units": n, "switched_to": request.to}
        draws = [
            said_without(random_units(n, n_units, seed=request.seed, draw=draw), said) for draw in range(request.draws)
        ]
        for at, target in enumerate(targets):
            rows.append(row_of_draws(target, [draw[at][1] for draw in draws], draws[0][at][2]))
    return rows
