"""What a DNE experiment works on: the images of its bundle with both answers, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrdata.errors import CxrError
from cxrtrain.bundle import Bundle, HeadTargets, open_bundle
from cxrtrain.dne.config import ATTRIBUTE, DISEASE, DneExperiment

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
    def read(cls, folder: Path, experiment: DneExperiment) -> DneData:
        """From a bundle that the stage `bundle` left, with the patients beside it.

        Raises CxrError: CXR-150 no bundle, CXR-501 no such part, CXR-162 a part lacks one of the four kinds of images.
        """
        bundle = open_bundle(folder)
        disease, attribute = (_codes(bundle, name) for name in (DISEASE, ATTRIBUTE))
        known = (disease >= 0) & (attribute >= 0)
        train, valid, test = (
            rows[known[rows]]
            for rows in map(bundle.rows, (experiment.data.train, experiment.data.valid, experiment.judge.test))
        )
        data = cls(bundle, disease, attribute, np.load(folder / PATIENTS), train, valid, test)
        for part, rows in (("training", train), ("validation", valid), ("test", test)):
            data.check_cells(part, rows)
        return data

    def cells(self, rows: NDArray[np.int64]) -> dict[tuple[int, int], int]:
        """How many images there are by attribute and disease."""
        return {
            (group, sick): int(((self.attribute[rows] == group) & (self.disease[rows] == sick)).sum())
            for group in range(len(self.classes))
            for sick in (0, 1)
        }

    def check_cells(self, part: str, rows: NDArray[np.int64]) -> None:
        """Raises CxrError CXR-162 where one of the cells is empty: nothing could be learnt of it, or judged."""
        for (group, sick), n in self.cells(rows).items():
            if not n:
                said = f"{'with' if sick else 'without'} the finding and {self.classes[group]}"
                raise CxrError(
                    "CXR-162",
                    f"the {part} part has no image {said}",
                    where=str(self.bundle.folder),
                    fix="make the split with more images, or a correlation below 1: cxrdata split --spurious",
                )


def head_of(bundle: Bundle, name: str) -> HeadTargets:
    return next(head for head in bundle.heads if head.name == name)


def _codes(bundle: Bundle, name: str) -> NDArray[np.int64]:
    """(rows,) the target of a head, -1 where not known."""
    values = bundle.targets(head_of(bundle, name))[:, 0]
    return np.where(np.isnan(values), -1, values).astype(np.int64)
