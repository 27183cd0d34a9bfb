"""From which score on an image is called positive: chosen on the images that the run was validated on, never on those shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cxrdata.audit.data import Scored
from cxrdata.audit.engine import THRESHOLD, evaluate
from cxrdata.audit.request import AuditRequest
from cxrdata.audit.thresholds import Rule
from cxrdata.errors import CxrError
from cxrtrain.bundle import open_bundle
from cxrtrain.choice import has_own_bundle
from cxrtrain.explain.question import Output
from cxrtrain.predict import Asked, predict
from cxrtrain.run_folder import BUNDLE, Run


def threshold_of(
    run: Run,
    output: Output,
    rule: str,
    store: Path,
    *,
    device: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> float:
    """rule: `youden`, `f1`, `fpr=X`, `tpr=X`, or a number, which is then the threshold.

    Raises CxrError: CXR-502 no such rule, a head of numbers, a run without a bundle of its own, or one class alone there.
    """
    if output.head.kind == "regression":
        problem = f"head {output.head.name!r} says a number, which is no false positive of anything"
        raise CxrError("CXR-502", problem, fix="name a head of findings or classes")
    parsed = Rule.parse(rule)
    if parsed.kind == "fixed":
        return parsed.value
    fix = "--threshold P, a number"
    if not has_own_bundle(run):
        problem = "the run keeps no bundle of its own, so there are no images to choose a threshold on"
        raise CxrError("CXR-502", problem, where=str(run.folder.path), fix=fix)
    bundle = open_bundle(run.folder.path / BUNDLE)
    fold = run.about.get("fold")
    chosen = np.zeros(len(bundle), dtype=np.bool_)
    chosen[bundle.rows(run.experiment.data.valid, fold=tuple(fold) if fold else None)] = True
    said = predict(run, Asked(bundle.only(chosen), store, device=device, skip_missing=True), tell=tell)
    head = next(one for one in said.bundle.heads if one.name == output.head.name)
    targets = said.bundle.targets(head)[:, output.at if head.kind == "multilabel" else 0]
    known = ~np.isnan(targets)
    positive = targets[known] == (output.at if head.kind == "classes" else 1)
    n = len(positive)
    scored = Scored(
        model=run.run_id, label=output.name, truth="", policy="", scores=np.asarray(output.scores(said.outputs[head.name]))[known],
        positive=positive, patients=np.arange(n), weights=np.ones(n), groupings=(), probabilities=True,
    )  # fmt: skip
    rows = evaluate([scored], AuditRequest(metrics=("tpr",), threshold=rule, bootstrap=0, gaps=False))
    found = rows.filter(metric=THRESHOLD)["estimate"][0]
    if found is None:
        problem = f"the run's {n} validation images with a known {output.name} are all of one class"
        raise CxrError("CXR-502", problem, fix=fix)
    return float(found)
