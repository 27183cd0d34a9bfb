"""Drawn chests as the files of a synthetic dataset: in its layout, under its names, in its format.

Whom to draw is read back from the files that `cxrdata synth` wrote, through the dataset's own reader: age, view and
cardiomegaly as anyone would find them. The truth lies beside them in `phantoms.csv`.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cxrdata.errors import CxrError, nearest
from cxrdata.harmonise.dataset import harmonise
from cxrdata.images.phantom_boxes import DrawnHeart, place_boxes
from cxrdata.images.phantom_marks import Floats, Mark
from cxrdata.images.phantom_norms import Norms
from cxrdata.images.phantoms import Subject, Truth, draw_phantom
from cxrdata.processes import process_pool
from cxrdata.schemas.names import label_codes_name
from cxrdata.sources.account import Account
from cxrdata.sources.base import ReadContext, Registry, SourceFiles
from cxrdata.sources.discover import TRUTH_FILE, find
from cxrdata.splits.binary import Binary
from cxrdata.store.publish import writing
from cxrdata.vocabularies import Vocabularies

FINDING = "cardiomegaly"
OFFICIAL = "official"
# Where the heart is in the picture, as shares of its width and height.
HEART = ("heart_x_min", "heart_y_min", "heart_x_max", "heart_y_max")
# Where the catalog's paths begin, below the folder of the file that lists the images; what is not said is that folder.
_BELOW = {"nih_cxr14": "images"}
_SIXTEEN_BITS = ("padchest",)
_JPEG_QUALITY = 90
# Noise has no repetitions to look for; so it is written in half the time, and no larger.
_PNG = {"compress_level": 1, "compress_type": zlib.Z_RLE}
_CHUNK = 500
_PRELOAD = ("cxrdata.images.phantom_files", "PIL.PngImagePlugin", "PIL.JpegImagePlugin")


@dataclass(frozen=True)
class _Order:
    """One picture to be drawn and written. rows, columns: of the file; for DICOM its header's. stated: those that the
    dataset states, which its boxes are in."""

    image_id: str
    name: str
    path: Path
    subject: Subject
    rows: int
    columns: int
    stated: tuple[int, int]


def write_phantoms(
    folder: Path,
    datasets: Sequence[str],
    *,
    seed: int = 0,
    norms: Path | None = None,
    long_side: int | str | None = None,
    overlays: Path | None = None,
    workers: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> int:
    """Draw every image of the synthetic datasets below `folder` and return how many there are.

    norms: a file in place of `metadata/phantom_norms.toml`. long_side: pixels in place of the norms'; OFFICIAL: as the
    dataset's tables state, where they do. DICOM files have the size that their header says; those without pixels or
    transfer syntax stay so. Boxes of cardiomegaly are put around the hearts.
    Raises CxrError: CXR-101, CXR-505 of the norms, CXR-602 not writable.
    """
    registry, how = Registry(overlays), Norms.load(norms)
    if isinstance(long_side, int):
        how = replace(how, long_side=long_side)
    total = 0
    for name in datasets:
        source = registry.get(name)
        files = find(registry, [(source, folder / name)]).datasets[0]
        orders = _orders(files, folder / name, how, seed, overlays, official=long_side == OFFICIAL)
        chunks = [orders[start : start + _CHUNK] for start in range(0, len(orders), _CHUNK)]
        with writing(folder / name, option="DIR"):
            rows = _write_all(chunks, how, seed, workers, lambda n, name=name: progress(f"{name}: {n:,} images"))  # type: ignore[misc]
            _write_truth(folder / name, rows)
            hearts = _hearts(orders, rows)
            place_boxes((file.path for file in files.files), hearts, lambda *what, name=name: _rng(seed, name, *what))
        total += len(rows)
    return total


def _write_all(
    chunks: list[list[_Order]], norms: Norms, seed: int, workers: int, tell: Callable[[int], None]
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    if workers <= 1 or len(chunks) <= 1:
        for chunk in chunks:
            rows += _write_chunk(chunk, norms, seed)
            tell(len(rows))
        return rows
    with process_pool(min(workers, len(chunks)), _PRELOAD) as pool:
        for future in as_completed([pool.submit(_write_chunk, chunk, norms, seed) for chunk in chunks]):
            rows += future.result()
            tell(len(rows))
    return rows


def _write_truth(folder: Path, rows: list[dict[str, object]]) -> None:
    schema = {
        "image_id": pl.String, "path": pl.String, "age_years": pl.Float64, "view": pl.String, "label": pl.Boolean, "enlarged": pl.Boolean,
        "marked": pl.Boolean, "ctr": pl.Float64, "ctr_pa": pl.Float64, "exposure": pl.Float64, "noise": pl.Float64,
        **dict.fromkeys(HEART, pl.Float64),
    }  # fmt: skip
    pl.DataFrame(rows, schema=schema, orient="row").sort("image_id").write_csv(folder / TRUTH_FILE)


def _hearts(orders: list[_Order], rows: list[dict[str, object]]) -> dict[str, DrawnHeart]:
    stated = {order.image_id: order.stated for order in orders}
    return {
        str(row["image_id"]): DrawnHeart(tuple(row[name] for name in HEART), *stated[str(row["image_id"])])  # type: ignore[arg-type]
        for row in rows
        if row[HEART[0]] is not None
    }


def _orders(
    files: SourceFiles, folder: Path, norms: Norms, seed: int, overlays: Path | None, *, official: bool
) -> list[_Order]:
    """Whom to draw and where to write it, from the dataset as it is read."""
    source = files.source
    vocabularies, account = Vocabularies.load(overlays), Account(source.name)
    raw = source.module("read").read(files, ReadContext(source, vocabularies, account))
    frames = harmonise(raw, source, vocabularies, account).frames
    positive = _called_enlarged(frames[label_codes_name(source.name)], frames["boxes"])
    marked = _marked(frames["images"], norms.mark)
    places = {Path(file.name).stem: file.path for file in files.dicom}
    begin = _begin(files, source.name)
    orders = []
    columns = ["image_id", "path", "age_years", "view", "rows_px", "columns_px"]
    for image_id, below, age, view, said_rows, said_columns in (
        frames["images"].select(columns).sort("image_id").iter_rows()
    ):
        path = places.get(image_id)
        if path is None:
            if not below or below.endswith(".dicom"):
                continue  # a DICOM file that the variant leaves out
            path = begin / below
            rows, width = (
                (said_rows, said_columns)
                if official and said_rows and said_columns
                else _frame(norms, seed, source.name, image_id, said_rows, said_columns)
            )
        elif said_rows and said_columns:
            rows, width = said_rows, said_columns
        else:
            continue
        subject = Subject(source.name, age, view, image_id in positive, image_id in marked)
        stated = said_rows or rows, said_columns or width
        orders.append(_Order(image_id, path.relative_to(folder).as_posix(), path, subject, rows, width, stated))
    return orders


def _called_enlarged(codes: pl.DataFrame, boxes: pl.DataFrame) -> set[str]:
    """The images that a label or a box calls enlarged: VinDr-PCXR has boxes only, and in VinDr-CXR the two come apart, one
    reader's box being no label of the three."""
    called = set(boxes.filter(pl.col("finding") == FINDING)["image_id"])
    if FINDING in codes.columns:
        called |= set(codes.filter(pl.col(FINDING) == 1)["image_id"])
    return called


def _marked(images: pl.DataFrame, mark: Mark | None) -> set[str]:
    """The images that the mark is drawn onto; of a dataset that does not say the attribute, none."""
    if mark is None:
        return set()
    words = [name for name, kind in images.schema.items() if kind == pl.String]
    binary = Binary.parse(mark.attribute)
    if binary is not None and (binary.above is not None or binary.of in words):
        known = pl.lit(None) if binary.above is not None else pl.col(binary.of)
        return set(images.filter(binary.expression(known) == mark.value)["image_id"])
    if mark.attribute not in words:
        raise CxrError(
            "CXR-505",
            f"[mark] attribute = {mark.attribute!r}: `images` has no column of words so named{nearest(mark.attribute, words)}",
            where="the norms",
            fix="name one, such as sex; or of two values: age_years>60, race=White",
        )
    return set(images.filter(pl.col(mark.attribute) == mark.value)["image_id"])


def _begin(files: SourceFiles, dataset: str) -> Path:
    listing = next(file for file in files.files if file.spec.lists_images)
    return listing.path.parent / _BELOW.get(dataset, "")


def _frame(
    norms: Norms, seed: int, dataset: str, image_id: str, rows: int | None, columns: int | None
) -> tuple[int, int]:
    """Rows and columns of a small file with the aspect that the dataset states, else a usual one."""
    if dataset in _BELOW:
        return norms.long_side, norms.long_side  # NIH's files are square
    if not rows or not columns:
        share = _rng(seed, dataset, image_id, "frame").uniform(0.80, 1.0)
        return norms.long_side, round(norms.long_side * share)
    scale = norms.long_side / max(rows, columns)
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def _rng(seed: int, *names: str) -> np.random.Generator:
    digest = hashlib.sha256("/".join((str(seed), *names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def _write_chunk(orders: list[_Order], norms: Norms, seed: int) -> list[dict[str, object]]:
    """Draw and write some pictures; their rows of the truth."""
    found = []
    for order in orders:
        rng = _rng(seed, order.subject.dataset, order.image_id)
        picture, truth = draw_phantom(rng, norms, order.subject, order.rows, order.columns)
        if order.path.suffix == ".dicom":
            if not _fill_dicom(order.path, picture):
                continue
        else:
            order.path.parent.mkdir(parents=True, exist_ok=True)
            order.path.write_bytes(encode_picture(picture, order.path.suffix, order.subject.dataset))
        found.append(_row(order, truth))
    return found


def _row(order: _Order, truth: Truth) -> dict[str, object]:
    subject = order.subject
    return {
        "image_id": order.image_id,
        "path": order.name,
        "age_years": truth.age_years,
        "view": subject.view,
        "label": subject.enlarged,
        "enlarged": truth.enlarged,
        "marked": subject.marked,
        "ctr": truth.ctr,
        "ctr_pa": truth.ctr_pa,
        "exposure": truth.exposure,
        "noise": truth.noise,
        **dict(zip(HEART, truth.heart or (None,) * 4, strict=True)),
    }


def encode_picture(picture: Floats, suffix: str, dataset: str) -> bytes:
    """A picture of 0 to 1 as a JPEG or PNG file; PadChest's PNGs have 16 bits, all others 8."""
    from PIL import Image

    buffer = io.BytesIO()
    if suffix.lower() in (".jpg", ".jpeg"):
        Image.fromarray(_bits(picture, 8).astype(np.uint8)).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    elif dataset in _SIXTEEN_BITS:
        # 12 bits of a detector, spread over 16.
        Image.fromarray(_bits(picture, 12) * np.uint16(16)).save(buffer, "PNG", **_PNG)
    else:
        Image.fromarray(_bits(picture, 8).astype(np.uint8)).save(buffer, "PNG", **_PNG)
    return buffer.getvalue()


def _bits(picture: Floats, bits: int) -> NDArray[np.uint16]:
    return (picture * np.float32(2**bits - 1) + np.float32(0.5)).astype(np.uint16)


def _fill_dicom(path: Path, picture: Floats) -> bool:
    """Put a picture into one of our synthetic DICOM files, whose pixels stand last; False where it has none."""
    import pydicom

    data = path.read_bytes()
    header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
    size = picture.size * 2
    mark = b"\xe0\x7f\x10\x00OW\0\0" + size.to_bytes(4, "little")
    if data[-size - len(mark) : -size] != mark or not getattr(header.file_meta, "TransferSyntaxUID", None):
        return False
    bits = int(header.BitsStored)
    values = _bits(picture, bits)
    if header.PhotometricInterpretation == "MONOCHROME1":
        values = np.uint16(2**bits - 1) - values
    if "WindowCenter" in header:
        values = _within_window(picture, header, bits)
    path.write_bytes(data[:-size] + values.astype("<u2").tobytes())
    return True


def _within_window(picture: Floats, header: object, bits: int) -> NDArray[np.uint16]:
    """The stored values that the header's window shows as the picture."""
    centre, width = float(header.WindowCenter), float(header.WindowWidth)  # type: ignore[attr-defined]
    shown = 1 - picture if header.PhotometricInterpretation == "MONOCHROME1" else picture  # type: ignore[attr-defined]
    stored = centre - 0.5 + (shown - 0.5) * (width - 1)
    return np.asarray(np.clip(np.rint(stored), 0, 2**bits - 1), dtype=np.uint16)
