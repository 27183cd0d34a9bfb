"""The images of a store as plain files, in the folders that other code reads."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.images.decode import Grey
from cxrdata.images.store import KEY, ImageStore
from cxrdata.interop.chexploration import DATASETS as CHEXPLORATION_DATASETS
from cxrdata.interop.chexploration import preprocessed_path
from cxrdata.stages import unfinished
from cxrdata.store.publish import writing

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

LAYOUTS = ("plain", "chexploration", "ped_vs_adults")
KINDS = {"png": ".png", "jpeg": ".jpg"}
# Where ped_vs_adults-cxr (config/constants.py) keeps the images of each dataset, and what it calls it.
_PED_VS_ADULTS = {
    "vindr_cxr": ("vindr-cxr/1.0.0", "vindr_cxr"),
    "vindr_pcxr": ("vindr-pcxr/1.0.0", "vindr_pcxr"),
    "nih_cxr14": ("NIH", "nih_cxr18"),
    "padchest": ("PC", "padchest"),
    "chexpert": ("chexbert", "chexbert"),
}
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Exported:
    """`images` written, `there` already; `left_out`: dataset and images that the layout has no place for; `tables`:
    written beside them."""

    images: int
    there: int
    left_out: dict[str, int]
    tables: list[str]


def export_images(
    catalog: Catalog,
    store: ImageStore,
    frame: pl.DataFrame,
    out: Path,
    *,
    layout: str = "plain",
    kind: str = "png",
    replace: bool = False,
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> Exported:
    """Write the images of `frame` (dataset, image_id) below `out`.

    layout: `plain` `<dataset>/<image_id>`; `chexploration` the folder `preproc_<side>x<side>` of its sample files;
    `ped_vs_adults` its folders by dataset, and a table a dataset with its columns dirname and filename. kind: `png` or
    `jpeg`. Files that are there stay unless `replace`, so an interrupted export continues.
    Raises CxrError: CXR-149 not in the store, CXR-502 no place in the layout for any, CXR-602 not writable.
    """
    images = catalog.table("images").select(*KEY, "path").collect()
    rows = frame.select(KEY).unique().join(images, on=KEY, how="left").sort(KEY)
    named = rows.with_columns(file=_names(rows, layout, store.side, KINDS[kind]))
    left_out = dict(
        named.filter(pl.col("file").is_null())["dataset"].value_counts(sort=False).sort("dataset").iter_rows()
    )
    named = named.drop_nulls("file")
    if named.is_empty():
        raise CxrError(
            "CXR-502",
            f"the layout {layout} has no place for images of {', '.join(left_out) or 'no dataset'}",
            fix=f"layouts: {', '.join(LAYOUTS)}",
        )
    there = 0
    with writing(out, option="DIR"):
        for done, (name, position) in enumerate(zip(named["file"], store.positions(named), strict=True), 1):
            path = out / _safe(name)
            if path.is_file() and not replace:
                there += 1
            else:
                _write(path, encoded(store[int(position)], kind))
            tell(done, named.height)
        tables = _write_tables(named, out) if layout == "ped_vs_adults" else []
    return Exported(named.height - there, there, left_out, tables)


def encoded(pixels: Grey, kind: str) -> bytes:
    """An image as the bytes of a PNG or JPEG file."""
    from PIL import Image

    buffer = io.BytesIO()
    if kind == "jpeg":
        Image.fromarray(pixels).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    else:
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _names(rows: pl.DataFrame, layout: str, side: int, suffix: str) -> pl.Series:
    """The file of each row below the folder exported to, null where the layout has no place."""
    bare = pl.col("image_id").str.replace(r"\.(png|jpe?g)$", "")
    if layout == "plain":
        return rows.select(pl.concat_str("dataset", bare, separator="/") + suffix).to_series()
    file = pl.lit(None, pl.String)
    if layout == "chexploration":
        for dataset in CHEXPLORATION_DATASETS:
            flat = preprocessed_path(dataset).str.split("/").list.last()
            name = pl.lit(f"preproc_{side}x{side}/") + flat.str.replace(r"\.\w+$", "") + suffix
            file = pl.when(pl.col("dataset") == dataset).then(name).otherwise(file)
    else:
        for dataset, (folder, _) in _PED_VS_ADULTS.items():
            name = pl.lit(folder + "/") + pl.col("path").str.replace(r"\.\w+$", "") + suffix
            file = pl.when(pl.col("dataset") == dataset).then(name).otherwise(file)
    return rows.select(file).to_series()


def _safe(name: str) -> PurePosixPath:
    """A path that stays below its folder: a catalog's ids come from files that others wrote."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise CxrError("CXR-502", f"the image id {name!r} climbs out of the folder", fix="leave it out with --where")
    return path


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = unfinished(path)
    try:
        aside.write_bytes(data)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _write_tables(named: pl.DataFrame, out: Path) -> list[str]:
    """`metadata/<their name>_images.csv`: image_id, dset, dirname, filename, as their tables have them."""
    written = []
    for dataset, (_, theirs) in _PED_VS_ADULTS.items():
        rows = named.filter(pl.col("dataset") == dataset)
        if rows.is_empty():
            continue
        table = rows.select(
            "image_id",
            dset=pl.lit(theirs),
            dirname=pl.col("file").str.replace(r"/[^/]*$", ""),
            filename=pl.col("file").str.split("/").list.last(),
        )
        name = f"metadata/{theirs}_images.csv"
        _write(out / name, table.write_csv().encode())
        written.append(name)
    return written
