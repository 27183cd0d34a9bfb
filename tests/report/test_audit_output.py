"""Tables and figures of an audit: what a reader is shown, and that nothing is shown that must not be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cxrdata.audit.data import Grouping, Scored
from cxrdata.audit.engine import evaluate
from cxrdata.audit.request import AuditRequest
from cxrdata.audit.result import Audit
from cxrdata.report.audit_figures import audit_figures
from cxrdata.report.audit_tables import html_page, markdown_page, paper_table
from cxrdata.report.figure import save_figures, specification

N = 600


def _scored(label: str, model: str) -> Scored:
    """600 images of 300 patients; group `tiny` is of 5 patients, `rare` has 3 positives."""
    random = np.random.default_rng(len(label))  # the truth of both models
    groups = np.repeat([0, 1, 2, 3], [290, 200, 100, 10]).astype(np.int32)
    positive = random.random(N) < 0.3
    positive[490:590] = False
    positive[490:493] = True
    random = np.random.default_rng(len(label + model) + ord(model[0]))
    scores = np.clip(random.normal(0.4 + 0.2 * positive, 0.15), 0, 1)
    sides = Grouping("side", ("<b>left</b>", "right", "rare", "tiny"), groups)
    ages = Grouping("age_group:decades", ("0-9", "10-19"), (np.arange(N) // 300).astype(np.int32))
    patients = np.arange(N, dtype=np.int64) // 2
    return Scored(
        model, label, "radiologist", "ignore", scores, positive, patients, np.ones(N), (sides, ages), probabilities=True
    )


@pytest.fixture(scope="module")
def answer() -> Audit:
    scored = [_scored(label, model) for model in ("one", "two") for label in ("edema", "lung_lesion")]
    request = AuditRequest(metrics=("auroc", "tpr", "fpr"), threshold="fpr=0.2", bootstrap=30, compare=True)
    return Audit(evaluate(scored, request), pl.DataFrame(), ["take care"], ["a < b"], scored=scored)


def test_paper_table(answer: Audit) -> None:
    table = paper_table(answer.rows, "auroc")
    assert table.columns == [
        "model", "label", "all", "side <b>left</b>", "side right", "side rare", "side tiny",
        "age group 0-9", "age group 10-19",
    ]  # fmt: skip
    row = answer.rows.filter(metric="auroc", model="one", label="edema", group_by="overall").row(0, named=True)
    low, high = row["ci_low"], row["ci_high"]
    assert table["all"][0] == f"{row['estimate']:.3f} ({low:.3f}–{high:.3f}); {row['n_positive']}/600"  # noqa: RUF001
    assert set(table["side tiny"]) == {"masked"}
    assert all(cell.endswith("; 3/100†") for cell in table["side rare"])


def test_pages_hold_every_table_and_escape_what_they_show(answer: Audit) -> None:
    page = html_page(answer)
    assert page.count("<table>") == 3
    assert "&lt;b&gt;left" in page
    assert "<b>left" not in page
    assert "<strong>take care</strong>" in page
    assert "a &lt; b" in page
    assert "http" not in page
    text = markdown_page(answer)
    assert text.startswith("- **take care**\n- a < b\n")
    assert text.count("| --- ") == 3 * 9


def test_figures_show_each_kind_and_no_masked_group(answer: Audit) -> None:
    figures = {figure.name: figure for figure in audit_figures(answer)}
    assert set(figures) >= {
        "fpr_by_age_group_decades", "roc_by_side", "reliability", "difference_auroc_by_side", "difference_fpr_between_models",
    }  # fmt: skip
    assert set(figures["roc_by_side"].table["group"]) == {"<b>left</b>", "right"}
    assert "tiny" not in figures["difference_auroc_by_side"].table["group"].to_list()
    for figure in figures.values():
        assert figure.caption
        assert not figure.table.is_empty()
        assert specification(figure)["description"].startswith(figure.title)


def test_the_same_answer_gives_the_same_files(answer: Audit, tmp_path: Path) -> None:
    first, second = (answer.save(tmp_path / name, figures=False) for name in ("first", "second"))
    assert [path.name for path in first] == ["audit.parquet", "audit.csv", "left_out.csv", "tables.md", "tables.html"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    figure = next(figure for figure in answer.figures if figure.name == "roc_by_side")
    written = save_figures([figure], tmp_path, formats=("svg",))
    assert written[0].read_text().count("<svg") == 1


def test_notebooks_show_the_tables(answer: Audit) -> None:
    assert answer._repr_html_().count("<table>") == 3


def test_a_drawn_curve_keeps_its_area(answer: Audit) -> None:
    """Thinning a curve of thousands of points must not be seen."""
    random = np.random.default_rng(3)
    positive = random.random(6000) < 0.2
    scores = 1 / (1 + np.exp(-random.normal(positive * 1.0, 1.0)))
    scored = Scored(
        "m", "edema", "t", "ignore", scores, positive, np.arange(6000), np.ones(6000), (), probabilities=True
    )
    rows = evaluate([scored], AuditRequest(metrics=("auroc",), threshold=None, bootstrap=0))
    (figure,) = (
        one for one in Audit(rows, pl.DataFrame(), [], [], scored=[scored]).figures if one.name == "roc_by_overall"
    )
    rates = figure.table.select("false_positive_rate", "true_positive_rate").to_numpy().T
    assert rates.shape[1] < 410
    assert np.trapezoid(rates[1], rates[0]) == pytest.approx(rows["estimate"][0], abs=2e-3)
