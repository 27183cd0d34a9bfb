"""How often the audit's 95 % intervals hold the truth: `python -m benchmarks.coverage [--simulations N] [--write]`.

Each simulation draws patients with one to eight images, whose scores and whose truth are alike within a patient, from a
population whose AUROC and rates are known exactly; the interval either holds them or not.
"""

from __future__ import annotations

import argparse
import math
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import NormalDist

import numpy as np

from cxrdata.audit.data import Scored
from cxrdata.audit.delong import delong
from cxrdata.audit.engine import prepared
from cxrdata.audit.intervals import Interval, interval_of, of_bootstrap
from cxrdata.audit.rates import Rate, wilson
from cxrdata.audit.request import AuditRequest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "audit_coverage.md"
POSITIVES = (10, 30, 100, 1000)
SIMULATIONS = 2000
REPLICATES = 1000
PREVALENCE = 0.2
SEPARATION = 1.8  # between the classes' mean scores, in standard deviations of an image's own noise
OF_PATIENT = 0.7  # standard deviation of what a patient's images have in common
THRESHOLD = 1.0
METRICS = ("auroc", "tpr", "fpr")
_SPREAD = NormalDist(0, math.hypot(1, OF_PATIENT))
TRUTH = {
    "auroc": NormalDist().cdf(SEPARATION / (math.sqrt(2) * _SPREAD.stdev)),
    "tpr": 1 - _SPREAD.cdf(THRESHOLD - SEPARATION),
    "fpr": 1 - _SPREAD.cdf(THRESHOLD),
}
NAMES = {
    "percentile": "bootstrap by patient, percentile",
    "bca": "bootstrap by patient, BCa",
    "delong": "DeLong by patient, logit, t",
    "wilson": "Wilson, effective n",
    "clopper_pearson": "Clopper-Pearson, effective n",
    "images": "images taken as independent",
}


def simulated(positives: int, seed: int) -> Scored:
    """A test set with about so many positives. A patient's chance to be positive varies as Beta(0.3, 1.2)."""
    rng = np.random.default_rng((positives, seed))
    wanted = round(positives / PREVALENCE)
    sizes = np.minimum(rng.geometric(0.4, wanted), 8)
    sizes = sizes[: int(np.searchsorted(np.cumsum(sizes), wanted)) + 1]
    who = np.repeat(np.arange(len(sizes)), sizes)
    n = len(who)
    positive = rng.random(n) < rng.beta(0.3, 1.2, len(sizes))[who]
    scores = SEPARATION * positive + OF_PATIENT * rng.normal(size=len(sizes))[who] + rng.normal(size=n)
    return Scored(
        "model", "label", "truth", "ignore", scores, positive, who.astype(np.int64), np.ones(n), (), probabilities=False
    )  # fmt: skip


def intervals(scored: Scored, replicates: int, seed: int) -> dict[tuple[str, str], Interval]:
    """Every interval of every metric, the bootstrap's from one set of replicates."""
    request = AuditRequest(
        metrics=METRICS,
        threshold=str(THRESHOLD),
        bootstrap=replicates,
        interval="bca",
        gaps=False,
        seed=seed,
        threads=1,
    )
    subject = prepared(scored, request)
    everybody = subject.parts[0]
    found = {}
    for method in NAMES:
        for at, metric in enumerate(METRICS):
            if method in {"percentile", "bca"}:
                subject.request = replace(request, interval=method)
                found[metric, method] = of_bootstrap(subject, everybody, metric, 0)
                continue
            if method == "delong" and metric == "auroc":
                subject.request = replace(request, auroc="delong")
            elif method in {"wilson", "clopper_pearson"} and metric != "auroc":
                subject.request = replace(request, rates=method)
            elif method == "images":
                low, high = _of_images(scored, metric, float(everybody.points[at, 0]))
                found[metric, method] = Interval(low, high)
                continue
            else:
                continue
            found[metric, method] = interval_of(subject, everybody, metric, 0)
    return found


def _of_images(scored: Scored, metric: str, estimate: float) -> tuple[float, float]:
    if metric == "auroc":
        return delong(scored.scores[None], scored.positive).interval(0)
    n = int(scored.positive.sum() if metric == "tpr" else (~scored.positive).sum())
    return wilson(Rate(estimate, float(n)))


def counted(positives: int, seeds: Sequence[int], *, replicates: int) -> Counter[tuple[str, str, str]]:
    """Over some simulations: how often each interval `held` the truth, was `missing`, lay `above` or `below` it, and the
    sum of `width`s, in millionths so that sums do not depend on their order."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for seed in seeds:
        for (metric, method), one in intervals(simulated(positives, seed), replicates, seed).items():
            if math.isnan(one.low):
                counts[metric, method, "missing"] += 1
                continue
            side = "above" if one.low > TRUTH[metric] else "below" if one.high < TRUTH[metric] else "held"
            counts[metric, method, side] += 1
            counts[metric, method, "width"] += round(1e6 * (one.high - one.low))
    return counts


def page(found: dict[int, Counter[tuple[str, str, str]]], simulations: int) -> str:
    """The table, as Markdown."""
    error = 100 * math.sqrt(0.95 * 0.05 / simulations)
    head = f"""# Coverage of the audit's intervals

How often a 95 % interval holds the truth, in {simulations:,} simulations each; written by
`python -m benchmarks.coverage --write`, and repeatable: every simulation has its seed. The error of a percentage near 95 is
{error:.1f}. The bootstrap has {REPLICATES:,} replicates.

A simulation draws patients with one to eight images (2.5 on average). Scores of a patient's images are correlated
({OF_PATIENT**2 / (1 + OF_PATIENT**2):.2f} within a class), and so is their truth; a fifth of the images is positive. The AUROC (of images of
different patients) is {TRUTH["auroc"]:.3f}; at the threshold, which is fixed, the TPR is {TRUTH["tpr"]:.3f} and the FPR {TRUTH["fpr"]:.3f}.
Positives are the expected number. *Missing*: simulations without an interval, as where no positive was drawn; coverage is
of the others. *Images taken as independent* (DeLong 1988, likewise; Wilson) is what ignoring patients gives.
"""
    lines = [head]
    for metric in METRICS:
        lines += [
            f"## {metric.upper()}\n",
            "| positives | interval | holds the truth, % | too high, % | too low, % | mean width | missing |",
            "|---|---|---|---|---|---|---|",
        ]
        for positives, counts in found.items():
            for method, name in NAMES.items():
                held, above, below = (counts[metric, method, side] for side in ("held", "above", "below"))
                if total := held + above + below:
                    shares = [f"{100 * one / total:.1f}" for one in (held, above, below)]
                    width = counts[metric, method, "width"] / 1e6 / total
                    cells = [f"{positives:,}", name, *shares, f"{width:.3f}", str(counts[metric, method, "missing"])]
                    lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join([*lines, *_reading(found)])


def _reading(found: dict[int, Counter[tuple[str, str, str]]]) -> list[str]:
    """What the table says, in numbers of its own."""
    if not found:
        return []
    few, many = min(found), max(found)

    def share(positives: int, metric: str, method: str) -> str:
        counts = [found[positives][metric, method, side] for side in ("held", "above", "below")]
        return f"{100 * counts[0] / sum(counts):.1f}"

    def worst(method: str) -> str:
        return min((share(positives, rate, method) for positives in found for rate in ("tpr", "fpr")), key=float)

    text = f"""## What follows

- With {few} positives the percentile interval of an AUROC is too narrow ({share(few, "auroc", "percentile")} %), and lies too high; BCa comes to
  {share(few, "auroc", "bca")} %, DeLong's by patient to {share(few, "auroc", "delong")} %. With {many:,} they agree.
- Of rates, Wilson's intervals on the effective number of images hold the truth in {worst("wilson")} % at worst, Clopper-Pearson's, which
  are wider, in {worst("clopper_pearson")} %; the bootstrap's percentiles in {worst("percentile")} %.
- Taking images as independent does not get better with more of them: with {many:,} positives {share(many, "auroc", "images")} % for the
  AUROC and {share(many, "fpr", "images")} % for the FPR, for the patients remain as alike as they were.
"""
    return [text]


def main() -> None:
    """Simulate, print the page, and write it if wanted."""
    parser = argparse.ArgumentParser(description="Measure the coverage of the audit's intervals.")
    parser.add_argument("--simulations", type=int, default=SIMULATIONS)
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--write", action="store_true", help="write docs/audit_coverage.md")
    arguments = parser.parse_args()
    found = {}
    with ProcessPoolExecutor(arguments.processes) as pool:
        for positives in POSITIVES:
            blocks = [range(at, min(at + 20, arguments.simulations)) for at in range(0, arguments.simulations, 20)]
            parts = pool.map(partial(counted, positives, replicates=REPLICATES), blocks)
            found[positives] = sum(parts, Counter())
    text = page(found, arguments.simulations)
    print(text)
    if arguments.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
