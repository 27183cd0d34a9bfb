"""P values of many tests at once.

Holm (Scand J Stat 6:65, 1979) bounds the chance of any false finding; Benjamini and Hochberg (J R Stat Soc B 57:289, 1995)
the expected share of false ones among the findings, for independent or positively dependent tests; Benjamini and Yekutieli
(Ann Stat 29:1165, 2001) the same for any dependence.
"""

from __future__ import annotations

import numpy as np

from cxrdata.audit.ordered import Floats


def adjusted(p_values: Floats, method: str) -> Floats:
    """method: `holm`, `bh` or `by`. (tests,) p values; nan is no test, does not count and stays nan."""
    result = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    m = len(tested)
    if not m:
        return result
    order = tested[np.argsort(p_values[tested], kind="stable")]
    rank = np.arange(1, m + 1)
    if method == "holm":
        raised = np.maximum.accumulate(p_values[order] * (m - rank + 1))
    else:
        factor = float((1 / rank).sum()) if method == "by" else 1.0
        raised = np.minimum.accumulate((p_values[order] * m * factor / rank)[::-1])[::-1]
    result[order] = np.clip(raised, p_values[order], 1.0)  # rounding must not put it below the p value itself
    return result
