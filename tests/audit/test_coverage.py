"""The 95 % intervals hold the truth about that often: the small form of `benchmarks/coverage.py`, patients clustered."""

from __future__ import annotations

import pytest

from benchmarks.coverage import NAMES, PAGE, POSITIVES, TRUTH, counted, page, simulated

SIMULATIONS = 150
# Out of 150 at 95 %, 133 or fewer held happen once in a thousand; narrower intervals fail.
LOWEST = 134


@pytest.fixture(scope="module")
def counts() -> dict[tuple[str, str, str], int]:
    return counted(100, range(SIMULATIONS), replicates=200)


@pytest.mark.parametrize(
    ("metric", "method"),
    [("auroc", method) for method in ("percentile", "bca", "delong")]
    + [(rate, method) for rate in ("tpr", "fpr") for method in ("percentile", "bca", "wilson", "clopper_pearson")],
)
def test_intervals_by_patient_hold_the_truth(counts: dict[tuple[str, str, str], int], metric: str, method: str) -> None:
    assert counts[metric, method, "missing"] == 0
    assert LOWEST <= counts[metric, method, "held"] < SIMULATIONS


def test_ignoring_patients_gives_narrower_intervals(counts: dict[tuple[str, str, str], int]) -> None:
    for metric, method in (("auroc", "delong"), ("tpr", "wilson"), ("fpr", "wilson")):
        assert counts[metric, "images", "width"] < 0.95 * counts[metric, method, "width"]


def test_the_truth_is_that_of_a_large_sample() -> None:
    from sklearn.metrics import roc_auc_score

    large = simulated(30_000, 0)
    assert roc_auc_score(large.positive, large.scores) == pytest.approx(TRUTH["auroc"], abs=0.004)
    assert (large.scores >= 1)[large.positive].mean() == pytest.approx(TRUTH["tpr"], abs=0.01)
    assert (large.scores >= 1)[~large.positive].mean() == pytest.approx(TRUTH["fpr"], abs=0.005)


def test_the_committed_table_is_of_the_full_form() -> None:
    text = PAGE.read_text(encoding="utf-8")
    empty = page({}, 2000)
    assert text.startswith(empty.partition("## ")[0])
    for positives in POSITIVES:
        for name in NAMES.values():
            assert f"| {positives:,} | {name} |" in text


def test_what_follows_is_what_the_table_says() -> None:
    text = PAGE.read_text(encoding="utf-8")
    held: dict[tuple[str, str], list[str]] = {}
    for section in text.split("\n## ")[1:]:
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("|") and cells[1] in NAMES.values():
                held.setdefault((section.partition("\n")[0].lower(), cells[1]), []).append(cells[2])
    follows = " ".join(text.partition("## What follows")[2].split())
    for method in ("percentile", "bca", "delong"):
        assert f"{held['auroc', NAMES[method]][0]} %" in follows
    for method in ("percentile", "wilson", "clopper_pearson"):
        worst = min(held["tpr", NAMES[method]] + held["fpr", NAMES[method]], key=float)
        assert f"{worst} %" in follows
    for metric in ("auroc", "fpr"):
        assert f"{held[metric, NAMES['images']][-1]} % for the" in follows
