"""What an exploration answers with: the sample, the components, the tests; figures made of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.small_cells import MIN_CELL
from cxrdata.store.parquet import ROW_GROUP_ROWS

if TYPE_CHECKING:
    from cxrdata.report.figure import Figure


FIGURES = "figures"
# By which names `explore_figures` are known: an earlier answer's would be taken for this one's.
_DRAWN = re.compile(r"joint_(pca|tsne)_\d+_\d+|marginals_by_\w+|explained|tests")


@dataclass(frozen=True)
class Exploration:
    """The answer.

    sample: the images looked at, sorted by resampled, dataset, image_id, draw: these, patient, the attributes, logit_…,
    pca_1…, tsne_1, tsne_2. explained: mode, share of the variance, cumulative. tests: `contrasts.KS_SCHEMA`. marginals: the
    columns that were tested. values: attribute -> its values in order, for figures, which
    leave groups of fewer than min_cell patients out. notes: what was counted and passed over.
    """

    sample: pl.DataFrame
    explained: pl.DataFrame
    tests: pl.DataFrame
    marginals: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]
    min_cell: int = MIN_CELL
    notes: list[str] = field(default_factory=list)

    @cached_property
    def figures(self) -> list[Figure]:
        """Joint plots, marginals, explained variance, tests. Raises CxrError CXR-604 without the extra `[report]`."""
        # Upwards, and only here: a user of the object asks it for its figures, the computation never does.
        from cxrdata.report.explore_figures import explore_figures

        return explore_figures(self)

    def save(self, folder: str | Path, *, figures: bool = True) -> list[Path]:
        """Write `sample`, `explained` and `tests`, each as Parquet and CSV, and figures into a folder; returns the files. The
        same answer gives the same bytes. Figures of an earlier answer in the folder are removed, other files stay.

        Raises CxrError: CXR-602 not writable; CXR-604 figures without the extra `[report]`.
        """
        from cxrdata.report.figure import remove_figures, require_altair, save_figures

        folder = Path(folder)
        if figures:
            require_altair()
        written = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            remove_figures(folder / FIGURES, _DRAWN)
            for name in ("sample", "explained", "tests"):
                frame: pl.DataFrame = getattr(self, name)
                files = [folder / f"{name}.parquet", folder / f"{name}.csv"]
                frame.write_parquet(files[0], row_group_size=ROW_GROUP_ROWS)
                frame.write_csv(files[1])
                written += files
        except OSError as error:
            raise CxrError(
                "CXR-602",
                f"cannot write: {error.strerror or error}",
                where=folder.name,
                fix="name a folder that can be made and written to",
            ) from error
        return [*written, *(save_figures(self.figures, folder / FIGURES) if figures else [])]
