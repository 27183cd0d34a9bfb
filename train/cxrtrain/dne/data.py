"""What a DNE experiment works on: the images of its bundle with both answers, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrdata.errors import CxrError
from cxrtrain.bundle import Bundle, HeadTargets, open_bundle
from cxrtrain.dne.config import ATTRIBUTE, DISEASE, DneExperiment
from cxrtrain.pixels import stored

PATIENTS = "patients.npy"


@dataclass(frozen=True)
class DneData:
    """disease: (rows,) 1 with the finding, 0 healthy; attribute: (rows,) the place of its class; patients: (rows,) codes. train,
    valid, test: rows of the bundle, of images whose disease and attribute are both known. classes: the attribute's."""

    bundle: Bundle
    disease: NDArray[np.int64]
    attribute: NDArray[np.int64]
    patients: NDArray[np.int64]
    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]

    @property
    def classes(self) -> tuple[str, ...]:
        return head_of(self.bundle, ATTRIBUTE).outputs

    @classmethod
    def read(cls, folder: Path, experiment: DneExperiment, *, store: Path | None = None) -> DneData:
        """From a bundle that the stage `bundle` left, with the patients beside it. store: leave out what it lacks.

        Raises CxrError: CXR-150 no bundle, CXR-501 no such part, CXR-162 a part lacks images of a kind.
        """
        bundle, patients = open_bundle(folder), np.load(folder / PATIENTS)
        if store is not None and not (there := stored(store, bundle)).all():
            bundle, patients = bundle.only(there), patients[there]
        disease, attribute = (_codes(bundle, name) for name in (DISEASE, ATTRIBUTE))
        known = (disease >= 0) & (attribute >= 0)
        train, valid, test = (
            rows[known[rows]]
            for rows in map(bundle.rows, (experiment.data.train, experiment.data.valid, experiment.judge.test))
        )
        data = cls(bundle, disease, attribute, patients, train, valid, test)
        data.check()
        return data

    def cells(self, rows: NDArray[np.int64]) -> dict[tuple[int, int], int]:
        """How many images there are by attribute and disease."""
        return {
            (group, sick): int(((self.attribute[rows] == group) & (self.disease[rows] == sick)).sum())
            for group in range(len(self.classes))
            for sick in (0, 1)
        }

    def check(self) -> None:
        """Raises CxrError CXR-162 where a part lacks images that something is to be learnt of, or judged by."""
        for part, rows in (("training", self.train), ("validation", self.valid), ("test", self.test)):
            lacking = [cell for cell, n in self.cells(rows).items() if not n]
            said = [f"{self.classes[group]} {'with' if sick else 'without'} the finding" for group, sick in lacking]
            # To learn, each value and each state must be there at all; the four cells are what fairness is judged by.
            whole = len({group for group, _ in lacking}) + len({sick for _, sick in lacking}) == 2 * len(lacking)
            if said and (part == "test" or len(lacking) > 2 or (len(lacking) == 2 and not whole)):
                raise CxrError(
                    "CXR-162",
                    f"the {part} part has no image of {' nor of '.join(said)}",
                    where=str(self.bundle.folder),
                    fix="make the split with more images, or a correlation below 1: cxrdata split --spurious",
                )


def head_of(bundle: Bundle, name: str) -> HeadTargets:
    return next(head for head in bundle.heads if head.name == name)


def _codes(bundle: Bundle, name: str) -> NDArray[np.int64]:
    """(rows,) the target of a head, -1 where not known."""
    values = bundle.targets(head_of(bundle, name))[:, 0]
    return np.where(np.isnan(values), -1, values).astype(np.int64)
