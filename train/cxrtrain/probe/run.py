"""A probe from end to end: features by origin, a new head on each, unit ablation on the run's own, rows and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from cxrdata.errors import CxrError
from cxrtrain.distributed import Place
from cxrtrain.predict import load
from cxrtrain.probe.ablation import AblationRequest, Reader, ablate
from cxrtrain.probe.data import FINDINGS, ProbeData
from cxrtrain.probe.embedding import ORIGINS, features_of
from cxrtrain.probe.heads import LinearHead, fit_head
from cxrtrain.probe.rows import Target, frame_of, rows_with_intervals, targets_of_head

if TYPE_CHECKING:
    from cxrtrain.run_folder import Run

SPLIT_HEAD = "probe"  # who reads features where the run has no head of its own for the attribute
BACKBONE = "backbone"


@dataclass(frozen=True)
class Request:
    """origins: None takes all of them, and does without ImageNet where the backbone has no such weights. ablation: None
    for the probes alone."""

    attribute: str
    store: Path
    cache: Path
    origins: Sequence[str] | None = None
    ablation: AblationRequest | None = None
    bootstrap: int = 2000
    seed: int = 0
    device: str | None = None


def probe(
    run: Run,
    data: ProbeData,
    request: Request,
    *,
    tell: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> pl.DataFrame:
    """Rows of `probe.rows.SCHEMA`: of each origin how well a new linear head on its frozen features tells the attribute, on
    test images; then what switching units of the run's last layer off does.

    Raises CxrError: CXR-501 no such origin; those of `features_of`.
    """
    targets = data.bundle.targets(data.attribute)
    of_attribute = targets_of_head("attribute", data.attribute, targets, data.test)
    asked, fitted = [], {}
    for origin in request.origins or ORIGINS:
        try:
            features = _features(run, data, request, origin, tell, say)
        except CxrError as error:
            if request.origins is not None or origin != "imagenet" or error.code != "CXR-159":
                raise
            say(f"left out: {error.problem}")
            continue
        tell(f"{origin}: a new head")
        head = fitted[origin] = _fitted(features, data, request.seed)
        reader = Reader(data.attribute, head, SPLIT_HEAD)
        said = {
            "origin": origin,
            "frozen": BACKBONE,
            "units": "none",
            "share": 0.0,
            "n_units": 0,
            "read_by": SPLIT_HEAD,
        }
        asked += [(one, reader.scores(features[one.rows], one.at), said) for one in of_attribute]
    rows = rows_with_intervals(asked, data.patients, bootstrap=request.bootstrap, seed=request.seed)
    if request.ablation is not None:
        tell("switching units off")
        features = _features(run, data, request, "run", tell, say)
        head = fitted.get("run") or _fitted(features, data, request.seed)
        ablated = _ablated(run, data, features, head, of_attribute, request.ablation)
        # What the new head says with all units on stands above already.
        twice = [row["units"] == "none" and row["read_by"] == SPLIT_HEAD and "run" in fitted for row in ablated]
        rows += [
            {"origin": "run", "frozen": BACKBONE} | row for row, known in zip(ablated, twice, strict=True) if not known
        ]
    return frame_of([row | {"attribute": request.attribute} for row in rows])


def _features(
    run: Run,
    data: ProbeData,
    request: Request,
    origin: str,
    tell: Callable[[str], None],
    say: Callable[[str], None],
) -> NDArray[np.float32]:
    return features_of(
        run, origin, data.bundle, request.store, request.cache, device=request.device, tell=tell, say=say
    )


def _fitted(features: NDArray[np.float32], data: ProbeData, seed: int) -> LinearHead:
    whole = torch.from_numpy(features)
    return fit_head(
        lambda rows: whole[torch.from_numpy(rows)],
        data.classes,
        data.known(data.train),
        data.known(data.valid),
        classes=len(data.attribute.outputs),
        seed=seed,
    )


def _ablated(
    run: Run,
    data: ProbeData,
    features: NDArray[np.float32],
    fitted: LinearHead,
    of_attribute: Sequence[Target],
    request: AblationRequest,
) -> list[dict[str, Any]]:
    """On the run's own features, its own heads; its own for the attribute too, if it has one for the same classes."""
    net, _ = load(run, Place(0, 1, torch.device("cpu")))
    linear = {name: LinearHead.of(head) for name, head in net.heads.items()}
    own = own_head(run, data)
    readers = {data.attribute.name: Reader(data.attribute, linear[own] if own else fitted, own or SPLIT_HEAD)}
    targets = list(of_attribute)
    for head in data.bundle.heads[1:]:
        assert head.kind in FINDINGS
        readers[head.name] = Reader(head, linear[head.name], head.name)
        targets += targets_of_head("finding", head, data.bundle.targets(head), data.test)
    return ablate(
        features,
        data.classes,
        data.known(data.train),
        readers[data.attribute.name],
        readers,
        targets,
        data.patients,
        request,
    )


def own_head(run: Run, data: ProbeData) -> str | None:
    """The run's head for the attribute, of a model with two heads; None where it has none for these classes."""
    asked = data.experiment.heads[0]
    for config in run.experiment.heads:
        if config.kind == "classes" and config.attribute == asked.attribute:
            head = next(one for one in run.heads if one.name == config.name)
            if head.outputs == data.attribute.outputs:
                return head.name
    return None
