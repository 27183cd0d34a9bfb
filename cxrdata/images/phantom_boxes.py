"""Boxes of cardiomegaly around the hearts that were drawn: the synthetic tables know no picture, so their boxes lie anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrdata.stages import unfinished

LABEL = "Cardiomegaly"
# Readers draw a little outside of what they mean, up to this share of it on each side.
_AROUND = 0.03
_DECIMALS = 4
_IMAGE = ("Image Index", "image_id")
_NAMED = ("Finding Label", "class_name")
# Where four numbers begin, and whether the last two are a size (NIH) or the far corner (VinDr).
_CORNERS = {"Bbox [x": True, "x_min": False}


@dataclass(frozen=True)
class DrawnHeart:
    """Where a heart is: x_min, y_min, x_max, y_max as shares of the picture; `rows` and `columns` of the picture that the
    dataset's boxes are stated in."""

    place: tuple[float, float, float, float]
    rows: int
    columns: int

    def box(self, rng: np.random.Generator) -> tuple[float, float, float, float]:
        """A box around it in pixels, never through it, within the picture."""
        x_min, y_min, x_max, y_max = self.place
        wide, high = x_max - x_min, y_max - y_min
        left, top, right, bottom = rng.uniform(0, _AROUND, 4)
        return (
            max(0.0, x_min - left * wide) * self.columns,
            max(0.0, y_min - top * high) * self.rows,
            min(1.0, x_max + right * wide) * self.columns,
            min(1.0, y_max + bottom * high) * self.rows,
        )


def place_boxes(
    tables: Iterable[Path], hearts: Mapping[str, DrawnHeart], rng: Callable[[str, str], np.random.Generator]
) -> int:
    """Put the boxes of cardiomegaly around the hearts, in those of a synthetic dataset's tables that hold boxes; how many.

    hearts: by image id as the tables write it. rng: a generator for a table's name and what is drawn. Everything else of a
    table stays as it is, byte for byte.
    """
    placed = 0
    for path in tables:
        if path.suffix != ".csv":
            continue
        with path.open(encoding="utf-8", newline="") as file:
            header = file.readline().rstrip("\r\n").split(",")
            corner = next((header.index(name) for name in _CORNERS if name in header), None)
            if corner is None:
                continue
            lines = file.readlines()
        image, label = (next(header.index(name) for name in names if name in header) for names in (_IMAGE, _NAMED))
        as_size = _CORNERS[header[corner]]
        changed = 0
        for at, line in enumerate(lines):
            cells = line.rstrip("\r\n").split(",")
            heart = hearts.get(cells[image])
            if cells[label] != LABEL or heart is None:
                continue
            x_min, y_min, x_max, y_max = heart.box(rng(path.name, f"{cells[image]} {at}"))
            far = (x_max - x_min, y_max - y_min) if as_size else (x_max, y_max)
            cells[corner : corner + 4] = [str(round(value, _DECIMALS)) for value in (x_min, y_min, *far)]
            lines[at] = ",".join(cells) + line[len(line.rstrip("\r\n")) :]
            changed += 1
        if changed:
            _rewrite(path, lines)
        placed += changed
    return placed


def _rewrite(path: Path, lines: list[str]) -> None:
    """The table with its header and other lines."""
    with path.open(encoding="utf-8", newline="") as file:
        header = file.readline()
    aside = unfinished(path)
    try:
        with aside.open("w", encoding="utf-8", newline="") as file:
            file.writelines([header, *lines])
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
