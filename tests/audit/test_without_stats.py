"""What the core install can do: all but Clopper-Pearson intervals and the age trend, which say what they need."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cxrdata.audit.engine import evaluate
from cxrdata.audit.request import AuditRequest
from cxrdata.audit.trend import age_trend
from cxrdata.errors import CxrError
from tests.audit.tables import plain

REQUEST = AuditRequest(
    bootstrap=20,
    interval="bca",
    rates="wilson",
    auroc="delong",
    permutations=5,
    adjust="by",
    compare=True,
    threshold="0.4",
)


@pytest.fixture(autouse=True)
def _core_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] in {"scipy", "statsmodels"}:
            monkeypatch.delitem(sys.modules, name)
    for name in ("scipy", "statsmodels"):
        monkeypatch.setitem(sys.modules, name, None)


def test_the_engine_needs_no_extra() -> None:
    rows = evaluate([plain(), replace(plain(), model="other", scores=plain().scores ** 2)], REQUEST)
    assert rows["p_adjusted"].drop_nulls().len() > 50


@pytest.mark.parametrize(
    ("work", "needed"),
    [
        (
            lambda: evaluate([plain()], replace(REQUEST, rates="clopper_pearson")),
            "Clopper-Pearson intervals need scipy",
        ),
        (lambda: age_trend(plain(), np.linspace(20, 80, 600), REQUEST), "the age trend needs statsmodels"),
    ],
)
def test_what_needs_the_extra_names_it(work: Callable[[], object], needed: str) -> None:
    with pytest.raises(CxrError) as refused:
        work()
    assert refused.value.code == "CXR-604"
    assert needed in str(refused.value)
    assert "pip install 'cxrdata[stats]'" in str(refused.value)
