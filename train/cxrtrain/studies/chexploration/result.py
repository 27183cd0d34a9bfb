"""What the study found, as the report takes it: tables, explorations, and what a reader must know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from cxrdata.explore.result import Exploration
from cxrtrain.studies.chexploration.cohort import PARTS, RESAMPLED
from cxrtrain.studies.chexploration.errors import ERRORS
from cxrtrain.studies.chexploration.exploration import read


@dataclass(frozen=True)
class Result:
    """funnel: as `cxrdata cohort funnel` has it. parts, resampled: of `cohort`. detection, attributes: of `errors`.
    explorations: by model. synthetic: the images are drawn. trained: by this study, here."""

    dataset: str
    funnel: pl.DataFrame
    parts: pl.DataFrame
    resampled: pl.DataFrame
    detection: pl.DataFrame
    attributes: pl.DataFrame
    explorations: Mapping[str, Exploration]
    notes: list[str] = field(default_factory=list)
    synthetic: bool = False
    trained: bool = False

    @classmethod
    def read(
        cls,
        *,
        dataset: str,
        funnel: Path,
        parts: Path,
        resampled: Path,
        detection: Path,
        attributes: Path,
        explorations: Mapping[str, Path],
        notes: list[str],
        synthetic: bool,
        trained: bool,
    ) -> Result:
        """From the files of the stages."""
        return cls(
            dataset,
            pl.read_csv(funnel),
            pl.read_csv(parts, schema=PARTS),
            pl.read_csv(resampled, schema=RESAMPLED),
            pl.read_csv(detection, schema=ERRORS),
            pl.read_csv(attributes, schema=ERRORS),
            {model: read(folder) for model, folder in explorations.items()},
            notes,
            synthetic,
            trained,
        )

    @property
    def models(self) -> list[str]:
        """Those that something is said of."""
        return pl.concat([self.detection["model"], self.attributes["model"]]).unique(maintain_order=True).to_list()
