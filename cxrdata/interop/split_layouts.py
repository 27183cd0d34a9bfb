"""A split written as the files that other code reads directly: `--layout chexploration|torchxrayvision|medfair|index`.

Such files, `index` apart, hold attributes and labels of patients beside their ids, since that code takes them from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.interop import chexploration, index_files, medfair, torchxrayvision
from cxrdata.interop.layout_facts import DRAWS, KEY, Tables

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog


@dataclass(frozen=True)
class Layout:
    """One layout: whose code reads it, which datasets it knows (None: all), and what makes its tables."""

    about: str
    datasets: tuple[str, ...] | None
    tables: Callable[[Catalog, pl.DataFrame], Tables]
    draws: bool = True
    holds: str = "the files hold ids, attributes and labels of patients"


LAYOUTS = {
    "chexploration": Layout(chexploration.ABOUT, chexploration.DATASETS, chexploration.tables),
    "torchxrayvision": Layout(torchxrayvision.ABOUT, torchxrayvision.DATASETS, torchxrayvision.tables),
    "medfair": Layout(medfair.ABOUT, medfair.DATASETS, medfair.tables),
    "index": Layout(
        index_files.ABOUT, None, index_files.tables, draws=False, holds="the files hold row numbers and no ids"
    ),
}


@dataclass(frozen=True)
class Written:
    """The files that were written, sorted, with their numbers of rows, and what a user must know about them."""

    files: dict[Path, int]
    notes: list[str]


def write_layout(catalog: Catalog, frame: pl.DataFrame, layout: str, folder: Path) -> Written:
    """Write a split (`Catalog.split`: dataset, image_id, split, n_draws where images are drawn) in a layout.

    A row that is drawn n times is written n times. Folds and weights have no place in any layout, which is noted.

    Raises CxrError: CXR-501 unknown layout; CXR-502 a dataset that the layout does not know, draws in a layout without
    repeated rows, or files that are there already; CXR-602 not writable.
    """
    chosen = LAYOUTS.get(layout)
    if chosen is None:
        raise CxrError(
            "CXR-501",
            f"there is no layout {layout!r}{nearest(layout, list(LAYOUTS))}",
            fix=f"layouts: {', '.join(LAYOUTS)}",
        )
    present = frame["dataset"].unique().sort().to_list()
    unknown = [name for name in present if chosen.datasets is not None and name not in chosen.datasets]
    if unknown:
        assert chosen.datasets is not None
        raise CxrError(
            "CXR-502",
            f"the layout {layout} has no place for {', '.join(unknown)}",
            fix=f"it knows {', '.join(chosen.datasets)}; make a split of those, or take --layout index, which knows all",
        )
    drawn = DRAWS in frame.columns and not frame[DRAWS].is_null().all()
    if drawn and not chosen.draws:
        raise CxrError(
            "CXR-502",
            f"the split draws images several times, which the layout {layout} cannot say",
            fix="take the split that it was drawn from, or another layout",
        )
    made = chosen.tables(catalog, _repeated(frame.sort(KEY)) if drawn else frame.sort(KEY))
    notes = [
        *made.notes,
        *(
            f"{name} is not written: the layout has no column for it"
            for name in ("fold", "weight")
            if name in frame.columns
        ),
    ]
    notes.append(f"{chosen.holds} of {', '.join(present)}: their terms apply (DATA_TERMS.md)")
    return Written(_write(folder, made), notes)


def _repeated(frame: pl.DataFrame) -> pl.DataFrame:
    """Each row as often as it is drawn, in the same order."""
    times = frame.with_columns(pl.int_ranges(0, pl.col(DRAWS).fill_null(1)).alias("_times"))
    return times.filter(pl.col("_times").list.len() > 0).explode("_times", empty_as_null=False).drop("_times")


def _write(folder: Path, made: Tables) -> dict[Path, int]:
    files = {folder / name: table for name, table in sorted(made.tables.items())}
    there = [path for path in files if path.exists()]
    if there:
        raise CxrError(
            "CXR-502",
            f"{there[0].name} is there already",
            where=folder.name,
            fix="name another folder, or remove the old files",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, table in files.items():
            table.write_csv(path)
    except OSError as error:
        raise CxrError(
            "CXR-602",
            f"cannot write: {error.strerror or error}",
            where=folder.name,
            fix="name a folder that you may write to",
        ) from error
    return {path: table.height for path, table in files.items()}
