"""Looking at images: contact sheets, the mean image of a group, grey levels by group."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.errors import CxrError
from cxrdata.images.decode import Grey
from cxrdata.images.resize import Frame, decode_into, resize
from cxrdata.images.roots import ImageRoots
from cxrdata.images.sources import files_of, locate
from cxrdata.images.store import KEY, ImageStore
from cxrdata.store.publish import writing

if TYPE_CHECKING:
    from PIL import Image

    from cxrdata.store.catalog import Catalog

MOST_SHOWN = 400
_SHEET_COLUMNS = 8
_CAPTION_PX = 14
_BATCH = 256
UNKNOWN = "unknown"


def pixels_of(
    catalog: Catalog,
    frame: pl.DataFrame,
    *,
    side: int,
    store: ImageStore | None = None,
    roots: ImageRoots | None = None,
) -> tuple[Grey, list[str]]:
    """The images of a frame's rows, shape (n, side, side), and why those are black that could not be read ("" where
    they could). From a store, else from the dataset's files.

    Raises CxrError CXR-130 of the roots.
    """
    out = np.zeros((frame.height, side, side), dtype=np.uint8)
    reasons = [""] * frame.height
    place = Frame(side, "pad")
    if store is not None:
        rows = store.held(frame.select(KEY).with_row_index("_at"))
        reasons = ["not in the store"] * frame.height
        for at, position in zip(rows["_at"].to_list(), store.positions(rows).tolist(), strict=True):
            out[at] = store[position] if store.side == side else resize(store[position], place)
            reasons[at] = ""
        return out, reasons
    located = locate(catalog, frame, roots or ImageRoots.load())
    for at, file in enumerate(files_of(located)):
        if file is None:
            reasons[at] = "no file was found"
            continue
        try:
            decode_into(file.read(), place, out[at])
        except CxrError as error:
            reasons[at] = error.problem
        except OSError as error:
            reasons[at] = error.strerror or str(error)
    return out, reasons


def captions_of(frame: pl.DataFrame, reasons: Sequence[str] = ()) -> list[str]:
    """What stands below each image: what the query says beside the key, or the image's id; why one is black."""
    said = [name for name in frame.columns if name not in KEY]
    found = []
    for at, row in enumerate(frame.iter_rows(named=True)):
        values = [row[name] for name in said] if said else [row["image_id"]]
        text = ", ".join(
            "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value) for value in values
        )
        found.append(f"{text} ({reasons[at]})" if reasons and reasons[at] else text)
    return found


def write_sheet(pixels: Grey, captions: Sequence[str], out: Path, *, columns: int = _SHEET_COLUMNS) -> None:
    """A contact sheet as `.png` or as `.html` (one file, nothing loaded from elsewhere).

    Raises CxrError: CXR-502 another suffix, CXR-602 not writable.
    """
    suffix = out.suffix.lower()
    if suffix not in (".png", ".html"):
        raise CxrError(
            "CXR-502", f"a contact sheet cannot be written as {out.suffix!r}", fix="--sheet sheet.png or .html"
        )
    with writing(out, option="--sheet"):
        if suffix == ".png":
            draw_sheet(pixels, captions, columns).save(out)
        else:
            out.write_text(_sheet_html(pixels, captions), encoding="utf-8")


def draw_sheet(pixels: Grey, captions: Sequence[str], columns: int = _SHEET_COLUMNS) -> Image.Image:
    """A contact sheet as a picture."""
    from PIL import Image, ImageDraw

    n, side = len(pixels), pixels.shape[1]
    columns = max(1, min(columns, n))
    height = side + _CAPTION_PX
    sheet = Image.new("L", (columns * side, max(1, math.ceil(n / columns)) * height))
    draw = ImageDraw.Draw(sheet)
    for at, (image, caption) in enumerate(zip(pixels, captions, strict=True)):
        left, top = at % columns * side, at // columns * height
        sheet.paste(Image.fromarray(image), (left, top))
        fitting = caption
        while fitting and draw.textlength(fitting) > side - 4:
            fitting = fitting[:-1]
        draw.text((left + 2, top + side + 1), fitting, fill=255)
    return sheet


def _sheet_html(pixels: Grey, captions: Sequence[str]) -> str:
    figures = "\n".join(
        f'<figure><img alt="{html.escape(caption, quote=True)}" src="data:image/png;base64,{_png(image)}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for image, caption in zip(pixels, captions, strict=True)
    )
    style = (
        "body{background:#111;color:#ddd;font:12px sans-serif;display:flex;flex-wrap:wrap;gap:8px}"
        f"figure{{margin:0;width:{pixels.shape[1]}px}}figcaption{{overflow-wrap:anywhere}}"
    )
    head = '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>images</title>'
    return f"{head}<style>{style}</style></head><body>\n{figures}\n</body></html>\n"


def _png(image: Grey) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def groups_of(frame: pl.DataFrame, column: str) -> list[tuple[str, np.ndarray]]:
    """Each value of a column, sorted, and the rows that have it; null is `unknown` and last."""
    if column not in frame.columns:
        known = ", ".join(name for name in frame.columns if name not in KEY) or "only the key"
        raise CxrError("CXR-501", f"the query has no column {column!r}", fix=f"it gives {known}: select it too")
    values = frame[column]
    found = [(str(value), (values == value).fill_null(value=False)) for value in values.drop_nulls().unique().sort()]
    if values.null_count():
        found.append((UNKNOWN, values.is_null()))
    return [(name, mask.arg_true().to_numpy()) for name, mask in found]


def mean_images(store: ImageStore, frame: pl.DataFrame, column: str) -> tuple[Grey, list[str]]:
    """The mean image of each value of a column, such as the age group: shape (groups, side, side), and the names with
    their numbers of images. `frame`: dataset, image_id and the column. Raises as `ImageStore.positions`; CXR-501."""
    positions = store.positions(frame)
    buffer = np.empty((_BATCH, store.side, store.side), dtype=np.uint8)
    means, names = [], []
    for name, rows in groups_of(frame, column):
        total = np.zeros((store.side, store.side), dtype=np.int64)
        for start in range(0, len(rows), _BATCH):
            total += store.read(positions[rows[start : start + _BATCH]], buffer).sum(axis=0, dtype=np.int64)
        means.append(np.rint(total / len(rows)).astype(np.uint8))
        names.append(f"{name}, n = {len(rows):,}")
    return np.stack(means) if means else np.zeros((0, store.side, store.side), np.uint8), names


def histograms(store: ImageStore, frame: pl.DataFrame, column: str = "dataset", *, bins: int = 32) -> pl.DataFrame:
    """How often each grey level is: the column, images, level_low, level_high (both included), share of the pixels; one
    row a group and bin. Raises as `mean_images` does."""
    positions = store.positions(frame)
    buffer = np.empty((_BATCH, store.side, store.side), dtype=np.uint8)
    width = 256 // bins
    rows: list[tuple[str, int, int, int, float]] = []
    for name, members in groups_of(frame, column):
        counts = np.zeros(256, dtype=np.int64)
        for start in range(0, len(members), _BATCH):
            batch = store.read(positions[members[start : start + _BATCH]], buffer)
            counts += np.bincount(batch.ravel(), minlength=256)
        shares = counts.reshape(bins, width).sum(axis=1) / counts.sum()
        rows += [(name, len(members), at * width, at * width + width - 1, float(s)) for at, s in enumerate(shares)]
    return pl.DataFrame(rows, schema=[column, "images", "level_low", "level_high", "share"], orient="row")
