"""What a reader of a masked table can work out, by solving it as linear programmes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from scipy.optimize import linprog

from cxrdata.report.disclosure import Count, Sum

UNBOUNDED = 10**9


def feasible_ranges(
    counts: Mapping[Hashable, Count], sums: Sequence[Sum], hidden: set[Hashable]
) -> dict[Hashable, tuple[int, int]]:
    """Of each masked count the least and the most that all shown ones allow."""
    keys = sorted(hidden, key=str)
    at = {key: number for number, key in enumerate(keys)}
    left, right = [], []
    for one in sums:
        row, known = np.zeros(len(keys)), 0
        for sign, key in [(-1, one.total), *((1, part) for part in one.parts)]:
            if key in at:
                row[at[key]] += sign
            else:
                known += sign * counts[key].images
        left.append(row)
        right.append(-known)
    # A reader knows that nobody is shown as 0, so that a masked count is at least 1, unless a zero had to be masked too.
    low = 0 if any(counts[key].images == 0 for key in keys) else 1
    ranges = {}
    for key in keys:
        aim = np.zeros(len(keys))
        aim[at[key]] = 1
        ends = []
        for sign in (1, -1):
            solved = linprog(sign * aim, A_eq=np.array(left), b_eq=np.array(right), bounds=(low, None))
            assert solved.status in {0, 3}, solved.message
            ends.append(UNBOUNDED if solved.status == 3 else round(sign * solved.fun))
        ranges[key] = (ends[0], ends[1])
    return ranges
