"""What phantoms are drawn by: `metadata/phantom_norms.toml`, or a user's copy of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrdata.errors import CxrError
from cxrdata.resources import data_folder
from cxrdata.tomlfile import read_toml

FILE_NAME = "phantom_norms.toml"


@dataclass(frozen=True)
class Look:
    """How a dataset's pictures look: see the file."""

    brightness: float
    contrast: float
    spread: float
    noise: float
    border: float


@dataclass(frozen=True)
class Norms:
    """The file's content. `ratios`: rows of age, mean, sd, limit, sorted by age."""

    ratios: tuple[tuple[float, float, float, float], ...]
    ap_factor: float
    enlarged_above_limit: tuple[float, float]
    labels_enlarge: bool
    long_side: int
    looks: dict[str, Look]

    @classmethod
    def load(cls, path: Path | None = None) -> Norms:
        """From a user's file, or ours. Raises CxrError: CXR-101 no such file, CXR-505 broken."""
        path = path or data_folder("metadata") / FILE_NAME
        if not path.is_file():
            raise CxrError("CXR-101", "this file does not exist", where=str(path), fix=f"copy metadata/{FILE_NAME}")
        content, _ = read_toml(path)
        try:
            return cls._of(content)
        except (KeyError, TypeError, ValueError) as error:
            raise CxrError(
                "CXR-505",
                f"the norms lack or misspell {error}",
                where=path.name,
                fix=f"begin with a copy of metadata/{FILE_NAME}",
            ) from error

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Norms:
        heart = content["heart"]
        low, high = (float(value) for value in heart["enlarged_above_limit"])
        ratios = sorted(
            (float(row["age_years"]), float(row["mean"]), float(row["sd"]), float(row["limit"]))
            for row in content["cardiothoracic_ratio"]
        )
        if not ratios:
            raise KeyError("cardiothoracic_ratio")
        return cls(
            tuple(ratios),
            float(heart["ap_factor"]),
            (low, high),
            bool(heart["labels_enlarge"]),
            int(content["frame"]["long_side"]),
            {name: Look(**look) for name, look in {"default": content["look"]["default"], **content["look"]}.items()},
        )

    def look(self, dataset: str) -> Look:
        return self.looks.get(dataset, self.looks["default"])

    def ratio_at(self, age: float) -> tuple[float, float, float]:
        """Mean, standard deviation and upper limit of the cardiothoracic ratio at an age in years."""
        ages, *columns = zip(*self.ratios, strict=True)
        mean, sd, limit = (float(np.interp(age, ages, column)) for column in columns)
        return mean, sd, limit

    def draw_ratio(self, rng: np.random.Generator, age: float, *, enlarged: bool) -> float:
        """A cardiothoracic ratio on PA: of the age's healthy, within its limit, or above it where a label says so."""
        mean, sd, limit = self.ratio_at(age)
        normal = min(float(rng.normal(mean, sd)), limit)
        above = float(rng.uniform(*self.enlarged_above_limit))
        return limit + above if enlarged and self.labels_enlarge else normal
