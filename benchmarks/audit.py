"""Auditing a test set of published size: `python -m benchmarks.audit NAME` is one of the things compared, a process of its own.

`engine`: 38,240 images, 14 labels, 2,000 replicates by patient of AUROC, TPR and FPR for everybody and in 3 race, 2 sex and
8 age groups. `loop`: scikit-learn in a loop, as a notebook does it, on one label and a few replicates; it must come to the
same numbers.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np

from benchmarks.measure import Figure, Run, python, run
from cxrdata.audit.bootstrap import replicates
from cxrdata.audit.data import Grouping, Scored
from cxrdata.audit.engine import evaluate, prepared
from cxrdata.audit.request import AuditRequest

IMAGES = 38_240
PATIENTS = 12_300
LABELS = 14
REPLICATES = 2000
SLICE = 20  # replicates of one label that the loop does
LIMIT_SECONDS = 30
LIMIT_BYTES = 2_000_000_000
SHARES = (("race", ("White", "Asian", "Black"), (0.78, 0.15, 0.07)), ("sex", ("F", "M"), (0.45, 0.55)))
AGES = ("<=20", "<=30", "<=40", "<=50", "<=60", "<=70", "<=80", ">80")
REQUEST = AuditRequest(metrics=("auroc", "tpr", "fpr"), threshold="0.5", bootstrap=REPLICATES, gaps=False, threads=2)


def figures(*, runs: int) -> list[Figure]:
    """Seconds are those of the engine on arrays that are in memory; memory is that of the whole process."""
    engine = [_timed(run(python("benchmarks.audit", "engine"))) for _ in range(runs)]
    loop = [_timed(run(python("benchmarks.audit", "loop"))) for _ in range(runs)]
    ours = Figure(
        "AUROC, TPR, FPR of 14 labels: 38,240 images, 2,000 replicates, 14 groups",
        engine,
        limit=LIMIT_SECONDS,
        limit_bytes=LIMIT_BYTES,
    )
    part = LABELS * REPLICATES // SLICE
    whole = Figure("", loop).seconds * part
    note = f"1/{part:,} of it: {whole:,.0f} s for the whole, {whole / ours.seconds:,.0f} times as long"
    return [ours, Figure(f"scikit-learn in a loop, 1 label, {SLICE} replicates", loop, note=note)]


def _timed(whole: Run) -> Run:
    seconds, cpu = (float(word) for word in whole.stdout.split())
    return Run(seconds, cpu, whole.others, whole.samples)


def labels(n: int = LABELS) -> list[Scored]:
    """Labels of one model on the same images, of 1 % to 40 % prevalence; race and sex are the patient's."""
    rng = np.random.default_rng(0)
    who = np.sort(rng.integers(0, PATIENTS, IMAGES))
    groupings = [
        Grouping(by, values, rng.choice(len(values), PATIENTS, p=shares).astype(np.int32)[who])
        for by, values, shares in SHARES
    ]
    groupings.append(Grouping("age_group", AGES, rng.integers(0, len(AGES), IMAGES).astype(np.int32)))
    found = []
    for label in range(n):
        positive = rng.random(IMAGES) < rng.uniform(0.01, 0.4)
        scores = 1 / (1 + np.exp(-rng.normal(-1 + 1.3 * positive, 1)))
        found.append(
            Scored(
                "model",
                f"label {label}",
                "chexpert",
                "ignore",
                scores,
                positive,
                who,
                np.ones(IMAGES),
                tuple(groupings),
                probabilities=True,
            )
        )
    return found


def _loop(scored: Scored) -> list[list[float]]:
    """AUROC, TPR and FPR of everybody and of each group, of images taken together patient by patient."""
    from sklearn.metrics import confusion_matrix, roc_auc_score

    who = np.unique(scored.patients, return_inverse=True)[1]
    drawn = replicates(np.zeros(who.max() + 1, np.intp), REQUEST.seed, range(SLICE))
    groups = [np.ones(IMAGES, np.bool_)]
    groups += [one.codes == at for one in scored.groupings for at in range(len(one.values))]
    found = []
    for counts in drawn:
        images = np.arange(IMAGES).repeat(counts[who])
        values = []
        for own in groups:
            chosen = images[own[images]]
            positive, scores = scored.positive[chosen], scored.scores[chosen]
            (tn, fp), (fn, tp) = confusion_matrix(positive, scores >= 0.5, labels=[False, True])
            values += [roc_auc_score(positive, scores), tp / (tp + fn), fp / (fp + tn)]
        found.append(values)
    return found


def main(name: str) -> None:
    """Print the seconds and CPU seconds that the named thing took."""
    scored = labels(LABELS if name == "engine" else 1)
    started, cpu = time.perf_counter(), time.process_time()
    found = _loop(scored[0]) if name == "loop" else evaluate(scored, REQUEST)
    print(time.perf_counter() - started, time.process_time() - cpu)
    if isinstance(found, list):
        subject = prepared(scored[0], replace(REQUEST, bootstrap=SLICE))
        ours = np.concatenate([part.replicates.transpose(0, 2, 1).reshape(SLICE, -1) for part in subject.parts], axis=1)
        if not np.abs(ours - np.array(found)).max() <= 1e-12:
            raise SystemExit("the loop and the engine differ")


if __name__ == "__main__":
    main(sys.argv[1])
