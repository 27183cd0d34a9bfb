"""Whether groups differ by more than chance: the groups are dealt to the patients anew, many times.

The null hypothesis is that scores and truth of a patient have nothing to do with the group, so a test is sensitive to every
such difference, though the statistic looks at one metric. A patient keeps all images together; where the group changes
between the images of a patient (age, view), the patient is in the group of most of them, in the first of equals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrdata.audit.bootstrap import PERMUTE, shuffled
from cxrdata.audit.ordered import Floats
from cxrdata.audit.subject import Part, Subject, rows_at_once
from cxrdata.interrupts import in_threads


@dataclass(frozen=True)
class Tested:
    """P values, nan where the statistic is undefined, (metrics,) each.

    gap: of the largest difference between any two groups. pairs: by group, of its difference from the reference.
    divided: patients whose images lie in several groups.
    """

    gap: Floats
    pairs: dict[int, Floats]
    divided: int


def permutation_tests(subject: Subject, part: Part, groups: Sequence[int], reference: int) -> Tested:
    """Test the groups (indices into the part's values) against each other and each against the reference."""
    of_patient, divided = _groups_of_patients(subject, part)
    pairs = {group: _p_values(subject, of_patient, [group, reference]) for group in groups if group != reference}
    gap = next(iter(pairs.values())) if len(groups) == 2 else _p_values(subject, of_patient, groups)
    return Tested(gap, pairs, divided)


def _groups_of_patients(subject: Subject, part: Part) -> tuple[NDArray[np.intp], int]:
    """(patients,) the group of each, -1 where unknown; and how many are in several."""
    known, groups = part.codes >= 0, len(part.values)
    cells = subject.who.patients[known] * groups + part.codes[known]
    images = np.bincount(cells, minlength=subject.who.n * groups).reshape(subject.who.n, groups)
    most = np.where(images.any(axis=1), images.argmax(axis=1), -1)
    return most.astype(np.intp), int(((images > 0).sum(axis=1) > 1).sum())


def _p_values(subject: Subject, of_patient: NDArray[np.intp], groups: Sequence[int]) -> Floats:
    request, everybody = subject.request, subject.parts[0]
    patients = np.flatnonzero(np.isin(of_patient, groups))
    own = of_patient[patients]

    def gaps(dealt: NDArray[np.intp]) -> Floats:
        """(rows, metrics): the largest difference, given the (rows, patients) groups dealt."""
        values = []
        for group in groups:
            counts = np.zeros((len(dealt), subject.who.n), np.int32)
            counts[:, patients] = dealt == group
            values.append(subject.evaluate(everybody, counts)[:, :, 0])
        return np.asarray(np.max(values, axis=0) - np.min(values, axis=0))  # nan where any is

    def one(numbers: range) -> Floats:
        return gaps(np.stack([own[shuffled(request.seed, PERMUTE, number, len(own))] for number in numbers]))

    step = rows_at_once(len(subject.scored.scores))
    blocks = [range(at, min(at + step, request.permutations)) for at in range(0, request.permutations, step)]
    dealt = np.concatenate(in_threads(one, blocks, request.threads))
    observed = gaps(own[None])[0]
    # Rounding must not decide whether a permutation that is as extreme as the data counts.
    extreme = (dealt >= observed - 1e-12).sum(axis=0)
    p_values = (1 + extreme) / (1 + (~np.isnan(dealt)).sum(axis=0))
    return np.where(np.isnan(observed), np.nan, p_values)
