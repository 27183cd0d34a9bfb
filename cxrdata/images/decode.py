"""The bytes of one image file to 8-bit grey, and what they were before.

Every file that cannot be decoded is refused with a code and a reason, as a `CxrError`; which of them end a command is
the caller's business. Nothing is allocated for a picture before its declared size is known to be sane.

The decoder is Pillow: on 36 PNGs of 1024 by 1024 it takes as long as OpenCV's (8.7 and 8.0 ms), and on JPEG, which it
decodes at a half, quarter or eighth where less is needed, a quarter less; its wheel has a tenth of the size.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrdata.errors import CxrError

if TYPE_CHECKING:
    from PIL import Image

Grey = NDArray[np.uint8]
# A frame's rows and columns to the fewest that are needed of it.
Needed = Callable[[int, int], tuple[int, int]]

# The largest detectors have 20 million pixels.
MOST_PIXELS = 100_000_000
MOST_BYTES = 1 << 29
DICOM_MARK = b"DICM"
# What a file may be refused with; see `cxrdata/errors.py`.
REFUSALS = ("CXR-140", "CXR-141", "CXR-142", "CXR-143", "CXR-144", "CXR-145", "CXR-146", "CXR-147")
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}
_PREAMBLE = 128
_PNG_HEADER = 16  # where the first chunk of a PNG says its size
_CUT_SHORT = ("truncated", "unexpected end", "not enough image data", "less than expected")


@dataclass(frozen=True)
class ImageFacts:
    """What a file is: `kind` `PNG`, `JPEG` or `DICOM`; `mode` as Pillow names it, or DICOM's photometric
    interpretation; its own rows and columns, and bits a sample that carry a value."""

    kind: str
    mode: str
    rows: int
    columns: int
    bits: int


@dataclass(frozen=True)
class Decoded:
    """`pixels`: shape (rows, columns), 0 black. For JPEG they may be fewer than the file's where fewer were needed."""

    pixels: Grey
    facts: ImageFacts


def decode(data: bytes, *, needed: Needed | None = None) -> Decoded:
    """Decode a file's bytes to 8-bit grey.

    `needed`: from the file's rows and columns, the fewest that are needed, by which a JPEG is decoded at a half,
    quarter or eighth; None: all. 16 bits are divided by 257 (PadChest uses the whole range); alpha is ignored; DICOM
    values go through rescale, VOI (lookup table, else window, else the range that is there) and, for MONOCHROME1,
    inversion. Raises CxrError with one of `REFUSALS`.
    """
    picture, facts = decode_picture(data, needed)
    return Decoded(np.asarray(picture), facts)


def decode_picture(data: bytes, needed: Needed | None) -> tuple[Image.Image, ImageFacts]:
    """As `decode`, to a Pillow picture of mode `L`: what is resized next needs no array in between."""
    if len(data) > MOST_BYTES:
        raise CxrError("CXR-142", f"the file has {len(data):,} bytes")
    if not data:
        raise CxrError("CXR-141", "the file is empty")
    kind = next((name for mark, name in _SIGNATURES.items() if data.startswith(mark)), None)
    if kind is None:
        if data[_PREAMBLE : _PREAMBLE + len(DICOM_MARK)] != DICOM_MARK:
            raise CxrError("CXR-140", _not_an_image(data))
        from PIL import Image

        from cxrdata.images.dicom import decode_dicom

        pixels, facts = decode_dicom(data)
        return Image.fromarray(pixels), facts
    try:
        return _decode_plain(data, kind, needed)
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error) as error:
        raise refusal(error) from error


def refusal(error: Exception) -> CxrError:
    """What a decoder's own error means."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    cut_short = isinstance(error, EOFError) or any(words in text.lower() for words in _CUT_SHORT)
    return CxrError("CXR-141" if cut_short else "CXR-146", text)


def check_size(rows: int, columns: int) -> None:
    """Raise CxrError CXR-142 where a file declares more than any detector has, or nothing."""
    if rows * columns > MOST_PIXELS:
        raise CxrError("CXR-142", f"the file declares {columns:,} by {rows:,} pixels")
    if rows < 1 or columns < 1:
        raise CxrError("CXR-146", f"the file declares {columns:,} by {rows:,} pixels")


def _not_an_image(data: bytes) -> str:
    if data[:64].lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "the file is a web page, usually that of a login"
    return f"the file begins with {data[:8]!r}: not PNG, JPEG or DICOM"


def _decode_plain(data: bytes, kind: str, needed: Needed | None) -> tuple[Image.Image, ImageFacts]:
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    # The plugins themselves, not `Image.open`, which warns of large pictures and tries other formats.
    picture: Image.Image
    if kind == "PNG":
        columns, rows, bits = struct.unpack_from(">IIB", data, _PNG_HEADER)
        check_size(rows, columns)
        picture = PngImageFile(io.BytesIO(data))
    else:
        picture = JpegImageFile(io.BytesIO(data))
        bits = 8
    columns, rows = picture.size
    check_size(rows, columns)
    facts = ImageFacts(kind, picture.mode, rows, columns, bits)
    if kind == "JPEG" and needed is not None:
        least_rows, least_columns = needed(rows, columns)
        picture.draft("L", (least_columns, least_rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of metadata that is not as it should be
        picture.load()
    return _grey(picture), facts


def _grey(picture: Image.Image) -> Image.Image:
    from PIL import Image

    if picture.mode == "L":
        return picture
    if picture.mode.startswith("I"):
        values = np.clip(np.asarray(picture), 0, 65535).astype(np.uint16, copy=False)
        return Image.fromarray(_high_byte()[values])
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGB")
    return picture.convert("L")


@cache
def _high_byte() -> Grey:
    """16 bits to 8, rounded: 65535 becomes 255."""
    return ((np.arange(65536, dtype=np.uint32) + 128) // 257).astype(np.uint8)
