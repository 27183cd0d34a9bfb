"""Contact sheets by group, and the mean image of each group."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.images.pictures import mean_images, write_sheet
from cxrdata.images.store import ImageStore
from cxrtrain.explain.overlay import enlarging
from cxrtrain.explain.question import GROUP

if TYPE_CHECKING:
    from PIL import Image

_ACROSS = 4
_HEAD, _GAP = 22, 8  # pixels
_STYLE = (
    "body{font:14px sans-serif;margin:1em;color:#111;background:#fff}main{display:flex;flex-wrap:wrap;gap:8px}"
    "h2{font-size:1.1em}img{max-width:100%}"
)


@dataclass(frozen=True)
class Picture:
    """One picture of a sheet. file: where it lies, below the sheet's folder. key: of the image, in words."""

    group: str
    file: str
    canvas: Image.Image
    key: str


def write_sheets(pictures: Sequence[Picture], headings: Mapping[str, str], title: str, folder: Path) -> None:
    """sheet.png and sheet.html, the groups in the order of `headings`; of a group without pictures the heading alone."""
    draw_sheet(pictures, headings, title).save(folder / "sheet.png")
    (folder / "sheet.html").write_text(_page(pictures, headings, title), encoding="utf-8")


def draw_sheet(pictures: Sequence[Picture], headings: Mapping[str, str], title: str) -> Image.Image:
    """All pictures, a heading above each group."""
    from PIL import Image, ImageDraw

    wide = max(one.canvas.width for one in pictures)
    high = max(one.canvas.height for one in pictures) + _GAP
    groups = [(text, [one for one in pictures if one.group == name]) for name, text in headings.items()]
    rows = sum(-(-len(members) // _ACROSS) for _, members in groups)
    across = min(_ACROSS, max(len(members) for _, members in groups))
    probe = ImageDraw.Draw(Image.new("L", (1, 1)))
    width = max(
        across * (wide + _GAP) + _GAP, *(int(probe.textlength(text)) + 2 * _GAP for text in (title, *headings.values()))
    )
    sheet = Image.new("RGB", (width, (len(groups) + 1) * _HEAD + rows * high), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 5), title, fill="black")
    top = _HEAD
    for text, members in groups:
        draw.text((_GAP, top + 5), text, fill="black")
        top += _HEAD
        for at, one in enumerate(members):
            sheet.paste(one.canvas, (_GAP + at % _ACROSS * (wide + _GAP), top + at // _ACROSS * high))
        top += -(-len(members) // _ACROSS) * high
    return sheet


def _page(pictures: Sequence[Picture], headings: Mapping[str, str], title: str) -> str:
    """A page beside the pictures, which it links."""
    parts = []
    for name, text in headings.items():
        images = "\n".join(
            f'<img src="{html.escape(one.file)}" alt="{html.escape(one.key)}">' for one in pictures if one.group == name
        )
        parts.append(f"<h2>{html.escape(text)}</h2>\n<main>{images}</main>")
    head = f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
    body = "\n".join(parts)
    return f"{head}<style>{_STYLE}</style></head><body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"


def write_means(
    store: Path, whole: pl.DataFrame, wrong: pl.DataFrame | None, order: Sequence[str], folder: Path
) -> None:
    """means.png: of each group the mean of all its images and, where these are asked about, of its false positives."""
    import numpy as np

    opened = ImageStore(store)
    pixels, captions = [], []
    for rows, about in ((whole, ""), (wrong, "false positives, ")):
        if rows is None:
            continue
        means, names = mean_images(opened, rows.select("dataset", "image_id", GROUP), GROUP)
        present = sorted(rows[GROUP].unique().to_list())  # the order of `mean_images`
        for name in order:
            if name in present:
                pixels.append(means[present.index(name)])
                captions.append(about + names[present.index(name)])
    times = enlarging(opened.side)
    large = np.stack(pixels).repeat(times, axis=1).repeat(times, axis=2)
    write_sheet(large, captions, folder / "means.png", columns=len(order))
