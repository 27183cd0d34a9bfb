"""How a model treats each group: operating points, metrics by group, intervals, tests.

    answer = cxrdata.audit(predictions="preds.csv", by=["sex", "age_group:decades"], threshold="youden")
    answer.by_group, answer.gaps, answer.figures; answer.save("audit")

The package has the name of what it does, so it can be called; `cxrdata.audit.run.audit` is what then runs.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """A package that is also a function (the type of a module may be exchanged: Python reference 3.3.2.1)."""

    def __call__(self, **wishes: Any) -> Any:  # noqa: ANN401 - the types stand at `audit`
        from cxrdata.audit.run import audit

        return audit(**wishes)


sys.modules[__name__].__class__ = _CallablePackage
